"""How much a Principled surface reflects: the albedos of its parts, with multiple scattering or without.

Blender's Principled BSDF (4.2 to 5.2) mixes, by metallic m, a metal and a dielectric on a diffuse base. Its
`distribution` says what happens to light that hits the microfacets more than once:

MULTI_GGX, the default; here "multi"   the lobe is scaled so that no light is lost, and Fresnel tints each further
                                       bounce (Kulla and Conty, "Revisiting Physically Based Shading at
                                       Imageworks", 2017; Turquin, "Practical multiple scattering compensation for
                                       microfacet models", 2019)
GGX; here "single"                     the light is lost, as in many engines. The diffuse base does not get it either:
                                       it gets what the Fresnel curve lets through, 1 - the mean of F over visible facets
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from render.bsdf.ggx import LobeTerms

Energy = Literal["multi", "single"]

# Cosine-weighted mean of the exact Fresnel reflectance at IOR 1.5, by Kulla and Conty's fit.
_DIELECTRIC_MEAN_FRESNEL = (1.5 - 1) / (4.08567 + 1.00071 * 1.5)


@dataclass(frozen=True)
class SurfaceEnergy:
    """How much light is left for each part of the surface, at points [...].

    diffuse          [..., 3] albedo of the diffuse base, kd (1 - m) times what the dielectric lets through
    metal_gain       [..., 3] factor on the single-scattering metal lobe, 1 or more
    dielectric_gain  [..., 1] the same for the dielectric lobe
    """

    diffuse: torch.Tensor
    metal_gain: torch.Tensor
    dielectric_gain: torch.Tensor


def surface_energy(kd: torch.Tensor, metallic: torch.Tensor, terms: LobeTerms, energy: Energy) -> SurfaceEnergy:
    """Energy of points with base color [..., 3] and metallic [..., 1]. Raises ValueError for an unknown `energy`.

    E is the lobe's albedo without Fresnel, E_avg its cosine-weighted mean, Fss the mean of the Fresnel reflectance. The
    single-scattering lobe is scaled by 1 + Fms (1 - E) / E, with Fms = Fss E_avg / (1 - Fss (1 - E_avg)).
    """
    albedo = (terms.scale + terms.bias)[..., None]
    if energy == "single":
        one = torch.ones_like(metallic)
        through = 1 - terms.dielectric[..., None] / albedo
        return SurfaceEnergy(kd * (1 - metallic) * through, torch.ones_like(kd), one)
    if energy != "multi":
        raise ValueError(f"energy is {energy!r}: use 'multi' (Blender's MULTI_GGX) or 'single' (its GGX)")
    missing = (1 - albedo) / albedo
    mean = terms.mean_albedo[..., None]
    metal_gain = 1 + missing * _multiple_bounces(kd * (20 / 21) + 1 / 21, mean)
    dielectric_gain = 1 + missing * _multiple_bounces(_DIELECTRIC_MEAN_FRESNEL, mean)
    through = 1 - terms.dielectric[..., None] * dielectric_gain
    return SurfaceEnergy(kd * (1 - metallic) * through, metal_gain, dielectric_gain)


def _multiple_bounces(mean_fresnel: torch.Tensor | float, mean_albedo: torch.Tensor) -> torch.Tensor:
    return mean_fresnel * mean_albedo / (1 - mean_fresnel * (1 - mean_albedo))
