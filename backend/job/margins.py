"""Margins of finished maps: texels beside faces get the values of the nearest face, so that no mip level mixes in others."""

from __future__ import annotations

import torch

from backend.fit.dilation import UvCharts, sampled_texels
from backend.protocol.nearest_texel import way_to_nearest
from render.geometry.mesh import Mesh
from render.material.material import ALPHA, KD, METALLIC, NORMAL, ROUGHNESS, MaterialMaps

READ_BESIDE = 1.5  # texels from a face: where it ends between two texels, both are read, and both were fitted


class Margins:
    """What lies beside the faces of a set of maps."""

    def __init__(self, part: Mesh, charts: UvCharts) -> None:
        """part: the mesh of the set; charts: the same in its texture, [h, w]."""
        # A face that is thinner than a texel may cover the middle of none.
        middles = part.uv[part.triangles].mean(1)
        covered = charts.covered | sampled_texels(middles, charts.covered.shape).to(charts.covered.device)
        rows, columns = (torch.from_numpy(way).to(covered.device) for way in way_to_nearest(covered.cpu().numpy()))
        self.distance = (rows * rows + columns * columns).float().sqrt()
        self._rows, self._columns = rows, columns

    def fill(self, texture: torch.Tensor, kept: float = READ_BESIDE) -> torch.Tensor:
        """A texture [H, W, C], as many times as large as the charts along both axes, with each texel further than `kept` of the
        charts' texels from any face as the nearest one that a face covers."""
        height, width = texture.shape[:2]
        scale = height // len(self.distance)
        beside = self.distance > kept
        rows, columns = (torch.arange(edge, device=texture.device) for edge in (height, width))
        row = (rows[:, None] + _wide(torch.where(beside, self._rows, 0), scale) * scale) % height
        column = (columns[None, :] + _wide(torch.where(beside, self._columns, 0), scale) * scale) % width
        return texture.reshape(height * width, -1)[row * width + column]

    def fill_maps(self, maps: MaterialMaps, width: int | None) -> MaterialMaps:
        """Maps with everything filled that lies beside the faces, or only so many texels; beyond it they have what a new
        Principled BSDF has."""
        texels = self.fill(maps.texels)
        if width is not None:
            scale = len(texels) // len(self.distance)
            far = _wide(self.distance * scale > width, scale)
            texels = torch.where(far[..., None], _new_texel(texels), texels)
        return MaterialMaps(texels.contiguous())


def _wide(values: torch.Tensor, scale: int) -> torch.Tensor:
    """Values [h, w] for the texels of a texture that has so many times as many in a row."""
    return values if scale == 1 else values.repeat_interleave(scale, 0).repeat_interleave(scale, 1)


def _new_texel(texels: torch.Tensor) -> torch.Tensor:
    """What texels [..., 8 or 9] of a new material have, [8 or 9]."""
    new = texels.new_zeros(texels.shape[-1])
    new[KD], new[ROUGHNESS], new[METALLIC] = 0.8, 0.5, 0.0
    new[NORMAL] = texels.new_tensor([0.0, 0.0, 1.0])
    new[ALPHA] = 1.0
    return new
