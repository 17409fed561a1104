"""nvdiffrec's shading formulas in float64 NumPy: BRDF integrals by quadrature, gradients by finite differences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from support.golden import cube_maps

Floats = NDArray[np.float64]

_TABLE = 256
_RADIAL, _AROUND = 500, 96
_STEP = 1e-6


def unit(vector: Floats) -> Floats:
    """Unit vectors [..., 3]."""
    return vector / np.linalg.norm(vector, axis=-1, keepdims=True)


def dot(a: Floats, b: Floats) -> Floats:
    """Dot products [..., 1]."""
    return (a * b).sum(axis=-1, keepdims=True)


def brdf_integrals(roughness: float, n_dot_v: float) -> Floats:
    """Scale and bias of F0 [2] of the split sum: GGX with the height-correlated Smith term, alpha = roughness squared.

    The integral over half vectors, whose density D(h) N.h makes the radial variable: the integrand that remains is
    V.h G / (N.V N.h), taken at Gauss points, denser towards the horizon, and evenly around.
    """
    alpha = roughness**2
    nodes, shares = np.polynomial.legendre.leggauss(_RADIAL)
    rest = (1 - nodes) / 2
    share = shares / 2 * 3 * rest**2
    away = rest**3  # 1 - the share of the density within the angle
    cosine = np.sqrt(away / (away + alpha**2 * (1 - away)))[:, None]
    sine = np.sqrt(1 - cosine**2)
    angle = (np.arange(_AROUND) + 0.5) * np.pi / _AROUND  # the other half is its mirror image
    v_dot_h = np.sqrt(1 - n_dot_v**2) * sine * np.cos(angle) + n_dot_v * cosine
    n_dot_l = 2 * v_dot_h * cosine - n_dot_v
    lit = (n_dot_l > 0) & (v_dot_h > 0)
    to_light = np.where(lit, n_dot_l, 1)
    visible = 1 / (1 + _smith(np.array(n_dot_v), alpha) + _smith(to_light, alpha))
    weight = np.where(lit, visible * v_dot_h / (n_dot_v * cosine), 0) * share[:, None] / _AROUND
    schlick = (1 - np.clip(v_dot_h, 0, 1)) ** 5
    return np.array([(weight * (1 - schlick)).sum(), (weight * schlick).sum()])


def _smith(cosine: Floats, alpha: float) -> Floats:
    return (np.sqrt(1 + alpha**2 * (1 - cosine**2) / cosine**2) - 1) / 2


def brdf_table(resolution: int) -> Floats:
    """Scale and bias [R, R, 2] at roughness (rows) and N.V (columns) of the texel centers."""
    centers = (np.arange(resolution) + 0.5) / resolution
    return np.array([[brdf_integrals(roughness, n_dot_v) for n_dot_v in centers] for roughness in centers])


class TableLookup:
    """Bilinear lookups of a table of 256 x 256 of which only the texels that are read are integrated."""

    def __init__(self) -> None:
        self._texels: dict[tuple[int, int], Floats] = {}

    def __call__(self, roughness: float, n_dot_v: float) -> Floats:
        """Scale and bias [2]; clamped at the border."""
        y, x = roughness * _TABLE - 0.5, n_dot_v * _TABLE - 0.5
        top, left = int(np.floor(y)), int(np.floor(x))
        result = np.zeros(2)
        for row, down in ((top, 1 - (y - top)), (top + 1, y - top)):
            for column, across in ((left, 1 - (x - left)), (left + 1, x - left)):
                result += down * across * self._texel(row, column)
        return result

    def _texel(self, row: int, column: int) -> Floats:
        place = (min(max(row, 0), _TABLE - 1), min(max(column, 0), _TABLE - 1))
        if place not in self._texels:
            roughness, n_dot_v = ((number + 0.5) / _TABLE for number in place)
            self._texels[place] = brdf_integrals(roughness, n_dot_v)
        return self._texels[place]


@dataclass(frozen=True)
class Lookups:
    """What a light of two specular levels is looked up in: the prefiltered cubes, flattened [6 R R, 3]."""

    specular: tuple[Floats, Floats]
    diffuse: Floats

    @staticmethod
    def resolution(cube: Floats) -> int:
        """R of a flattened cube."""
        return round((len(cube) / 6) ** 0.5)

    @staticmethod
    def level(roughness: Floats) -> Floats:
        """nvdiffrec's level: 0 up to roughness 0.5, 1 at roughness 1."""
        return np.clip((roughness - 0.5) / 0.5, 0, 1)


@dataclass(frozen=True)
class Shading:
    """A color [N, 3] with the matrices that lead to it from the light: what the light's gradient goes back through."""

    color: Floats
    diffuse_lookup: Floats
    specular_lookups: tuple[Floats, Floats]
    diffuse_factor: Floats
    specular_factor: Floats
    level: Floats


def shade(
    normal: Floats, kd: Floats, ks: Floats, view: Floats, light: Lookups, table: TableLookup | None, turn: Floats
) -> Shading:
    """nvdiffrec's shading of points [N, 3] by a light; without a table, the diffuse part without the metallic factor.

    ks is occluded fraction, roughness, metallic; `turn` [3, 3] leads to the light's frame.
    """
    occluded, roughness, metallic = ks[:, :1], ks[:, 1:2], ks[:, 2:]
    diffuse_lookup = cube_maps.lookup(unit(normal) @ turn.T, light.resolution(light.diffuse))
    diffuse_factor = kd * (1 - occluded)
    n_dot_v = dot(view, normal)
    mirrored = unit(2 * n_dot_v * normal - view) @ turn.T
    specular_lookups = tuple(cube_maps.lookup(mirrored, light.resolution(cube)) for cube in light.specular)
    level = light.level(roughness)
    specular_factor = np.zeros_like(kd)
    if table is not None:
        diffuse_factor = diffuse_factor * (1 - metallic)
        pairs = zip(roughness[:, 0], np.maximum(n_dot_v[:, 0], 1e-4), strict=True)
        scale_and_bias = np.array([table(*pair) for pair in pairs])
        f0 = 0.04 * (1 - metallic) + kd * metallic
        specular_factor = (f0 * scale_and_bias[:, :1] + scale_and_bias[:, 1:]) * (1 - occluded)
    near, far = (matrix @ cube for matrix, cube in zip(specular_lookups, light.specular, strict=True))
    color = diffuse_factor * (diffuse_lookup @ light.diffuse) + specular_factor * ((1 - level) * near + level * far)
    return Shading(color, diffuse_lookup, specular_lookups, diffuse_factor, specular_factor, level)


def shading_normal(
    position: Floats,
    eye: Floats,
    perturbed: Floats,
    smooth: Floats,
    tangent: Floats,
    geometric: Floats,
    two_sided: bool,
    opengl: bool,
) -> Floats:
    """nvdiffrec's shading normals [N, 3]: perturbed, turned to the eye where two-sided, bent below N.V = 0.1."""
    view, smooth, tangent = unit(eye - position), unit(smooth), unit(tangent)
    bitangent = unit(np.cross(smooth, tangent)) * (1 if opengl else -1)
    height = np.maximum(perturbed[:, 2:], 0)
    normal = unit(perturbed[:, :1] * tangent + perturbed[:, 1:2] * bitangent + height * smooth)
    if two_sided:
        side = np.where(dot(view, geometric) < 0, -1, 1)
        normal, geometric = normal * side, geometric * side
    share = np.clip(dot(view, normal) / 0.1, 0, 1)
    return (1 - share) * geometric + share * normal


def difference_gradient(function: Callable[[Floats], Floats], at: Floats) -> Floats:
    """The gradient [N, C] at [N, C] of a function of rows to sums [N], by central differences."""
    result = np.zeros_like(at)
    for channel in range(at.shape[1]):
        step = np.zeros_like(at)
        step[:, channel] = _STEP
        result[:, channel] = (function(at + step) - function(at - step)) / (2 * _STEP)
    return result
