"""The maps that a fit starts from when it is known what the nodes say: the bake."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from render.material.material import MaterialMaps, project_


@dataclass(frozen=True)
class BakedStart:
    """Maps, and how sure each of their values is.

    texels     float [R, R, C], as in `MaterialMaps`
    stiffness  [R, R, C], how firmly a value holds to its start: 0 for a guess, 1 for one that is as likely right as wrong
    lobes      [R, R, 9], what is known to lie over the base: emission (linear radiance), coat weight and roughness, sheen
               color (weight times tint) and roughness; None: nothing. A fit leaves it as it is.
    """

    texels: torch.Tensor
    stiffness: torch.Tensor
    lobes: torch.Tensor | None = None

    def at(self, resolution: int) -> BakedStart:
        """The same at a smaller resolution: means over the area of each texel."""
        if resolution == self.texels.shape[0]:
            return self
        texels = _smaller(self.texels, resolution)
        project_(texels)
        lobes = None if self.lobes is None else _smaller(self.lobes, resolution)
        return BakedStart(texels, _smaller(self.stiffness, resolution), lobes)


def carried_over(maps: MaterialMaps, start: BakedStart, resolution: int) -> MaterialMaps:
    """Maps of a fit from a start, at a higher resolution: the detail of the start there, and the smooth change of the maps."""
    known, wanted = start.at(maps.resolution), start.at(resolution)
    change = (maps.texels.detach() - known.texels).permute(2, 0, 1)[None]
    wide = F.interpolate(change, size=(resolution, resolution), mode="bilinear", align_corners=False)
    texels = wanted.texels + wide[0].permute(1, 2, 0)
    project_(texels)
    return MaterialMaps(texels.contiguous())


def _smaller(image: torch.Tensor, resolution: int) -> torch.Tensor:
    """[R, R, C] -> [resolution, resolution, C], by the mean over each texel's area."""
    small = F.interpolate(image.permute(2, 0, 1)[None], size=(resolution, resolution), mode="area")
    return small[0].permute(1, 2, 0).contiguous()
