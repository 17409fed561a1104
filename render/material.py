"""A material as one texture whose channels are its parameters, and the shading of points with it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from render.brdf import GgxTable
from render.light import PrefilteredLight
from render.radiance import ShadingModel, outgoing_radiance
from render.shading_normal import shading_normal
from render.surface import SurfacePoints
from render.visibility import ShadowFactors

KD = slice(0, 3)
ROUGHNESS = slice(3, 4)
METALLIC = slice(4, 5)
NORMAL = slice(5, 8)
ALPHA = slice(8, 9)

# Below this a lobe is narrower than the finest prefiltered level can tell.
MIN_ROUGHNESS = 0.05


@dataclass
class MaterialMaps:
    """`texels` float32 [R, R, 8 or 9]: linear base colour, roughness, metallic, tangent-space normal, and alpha or not."""

    texels: torch.Tensor

    @property
    def resolution(self) -> int:
        return self.texels.shape[0]

    @property
    def has_alpha(self) -> bool:
        return self.texels.shape[2] > ALPHA.start

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
    """Where a fit starts: an even, half-rough, slightly metallic surface of the given base colour [3] (grey by default)."""
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
    """Bring texels [..., C] back to what a material can be, in place: values in range, normals unit and facing outward."""
    texels[..., : METALLIC.stop].clamp_(0, 1)
    texels[..., ROUGHNESS].clamp_(min=MIN_ROUGHNESS)
    normal = texels[..., NORMAL]
    normal[..., 2].clamp_(min=0.05)
    normal /= normal.norm(dim=-1, keepdim=True)
    if texels.shape[-1] > ALPHA.start:
        texels[..., ALPHA].clamp_(0, 1)


def shade_material(
    values: torch.Tensor,
    points: SurfacePoints,
    light: PrefilteredLight,
    table: GgxTable,
    model: ShadingModel,
    shadow: ShadowFactors | None = None,
) -> torch.Tensor:
    """Radiance [..., 3] of surface points with material values [..., C] (channels as in `MaterialMaps`)."""
    normal = shading_normal(values[..., NORMAL], points.normal, points.tangent, points.sign)
    ks = torch.cat([torch.zeros_like(values[..., ROUGHNESS]), values[..., ROUGHNESS], values[..., METALLIC]], dim=-1)
    irradiance = specular_factor = None
    if shadow is not None:
        irradiance = light.diffuse(normal) * shadow.diffuse
        specular_factor = shadow.specular_at(values[..., ROUGHNESS])
    return outgoing_radiance(values[..., KD], ks, normal, points.view, light, table, model, irradiance, specular_factor)


def composite(color: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """Layers near to far, color [P, K, 3] and alpha [P, K, 1], as premultiplied pixels [P, 4]."""
    through = torch.cumprod(torch.cat([torch.ones_like(alpha[:, :1]), 1 - alpha[:, :-1]], dim=1), dim=1)
    weight = alpha * through
    return torch.cat([(weight * color).sum(1), weight.sum(1)], dim=-1)
