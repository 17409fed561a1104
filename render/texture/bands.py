"""A texture that several processes change together: each owns a band of its rows.

A process keeps the whole pyramid, but what it computes of the fine levels is right in its own band and one row further.
The edges of the bands, and the coarse levels, are what processes tell each other in every step: of a texture of
4096 x 4096 with two bands, half a percent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from render.texture.fixed_lookup import mip_offsets
from render.texture.map_size import MapSize, map_size

Rows = tuple[int, int]
"""The first of some rows, and the first after them."""
# Levels with no more texels than a square of this edge are told as a whole: 2 MiB of 8 channels.
LARGEST_WHOLE = 256


@dataclass(frozen=True)
class Band:
    """The rows that process `number` of `count` owns in a texture of `resolution` with `levels` levels. One process owns
    everything.

    resolution: both edges powers of two, or less than `LARGEST_WHOLE`; one number for both will do too

    whole: the first level that every process has whole; levels from it on have no bands.
    """

    resolution: MapSize
    levels: int
    number: int = 0
    count: int = 1
    largest_whole: int = LARGEST_WHOLE

    def __post_init__(self) -> None:
        object.__setattr__(self, "resolution", map_size(self.resolution))

    @property
    def whole(self) -> int:
        """The first level that every process has whole; the bands' edges lie between texels of it."""
        if self.count == 1:
            return 0
        level = 0
        while level < self.levels - 1 and self._is_large(level) and self._height(level + 1) >= self.count:
            level += 1
        return level

    def _is_large(self, level: int) -> bool:
        return self._size(level).texels > self.largest_whole**2

    def _size(self, level: int) -> MapSize:
        return self.resolution.halved(level)

    def _height(self, level: int) -> int:
        return self.resolution.height >> level

    def first_row(self, number: int, level: int) -> int:
        """The row of a level with which the band of process `number` begins; of `count`: where the last band ends."""
        whole = self.whole
        return (number * self._height(whole) // self.count) << (whole - level)

    def own_rows(self, level: int) -> tuple[int, int]:
        """The first row of a level, `whole` or finer, that is this process's own, and the first that is not any more."""
        return self.first_row(self.number, level), self.first_row(self.number + 1, level)

    def rows(self, level: int) -> tuple[int, int]:
        """The first row of a level that this process computes, and the first that it does not: all of what it has whole."""
        return (0, self._height(level)) if level >= self.whole else self.own_rows(level)

    def rows_and_edges(self, level: int) -> tuple[int, int]:
        """The same with one row more at each side."""
        first, end = self.rows(level)
        return max(0, first - 1), min(self._height(level), end + 1)

    def number_of(self, v: torch.Tensor) -> torch.Tensor:
        """Which process owns the texels at texture coordinates v, any shape, pointing down: int64."""
        whole = self.whole
        row = (torch.remainder(v, 1) * self._height(whole)).long().clamp(max=self._height(whole) - 1)
        edges = [self.first_row(number, whole) for number in range(1, self.count)]
        return torch.bucketize(row, torch.tensor(edges, dtype=torch.int64, device=v.device), right=True)

    def told_gradients(self) -> list[Rows]:
        """The rows of the pyramid to whose gradient samples of more than one process may add."""
        edges = [part for level in range(self.whole) for part in self._edges(level)]
        return [*edges, (self._start(self.whole), self._start(self.levels))]

    def told_values(self, device: torch.device) -> tuple[list[Rows], torch.Tensor]:
        """The rows of the pyramid that others need of a process after a step, and whether this one owns each, bool [N]."""
        if not self.whole:
            return [], torch.zeros(0, dtype=torch.bool, device=device)
        edges = [part for level in range(self.whole) for part in self._edges(level)]
        told = [*edges, (self._start(self.whole), self._start(self.whole + 1))]
        numbers = row_numbers(told, device)
        mine = torch.zeros(len(numbers), dtype=torch.bool, device=device)
        for level in range(self.whole + 1):
            start, width = self._start(level), self._size(level).width
            first, end = self.own_rows(level)
            mine |= (numbers >= start + first * width) & (numbers < start + end * width)
        return told, mine

    def added_to(self) -> list[Rows]:
        """The rows of the pyramid to whose gradient samples of this process may add."""
        fine = []
        for level in range(self.whole):
            start, width = self._start(level), self._size(level).width
            first, end = self.rows_and_edges(level)
            fine.append((start + first * width, start + end * width))
        return joined([*fine, *self.told_gradients()])

    def _start(self, level: int) -> int:
        """The pyramid's row with which a level begins."""
        return mip_offsets(self.resolution, level)[-1]

    def _edges(self, level: int) -> list[Rows]:
        """The texels at both sides of each edge of a band; the texture repeats, so its top and bottom are one."""
        (height, width), start = self._size(level), self._start(level)
        rows = {(self.first_row(number, level) - side) % height for number in range(self.count) for side in (0, 1)}
        return joined([(start + row * width, start + (row + 1) * width) for row in rows])


def joined(parts: Sequence[Rows]) -> list[Rows]:
    """The same rows in order, each once, in as few parts as there can be."""
    found: list[Rows] = []
    for first, end in sorted(parts):
        if found and first <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((first, end))
    return found


def row_numbers(parts: Sequence[Rows], device: torch.device) -> torch.Tensor:
    """The numbers of these rows, int64 [N]."""
    if not parts:
        return torch.zeros(0, dtype=torch.int64, device=device)
    return torch.cat([torch.arange(first, end, device=device) for first, end in parts])


def rows_of(tensor: torch.Tensor, parts: Sequence[Rows]) -> torch.Tensor:
    """These rows of a tensor, copied.

    In slices: to gather 100,000 rows of 32 bytes by their numbers takes 66 us on an H100, as long as to add them up.
    """
    return torch.cat([tensor[first:end] for first, end in parts])
