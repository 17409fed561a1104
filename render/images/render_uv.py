"""Bake a material into textures: draw the mesh in its uv space."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from render.geometry.mesh import Mesh
from render.material.material import Material
from render.raster.portable import Fragments, Rasterizer, visible_fragments
from render.raster.surface import SurfacePoints, interpolate


def render_uv(
    mesh: Mesh, resolution: tuple[int, int], material: Material, rasterizer: Rasterizer = visible_fragments
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sample a material at every texel of the mesh's uv layout, for example to turn a field into textures.

    resolution  (height, width) of the textures; row 0 is v = 0, at the top

    Returns mask [1, H, W, 1] (1 inside the charts), kd [1, H, W, 3 or 4], ks [1, H, W, 3], both 0 outside, and unit
    tangent-space normals [1, H, W, 3], (0, 0, 1) outside. A texel is inside where its center is: charts are not dilated.
    uvs beyond 0..1 are cut off; where charts overlap, the triangle that comes first counts.
    """
    position_clip = torch.cat([mesh.uv * 2 - 1, torch.zeros_like(mesh.uv[:, :1]), torch.ones_like(mesh.uv[:, :1])], -1)
    fragments = rasterizer(position_clip[None], mesh.triangles, resolution, 1)
    sample = material.sample(_texel_points(mesh, fragments, resolution))
    kd = sample.kd if sample.alpha is None else torch.cat([sample.kd, sample.alpha], dim=-1)
    flat = torch.tensor([0.0, 0.0, 1.0]).to(kd)
    normal = flat.expand_as(sample.kd) if sample.normal is None else F.normalize(sample.normal, dim=-1)

    def laid_out(values: torch.Tensor, empty: torch.Tensor) -> torch.Tensor:
        texture = empty.to(values).expand(resolution[0] * resolution[1], values.shape[1])
        return texture.index_put((fragments.pixel,), values).reshape(1, *resolution, -1)

    zero = torch.zeros(1)
    mask = laid_out(torch.ones_like(kd[:, :1]), zero)
    return mask, laid_out(kd, zero), laid_out(sample.ks, zero), laid_out(normal, flat)


def _texel_points(mesh: Mesh, fragments: Fragments, resolution: tuple[int, int]) -> SurfacePoints:
    """Points seen from straight above, one texel a pixel."""
    height, width = resolution
    position = interpolate(mesh.position, mesh.triangles, fragments)
    normal = F.normalize(interpolate(mesh.normal, mesh.triangles, fragments), dim=-1)
    texel = torch.tensor([1 / width, 0.0, 0.0, 1 / height]).to(position)
    return SurfacePoints(
        position=position,
        normal=normal,
        tangent=interpolate(mesh.tangent[:, :3], mesh.triangles, fragments),
        sign=mesh.tangent[mesh.triangles[fragments.triangle][:, 0], 3:],
        view=normal,
        uv=interpolate(mesh.uv, mesh.triangles, fragments),
        footprint=torch.full_like(position[:, 0], (1 / (width * height)) ** 0.5),
        geometric_normal=mesh.geometric_normal[fragments.triangle],
        uv_da=texel.expand(len(position), 4),
        facing=torch.ones_like(position[:, :1]),
    )
