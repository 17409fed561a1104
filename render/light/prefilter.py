"""The light prefilters: GGX specular levels and the diffuse irradiance of a cube map, both linear in the cube map.

Specular: the split sum's prefiltered light (Karis, "Real Shading in Unreal Engine 4", 2013), which is the mean of the
light under the lobe D(h; alpha = roughness^2) max(N.L, 0) of N = V = R. What it gets wrong: at grazing angles the true
lobe leans and is stretched; here it is round.

Diffuse: nine spherical-harmonic coefficients (Ramamoorthi and Hanrahan, "An Efficient Representation for Irradiance
Environment Maps", 2001). What it gets wrong: 1 to 3 % in common light, up to a tenth of the peak under a single sun.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor

from render.bsdf.sheen import SheenTerms
from render.core.autograd import apply_function
from render.light.cube_geometry import texel_directions, texel_solid_angles
from render.light.nvdiffrec_prefilter import nvdiffrec_diffuse_cubemap, nvdiffrec_specular_cubemap
from render.light.specular_operator import SparseRows, mean_of_fours
from render.light.specular_rows import build_rows, pyramid_resolutions

_WEIGHTS_AT_A_TIME = 1 << 23
IRRADIANCE_RESOLUTION = 64

# Factors of the spherical harmonics of degree 0, 1 and 2.
_CONSTANT, _LINEAR = math.sqrt(1 / (4 * math.pi)), math.sqrt(3 / (4 * math.pi))
_QUADRATIC, _POLAR = math.sqrt(15 / (4 * math.pi)), math.sqrt(5 / (16 * math.pi))


@dataclass(frozen=True)
class SpecularLevel:
    """One prefiltered level: the resolution of its faces in texels and its perceptual roughness, 0..1."""

    resolution: int
    roughness: float


def default_levels(base_resolution: int) -> tuple[SpecularLevel, ...]:
    """Levels for a base of this resolution, from the base itself (roughness 0) to roughness 1.

    Their roughnesses matter as much as each level's accuracy, since between them the lookup only mixes two lobes.
    Measured in the forest with a base of 128 against brute force on a base of 256: 1.5 to 3.4 % between roughness 0.085
    and 0.21, 7 % at 0.18, which is the worst above 0.07. Below 0.07 the base itself is too coarse for the lobe (7.5 % at
    0.05). No level is finer than the base. Levels are left out if their lobe (half width about 2 roughness^2) is narrower
    than half a texel of the base.
    """
    wanted = ((128, 0.1), (64, 0.15), (32, 0.27), (32, 0.4), (32, 0.6), (16, 1.0))
    levels = [SpecularLevel(base_resolution, 0.0)]
    levels += [
        SpecularLevel(min(resolution, base_resolution), roughness)
        for resolution, roughness in wanted
        if 2 * roughness**2 >= 1 / base_resolution
    ]
    return tuple(levels)


def roughness_to_level(roughness: Tensor, levels: Sequence[SpecularLevel]) -> Tensor:
    """Perceptual roughness [...] -> level [...] to look up, 0..levels - 1.

    Linear between the levels, except between a mirror (roughness 0) and the next level, where the square follows the
    lobe's width. In the forest the error is then 7.5 % instead of 11 at roughness 0.05, and 2.3 % instead of 4.0 at 0.085;
    between the other levels the square gains nothing. Its slope is 0 at roughness 0. Differentiable; a roughness outside
    the levels' range is clamped to it.
    """
    if len(levels) == 1:
        return torch.zeros_like(roughness)
    known = [level.roughness for level in levels]
    clamped = roughness.clamp(known[0], known[-1])
    lower, start = torch.zeros_like(roughness), torch.full_like(roughness, known[0])
    slope = torch.full_like(roughness, 1 / (known[1] - known[0]))
    # Compare with numbers: a small table would have to be copied to the device each time, or every lookup would wait for it.
    for number in range(1, len(levels) - 1):
        above = clamped.detach() >= known[number]
        lower = torch.where(above, float(number), lower)
        start = torch.where(above, known[number], start)
        slope = torch.where(above, 1 / (known[number + 1] - known[number]), slope)
    fraction = (clamped - start) * slope
    if levels[0].roughness == 0:
        fraction = torch.where(lower == 0, fraction * fraction, fraction)
    return lower + fraction


class SpecularPrefilter:
    """The specular levels of a cube map as a constant linear operator; build it with `build_specular_operator`.

    Attributes: ``levels``, ``base_resolution``, and ``weights``, which is how many weights are stored.
    """

    def __init__(
        self, base_resolution: int, levels: Sequence[SpecularLevel], device: torch.device, dtype: torch.dtype
    ) -> None:
        self.levels = tuple(levels)
        self.base_resolution = base_resolution
        _check_levels(base_resolution, self.levels)
        rough = [level for level in self.levels if level.roughness > 0]
        rows = [build_rows(base_resolution, level.resolution, level.roughness) for level in rough]
        self._rows = SparseRows(base_resolution, rows, device, dtype)
        self.weights = self._rows.weights

    @property
    def rows(self) -> SparseRows:
        """The rough levels' rows and the pyramid that they read."""
        return self._rows

    def apply(self, base: Tensor) -> list[Tensor]:
        """Base [6, R, R, C] -> one cube map [6, R_i, R_i, C] a level; the gradient goes through the stored transpose.

        Raises ValueError if the base has another resolution than the operator.
        """
        expected = (6, self.base_resolution, self.base_resolution)
        if tuple(base.shape[:3]) != expected:
            raise ValueError(f"the prefilter was built for a base {expected}, this one is {tuple(base.shape)}")
        cubes: tuple[Tensor, ...] = apply_function(_Prefilter, base, self)
        return list(cubes)

    def _forward(self, base: Tensor) -> tuple[Tensor, ...]:
        pyramid = self._rows.pyramid(base)
        channels = base.shape[-1]
        means = dict(zip(self._rows.resolutions, torch.split(pyramid, self._cells()), strict=True))
        rough = iter(torch.split(self._rows.multiply(pyramid), self._rough_sizes()) if self._rough_sizes() else ())
        parts = [next(rough) if level.roughness > 0 else means[level.resolution].clone() for level in self.levels]
        return tuple(
            part.view(6, level.resolution, level.resolution, channels)
            for part, level in zip(parts, self.levels, strict=True)
        )

    def _backward(self, gradients: Sequence[Tensor]) -> Tensor:
        channels = gradients[0].shape[-1]
        flat = [gradient.reshape(-1, channels) for gradient in gradients]
        rough = [part for part, level in zip(flat, self.levels, strict=True) if level.roughness > 0]
        empty = flat[0].new_zeros(self._rows.cells, channels)
        pyramid = self._rows.multiply_transposed(torch.cat(rough)) if rough else empty
        means = dict(zip(self._rows.resolutions, torch.split(pyramid, self._cells()), strict=True))
        for part, level in zip(flat, self.levels, strict=True):
            if level.roughness == 0:
                means[level.resolution] += part
        return self._rows.pyramid_transposed(pyramid)

    def _cells(self) -> list[int]:
        return [6 * resolution**2 for resolution in self._rows.resolutions]

    def _rough_sizes(self) -> list[int]:
        return [6 * level.resolution**2 for level in self.levels if level.roughness > 0]


def _check_levels(base_resolution: int, levels: Sequence[SpecularLevel]) -> None:
    if base_resolution < 1 or not levels:
        raise ValueError(
            f"a prefilter needs a base, not of resolution {base_resolution}, and levels, not {len(levels)}"
        )
    for level in levels:
        if not 0 <= level.roughness <= 1 or level.resolution < 1:
            raise ValueError(f"{level}: a roughness lies in 0..1 and a resolution is positive")
        if level.roughness == 0 and level.resolution not in pyramid_resolutions(base_resolution):
            allowed = pyramid_resolutions(base_resolution)
            raise ValueError(f"{level}: a level of roughness 0 copies the base or its means, one of {allowed}")


class _PrefilterContext(Protocol):
    operator: SpecularPrefilter


class _Prefilter(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _PrefilterContext, base: Tensor, operator: SpecularPrefilter) -> tuple[Tensor, ...]:
        ctx.operator = operator
        return operator._forward(base)

    @staticmethod
    def backward(ctx: _PrefilterContext, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.operator._backward(gradients), None


@lru_cache(maxsize=8)
def _build(
    base_resolution: int, levels: tuple[SpecularLevel, ...], device: str, dtype: torch.dtype
) -> SpecularPrefilter:
    return SpecularPrefilter(base_resolution, levels, torch.device(device), dtype)


def build_specular_operator(
    base_resolution: int,
    levels: Sequence[SpecularLevel] | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> SpecularPrefilter:
    """The operator for a base of this resolution; ``levels`` None means `default_levels`. Kept for the process.

    Raises ValueError for a roughness outside 0..1, or for roughness 0 at a resolution that halving the base does not give.
    """
    chosen = default_levels(base_resolution) if levels is None else tuple(levels)
    return _build(base_resolution, chosen, str(device), dtype)


def prefilter_reference(base: Tensor, roughness: float, directions: Tensor, subdivision: int = 1) -> Tensor:
    """Brute force, in float64: the light of every texel under the lobe around each direction.

    base [6, R, R, C]; directions unit [..., 3]; roughness > 0 -> float64 [..., C]. The light is constant over a texel. The
    kernel is integrated at ``subdivision`` squared points a texel: lobes near the size of a texel need more than one.
    """
    fine = base.double().repeat_interleave(subdivision, 1).repeat_interleave(subdivision, 2)
    resolution = fine.shape[1]
    light = texel_directions(resolution, base.device, torch.float64).reshape(-1, 3)
    area = texel_solid_angles(resolution, base.device, torch.float64).reshape(-1).repeat(6)
    values = fine.reshape(-1, base.shape[-1])
    result = []
    wanted = directions.reshape(-1, 3).double()
    for part in torch.split(wanted, max(1, _WEIGHTS_AT_A_TIME // len(light))):
        cosine = (part @ light.t()).clamp(min=0)
        half_squared = (1 + cosine) / 2
        kernel = cosine / (half_squared * (roughness**4 - 1) + 1).square() * area
        result.append(kernel @ values / kernel.sum(dim=1, keepdim=True))
    return torch.cat(result).reshape(*directions.shape[:-1], -1)


def spherical_harmonics(direction: Tensor) -> Tensor:
    """The nine real spherical harmonics up to degree 2, orthonormal: unit direction [..., 3] -> [..., 9].

    Order: 1, y, z, x, xy, yz, 3z^2 - 1, xz, x^2 - y^2.
    """
    x, y, z = direction.unbind(-1)
    return torch.stack(
        [
            torch.full_like(x, _CONSTANT),
            _LINEAR * y,
            _LINEAR * z,
            _LINEAR * x,
            _QUADRATIC * x * y,
            _QUADRATIC * y * z,
            _POLAR * (3 * z * z - 1),
            _QUADRATIC * x * z,
            _QUADRATIC / 2 * (x * x - y * y),
        ],
        dim=-1,
    )


@lru_cache(maxsize=8)
def irradiance_matrix(resolution: int, device: str, dtype: torch.dtype) -> Tensor:
    """Harmonics times solid angle times the cosine lobe's coefficients over pi (1, 2/3, 1/4), row by row: [6 * R, 9, R]."""
    basis = spherical_harmonics(texel_directions(resolution, device, torch.float64).reshape(-1, 3))
    area = texel_solid_angles(resolution, device, torch.float64).reshape(-1).repeat(6)
    lobe = torch.tensor([1.0, *[2 / 3] * 3, *[1 / 4] * 5], device=device, dtype=torch.float64)
    matrix = (basis * area[:, None] * lobe).view(6 * resolution, resolution, 9)
    return matrix.transpose(1, 2).contiguous().to(dtype)


def irradiance_sh(base: Tensor) -> Tensor:
    """Base [6, R, R, C] -> spherical-harmonic coefficients of irradiance / pi: [9, C]; linear in the base.

    A base finer than 64 is reduced to its means first. The nine harmonics vary over a radian, so they hardly change within
    these, and the matrix for 512 texels would be 57 MB, which every iteration would have to read.
    """
    while base.shape[1] > IRRADIANCE_RESOLUTION and base.shape[1] % 2 == 0:
        base = mean_of_fours(base)
    matrix = irradiance_matrix(base.shape[1], str(base.device), base.dtype)
    # Sum row by row first: one long float32 sum would lose digits.
    return torch.bmm(matrix, base.reshape(matrix.shape[0], base.shape[1], -1)).sum(dim=0)


def evaluate_irradiance(sh: Tensor, normal: Tensor) -> Tensor:
    """Irradiance / pi from `irradiance_sh` at unit normals [..., 3] -> [..., C]: light of radiance 1 gives 1.

    Opposite a single strong sun it may fall below zero, by up to 4 % of the sun's peak.
    """
    return spherical_harmonics(normal) @ sh


def evaluate_sheen(sh: Tensor, normal: Tensor, view: Tensor, terms: SheenTerms) -> Tensor:
    """Mean radiance [..., C] over the lobe of sheen, from `irradiance_sh`: light of radiance 1 gives 1.

    normal, view  unit [..., 3]; terms [...] at their cosine. What varies faster than harmonics of degree 2 is left out, so it
    may fall below zero opposite a strong sun.
    """
    along = normal * (normal * view).sum(-1, keepdim=True)
    aside = view - along
    mean = terms.normal[..., None] * normal + terms.view[..., None] * aside
    normal_part = terms.nn[..., None] * normal + terms.nv[..., None] * aside
    aside_part = terms.nv[..., None] * normal + terms.vv[..., None] * aside

    def square(first: int, second: int) -> Tensor:
        return normal[..., first] * normal_part[..., second] + aside[..., first] * aside_part[..., second]

    xx, yy, zz = square(0, 0), square(1, 1), square(2, 2)
    first, second = 1.5 * _LINEAR, 4 * _QUADRATIC
    harmonics = [
        torch.full_like(xx, _CONSTANT),
        first * mean[..., 1],
        first * mean[..., 2],
        first * mean[..., 0],
        second * square(0, 1),
        second * square(1, 2),
        4 * _POLAR * (2 * zz - xx - yy),
        second * square(0, 2),
        second / 2 * (xx - yy),
    ]
    return torch.stack(harmonics, dim=-1) @ sh


def diffuse_cubemap(base: Tensor, resolution: int = 16, prefilter: str = "accurate") -> Tensor:
    """The diffuse light of a base [6, R, R, C], irradiance / pi around each texel: [6, resolution, resolution, C].

    prefilter "nvdiffrec": nvdiffrec's sum over the texels, at the base's own resolution; ``resolution`` is not used. Raises
    ValueError for another prefilter.
    """
    if _is_nvdiffrec(prefilter):
        return nvdiffrec_diffuse_cubemap(base)
    return evaluate_irradiance(irradiance_sh(base), texel_directions(resolution, base.device, base.dtype))


def specular_cubemap(
    base: Tensor,
    roughness: float,
    resolution: int | None = None,
    prefilter: str = "accurate",
    cutoff: float = 0.99,
) -> Tensor:
    """One prefiltered level [6, resolution, resolution, C] of a base [6, R, R, C]; as fine as the base by default.

    prefilter "nvdiffrec": nvdiffrec's lobe with its energy cutoff, always as fine as the base, roughness above 0. The
    accurate one has no cutoff. Raises ValueError for a roughness outside 0..1 and for what the prefilter cannot do.
    """
    own = base.shape[1] if resolution is None else resolution
    if _is_nvdiffrec(prefilter):
        if own != base.shape[1]:
            raise ValueError(f"nvdiffrec's prefilter keeps the base's resolution {base.shape[1]}, it cannot give {own}")
        return nvdiffrec_specular_cubemap(base, roughness, cutoff)
    level = SpecularLevel(own, roughness)
    return build_specular_operator(base.shape[1], (level,), base.device, base.dtype).apply(base)[0]


def _is_nvdiffrec(prefilter: str) -> bool:
    if prefilter not in ("accurate", "nvdiffrec"):
        raise ValueError(f"prefilter is {prefilter!r}; it must be 'accurate' or 'nvdiffrec'")
    return prefilter == "nvdiffrec"
