# SPDX-License-Identifier: GPL-3.0-or-later
"""Values of texels in another size, width and height apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def resized(values: Array, width: int, height: int) -> Array:
    """Values [H, W, C] at [height, width, C]: means of whole texels where there are more, in a straight line between others."""
    return _along(_along(values, height).swapaxes(0, 1), width).swapaxes(0, 1)


def _along(values: Array, size: int) -> Array:
    """The same along the first axis only."""
    count = len(values)
    factor = max(1, count // size)
    if factor > 1:
        whole = values[: count // factor * factor]
        values = whole.reshape(-1, factor, *values.shape[1:]).mean(axis=1, dtype=np.float32)
        count = len(values)
    if count == size:
        return values
    place = np.clip((np.arange(size, dtype=np.float32) + 0.5) * (count / size) - 0.5, 0.0, count - 1.0)
    first = np.minimum(place.astype(np.intp), max(count - 2, 0))
    share: NDArray[np.float32] = (place - first).astype(np.float32)[:, None, None]
    found: Array = values[first] * (1.0 - share) + values[np.minimum(first + 1, count - 1)] * share
    return found
