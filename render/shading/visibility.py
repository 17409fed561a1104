"""Self-shadowing of a mesh under an environment light, computed once for fixed samples.

Split-sum light reaches a point from everywhere; on a real object its own parts stand in the way, block light, and send
the light that they reflect. For a fixed set of samples (a pixel's surface point, its view direction) shadow maps from a
few hundred directions find this, and it is kept as factors on the split-sum terms:

    diffuse   (cosine-weighted light with blockers) / (without), at the smooth normal
    specular  (light under the true GGX lobe with blockers) / (light under the round lobe that split-sum looks up),
              at a few roughnesses, with interpolation between them

So the specular factor also corrects the shape of the lobe (it stretches at grazing angles, and the horizon cuts it), as
finely as the directions lie (about 9 degrees apart for 512). What it gets wrong: factors belong to the smooth normal, not
to the fitted one; detail finer than the directions is lost; light that bounced more than once is what the references show.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from render.bsdf.ggx import GgxTable
from render.geometry.camera import fibonacci_directions
from render.light.cubemap import texel_directions, texel_solid_angles

ROUGHNESS_NODES = (0.25, 0.45, 0.75)
# Rows at a time. 20000 rows on two cores take 0.16 to 0.30 s in chunks of 2048, and 0.27 to 1.47 s in chunks of 256; the
# longer times are with idle threads that sleep at once.
_CHUNK = 2048
_GPU_CHUNK = 32768


@dataclass(frozen=True)
class ShadowFactors:
    """Factors of samples: diffuse [..., 3] on irradiance, specular [..., nodes, 3] on lobe light at `ROUGHNESS_NODES`."""

    diffuse: torch.Tensor
    specular: torch.Tensor

    def rows(self, index: torch.Tensor) -> ShadowFactors:
        return ShadowFactors(self.diffuse[index], self.specular[index])

    def specular_at(self, roughness: torch.Tensor) -> torch.Tensor:
        """Specular factor [..., 3] at roughness [..., 1], linear between the nodes, constant beyond; without a gradient."""
        r = roughness.detach()
        low, middle, high = ROUGHNESS_NODES
        first = ((r - low) / (middle - low)).clamp(0, 1)
        second = ((r - middle) / (high - middle)).clamp(0, 1)
        lower = torch.lerp(self.specular[..., 0, :], self.specular[..., 1, :], first)
        return torch.lerp(lower, self.specular[..., 2, :], second)


@dataclass(frozen=True)
class LightCells:
    """An environment as a few directions: direction [D, 3], solid_angle [D], radiance [D, 3] (the mean over each cell)."""

    direction: torch.Tensor
    solid_angle: torch.Tensor
    radiance: torch.Tensor


def shadow_directions(count: int, device: torch.device | str = "cpu") -> torch.Tensor:
    """Directions [count, 3] spread over the sphere, `count` even; row i + count / 2 is the opposite of row i."""
    upper = fibonacci_directions(count)[: count // 2].to(device)
    return torch.cat([upper, -upper])


def light_cells(base: torch.Tensor, direction: torch.Tensor) -> LightCells:
    """Mean radiance of a cube map [6, R, R, 3] over the Voronoi cell of each direction [D, 3]; this keeps the energy."""
    resolution = base.shape[1]
    texel = texel_directions(resolution, device=base.device).reshape(-1, 3)
    weight = texel_solid_angles(resolution, device=base.device).expand(6, resolution, resolution).reshape(-1)
    parts = [texel[start : start + 8192] for start in range(0, len(texel), 8192)]
    nearest = torch.cat([(part @ direction.T).argmax(-1) for part in parts])
    solid_angle = torch.zeros(len(direction)).to(base).index_add_(0, nearest, weight)
    total = torch.zeros(len(direction), 3).to(base).index_add_(0, nearest, base.reshape(-1, 3) * weight[:, None])
    return LightCells(direction, solid_angle, total / solid_angle.clamp(min=1e-12)[:, None])


@torch.no_grad()
def shadow_factors(
    normal: torch.Tensor,
    view: torch.Tensor,
    visibility: Callable[[slice], torch.Tensor],
    cells: LightCells,
    blocker: torch.Tensor,
    table: GgxTable,
    cancelled: Callable[[], bool] = lambda: False,
) -> ShadowFactors:
    """Compute the factors of samples.

    normal, view  [S, 3] unit
    visibility    gives the visibility, float [n, D], of a slice of the samples
    blocker       [D, 3] radiance that comes from a blocked direction

    It stops early, with fewer rows, when `cancelled()`.
    """
    diffuse, specular = [], []
    weighted = cells.solid_angle[:, None] * torch.cat([cells.radiance, torch.ones_like(cells.radiance[:, :1])], -1)
    difference = cells.solid_angle[:, None] * (blocker - cells.radiance)
    chunk = _CHUNK if normal.device.type == "cpu" else _GPU_CHUNK
    for start in range(0, len(normal), chunk):
        if cancelled():
            break
        part = slice(start, min(start + chunk, len(normal)))
        n, v = normal[part], view[part]
        n_dot_d = n @ cells.direction.T
        cosine = n_dot_d.clamp(min=0)
        blocked = 1 - visibility(part)
        open_light = cosine @ weighted[:, :3]
        diffuse.append(_ratio(open_light + (cosine * blocked) @ difference, open_light))
        n_dot_v = (n * v).sum(-1, keepdim=True).clamp(min=1e-3)
        v_dot_d = v @ cells.direction.T
        # Where N.V was clamped the half vector is not quite one: without the bound its cosine could be above 1.
        n_dot_h2 = ((n_dot_d + n_dot_v).square() / (2 + 2 * v_dot_d).clamp(min=1e-6)).clamp(max=1)
        reflected = 2 * n_dot_v * n - v
        nodes = []
        for roughness in ROUGHNESS_NODES:
            true = _true_lobe(n_dot_h2, cosine, n_dot_v, roughness**2)
            mean = true @ weighted
            light = (mean[:, :3] + (true * blocked) @ difference) / mean[:, 3:].clamp(min=1e-20)
            terms = table.lookup(torch.full_like(n_dot_v[:, 0], roughness), n_dot_v[:, 0])
            axis = F.normalize(torch.lerp(n, reflected, terms.lean[:, None]), dim=-1)
            round_mean = _round_lobe(axis @ cells.direction.T, terms.lobe_roughness[:, None] ** 2) @ weighted
            nodes.append(_ratio(light, round_mean[:, :3] / round_mean[:, 3:].clamp(min=1e-20)))
        specular.append(torch.stack(nodes, 1))
    return ShadowFactors(torch.cat(diffuse), torch.cat(specular))


def _ratio(value: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    return (value / reference.clamp(min=1e-8)).clamp(0, 4)


def _true_lobe(n_dot_h2: torch.Tensor, n_dot_l: torch.Tensor, n_dot_v: torch.Tensor, alpha: float) -> torch.Tensor:
    """GGX BRDF times cosine, without Fresnel, except for a factor of each sample: D(h) G2 (height-correlated Smith)."""
    a2 = alpha * alpha
    distribution = (n_dot_h2 * (a2 - 1) + 1).square().reciprocal()
    smith = n_dot_v * (a2 + (1 - a2) * n_dot_l.square()).sqrt() + n_dot_l * (a2 + (1 - a2) * n_dot_v.square()).sqrt()
    return distribution * n_dot_l / smith.clamp(min=1e-9)


def _round_lobe(cosine: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """The kernel of the prefiltered light, D(h) max(N.L, 0) with N = V = R, except for a factor of each sample."""
    a2 = alpha * alpha
    return cosine.clamp(min=0) * ((1 + cosine) * 0.5 * (a2 - 1) + 1).square().reciprocal()
