# SPDX-License-Identifier: GPL-3.0-or-later
"""How faces lie in a UV map: in which UDIM tile, and where several share one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FIRST_TILE = 1001
TILES_IN_A_ROW = 10
LAST_TILE = 2000
BORDER = 1e-4  # UVs so far outside a tile still belong to it
GRID = 512
SHARES_FROM = 0.002  # of the covered cells; a smaller share is thin lines between islands
CANDIDATES = 2_000_000
BLOCK = 1 << 14  # triangles or cells at a time, few enough to stay in the cache


def polygon_boxes(
    uv: NDArray[np.float32], loop_starts: NDArray[np.int32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The lowest and the highest UV of each polygon, [P, 2] each.

    uv: [corners, 2], polygon after polygon; loop_starts: [P], first corner of each.
    """
    planes = np.ascontiguousarray(uv.T)
    return np.minimum.reduceat(planes, loop_starts, axis=1).T, np.maximum.reduceat(planes, loop_starts, axis=1).T


def polygon_tiles(
    lowest: NDArray[np.float32], highest: NDArray[np.float32]
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """The unit square that each polygon lies in.

    lowest, highest: [P, 2], from `polygon_boxes`. Returns the squares' lower corners, int32 [P, 2], and bool [P]: whether
    the polygon lies within its square.
    """
    squares = np.floor(0.5 * (lowest.astype(np.float64) + highest))
    within = ((lowest >= squares - BORDER) & (highest <= squares + 1.0 + BORDER)).all(axis=1)
    return squares.astype(np.int32), within


def tile_numbers(squares: NDArray[np.int32]) -> NDArray[np.int32]:
    """UDIM numbers, int32 [P], of unit squares [P, 2]; 0 if UDIM has no number for one."""
    numbers = FIRST_TILE + squares[:, 0] + TILES_IN_A_ROW * squares[:, 1]
    numbered = (squares >= 0).all(axis=1) & (squares[:, 0] < TILES_IN_A_ROW) & (numbers <= LAST_TILE)
    return np.where(numbered, numbers, 0).astype(np.int32)


@dataclass(frozen=True)
class Overlap:
    """Where triangles share a place.

    share: of the covered part of the map, 0..1; groups: numbers of the groups involved; mixed: whether triangles of different
    kinds do.
    """

    share: float
    groups: tuple[int, ...]
    mixed: bool = False


def find_overlap(
    corners: NDArray[np.float32], groups: NDArray[np.integer[Any]], kinds: NDArray[np.integer[Any]] | None = None
) -> Overlap | None:
    """Find triangles that lie over each other in a map that repeats; None if no more than thin lines do.

    corners: float32 [T, 3, 2]; groups: int [T], what each triangle belongs to (for example, a number for each object);
    kinds: int [T], what else tells triangles apart, such as a number for each material.
    Tests the centers of a grid of cells: a center inside two triangles is an overlap. If so many triangles lie over each
    other that this would take long, a fixed random part of them is tested, enough to find an overlap that is everywhere.
    """
    cells = np.empty(len(corners), dtype=np.int64)
    for start in range(0, len(corners), BLOCK):
        width, height = np.maximum(on_grid(corners[start : start + BLOCK])[2], 0)
        np.multiply(width, height, out=cells[start : start + BLOCK], dtype=np.int64)
    chosen = np.flatnonzero((cells > 0) & (cells <= 4 * GRID * GRID))
    if cells[chosen].sum() > CANDIDATES:
        chosen = np.random.default_rng(0).permutation(chosen)
        chosen = chosen[: max(2, int(np.searchsorted(np.cumsum(cells[chosen]), CANDIDATES)))]
    parts: list[tuple[NDArray[np.int32], NDArray[np.int64]]] = []
    for mine in np.split(chosen, np.flatnonzero(np.diff(np.cumsum(cells[chosen]) // BLOCK)) + 1):
        inside, number = cells_within(*on_grid(corners[mine]), cells[mine])
        parts.append((inside, mine[number]))
    covered = np.concatenate([part for part, _ in parts])
    owner = np.concatenate([part for _, part in parts])
    hits = np.bincount(covered, minlength=GRID * GRID)
    used, shared = int((hits > 0).sum()), int((hits > 1).sum())
    if shared <= SHARES_FROM * used:
        return None
    involved = np.unique(groups[owner[hits[covered] > 1]])
    mixed = kinds is not None and cells_of_several(covered, kinds[owner]) > SHARES_FROM * used
    return Overlap(shared / used, tuple(int(group) for group in involved), mixed)


def cells_of_several(cells: NDArray[np.int32], kinds: NDArray[np.integer[Any]]) -> int:
    """How many cells, numbers int [H], triangles of several kinds [H] lie in."""
    any_kind = np.zeros(GRID * GRID, dtype=kinds.dtype)
    any_kind[cells] = kinds
    return len(np.unique(cells[any_kind[cells] != kinds]))


def on_grid(
    corners: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.int32]]:
    """Triangles [T, 3, 2], each moved by whole squares to the first one, on the grid of cells.

    Returns planes float32 [6, T], x and y of the three corners in cells; first and count, int32 [2, T]: the box of cell
    centers, in x and y.
    """
    own = np.ascontiguousarray(corners.reshape(-1, 6).T)  # numpy is slow to reduce an axis of three
    planes = np.empty(own.shape, dtype=np.float32)
    first = np.empty((2, len(corners)), dtype=np.int32)
    count = np.empty((2, len(corners)), dtype=np.int32)
    for axis in range(2):
        squares = np.floor((own[axis] + own[axis + 2] + own[axis + 4]) / 3.0)
        # The offset keeps the centers off the lines of any grid that a person would draw.
        planes[axis::2] = (own[axis::2] - squares) * GRID - 0.5137
        a, b, c = planes[axis::2]
        first[axis] = np.ceil(np.minimum(np.minimum(a, b), c)).astype(np.int32)
        count[axis] = np.floor(np.maximum(np.maximum(a, b), c)).astype(np.int32) - first[axis] + 1
    return planes, first, count


def cells_within(
    planes: NDArray[np.float32], first: NDArray[np.int32], count: NDArray[np.int32], cells: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Every cell whose center lies strictly inside a triangle: (cell int32 [H], number of the triangle int64 [H]).

    planes, first, count: from `on_grid`; cells: how many centers the box of each triangle has.
    """
    owner = np.repeat(np.arange(len(cells)), cells)
    before = (np.cumsum(cells) - cells).astype(np.int32)
    within_box = np.arange(len(owner), dtype=np.int32) - before[owner]
    row, column = np.divmod(within_box, count[0, owner])
    x, y = first[0, owner] + column, first[1, owner] + row
    ax, ay, bx, by, cx, cy = planes.astype(np.float64)[:, owner]
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    area[area == 0.0] = np.inf
    inside = np.ones(len(owner), dtype=bool)
    for from_x, from_y, to_x, to_y in ((ax, ay, bx, by), (bx, by, cx, cy), (cx, cy, ax, ay)):
        across = (to_x - from_x) * (y - from_y) - (to_y - from_y) * (x - from_x)
        inside &= across / area > 1e-4
    return (y[inside] % GRID) * GRID + x[inside] % GRID, owner[inside]
