"""The sheen of Blender's Principled BSDF in numbers: how much a layer of fibres reflects, and from where.

Blender's "Microfiber" sheen is the volume of fibres of Zeltner, Burley and Chiang, "Practical Multiple-Scattering Sheen
Using Linearly Transformed Cosines", 2022: an albedo, and a lobe that is a cosine lobe under a matrix of two numbers a and
b, all three functions of roughness and N.V. The paper tabulates them; here they are the rational fits by Stephen Hill that
MaterialX publishes (docs/shading-models.md has the distance from Cycles).

The lobe is wider than the cosine lobe: it gathers light from all around, most of it near the horizon, and leans to the
eye. Like irradiance it is seen as well by the spherical harmonics of the light up to degree 2 (Ramamoorthi and Hanrahan,
"An Efficient Representation for Irradiance Environment Maps", 2001). For these, the mean of the direction over the lobe
and the mean of its square are all that counts, so the table has these moments and no lookup of prefiltered light is
needed. This module integrates them at first use (about 0.3 s on one core).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch

from render.bsdf.ggx import look_up_terms

_RINGS, _SPOKES = 24, 32
# Blender clamps it there too; the fits have no lobe at roughness 0.
_LEAST_ROUGHNESS = 1e-3
# The lean is relative to the sine of the viewing angle, which is 0 for N = V.
_LARGEST_COSINE = 1 - 1e-5


@dataclass(frozen=True)
class SheenTerms:
    """What the table gives for each point, all [...]. V' is the view direction less its part along N: V - (N.V) N.

    albedo  share of a white sky's light that white sheen reflects, 0..1
    normal, view   mean direction of the lobe: normal N + view V'
    nn, nv, vv     mean of the direction's square, a matrix of trace 1, but for a multiple of the unit matrix:
                   nn N N^T + nv (N V'^T + V' N^T) + vv V' V'^T
    """

    albedo: torch.Tensor
    normal: torch.Tensor
    view: torch.Tensor
    nn: torch.Tensor
    nv: torch.Tensor
    vv: torch.Tensor


def sheen_lookup(values: torch.Tensor, roughness: torch.Tensor, n_dot_v: torch.Tensor) -> SheenTerms:
    """The terms in `sheen_table` at roughness and N.V [...] of the same shape, 0..1; differentiable in both."""
    return SheenTerms(*look_up_terms(values, roughness, n_dot_v)[:6])


@lru_cache(maxsize=4)
def sheen_table(device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """The terms on the nodes of `render.bsdf.ggx.GgxTable`, [1, 8, R, R]; the last two of the eight are 0.

    Do not write to it: all callers share it.
    """
    return _table_values().to(device=device, dtype=dtype)


def sheen_albedo(roughness: torch.Tensor, n_dot_v: torch.Tensor) -> torch.Tensor:
    """Albedo [...] of white sheen at roughness [...] above 0 and N.V [...], by Hill's fit."""
    y = roughness
    width = y * (0.0206607 + 1.58491 * y) / (0.0379424 + y * (1.32227 + y))
    peak = y * (-0.193854 + y * (-1.14885 + y * (1.7932 - 0.95943 * y * y))) / (0.046391 + y)
    rest = y * (0.000654023 + (-0.0207818 + 0.119681 * y) * y) / (1.26264 + y * (-1.92021 + y))
    bell = torch.exp(-0.5 * ((n_dot_v - peak) / width) ** 2) / (width * math.sqrt(2 * math.pi))
    return (bell + rest).clamp(0, 1)


def sheen_transform(roughness: torch.Tensor, n_dot_v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """a and b [...] of the lobe: a cosine-distributed d becomes (d_x - b d_z, d_y, a d_z), x along V' (Hill's fit)."""
    x, y = n_dot_v, roughness
    a = (2.58126 * x + 0.813703 * y) * y / (1 + 0.310327 * x * x + 2.60994 * x * y)
    b = (1 - x).sqrt() * (y - 1) * y**3 / (0.0000254053 + 1.71228 * x - 1.71506 * x * y + 1.34174 * y * y)
    return a, b


@lru_cache(maxsize=1)
def _table_values(resolution: int = 48) -> torch.Tensor:
    grid = torch.linspace(0, 1, resolution, dtype=torch.float64) ** 2
    roughness, n_dot_v = torch.meshgrid(
        grid.clamp(min=_LEAST_ROUGHNESS), grid.clamp(min=1e-3, max=_LARGEST_COSINE), indexing="ij"
    )
    a, b = (value[..., None] for value in sheen_transform(roughness, n_dot_v))
    radius = ((torch.arange(_RINGS, dtype=torch.float64) + 0.5) / _RINGS).sqrt()
    angle = (torch.arange(_SPOKES, dtype=torch.float64) + 0.5) * (2 * math.pi / _SPOKES)
    disk_x, disk_y = ((radius[:, None] * part(angle)).reshape(-1) for part in (torch.cos, torch.sin))
    disk_z = (1 - disk_x**2 - disk_y**2).sqrt()
    across, up = disk_x - b * disk_z, a * disk_z
    length2 = across**2 + disk_y**2 + up**2
    xx, yy, zz, xz = (
        (product / length2).mean(-1) for product in (across**2, (disk_y**2).expand_as(length2), up**2, across * up)
    )
    toward_view, toward_normal = ((part / length2.sqrt()).mean(-1) for part in (across, up))
    sine = (1 - n_dot_v**2).sqrt()
    terms = [
        sheen_albedo(roughness, n_dot_v),
        toward_normal,
        toward_view / sine,
        zz - yy,
        xz / sine,
        (xx - yy) / sine**2,
    ]
    return torch.stack([*terms, torch.zeros_like(sine), torch.zeros_like(sine)])[None].contiguous()
