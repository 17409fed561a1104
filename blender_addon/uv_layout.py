# SPDX-License-Identifier: GPL-3.0-or-later
"""How faces lie in a UV map: in which UDIM tile, and where several share the same place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FIRST_TILE = 1001
TILES_IN_A_ROW = 10
LAST_TILE = 2000
BORDER = 1e-4  # UVs this far over a tile's border still belong to it
GRID = 512
SHARES_FROM = 0.002  # of the covered cells: fewer are hairlines between islands
CANDIDATES = 2_000_000


def polygon_tiles(uv: np.ndarray, loop_starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The unit square that each polygon lies in.

    uv: [corners, 2], of polygon after polygon; loop_starts: [P], first corner of each. Returns the squares' lower
    corners, int32 [P, 2], and bool [P]: whether the polygon lies within its square.
    """
    lowest = np.minimum.reduceat(uv, loop_starts, axis=0)
    highest = np.maximum.reduceat(uv, loop_starts, axis=0)
    squares = np.floor(0.5 * (lowest.astype(np.float64) + highest))
    within = ((lowest >= squares - BORDER) & (highest <= squares + 1.0 + BORDER)).all(axis=1)
    return squares.astype(np.int32), within


def extents(uv: np.ndarray, loop_starts: np.ndarray) -> np.ndarray:
    """Width and height of each polygon in the UV map, [P, 2]; arguments as for `polygon_tiles`."""
    return np.maximum.reduceat(uv, loop_starts, axis=0) - np.minimum.reduceat(uv, loop_starts, axis=0)


def tile_numbers(squares: np.ndarray) -> np.ndarray:
    """UDIM numbers, int32 [P], of unit squares [P, 2]; 0 for those that UDIM has no number for."""
    numbers = FIRST_TILE + squares[:, 0] + TILES_IN_A_ROW * squares[:, 1]
    numbered = (squares >= 0).all(axis=1) & (squares[:, 0] < TILES_IN_A_ROW) & (numbers <= LAST_TILE)
    return np.where(numbered, numbers, 0).astype(np.int32)


@dataclass(frozen=True)
class Overlap:
    """Where triangles share a place. share: of the covered part of the map, 0..1; groups: numbers of those involved."""

    share: float
    groups: tuple[int, ...]


def find_overlap(corners: np.ndarray, groups: np.ndarray) -> Overlap | None:
    """Whether triangles lie over each other in a map that repeats; None where no more than a hairline does.

    corners: float [T, 3, 2]; groups: int [T], what each triangle belongs to (one number may stand for one object).
    Looks at the centres of a grid of cells: a centre within two triangles is an overlap. Of layouts so deep that this
    would take long, a fixed random part is looked at, enough to find what lies over each other everywhere.
    """
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]  # numpy is slow at reducing an axis of three
    squares = np.floor((a + b + c) / 3.0)[:, None]
    scaled = ((corners - squares) * GRID - 0.5137).astype(np.float32)  # off the lines of grids that a person would lay
    a, b, c = scaled[:, 0], scaled[:, 1], scaled[:, 2]
    first = np.ceil(np.minimum(np.minimum(a, b), c)).astype(np.int32)
    count = np.floor(np.maximum(np.maximum(a, b), c)).astype(np.int32) - first + 1
    cells = np.maximum(count[:, 0], 0).astype(np.int64) * np.maximum(count[:, 1], 0)
    chosen = np.flatnonzero((cells > 0) & (cells <= 4 * GRID * GRID))
    if cells[chosen].sum() > CANDIDATES:
        chosen = np.random.default_rng(0).permutation(chosen)
        chosen = chosen[: max(2, int(np.searchsorted(np.cumsum(cells[chosen]), CANDIDATES)))]
    covered, owner = cells_within(scaled[chosen], first[chosen], count[chosen], cells[chosen])
    hits = np.bincount(covered, minlength=GRID * GRID)
    used, shared = int((hits > 0).sum()), int((hits > 1).sum())
    if shared <= SHARES_FROM * used:
        return None
    involved = np.unique(groups[chosen[owner[hits[covered] > 1]]])
    return Overlap(shared / used, tuple(int(group) for group in involved))


def cells_within(
    triangles: np.ndarray, first: np.ndarray, count: np.ndarray, cells: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Every cell whose centre lies strictly within a triangle: (cell [H], number of the triangle [H]).

    triangles: float32 [T, 3, 2] in cells; first, count: int32 [T, 2], the box of centres of each; cells: its size.
    """
    owner = np.repeat(np.arange(len(triangles)), cells)
    within_box = np.arange(len(owner)) - np.repeat(np.cumsum(cells) - cells, cells)
    width = count[owner, 0]
    x, y = first[owner, 0] + within_box % width, first[owner, 1] + within_box // width
    a, b, c = (triangles[:, corner].astype(np.float64) for corner in range(3))
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    inside = np.ones(len(owner), dtype=bool)
    scale = np.where(area == 0.0, np.inf, area)[owner]
    for start, end in ((a, b), (b, c), (c, a)):
        edge = (end - start)[owner]
        across = edge[:, 0] * (y - start[owner, 1]) - edge[:, 1] * (x - start[owner, 0])
        inside &= across / scale > 1e-4
    return (y[inside] % GRID) * GRID + x[inside] % GRID, owner[inside]
