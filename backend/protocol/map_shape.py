"""How wide and high maps are, as settings, command lines, plans and records say it.

A resolution is one number for square maps, else (width, height); JSON has the two as a list, and texts as "2048x1024".
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from .quality import LARGEST_ASPECT

Resolution = int | tuple[int, int]
MapSize = tuple[int, int]
"""Height and width in texels, as arrays have them."""

ASPECTS = tuple(2**power for power in range(1, LARGEST_ASPECT.bit_length()))
SQUARE = "1:1"
SHAPES = (SQUARE, *(f"{aspect}:1" for aspect in ASPECTS), *(f"1:{aspect}" for aspect in ASPECTS))
"""Width to height."""


def map_size(resolution: int | Sequence[int]) -> MapSize:
    """Height and width of maps of a resolution, also of one from JSON."""
    if isinstance(resolution, int):
        return resolution, resolution
    width, height = resolution
    return height, width


def as_resolution(width: int, height: int) -> Resolution:
    """The resolution of maps of this width and height."""
    return width if width == height else (width, height)


def shaped(edge: int, shape: str) -> Resolution:
    """The resolution of maps whose longer edge has so many texels. shape: one of SHAPES."""
    width, height = (int(part) for part in shape.split(":"))
    longer = max(width, height)
    return as_resolution(edge * width // longer, edge * height // longer)


def edge_and_shape(resolution: int | Sequence[int]) -> tuple[int, str]:
    """What gives this resolution to `shaped`."""
    height, width = map_size(resolution)
    shorter = min(height, width)
    return max(height, width), f"{width // shorter}:{height // shorter}"


def resolution_text(resolution: int | Sequence[int]) -> str:
    """A resolution in words: "2048", or "2048x1024"."""
    return str(resolution) if isinstance(resolution, int) else "x".join(map(str, resolution))


def resolution_of_text(text: str) -> Resolution:
    """The resolution that a text says, whether or not maps may have it. Raises ValueError if it says none."""
    found = re.fullmatch(r"([0-9]{1,9})(?:[xX×]([0-9]{1,9}))?", text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not a width and height in pixels such as 1024 or 2048x1024")
    width = int(found[1])
    return as_resolution(width, int(found[2] or width))


def limited(size: MapSize, edge: int) -> MapSize:
    """A size halved until it has no more texels than a square with this edge. size: of powers of two, neither much less."""
    height, width = size
    while height * width > edge * edge:
        height, width = height // 2, width // 2
    return height, width
