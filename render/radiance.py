"""Shading: a light and a Principled surface make a colour, by one of three models.

`principled`  what Blender's Principled BSDF shows (IOR 1.5, white specular tint), as far as split-sum can: the node's
              energy (`render.energy`) and a leaning lobe (`render.brdf`); one lookup of the prefiltered light
`sampled`     the same surface with its true lobe, sampled (`render.sampled`); K lookups of a `SampledLight`
`seed`        nvdiffrec's formula, kept to compare with it: no energy terms, lookup along R; with rough metals it is up
              to 33% too dark for Blender's node

docs/shading-models.md says how far each is from Cycles.
"""

from __future__ import annotations

from typing import Literal

import torch

from render.brdf import DIELECTRIC_F0, GgxTable
from render.energy import Energy, surface_energy
from render.light import PrefilteredLight
from render.sampled import DEFAULT_SAMPLES, SampledLight, Visibility, sampled_radiance

ShadingModel = Literal["principled", "seed", "sampled"]
MIN_N_DOT_V = 1e-3


def outgoing_radiance(
    kd: torch.Tensor,
    ks: torch.Tensor,
    normal: torch.Tensor,
    view: torch.Tensor,
    light: PrefilteredLight | SampledLight,
    table: GgxTable,
    model: ShadingModel = "principled",
    irradiance: torch.Tensor | None = None,
    specular_visibility: torch.Tensor | None = None,
    energy: Energy = "multi",
    samples: int = DEFAULT_SAMPLES,
    visibility: Visibility | None = None,
    seed: int | None = None,
) -> torch.Tensor:
    """Outgoing radiance [..., 3], linear. Differentiable in kd, ks, normal and the light.

    kd      [..., 3] linear base colour, 0..1
    ks      [..., 3] occluded fraction, roughness, metallic, 0..1; the result is multiplied by 1 - occluded
    normal  [..., 3] unit shading normal; view [..., 3] unit vector towards the eye
    light   from `EnvironmentLight.build_mips` for "principled" and "seed", from `sampled_light` for "sampled"
    irradiance           [..., 3] irradiance / pi to use instead of the light's own (self-shadowing), or None
    specular_visibility  [..., 1 or 3] factor on the light of the specular lobe as a whole, or None
    energy               "multi": as Blender's node by default (MULTI_GGX); "single": as its GGX. "seed" has neither
    samples, visibility, seed   of "sampled" alone: see `sampled_radiance`

    Raises ValueError for an unknown model or energy, and where the light is of the other kind.
    """
    if model not in ("principled", "seed", "sampled"):
        raise ValueError(f"there is no shading model {model!r}: use 'principled', 'seed' or 'sampled'")
    if (model == "sampled") != isinstance(light, SampledLight):
        cure = "sampled_light(base)" if model == "sampled" else "EnvironmentLight(base).build_mips()"
        raise ValueError(f"the model {model!r} cannot be lit by a {type(light).__name__}: build the light with {cure}")
    if model == "sampled":
        if specular_visibility is not None:
            factor, given = specular_visibility[..., None, :], visibility

            def visibility(direction: torch.Tensor) -> torch.Tensor:
                seen = given(direction) if callable(given) else given
                if seen is None:
                    return factor
                return factor * (seen if seen.ndim == direction.ndim else seen[..., None])

        return sampled_radiance(kd, ks, normal, view, light, table, samples, energy, irradiance, visibility, seed)
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
        surface = surface_energy(kd, metallic, terms, energy)
        diffuse = surface.diffuse
        metal = (kd * terms.scale[..., None] + terms.bias[..., None]) * surface.metal_gain
        dielectric = terms.dielectric[..., None] * surface.dielectric_gain
        specular = metallic * metal + (1 - metallic) * dielectric
        f0 = DIELECTRIC_F0 + (kd.mean(-1) - DIELECTRIC_F0).clamp(min=0) * ks[..., 2]
        lean, lobe_roughness = terms.lobe_of(f0)
        lobe_light = light.specular(torch.lerp(normal, reflected, lean[..., None]), lobe_roughness)
    if specular_visibility is not None:
        lobe_light = lobe_light * specular_visibility
    return (diffuse * irradiance + specular * lobe_light) * (1 - ks[..., :1])
