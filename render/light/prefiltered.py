"""Prefiltered lights, which shading looks up: specular levels and irradiance, differentiable in the base cube map.

`PrefilteredLight` is the accurate one, `NvdiffrecLight` is nvdiffrec's. Both have `diffuse`, `specular`, `get_mip`, `shade`
and `xfm`, so that every shading model works with both.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import Self

import torch

from render.bsdf.nvdiffrec_shading import nvdiffrec_radiance, safe_normalize
from render.bsdf.sheen import SheenTerms
from render.light.cube_atlas import CubeAtlas
from render.light.nvdiffrec_prefilter import nvdiffrec_mip
from render.light.prefilter import SpecularLevel, evaluate_irradiance, evaluate_sheen, roughness_to_level


def rotation_part(matrix: torch.Tensor | None) -> torch.Tensor | None:
    """The part of a [3, 3] or [4, 4] matrix (or one per image, [B, 3, 3] or [B, 4, 4]) that turns vectors.

    Raises ValueError for another shape.
    """
    if matrix is None:
        return None
    matrix = torch.as_tensor(matrix)
    if matrix.ndim not in (2, 3) or tuple(matrix.shape[-2:]) not in ((3, 3), (4, 4)):
        raise ValueError(f"a light is turned by a matrix [3, 3] or [4, 4], or one per image, not {list(matrix.shape)}")
    matrix = matrix[..., :3, :3]
    return matrix[0] if matrix.ndim == 3 and matrix.shape[0] == 1 else matrix


def turn(direction: torch.Tensor, rotation: torch.Tensor | None) -> torch.Tensor:
    """Directions [..., 3] times a rotation [3, 3], or [B, ..., 3] times one per image [B, 3, 3]; None leaves them.

    Raises ValueError if the matrices are not as many as the images.
    """
    if rotation is None:
        return direction
    rotation = rotation.to(direction)
    if rotation.ndim == 3:
        if direction.ndim < 2 or direction.shape[0] != rotation.shape[0]:
            raise ValueError(f"{len(rotation)} matrices turn as many images, not directions {list(direction.shape)}")
        flat = direction.reshape(direction.shape[0], -1, 3)
        return (flat @ rotation.transpose(1, 2)).reshape(direction.shape)
    return direction @ rotation.t()


@dataclass(frozen=True)
class _Shading(ABC):
    """What both kinds of light have in common."""

    rotation: torch.Tensor | None = field(default=None, kw_only=True)

    @abstractmethod
    def diffuse(self, normal: torch.Tensor) -> torch.Tensor: ...

    @abstractmethod
    def specular(self, direction: torch.Tensor, roughness: torch.Tensor) -> torch.Tensor: ...

    def xfm(self, matrix: torch.Tensor | None) -> Self:
        """The same light with turned lookups: direction v is looked up at matrix v, as in nvdiffrec's `xfm`.

        The matrix turns the frame of the directions into the frame of the light (for shading in camera space it is the
        inverse of the view matrix). [3, 3] or [4, 4], whose translation is ignored, or one per image; None: no rotation.
        """
        return replace(self, rotation=rotation_part(matrix))

    def shade(
        self,
        position: torch.Tensor,
        normal: torch.Tensor,
        kd: torch.Tensor,
        ks: torch.Tensor,
        view_position: torch.Tensor,
        specular: bool = True,
    ) -> torch.Tensor:
        """nvdiffrec's `EnvironmentLight.shade`: outgoing radiance [..., 3], linear; see `render.bsdf.nvdiffrec_shading`.

        position, normal (world), kd (linear base color), ks (occluded fraction, roughness, metallic)  [..., 3];
        view_position  [..., 3], broadcast. `specular` False: Lambertian, without the metallic factor.
        """
        return nvdiffrec_radiance(kd, ks, normal, safe_normalize(view_position - position), self, specular)


@dataclass(frozen=True)
class PrefilteredLight(_Shading):
    """The accurate light, see `render.light.prefilter`.

    irradiance  [9, C], cosine-convolved spherical harmonics, divided by pi: a white furnace of radiance 1 gives 1
    atlas       [1, C, H, W], the specular levels
    rotation    [3, 3], or [B, 3, 3], of lookups, or None; by keyword
    """

    irradiance: torch.Tensor
    atlas: torch.Tensor
    layout: CubeAtlas
    levels: tuple[SpecularLevel, ...]

    def diffuse(self, normal: torch.Tensor) -> torch.Tensor:
        """Irradiance / pi for unit normals [..., 3] -> [..., C]."""
        if self.rotation is not None:
            normal = safe_normalize(turn(normal, self.rotation))
        return evaluate_irradiance(self.irradiance, normal).clamp(min=0)

    def specular(self, direction: torch.Tensor, roughness: torch.Tensor) -> torch.Tensor:
        """Radiance of the round GGX lobe around `direction` [..., 3] (any length) at `roughness` [...] -> [..., C]."""
        return self.layout.sample(self.atlas, turn(direction, self.rotation), self.get_mip(roughness))

    def sheen(self, normal: torch.Tensor, view: torch.Tensor, terms: SheenTerms) -> torch.Tensor:
        """Mean radiance over the lobe of sheen at unit normals and views [..., 3] with terms [...] -> [..., C]."""
        if self.rotation is not None:
            normal, view = (safe_normalize(turn(vector, self.rotation)) for vector in (normal, view))
        return evaluate_sheen(self.irradiance, normal, view, terms).clamp(min=0)

    def get_mip(self, roughness: torch.Tensor) -> torch.Tensor:
        """Perceptual roughness [...] -> level [...], 0..levels - 1."""
        return roughness_to_level(roughness, self.levels)


@dataclass(frozen=True)
class NvdiffrecLight(_Shading):
    """nvdiffrec's light, for parity, see `render.light.nvdiffrec_prefilter`.

    specular_cubes  its prefiltered levels, [6, R_i, R_i, C]
    diffuse_cube    irradiance / pi, [6, R, R, C]
    atlas, layout, diffuse_atlas, diffuse_layout  the same, packed for lookups
    rotation        [3, 3], or [B, 3, 3], of lookups, or None; by keyword
    """

    specular_cubes: tuple[torch.Tensor, ...]
    diffuse_cube: torch.Tensor
    atlas: torch.Tensor
    layout: CubeAtlas
    diffuse_atlas: torch.Tensor
    diffuse_layout: CubeAtlas

    def diffuse(self, normal: torch.Tensor) -> torch.Tensor:
        """Irradiance / pi for normals [..., 3] of any length -> [..., C]."""
        return self.diffuse_layout.sample(self.diffuse_atlas, turn(normal, self.rotation), normal.new_zeros(()))

    def specular(self, direction: torch.Tensor, roughness: torch.Tensor) -> torch.Tensor:
        """Prefiltered radiance in `direction` [..., 3] (any length) at `roughness` [...] -> [..., C]."""
        return self.layout.sample(self.atlas, turn(direction, self.rotation), self.get_mip(roughness))

    def get_mip(self, roughness: torch.Tensor) -> torch.Tensor:
        """Perceptual roughness [...] -> level [...], 0..levels - 1."""
        return nvdiffrec_mip(roughness, len(self.specular_cubes))
