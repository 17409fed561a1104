"""Preview frames in plain PyTorch: they replace `render.preview.kernels.preview_triton` where Triton does not run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from render.bsdf.ggx import ggx_table
from render.geometry.camera import Camera
from render.light.environment import PrefilteredLight
from render.material.material import KD, METALLIC, NORMAL, ROUGHNESS
from render.preview.parts import (
    COAT,
    EMISSION,
    NORMAL_COLUMNS,
    POSITION,
    SHEEN_COLOR,
    SHEEN_ROUGHNESS,
    SIGN,
    TANGENT,
    UV,
    PreviewParts,
)
from render.raster.portable import Fragments, visible_fragments
from render.shading.lobes import Lobes
from render.shading.models import ShadingModel, outgoing_radiance
from render.shading.normal_map import shading_normal
from render.texture.sampling import wrapped

# Fragments that are shaded at a time: their values stay in the caches.
_AT_A_TIME = 1 << 15


@dataclass(frozen=True)
class Drawing:
    """A frame of some parts, to be drawn: see `PreviewRenderer.frame`. `light` may be None where the channel needs none."""

    parts: PreviewParts
    cameras: Sequence[Camera]
    light: PrefilteredLight | None
    resolution: tuple[int, int]
    spp: int
    layers: int
    channel: str
    model: ShadingModel

    @torch.no_grad()
    def draw(self, background: torch.Tensor) -> torch.Tensor:
        """Draw the frame, float32 [N, H, W, 4], over a background [3] or [N, H, W, 3]."""
        (height, width), spp, views = self.resolution, self.spp, len(self.cameras)
        fine = (height * spp, width * spp)
        clip = torch.stack([camera.to_clip(self.parts.positions) for camera in self.cameras])
        fragments = visible_fragments(clip, self.parts.triangles, fine, self.layers)
        image = self.parts.positions.new_zeros(views * height * width, 4)
        clear = image.new_ones(views * fine[0] * fine[1]) if self.layers > 1 else None
        for layer in range(self.layers):
            part = fragments if self.layers == 1 else fragments.rows(fragments.layer == layer)
            values = self._shaded(part)
            share = values[:, 3:] if clear is None else values[:, 3:] * clear[part.pixel, None]
            values = torch.cat([values[:, :3] * share, share], dim=1)
            if clear is not None:
                clear[part.pixel] -= share[:, 0]
            if spp == 1:
                # Add a further layer to those before it.
                image[part.pixel] = values if layer == 0 else image[part.pixel] + values
            else:
                image.index_add_(0, _coarse(part.pixel, width, spp), values, alpha=1 / spp**2)
        image = image.view(views, height, width, 4)
        if background.ndim > 1 or bool(background.any()):
            image[..., :3] += (1 - image[..., 3:]) * background
        return image

    def _shaded(self, fragments: Fragments) -> torch.Tensor:
        """Color (not premultiplied) and alpha [F, 4] of fragments of one layer."""
        if self.channel == "depth":
            return F.pad(fragments.depth[:, None].expand(-1, 3), (0, 1), value=1.0)
        shared = None
        if self.spp > 1:
            chosen, shared = _shaded_once(fragments, self.resolution[1], self.spp, len(self.parts.triangles))
            fragments = fragments.rows(chosen)
        chunks = [
            self._chunk(fragments.rows(slice(at, at + _AT_A_TIME))) for at in range(0, len(fragments.pixel), _AT_A_TIME)
        ]
        values = torch.cat(chunks) if chunks else self.parts.positions.new_zeros(0, 4)
        return values if shared is None else values[shared]

    def _chunk(self, fragments: Fragments) -> torch.Tensor:
        parts, spp = self.parts, self.spp
        corners = parts.vertices[parts.triangles[fragments.triangle].long()]
        point = _blend(corners, fragments.barycentric)
        if self.channel == "distance":
            return F.pad(self._distance(fragments, point[:, POSITION])[:, None].expand(-1, 3), (0, 1), value=1.0)
        uv_dx = _blend(corners[..., UV], fragments.barycentric_dx)
        uv_dy = _blend(corners[..., UV], fragments.barycentric_dy)
        footprint = (uv_dx[:, 0] * uv_dy[:, 1] - uv_dx[:, 1] * uv_dy[:, 0]).abs().sqrt() * spp
        values, alpha, openness, lobes = _look_up(parts, fragments.triangle, point[:, UV], footprint)
        if self.channel == "kd":
            color = values[:, KD]
        elif self.channel in ("roughness", "metallic"):
            color = values[:, ROUGHNESS if self.channel == "roughness" else METALLIC].expand(-1, 3)
        elif self.channel == "occlusion":
            color = openness.expand(-1, 3)
        else:
            color = self._of_surface(fragments, corners, point, values, openness, lobes)
        return torch.cat([color, alpha], dim=1)

    def _distance(self, fragments: Fragments, position: torch.Tensor) -> torch.Tensor:
        rows = torch.stack([camera.view[2] for camera in self.cameras]).double().to(position.device)[fragments.view]
        return -((position * rows[:, :3]).sum(1) + rows[:, 3]).float()

    def _of_surface(
        self,
        fragments: Fragments,
        corners: torch.Tensor,
        point: torch.Tensor,
        values: torch.Tensor,
        openness: torch.Tensor,
        lobes: torch.Tensor | None,
    ) -> torch.Tensor:
        """Color [F, 3] by a channel that depends on the normal."""
        view = self._view_direction(fragments, point[:, POSITION])
        a, b, c = corners[..., POSITION].unbind(1)
        front = (torch.linalg.cross(b - a, c - a) * view).sum(1, keepdim=True) >= 0
        facing = torch.where(front, 1.0, -1.0).to(view)
        smooth = facing * F.normalize(point[:, NORMAL_COLUMNS], dim=1)
        normal = shading_normal(values[:, NORMAL], smooth, facing * point[:, TANGENT], facing * corners[:, 0, SIGN])
        if self.channel == "normal":
            return (normal + 1) * 0.5
        # `PreviewRenderer.frame` refuses a lit channel without a light.
        assert self.light is not None
        if self.channel == "light":
            return self.light.diffuse(normal)
        ks = torch.cat([1 - openness, values[:, ROUGHNESS], values[:, METALLIC]], dim=1)
        table = ggx_table(normal.device)
        over = None
        if lobes is not None:
            sheen = torch.cat([lobes[:, SHEEN_COLOR], lobes[:, SHEEN_ROUGHNESS]], dim=1)
            over = Lobes(lobes[:, EMISSION], lobes[:, COAT], sheen, smooth)
        return outgoing_radiance(values[:, KD], ks, normal, view, self.light, table, self.model, lobes=over)

    def _view_direction(self, fragments: Fragments, position: torch.Tensor) -> torch.Tensor:
        if len(self.cameras) == 1:
            return self.cameras[0].view_direction(position).to(position)
        # Towards w * eye - position: a perspective camera is at a point (w 1), an orthographic one in a direction (w 0).
        eyes = [c.position if c.is_perspective else F.normalize(c.view[2, :3], dim=0) for c in self.cameras]
        is_point = torch.tensor([[float(camera.is_perspective)] for camera in self.cameras]).to(position)
        return F.normalize(torch.stack(eyes).to(position)[fragments.view] - is_point[fragments.view] * position, dim=1)


def _blend(corners: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """[F, 3, C] and [F, 3] -> [F, C]."""
    return torch.bmm(weight[:, None], corners)[:, 0]


def _coarse(pixel: torch.Tensor, width: int, spp: int) -> torch.Tensor:
    """The pixel of the image, counted over all views, of which a pixel of the finer image is a sample."""
    row, column = pixel // (width * spp), pixel % (width * spp)
    return row // spp * width + column // spp


def _shaded_once(fragments: Fragments, width: int, spp: int, triangles: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The most central fragment for each pixel of the image and triangle; and for each fragment, which of them it shares."""
    row, column = fragments.pixel // (width * spp), fragments.pixel % (width * spp)
    pixel = row // spp * width + column // spp
    found, shared = torch.unique(pixel * triangles + fragments.triangle, return_inverse=True)
    off_center = (2 * (row % spp) + 1 - spp).abs() + (2 * (column % spp) + 1 - spp).abs()
    rank = (off_center << 40) | torch.arange(len(shared), device=shared.device)
    best = torch.full_like(found, torch.iinfo(torch.int64).max).scatter_reduce_(0, shared, rank, "amin")
    return best & ((1 << 40) - 1), shared


def _look_up(
    parts: PreviewParts, triangle: torch.Tensor, uv: torch.Tensor, footprint: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Look up, trilinear, values [F, 8], alpha [F, 1], openness [F, 1] and lobes [F, 12] of each fragment in its maps."""
    first, height, width, levels = parts.table[parts.material[triangle].long()].long().unbind(1)
    edge = (height * width).to(footprint.dtype).sqrt()
    level = torch.log2((footprint * edge).clamp(min=1e-6))
    level = torch.minimum(level.clamp(min=0), levels - 1.0)
    finer = torch.minimum(level.floor(), (levels - 2.0).clamp(min=0))
    share = level - finer
    uv, finer = wrapped(uv), finer.long()
    # Where there is only one level, the share of the coarser one is 0.
    taps = [_bilinear(uv, first, height, width, finer, 1 - share)]
    taps.append(_bilinear(uv, first, height, width, torch.minimum(finer + 1, levels - 1), share))
    index, weight = torch.cat([tap[0] for tap in taps], 1), torch.cat([tap[1] for tap in taps], 1)
    values = F.embedding_bag(index, parts.texels, per_sample_weights=weight, mode="sum")
    ones = torch.ones_like(weight[:, :1])
    alpha = (parts.alphas[index] * weight).sum(1, keepdim=True) if parts.has_alpha else ones
    openness = (parts.openness[index] * weight).sum(1, keepdim=True) if parts.has_openness else ones
    lobes = F.embedding_bag(index, parts.lobes, per_sample_weights=weight, mode="sum") if parts.has_lobes else None
    return values, alpha, openness, lobes


def _bilinear(
    uv: torch.Tensor,
    first: torch.Tensor,
    height: torch.Tensor,
    width: torch.Tensor,
    level: torch.Tensor,
    share: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Texel rows and weights [F, 4] in one level of each fragment."""
    rows, columns = height >> level, width >> level
    # Texels of the finer levels: 4 / 3 of how many the finest has more, as each level has a quarter of the next finer one's.
    start = first + (height * width - rows * columns) // 3 * 4
    x, y = uv[:, 0] * columns - 0.5, uv[:, 1] * rows - 0.5
    left, top = x.floor(), y.floor()
    fx, fy = x - left, y - top
    left, top = left.long(), top.long()
    right, below = left + 1, top + 1
    left, right = torch.where(left < 0, columns - 1, left), torch.where(right >= columns, 0, right)
    top, below = torch.where(top < 0, rows - 1, top), torch.where(below >= rows, 0, below)
    top, below = start + top * columns, start + below * columns
    index = torch.stack([top + left, top + right, below + left, below + right], 1)
    near, far = share * (1 - fx), share * fx
    return index, torch.stack([near * (1 - fy), far * (1 - fy), near * fy, far * fy], 1)
