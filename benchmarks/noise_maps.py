"""Maps with detail of known sizes: value noise in base color, roughness, metallic and normals."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from render.material.material import KD, METALLIC, NORMAL, ROUGHNESS, MaterialMaps


@dataclass(frozen=True)
class Detail:
    """How a surface varies. The numbers are cells of the noise across the map; None leaves what is there.

    roughness from its lowest to its highest; metal: where noise is above `metal_above`; slope: the normals' mean slope;
    color: how far the base color is multiplied up and down.
    """

    roughness: int | None = None
    roughness_range: tuple[float, float] = (0.15, 0.85)
    metal: int | None = None
    metal_above: float = 0.6
    normal: int | None = None
    slope: float = 0.15
    color: int | None = None
    color_range: tuple[float, float] = (0.4, 1.0)


def value_noise(resolution: int, cells: int, generator: torch.Generator) -> torch.Tensor:
    """Random values, even in 0..1, in a grid of cells x cells that repeats, [R, R], joined by cubic steps (smoothstep)."""
    values = torch.rand(cells, cells, generator=generator)
    place = (torch.arange(resolution) + 0.5) * cells / resolution
    near = place.floor().long()
    part = place - near
    part = part * part * (3 - 2 * part)
    far = (near + 1) % cells
    columns = torch.lerp(values[:, near], values[:, far], part)
    return torch.lerp(columns[near], columns[far], part[:, None])


def detailed(maps: MaterialMaps, detail: Detail, seed: int) -> MaterialMaps:
    """The maps with detail of a seed; the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    texels, size = maps.texels.detach().cpu().clone(), maps.resolution.width
    if detail.color is not None:
        low, high = detail.color_range
        tint = torch.stack([value_noise(size, detail.color, generator) for _ in range(3)], dim=-1)
        texels[..., KD] *= low + (high - low) * tint
    if detail.roughness is not None:
        low, high = detail.roughness_range
        texels[..., ROUGHNESS] = low + (high - low) * value_noise(size, detail.roughness, generator)[..., None]
    if detail.metal is not None:
        texels[..., METALLIC] = (value_noise(size, detail.metal, generator) > detail.metal_above)[..., None].float()
    if detail.normal is not None:
        height = value_noise(size, detail.normal, generator)
        slope = torch.stack([torch.roll(height, -1, 1) - height, torch.roll(height, -1, 0) - height], dim=-1)
        slope *= detail.slope / slope.norm(dim=-1).mean()
        texels[..., NORMAL] = F.normalize(torch.cat([-slope, torch.ones(size, size, 1)], dim=-1), dim=-1)
    return MaterialMaps(texels.to(maps.texels.device))
