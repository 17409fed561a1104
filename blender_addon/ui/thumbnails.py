# SPDX-License-Identifier: GPL-3.0-or-later
"""Small pictures in the sidebar: the live maps, and the curve of the fit. They are not datablocks, so no file holds them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import bpy
import bpy.utils.previews
import numpy as np
from numpy.typing import NDArray

CURVE_SIZE = (96, 96)
CURVE_COLOR = (86, 156, 255, 255)
GRID_COLOR = (128, 128, 128, 90)
LINE_WIDTH = 2.5
MARGIN = 4

_icons: Any = None  # an ImagePreviewCollection while registered
_shown: dict[str, object] = {}


def icon(name: str, version: object, pixels: NDArray[np.uint8]) -> int:
    """The icon number of the picture `name`, uint8 [h, w, 4], row 0 at the top; painted again when `version` changes."""
    entry = _icons.get(name) or _icons.new(name)
    if _shown.get(name) != version:
        entry.image_size = (pixels.shape[1], pixels.shape[0])
        entry.image_pixels.foreach_set(np.ascontiguousarray(pixels[::-1]).view(np.int32).ravel())
        _shown[name] = version
    return int(entry.icon_id)


def curve_picture(curve: Sequence[tuple[float, float]]) -> NDArray[np.uint8]:
    """A line through points (seconds, dB), uint8 [96, 96, 4], row 0 at the top, over lines every 10 dB."""
    width, height = CURVE_SIZE
    picture = np.zeros((height, width, 4), dtype=np.uint8)
    seconds, values = np.array(curve, dtype=np.float64).T
    lowest, highest = values.min() - 0.5, values.max() + 0.5

    def row_of(value: NDArray[np.float64]) -> NDArray[np.float64]:
        row: NDArray[np.float64] = (
            height - 1 - MARGIN - (value - lowest) / (highest - lowest) * (height - 1 - 2 * MARGIN)
        )
        return row

    for level in np.arange(np.ceil(lowest / 10.0) * 10.0, highest, 10.0):
        picture[round(float(row_of(level)))] = GRID_COLOR
    columns = np.arange(width)
    at = seconds[0] + (columns - MARGIN) / (width - 1 - 2 * MARGIN) * max(seconds[-1] - seconds[0], 1e-9)
    middle = row_of(np.interp(at, seconds, values))
    # Where the line is steep it covers every row between its neighbors.
    beside = np.stack([np.roll(middle, 1), middle, np.roll(middle, -1)])
    beside[0, 0], beside[2, -1] = middle[0], middle[-1]
    top, bottom = 0.5 * (beside.min(axis=0) + middle), 0.5 * (beside.max(axis=0) + middle)
    rows = np.arange(height)[:, None]
    distance = np.maximum(np.maximum(top - rows, rows - bottom), 0.0)
    opacity = np.clip(0.5 + 0.5 * LINE_WIDTH - distance, 0.0, 1.0)[..., None]
    painted: NDArray[np.uint8] = np.rint(picture * (1.0 - opacity) + np.array(CURVE_COLOR) * opacity).astype(np.uint8)
    return painted


def register() -> None:
    """Make room for the pictures."""
    global _icons
    _icons = bpy.utils.previews.new()


def unregister() -> None:
    """Free the pictures."""
    global _icons
    bpy.utils.previews.remove(_icons)
    _icons = None
    _shown.clear()
