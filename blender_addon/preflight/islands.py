# SPDX-License-Identifier: GPL-3.0-or-later
"""UV islands: what they fill, and how they are turned along the longer edge of maps that are not square.

Blender's packing turns islands too, but by the shape of the material's active image, not by that of the maps to come.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ..export.mesh_reading import MeshReading
from ..protocol.map_shape import MapSize

GAP = 0.02  # between islands that are laid apart, of the edge of a square as large as the mean of their boxes

MOST_FACES = 100_000  # of a mesh whose islands are looked at: a second
NEARLY = 0.9  # of its box that a rectangle covers
SAME_PLACE = 1e-4  # of the UV map: what Blender takes for one place of a vertex

Corners = NDArray[np.float64]
"""UVs of corners, [C, 2]."""


def laid_along(uv: Corners, reading: MeshReading, size: MapSize, stacks: bool) -> Corners:
    """The UVs of a mesh with its islands turned and laid apart, from 0 on, for maps of this height and width.

    uv: those of the reading, moved and scaled so that texels of these maps are square; stacks: whether islands whose boxes
    touch or lie over each other stay so.
    """
    islands = islands_of(reading)
    places = uv * (size[1], size[0]) / max(size)
    if stacks:
        islands = stacked(islands, places)
    low, high = boxes_of(islands, places)
    across, up = (high - low).T
    turned = (up > across) if size[1] > size[0] else (across > up)
    mine = turned[islands]
    places[mine] = np.stack([places[mine, 1], -places[mine, 0]], axis=-1)
    low, high = boxes_of(islands, places)
    places += (apart(high - low) - low)[islands]
    return places * max(size) / (size[1], size[0])


def fill_their_boxes(layouts: Iterable[tuple[MeshReading, Corners]]) -> bool:
    """Whether islands are rectangles, nearly, in meshes with these UVs; of meshes of many faces that is not looked at.

    By their outlines Blender packs such islands no better than by their boxes, and searches for long: a minute for the six
    equal squares of a cube.
    """
    inside = boxes = 0.0
    for reading, uv in layouts:
        if len(reading.totals) > MOST_FACES:
            return False
        low, high = boxes_of(islands_of(reading), uv)
        boxes += float((high - low).prod(axis=-1).sum())
        inside += float(triangle_areas(uv[reading.triangles]).sum())
    return inside >= NEARLY * boxes


def islands_of(reading: MeshReading) -> NDArray[np.intp]:
    """The number of the island of each corner, [C]: faces belong together that share a vertex with the same UVs."""
    assert reading.uv is not None  # its map was read by name
    steps = reading.uv.astype(np.float64) / SAME_PLACE
    relations = [Relation(np.repeat(np.arange(len(reading.totals)), reading.totals))]
    for shift in (0.0, 0.5):  # what one rounding parts, the other does not
        rounded = np.floor(steps + shift).astype(np.int64)
        keys = np.concatenate([reading.corner_vertices[:, None], rounded], axis=1)
        relations.append(Relation(np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1)))
    islands = np.arange(len(steps))
    while True:
        found = islands
        for relation in relations:
            found = relation.lowest(found)
        found = found[found]
        if np.array_equal(found, islands):
            return numbered(islands)
        islands = found


class Relation:
    """Which corners belong together: those with the same number."""

    def __init__(self, numbers: NDArray[np.intp]) -> None:
        """numbers: of each corner, [C], from 0 on without gaps."""
        self._numbers = numbers
        self._order = np.argsort(numbers, kind="stable")
        self._starts = np.searchsorted(numbers[self._order], np.arange(numbers.max() + 1))

    def lowest(self, labels: NDArray[np.intp]) -> NDArray[np.intp]:
        """The lowest label among those that belong together, for each corner."""
        found: NDArray[np.intp] = np.minimum.reduceat(labels[self._order], self._starts)[self._numbers]
        return found


def numbered(labels: NDArray[np.intp]) -> NDArray[np.intp]:
    """Labels [C] as numbers from 0 on without gaps."""
    found: NDArray[np.intp] = np.unique(labels, return_inverse=True)[1].reshape(-1)
    return found


def boxes_of(islands: NDArray[np.intp], places: Corners) -> tuple[Corners, Corners]:
    """The lowest and the highest place of each island, [I, 2] each."""
    order = np.argsort(islands, kind="stable")
    starts = np.searchsorted(islands[order], np.arange(islands.max(initial=-1) + 1))
    return np.minimum.reduceat(places[order], starts), np.maximum.reduceat(places[order], starts)


def stacked(islands: NDArray[np.intp], places: Corners) -> NDArray[np.intp]:
    """The islands of corners [C], with one number for those whose boxes touch or lie over each other."""
    low, high = boxes_of(islands, places)
    group = np.arange(len(low))

    def root(island: int) -> int:
        while group[island] != island:
            group[island] = group[group[island]]
            island = int(group[island])
        return island

    order = np.argsort(low[:, 0], kind="stable")
    reach = np.searchsorted(low[order, 0], high[order, 0], side="right")
    for place, island in enumerate(order):
        others = order[place + 1 : reach[place]]
        touching = (low[others, 1] <= high[island, 1]) & (high[others, 1] >= low[island, 1])
        for other in others[touching]:
            group[root(int(other))] = root(int(island))
    roots = np.array([root(island) for island in range(len(group))])
    return numbered(roots[islands])


def covered(reading: MeshReading) -> float:
    """The share of the square that the faces of a mesh cover in its UV map; those over each other count each."""
    assert reading.uv is not None  # its map was read by name
    return float(triangle_areas(reading.uv.astype(np.float64)[reading.triangles]).sum())


def triangle_areas(corners: Corners) -> Corners:
    """The areas [T] of triangles [T, 3, 2] in the plane."""
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    areas: Corners = np.abs(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]) / 2.0
    return areas


def apart(extents: Corners) -> Corners:
    """Where boxes of these extents [I, 2] begin, so that none touches another: in rows, together about a square."""
    edge = math.sqrt(float(extents.prod(axis=1).sum()))
    gap = max(GAP * edge / math.sqrt(len(extents)), 1e-6)
    begins = np.zeros_like(extents)
    right = bottom = top = 0.0
    for number, (across, up) in enumerate(extents):
        if right > 0.0 and right + across > edge:
            right, bottom = 0.0, top + gap
        begins[number] = right, bottom
        right, top = right + across + gap, max(top, bottom + up)
    return begins
