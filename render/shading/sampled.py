"""Sampled shading: sample the surface's own lobe at each point, where split-sum looks up a round one.

K half vectors are drawn from the GGX facets visible to the eye (Heitz, "Sampling the GGX Distribution of Visible
Normals", 2018; as a spherical cap, Dupuy and Benyoub, 2023; cut to what can reflect above the horizon, Eto and
Tokuyoshi, "Bounded VNDF Sampling for Smith-GGX Reflections", 2023). Each reflects the eye into a direction of light,
which is looked up in the light's mean pyramid at the level whose texels are as large as the sample's share of the
sphere (filtered importance sampling: Krivanek and Colbert, "Real-time Shading with Filtered Importance Sampling",
2008). The samples and their levels move with the surface (roughness, normal), so the gradient is the exact slope of
what is computed; with levels held fixed it is no nearer to the gradient of the exact integral.

What it gets wrong: the patch of the sky that is looked up is round, but the sample's share of the lobe is not, which
blurs the edges of bright light; docs/shading-models.md has the error against K. It costs K cube lookups a point.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

import torch
import torch.nn.functional as F

from render.bsdf.energy import Energy, surface_energy
from render.bsdf.ggx import GgxTable, fresnel_dielectric
from render.light.cube_atlas import CubeAtlas
from render.light.cube_geometry import texel_directions, texel_solid_angles
from render.light.prefiltered import rotation_part, turn

DEFAULT_SAMPLES = 32
_MIN_N_DOT_V = 1e-3
# GGX is not a function at alpha 0; this is narrower than any cube map resolves.
_MIN_ALPHA = 1e-4
_IRRADIANCE_RESOLUTION = 16
_GOLDEN = (math.sqrt(5) - 1) / 2
# Finer by about one level, since the levels are smoothed: with 32 samples the worst in the forest is 39.0 dB; with plain
# means at their best bias, -0.5, it is 36.1. Photographed light does best at -1 to -1.25, synthetic noise at -1.3 to -1.6
# (by 1 dB).
_LEVEL_BIAS = -1.1

Visibility = torch.Tensor | Callable[[torch.Tensor], torch.Tensor]


class LobeLight(Protocol):
    """A light whose mean over a part of the sphere can be looked up, as `SampledLight` is."""

    def diffuse(self, normal: torch.Tensor) -> torch.Tensor:
        """Irradiance / pi for normals [..., 3] -> [..., C]."""

    def radiance(self, direction: torch.Tensor, solid_angle: torch.Tensor) -> torch.Tensor:
        """Mean radiance [..., C] over about `solid_angle` [...] steradian around `direction` [..., 3]."""


@dataclass(frozen=True)
class SampledLight:
    """A light for sampled shading, differentiable in the base cube that it was built from; `sampled_light` builds it.

    atlas       [1, C, H, W], the smoothed mean pyramid of the base, down to one texel a face
    irradiance  [1, C, H, W], irradiance / pi around the texels of a small cube
    rotation    [3, 3], or [B, 3, 3], of lookups, or None
    """

    atlas: torch.Tensor
    layout: CubeAtlas
    irradiance: torch.Tensor
    irradiance_layout: CubeAtlas
    rotation: torch.Tensor | None = None

    def xfm(self, matrix: torch.Tensor | None) -> SampledLight:
        """The same light with turned lookups, as `PrefilteredLight.xfm`: direction v is looked up at matrix v."""
        return replace(self, rotation=rotation_part(matrix))

    @property
    def resolution(self) -> int:
        """Texels along a face of the base."""
        return self.layout.resolutions[0]

    def diffuse(self, normal: torch.Tensor) -> torch.Tensor:
        """Irradiance / pi for normals [..., 3] -> [..., C]."""
        level = torch.zeros_like(normal[..., 0])
        return self.irradiance_layout.sample(self.irradiance, turn(normal, self.rotation), level)

    def radiance(self, direction: torch.Tensor, solid_angle: torch.Tensor) -> torch.Tensor:
        """Mean radiance over about `solid_angle` [...] steradian around `direction` [..., 3] (any length) -> [..., C]."""
        direction = turn(direction, self.rotation)
        # Texels shrink from a face's center to its corners, where the longest part of a unit vector is 0.58.
        longest = direction.abs().amax(-1) / direction.norm(dim=-1).clamp(min=1e-20)
        texel = longest.clamp(min=0.5) ** 3 * (4 / self.resolution**2)
        level = 0.5 * torch.log2(solid_angle / texel) + _LEVEL_BIAS
        return self.layout.sample(self.atlas, direction, level)


def sampled_light(base: torch.Tensor, rotation: torch.Tensor | None = None) -> SampledLight:
    """Prepare a base cube [6, R, R, C] for sampled shading; R may be any size; differentiable in the base.

    rotation  of lookups, see `SampledLight.xfm`, or None

    Raises ValueError where the shape is not that of a cube map.
    """
    if base.ndim != 4 or base.shape[0] != 6 or base.shape[1] != base.shape[2] or base.shape[1] < 1:
        raise ValueError(f"a cube map is [6, R, R, C], not {list(base.shape)}: use latlong_to_cubemap for images")
    levels = _mean_pyramid(base)
    coarse = next(level for level in levels if level.shape[1] <= _IRRADIANCE_RESOLUTION)
    device, side = str(base.device), _IRRADIANCE_RESOLUTION
    matrix = _irradiance_matrix(coarse.shape[1], device, base.dtype)
    irradiance = (matrix @ coarse.reshape(-1, base.shape[-1])).view(6, side, side, -1)
    layout, irradiance_layout = _atlas(tuple(level.shape[1] for level in levels), device), _atlas((side,), device)
    smooth = [base] + [_smoothed(level) for level in levels[1:]]
    return SampledLight(layout.pack(smooth), layout, irradiance_layout.pack([irradiance]), irradiance_layout).xfm(
        rotation
    )


def sampled_radiance(
    kd: torch.Tensor,
    ks: torch.Tensor,
    normal: torch.Tensor,
    view: torch.Tensor,
    light: LobeLight,
    table: GgxTable,
    samples: int = DEFAULT_SAMPLES,
    energy: Energy = "multi",
    irradiance: torch.Tensor | None = None,
    visibility: Visibility | None = None,
    seed: int | None = None,
) -> torch.Tensor:
    """Outgoing radiance [..., 3], linear, of a Principled surface. Differentiable in light, kd, ks and normal.

    kd, ks, normal, view   as for `render.shading.models.outgoing_radiance`
    samples     K, the number of directions in which the specular lobe is sampled
    irradiance  [..., 3] irradiance / pi to use instead of the light's own (self-shadowing), or None
    visibility  how much of the light is seen along each sample, 0..1: [..., K] or [..., K, 1 or 3], or a function that
                gives it for the unit directions [..., K, 3]; None: all of it
    seed        None: the same pattern of samples at every point, so that the error is smooth over the surface. A number:
                the pattern is shifted at random at each point, so that the error becomes noise, which the seed decides

    Raises ValueError for less than one sample.
    """
    if samples < 1:
        raise ValueError(f"sampled shading needs at least one sample a point, not {samples}")
    roughness, metallic = ks[..., 1], ks[..., 2:3]
    n_dot_v = (normal * view).sum(-1).clamp(min=_MIN_N_DOT_V)
    terms = table.lookup(roughness, n_dot_v)
    u, v = _pattern(samples, n_dot_v, seed)
    direction, weight, v_dot_h, solid_angle = _sample_lobe(normal, view, roughness, u, v)
    incoming = light.radiance(direction, solid_angle)
    if visibility is not None:
        seen = visibility(direction) if callable(visibility) else visibility
        incoming = incoming * (seen if seen.ndim == incoming.ndim else seen[..., None])
    # The table knows the lobe's albedo exactly: the samples only say how it is spread over the directions.
    albedo = (terms.scale + terms.bias)[..., None]
    weight = weight * (albedo / weight.sum(-1, keepdim=True).clamp(min=1e-12))
    schlick = (1 - v_dot_h) ** 5
    weights = torch.stack([weight * (1 - schlick), weight * schlick, weight * fresnel_dielectric(v_dot_h)], -2)
    at_f0, at_f90, dielectric = (weights @ incoming).unbind(-2)
    surface = surface_energy(kd, metallic, terms, energy)
    if irradiance is None:
        irradiance = light.diffuse(normal)
    metal = (kd * at_f0 + at_f90) * surface.metal_gain
    specular = metallic * metal + (1 - metallic) * dielectric * surface.dielectric_gain
    return (surface.diffuse * irradiance + specular) * (1 - ks[..., :1])


def _pattern(samples: int, like: torch.Tensor, seed: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Points of the unit square, [K] or [..., K]: a Fibonacci lattice, which on a spherical cap is a sunflower."""
    index = torch.arange(samples, device=like.device, dtype=torch.float64)
    u, v = (index + 0.5) / samples, (index * _GOLDEN).frac()
    if seed is not None:
        generator = torch.Generator(like.device).manual_seed(seed)
        shift = torch.rand(2, *like.shape, 1, generator=generator, device=like.device, dtype=torch.float64)
        u, v = ((u + shift[0]) % 1).clamp(1e-9, 1 - 1e-9), (v + shift[1]) % 1
    return u.to(like.dtype), v.to(like.dtype)


def _sample_lobe(
    normal: torch.Tensor, view: torch.Tensor, roughness: torch.Tensor, u: torch.Tensor, v: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Samples of the GGX lobe: unit direction [..., K, 3], weight, V.H and solid angle [..., K].

    The weight is the BRDF without Fresnel, with height-correlated Smith, times the cosine, divided by the density; it is
    0 below the horizon. The solid angle is 1 / (K density).
    """
    first, second, local = _frame(normal, view)
    x, y, z = (part[..., None] for part in local)
    alpha = roughness.square().clamp(min=_MIN_ALPHA)[..., None]
    # Stretch the ellipsoid of facets to a sphere: the facets that the eye sees fill a cap around it.
    stretch = 1 / (alpha * alpha * (x * x + y * y) + z * z).sqrt()
    sx, sy, sz = alpha * x * stretch, alpha * y * stretch, z * stretch
    # Facets near the far rim of the cap reflect below the horizon: cut the cap where all of them must.
    a2, reach = alpha * alpha, 1 + (x * x + y * y).clamp(min=1e-12).sqrt()
    bound = (1 - a2) * reach * reach / (reach * reach + a2 * z * z)
    height = 1 - u * (1 + bound * sz)
    radius = (1 - height * height).clamp(min=1e-12).sqrt()
    hx = alpha * (radius * torch.cos(2 * math.pi * v) + sx)
    hy = alpha * (radius * torch.sin(2 * math.pi * v) + sy)
    hz = (height + sz).clamp(min=1e-9)
    inverse = 1 / (hx * hx + hy * hy + hz * hz).sqrt()
    hx, hy, hz = hx * inverse, hy * inverse, hz * inverse
    v_dot_h = (x * hx + y * hy + z * hz).clamp(0, 1)
    lx, ly, lz = 2 * v_dot_h * hx - x, 2 * v_dot_h * hy - y, 2 * v_dot_h * hz - z
    direction = lx[..., None] * first[..., None, :] + ly[..., None] * second[..., None, :]
    direction = direction + lz[..., None] * normal[..., None, :]

    n_dot_l = lz.clamp(min=0)
    smith_v = (a2 + (1 - a2) * z * z).sqrt()
    smith_l = (a2 + (1 - a2) * n_dot_l * n_dot_l).sqrt()
    weight = (bound * z + smith_v) * n_dot_l / (smith_v * n_dot_l + smith_l * z)
    # 1 / density = 2 (bound N.V + smith_v) / D; D in the form a2 / (pi (hx^2 + hy^2 + a2 hz^2)^2) loses no digits.
    spread = (hx * hx + hy * hy + a2 * hz * hz).square() * (2 * math.pi) * (bound * z + smith_v) / a2
    return direction, weight, v_dot_h, spread / u.shape[-1]


def _frame(
    normal: torch.Tensor, view: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Two tangents [..., 3] of the normal, and the view in the frame (first, second, normal), on the normal's side.

    The frame is one around the view, turned by the shortest way to the normal: smooth over all that faces the eye.
    """
    x, y, z = view.unbind(-1)
    sign = torch.where(z < 0, -1.0, 1.0).to(z.dtype)
    a = -1 / (sign + z)
    b = x * y * a
    first = torch.stack([1 + sign * x * x * a, sign * b, -sign * x], -1)
    second = torch.stack([b, sign + y * y * a, -y], -1)
    n_dot_v = (normal * view).sum(-1, keepdim=True)
    middle = (view + normal) / (1 + n_dot_v).clamp(min=1e-3)
    along_first = (normal * first).sum(-1, keepdim=True)
    along_second = (normal * second).sum(-1, keepdim=True)
    facing = torch.cat([-along_first, -along_second, n_dot_v.clamp(min=_MIN_N_DOT_V)], -1)
    local_x, local_y, local_z = F.normalize(facing, dim=-1).unbind(-1)
    return first - along_first * middle, second - along_second * middle, (local_x, local_y, local_z)


def _mean_pyramid(base: torch.Tensor) -> list[torch.Tensor]:
    """Means over solid angle; each level is half as large as the one before, down to one texel a face."""
    levels, resolution = [base], base.shape[1]
    area = texel_solid_angles(resolution, base.device, base.dtype)[None, None]
    energy = base.permute(0, 3, 1, 2) * area
    while resolution > 1:
        resolution = (resolution + 1) // 2
        energy = F.adaptive_avg_pool2d(energy, resolution)
        area = F.adaptive_avg_pool2d(area, resolution)
        levels.append((energy / area).permute(0, 2, 3, 1))
    return levels


def _smoothed(level: torch.Tensor) -> torch.Tensor:
    """A cube map [6, R, R, C] smoothed by the kernel 1 2 1 both ways, across edges too: squares become round spots."""
    resolution, channels = level.shape[1], level.shape[-1]
    layout = _atlas((resolution,), str(level.device))
    line = torch.tensor([0.25, 0.5, 0.25], device=level.device, dtype=level.dtype)
    kernel = (line[:, None] * line).expand(channels, 1, 3, 3)
    image = F.conv2d(layout.pack([level]), kernel, padding=1, groups=channels)
    center = _texel_directions(resolution, str(level.device), level.dtype)
    return layout.sample(image, center, torch.zeros_like(center[..., 0]))


@lru_cache(maxsize=32)
def _atlas(resolutions: tuple[int, ...], device: str) -> CubeAtlas:
    return CubeAtlas(resolutions, device)


@lru_cache(maxsize=32)
def _texel_directions(resolution: int, device: str, dtype: torch.dtype) -> torch.Tensor:
    return texel_directions(resolution, device, dtype)


@lru_cache(maxsize=8)
def _irradiance_matrix(resolution: int, device: str, dtype: torch.dtype) -> torch.Tensor:
    """Cosine-weighted mean over the hemispheres of a small cube's texels: [6 * S * S, 6 * R * R], rows sum to 1."""
    parts = max(1, 32 // resolution)
    fine = resolution * parts
    light = texel_directions(fine, "cpu", torch.float64).view(-1, 3)
    area = texel_solid_angles(fine, "cpu", torch.float64).reshape(-1).repeat(6)
    rows = []
    normals = texel_directions(_IRRADIANCE_RESOLUTION, "cpu", torch.float64).view(-1, 3)
    for start in range(0, len(normals), 128):
        weight = (normals[start : start + 128] @ light.T).clamp(min=0) * area
        cells = weight.view(-1, 6, resolution, parts, resolution, parts).sum((3, 5)).flatten(1)
        rows.append(cells / cells.sum(1, keepdim=True))
    return torch.cat(rows).to(device=device, dtype=dtype)
