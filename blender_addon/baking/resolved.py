# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether values taken in the middles of texels say all there is, so that means over the texels would be no different.

The mean of a smooth function over a texel differs from its middle by a 24th of its second difference in each direction.
Detail that is finer than texels can look smooth where its period is nearly theirs: points between the middles tell.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .cycles_bake import Texels

SMOOTH = 0.02  # second difference, of the largest value or 1: a mean that is off by less than half a step of 8 bits
BETWEEN = 0.012  # what linear interpolation misses of values between texels that are smooth
FEW = 1e-4  # share of the texels that may be otherwise: not the edge of anything


def is_smooth(texels: Texels) -> bool:
    """Whether neighboring texels hardly differ from a straight line."""
    values, covered = texels.values, texels.covered
    limit = SMOOTH * scale_of(texels)
    bent = total = 0
    for before, here, after in ((np.s_[:-2], np.s_[1:-1], np.s_[2:]), (np.s_[:, :-2], np.s_[:, 1:-1], np.s_[:, 2:])):
        known = covered[before] & covered[here] & covered[after]
        second = values[before] - 2.0 * values[here] + values[after]
        bent += int((np.abs(second).max(axis=-1) > limit)[known].sum())
        total += int(known.sum())
    return bent <= FEW * total


def agrees(texels: Texels, others: Texels) -> bool:
    """Whether texels, linearly interpolated, have the values that were found at other points: the middles of other texels."""
    size, other = len(texels.covered), len(others.covered)
    places = (np.arange(other) + 0.5) * size / other - 0.5
    low = np.clip(np.floor(places).astype(int), 0, size - 2)
    weights = (places - low).astype(np.float32)
    known, expected = others.covered.copy(), np.zeros((other, other, 3), np.float32)
    for down in (0, 1):
        for right in (0, 1):
            rows, columns = np.ix_(low + down, low + right)
            share = np.outer(weights if down else 1.0 - weights, weights if right else 1.0 - weights)
            known &= texels.covered[rows, columns]
            expected += texels.values[rows, columns] * share[..., None]
    off: NDArray[np.bool_] = np.abs(expected - others.values).max(axis=-1) > BETWEEN * scale_of(texels)
    return int(off[known].sum()) <= FEW * max(1, int(known.sum()))


def scale_of(texels: Texels) -> float:
    """The largest value, at least 1."""
    return max(1.0, float(np.abs(texels.values[texels.covered]).max(initial=0.0)))
