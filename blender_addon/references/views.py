# SPDX-License-Identifier: GPL-3.0-or-later
"""The cameras of a fit: on a Fibonacci sphere around the object's bounding sphere."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..common.axes import projection_matrix, view_matrix

FIELD_OF_VIEW = math.radians(40.0)
MARGIN = 1.04  # times the bounding sphere's radius, so that some background surrounds the silhouettes
GOLDEN_ANGLE = math.pi * (3.0 - math.sqrt(5.0))


@dataclass(frozen=True)
class View:
    """One camera of a fit.

    index: position in the plan, 0-based; held_out: it only measures, the fit never uses it; matrix_world: Blender's
    camera-to-world matrix [4, 4]; fov: radians, horizontal and vertical (images are square); clip_start, clip_end:
    clip distances; seed: of the renderer's random numbers; light: 0: the scene's own, else the number of a Studio
    light (see studio_designs.py); rank: which of the views to fit to it is, if only the first few are wanted: those are
    as evenly spread as all; -1 where it is held out.
    """

    index: int
    held_out: bool
    matrix_world: NDArray[np.float64]
    fov: float
    clip_start: float
    clip_end: float
    seed: int
    light: int = 0
    rank: int = 0

    def for_renderer(self) -> dict[str, Any]:
        """The camera as the backend takes it: nested lists `view`, `projection`, and `index`, `held_out`, `light`."""
        projection = projection_matrix(self.fov, 1.0, self.clip_start, self.clip_end)
        return {
            "index": self.index,
            "held_out": self.held_out,
            "view": view_matrix(self.matrix_world).tolist(),
            "projection": projection.tolist(),
            "light": self.light,
        }

    def for_blender(self) -> dict[str, Any]:
        """The camera as the second Blender takes it (an entry of `views` in its plan)."""
        return {
            "index": self.index,
            "matrix_world": self.matrix_world.tolist(),
            "fov": self.fov,
            "clip_start": self.clip_start,
            "clip_end": self.clip_end,
            "seed": self.seed,
            "light": self.light,
        }


def look_at(position: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Camera-to-world matrix [4, 4] of a Blender camera at `position` that looks at `target`, +Z of the world up.

    If it looks straight up or down, +Y of the world is up in the image.
    """
    backward = position - target
    backward = backward / np.linalg.norm(backward)
    up = np.array([0.0, 0.0, 1.0]) if abs(backward[2]) < 0.9999 else np.array([0.0, 1.0, 0.0])
    right = np.cross(up, backward)
    right = right / np.linalg.norm(right)
    matrix = np.eye(4)
    matrix[:3, 0] = right
    matrix[:3, 1] = np.cross(backward, right)
    matrix[:3, 2] = backward
    matrix[:3, 3] = position
    return matrix


def fibonacci_directions(count: int) -> NDArray[np.float64]:
    """`count` evenly spread unit directions [count, 3], from +Z to -Z along a golden spiral."""
    steps = np.arange(count)
    height = 1.0 - (2.0 * steps + 1.0) / count
    radius = np.sqrt(1.0 - height * height)
    angle = GOLDEN_ANGLE * steps
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=1)


def held_out_indices(count: int, held_out: int) -> frozenset[int]:
    """The indices of the views that are held out: `held_out` of `count`, evenly spaced, never the first."""
    return frozenset(int((step + 0.5) * count / held_out) for step in range(held_out))


def spread_order(directions: NDArray[np.float64]) -> NDArray[np.int64]:
    """An order of unit directions [N, 3], int64 [N], in which each is the farthest from all before it (Gonzalez, "Clustering
    to Minimize the Maximum Intercluster Distance", 1985)."""
    order = np.zeros(len(directions), np.int64)
    nearest = np.full(len(directions), -np.inf)  # the largest cosine to those that are chosen
    for place in range(1, len(directions)):
        nearest = np.maximum(nearest, directions @ directions[order[place - 1]])
        nearest[order[:place]] = np.inf
        order[place] = int(nearest.argmin())
    return order


def bounding_sphere(positions: NDArray[np.float32]) -> tuple[NDArray[np.float64], float]:
    """Center float64 [3] and radius of a sphere around points [N, 3]: the box's center, and the farthest point from it.

    It is at most sqrt(3) times as wide as the smallest sphere.
    """
    planes = np.ascontiguousarray(positions.T)  # numpy is slow to reduce an axis of three
    center = 0.5 * (planes.min(axis=1) + planes.max(axis=1)).astype(np.float64)
    x, y, z = planes - center[:, None]
    return center, float(np.sqrt((x * x + y * y + z * z).max()))


def plan_views(
    center: NDArray[np.float64], radius: float, training: int, held_out: int, seed: int, lights: int = 0
) -> list[View]:
    """`training + held_out` cameras around a sphere (Blender's axes), in a fixed order; each sees all of the sphere.

    lights: how many lights there are besides number 0: each has as many training views, by the order of their ranks.
    """
    count = training + held_out
    chosen = held_out_indices(count, held_out) if held_out else frozenset()
    distance = MARGIN * radius / math.sin(0.5 * FIELD_OF_VIEW)
    directions = fibonacci_directions(count)
    fitted = np.array([index for index in range(count) if index not in chosen], np.int64)
    ranks = {int(fitted[place]): rank for rank, place in enumerate(spread_order(directions[fitted]))}
    return [
        View(
            index=index,
            held_out=index in chosen,
            matrix_world=look_at(center + distance * direction, center),
            fov=FIELD_OF_VIEW,
            clip_start=0.5 * (distance - radius),
            clip_end=2.0 * (distance + radius),
            seed=seed * 10007 + index,
            light=light_of(ranks.get(index, 0), lights),
            rank=ranks.get(index, -1),
        )
        for index, direction in enumerate(directions)
    ]


def light_of(rank: int, lights: int) -> int:
    """The number of the light of a view of this rank.

    Each light has as many views. With the scene's own in every other view, maps of three tuning scenes looked 0.2, 2.5 and
    1.5 dB less like them in another light, and 0.9 dB more, 1.2 and 0.1 less in their own (metal painted in patches on a cube,
    a torus and a head, one fit each from gray). From a bake it made no difference: within 0.4 dB, to both sides (a coat, sheen,
    subsurface and a mix with gloss).
    """
    return rank % (lights + 1)


def views_for_blender(views: list[View], cameras: dict[str, Any]) -> list[dict[str, Any]]:
    """The views as the second Blender takes them: those that the plan's `cameras` want, with the samples that they say."""
    return [
        view.for_blender() | {"samples": cameras["held_out_samples" if view.held_out else "samples"]}
        for view in views
        if view.rank < cameras.get("wanted", len(views))
    ]
