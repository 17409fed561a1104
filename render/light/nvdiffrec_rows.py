"""Rows of nvdiffrec's prefilter: which texels a lobe reads, and with which weights before they are normalized.

The kernel is the same under the cube's 48 symmetries, nvdiffrec's texel areas are not. So the areas are left out here and
the light is multiplied by them instead: rows are then needed for an eighth of one face only. The sharpest lobes are an
exception, see `rounded_lobe`.
"""

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from render.light.cube_geometry import cube_to_dir, texel_centres, texel_directions
from render.light.specular_operator import SYMMETRIES
from render.light.specular_rows import (
    Floats,
    Indices,
    SpecularRows,
    cell_radius,
    children_of_cells,
    eighth_of_a_face,
    pyramid_resolutions,
)

_PI = 3.141592
_MAX_COSINE = 0.999
_CUTOFF_SAMPLES = 1_000_000
_PAIRS_AT_A_TIME = 1 << 21
_ROUNDING = 1e-6
_REFLECTIONS = 8
# At these roughnesses float32 leaves nvdiffrec's D(h) some digits, but fewer than about four.
_ROUNDED = (0.05, 0.15)
Weigh = Callable[[Indices, Indices, Floats], Floats]


def texel_areas(resolution: int) -> NDArray[np.float64]:
    """nvdiffrec's areas of the texels of a face, [R, R]: products of angles along the axes.

    This keeps a mistake of nvdiffrec: texels left of (above) the middle get the width of their left (upper) neighbor, so
    the areas lean to one side. `render.light.cube_geometry.texel_solid_angles` has the exact ones.
    """
    if resolution == 1:
        return np.ones((1, 1))
    half = resolution // 2
    steps = np.abs(np.arange(resolution) - half)
    width = np.arctan((steps + 1) / half) - np.arctan(steps / half)
    areas: NDArray[np.float64] = width[:, None] * width
    return areas


@lru_cache(maxsize=64)
def cutoff_cosine(roughness: float, cutoff: float) -> float:
    """The cosine below which nvdiffrec leaves a lobe out.

    It sums D(h) over angles of the half vector, without the sine of the solid angle, up to the share ``cutoff``. It uses
    the angle that it finds for the light direction, which lies twice as far: 1.24 degrees at roughness 0.08, where 99 %
    of the energy needs 7.13.
    """
    cosine = np.cos(np.linspace(0, math.pi / 2, _CUTOFF_SAMPLES))
    total = np.cumsum(_distribution(cosine, roughness))
    found = cosine[min(np.searchsorted(total, total[-1] * cutoff), _CUTOFF_SAMPLES - 1)]
    # Rounding may put a texel's cosine to itself below 1.
    return float(min(found, 1 - 1e-12))


def _distribution(cosine: Floats, roughness: float) -> Floats:
    """GGX D(h) with alpha = roughness squared, at the cosine N.H."""
    square = max(roughness**4, 1e-30)
    distribution: Floats = square / (math.pi * ((1 - cosine) * (1 + cosine) + square * cosine * cosine) ** 2)
    return distribution


def diffuse_rows(resolution: int, start: int) -> SpecularRows:
    """The cosine over pi, clamped at 0.999 as in nvdiffrec; the texels' numbers begin at ``start``."""
    return _cone_rows(
        resolution,
        eighth_of_a_face(resolution),
        0.0,
        lambda row, cell, cosine: cosine.clip(0, _MAX_COSINE) / _PI,
        start,
    )


def specular_rows(resolution: int, roughness: float, cutoff: float, start: int) -> SpecularRows:
    """max(N.L, 0) D(h) / 4 for N = V = R within the cutoff, roughness > 0; the texels' numbers begin at ``start``.

    Use them with the number of symmetries that `symmetries_of` gives for this roughness.
    """
    smallest = cutoff_cosine(roughness, cutoff)
    if symmetries_of(roughness) == _REFLECTIONS:
        texels = np.flatnonzero((_surface(resolution) >= 0).all(axis=-1))
        return _cone_rows(resolution, texels, smallest, rounded_lobe(resolution, roughness, smallest), start)

    def weigh(row: Indices, cell: Indices, cosine: Floats) -> Floats:
        lobe = np.maximum(cosine, 0) * _distribution(np.sqrt((1 + cosine) * 0.5), roughness)
        return np.where(cosine >= smallest, lobe / 4, 0)

    return _cone_rows(resolution, eighth_of_a_face(resolution), smallest, weigh, start)


def symmetries_of(roughness: float | None) -> int:
    """How many of the cube's symmetries the weights have: 48, or 8 (the reflections) where float32 breaks the others."""
    return _REFLECTIONS if roughness is not None and _ROUNDED[0] <= roughness < _ROUNDED[1] else SYMMETRIES


def rounded_lobe(resolution: int, roughness: float, smallest: float) -> Weigh:
    """The specular kernel as float32 rounds it on the GPU.

    At roughness 0.08 D(h) comes from 1 - cos(h)^2 (1 - alpha^2), which float32 leaves uncertain by half a percent. Measured
    against the exact kernel at base 128: 1e-3 in the level, 4e-3 in its gradient. So parity needs nvdiffrec's own order of
    operations: a dot product is y y', then fused x x', then fused z z'; the polynomial is fused twice. With it the gradient
    agrees within 4e-7. The order of the axes matters, so only reflections are symmetries of these weights. Below roughness
    0.05 float32 leaves no digits that could agree, and the exact kernel is used there too.
    """
    points = _surface(resolution).astype(np.float32)
    unit = points / np.sqrt(_fused_dot(points, points))[:, None]
    alpha = np.float32(roughness) * np.float32(roughness)
    square = alpha * alpha

    def weigh(row: Indices, cell: Indices, cosine: Floats) -> Floats:
        view, light = unit[row], unit[cell]
        cosine = _fused_dot(light, view)
        half = view + light
        half /= np.sqrt(_fused_dot(half, half))[:, None]
        n_dot_h = _fused_dot(view, half).clip(0, 1)
        polynomial = _fused(_fused(n_dot_h, square, -n_dot_h), n_dot_h, np.float32(1))
        lobe = (square / ((polynomial * polynomial).astype(np.float64) * math.pi)).astype(np.float32)
        return np.where(cosine >= np.float32(smallest), np.maximum(cosine, 0) * lobe / 4, 0)

    return weigh


def _fused(a: Floats, b: Floats | np.float32, c: Floats | np.float32) -> NDArray[np.float32]:
    """a b + c of float32 numbers, rounded once."""
    return (a.astype(np.float64) * b + c).astype(np.float32)


def _fused_dot(a: Floats, b: Floats) -> NDArray[np.float32]:
    first = a[:, 1] * b[:, 1]
    return _fused(a[:, 2], b[:, 2], _fused(a[:, 0], b[:, 0], first))


def _surface(resolution: int) -> NDArray[np.float64]:
    """The centers of all texels on the cube's surface, [6 * R * R, 3]."""
    centers = texel_centres(resolution, dtype=torch.float64)
    y, x = torch.meshgrid(centers, centers, indexing="ij")
    points: NDArray[np.float64] = torch.stack([cube_to_dir(face, x, y) for face in range(6)]).reshape(-1, 3).numpy()
    return points


def _cone_rows(resolution: int, texels: Indices, smallest: float, weigh: Weigh, start: int) -> SpecularRows:
    """Rows of these texels over all texels in a cone around each, by ``weigh(texel, cell, cosine)``, sorted by row.

    Coarse cells that cannot touch the cone are left out first.
    """
    pyramid = pyramid_resolutions(resolution)[::-1]
    directions = [texel_directions(r, dtype=torch.float64).reshape(-1, 3).numpy().T.copy() for r in pyramid]
    here = directions[-1][:, texels]
    angle = math.acos(max(-1.0, min(1.0, smallest)))
    bounds = [float(np.cos(min(cell_radius(r).max() + angle, math.pi))) for r in pyramid[:-1]] + [smallest]
    coarsest = 6 * pyramid[0] ** 2
    share = coarsest + 3 * resolution**2 * (1 - smallest)
    parts = []
    chunks = math.ceil(len(texels) * share / _PAIRS_AT_A_TIME)
    for rows in np.array_split(np.arange(len(texels), dtype=np.int32), chunks):
        row, cell = np.repeat(rows, coarsest), np.tile(np.arange(coarsest), len(rows))
        for r, there, bound in zip(pyramid, directions, bounds, strict=True):
            if r != pyramid[0]:
                row, cell = np.repeat(row, 4), children_of_cells(cell, r // 2)
            cosine = sum(here[axis][row] * there[axis][cell] for axis in range(3))
            keep = cosine >= bound - _ROUNDING
            row, cell = row[keep], cell[keep]
        weight = weigh(texels[row], cell, cosine[keep])
        order = np.argsort(row, kind="stable")
        order = order[weight[order] > 0]
        parts.append((row[order], (cell[order] + start).astype(np.int32), weight[order]))
    row, cell, weight = (np.concatenate(part) for part in zip(*parts, strict=True))
    return SpecularRows(row, cell, weight, texels, resolution)
