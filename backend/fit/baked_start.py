"""The maps that a fit starts from when it is known what the nodes say: the bake."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from render.material.material import MaterialMaps, project_
from render.texture.map_size import MapSize, Size, map_size, size_of


@dataclass(frozen=True)
class BakedStart:
    """Maps, and how sure each of their values is.

    texels     float [H, W, C], as in `MaterialMaps`
    stiffness  [H, W, C], how firmly a value holds to its start: 0 for a guess, 1 for one that is as likely right as wrong
    lobes      [H, W, 9], what is known to lie over the base: emission (linear radiance), coat weight and roughness, sheen
               color (weight times tint) and roughness; None: nothing. A fit leaves it as it is.
    """

    texels: torch.Tensor
    stiffness: torch.Tensor
    lobes: torch.Tensor | None = None

    def at(self, resolution: Size) -> BakedStart:
        """The same at a smaller resolution, (height, width) or one number for both: means over the area of each texel."""
        size = map_size(resolution)
        if size == size_of(self.texels):
            return self
        texels = _smaller(self.texels, size)
        project_(texels)
        lobes = None if self.lobes is None else _smaller(self.lobes, size)
        return BakedStart(texels, _smaller(self.stiffness, size), lobes)


def carried_over(maps: MaterialMaps, start: BakedStart, resolution: Size) -> MaterialMaps:
    """Maps of a fit from a start, at a higher resolution, (height, width) or one number for both: the detail of the start there,
    and the smooth change of the maps."""
    known, wanted = start.at(maps.resolution), start.at(resolution)
    change = (maps.texels.detach() - known.texels).permute(2, 0, 1)[None]
    wide = F.interpolate(change, size=map_size(resolution), mode="bilinear", align_corners=False)
    texels = wanted.texels + wide[0].permute(1, 2, 0)
    project_(texels)
    return MaterialMaps(texels.contiguous())


def _smaller(image: torch.Tensor, size: MapSize) -> torch.Tensor:
    """[H, W, C] -> [*size, C], by the mean over each texel's area."""
    small = F.interpolate(image.permute(2, 0, 1)[None], size=size, mode="area")
    return small[0].permute(1, 2, 0).contiguous()
