"""Materials: they give the parameters of a surface point, from textures, a field in space, or one packed texture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F

from render.raster.surface import SurfacePoints
from render.texture.fixed_lookup import lookup, mip_count, pyramid, trilinear_taps
from render.texture.texture import Texture2D, sample_together

KD = slice(0, 3)
ROUGHNESS = slice(3, 4)
METALLIC = slice(4, 5)
NORMAL = slice(5, 8)
ALPHA = slice(8, 9)

# Below this, a lobe is narrower than the finest prefiltered level can show.
MIN_ROUGHNESS = 0.05
# A fitted normal leans at most about 87 degrees from the surface's own: its z is at least this.
MIN_NORMAL_Z = 0.05

# Standard deviations of the jitter behind `kd_grad`: in uv for textures, in world units for a field (nvdiffrec's).
UV_JITTER = 0.005
POSITION_JITTER = 0.01


@dataclass(frozen=True)
class MaterialSample:
    """A material at some points.

    kd      [..., 3], linear base color
    ks      [..., 3], occluded fraction, roughness, metallic
    normal  [..., 3], decoded tangent-space normal (+Y up unless the shading says DirectX), or None for a flat one
    alpha   [..., 1], or None where the material is opaque
    """

    kd: torch.Tensor
    ks: torch.Tensor
    normal: torch.Tensor | None = None
    alpha: torch.Tensor | None = None


class Material(Protocol):
    """Any object that knows its parameters at surface points."""

    def sample(self, points: SurfacePoints) -> MaterialSample:
        """The parameters at the points."""
        ...

    def jittered_kd(self, points: SurfacePoints, generator: torch.Generator | None) -> torch.Tensor:
        """kd [..., 3] at a small random distance from the points, for the smoothness of the base color."""
        ...


def _jittered(value: torch.Tensor, deviation: float, generator: torch.Generator | None) -> torch.Tensor:
    noise = torch.randn(value.shape, generator=generator, device=value.device, dtype=value.dtype)
    return value + deviation * noise


@dataclass(frozen=True)
class TextureMaterial:
    """A material of separate textures, each of any size: kd (3 channels, or 4 with alpha), ks (3), normal (3) or None.

    It filters as nvdiffrast does: the level of detail follows the long axis of a pixel's footprint.
    """

    kd: Texture2D
    ks: Texture2D
    normal: Texture2D | None = None

    def sample(self, points: SurfacePoints) -> MaterialSample:
        textures = [self.kd, self.ks] if self.normal is None else [self.kd, self.ks, self.normal]
        kd, ks, *normal = sample_together(textures, points.uv, points.uv_da)
        alpha = kd[..., 3:4] if kd.shape[-1] == 4 else None
        return MaterialSample(kd[..., :3], ks[..., :3], normal[0][..., :3] if normal else None, alpha)

    def jittered_kd(self, points: SurfacePoints, generator: torch.Generator | None) -> torch.Tensor:
        return self.kd.sample(_jittered(points.uv, UV_JITTER, generator), points.uv_da)[..., :3]


@dataclass(frozen=True)
class FieldMaterial:
    """A material as one field in space: world positions [..., 3] -> kd (3 or 4), ks (3), normal (3): 9 or 10 channels.

    An example is `MLPTexture3D.sample`. One lookup gives all parameters. Raises ValueError for another number of channels.
    """

    field: Callable[[torch.Tensor], torch.Tensor]

    def sample(self, points: SurfacePoints) -> MaterialSample:
        values = self.field(points.position)
        if values.shape[-1] not in (9, 10):
            raise ValueError(
                f"a field gives 9 channels (kd, ks, normal) or 10 (with alpha), not {values.shape[-1]}: "
                "make it with channels=9 or channels=10"
            )
        kd = values[..., :-6]
        return MaterialSample(
            kd[..., :3], values[..., -6:-3], values[..., -3:], kd[..., 3:4] if kd.shape[-1] == 4 else None
        )

    def jittered_kd(self, points: SurfacePoints, generator: torch.Generator | None) -> torch.Tensor:
        return self.field(_jittered(points.position, POSITION_JITTER, generator))[..., :3]


@dataclass
class MaterialMaps:
    """`texels` float32 [R, R, 8 or 9]: linear base color, roughness, metallic, tangent-space normal, and alpha in the 9th.

    The fit holds a material in this form: one lookup gives everything. The level of detail follows the area of a pixel's
    footprint, so surfaces at a grazing angle keep their detail; references do not blur it either.
    """

    texels: torch.Tensor

    @property
    def resolution(self) -> int:
        return self.texels.shape[0]

    @property
    def has_alpha(self) -> bool:
        return self.texels.shape[2] > ALPHA.start

    def sample(self, points: SurfacePoints) -> MaterialSample:
        values = self._values(points.uv, points.footprint)
        occluded = torch.zeros_like(values[..., ROUGHNESS])
        ks = torch.cat([occluded, values[..., ROUGHNESS], values[..., METALLIC]], dim=-1)
        return MaterialSample(values[..., KD], ks, values[..., NORMAL], values[..., ALPHA] if self.has_alpha else None)

    def jittered_kd(self, points: SurfacePoints, generator: torch.Generator | None) -> torch.Tensor:
        return self._values(_jittered(points.uv, UV_JITTER, generator), points.footprint)[..., KD]

    def _values(self, uv: torch.Tensor, footprint: torch.Tensor) -> torch.Tensor:
        levels = mip_count(self.resolution)
        level = torch.log2((footprint * self.resolution).clamp(min=1e-6))
        return lookup(pyramid(self.texels, levels), trilinear_taps(uv, level, self.resolution, levels))

    def resized(self, resolution: int) -> MaterialMaps:
        """The maps at another resolution, bilinear, normals of unit length."""
        image = self.texels.permute(2, 0, 1)[None]
        wide = F.interpolate(image, size=(resolution, resolution), mode="bilinear", align_corners=False)
        maps = MaterialMaps(wide[0].permute(1, 2, 0).contiguous())
        project_(maps.texels)
        return maps


def initial_maps(
    resolution: int, alpha: bool, color: torch.Tensor | None = None, device: torch.device | str = "cpu"
) -> MaterialMaps:
    """The start of a fit: an even, half-rough, slightly metallic surface of the given base color [3] (gray by default)."""
    texels = torch.zeros(resolution, resolution, ALPHA.stop if alpha else NORMAL.stop, device=device)
    texels[..., KD] = 0.5 if color is None else color
    texels[..., ROUGHNESS] = 0.5
    texels[..., METALLIC] = 0.25
    texels[..., NORMAL] = torch.tensor([0.0, 0.0, 1.0], device=device)
    if alpha:
        texels[..., ALPHA] = 0.9
    return MaterialMaps(texels)


@torch.no_grad()
def project_(texels: torch.Tensor) -> None:
    """Make texels [..., C] valid for a material, in place: values in range, normals of unit length and facing outward."""
    texels[..., : METALLIC.stop].clamp_(0, 1)
    texels[..., ROUGHNESS].clamp_(min=MIN_ROUGHNESS)
    normal = texels[..., NORMAL]
    normal[..., 2].clamp_(min=MIN_NORMAL_Z)
    normal /= normal.norm(dim=-1, keepdim=True)
    if texels.shape[-1] > ALPHA.start:
        texels[..., ALPHA].clamp_(0, 1)
