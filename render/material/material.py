"""Materials: they give the parameters of a surface point, from textures, a field in space, or one packed texture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F

from render.raster.surface import SurfacePoints
from render.texture.fixed_lookup import lookup, mip_count, pyramid, trilinear_taps
from render.texture.map_size import MapSize, Size, map_size, size_of
from render.texture.texture import Texture2D, sample_together

KD = slice(0, 3)
ROUGHNESS = slice(3, 4)
METALLIC = slice(4, 5)
NORMAL = slice(5, 8)
ALPHA = slice(8, 9)


@dataclass(frozen=True)
class MaterialLayout:
    """Where packed texels have what not every material has, after base color, roughness, metallic and normal.

    alpha     1 channel; None: opaque
    emission  3 channels, linear radiance, 0 or more; None: none
    coat      2 channels, weight and roughness, 0..1; None: none
    sheen     4 channels, color (weight times tint) and roughness, 0..1; None: none
    channels  number of channels in all
    """

    alpha: slice | None = None
    emission: slice | None = None
    coat: slice | None = None
    sheen: slice | None = None
    channels: int = NORMAL.stop


def material_layout(
    alpha: bool = False, emission: bool = False, coat: bool = False, sheen: bool = False
) -> MaterialLayout:
    """The layout of a material that has these: they follow each other in this order."""
    stop: int = NORMAL.stop

    def place(wanted: bool, width: int) -> slice | None:
        nonlocal stop
        start, stop = stop, stop + (width if wanted else 0)
        return slice(start, stop) if wanted else None

    places = place(alpha, 1), place(emission, 3), place(coat, 2), place(sheen, 4)
    return MaterialLayout(*places, stop)


def layout_of_width(channels: int) -> MaterialLayout:
    """The layout of texels of 8 channels, or of 9 with alpha. Raises ValueError for another number: it says too little."""
    if channels not in (NORMAL.stop, ALPHA.stop):
        raise ValueError(f"texels have 8 channels, or 9 with alpha, not {channels}: give material_layout(...) for more")
    return material_layout(alpha=channels == ALPHA.stop)


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
    emission, coat, sheen   [..., 3], [..., 2], [..., 4], see `MaterialLayout`, or None where the material has none
    """

    kd: torch.Tensor
    ks: torch.Tensor
    normal: torch.Tensor | None = None
    alpha: torch.Tensor | None = None
    emission: torch.Tensor | None = None
    coat: torch.Tensor | None = None
    sheen: torch.Tensor | None = None


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

    emission (3), coat (2) and sheen (4) are optional too: their channels are those of `MaterialLayout`.

    It filters as nvdiffrast does: the level of detail follows the long axis of a pixel's footprint.
    """

    kd: Texture2D
    ks: Texture2D
    normal: Texture2D | None = None
    emission: Texture2D | None = None
    coat: Texture2D | None = None
    sheen: Texture2D | None = None

    def sample(self, points: SurfacePoints) -> MaterialSample:
        further = {"normal": self.normal, "emission": self.emission, "coat": self.coat, "sheen": self.sheen}
        present = {name: texture for name, texture in further.items() if texture is not None}
        kd, ks, *values = sample_together([self.kd, self.ks, *present.values()], points.uv, points.uv_da)
        found = dict(zip(present, values, strict=True))
        if "normal" in found:
            found["normal"] = found["normal"][..., :3]
        return MaterialSample(kd[..., :3], ks[..., :3], alpha=kd[..., 3:4] if kd.shape[-1] == 4 else None, **found)

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
    """`texels` float32 [H, W, C]: linear base color, roughness, metallic, tangent-space normal, then what `layout` has.

    layout  None: texels of 8 channels, or of 9 with alpha

    The fit holds a material in this form: one lookup gives everything. The level of detail follows the area of a pixel's
    footprint, so surfaces at a grazing angle keep their detail; references do not blur it either. Raises ValueError where
    the texels have not as many channels as the layout.
    """

    texels: torch.Tensor
    layout: MaterialLayout = None  # type: ignore[assignment]  # `__post_init__` finds it

    def __post_init__(self) -> None:
        if self.layout is None:
            self.layout = layout_of_width(self.texels.shape[2])
        if self.layout.channels != self.texels.shape[2]:
            raise ValueError(f"the layout has {self.layout.channels} channels, the texels {self.texels.shape[2]}")

    @property
    def resolution(self) -> MapSize:
        """Height and width in texels."""
        return size_of(self.texels)

    @property
    def has_alpha(self) -> bool:
        return self.layout.alpha is not None

    def sample(self, points: SurfacePoints) -> MaterialSample:
        values = self._values(points.uv, points.footprint)
        occluded = torch.zeros_like(values[..., ROUGHNESS])
        ks = torch.cat([occluded, values[..., ROUGHNESS], values[..., METALLIC]], dim=-1)
        layout = self.layout
        alpha, emission, coat, sheen = (
            None if place is None else values[..., place]
            for place in (layout.alpha, layout.emission, layout.coat, layout.sheen)
        )
        return MaterialSample(values[..., KD], ks, values[..., NORMAL], alpha, emission, coat, sheen)

    def jittered_kd(self, points: SurfacePoints, generator: torch.Generator | None) -> torch.Tensor:
        return self._values(_jittered(points.uv, UV_JITTER, generator), points.footprint)[..., KD]

    def _values(self, uv: torch.Tensor, footprint: torch.Tensor) -> torch.Tensor:
        levels = mip_count(self.resolution)
        level = torch.log2((footprint * self.resolution.edge).clamp(min=1e-6))
        return lookup(pyramid(self.texels, levels), trilinear_taps(uv, level, self.resolution, levels))

    def resized(self, resolution: Size) -> MaterialMaps:
        """The maps at another resolution, (height, width) or one number for both, bilinear, normals of unit length."""
        image = self.texels.permute(2, 0, 1)[None]
        wide = F.interpolate(image, size=map_size(resolution), mode="bilinear", align_corners=False)
        maps = MaterialMaps(wide[0].permute(1, 2, 0).contiguous(), self.layout)
        project_(maps.texels, self.layout)
        return maps


def initial_maps(
    resolution: Size, alpha: bool, color: torch.Tensor | None = None, device: torch.device | str = "cpu"
) -> MaterialMaps:
    """The start of a fit: an even, half-rough, slightly metallic surface of the given base color [3] (gray by default).

    resolution  (height, width), or one number for both
    """
    texels = torch.zeros(*map_size(resolution), ALPHA.stop if alpha else NORMAL.stop, device=device)
    texels[..., KD] = 0.5 if color is None else color
    texels[..., ROUGHNESS] = 0.5
    texels[..., METALLIC] = 0.25
    texels[..., NORMAL] = torch.tensor([0.0, 0.0, 1.0], device=device)
    if alpha:
        texels[..., ALPHA] = 0.9
    return MaterialMaps(texels)


@torch.no_grad()
def project_(texels: torch.Tensor, layout: MaterialLayout | None = None) -> None:
    """Make texels [..., C] valid for a material, in place: values in range, normals of unit length and facing outward.

    layout  None: that of 8 channels, or of 9 with alpha
    """
    layout = layout_of_width(texels.shape[-1]) if layout is None else layout
    texels[..., : METALLIC.stop].clamp_(0, 1)
    texels[..., ROUGHNESS].clamp_(min=MIN_ROUGHNESS)
    normal = texels[..., NORMAL]
    normal[..., 2].clamp_(min=MIN_NORMAL_Z)
    normal /= normal.norm(dim=-1, keepdim=True)
    for place in (layout.alpha, layout.coat, layout.sheen):
        if place is not None:
            texels[..., place].clamp_(0, 1)
    if layout.emission is not None:
        texels[..., layout.emission].clamp_(min=0)
