"""Shading: the color that a Principled surface has under a light, by one of three models.

`principled`  what Blender's Principled BSDF shows (IOR 1.5, white specular tint), as far as split-sum can show it: the
              node's energy (`render.bsdf.energy`) and a leaning lobe (`render.bsdf.ggx`); one lookup of the prefiltered light
`sampled`     the same surface with its true lobe, sampled (`render.shading.sampled`); K lookups of a `SampledLight`
`nvdiffrec`   nvdiffrec's formula, kept to compare with it: no energy terms, lookup along R; it makes rough metals up to 33%
              too dark for Blender's node

docs/shading-models.md says how far each model is from Cycles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch

from render.bsdf.energy import Energy, surface_energy
from render.bsdf.ggx import DIELECTRIC_F0, GgxTable
from render.bsdf.nvdiffrec_shading import ShadingLight, nvdiffrec_radiance
from render.light.prefiltered import NvdiffrecLight, PrefilteredLight
from render.shading.lobes import MIN_N_DOT_V, Lobes, with_lobes
from render.shading.sampled import DEFAULT_SAMPLES, LobeLight, SampledLight, Visibility, sampled_radiance

ShadingModel = Literal["principled", "nvdiffrec", "sampled"]


def outgoing_radiance(
    kd: torch.Tensor,
    ks: torch.Tensor,
    normal: torch.Tensor,
    view: torch.Tensor,
    light: PrefilteredLight | NvdiffrecLight | SampledLight,
    table: GgxTable,
    model: ShadingModel = "principled",
    irradiance: torch.Tensor | None = None,
    specular_visibility: torch.Tensor | None = None,
    energy: Energy = "multi",
    samples: int = DEFAULT_SAMPLES,
    visibility: Visibility | None = None,
    seed: int | None = None,
    lobes: Lobes | None = None,
) -> torch.Tensor:
    """Outgoing radiance [..., 3], linear. Differentiable in kd, ks, normal, the lobes and the light.

    kd      [..., 3] linear base color, 0..1
    ks      [..., 3] occluded fraction, roughness, metallic, 0..1; the result is multiplied by 1 - occluded
    normal  [..., 3] unit shading normal; view [..., 3] unit vector towards the eye
    light   from `EnvironmentLight.build_mips` for "principled" and "nvdiffrec", from `sampled_light` for "sampled"
    irradiance           [..., 3] irradiance / pi to use instead of the light's own (self-shadowing), or None
    specular_visibility  [..., 1 or 3] factor on the light of the specular lobe as a whole, or None
    energy               "multi": as Blender's node by default (MULTI_GGX); "single": as its GGX. "nvdiffrec" has neither
    samples, visibility, seed   for "sampled" only: see `sampled_radiance`
    lobes   coat, sheen and emission over the base, see `render.shading.lobes`; None: none. "nvdiffrec" and "sampled" know
            emission only

    Raises ValueError for an unknown model or energy, where the light is not of the kind that the model needs, and for lobes
    that the model does not know.
    """
    if model not in get_args(ShadingModel):
        raise ValueError(f"there is no shading model {model!r}: use 'principled', 'nvdiffrec' or 'sampled'")
    if lobes is not None:
        base = outgoing_radiance(
            kd,
            ks,
            normal,
            view,
            light,
            table,
            model,
            irradiance,
            specular_visibility,
            energy,
            samples,
            visibility,
            seed,
        )
        if lobes.coat is None and lobes.sheen is None:
            return base if lobes.emission is None else base + lobes.emission
        if model != "principled" or not isinstance(light, PrefilteredLight):
            raise ValueError(
                f"the model {model!r} has no coat and no sheen under a {type(light).__name__}: shade with 'principled' and "
                "EnvironmentLight(base).build_mips(), or leave these lobes out"
            )
        return with_lobes(base, lobes, 1 - ks[..., :1], normal, view, light, table)
    if model == "sampled":
        if not isinstance(light, SampledLight):
            raise _wrong_light(model, light, "sampled_light(base)")
        dimmed = light if specular_visibility is None else _Dimmed(light, specular_visibility)
        return sampled_radiance(kd, ks, normal, view, dimmed, table, samples, energy, irradiance, visibility, seed)
    if isinstance(light, SampledLight):
        raise _wrong_light(model, light, "EnvironmentLight(base).build_mips()")
    lit = _Shadowed(light, irradiance, specular_visibility)
    if model == "nvdiffrec":
        return nvdiffrec_radiance(kd, ks, normal, view, lit)
    roughness, metallic = ks[..., 1], ks[..., 2:3]
    n_dot_v = (normal * view).sum(-1, keepdim=True).clamp(min=MIN_N_DOT_V)
    terms = table.lookup(roughness, n_dot_v[..., 0])
    surface = surface_energy(kd, metallic, terms, energy)
    metal = (kd * terms.scale[..., None] + terms.bias[..., None]) * surface.metal_gain
    dielectric = terms.dielectric[..., None] * surface.dielectric_gain
    specular = metallic * metal + (1 - metallic) * dielectric

    # One lookup serves all channels: the lobe is that of the mean color.
    f0 = DIELECTRIC_F0 + (kd.mean(-1) - DIELECTRIC_F0).clamp(min=0) * metallic[..., 0]
    lean, lobe_roughness = terms.lobe_of(f0)
    reflected = 2 * n_dot_v * normal - view
    lobe_light = lit.specular(torch.lerp(normal, reflected, lean[..., None]), lobe_roughness)
    return (surface.diffuse * lit.diffuse(normal) + specular * lobe_light) * (1 - ks[..., :1])


def _wrong_light(model: ShadingModel, light: object, cure: str) -> ValueError:
    return ValueError(f"the model {model!r} cannot be lit by a {type(light).__name__}: build the light with {cure}")


@dataclass(frozen=True)
class _Shadowed:
    """A light as a shadowed point sees it: another irradiance, and a factor on the light that its lobe meets."""

    light: ShadingLight
    irradiance: torch.Tensor | None
    specular_visibility: torch.Tensor | None

    def diffuse(self, normal: torch.Tensor) -> torch.Tensor:
        return self.light.diffuse(normal) if self.irradiance is None else self.irradiance

    def specular(self, direction: torch.Tensor, roughness: torch.Tensor) -> torch.Tensor:
        radiance = self.light.specular(direction, roughness)
        return radiance if self.specular_visibility is None else radiance * self.specular_visibility


@dataclass(frozen=True)
class _Dimmed:
    """A light for sampling; all samples at a point are multiplied by one factor."""

    light: LobeLight
    specular_visibility: torch.Tensor

    def diffuse(self, normal: torch.Tensor) -> torch.Tensor:
        return self.light.diffuse(normal)

    def radiance(self, direction: torch.Tensor, solid_angle: torch.Tensor) -> torch.Tensor:
        return self.light.radiance(direction, solid_angle) * self.specular_visibility[..., None, :]
