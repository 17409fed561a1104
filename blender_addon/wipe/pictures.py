# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures of scenes that are drawn bit by bit, so that no redraw of a view takes long, even without a GPU."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import gpu
import numpy as np
from numpy.typing import NDArray

from ..preview.engine.hub import hub, is_software_renderer
from ..preview.engine.viewport import shared_size
from ..preview.gl.targets import KeptImage
from ..preview.scene.cameras import Window, windowed
from ..preview.scene.light import ShownLight
from ..preview.scene.scene import PreviewScene

SOFTWARE_PIXELS = 40_000  # in one redraw
SOFTWARE_LEVELS = ((4, 1), (2, 1), (1, 1))
GPU_LEVELS = ((1, 1), (1, 2), (1, 4))
"""How coarsely a picture is drawn, one after the other: pixels of the view along a side of one of the picture's, and
samples along a side of that."""


@dataclass(frozen=True)
class Sight:
    """A camera: float64 [4, 4] view and projection in the renderer's axes, y flipped; size: width and height in pixels."""

    view: NDArray[np.float64]
    projection: NDArray[np.float64]
    size: tuple[int, int]

    @property
    def key(self) -> Hashable:
        """Equal for cameras that see the same."""
        return self.view.tobytes(), self.projection.tobytes(), self.size


class Picture:
    """A scene seen from a camera. texture: linear Rec.709, premultiplied, its first row the lowest; None before the first one.
    progress: how far the next texture is, as (level, row); more: whether there is more to draw."""

    def __init__(self) -> None:
        self.texture: gpu.types.GPUTexture | None = None
        self.progress = (0, 0)
        self.more = False
        self._scene: PreviewScene | None = None
        self._light: ShownLight | None = None
        self._sight: Sight | None = None
        self._next: KeptImage | None = None

    def aim(self, scene: PreviewScene, light: ShownLight | None, sight: Sight) -> None:
        """Say what to draw from now on."""
        moved = self._sight is None or sight.key != self._sight.key
        if moved or scene is not self._scene or light is not self._light:
            self._scene, self._light, self._sight = scene, light, sight
            # New maps or a new light must not make a picture coarse that stands still.
            self.progress, self.more = (0 if moved else first_full(), 0), True

    def draw_more(self) -> None:
        """Draw the next part of what there is to draw."""
        if not self.more or self._scene is None or self._sight is None:
            return
        software, sight = is_software_renderer(), self._sight
        levels = SOFTWARE_LEVELS if software else GPU_LEVELS
        level, row = self.progress
        share, samples = levels[level]
        width, height = shared_size(sight.size, share)
        if self._next is None or row == 0:
            self._next = KeptImage((width, height))
        rows = max(1, SOFTWARE_PIXELS // width) if software else height
        band = Window(0, row, width, min(rows, height - row))
        projection = windowed(sight.projection, band, (width, height))
        size = (band.width, band.height)
        image = hub().drawing.draw(self._scene, self._light, sight.view, projection, size, spp=samples)
        self._next.put(image.texture_color, 0, band.y)
        if row + band.height < height:
            self.progress = (level, row + band.height)
            return
        self.texture, self._next = self._next.texture, None
        self.progress = (level + 1, 0)
        self.more = level + 1 < len(levels)


def first_full() -> int:
    """The first level with a pixel of the picture for each of the view."""
    levels = SOFTWARE_LEVELS if is_software_renderer() else GPU_LEVELS
    return next(number for number, (share, _) in enumerate(levels) if share == 1)
