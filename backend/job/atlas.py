"""All sets of a job in one texture, to learn their light together.

Each set has a tile of a square texture, which begins with what is known of the set. In such a fit every sample of the job
tells of the light. Each set's own fit then begins with what its tile holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from backend.fit.baked_start import BakedStart
from backend.fit.sample_table import SampleTable
from backend.job.map_sets import NO_SET, MapSets
from backend.protocol.quality import SMALLEST_RESOLUTION
from render.material.material import MaterialMaps, initial_maps

LARGEST_ATLAS = 1024


@dataclass(frozen=True)
class Atlas:
    """`grid` x `grid` tiles of `tile` x `tile` texels; set s is in row s // grid, column s % grid."""

    grid: int
    tile: int

    @property
    def resolution(self) -> int:
        """Edge of the atlas in texels."""
        return self.grid * self.tile

    def table(self, sets: MapSets, table: SampleTable) -> SampleTable:
        """The rows whose nearest surface belongs to a set, with their uv and footprint in the atlas.

        A row ends before its first layer that belongs to no set.
        """
        number = sets.vertex_set[table.corner[..., 0].long()]
        blocked = table.valid & (number == NO_SET)
        if bool(blocked.any()):
            chosen = (~blocked[:, 0]).nonzero()[:, 0]
            table, number, blocked = table.rows(chosen), number[chosen], blocked[chosen]
            table = replace(table, valid=table.valid & (blocked.cumsum(1) == 0))
        margin = 0.5 / self.tile  # so that no sample reads texels of the next tile
        within = torch.remainder(table.uv, 1.0).clamp(margin, 1 - margin)
        number = number.clamp(min=0)
        corner = torch.stack([number % self.grid, number // self.grid], dim=-1)
        return replace(table, uv=(corner + within) / self.grid, footprint=table.footprint / self.grid)

    def start(self, known: Mapping[int, BakedStart], device: torch.device, alpha: bool) -> BakedStart:
        """What is known of all sets, by their numbers, each start of a tile's size; gray and unsure elsewhere."""
        texels = initial_maps(self.resolution, alpha, device=device).texels
        stiffness = torch.zeros_like(texels)
        lobes = None
        for number, own in known.items():
            rows, columns = self._tile(number, self.tile)
            texels[rows, columns], stiffness[rows, columns] = own.texels, own.stiffness
            if own.lobes is not None:
                if lobes is None:
                    lobes = own.lobes.new_zeros(self.resolution, self.resolution, own.lobes.shape[2])
                lobes[rows, columns] = own.lobes
        return BakedStart(texels, stiffness, lobes)

    def part(self, maps: MaterialMaps, number: int) -> MaterialMaps:
        """The tile of one set, from maps of the atlas at any size."""
        rows, columns = self._tile(number, maps.resolution // self.grid)
        return MaterialMaps(maps.texels[rows, columns].contiguous())

    def can_hold(self, texels: NDArray[Any], alpha: bool) -> bool:
        """Whether these can be the maps of a fit of the atlas."""
        size = texels.shape[0] if texels.ndim == 3 else 0
        is_form = texels.shape == (size, size, 9 if alpha else 8) and texels.dtype == np.float32
        return is_form and 0 < size <= self.resolution and size % self.grid == 0 and bool(np.isfinite(texels).all())

    def _tile(self, number: int, size: int) -> tuple[slice, slice]:
        """The rows and columns of one set where a tile has this size."""
        row, column = number // self.grid * size, number % self.grid * size
        return slice(row, row + size), slice(column, column + size)


def atlas_for(count: int, resolution: int) -> Atlas:
    """The atlas of `count` sets whose own maps have `resolution`, no larger than the light has use for."""
    grid = 1
    while grid * grid < count:
        grid *= 2
    return Atlas(grid, min(resolution, max(SMALLEST_RESOLUTION, LARGEST_ATLAS // grid)))
