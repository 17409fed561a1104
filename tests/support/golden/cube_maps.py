"""Cube maps in float64 NumPy, by matrices: every lookup and every prefilter is a row of weights over all texels.

Slow and plain on purpose: the values that the renderer is compared with. Faces and their axes are those of OpenGL's
specification (table "Selection of cube map images"); a cube map [6, R, R, C] is flattened to [6 R R, C].
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Per face: the major axis and its sign, then axis and sign of s (columns) and of t (rows).
_FACES = (
    ((0, 1), (2, -1), (1, -1)),
    ((0, -1), (2, 1), (1, -1)),
    ((1, 1), (0, 1), (2, 1)),
    ((1, -1), (0, 1), (2, -1)),
    ((2, 1), (0, 1), (1, -1)),
    ((2, -1), (0, -1), (1, -1)),
)


def point(face: int, s: float, t: float) -> Floats:
    """The point of the cube's surface [3] at s and t, -1..1, of a face."""
    result = np.zeros(3)
    for (axis, sign), value in zip(_FACES[face], (1.0, s, t), strict=True):
        result[axis] = sign * value
    return result


def on_face(face: int, direction: Floats) -> tuple[float, float]:
    """s and t of a direction [3] in the plane of a face."""
    (major, _), (s_axis, s_sign), (t_axis, t_sign) = _FACES[face]
    length = abs(direction[major])
    return s_sign * direction[s_axis] / length, t_sign * direction[t_axis] / length


def face_of(direction: Floats) -> int:
    """The face that a direction [3] meets."""
    axis = int(np.argmax(np.abs(direction)))
    return 2 * axis + int(direction[axis] < 0)


def directions(resolution: int) -> Floats:
    """Unit directions of the texel centres [6 R R, 3]."""
    centers = (2 * np.arange(resolution) + 1) / resolution - 1
    points = np.array([point(face, s, t) for face in range(6) for t in centers for s in centers])
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def _texel(face: int, s: float, t: float, resolution: int) -> int:
    """The texel that s and t, -1..1, lie in."""
    column, row = (min(max(int((value + 1) * resolution / 2), 0), resolution - 1) for value in (s, t))
    return (face * resolution + row) * resolution + column


def _tap(face: int, row: int, column: int, resolution: int) -> list[int]:
    """The texels whose mean a tap reads: one, also over an edge, or beyond a corner the three that meet there."""
    s, t = ((2 * number + 1) / resolution - 1 for number in (column, row))
    if abs(s) < 1 and abs(t) < 1:
        return [_texel(face, s, t, resolution)]
    if abs(s) > 1 and abs(t) > 1:
        corner = point(face, math.copysign(1, s), math.copysign(1, t))
        touching = [2 * axis + int(corner[axis] < 0) for axis in range(3)]
        return [_texel(other, *on_face(other, corner), resolution) for other in touching]
    # A hair over the edge, so that the place along it stays.
    beyond = 1 + 1e-9
    across = point(face, min(max(s, -beyond), beyond), min(max(t, -beyond), beyond))
    other = face_of(across)
    return [_texel(other, *on_face(other, across), resolution)]


def lookup(wanted: Floats, resolution: int) -> Floats:
    """Bilinear, seamless lookups in directions [N, 3] as a matrix [N, 6 R R]."""
    matrix = np.zeros((len(wanted), 6 * resolution**2))
    for weights, direction in zip(matrix, wanted, strict=True):
        face = face_of(direction)
        x, y = ((value + 1) * resolution / 2 - 0.5 for value in on_face(face, direction))
        left, top = math.floor(x), math.floor(y)
        for row, row_share in ((top, 1 - (y - top)), (top + 1, y - top)):
            for column, column_share in ((left, 1 - (x - left)), (left + 1, x - left)):
                texels = _tap(face, row, column, resolution)
                for texel in texels:
                    weights[texel] += row_share * column_share / len(texels)
    return matrix


def mean_of_four(resolution: int) -> Floats:
    """The next coarser level as a matrix [6 (R/2) (R/2), 6 R R]."""
    half = resolution // 2
    matrix = np.zeros((6, half, half, 6, resolution, resolution))
    for face, row, column in np.ndindex(6, resolution, resolution):
        matrix[face, row // 2, column // 2, face, row, column] = 0.25
    return matrix.reshape(6 * half**2, 6 * resolution**2)


def smooth_gradient(resolution: int) -> Floats:
    """nvdiffrec's gradient of the next coarser level, [6 R R, 6 (R/2) (R/2)]: a quarter of it, looked up seamlessly."""
    return lookup(directions(resolution), resolution // 2) / 4


def _areas(resolution: int) -> Floats:
    """nvdiffrec's areas of the texels [6 R R]: left of the middle each has its left neighbor's width."""
    half = resolution // 2
    steps = np.abs(np.arange(resolution) - half)
    width = np.arctan((steps + 1) / half) - np.arctan(steps / half)
    return np.tile(np.outer(width, width).reshape(-1), 6)


def _ggx(cosine: Floats, roughness: float) -> Floats:
    square = roughness**4
    return square / (np.pi * (cosine**2 * (square - 1) + 1) ** 2)


def specular(resolution: int, roughness: float, cutoff: float = 0.99) -> Floats:
    """nvdiffrec's specular prefilter as a matrix [6 R R, 6 R R]: N.L D(N.H) for N = V = R, rows sum to one.

    The lobe ends where the sum of D over angles of the half vector, without the sine of the solid angle, reaches the
    share `cutoff`; that angle is used for the light's.
    """
    angle = np.linspace(0, np.pi / 2, 400_001)
    density = _ggx(np.cos(angle), roughness)
    total = np.cumsum((density[1:] + density[:-1]) / 2)
    end = angle[1 + np.searchsorted(total, cutoff * total[-1])]
    cosine = np.clip(directions(resolution) @ directions(resolution).T, -1, 1)
    lobe = np.maximum(cosine, 0) * _ggx(np.sqrt((1 + cosine) / 2), roughness)
    weights = np.where(cosine >= np.cos(end) - 1e-12, lobe, 0) * _areas(resolution)
    return weights / weights.sum(axis=1, keepdims=True)


def diffuse(resolution: int) -> Floats:
    """nvdiffrec's diffuse prefilter as a matrix [6 R R, 6 R R]: the cosine, at most 0.999, over pi, times the areas."""
    cosine = directions(resolution) @ directions(resolution).T
    return np.clip(cosine, 0, 0.999) / np.pi * _areas(resolution)


def from_latlong(latlong: Floats, resolution: int) -> Floats:
    """Cube map [6, R, R, C] of a lat-long image [H, W, C] by bilinear lookups that wrap on both axes, as nvdiffrec's."""
    height, width, channels = latlong.shape
    result = []
    for x, y, z in directions(resolution):
        column = (math.atan2(x, -z) / math.tau + 0.5) * width - 0.5
        row = math.acos(y) / math.pi * height - 0.5
        left, top = math.floor(column), math.floor(row)
        across, down = column - left, row - top
        upper = (1 - across) * latlong[top % height, left % width] + across * latlong[top % height, (left + 1) % width]
        top += 1
        lower = (1 - across) * latlong[top % height, left % width] + across * latlong[top % height, (left + 1) % width]
        result.append((1 - down) * upper + down * lower)
    return np.array(result).reshape(6, resolution, resolution, channels)


def latlong_directions(height: int, width: int) -> Floats:
    """Where nvdiffrec looks a cube map up for a lat-long image: [H W, 3]; its rows run from 1 / H to 1 - 1 / H."""
    theta, phi = np.meshgrid(
        np.linspace(1 / height, 1 - 1 / height, height) * np.pi,
        ((2 * np.arange(width) + 1) / width - 1) * np.pi,
        indexing="ij",
    )
    parts = (np.sin(theta) * np.sin(phi), np.cos(theta), -np.sin(theta) * np.cos(phi))
    return np.stack(parts, axis=-1).reshape(-1, 3)
