"""All sets of a job in one texture, to learn their light together.

Each set has a tile of a square texture. In such a fit every sample of the job tells of the light. Each set's own fit then
begins with what its tile holds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from backend.fit.sample_table import SampleTable
from backend.job.map_sets import NO_SET, MapSets
from backend.protocol.quality import SMALLEST_RESOLUTION
from render.material.material import MaterialMaps

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

    def part(self, maps: MaterialMaps, number: int) -> MaterialMaps:
        """The tile of one set, from maps of the atlas at any size."""
        size = maps.resolution // self.grid
        row, column = number // self.grid * size, number % self.grid * size
        return MaterialMaps(maps.texels[row : row + size, column : column + size].contiguous())


def atlas_for(count: int, resolution: int) -> Atlas:
    """The atlas of `count` sets whose own maps have `resolution`, no larger than the light has use for."""
    grid = 1
    while grid * grid < count:
        grid *= 2
    return Atlas(grid, min(resolution, max(SMALLEST_RESOLUTION, LARGEST_ATLAS // grid)))
