# SPDX-License-Identifier: GPL-3.0-or-later
"""Fill the texels that no face covers, so that nothing else bleeds into the faces, at any mip level."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NEAR = 4  # texels around faces that get the mean of their neighbors, one ring after the other
NEIGHBORS = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]


def fill(values: NDArray[np.float32], covered: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Values [size, size, C] with all texels filled that are not covered [size, size]; size is a power of two."""
    if covered.all() or not covered.any():
        return values
    values = np.where(covered[..., None], values, np.float32(0.0))
    for _ in range(NEAR):
        covered = add_ring(values, covered)
    return np.where(covered[..., None], values, from_coarser(values, covered))


def add_ring(values: NDArray[np.float32], covered: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fill the texels beside covered ones in place; returns what is covered then."""
    padded = np.pad(covered, 1)
    height, width = covered.shape
    near = np.zeros_like(covered)
    for y, x in NEIGHBORS:
        near |= padded[1 + y : 1 + y + height, 1 + x : 1 + x + width]
    rows, columns = np.nonzero(near & ~covered)
    total = np.zeros((len(rows), values.shape[-1]), np.float32)
    count = np.zeros((len(rows), 1), np.float32)
    for y, x in NEIGHBORS:
        known = padded[1 + rows + y, 1 + columns + x]
        total[known] += values[(rows + y)[known], (columns + x)[known]]
        count[known] += 1.0
    values[rows, columns] = total / count
    ringed = covered.copy()
    ringed[rows, columns] = True
    return ringed


def from_coarser(values: NDArray[np.float32], covered: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Values [size, size, C] for the texels that are not covered, from means over ever larger squares."""
    height, width = covered.shape
    if min(height, width) == 1:
        return values
    weights = covered.astype(np.float32)[..., None]
    blocks = (height // 2, 2, width // 2, 2)
    total = weights.reshape(*blocks, 1).sum(axis=(1, 3))
    means = (values * weights).reshape(*blocks, -1).sum(axis=(1, 3)) / np.maximum(total, 1.0)
    known = total[..., 0] > 0.0
    if not known.all():
        means = np.where(known[..., None], means, from_coarser(means, known))
    larger: NDArray[np.float32] = means.repeat(2, axis=0).repeat(2, axis=1)
    return larger
