"""What lies over the base of a Principled surface: sheen on top, then a coat, then emission; by Blender's layering.

Blender's Principled BSDF (4.0 to 5.2; Cycles' `svm/closure.h`) builds its layers from the top, and each takes from those
below it the share of light that it reflects itself:

sheen     fibres (`render.bsdf.sheen`); below it 1 - the largest channel of color * albedo is left
coat      a clear dielectric layer of IOR 1.5, single scattering; below it 1 - weight * albedo is left, with the albedo of
          its own roughness (`GgxTable`'s dielectric), as Blender 4.5 measures
emission  is dimmed by both, as the base is

Coat and sheen have the surface's own normal, not that of the normal map: the coat altogether, as the node's Coat Normal
is not linked; the sheen by as much as there is coat.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from render.bsdf.ggx import GgxTable
from render.bsdf.sheen import sheen_lookup, sheen_table
from render.light.prefiltered import PrefilteredLight

MIN_N_DOT_V = 1e-3


@dataclass(frozen=True)
class Lobes:
    """Lobes of points [...]; each is None where the material has none.

    emission    [..., 3] emitted radiance, 0 or more, linear; occlusion does not dim it
    coat        [..., 2] weight and perceptual roughness, 0..1
    sheen       [..., 4] color (weight times tint) and roughness, 0..1
    coat_normal [..., 3] unit normal of the coat; None: that of the base
    coat_visibility, sheen_visibility   [..., 1 or 3] factors on the light that coat and sheen meet (self-shadowing), or None
    """

    emission: torch.Tensor | None = None
    coat: torch.Tensor | None = None
    sheen: torch.Tensor | None = None
    coat_normal: torch.Tensor | None = None
    coat_visibility: torch.Tensor | None = None
    sheen_visibility: torch.Tensor | None = None


def with_lobes(
    base: torch.Tensor,
    lobes: Lobes,
    openness: torch.Tensor,
    normal: torch.Tensor,
    view: torch.Tensor,
    light: PrefilteredLight,
    table: GgxTable,
) -> torch.Tensor:
    """Radiance [..., 3] of a base of radiance [..., 3] under its lobes.

    openness      [..., 1], factor on what coat and sheen reflect; the base has it already
    normal, view  [..., 3] unit: the base's shading normal, and towards the eye
    """
    coat_normal = normal if lobes.coat_normal is None else lobes.coat_normal
    radiance, below = torch.zeros_like(base), torch.ones_like(base[..., :1])
    if lobes.sheen is not None:
        sheen_normal = normal
        if lobes.coat is not None and lobes.coat_normal is not None:
            sheen_normal = F.normalize(torch.lerp(normal, coat_normal, lobes.coat[..., :1]), dim=-1)
        color, sky = _sheen(lobes.sheen, sheen_normal, view, light)
        radiance = radiance + color * (sky if lobes.sheen_visibility is None else sky * lobes.sheen_visibility)
        below = (1 - color.amax(-1, keepdim=True)).clamp(min=0)
    if lobes.coat is not None:
        reflectance, sky = _coat(lobes.coat, coat_normal, view, light, table)
        radiance = radiance + below * reflectance * (
            sky if lobes.coat_visibility is None else sky * lobes.coat_visibility
        )
        below = below * (1 - reflectance)
    shown = base if lobes.emission is None else base + lobes.emission
    return radiance * openness + below * shown


def _sheen(
    sheen: torch.Tensor, normal: torch.Tensor, view: torch.Tensor, light: PrefilteredLight
) -> tuple[torch.Tensor, torch.Tensor]:
    """Reflectance [..., 3] of the sheen in a white sky, and the mean radiance [..., 3] that its lobe meets."""
    n_dot_v = (normal * view).sum(-1).clamp(min=MIN_N_DOT_V)
    terms = sheen_lookup(sheen_table(normal.device, normal.dtype), sheen[..., 3], n_dot_v)
    return sheen[..., :3] * terms.albedo[..., None], light.sheen(normal, view, terms)


def _coat(
    coat: torch.Tensor, normal: torch.Tensor, view: torch.Tensor, light: PrefilteredLight, table: GgxTable
) -> tuple[torch.Tensor, torch.Tensor]:
    """Reflectance [..., 1] of the coat in a white sky, and the radiance [..., 3] that its lobe meets."""
    weight, roughness = coat[..., :1], coat[..., 1]
    n_dot_v = (normal * view).sum(-1, keepdim=True).clamp(min=MIN_N_DOT_V)
    terms = table.lookup(roughness, n_dot_v[..., 0])
    reflected = 2 * n_dot_v * normal - view
    direction = torch.lerp(normal, reflected, terms.dielectric_lean[..., None])
    sky = light.specular(direction, terms.dielectric_lobe_roughness)
    return weight * terms.dielectric[..., None], sky
