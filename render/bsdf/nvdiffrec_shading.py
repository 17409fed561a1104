"""nvdiffrec's shading formula: split sum without energy terms, looked up along the mirror direction.

Source: github.com/NVlabs/nvdiffrec, render/light.py, `EnvironmentLight.shade`; the split sum is that of Karis, "Real
Shading in Unreal Engine 4", 2013. What it gets wrong against Blender's Principled BSDF: no multiple scattering (rough
metals are up to 33 % too dark), no loss of the diffuse part under the specular one, lobes that do not lean.
"""

from __future__ import annotations

from typing import Protocol

import torch

from render.bsdf.fg_lut import fg_lut, lookup_fg

_DIELECTRIC_F0 = 0.04
_MIN_N_DOT_V = 1e-4
_SMALLEST_SQUARE = 1e-20


class ShadingLight(Protocol):
    """A light for shading: both directions [..., 3], roughness [...], radiance [..., 3]."""

    def diffuse(self, normal: torch.Tensor) -> torch.Tensor:
        """Irradiance / pi."""

    def specular(self, direction: torch.Tensor, roughness: torch.Tensor) -> torch.Tensor:
        """Prefiltered radiance."""


def safe_normalize(vector: torch.Tensor) -> torch.Tensor:
    """Unit vectors [..., 3]; a vector shorter than 1e-10 becomes zero, and so does its gradient."""
    square = (vector * vector).sum(dim=-1, keepdim=True)
    is_long = square > _SMALLEST_SQUARE
    inverse = torch.where(is_long, square, 1.0).rsqrt()
    return torch.where(is_long, vector * inverse, 0.0)


def nvdiffrec_radiance(
    kd: torch.Tensor,
    ks: torch.Tensor,
    normal: torch.Tensor,
    view: torch.Tensor,
    light: ShadingLight,
    specular: bool = True,
    lut: torch.Tensor | None = None,
) -> torch.Tensor:
    """Outgoing radiance [..., 3], linear, by nvdiffrec's formula; differentiable in everything.

    kd      [..., 3] linear base color, 0..1
    ks      [..., 3] occluded fraction, roughness, metallic, 0..1; the result is multiplied by 1 - occluded
    normal  [..., 3] shading normal; view [..., 3] unit vector towards the eye; the same frame as the light's lookups
    specular  False: kd times the diffuse light, whatever the metallic value says
    lut     [R, R, 2] of `fg_lut`, None for 256 x 256

    The normal is used as it is, as in nvdiffrec, which leaves bent normals a little shorter than one; only the diffuse
    lookup normalizes it. A normal or view of zero length gives a finite color and gradient.
    """
    diffuse_light = light.diffuse(safe_normalize(normal))
    if not specular:
        return diffuse_light * kd * (1 - ks[..., :1])
    roughness, metallic = ks[..., 1], ks[..., 2:3]
    f0 = (1 - metallic) * _DIELECTRIC_F0 + kd * metallic
    n_dot_v = (view * normal).sum(dim=-1, keepdim=True)
    reflected = safe_normalize(2 * n_dot_v * normal - view)
    if lut is None:
        lut = fg_lut(256, kd.device, kd.dtype)
    scale, bias = lookup_fg(lut, roughness, n_dot_v[..., 0].clamp(min=_MIN_N_DOT_V))
    mirrored = light.specular(reflected, roughness) * (f0 * scale[..., None] + bias[..., None])
    return (diffuse_light * kd * (1 - metallic) + mirrored) * (1 - ks[..., :1])
