# SPDX-License-Identifier: GPL-3.0-or-later
"""Linear pictures on Blender's GPU as the display shows them, where no render engine may use Blender's own display shader."""

from __future__ import annotations

from dataclasses import dataclass

import gpu
import numpy as np
from numpy.typing import NDArray

from .image import GlImage
from .mesh import square_batch
from .renderer import drawing_state
from .shader import UniformBlock, compiled
from .sources import display_source
from .textures import texture_of

Place = tuple[int, int, int, int]
"""Left, bottom, width and height in pixels."""


@dataclass(frozen=True)
class Table:
    """What the display shows of linear Rec.709 colors: display values float32 [side * side, side, 4], from 2 ** fewest_stops to
    2 ** most_stops; red grows along a row, green from row to row, blue every `side` rows."""

    values: NDArray[np.float32]
    fewest_stops: float
    most_stops: float


class GlDisplay:
    """Shows pictures with one table. Use it while a GPU context is active."""

    def __init__(self, table: Table) -> None:
        self._table = texture_of(table.values, "RGBA16F")
        self._shader = compiled(display_source(table.values.shape[1], table.fewest_stops, table.most_stops))
        self._square = square_batch()
        self._block = UniformBlock()

    def show(
        self,
        image: GlImage,
        place: Place,
        background: tuple[float, float, float],
        first: gpu.types.GPUTexture,
        second: gpu.types.GPUTexture | None = None,
        gain: float = 1.0,
        over_view: bool = False,
    ) -> None:
        """Fill an image with a picture, linear Rec.709 and premultiplied, at its place; or, with a second picture, with the
        error between the two, `gain` times as large.

        background: display values, around and behind it; over_view: whether the image holds not display values, but what Blender
        makes them of when it is drawn over a 3D view.
        """
        values = np.zeros((3, 4), np.float32)
        values[0], values[1, :3], values[2, :3] = place, (second is not None, gain, over_view), background
        block = self._block.set(values.reshape(-1))
        with drawing_state(), image.bind():
            gpu.state.blend_set("NONE")
            gpu.state.depth_mask_set(False)
            gpu.state.depth_test_set("NONE")
            self._shader.bind()
            self._shader.uniform_block("display", block)
            self._shader.uniform_sampler("first", first)
            self._shader.uniform_sampler("second", first if second is None else second)
            self._shader.uniform_sampler("table", self._table)
            self._square.draw(self._shader)
