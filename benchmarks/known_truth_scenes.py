"""The scenes of known_truth.py without Blender: their shapes and the maps that are true of them, computed by formulas in UV.

A map is its 8-bit codes, row 0 at the top: what an Image Texture of the scene holds is the truth to the last bit, at the
resolution of the fit's own maps. Shapes are triangles, so that no program can cut a quad another way, and their charts do not
overlap.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint8]
Floats = NDArray[np.float64]
Color = tuple[float, float, float]

STARTUP_OBJECT, OBJECT = "Cube", "Thing"
METAL_ROUGHNESSES = (0.4, 0.5, 0.6, 0.7)
_GAP = 1.0 / 64.0  # between charts: four texels of a map of 256


@dataclass(frozen=True)
class Maps:
    """base_color: uint8 [R, R, 3], sRGB; roughness, metallic: uint8 [R, R], 255 is 1. Row 0 is at the top."""

    base_color: Codes
    roughness: Codes
    metallic: Codes


@dataclass(frozen=True)
class Shape:
    """positions: [V, 3], Blender's axes; triangles: int [T, 3]; uv: of their corners [T, 3, 2]; smooth: whether normals are
    interpolated."""

    positions: Floats
    triangles: NDArray[np.int64]
    uv: Floats
    smooth: bool


@dataclass(frozen=True)
class KnownScene:
    """shape: None stands for the cube of Blender's startup scene; maps: the truth at a resolution; hdri: lit by an image, not
    by the startup scene's own lamp and world; asked: the largest mean error (base color in codes, roughness 0..1)."""

    maps: Callable[[int], Maps]
    shape: Callable[[], Shape] | None = None
    hdri: bool = True
    asked_base_color: float | None = None
    asked_roughness: float | None = None
    asked_decided: float | None = None

    @property
    def object_name(self) -> str:
        """The object to fit."""
        return STARTUP_OBJECT if self.shape is None else OBJECT


# Maps ---------------------------------------------------------------------------------------------------------------


def srgb(linear: Floats) -> Floats:
    """Linear values 0..1 with the curve of sRGB."""
    encoded: Floats = np.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 0.0) ** (1 / 2.4) - 0.055
    )
    return encoded


def codes(values: Floats) -> Codes:
    """Values 0..1 in steps of 255."""
    rounded: Codes = np.floor(np.clip(values, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    return rounded


def places(resolution: int) -> tuple[Floats, Floats]:
    """u and v of the centers of texels, [R, R] each; v grows to the top, where row 0 is."""
    centers = (np.arange(resolution) + 0.5) / resolution
    u, v = np.meshgrid(centers, centers[::-1])
    return u, v


def noise(resolution: int, seed: int, slowest: int, fastest: int) -> Floats:
    """Waves of random directions, `slowest` to `fastest` of them along a side, [R, R]: mean 0, deviation 1."""
    random = np.random.default_rng(seed)
    u, v = places(resolution)
    total = np.zeros((resolution, resolution))
    for _ in range(32):
        angle, phase = random.uniform(0.0, 2.0 * np.pi, 2)
        waves = random.uniform(slowest, fastest)
        total += np.cos(2.0 * np.pi * waves * (np.cos(angle) * u + np.sin(angle) * v) + phase)
    return total / np.sqrt(16.0)


def mixed(share: Floats, first: Color, second: Color) -> Codes:
    """Two linear colors by the share [R, R] of the second, as sRGB codes."""
    return codes(srgb(np.array(first) + share[..., None] * (np.array(second) - np.array(first))))


def smooth_step(values: Floats, width: float) -> Floats:
    """0 below -width, 1 above +width, smooth between."""
    part = np.clip((values + width) / (2.0 * width), 0.0, 1.0)
    stepped: Floats = part * part * (3.0 - 2.0 * part)
    return stepped


def metal_maps(resolution: int) -> Maps:
    """Eight upright stripes with the four roughnesses twice; gold and copper change places at the equator, so that each
    roughness has both colors, and each of these looks to two sides. Colors vary by 5%."""
    u, v = places(resolution)
    stripe = np.floor(u * 8.0).astype(int)
    copper = (stripe // 4 + (v > 0.5)) % 2 == 1
    color = np.where(copper[..., None], (0.93, 0.50, 0.35), (0.95, 0.68, 0.30))
    shade = 1.0 + 0.05 * np.tanh(noise(resolution, 3, 1, 4))
    roughness = np.array(METAL_ROUGHNESSES)[stripe % 4]
    return Maps(codes(srgb(color * shade[..., None])), codes(roughness), codes(np.ones_like(u)))


def paint_maps(resolution: int) -> Maps:
    """Two bright, saturated paints in soft patches, roughness 0.6: light that goes from one to the other changes its color."""
    share = smooth_step(noise(resolution, 5, 1, 5), 0.8)
    level = np.ones_like(share)
    return Maps(mixed(share, (0.80, 0.24, 0.12), (0.22, 0.66, 0.80)), codes(0.6 * level), codes(0.0 * level))


def painted_metal_maps(resolution: int) -> Maps:
    """Gray metal of roughness 0.35 where red paint of roughness 0.5 has come off, with narrow soft edges."""
    metal = smooth_step(noise(resolution, 7, 5, 10), 0.3)
    return Maps(mixed(metal, (0.60, 0.05, 0.04), (0.60, 0.60, 0.60)), codes(0.5 - 0.15 * metal), codes(metal))


# Shapes -------------------------------------------------------------------------------------------------------------


def joined(patches: list[tuple[Floats, Floats]], smooth: bool) -> Shape:
    """A mesh of patches: points [N, M, 3], whose columns go right and rows up for who sees their front, and their UVs
    [N, M, 2]. Equal points become one vertex where normals are smooth, so
    that no chart's border shows."""
    points, corners, uvs, start = [], [], [], 0
    for grid, uv in patches:
        rows, columns = grid.shape[:2]
        index = np.arange(rows * columns).reshape(rows, columns)
        a, b, c, d = (part.ravel() for part in (index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]))
        triangles = np.concatenate([np.stack([a, c, b], 1), np.stack([a, d, c], 1)])
        points.append(grid.reshape(-1, 3))
        uvs.append(uv.reshape(-1, 2)[triangles])
        corners.append(triangles + start)
        start += rows * columns
    positions, triangles, uv = np.concatenate(points), np.concatenate(corners), np.concatenate(uvs)
    if smooth:
        _, first, same = np.unique(positions.round(6), axis=0, return_index=True, return_inverse=True)
        positions, triangles = positions[first], same.reshape(-1)[triangles]
    a, b, c = (triangles[:, i] for i in range(3))
    real = (a != b) & (b != c) & (c != a)  # at a pole a row is one point
    return Shape(positions, triangles[real], uv[real], smooth)


def rectangle(rows: int, columns: int, low: tuple[float, float], high: tuple[float, float]) -> Floats:
    """UVs of a patch [rows, columns, 2]: u grows with the column, v with the row."""
    u, v = np.meshgrid(np.linspace(low[0], high[0], columns), np.linspace(low[1], high[1], rows))
    return np.stack([u, v], -1)


def ball() -> Shape:
    """A sphere, longitude and latitude as its UVs."""
    longitude, latitude = np.meshgrid(np.linspace(0.0, 2.0 * np.pi, 97), np.linspace(-0.5, 0.5, 49) * np.pi)
    points = np.stack(
        [np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)], -1
    )
    return joined([(points, rectangle(49, 97, (0.0, 0.0), (1.0, 1.0)))], smooth=True)


def bowl() -> Shape:
    """A half of a hollow sphere with a round rim: a disc each for the inside and the outside, a strip for the rim."""
    inner, outer, steps, around = 0.88, 1.0, 25, 97
    middle, thick = (inner + outer) / 2.0, (outer - inner) / 2.0
    azimuth = np.linspace(0.0, 2.0 * np.pi, around)
    angles = np.linspace(0.0, 0.5 * np.pi, steps)
    turns = np.linspace(np.pi, 0.0, 9)
    radius = (1.0 - 2.0 * _GAP) / 4.0

    def spun(across: Floats, height: Floats) -> Floats:
        """A profile around the upright axis, [steps, around, 3]."""
        up = np.broadcast_to(height[:, None], (len(height), around))
        return np.stack([across[:, None] * np.cos(azimuth), across[:, None] * np.sin(azimuth), up], -1)

    def disc(u: float, side: float) -> Floats:
        """UVs of equal steps from the middle; side: -1 for what is seen from the other side."""
        away = (angles / angles[-1] * radius)[:, None]
        return np.stack([u + side * away * np.cos(azimuth), 0.25 + away * np.sin(azimuth)], -1)

    # From the inside's pole over the rim to the outside's, so that all triangles turn the same way.
    inside = spun(inner * np.sin(angles), -inner * np.cos(angles))
    rim = spun(middle + thick * np.cos(turns), thick * np.sin(turns))
    outside = spun(outer * np.sin(angles), -outer * np.cos(angles))[::-1]
    # Who looks down on the rim sees the azimuth go to the left.
    strip = rectangle(len(turns), around, (1.0 - _GAP, 0.5 + _GAP), (_GAP, 0.56))
    patches = [(inside, disc(0.25, 1.0)), (rim, strip), (outside, disc(0.75, -1.0)[::-1])]
    return joined([(np.ascontiguousarray(grid.swapaxes(0, 1)), uv.swapaxes(0, 1)) for grid, uv in patches], smooth=True)


def knot() -> Shape:
    """A tube along a knot on a torus, whose strands pass each other closely; four strips hold it."""
    along, around, strips, tube = 256, 33, 4, 0.42
    t = np.linspace(0.0, 2.0 * np.pi, along + 1)
    major, minor = 2.0 * t, 3.0 * t
    spoke = np.stack([np.cos(major), np.sin(major), 0.0 * t], -1)
    out = np.cos(minor)[:, None] * spoke + np.sin(minor)[:, None] * np.array([0.0, 0.0, 1.0])
    path = 1.6 * spoke + 0.7 * out
    ahead = np.gradient(path, axis=0)
    ahead[0] = ahead[-1] = path[1] - path[-2]  # the path is closed
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    first = out - (out * ahead).sum(1, keepdims=True) * ahead
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second = np.cross(ahead, first)
    turn = np.linspace(2.0 * np.pi, 0.0, around)
    circle = np.cos(turn)[:, None, None] * first + np.sin(turn)[:, None, None] * second
    points = path + tube * circle
    patches, length = [], along // strips
    for number in range(strips):
        low, high = (_GAP / 2.0, number / strips + _GAP / 2.0), (1.0 - _GAP / 2.0, (number + 1) / strips - _GAP / 2.0)
        part = points[:, number * length : (number + 1) * length + 1]
        patches.append((part, rectangle(around, length + 1, low, high)))
    return joined(patches, smooth=True)


def crevice() -> Shape:
    """Two thick walls that meet at 40 degrees; flat faces, each with a rectangle of its own."""
    half, length, width, thick = np.radians(20.0), 1.0, 0.6, 0.12
    wall, across = np.array([np.sin(half), np.cos(half)]), np.array([np.cos(half), -np.sin(half)])
    apex, deep = np.zeros(2), np.array([0.0, -thick / np.sin(half)])
    inner, outer = length * wall, length * wall + thick * across
    patches = []
    for side in (1.0, -1.0):
        sides = np.array([side, 1.0])
        # In the plane of x and z, turning the same way around the right wall; the left one is its mirror image.
        profile = [point * sides for point in (apex, deep, outer, inner)]
        faces = [_extruded(profile[i], profile[(i + 1) % 4], width) for i in (3, 1, 2)]
        faces += [_cap(profile, y) for y in (-width, width)]
        mirrored = side < 0
        for number, points in enumerate(faces):
            # Of the cap behind, which looks the other way, and of the mirrored wall, the points go around backwards.
            backwards = mirrored != (number == 4)
            patches.append((points[::-1] if backwards else points, _cell(number, side > 0)))
    return joined(patches, smooth=False)


def _extruded(start: Floats, end: Floats, width: float) -> Floats:
    """The face over an edge of the profile, [2, 2, 3]."""
    return np.array([[(x, y, z) for y in (-width, width)] for x, z in (start, end)])


def _cap(profile: list[Floats], y: float) -> Floats:
    """The end of a wall, [2, 2, 3]."""
    corners = [(x, y, z) for x, z in profile]
    return np.array([[corners[0], corners[1]], [corners[3], corners[2]]])


def _cell(number: int, right: bool) -> Floats:
    """UVs of a face: the inner (0) and outer (1) sides of the walls in the large lower cells, the others in the small ones."""
    if number < 2:
        column, count, low, high = 2 * number + right, 4, 0.0, 0.62
    else:
        column, count, low, high = 2 * (number - 2) + right, 6, 0.62, 1.0
    first, last = (
        (column / count + _GAP / 2.0, low + _GAP / 2.0),
        ((column + 1) / count - _GAP / 2.0, high - _GAP / 2.0),
    )
    return rectangle(2, 2, first, last)


SCENES = {
    "rough_metals": KnownScene(metal_maps, ball, asked_base_color=1.0, asked_roughness=0.02),
    "bowl": KnownScene(paint_maps, bowl, asked_base_color=2.0),
    "knot": KnownScene(paint_maps, knot, asked_base_color=2.0),
    "crevice": KnownScene(paint_maps, crevice, asked_base_color=2.0),
    "startup": KnownScene(painted_metal_maps, hdri=False, asked_decided=0.95),
    "startup_hdri": KnownScene(painted_metal_maps, asked_decided=0.95),
}
