"""The texels of finished maps: which of them views saw, and how the others are filled from their neighbors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from render.geometry.mesh import Mesh
from render.material.material import MaterialMaps, project_
from render.raster.portable import visible_fragments
from render.texture.kernels.gap_sweep import smooth_gaps
from render.texture.map_size import MapSize, Size, map_size, size_of

GAP_SWEEPS = 60


@dataclass(frozen=True)
class UvCharts:
    """The mesh laid out in its texture: covered bool [H, W]; corner int64 [N, 3] and barycentric [N, 3] of the covered texels."""

    covered: torch.Tensor
    corner: torch.Tensor
    barycentric: torch.Tensor

    def bake(self, attribute: torch.Tensor) -> torch.Tensor:
        """A vertex attribute [V, C] as a texture [H, W, C], zero outside the charts."""
        texture = attribute.new_zeros(*self.covered.shape, attribute.shape[1])
        texture[self.covered] = (attribute[self.corner] * self.barycentric[..., None]).sum(1)
        return texture


def uv_charts(mesh: Mesh, resolution: Size) -> UvCharts:
    """Rasterize the mesh in texture space; each triangle moves by whole tiles into the first tile.

    resolution  (height, width), or one number for both
    """
    size = map_size(resolution)
    corners = mesh.uv[mesh.triangles]
    corners = corners - corners.mean(1, keepdim=True).floor()
    flat = corners.reshape(-1, 2) * 2 - 1
    clip = torch.cat([flat, torch.zeros_like(flat[:, :1]), torch.ones_like(flat[:, :1])], dim=-1)
    separate = torch.arange(len(clip), device=clip.device).reshape(-1, 3)
    fragments = visible_fragments(clip, separate, size)
    covered = torch.zeros(size.texels, dtype=torch.bool, device=clip.device)
    covered[fragments.pixel] = True
    return UvCharts(covered.reshape(size), mesh.triangles[fragments.triangle], fragments.barycentric)


def seen_texels(read: torch.Tensor, resolution: Size, levels: int) -> torch.Tensor:
    """The texels that a sample reads, directly or through a coarser level, bool [H, W]; `read` bool [rows of the pyramid].

    resolution  (height, width) of the finest level, or one number for both
    """
    finest = map_size(resolution)
    seen = torch.zeros(finest.halved(levels - 1), dtype=torch.bool, device=read.device)
    end = len(read)
    for level in range(levels - 1, -1, -1):
        size = finest.halved(level)
        own = read[end - size.texels : end].reshape(size)
        end -= size.texels
        wide = seen if size_of(seen) == size else seen.repeat_interleave(2, 0).repeat_interleave(2, 1)
        seen = own | wide
    return seen


def fill_unknown(texture: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Fill the texels [H, W, C] that are not `known` [H, W] from their known neighbors, near ones first (push-pull).

    It takes coarser and coarser means of the known texels, then fills holes from the next coarser level
    (Gortler et al., "The Lumigraph", 1996). This also carries colors past the edges of UV islands.
    """
    image = (texture * known[..., None]).permute(2, 0, 1)[None]
    weight = known[None, None].to(texture)
    levels = [(image, weight)]
    while image.shape[-2] * image.shape[-1] > 1 and bool((weight == 0).any()):
        image = F.avg_pool2d(image, 2, ceil_mode=True)
        weight = F.avg_pool2d(weight, 2, ceil_mode=True)
        image, weight = image / weight.clamp(min=1e-12), (weight > 0).to(weight)
        levels.append((image, weight))
    filled = levels[-1][0]
    for image, weight in reversed(levels[:-1]):
        wide = F.interpolate(filled, size=image.shape[-2:], mode="bilinear", align_corners=False)
        filled = torch.where(weight > 0, image, wide)
    return filled[0].permute(1, 2, 0).contiguous()


def texel_at(uv: torch.Tensor, size: MapSize) -> torch.Tensor:
    """The number of the texel at each place, row by row, int64 [N]; uv [..., 2], v pointing down."""
    column, row = torch.remainder(uv, 1).reshape(-1, 2).unbind(-1)
    row = (row * size.height).long().clamp(max=size.height - 1)
    return row * size.width + (column * size.width).long().clamp(max=size.width - 1)


def sampled_texels(uv: torch.Tensor, resolution: Size) -> torch.Tensor:
    """The texels that a sample falls into, bool [H, W]; uv [..., 2], v pointing down.

    resolution  (height, width), or one number for both
    """
    size = map_size(resolution)
    sampled = torch.zeros(size.texels, dtype=torch.bool, device=uv.device)
    sampled[texel_at(uv, size)] = True
    return sampled.reshape(size)


def fill_gaps(texture: torch.Tensor, known: torch.Tensor, sweeps: int = GAP_SWEEPS) -> torch.Tensor:
    """The texture [H, W, C] with texels that are not `known` [H, W] as smooth as their neighbors allow, each channel by itself.

    A texel between samples is read with small weights alone. What smoothness asks of it is as little, and Adam's epsilon is
    larger than both, so it hardly moves from where the fit began. So the smooth solution is found here at once: Laplace's
    equation, from what `fill_unknown` says, by sweeps of Jacobi's. Tuning cases, light known: metal 65 to 78 dB, varied
    surfaces 72 to 74, even paint 91 to 87.
    """
    if bool(known.all()) or not bool(known.any()):
        return texture
    return smooth_gaps(fill_unknown(texture, known), known, sweeps)


def finish_maps(maps: MaterialMaps, seen: torch.Tensor) -> MaterialMaps:
    """The maps with each texel that no view saw filled from its neighbors, and normals of unit length again."""
    if not bool(seen.any()):
        return maps
    texels = fill_unknown(maps.texels, seen)
    project_(texels)
    return MaterialMaps(texels)
