"""What a fit minimizes: the difference of shaded samples from their references, and how uneven the maps are.

The loss suits noisy references. They are unbiased only in linear space, so the residual is linear, weighted by the slope
of the tone curve at the prediction (held constant). Near the optimum that is the squared error in log-sRGB, without the
bias that comes from comparing encoded noise. A Huber bound keeps fireflies from dominating.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from backend.fit.sample_table import SampleTable, StepRows
from render.bsdf.ggx import GgxTable
from render.light.environment import PrefilteredLight
from render.material.material import ALPHA
from render.raster.compositing import composite
from render.shading.models import ShadingModel
from render.shading.shade import shade_texels

HUBER = 0.15
# A step between neighboring texels that counts as an edge; smaller steps are smoothed.
EDGE = 0.03
# The sum over texels of a smooth surface's squared steps does not depend on the map size. Maps of fewer
# texels than this weigh each step more, so that coarse sizes do not settle on metal or paint from a few noisy samples
# (0.3 dB on the demo).
_PRIOR_TEXELS = 512 * 512


def shade_samples(
    values: torch.Tensor, rows: SampleTable | StepRows, light: PrefilteredLight, table: GgxTable, model: ShadingModel
) -> torch.Tensor:
    """Radiance and coverage of pixels, [P, 4], premultiplied, from material values [P, K, C]; composites layers near to far."""
    color = shade_texels(values, rows, light, table, model, rows.shadow)
    if values.shape[-1] <= ALPHA.start:
        return torch.cat([color[:, 0], torch.ones_like(color[:, 0, :1])], dim=-1)
    return composite(color, values[..., ALPHA] * rows.valid[..., None])


def sample_loss(
    values: torch.Tensor, rows: SampleTable | StepRows, light: PrefilteredLight, table: GgxTable, model: ShadingModel
) -> torch.Tensor:
    """Scalar loss of pixels whose material values are [P, K, C]."""
    return fit_loss(shade_samples(values, rows, light, table, model), rows)


def tone_slope(radiance: torch.Tensor) -> torch.Tensor:
    """Derivative of sRGB(log(1 + x)) at radiance x >= 0, any shape: the weight of a linear residual."""
    x = radiance.clamp(min=0)
    y = torch.log1p(x)
    slope = torch.where(
        y <= 0.0031308, torch.full_like(y, 12.92), (1.055 / 2.4) * y.clamp(min=0.0031308) ** (1 / 2.4 - 1)
    )
    return slope / (1 + x)


def fit_loss(prediction: torch.Tensor, rows: SampleTable | StepRows) -> torch.Tensor:
    """Scalar loss of predictions [P, 4] against the rows' reference color and alpha."""
    weight = tone_slope(prediction[:, :3].detach())
    residual = weight * (prediction[:, :3] - rows.color)
    loss = F.huber_loss(residual, torch.zeros_like(residual), delta=HUBER)
    coverage = F.mse_loss(prediction[:, 3], rows.alpha)
    return loss + coverage


def prior_texels(texels: int) -> int:
    """The number of texels that share the weight of the smoothness, for a map with `texels` texels."""
    return min(texels, _PRIOR_TEXELS)


@torch.no_grad()
def add_smoothness_gradient_(gradient: torch.Tensor, texels: torch.Tensor, weight: torch.Tensor) -> None:
    """Add to `gradient` that of the smoothness term of texels, both [R, R, C], in place; weight [C].

    The term is weight / min(R, 512)^2 * the sum over texels of e^2 (sqrt(1 + (d / e)^2) - 1) over the steps d to the right and
    lower neighbor (Charbonnier). It is quadratic for small steps, so noise is averaged, and linear for large ones, so edges stay.
    """
    scale = weight / prior_texels(texels.shape[0] * texels.shape[1])
    for step, near, far in (
        (texels[1:] - texels[:-1], gradient[:-1], gradient[1:]),
        (texels[:, 1:] - texels[:, :-1], gradient[:, :-1], gradient[:, 1:]),
    ):
        slope = step * scale / (1 + (step / EDGE).square()).sqrt()
        near -= slope
        far += slope
