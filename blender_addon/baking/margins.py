# SPDX-License-Identifier: GPL-3.0-or-later
"""Fill the texels that no face covers, so that nothing else bleeds into the faces, at any mip level."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..protocol.nearest_texel import nearest_texels

KINDS = 2  # of passes: with one point in each texel, and with several, which cover more texels


class Margin:
    """Fills maps of one canvas or tile, whose passes mostly cover the same texels."""

    def __init__(self) -> None:
        self._known: list[tuple[NDArray[np.bool_], NDArray[np.int32]]] = []

    def fill(self, values: NDArray[np.float32], covered: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Values [H, W, C] in which a texel that is not covered, bool [H, W], has the value of the nearest that is."""
        if covered.all() or not covered.any():
            return values
        nearest = next((found for mask, found in self._known if np.array_equal(covered, mask)), None)
        if nearest is None:
            nearest = nearest_texels(covered)[0]
            self._known = [(covered, nearest), *self._known][:KINDS]
        filled: NDArray[np.float32] = values.reshape(-1, values.shape[-1])[nearest]
        return filled


def is_far(covered: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """Which texels are more than `width` texels away from any covered one, bool [H, W]."""
    if not covered.any():
        return np.zeros_like(covered)
    return nearest_texels(covered)[1] > width
