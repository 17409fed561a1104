# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings that say how wide and how high the maps are."""

from __future__ import annotations

import math
from typing import Any

from bpy.props import EnumProperty, IntProperty

from ..common.errors import PbrFitError
from ..protocol.map_shape import SQUARE, Resolution, map_size, shaped
from ..protocol.quality import DEFAULT_RESOLUTION, LARGEST_RESOLUTION, SMALLEST_RESOLUTION

RESOLUTIONS = [2**power for power in range(SMALLEST_RESOLUTION.bit_length() - 1, LARGEST_RESOLUTION.bit_length())]
DESCRIPTION = "Width and height of the maps in pixels. More than the views can show does not help"

_shown_sizes: list[tuple[str, str, str, int]] = []  # Blender does not keep the texts of items that change


def round_resolution(settings: MapShapeSettings, _context: Any) -> None:
    """Set the nearest power of two, which the edges of maps must be."""
    nearest = 2 ** round(math.log2(settings.resolution))
    if nearest != settings.resolution:
        settings.resolution = nearest


def chosen_shape(settings: MapShapeSettings) -> str:
    """The aspect ratio; square where a file has one that this version does not know, which the menu shows as none."""
    return settings.map_shape or SQUARE


def size_items(settings: MapShapeSettings, _context: Any) -> list[tuple[str, str, str, int]]:
    """What the menu of the resolution shows: width and height in the chosen shape."""
    _shown_sizes.clear()
    for number, edge in enumerate(RESOLUTIONS):
        height, width = map_size(shaped(edge, chosen_shape(settings)))
        _shown_sizes.append((str(edge), f"{width} x {height}", "", number))
    return _shown_sizes


def shown_resolution(settings: MapShapeSettings) -> int:
    """The number of the resolution in the menu."""
    return RESOLUTIONS.index(settings.resolution)


def choose_resolution(settings: MapShapeSettings, number: int) -> None:
    """Choose the resolution with this number in the menu."""
    settings.resolution = RESOLUTIONS[number]


class MapShapeSettings:
    """Part of the settings of a scene."""

    resolution: IntProperty(
        name="Resolution",
        description="Width and height of the maps in pixels, or the longer of the two, rounded to a power of two",
        default=DEFAULT_RESOLUTION,
        min=SMALLEST_RESOLUTION,
        max=LARGEST_RESOLUTION,
        update=round_resolution,
    )
    resolution_choice: EnumProperty(
        name="Resolution",
        description=DESCRIPTION,
        items=size_items,
        get=shown_resolution,
        set=choose_resolution,
    )
    map_shape: EnumProperty(
        name="Aspect Ratio",
        description="Width to height of the maps",
        items=[
            (SQUARE, "1:1", "Square, as most materials have them"),
            ("2:1", "2:1", "Twice as wide as high, as trim sheets are"),
            ("4:1", "4:1", "Four times as wide as high, for long trims and signs"),
            ("8:1", "8:1", "Eight times as wide as high, for strips such as rails and cables"),
            ("1:2", "1:2", "Twice as high as wide, as sheets of posters and doors are"),
            ("1:4", "1:4", "Four times as high as wide, for columns and banners"),
            ("1:8", "1:8", "Eight times as high as wide, for upright strips such as poles"),
        ],
        default=SQUARE,
    )


def map_resolution(settings: MapShapeSettings) -> Resolution:
    """The edge of square maps, else (width, height). Raises PbrFitError if an edge would be shorter than any map's."""
    found = shaped(settings.resolution, chosen_shape(settings))
    height, width = map_size(found)
    if min(height, width) < SMALLEST_RESOLUTION:
        least = SMALLEST_RESOLUTION * max(height, width) // min(height, width)
        raise PbrFitError(
            f"Maps of {width} x {height} pixels are too narrow: each edge has at least {SMALLEST_RESOLUTION}.",
            f"Choose a resolution of at least {least}, or an aspect ratio nearer to 1:1, in the panel Settings.",
        )
    return found


def texel_count(settings: MapShapeSettings) -> int:
    """How many texels one map has, whether or not maps may be so small."""
    height, width = map_size(shaped(settings.resolution, chosen_shape(settings)))
    return height * width
