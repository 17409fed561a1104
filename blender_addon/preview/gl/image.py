# SPDX-License-Identifier: GPL-3.0-or-later
"""Images that the preview draws into. Not `GPUOffScreen`: creating one while a viewport draws loses Blender's own target."""

from __future__ import annotations

import contextlib

import gpu
import numpy as np
from numpy.typing import NDArray


class GlImage:
    """An image with depth. texture_color: its pixels, the lowest row first, as in Blender's own images."""

    def __init__(self, width: int, height: int, texture_format: str) -> None:
        self.width = width
        self.height = height
        self.texture_color = gpu.types.GPUTexture((width, height), format=texture_format)
        self._depth = gpu.types.GPUTexture((width, height), format="DEPTH_COMPONENT32F")
        self._framebuffer = gpu.types.GPUFrameBuffer(color_slots=(self.texture_color,), depth_slot=self._depth)

    def bind(self) -> contextlib.AbstractContextManager[None]:
        """Draw into all of it while the context lasts."""
        bound: contextlib.AbstractContextManager[None] = self._framebuffer.bind()
        return bound

    def clear(self, color: tuple[float, float, float, float]) -> None:
        """Fill it with this color and the farthest depth. It must be bound."""
        self._framebuffer.clear(color=color, depth=1.0)

    def read(self) -> NDArray[np.float32]:
        """Its pixels, float32 [h, w, 4], row 0 at the top."""
        pixels = self.texture_color.read()
        # Before 5.0, a buffer of three dimensions gives numpy wrong strides.
        pixels.dimensions = self.height * self.width * 4
        return np.array(pixels, dtype=np.float32).reshape(self.height, self.width, 4)[::-1]
