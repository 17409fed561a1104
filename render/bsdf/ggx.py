"""The GGX microfacet lobe in numbers: directional albedo, multiple scattering, and where a lobe points and how wide it is.

The split-sum approximation (Karis, "Real Shading in Unreal Engine 4", 2013) replaces the integral of light times BRDF by
prefiltered light times the BRDF's integral. The prefiltered light belongs to the round lobe of N = V = R. If V is not the
normal, the true lobe leans towards the normal and has another width. So `GgxTable` also says where to look up the
prefiltered light, and how wide (`render.bsdf.ggx_lobe_table`). What stays wrong: at grazing angles the true lobe is
stretched, the looked-up one is round (docs/shading-models.md has the error).

This module integrates the albedos at first use (about 0.3 s on one core), with the height-correlated Smith term and
visible-normal sampling (Heitz, "Sampling the GGX Distribution of Visible Normals", 2018); alpha = roughness^2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F

from render.bsdf.ggx_lobe_table import lobe_lookup

DIELECTRIC_IOR = 1.5
DIELECTRIC_F0 = 0.04
_SAMPLES = 1024


@dataclass(frozen=True)
class LobeTerms:
    """What `GgxTable.lookup` gives for each point, all [...]: the GGX lobe at a roughness and N.V.

    scale, bias        directional albedo of a Schlick mirror is F0 * scale + bias (the split-sum pair)
    dielectric         directional albedo with the exact Fresnel curve of IOR 1.5
    lean               t: a white metal looks up the prefiltered light along normalize(lerp(N, R, t)), 0..1
    lobe_roughness     the roughness of this lookup, 0..1
    dielectric_lean, dielectric_lobe_roughness   the same for a dielectric; `lobe_of` mixes the two
    mean_albedo        cosine-weighted mean over all N.V of scale + bias, a function of roughness alone
    """

    scale: torch.Tensor
    bias: torch.Tensor
    dielectric: torch.Tensor
    lean: torch.Tensor
    lobe_roughness: torch.Tensor
    mean_albedo: torch.Tensor
    dielectric_lean: torch.Tensor
    dielectric_lobe_roughness: torch.Tensor

    def lobe_of(self, f0: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """t and lookup roughness [...] of a surface that reflects `f0` [...], 0.04..1, at normal incidence.

        A Schlick mirror's lobe mixes two lobes, F0 * scale parts of one and bias parts of the other. So the lobe at f0 is
        a mix of a white metal's and a dielectric's.
        """
        whole = f0 * self.scale + self.bias
        dielectric = DIELECTRIC_F0 * self.scale + self.bias
        share = (1 - f0) * dielectric / ((1 - DIELECTRIC_F0) * whole)
        lean = torch.lerp(self.lean, self.dielectric_lean, share)
        return lean, torch.lerp(self.lobe_roughness, self.dielectric_lobe_roughness, share)


@dataclass(frozen=True)
class GgxTable:
    """The terms on a grid, [1, 8, R, R]: rows are sqrt(roughness), columns are sqrt(N.V), both from 0 to 1 inclusive.

    The square roots put more nodes where the lobe changes fastest.
    """

    values: torch.Tensor

    def lookup(self, roughness: torch.Tensor, n_dot_v: torch.Tensor) -> LobeTerms:
        """Bilinear lookup; `roughness` and `n_dot_v` of the same shape [...], 0..1; differentiable in both."""
        return LobeTerms(*look_up_terms(self.values, roughness, n_dot_v))


def look_up_terms(values: torch.Tensor, roughness: torch.Tensor, n_dot_v: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The terms [...] of a table on the nodes of a `GgxTable`, [1, C, R, R], at roughness and N.V [...]; bilinear."""
    x = n_dot_v.clamp(1e-4, 1.0).sqrt() * 2 - 1
    y = roughness.clamp(1e-4, 1.0).sqrt() * 2 - 1
    grid = torch.stack([x, y], dim=-1).reshape(1, 1, -1, 2)
    terms = F.grid_sample(values, grid, mode="bilinear", padding_mode="border", align_corners=True)
    return terms.reshape(values.shape[1], *roughness.shape).unbind(0)


def ggx_table(device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> GgxTable:
    """The table on a device; the process computes it once, in float64."""
    return GgxTable(_table_values().to(device=device, dtype=dtype))


@lru_cache(maxsize=1)
def _table_values(resolution: int = 48) -> torch.Tensor:
    grid = torch.linspace(0, 1, resolution, dtype=torch.float64) ** 2
    roughness, n_dot_v = torch.meshgrid(grid.clamp(min=1e-3), grid.clamp(min=1e-3), indexing="ij")
    moments = [_lobe_integrals(r, v) for r, v in zip(roughness, n_dot_v, strict=True)]
    scale, bias, dielectric = (torch.stack(column) for column in zip(*moments, strict=True))
    albedo = scale + bias
    metal_lean, metal_width, lean, width = lobe_lookup(roughness, n_dot_v)
    # integral of 2 mu E(mu) dmu over mu = grid, by the trapezoidal rule
    mu = n_dot_v[0]
    mean_albedo = torch.trapezoid(2 * mu * albedo, mu, dim=-1)[:, None].expand_as(albedo)
    channels = [scale, bias, dielectric, metal_lean, metal_width, mean_albedo, lean, width]
    return torch.stack(channels)[None].contiguous()


def _hammersley(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    index = torch.arange(count)
    reversed_bits = torch.zeros(count, dtype=torch.float64)
    for bit in range(int(math.log2(count))):
        reversed_bits += ((index >> bit) & 1).double() * 2.0 ** -(bit + 1)
    return (index.double() + 0.5) / count, reversed_bits + 0.5 / count


def _smith_lambda(cosine: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    tangent2 = (1 - cosine**2).clamp(min=0) / cosine.clamp(min=1e-6) ** 2
    return 0.5 * (torch.sqrt(1 + alpha**2 * tangent2) - 1)


def sample_visible_half_vector(
    view: torch.Tensor, alpha: torch.Tensor, u: torch.Tensor, v: torch.Tensor
) -> torch.Tensor:
    """GGX half vectors seen from `view` ([..., 3], tangent space, z up), for uniform `u`, `v` (Heitz 2018)."""
    stretched = F.normalize(torch.stack([alpha * view[..., 0], alpha * view[..., 1], view[..., 2]], -1), dim=-1)
    length2 = stretched[..., 0] ** 2 + stretched[..., 1] ** 2
    inverse = torch.where(length2 > 1e-24, length2.clamp(min=1e-24).rsqrt(), torch.zeros_like(length2))
    flat = length2 <= 1e-24
    first = torch.stack(
        [
            torch.where(flat, torch.ones_like(length2), -stretched[..., 1] * inverse),
            stretched[..., 0] * inverse,
            torch.zeros_like(length2),
        ],
        -1,
    )
    second = torch.linalg.cross(stretched, first)
    radius, angle = u.sqrt(), 2 * math.pi * v
    t1 = radius * torch.cos(angle)
    t2 = radius * torch.sin(angle)
    s = 0.5 * (1 + stretched[..., 2])
    t2 = (1 - s) * (1 - t1**2).clamp(min=0).sqrt() + s * t2
    up = (1 - t1**2 - t2**2).clamp(min=0).sqrt()
    normal = t1[..., None] * first + t2[..., None] * second + up[..., None] * stretched
    return F.normalize(
        torch.stack([alpha * normal[..., 0], alpha * normal[..., 1], normal[..., 2].clamp(min=1e-9)], -1), dim=-1
    )


def fresnel_dielectric(cosine: torch.Tensor, ior: float = DIELECTRIC_IOR) -> torch.Tensor:
    """Unpolarized reflectance of a smooth dielectric, `cosine` 0..1 between the half vector and the view."""
    g = (ior**2 - 1 + cosine**2).sqrt()
    a = (g - cosine) / (g + cosine)
    b = ((g + cosine) * cosine - 1) / ((g - cosine) * cosine + 1)
    return 0.5 * a**2 * (1 + b**2)


def _lobe_integrals(roughness: torch.Tensor, n_dot_v: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """scale, bias and dielectric albedo, each [R]."""
    u, v = _hammersley(_SAMPLES)
    alpha = (roughness**2)[:, None].expand(-1, _SAMPLES)
    view = torch.stack([(1 - n_dot_v**2).sqrt(), torch.zeros_like(n_dot_v), n_dot_v], -1)
    view = view[:, None, :].expand(-1, _SAMPLES, 3)
    half = sample_visible_half_vector(view, alpha, u.expand_as(alpha), v.expand_as(alpha))
    v_dot_h = (view * half).sum(-1).clamp(0, 1)
    light = 2 * v_dot_h[..., None] * half - view
    n_dot_l = light[..., 2]
    lambda_v, lambda_l = _smith_lambda(view[..., 2], alpha), _smith_lambda(n_dot_l, alpha)
    weight = torch.where(n_dot_l > 0, (1 + lambda_v) / (1 + lambda_v + lambda_l), torch.zeros_like(n_dot_l))
    schlick = (1 - v_dot_h) ** 5
    return (
        (weight * (1 - schlick)).mean(-1),
        (weight * schlick).mean(-1),
        (weight * fresnel_dielectric(v_dot_h)).mean(-1),
    )
