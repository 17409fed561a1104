"""What a fit minimizes besides its priors (`render.material.priors`): the difference of shaded samples from their references.

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
from render.material.material import ALPHA, NORMAL, material_layout
from render.raster.compositing import composite
from render.shading.models import ShadingModel
from render.shading.shade import shade_texels

LEAST_BOUND, BOUND_IN_DEVIATIONS = 0.15, 5.0
LOBES = material_layout(emission=True, coat=True, sheen=True)
"""The channels of values that are followed by the lobes of `StepRows`."""


def bound_of(loss: torch.Tensor) -> torch.Tensor:
    """Where the loss of a residual should turn from square to linear, from the loss itself: at a few standard deviations.

    The noise of few samples is skewed: bounded more tightly, it pulls the fit to its median, which is too dark (4 samples a
    pixel: 32 dB with 0.15, 50 dB with 2.0; 32 samples: 53 dB either way, and clean references want it small; tuning cases).
    """
    return (BOUND_IN_DEVIATIONS * (2 * loss).sqrt()).clamp(min=LEAST_BOUND)


def shade_samples(
    values: torch.Tensor, rows: SampleTable | StepRows, light: PrefilteredLight, table: GgxTable, model: ShadingModel
) -> torch.Tensor:
    """Radiance and coverage of pixels, [P, 4], premultiplied, from material values [P, K, C]; composites layers near to far."""
    lobes = rows.lobes if isinstance(rows, StepRows) else None
    layout = None if lobes is None else LOBES
    wide = values if lobes is None else torch.cat([values[..., : NORMAL.stop], lobes], dim=-1)
    color = shade_texels(wide, rows, light, table, model, rows.shadow, layout)
    if values.shape[-1] <= ALPHA.start:
        return torch.cat([color[:, 0], torch.ones_like(color[:, 0, :1])], dim=-1)
    return composite(color, values[..., ALPHA] * rows.valid[..., None])


def sample_loss(
    values: torch.Tensor,
    rows: SampleTable | StepRows,
    light: PrefilteredLight,
    table: GgxTable,
    model: ShadingModel,
    bound: torch.Tensor,
) -> torch.Tensor:
    """Scalar loss of pixels whose material values are [P, K, C]; `bound`: see `fit_loss`."""
    return fit_loss(shade_samples(values, rows, light, table, model), rows, bound)


def tone_slope(radiance: torch.Tensor) -> torch.Tensor:
    """Derivative of sRGB(log(1 + x)) at radiance x >= 0, any shape: the weight of a linear residual."""
    x = radiance.clamp(min=0)
    y = torch.log1p(x)
    slope = torch.where(
        y <= 0.0031308, torch.full_like(y, 12.92), (1.055 / 2.4) * y.clamp(min=0.0031308) ** (1 / 2.4 - 1)
    )
    return slope / (1 + x)


def fit_loss(prediction: torch.Tensor, rows: SampleTable | StepRows, bound: torch.Tensor) -> torch.Tensor:
    """Scalar loss of predictions [P, 4] against the rows' reference color and alpha.

    bound  [], where the loss of a residual turns from square to linear
    """
    weight = tone_slope(prediction[:, :3].detach())
    residual = weight * (prediction[:, :3] - rows.color)
    size = residual.abs()
    loss = torch.where(size < bound, residual.square() / 2, bound * (size - bound / 2)).mean()
    coverage = F.mse_loss(prediction[:, 3], rows.alpha)
    return loss + coverage
