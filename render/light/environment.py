"""Environment light: a cube map at infinity, prefiltered for split-sum shading.

`EnvironmentLight.build_mips` makes from the base cube what shading looks up: nine spherical-harmonic coefficients of
the irradiance, and a chain of GGX-prefiltered levels in one seamless atlas (or, for parity, nvdiffrec's cube maps).
Both are linear in the base. So the same code serves a known light, which is built once, and a learned one, which is built
in every iteration, with gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Literal, overload

import torch

from render.core.image_io import ImageError, read_image, write_image
from render.light.cubemap import CubeAtlas, cubemap_to_latlong, latlong_to_cubemap
from render.light.kernels.light_prefilter import can_prefilter, filter_light, light_prefilter
from render.light.nvdiffrec_prefilter import (
    build_nvdiffrec_prefilter,
    cubemap_mip,
    nvdiffrec_mip,
    nvdiffrec_resolutions,
)
from render.light.prefilter import (
    SpecularLevel,
    SpecularPrefilter,
    build_specular_operator,
    default_levels,
    irradiance_sh,
    roughness_to_level,
)
from render.light.prefiltered import NvdiffrecLight, PrefilteredLight, rotation_part

__all__ = [
    "EnvironmentLight",
    "NvdiffrecLight",
    "Prefilter",
    "PrefilteredLight",
    "create_trainable_env_rnd",
    "env_from_latlong",
    "load_env",
    "prefilter_parts",
    "save_env_map",
]

Prefilter = Literal["accurate", "nvdiffrec"]
_BRIGHTEST = 65504.0


@lru_cache(maxsize=4)
def _operator(
    resolution: int, device: str, dtype: torch.dtype
) -> tuple[SpecularPrefilter, CubeAtlas, tuple[SpecularLevel, ...]]:
    levels = tuple(default_levels(resolution))
    layout = CubeAtlas([level.resolution for level in levels], device=device)
    return build_specular_operator(resolution, levels, device, dtype), layout, levels


@lru_cache(maxsize=4)
def _nvdiffrec_layouts(resolution: int, device: str) -> tuple[CubeAtlas, CubeAtlas]:
    resolutions = nvdiffrec_resolutions(resolution)
    return CubeAtlas(resolutions, device), CubeAtlas(resolutions[-1:], device)


def _check_prefilter(prefilter: str) -> None:
    if prefilter not in ("accurate", "nvdiffrec"):
        raise ValueError(f"prefilter is {prefilter!r}; it must be 'accurate' or 'nvdiffrec'")


def _with_rotation(base: torch.Tensor, rotation: torch.Tensor | None) -> EnvironmentLight:
    light = EnvironmentLight(base)
    light.rotation = rotation
    return light


class EnvironmentLight(torch.nn.Module):
    """A trainable environment light.

    base      parameter [6, R, R, 3], linear radiance, OpenGL face order (+x -x +y -y +z -z), world axes (Y up)
    rotation  [3, 3] or [B, 3, 3] of lookups, or None; `xfm` sets it

    Raises ValueError for a base of another shape.
    """

    def __init__(self, base: torch.Tensor) -> None:
        super().__init__()
        if base.ndim != 4 or base.shape[0] != 6 or base.shape[1] != base.shape[2] or 0 in base.shape:
            raise ValueError(f"a cube map is [6, R, R, C], not {list(base.shape)}: use latlong_to_cubemap for images")
        self.base = torch.nn.Parameter(base.clone().detach())
        self.rotation: torch.Tensor | None = None

    def __reduce__(self) -> tuple[Callable[..., EnvironmentLight], tuple[torch.Tensor | None, ...]]:
        return _with_rotation, (self.base.detach(), self.rotation)

    def clone(self) -> EnvironmentLight:
        """An independent light with the same radiance and, unlike nvdiffrec's clone, the same rotation."""
        return _with_rotation(self.base, self.rotation)

    def xfm(self, matrix: torch.Tensor | None) -> None:
        """Turn the lookups of the lights built from now on: direction v is looked up at matrix v (nvdiffrec).

        [3, 3] or [4, 4], whose translation is ignored, or one per image [B, ...]; None: no rotation. Raises ValueError for
        another shape.
        """
        self.rotation = rotation_part(matrix)

    @torch.no_grad()
    def clamp_(self, minimum: float = 0.0, maximum: float | None = None) -> None:
        """Clamp the base radiance in place."""
        self.base.clamp_(minimum, maximum)

    @overload
    def build_mips(self, prefilter: Literal["accurate"] = "accurate", cutoff: float = 0.99) -> PrefilteredLight: ...

    @overload
    def build_mips(self, prefilter: Literal["nvdiffrec"], cutoff: float = 0.99) -> NvdiffrecLight: ...

    @overload
    def build_mips(self, prefilter: Prefilter, cutoff: float = 0.99) -> PrefilteredLight | NvdiffrecLight: ...

    def build_mips(self, prefilter: Prefilter = "accurate", cutoff: float = 0.99) -> PrefilteredLight | NvdiffrecLight:
        """Prefilter the base. The operator is built once per resolution and device and kept for the process.

        prefilter  "accurate": `render.light.prefilter`; "nvdiffrec": nvdiffrec's levels, cutoff and gradient, for parity
        cutoff     nvdiffrec's share of a lobe's sum to keep, above 0 and at most 1; the accurate prefilter has none

        Raises ValueError for another prefilter, or if nvdiffrec's levels cannot halve the base to 16 or less.
        """
        _check_prefilter(prefilter)
        resolution, device = self.base.shape[1], str(self.base.device)
        rotation = None if self.rotation is None else self.rotation.to(self.base)
        if prefilter == "nvdiffrec":
            nvdiffrecs = build_nvdiffrec_prefilter(resolution, cutoff, device, self.base.dtype)
            mips: list[torch.Tensor] = [self.base]
            while len(mips) < len(nvdiffrecs.resolutions):
                mips.append(cubemap_mip(mips[-1]))
            *specular, diffuse = nvdiffrecs.apply(mips)
            layout, diffuse_layout = _nvdiffrec_layouts(resolution, device)
            atlases = (layout.pack(specular), layout, diffuse_layout.pack([diffuse]), diffuse_layout)
            return NvdiffrecLight(tuple(specular), diffuse, *atlases, rotation=rotation)
        operator, layout, levels = _operator(resolution, device, self.base.dtype)
        if can_prefilter(self.base, operator):
            irradiance, atlas = filter_light(self.base, light_prefilter(operator, layout))
        else:
            irradiance, atlas = irradiance_sh(self.base), layout.pack(operator.apply(self.base))
        return PrefilteredLight(irradiance, atlas, layout, levels, rotation=rotation)

    def get_mip(self, roughness: torch.Tensor, prefilter: Prefilter = "accurate") -> torch.Tensor:
        """Perceptual roughness [...] -> level [...] of the light that `build_mips` gives, 0..levels - 1."""
        _check_prefilter(prefilter)
        if prefilter == "nvdiffrec":
            return nvdiffrec_mip(roughness, len(nvdiffrec_resolutions(self.base.shape[1])))
        return roughness_to_level(roughness, default_levels(self.base.shape[1]))

    def shade(
        self,
        position: torch.Tensor,
        normal: torch.Tensor,
        kd: torch.Tensor,
        ks: torch.Tensor,
        view_position: torch.Tensor,
        specular: bool = True,
        prefilter: Prefilter = "accurate",
    ) -> torch.Tensor:
        """`build_mips` and `PrefilteredLight.shade` in one. To shade several times, build once and keep the result."""
        return self.build_mips(prefilter).shade(position, normal, kd, ks, view_position, specular)

    def regularizer(self) -> torch.Tensor:
        """White balance: mean absolute deviation of the channels from gray, a scalar (nvdiffrec)."""
        white = self.base.mean(dim=-1, keepdim=True)
        return (self.base - white).abs().mean()

    def to_latlong(self, size: tuple[int, int] = (512, 1024)) -> torch.Tensor:
        """The base as an equirectangular image [H, W, 3], row 0 at the top."""
        return cubemap_to_latlong(self.base.detach(), size)


def env_from_latlong(
    latlong: torch.Tensor, resolution: int = 256, device: torch.device | str | None = None
) -> EnvironmentLight:
    """Light from an equirectangular image [H, W, 3], linear, row 0 at the top, averaged over each texel of the cube.

    device  of the light; None means the image's

    Raises ValueError for an image of another shape or a resolution below 1.
    """
    if resolution < 1:
        raise ValueError(f"a cube map needs a positive resolution, not {resolution}")
    return EnvironmentLight(latlong_to_cubemap(latlong if device is None else latlong.to(device), resolution))


def load_env(
    path: str | Path, scale: float = 1.0, resolution: int = 256, device: torch.device | str = "cpu"
) -> EnvironmentLight:
    """Light from a .hdr or .exr equirectangular file of any size, radiance times `scale`.

    Gray images become three equal channels, alpha is left out. Negative values and NaN become 0, infinite ones 65504
    (the largest half float), so that no light makes what it shines on NaN or infinite. Raises ImageError if the file cannot
    be read or is not a linear image, ValueError for a resolution below 1 or a scale that is negative or not finite.
    """
    if not 0 <= scale < float("inf"):
        raise ValueError(f"the light's scale is a finite factor of at least 0, not {scale}")
    if Path(path).suffix.lower() not in (".hdr", ".exr"):
        raise ImageError(f"{path} cannot be an environment: use a linear .hdr or .exr image")
    image = torch.from_numpy(read_image(path))[..., :3].float()
    if image.shape[-1] == 1:
        image = image.expand(-1, -1, 3)
    image = image.nan_to_num(nan=0.0, posinf=_BRIGHTEST).clamp(min=0) * scale
    return env_from_latlong(image, resolution, device)


def save_env_map(path: str | Path, light: EnvironmentLight, size: tuple[int, int] = (512, 1024)) -> None:
    """Write the light as an equirectangular .hdr or .exr, linear, row 0 at the top."""
    write_image(path, light.to_latlong(size).cpu().numpy())


def prefilter_parts(light: EnvironmentLight) -> tuple[SpecularPrefilter, CubeAtlas, tuple[SpecularLevel, ...]]:
    """The operator that `build_mips` applies to a light, the layout of its atlas, and the levels; kept for the process."""
    return _operator(light.base.shape[1], str(light.base.device), light.base.dtype)


def create_trainable_env_rnd(
    resolution: int, scale: float = 0.5, bias: float = 0.25, seed: int = 0, device: torch.device | str = "cpu"
) -> EnvironmentLight:
    """A light to start learning from: random radiance, uniform in bias .. bias + scale."""
    generator = torch.Generator().manual_seed(seed)
    base = torch.rand(6, resolution, resolution, 3, generator=generator) * scale + bias
    return EnvironmentLight(base.to(device))
