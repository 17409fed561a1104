# SPDX-License-Identifier: GPL-3.0-or-later
"""The triangles of an object on which no view of a fit saw some texels, and the share of its surface that these are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..export.mesh_reading import MeshReading
from ..export.uv_layout import tile_numbers

POINTS = 4_000_000  # in all triangles, to measure what share of them is unseen
FEWEST_POINTS, MOST_POINTS = 2, 32  # along each side of a triangle


@dataclass(frozen=True)
class UnseenPart:
    """The faces of one material slot, and which texels of their maps no view saw. uv_map: the map that reads them; tile: the
    UDIM tile, 0: none, then UVs repeat; mask: bool [S, S], row 0 at the top."""

    slot_index: int
    uv_map: str
    tile: int
    mask: NDArray[np.bool_]


@dataclass(frozen=True)
class UnseenFaces:
    """Triangles that may have unseen texels: corners float32 [N * 3, 3] in object space, uv float32 [N * 3, 2], and the mask as
    in `UnseenPart`; area: how much of their area is unseen, in object space."""

    corners: NDArray[np.float32]
    uv: NDArray[np.float32]
    mask: NDArray[np.bool_]
    area: float


def unseen_faces(reading: MeshReading, slot_count: int, part: UnseenPart) -> UnseenFaces | None:
    """The triangles of a part that may have unseen texels, of an object that was read with the part's UV map; None if there are
    none, or the object has lost that map."""
    if reading.uv is None or not len(reading.triangles):
        return None
    mine = reading.slots_within(slot_count)[reading.triangle_polygons] == part.slot_index
    uv = reading.uv[reading.triangles]
    if part.tile:
        squares = np.floor(uv.mean(axis=1)).astype(np.int32)
        mine &= tile_numbers(squares) == part.tile
    chosen = np.flatnonzero(mine)
    chosen = chosen[may_be_unseen(uv[chosen], part.mask)]
    if not len(chosen):
        return None
    corners = reading.positions[reading.corner_vertices[reading.triangles[chosen]]]
    area = triangle_areas(corners) * unseen_shares(uv[chosen], part.mask)
    return UnseenFaces(
        np.ascontiguousarray(corners.reshape(-1, 3)),
        np.ascontiguousarray(uv[chosen].reshape(-1, 2)),
        part.mask,
        float(area.sum()),
    )


def surface_area(reading: MeshReading, slot_count: int, slots: Sequence[int]) -> float:
    """The area of the faces of some material slots, in object space."""
    mine = np.isin(reading.slots_within(slot_count)[reading.triangle_polygons], list(slots))
    return float(triangle_areas(reading.positions[reading.corner_vertices[reading.triangles[mine]]]).sum())


def triangle_areas(corners: NDArray[np.float32]) -> NDArray[np.float64]:
    """The areas float64 [T] of triangles [T, 3, 3]."""
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    areas: NDArray[np.float64] = 0.5 * np.linalg.norm(np.cross(first, second).astype(np.float64), axis=1)
    return areas


def may_be_unseen(uv: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether any texel in the box around each triangle is unseen, bool [T]. uv: [T, 3, 2], v up; mask: row 0 at the top."""
    size = len(mask)
    lowest = np.floor(uv.min(axis=1) * size).astype(np.int64)
    highest = np.floor(uv.max(axis=1) * size).astype(np.int64)
    # The masks repeat: a box that is as wide as one has all of it.
    extent = np.minimum(highest - lowest, size - 1)
    left, bottom = np.mod(lowest, size).T
    right, top = left + extent[:, 0], bottom + extent[:, 1]
    sums = np.zeros((2 * size + 1, 2 * size + 1), np.int64)
    sums[1:, 1:] = np.tile(mask[::-1], (2, 2)).cumsum(axis=0).cumsum(axis=1)
    found = sums[top + 1, right + 1] - sums[bottom, right + 1] - sums[top + 1, left] + sums[bottom, left]
    some: NDArray[np.bool_] = found > 0
    return some


def unseen_shares(uv: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """What share of each triangle is unseen, 0..1, float64 [T], from points spread evenly over it. uv: [T, 3, 2]."""
    side = int(np.clip((POINTS / max(1, len(uv))) ** 0.5, FEWEST_POINTS, MOST_POINTS))
    row, column = np.divmod(np.arange(side * side), side)
    # The square of points is folded along its diagonal, on which none of them lies.
    a, b = (row + 1 / 3) / side, (column + 1 / 3) / side
    folded = a + b > 1.0
    a, b = np.where(folded, 1.0 - a, a), np.where(folded, 1.0 - b, b)
    weights = np.stack([1.0 - a - b, a, b])
    size, count = len(mask), np.zeros(len(uv))
    upright = mask[::-1]
    for first, second, third in weights.T:
        place = uv[:, 0] * first + uv[:, 1] * second + uv[:, 2] * third
        x, y = np.mod(np.floor(place * size).astype(np.int64), size).T
        count += upright[y, x]
    shares: NDArray[np.float64] = count / weights.shape[1]
    return shares
