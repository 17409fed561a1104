"""The size of maps: height and width in texels, in the order of a texture's axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch


class MapSize(NamedTuple):
    """Height and width of a texture in texels, in the order of its axes."""

    height: int
    width: int

    @property
    def texels(self) -> int:
        """How many texels there are."""
        return self.height * self.width

    @property
    def edge(self) -> float:
        """The edge of a square with as many texels: a footprint of area a^2, in uv, covers (a * edge)^2 texels."""
        return math.sqrt(self.texels)

    @property
    def shorter(self) -> int:
        """The shorter edge."""
        return min(self)

    @property
    def longer(self) -> int:
        """The longer edge."""
        return max(self)

    @property
    def is_even(self) -> bool:
        """Whether both edges can be halved."""
        return self.height % 2 == 0 and self.width % 2 == 0

    def halved(self, times: int = 1) -> MapSize:
        """The size of the mip level that follows after so many."""
        return MapSize(self.height >> times, self.width >> times)

    def at_most(self, longest: int) -> MapSize:
        """The size itself, or halved as often as it takes until no edge is longer than `longest`, while both are even."""
        size = self
        while size.longer > longest and size.is_even:
            size = size.halved()
        return size

    def __str__(self) -> str:
        """As people say it: width first."""
        return f"{self.width} x {self.height}"


Size = int | Sequence[int]
"""(height, width), or one number for a square."""


def map_size(size: Size) -> MapSize:
    """The size of a texture from (height, width), or from one number for both. Raises ValueError for anything else."""
    edges = (size, size) if isinstance(size, int) else tuple(size)
    if len(edges) != 2 or not all(type(edge) is int and edge > 0 for edge in edges):
        raise ValueError(f"a map has a height and a width in whole texels, not {size!r}")
    return MapSize(*edges)


def size_of(texture: torch.Tensor) -> MapSize:
    """The size of a texture [H, W, ...]."""
    return MapSize(*texture.shape[:2])
