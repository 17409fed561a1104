"""All sets of a job in one texture, to learn their light together.

Each set has a tile of one texture, which begins with what is known of the set. In such a fit every sample of the job
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
from render.texture.map_size import MapSize, Size, map_size

LARGEST_ATLAS = 1024


@dataclass(frozen=True)
class Atlas:
    """`grid` x `grid` tiles of `tile` texels; set s is in row s // grid, column s % grid."""

    grid: int
    tile: MapSize

    @property
    def resolution(self) -> MapSize:
        """The size of the atlas in texels."""
        return MapSize(self.grid * self.tile.height, self.grid * self.tile.width)

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
        # So that no sample reads texels of the next tile.
        margin = table.uv.new_tensor([0.5 / self.tile.width, 0.5 / self.tile.height])
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
                    lobes = own.lobes.new_zeros(*self.resolution, own.lobes.shape[2])
                lobes[rows, columns] = own.lobes
        return BakedStart(texels, stiffness, lobes)

    def part(self, maps: MaterialMaps, number: int) -> MaterialMaps:
        """The tile of one set, from maps of the atlas at any size."""
        rows, columns = self._tile(number, self._tile_of(maps.resolution))
        return MaterialMaps(maps.texels[rows, columns].contiguous())

    def can_hold(self, texels: NDArray[Any], alpha: bool) -> bool:
        """Whether these can be the maps of a fit of the atlas."""
        if texels.ndim != 3 or texels.shape[2] != (9 if alpha else 8) or texels.dtype != np.float32:
            return False
        size, whole = MapSize(*texels.shape[:2]), self.resolution
        halvings = max(0, (whole.longer // max(size.longer, 1)).bit_length() - 1)
        is_size = size == whole.halved(halvings) and size.shorter >= self.grid
        return is_size and bool(np.isfinite(texels).all())

    def _tile_of(self, size: MapSize) -> MapSize:
        """The size of a tile where the atlas has this size."""
        return MapSize(size.height // self.grid, size.width // self.grid)

    def _tile(self, number: int, size: MapSize) -> tuple[slice, slice]:
        """The rows and columns of one set where a tile has this size."""
        row, column = number // self.grid * size.height, number % self.grid * size.width
        return slice(row, row + size.height), slice(column, column + size.width)


def atlas_for(count: int, resolution: Size) -> Atlas:
    """The atlas of `count` sets whose own maps have `resolution`, no larger than the light has use for."""
    grid, tile = 1, map_size(resolution)
    while grid * grid < count:
        grid *= 2
    # Not the shorter edge: the atlas may have as many texels as a square one.
    while tile.edge > max(SMALLEST_RESOLUTION, LARGEST_ATLAS // grid) and tile.shorter > SMALLEST_RESOLUTION:
        tile = tile.halved()
    return Atlas(grid, tile)
