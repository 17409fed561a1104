"""The BRDF integration table of the split sum: what a white sky reflects, as a scale and a bias of F0.

Karis, "Real Shading in Unreal Engine 4", 2013: the directional albedo of a GGX mirror with Schlick's Fresnel is
F0 * scale + bias. This module integrates it with the height-correlated Smith term (Heitz, "Understanding the
Masking-Shadowing Function in Microfacet-Based BRDFs", 2014), alpha = roughness squared, over visible normals (Heitz,
"Sampling the GGX Distribution of Visible Normals", 2018). nvdiffrec ships a table as a file, which was integrated with
the same term. Measured difference: 1.5e-4 relative L2 and 4.2e-4 at most, which is the noise of nvdiffrec's table.

The integrals are computed at 48 x 48 nodes and interpolated by cubics (2.6e-5 relative L2 and 4e-4 at most against
120 x 120 nodes). The nodes lie evenly in the cube root of roughness and the fourth root of N.V, since the lobe changes
fastest near 0. This takes 0.4 s on one core; the table is kept for the process.
"""

import math
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from render.bsdf.ggx import sample_visible_half_vector

_NODES = 48
_SAMPLES = (16, 12)
_POWERS = (3, 4)
_BISECTIONS = 12


def fg_lut(resolution: int = 256, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Tensor:
    """The table [resolution, resolution, 2]: (scale, bias) by roughness (rows) and N.V (columns).

    Texel (i, j) holds the integral at roughness (i + 1/2) / resolution and N.V (j + 1/2) / resolution. Do not write to the
    table: all callers share it. Raises ValueError for a resolution below 1.
    """
    if resolution < 1:
        raise ValueError(f"the table needs a positive resolution, not {resolution}")
    return _table_on(resolution, str(device), dtype)


def lookup_fg(lut: Tensor, roughness: Tensor, n_dot_v: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and bias [...] at roughness and N.V [...], 0..1, from a table [R, R, 2] of the same dtype.

    Bilinear between texel centers and constant beyond the outermost, as nvdiffrast's clamped texture. Differentiable in
    table, roughness and N.V; the slopes jump at texel centers and are 0 beyond the outermost.
    """
    grid = torch.stack([n_dot_v, roughness], dim=-1).reshape(1, 1, -1, 2) * 2 - 1
    values = torch.nn.functional.grid_sample(
        lut.permute(2, 0, 1)[None], grid, padding_mode="border", align_corners=False
    )
    scale, bias = values.reshape(2, *roughness.shape).unbind(0)
    return scale, bias


@lru_cache(maxsize=8)
def _table_on(resolution: int, device: str, dtype: torch.dtype) -> Tensor:
    return _table(resolution).to(device=device, dtype=dtype)


@lru_cache(maxsize=4)
def _table(resolution: int) -> Tensor:
    steps = torch.linspace(0, 1, _NODES, dtype=torch.float64)
    roughness, n_dot_v = ((steps**power).clamp(min=1e-5) for power in _POWERS)
    coarse = torch.stack([_integrals(float(value), n_dot_v) for value in roughness])
    centers = (np.arange(resolution) + 0.5) / resolution
    rows, columns = (torch.from_numpy(_cubic_weights(centers ** (1 / power) * (_NODES - 1))) for power in _POWERS)
    return torch.einsum("ia,jb,abc->ijc", rows, columns, coarse).contiguous()


def _integrals(roughness: float, n_dot_v: Tensor) -> Tensor:
    """Scale and bias [N, 2] at one roughness and N.V [N]."""
    alpha = torch.full((1, 1), roughness * roughness, dtype=torch.float64)
    view = torch.stack([(1 - n_dot_v**2).clamp(min=0).sqrt(), torch.zeros_like(n_dot_v), n_dot_v], dim=-1)[:, None]
    (along, share_along), (angle, share_angle) = _gauss(_SAMPLES[0], 0, 1), _gauss(_SAMPLES[1], -0.25, 0.25)

    def reflect(rest: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
        half = sample_visible_half_vector(view, alpha, 1 - rest**4, angle)
        v_dot_h = (view * half).sum(dim=-1).clamp(0, 1)
        return v_dot_h, 2 * v_dot_h * half[..., 2] - view[..., 2]

    # Find where the horizon cuts the lobe off by bisection: the integrand has a kink there.
    low, high = torch.zeros(len(n_dot_v), len(angle), dtype=torch.float64), torch.ones(1, len(angle)).double()
    high = high.expand_as(low)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        below = reflect(middle, angle)[1] < 0
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    length = (1 - high)[:, :, None]
    rest = (1 - length * along).flatten(1)
    v_dot_h, n_dot_l = reflect(rest, angle[:, None].expand(-1, len(along)).reshape(1, -1))
    # A share of the disc's area is 2 / pi times those of angle and radius squared. Only half of the disc is integrated, so it
    # counts twice.
    share = (8 * share_angle[:, None] * share_along * length).flatten(1) * rest**3
    masking, shadowing = _smith(view[..., 2], alpha), _smith(n_dot_l.clamp(min=1e-9), alpha)
    weight = (1 + masking) / (1 + masking + shadowing) * share
    schlick = (1 - v_dot_h) ** 5
    return torch.stack([(weight * (1 - schlick)).sum(dim=-1), (weight * schlick).sum(dim=-1)], dim=-1)


def _gauss(count: int, low: float, high: float) -> tuple[Tensor, Tensor]:
    nodes, shares = np.polynomial.legendre.leggauss(count)  # type: ignore[no-untyped-call]  # NumPy does not annotate it
    middle, half = (low + high) / 2, (high - low) / 2
    return torch.from_numpy(middle + half * nodes), torch.from_numpy(half * shares)


def _smith(cosine: Tensor, alpha: Tensor) -> Tensor:
    tangent_squared = (1 - cosine**2).clamp(min=0) / cosine**2
    return 0.5 * (torch.sqrt(1 + alpha**2 * tangent_squared) - 1)


def _cubic_weights(position: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights [N, _NODES] of Lagrange's cubic through the four nodes around each position [N]."""
    first = np.clip(np.floor(position).astype(int) - 1, 0, _NODES - 4)
    at = position - first
    weights = np.zeros((len(position), _NODES))
    for node in range(4):
        others = [other for other in range(4) if other != node]
        value = math.prod((at - other) / (node - other) for other in others)
        weights[np.arange(len(position)), first + node] = value
    return weights
