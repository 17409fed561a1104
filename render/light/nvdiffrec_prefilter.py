"""nvdiffrec's prefilter of a cube map, for parity: its levels, its energy cutoff, its texel areas.

The formulas are nvdiffrec's (Munkberg et al., "Extracting Triangular 3D Models, Materials, and Lighting From Images",
2022; github.com/NVlabs/nvdiffrec, render/light.py, render/renderutils), as a constant sparse linear operator that is
built once. What it gets wrong, and `render.light.prefilter` does not: the cutoff keeps far less energy than it says, since
it leaves out the sine of the solid angle and takes the angle of the half vector for the light's. The texel areas are
those of strips, and off by one texel on one half of each axis. The levels are too few. The errors are 3 to 11 % of a
texel, 3.5 to 8.7 % of any lookup.

nvdiffrec's levels, diffuse light and gradient agree with these within 1e-6. Measured on one slow core:

    base   weights   memory with transpose   build    forward   backward (the first one builds the transpose)
    64     0.3 M     5 MB                    0.2 s    0.02 s    0.01 s (0.04)
    128    0.8 M     12 MB                   0.3 s    0.05 s    0.04 s (0.1)
    256    5.3 M     85 MB                   1.8 s    0.2 s     0.1 s (0.5)
    512    61 M      1 GB (2.5 at peak)      18 s     0.8 s     0.7 s (9)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from render.core.autograd import SavingContext, apply_function
from render.light.cube_atlas import CubeAtlas
from render.light.cube_geometry import texel_directions
from render.light.nvdiffrec_rows import diffuse_rows, specular_rows, symmetries_of, texel_areas
from render.light.specular_operator import SymmetricRows
from render.light.specular_rows import SpecularRows

SMALLEST_RESOLUTION = 16
MIN_ROUGHNESS = 0.08
MAX_ROUGHNESS = 0.5


def nvdiffrec_resolutions(base_resolution: int) -> list[int]:
    """Resolutions of nvdiffrec's levels: the base's, halved until 16 or less.

    Raises ValueError if one of them is odd and cannot be halved (nvdiffrec would fail in the gradient).
    """
    resolutions = [base_resolution]
    while resolutions[-1] > SMALLEST_RESOLUTION:
        if resolutions[-1] % 2:
            raise ValueError(
                f"nvdiffrec's levels halve the base of resolution {base_resolution} until {SMALLEST_RESOLUTION} or less, "
                f"which {resolutions[-1]} does not allow: use a power of two, or prefilter='accurate'"
            )
        resolutions.append(resolutions[-1] // 2)
    return resolutions


def nvdiffrec_roughness(level: int, levels: int) -> float:
    """Perceptual roughness of a level: evenly from 0.08 to 0.5, and 1 for the last.

    With two levels (a base of 17 to 32) nvdiffrec divides by zero; here the first of two has roughness 0.08.
    """
    if level == levels - 1:
        return 1.0
    return (level / max(levels - 2, 1)) * (MAX_ROUGHNESS - MIN_ROUGHNESS) + MIN_ROUGHNESS


def nvdiffrec_mip(roughness: Tensor, levels: int) -> Tensor:
    """nvdiffrec's `get_mip`: perceptual roughness [...] -> level [...], 0..levels - 1, constant outside 0.08..1.

    With a single level the values lie in -1..0, as in nvdiffrec; lookups clamp them.
    """
    below = (roughness.clamp(MIN_ROUGHNESS, MAX_ROUGHNESS) - MIN_ROUGHNESS) / (MAX_ROUGHNESS - MIN_ROUGHNESS)
    above = (roughness.clamp(MAX_ROUGHNESS, 1.0) - MAX_ROUGHNESS) / (1.0 - MAX_ROUGHNESS)
    return torch.where(roughness < MAX_ROUGHNESS, below * (levels - 2), above + (levels - 2))


def cubemap_mip(cube: Tensor) -> Tensor:
    """The next coarser mip of a cube map, [6, R, R, C] -> [6, R / 2, R / 2, C]: means of 2 x 2 texels.

    The gradient is nvdiffrec's smooth one, not the exact one of the mean: the gradient is looked up in a texel's direction,
    bilinearly and seamless across faces, and the texel gets a quarter of it; the exact one is a quarter of its parent's. So
    a learned light stays free of blocks. Raises ValueError for an odd resolution.
    """
    if cube.ndim != 4 or cube.shape[0] != 6 or cube.shape[1] != cube.shape[2] or cube.shape[1] % 2:
        raise ValueError(f"a mip halves a cube map [6, R, R, C] with an even R, not {list(cube.shape)}")
    mip: Tensor = apply_function(_CubemapMip, cube)
    return mip


class _CubemapMip(torch.autograd.Function):
    @staticmethod
    def forward(ctx: SavingContext, cube: Tensor) -> Tensor:
        half = cube.shape[1] // 2
        return cube.reshape(6, half, 2, half, 2, -1).mean(dim=(2, 4))

    @staticmethod
    def backward(ctx: SavingContext, gradient: Tensor) -> Tensor:
        resolution = gradient.shape[1]
        atlas = _atlas(resolution, str(gradient.device))
        direction = texel_directions(2 * resolution, gradient.device, gradient.dtype)
        return atlas.sample(atlas.pack([gradient * 0.25]), direction, gradient.new_zeros(direction.shape[:-1]))


@lru_cache(maxsize=16)
def _atlas(resolution: int, device: str) -> CubeAtlas:
    return CubeAtlas([resolution], device=device)


@dataclass(frozen=True)
class _Lobe:
    """One output of the operator: the index of the resolution that it reads, and its roughness (None: diffuse)."""

    source: int
    roughness: float | None


class NvdiffrecPrefilter:
    """nvdiffrec's prefilter as a constant linear operator on a chain of mips; build it with `build_nvdiffrec_prefilter`.

    Attributes: ``resolutions`` of the mips, and ``weights``, which is how many weights are stored.
    """

    def __init__(
        self,
        resolutions: Sequence[int],
        lobes: Sequence[_Lobe],
        cutoff: float,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.resolutions = tuple(resolutions)
        self._lobes = tuple(sorted(lobes, key=lambda lobe: symmetries_of(lobe.roughness)))
        starts = np.cumsum([0, *(6 * r * r for r in self.resolutions)])
        rows: dict[int, list[SpecularRows]] = {}
        for lobe in self._lobes:
            resolution, start = self.resolutions[lobe.source], int(starts[lobe.source])
            if lobe.roughness is None:
                made = diffuse_rows(resolution, start)
            else:
                made = specular_rows(resolution, lobe.roughness, cutoff, start)
            rows.setdefault(symmetries_of(lobe.roughness), []).append(made)
        self._parts = [SymmetricRows(self.resolutions, made, device, dtype, count) for count, made in rows.items()]
        self.weights = sum(part.weights for part in self._parts)
        areas = [np.tile(texel_areas(r).reshape(-1), 6) for r in self.resolutions]
        self._area = torch.from_numpy(np.concatenate(areas)).to(device, dtype)[:, None]
        self._scale = 1 / self._multiply(self._area)
        for lobe, part in zip(self._lobes, torch.split(self._scale, self._sizes()), strict=True):
            if lobe.roughness is None:
                part.fill_(1)

    def apply(self, mips: Sequence[Tensor]) -> list[Tensor]:
        """Mips [6, R_i, R_i, C] -> one cube map a lobe; the gradient goes through the stored transpose.

        Raises ValueError if the mips have other resolutions than the operator.
        """
        shapes = [tuple(mip.shape[:3]) for mip in mips]
        if shapes != [(6, r, r) for r in self.resolutions]:
            raise ValueError(
                f"the prefilter was built for the resolutions {list(self.resolutions)}, these are {shapes}"
            )
        channels = mips[0].shape[-1]
        source = torch.cat([mip.reshape(-1, channels) for mip in mips])
        texels: Tensor = apply_function(_NvdiffrecPrefilter, source, self)
        parts = torch.split(texels, self._sizes())
        resolutions = (self.resolutions[lobe.source] for lobe in self._lobes)
        return [part.view(6, r, r, channels) for part, r in zip(parts, resolutions, strict=True)]

    def _sizes(self) -> list[int]:
        return [6 * self.resolutions[lobe.source] ** 2 for lobe in self._lobes]

    def _multiply(self, texels: Tensor) -> Tensor:
        return torch.cat([part.multiply(texels) for part in self._parts])

    def _forward(self, texels: Tensor) -> Tensor:
        return self._multiply(texels * self._area) * self._scale

    def _backward(self, gradient: Tensor) -> Tensor:
        split = torch.split(gradient * self._scale, [part.texels for part in self._parts])
        return sum(part.multiply_transposed(given) for part, given in zip(self._parts, split, strict=True)) * self._area


class _PrefilterContext(Protocol):
    operator: NvdiffrecPrefilter


class _NvdiffrecPrefilter(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _PrefilterContext, texels: Tensor, operator: NvdiffrecPrefilter) -> Tensor:
        ctx.operator = operator
        return operator._forward(texels)

    @staticmethod
    def backward(ctx: _PrefilterContext, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.operator._backward(gradient), None


@lru_cache(maxsize=8)
def _build(
    resolutions: tuple[int, ...], lobes: tuple[_Lobe, ...], cutoff: float, device: str, dtype: torch.dtype
) -> NvdiffrecPrefilter:
    return NvdiffrecPrefilter(resolutions, lobes, cutoff, torch.device(device), dtype)


def _check_cutoff(cutoff: float) -> None:
    if not 0 < cutoff <= 1:
        raise ValueError(f"the cutoff is the share of a lobe's sum to keep, above 0 and at most 1, not {cutoff}")


def build_nvdiffrec_prefilter(
    base_resolution: int,
    cutoff: float = 0.99,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> NvdiffrecPrefilter:
    """The operator of a whole light: it reads the light's mips and gives the specular levels, then the diffuse cube map.

    It is kept for the process. Raises ValueError for a cutoff outside 0..1 or a base that cannot be halved to 16 or less.
    """
    _check_cutoff(cutoff)
    resolutions = tuple(nvdiffrec_resolutions(base_resolution))
    count = len(resolutions)
    lobes = [_Lobe(level, nvdiffrec_roughness(level, count)) for level in range(count)]
    return _build(resolutions, (*lobes, _Lobe(count - 1, None)), cutoff, str(device), dtype)


def nvdiffrec_diffuse_cubemap(cube: Tensor) -> Tensor:
    """nvdiffrec's `diffuse_cubemap`: irradiance / pi [6, R, R, C] around each texel of a cube map of the same shape.

    It is the sum over all texels with the cosine clamped at 0.999. White light of radiance 1 gives 1.05 to 1.12 at
    R = 16, 1.14 to 1.17 at 64, since the sum of the texel areas is not 4 pi.
    """
    lobes = (_Lobe(0, None),)
    return _build((cube.shape[1],), lobes, 1.0, str(cube.device), cube.dtype).apply([cube])[0]


def nvdiffrec_specular_cubemap(cube: Tensor, roughness: float, cutoff: float = 0.99) -> Tensor:
    """nvdiffrec's `specular_cubemap`: a cube map under the lobe of a roughness above 0, up to 1; the shape stays.

    At resolutions that are not multiples of 32 nvdiffrec drops whole tiles of 16 x 16 texels by mistake. This keeps them.
    Raises ValueError for another roughness, or a cutoff outside 0..1.
    """
    _check_cutoff(cutoff)
    if not 0 < roughness <= 1:
        raise ValueError(f"nvdiffrec's lobe needs a roughness above 0 and at most 1, not {roughness}")
    lobes = (_Lobe(0, float(roughness)),)
    return _build((cube.shape[1],), lobes, float(cutoff), str(cube.device), cube.dtype).apply([cube])[0]
