"""Environment light: a cube map at infinity, prefiltered for split-sum shading.

`EnvironmentLight.build_mips` turns the base cube into what shading looks up: nine spherical-harmonic coefficients of
the irradiance, and a chain of GGX-prefiltered levels in one seamless atlas. Both are linear in the base, so the same
code serves a known light (built once) and a learned one (built in every iteration, with gradients).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from render.cubemap import CubeAtlas, cubemap_to_latlong, latlong_to_cubemap
from render.image_io import read_image, write_image
from render.prefilter import (
    SpecularLevel,
    SpecularPrefilter,
    build_specular_operator,
    default_levels,
    evaluate_irradiance,
    irradiance_sh,
    roughness_to_level,
)


@dataclass(frozen=True)
class PrefilteredLight:
    """What shading looks up, differentiable in the base cube it was built from.

    irradiance  [9, C], cosine-convolved spherical harmonics, divided by pi: a white furnace of radiance 1 gives 1
    atlas       [1, C, H, W], the specular levels
    """

    irradiance: torch.Tensor
    atlas: torch.Tensor
    layout: CubeAtlas
    levels: tuple[SpecularLevel, ...]

    def diffuse(self, normal: torch.Tensor) -> torch.Tensor:
        """Irradiance / pi for unit normals [..., 3] -> [..., C]."""
        return evaluate_irradiance(self.irradiance, normal).clamp(min=0)

    def specular(self, direction: torch.Tensor, roughness: torch.Tensor) -> torch.Tensor:
        """Radiance of the round GGX lobe around `direction` [..., 3] (any length) at `roughness` [...] -> [..., C]."""
        return self.layout.sample(self.atlas, direction, roughness_to_level(roughness, self.levels))


@lru_cache(maxsize=4)
def _operator(resolution: int, device: str) -> tuple[SpecularPrefilter, CubeAtlas, tuple[SpecularLevel, ...]]:
    levels = tuple(default_levels(resolution))
    layout = CubeAtlas([level.resolution for level in levels], device=device)
    return build_specular_operator(resolution, levels, device, torch.float32), layout, levels


class EnvironmentLight(torch.nn.Module):
    """A trainable environment light.

    base  float32 parameter [6, R, R, 3], linear radiance, OpenGL face order (+x -x +y -y +z -z), world axes (Y up)
    """

    def __init__(self, base: torch.Tensor) -> None:
        super().__init__()
        if base.ndim != 4 or base.shape[0] != 6 or base.shape[1] != base.shape[2]:
            raise ValueError(f"a cube map is [6, R, R, C], not {list(base.shape)}: use latlong_to_cubemap for images")
        self.base = torch.nn.Parameter(base.clone().detach())

    def clone(self) -> EnvironmentLight:
        return EnvironmentLight(self.base)

    @torch.no_grad()
    def clamp_(self, minimum: float = 0.0, maximum: float | None = None) -> None:
        """Clamp the base radiance in place."""
        self.base.clamp_(minimum, maximum)

    def build_mips(self) -> PrefilteredLight:
        """Prefilter the base. The operator is built once per resolution and device and kept for the process."""
        operator, layout, levels = _operator(self.base.shape[1], str(self.base.device))
        return PrefilteredLight(
            irradiance=irradiance_sh(self.base),
            atlas=layout.pack(operator.apply(self.base)),
            layout=layout,
            levels=levels,
        )

    def regularizer(self) -> torch.Tensor:
        """White balance: mean absolute deviation of the channels from grey, a scalar (nvdiffrec)."""
        white = self.base.mean(dim=-1, keepdim=True)
        return (self.base - white).abs().mean()

    def to_latlong(self, size: tuple[int, int] = (512, 1024)) -> torch.Tensor:
        """The base as an equirectangular image [H, W, 3], row 0 at the top."""
        return cubemap_to_latlong(self.base.detach(), size)


def env_from_latlong(
    latlong: torch.Tensor, resolution: int = 256, device: torch.device | str = "cpu"
) -> EnvironmentLight:
    """Light from an equirectangular image [H, W, 3], linear, row 0 at the top."""
    return EnvironmentLight(latlong_to_cubemap(latlong.to(device), resolution))


def load_env(
    path: str | Path, scale: float = 1.0, resolution: int = 256, device: torch.device | str = "cpu"
) -> EnvironmentLight:
    """Light from a .hdr or .exr equirectangular file of any size, radiance times `scale`; negative values become 0.

    Raises ImageError when the file cannot be read.
    """
    image = torch.from_numpy(read_image(path))[..., :3].clamp(min=0) * scale
    return env_from_latlong(image, resolution, device)


def save_env_map(path: str | Path, light: EnvironmentLight, size: tuple[int, int] = (512, 1024)) -> None:
    """Write the light as an equirectangular .hdr or .exr, linear, row 0 at the top."""
    write_image(path, light.to_latlong(size).cpu().numpy())


def create_trainable_env_rnd(
    resolution: int, scale: float = 0.5, bias: float = 0.25, seed: int = 0, device: torch.device | str = "cpu"
) -> EnvironmentLight:
    """A light to start learning from: radiance uniform in bias .. bias + scale."""
    generator = torch.Generator().manual_seed(seed)
    base = torch.rand(6, resolution, resolution, 3, generator=generator) * scale + bias
    return EnvironmentLight(base.to(device))
