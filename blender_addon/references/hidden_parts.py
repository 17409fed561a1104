# SPDX-License-Identifier: GPL-3.0-or-later
"""Views that are aimed at parts of a surface which the views around it do not see, though they can be seen from outside.

Only the shape decides, by rays from points on the surface. A point counts as seen where a view sees it less steeply than
`GRAZING`: of a surface that is seen from its edge a view tells little. Nor do views tell much of what is open to little of the
sky: most of its light comes from other surfaces, which a fit knows of by its corrections alone. Inside a pipe (tuning scene,
from gray, one correction) views of what less than a fiftieth of the sky lights made its base color worse, 78 in place of 58
codes of 255; views of what a twentieth lights made it better, 59 in place of 70.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from mathutils.bvhtree import BVHTree
from numpy.typing import NDArray

from .views import FIELD_OF_VIEW, AimedCamera, View, distance_to, fibonacci_directions, look_at

POINTS = 4096  # on the surface
MOST_TRIANGLES = 2_000_000  # their tree takes 2 s for each million to make
GRAZING = math.cos(math.radians(80.0))
LOOKED_AT = 400  # unseen points from which to look for a way out
DIRECTIONS = 600  # in which to look for it: 8 degrees from each to the next
LEAST_LIGHT = 0.04  # of the sky, to which a point is open
LEAST_HIDDEN = 0.005  # of the surface; less is not worth a view
LEAST_GAIN = 0.002  # of the surface, for one more view
# What one more view of a point is worth, from another direction and from nearly the same one, after each that sees it.
OTHER_DIRECTION, SAME_DIRECTION, SAME = 0.6, 0.3, math.cos(math.radians(20.0))
NARROWEST = math.radians(20.0)  # field of view: a texel is seen at most twice as large as in the other views
AROUND = 1.2  # times the angle under which the points appear
LIFTED = 1e-4  # of the radius: how far from the surface rays begin


@dataclass(frozen=True)
class AimedCameras:
    """cameras: the first one sees most; share: of the surface, 0..1, that these see and the other views do not."""

    cameras: tuple[AimedCamera, ...] = ()
    share: float = 0.0


@dataclass(frozen=True)
class SurfacePoints:
    """Points spread evenly over a surface, float64 [N, 3], and the normals of their triangles."""

    positions: NDArray[np.float64]
    normals: NDArray[np.float64]

    def some(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> SurfacePoints:
        """Some of the points."""
        return SurfacePoints(self.positions[chosen], self.normals[chosen])


class Shape:
    """A mesh that hides parts of itself."""

    def __init__(self, positions: NDArray[np.float32], triangles: NDArray[np.int32], radius: float) -> None:
        """positions: float32 [V, 3], in Blender's axes; radius: of the sphere around them."""
        self._tree = BVHTree.FromPolygons(positions.tolist(), triangles.tolist(), all_triangles=True)
        self._lift = LIFTED * radius
        self._far = 4.0 * radius

    def seen_from(self, points: SurfacePoints, position: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which points a camera at a position sees, bool [N]; either side of a face counts."""
        towards = position - points.positions
        distance = np.linalg.norm(towards, axis=1)
        return self._free(points, towards / distance[:, None], distance)

    def open_in(self, points: SurfacePoints, direction: NDArray[np.float64]) -> NDArray[np.bool_]:
        """From which points nothing is in the way in a direction, bool [N]."""
        directions = np.broadcast_to(direction, points.positions.shape)
        return self._free(points, directions, np.full(len(directions), self._far))

    def _free(
        self, points: SurfacePoints, directions: NDArray[np.float64], distance: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        cosine = (points.normals * directions).sum(axis=1)
        free = np.abs(cosine) >= GRAZING
        starts = points.positions + np.sign(cosine)[:, None] * self._lift * points.normals
        cast = self._tree.ray_cast
        for index in np.flatnonzero(free):
            free[index] = cast(starts[index].tolist(), directions[index].tolist(), distance[index])[2] is None
        seen: NDArray[np.bool_] = free
        return seen


def aimed_cameras(
    positions: NDArray[np.float32],
    triangles: NDArray[np.int32],
    fitted: NDArray[np.bool_],
    radius: float,
    views: Sequence[View],
    most: int,
) -> AimedCameras:
    """At most `most` cameras that see what `views` do not.

    positions: float32 [V, 3], in Blender's axes; fitted: bool [T], which triangles matter, while all hide others; radius: of the
    sphere around all.
    """
    points = surface_points(positions, triangles[fitted], POINTS)
    if not most or points is None or len(triangles) > MOST_TRIANGLES:
        return AimedCameras()
    shape = Shape(positions, triangles, radius)
    unseen = np.arange(len(points.positions))
    for view in sorted(views, key=lambda view: view.rank):
        unseen = unseen[~shape.seen_from(points.some(unseen), view.matrix_world[:3, 3])]
        if len(unseen) < LEAST_HIDDEN * POINTS:
            return AimedCameras()
    looked_at = points.some(unseen[:: -(-len(unseen) // LOOKED_AT)])
    weight = len(unseen) / POINTS / len(looked_at.positions)  # the share of the surface that each stands for
    directions = fibonacci_directions(DIRECTIONS)
    is_open = np.stack([shape.open_in(looked_at, direction) for direction in directions], axis=1)
    lit = openness(is_open, looked_at.normals @ directions.T) >= LEAST_LIGHT
    worth = weight * (is_open & lit[:, None])
    if worth.any(axis=1).sum() * weight < LEAST_HIDDEN:
        return AimedCameras()
    cameras: list[AimedCamera] = []
    found = np.zeros(len(looked_at.positions), bool)
    for _ in range(2 * most):
        best = int(worth.sum(axis=0).argmax())
        aimed = worth[:, best] > 0.0
        if len(cameras) == most or worth[:, best].sum() < LEAST_GAIN:
            break
        camera = camera_at(looked_at.positions[aimed], directions[best], distance_to(radius))
        seen = shape.seen_from(looked_at, camera.matrix_world[:3, 3]) & in_image(looked_at.positions, camera)
        worth[aimed & ~seen, best] = 0.0  # from so near, something is in the way
        if worth[:, best].sum() < LEAST_GAIN:
            continue
        worth[seen] *= np.where(directions @ directions[best] > SAME, SAME_DIRECTION, OTHER_DIRECTION)
        found |= seen
        cameras.append(camera)
    return AimedCameras(tuple(cameras), float(found.sum() * weight))


def openness(is_open: NDArray[np.bool_], cosine: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of the sky, weighted as for diffuse light, to which the more open side of each point is open: float64 [N].

    is_open: in which directions, bool [N, D]; cosine: of these with the normal, [N, D].
    """
    sides = []
    for side in (cosine, -cosine):
        weight = np.maximum(side, 0.0)
        sides.append((weight * is_open).sum(axis=1) / np.maximum(weight.sum(axis=1), 1e-12))
    open_share: NDArray[np.float64] = np.maximum(*sides)
    return open_share


def surface_points(positions: NDArray[np.float32], triangles: NDArray[np.int32], count: int) -> SurfacePoints | None:
    """Points spread evenly over triangles, always the same; None if these have no area."""
    corners = positions[triangles].astype(np.float64)
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    normals = np.cross(first, second)
    area = np.linalg.norm(normals, axis=1)
    total = np.cumsum(area)
    if not len(total) or not 0.0 < total[-1] < math.inf:
        return None
    random = np.random.default_rng(0)
    places = (np.arange(count) + random.random(count)) / count * total[-1]
    chosen = np.minimum(np.searchsorted(total, places), len(total) - 1)
    a, b = random.random((2, count, 1))
    folded = a + b > 1.0
    a, b = np.where(folded, 1.0 - a, a), np.where(folded, 1.0 - b, b)
    spread = corners[chosen, 0] + a * first[chosen] + b * second[chosen]
    return SurfacePoints(spread, normals[chosen] / np.maximum(area[chosen], 1e-300)[:, None])


def camera_at(points: NDArray[np.float64], direction: NDArray[np.float64], distance: float) -> AimedCamera:
    """A camera that looks at points [N, 3] from a direction, just wide enough for them."""
    target = 0.5 * (points.min(axis=0) + points.max(axis=0))
    position = target + distance * direction
    towards = points - position
    cosine = (towards @ -direction) / np.linalg.norm(towards, axis=1)
    angle = 2.0 * AROUND * float(np.arccos(np.clip(cosine, -1.0, 1.0)).max())
    return AimedCamera(look_at(position, target), min(max(angle, NARROWEST), FIELD_OF_VIEW))


def in_image(points: NDArray[np.float64], camera: AimedCamera) -> NDArray[np.bool_]:
    """Which points [N, 3] lie in the image of a camera, bool [N]."""
    matrix = camera.matrix_world
    local = (points - matrix[:3, 3]) @ matrix[:3, :3]
    inside: NDArray[np.bool_] = np.abs(local[:, :2]).max(axis=1) <= math.tan(0.5 * camera.fov) * -local[:, 2]
    return inside
