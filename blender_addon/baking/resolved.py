# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether values taken in the middles of texels say all there is, so that means over the texels would be no different.

The mean of a smooth function over a texel differs from its middle by a 24th of its second difference in each direction.
Detail that is finer than texels can look smooth where its period is nearly theirs: points between the middles tell.
Neighbors in the map that are none on the surface, at the borders of UV islands, tell nothing: positions show which they are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .cycles_bake import Texels

SMOOTH = 0.02  # second difference, of the largest value or 1: a mean that is off by less than half a step of 8 bits
BETWEEN = 0.012  # what linear interpolation misses of values between texels that are smooth
STRAIGHT = 0.5  # of a step: how much two steps on the surface may differ
FEW = 1e-4  # share of the texels that may be otherwise: not the edge of anything


TRIPLES = ((np.s_[:-2], np.s_[1:-1], np.s_[2:]), (np.s_[:, :-2], np.s_[:, 1:-1], np.s_[:, 2:]))
"""Each texel between its two neighbors, in rows and in columns."""


def joined(positions: Texels) -> NDArray[np.bool_]:
    """Which texels have all four neighbors on the surface too, without a fold or a gap between them: bool [H, W].

    positions: where the middles of the texels are in the world.
    """
    found = positions.covered.copy()
    for place in (0, -1):
        found[place] = found[:, place] = False
    for before, here, after in TRIPLES:
        first, last = (
            positions.values[here] - positions.values[before],
            positions.values[after] - positions.values[here],
        )
        bend, step = length(last - first), np.maximum(length(first), length(last))
        found[here] &= positions.covered[before] & positions.covered[after] & (bend < STRAIGHT * step)
    return found


def length(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Lengths [...] of vectors [..., 3]."""
    result: NDArray[np.float32] = np.sqrt(np.square(vectors).sum(axis=-1))
    return result


def is_smooth(texels: Texels, inside: NDArray[np.bool_]) -> bool:
    """Whether neighboring texels hardly differ from a straight line, where they are `joined`: `inside`, bool [H, W]."""
    limit = SMOOTH * scale_of(texels)
    bent = 0
    for before, here, after in TRIPLES:
        second = texels.values[before] - 2.0 * texels.values[here] + texels.values[after]
        bent += int((np.abs(second).max(axis=-1) > limit)[inside[here]].sum())
    return bent <= FEW * 2 * int(inside.sum())


def agrees(texels: Texels, others: Texels, inside: NDArray[np.bool_]) -> bool:
    """Whether texels, linearly interpolated, have the values that were found at other points: the middles of other texels.

    inside: where texels are `joined`, bool [H, W]: elsewhere nothing is compared.
    """
    (top, below), (left, beside) = (
        places_among(texels.covered.shape[axis], others.covered.shape[axis]) for axis in (0, 1)
    )
    known, expected = others.covered.copy(), np.zeros_like(others.values)
    for down in (0, 1):
        for right in (0, 1):
            rows, columns = np.ix_(top + down, left + right)
            share = np.outer(below if down else 1.0 - below, beside if right else 1.0 - beside)
            known &= inside[rows, columns]
            expected += texels.values[rows, columns] * share[..., None]
    off: NDArray[np.bool_] = np.abs(expected - others.values).max(axis=-1) > BETWEEN * scale_of(texels)
    return int(off[known].sum()) <= FEW * max(1, int(known.sum()))


def places_among(count: int, others: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Of the middles of `others` texels in a row, which of `count` texels in the same row lies before each, and how far it
    is from there to the next one, 0..1; beyond the outermost middles it is less or more."""
    places = (np.arange(others) + 0.5) * count / others - 0.5
    before = np.clip(np.floor(places).astype(np.intp), 0, count - 2)
    return before, (places - before).astype(np.float32)


def scale_of(texels: Texels) -> float:
    """The largest value, at least 1."""
    return max(1.0, float(np.abs(texels.values[texels.covered]).max(initial=0.0)))
