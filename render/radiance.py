"""Shading: a split-sum light and a Principled surface make a colour.

`principled` is what Blender's Principled BSDF shows with its default settings (multi-scatter GGX, IOR 1.5), as far as
split-sum can: energy terms and a leaning lobe (`render.brdf`). `seed` is nvdiffrec's formula, kept to compare with it:
no energy terms, lookup along R; with rough metals it is up to 33% too dark for Blender's node.
"""

from __future__ import annotations

from typing import Literal

import torch

from render.brdf import DIELECTRIC_F0, GgxTable
from render.light import PrefilteredLight

ShadingModel = Literal["principled", "seed"]
MIN_N_DOT_V = 1e-3


def outgoing_radiance(
    kd: torch.Tensor,
    ks: torch.Tensor,
    normal: torch.Tensor,
    view: torch.Tensor,
    light: PrefilteredLight,
    table: GgxTable,
    model: ShadingModel = "principled",
    irradiance: torch.Tensor | None = None,
    specular_visibility: torch.Tensor | None = None,
) -> torch.Tensor:
    """Outgoing radiance [..., 3], linear.

    kd      [..., 3] linear base colour, 0..1
    ks      [..., 3] occluded fraction, roughness, metallic, 0..1; the result is multiplied by 1 - occluded
    normal  [..., 3] unit shading normal; view [..., 3] unit vector towards the eye
    irradiance           [..., 3] irradiance / pi to use instead of the light's own (self-shadowing), or None
    specular_visibility  [..., 1 or 3] factor on the prefiltered light of the specular lobe, or None
    """
    roughness, metallic = ks[..., 1], ks[..., 2:3]
    n_dot_v_signed = (normal * view).sum(-1, keepdim=True)
    n_dot_v = n_dot_v_signed.clamp(min=MIN_N_DOT_V)
    reflected = 2 * n_dot_v * normal - view
    terms = table.lookup(roughness, n_dot_v[..., 0])
    if irradiance is None:
        irradiance = light.diffuse(normal)
    if model == "seed":
        diffuse = kd * (1 - metallic)
        f0 = DIELECTRIC_F0 * (1 - metallic) + kd * metallic
        specular = f0 * terms.scale[..., None] + terms.bias[..., None]
        lobe_light = light.specular(reflected, roughness)
    else:
        diffuse, specular = _principled_albedos(kd, metallic, terms)
        leaning = torch.lerp(normal, reflected, terms.lean[..., None])
        lobe_light = light.specular(leaning, terms.lobe_roughness)
    if specular_visibility is not None:
        lobe_light = lobe_light * specular_visibility
    return (diffuse * irradiance + specular * lobe_light) * (1 - ks[..., :1])


def _principled_albedos(kd: torch.Tensor, metallic: torch.Tensor, terms) -> tuple[torch.Tensor, torch.Tensor]:
    """Albedo of the diffuse and of the specular part, as Principled BSDF mixes them (Blender 4.2 to 5.2).

    Multiple scattering after Kulla and Conty as Cycles has it: the single-scattering lobe is scaled by
    1 + Fms (1 - E) / E with Fms = Fss E_avg / (1 - Fss (1 - E_avg)), Fss the mean Fresnel reflectance. The dielectric's
    diffuse part gets what its specular part leaves.
    """
    albedo = (terms.scale + terms.bias)[..., None]
    mean = terms.mean_albedo[..., None]
    missing = (1 - albedo) / albedo

    mean_fresnel = kd * (20 / 21) + 1 / 21
    metal_gain = 1 + missing * mean_fresnel * mean / (1 - mean_fresnel * (1 - mean))
    metal = (kd * terms.scale[..., None] + terms.bias[..., None]) * metal_gain

    dielectric_mean = _DIELECTRIC_MEAN_FRESNEL
    dielectric_gain = 1 + missing * dielectric_mean * mean / (1 - dielectric_mean * (1 - mean))
    dielectric = terms.dielectric[..., None] * dielectric_gain

    diffuse = kd * (1 - metallic) * (1 - dielectric)
    return diffuse, metallic * metal + (1 - metallic) * dielectric


# Cosine-weighted mean of the exact Fresnel reflectance at IOR 1.5.
_DIELECTRIC_MEAN_FRESNEL = 0.0918
