# SPDX-License-Identifier: GPL-3.0-or-later
"""Images on the GPU that a viewport keeps: copies of drawn images, and frames of the backend."""

from __future__ import annotations

from typing import Any

import gpu
import numpy as np
from gpu_extras.presets import draw_texture_2d
from mathutils import Matrix
from numpy.typing import NDArray

HALF_LARGEST = 65504.0


class KeptImage:
    """A copy of a drawn image, with what is laid over it; premultiplied. The next frame of any viewport leaves it alone."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self.texture = gpu.types.GPUTexture(size, format="RGBA16F")
        self._framebuffer = gpu.types.GPUFrameBuffer(color_slots=(self.texture,))

    def take(self, texture: gpu.types.GPUTexture | None) -> None:
        """Copy an image of the same size; None: make it empty."""
        if texture is None:
            self._framebuffer.clear(color=(0.0, 0.0, 0.0, 0.0))
        else:
            self._draw(texture, (0, 0, *self.size), "NONE")

    def put(self, texture: gpu.types.GPUTexture, left: int, bottom: int) -> None:
        """Replace a part of this image by a smaller one, whose lower left pixel comes to (left, bottom)."""
        self._draw(texture, (left, bottom, texture.width, texture.height), "NONE")

    def lay_over(self, texture: gpu.types.GPUTexture, left: int, bottom: int) -> None:
        """Draw a smaller image over this one, its lower left pixel at (left, bottom)."""
        self._draw(texture, (left, bottom, texture.width, texture.height), "ALPHA_PREMULT")

    def _draw(self, texture: gpu.types.GPUTexture, place: tuple[int, int, int, int], mode: str) -> None:
        (left, bottom, width, height), (wide, high) = place, self.size
        blend = gpu.state.blend_get()
        with self._framebuffer.bind(), gpu.matrix.push_pop(), gpu.matrix.push_pop_projection():
            gpu.matrix.load_matrix(Matrix.Identity(4))
            gpu.matrix.load_projection_matrix(Matrix.Identity(4))
            gpu.state.blend_set(mode)
            corner = (2.0 * left / wide - 1.0, 2.0 * bottom / high - 1.0)
            draw_texture_2d(texture, corner, 2.0 * width / wide, 2.0 * height / high)
            gpu.state.blend_set(blend)


def texture_of_frame(image: NDArray[Any]) -> gpu.types.GPUTexture:
    """A texture of an image [h, w, 4], row 0 at the top. The texture's first row is the lowest, as in Blender's own."""
    height, width = image.shape[:2]
    values = np.ascontiguousarray(image[::-1], dtype=np.float32)
    if image.dtype != np.float16:
        np.minimum(values, HALF_LARGEST, out=values)
    data = gpu.types.Buffer("FLOAT", values.size, values.reshape(-1))
    return gpu.types.GPUTexture((width, height), format="RGBA16F", data=data)
