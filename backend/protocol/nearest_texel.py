"""Which texel that a face covers is the nearest one to each texel of a map: what margins are filled from.

Maps repeat, so the way may lead over a border. The distances are Euclidean: four sweeps hand on, from row to row and from
column to column, how far away the nearest texel is in both directions.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NEIGHBORS = (0, -1, 1)


def way_to_nearest(covered: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """How many rows and columns further, int32 [H, W] each, the nearest covered texel lies, over the borders too.

    covered: bool [H, W], of which at least one is true.
    """
    far = np.int32(sum(covered.shape))
    rows = np.where(covered, np.int32(0), far)
    columns = rows.copy()
    for _ in range(2):
        _sweep(rows, columns, 1)
        _sweep(rows, columns, -1)
        rows, columns = np.ascontiguousarray(columns.T), np.ascontiguousarray(rows.T)
    return rows, columns


def nearest_texels(covered: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The number of the nearest covered texel, row by row, int32 [H, W], and its distance in texels, float32 [H, W]."""
    height, width = covered.shape
    rows, columns = way_to_nearest(covered)
    distance = np.sqrt((rows * rows + columns * columns).astype(np.float32))
    row = (np.arange(height, dtype=np.int32)[:, None] + rows) % np.int32(height)
    column = (np.arange(width, dtype=np.int32)[None, :] + columns) % np.int32(width)
    return row * np.int32(width) + column, distance


def _sweep(along: NDArray[np.int32], across: NDArray[np.int32], step: int) -> None:
    """Hand on from line to line, in steps of 1 or -1, what lies nearer than what a texel knows; once and a half around."""
    count = len(along)
    squares = along * along + across * across
    last = count + count // 2
    for line in range(last) if step > 0 else range(count - 1, count - 1 - last, -1):
        own, before = line % count, (line - step) % count
        if not squares[own].any():
            continue
        behind, beside = along[before] - np.int32(step), across[before]
        for side in NEIGHBORS:
            # A texel there is one line and perhaps one place nearer to what it knows.
            there = np.roll(behind, -side) if side else behind
            further = np.roll(beside, -side) + np.int32(side) if side else beside
            found = there * there + further * further
            better = found < squares[own]
            if better.any():
                np.copyto(squares[own], found, where=better)
                np.copyto(along[own], there, where=better)
                np.copyto(across[own], further, where=better)
