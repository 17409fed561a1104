# SPDX-License-Identifier: GPL-3.0-or-later
"""Fill the texels that no face covers, so that nothing else bleeds into the faces, at any mip level."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..protocol.nearest_texel import nearest_texels


class Margin:
    """Fills maps of one canvas or tile, whose passes mostly cover the same texels."""

    def __init__(self) -> None:
        self._known: tuple[NDArray[np.bool_], NDArray[np.intp]] | None = None

    def fill(self, values: NDArray[np.float32], covered: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Values [H, W, C] in which a texel that is not covered, bool [H, W], has the value of the nearest that is."""
        if covered.all() or not covered.any():
            return values
        if self._known is None or not np.array_equal(covered, self._known[0]):
            self._known = covered, nearest_texels(covered)[0]
        filled: NDArray[np.float32] = values.reshape(-1, values.shape[-1])[self._known[1]]
        return filled


def is_far(covered: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """Which texels are more than `width` texels away from any covered one, bool [H, W]."""
    if not covered.any():
        return np.zeros_like(covered)
    return nearest_texels(covered)[1] > width
