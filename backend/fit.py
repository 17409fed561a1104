"""The fit: textures that make the split-sum render of every sample match its reference.

Coarse to fine: the maps start small and double; at each size the samples' texel taps are worked out once, in a few
fixed batches whose rows are sorted by texel, and Adam steps through the batches. An iteration is a sparse product, the
shading of the batch, the transposed product, and the optimiser's step: no rasteriser, no new tables.

The loss suits noisy references. They are unbiased only in linear space, so the residual is linear, weighted by the slope
of the tone curve at the prediction (held constant): near the optimum that is the squared error in log-sRGB, without the
bias that comparing encoded noise has. A Huber bound keeps fireflies from ruling.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from backend.material import ALPHA, KD, METALLIC, NORMAL, ROUGHNESS, MaterialMaps, initial_maps, project_
from backend.sample_table import SampleTable
from render.brdf import GgxTable, ggx_table
from render.color import linear_to_srgb
from render.light import EnvironmentLight, PrefilteredLight
from render.shade import ShadingModel, shade, shading_normal
from render.texel_lookup import Taps, lookup, mip_count, pyramid, trilinear_taps

_HUBER = 0.15


@dataclass(frozen=True)
class FitPlan:
    """How a fit goes: `iterations` at most over all sizes, `batch` samples each, learning rate decaying from first to last."""

    resolution: int
    iterations: int = 400
    stages: int = 4
    batch: int = 65536
    learning_rate: float = 0.03
    final_learning_rate: float = 0.002
    model: ShadingModel = "principled"
    fit_normal: bool = True
    fit_ks: bool = True
    fit_alpha: bool = False


def shade_samples(
    values: torch.Tensor, rows: SampleTable, light: PrefilteredLight, table: GgxTable, model: ShadingModel
) -> torch.Tensor:
    """Radiance and coverage of pixels, [P, 4], premultiplied, from material values [P, K, C]; layers composited near to far."""
    normal = shading_normal(values[..., NORMAL], rows.normal, rows.tangent, rows.sign)
    zero = torch.zeros_like(values[..., ROUGHNESS])
    ks = torch.cat([zero, values[..., ROUGHNESS], values[..., METALLIC]], dim=-1)
    color = shade(values[..., KD], ks, normal, rows.view, light, table, model)
    if values.shape[-1] <= ALPHA.start:
        return torch.cat([color[:, 0], torch.ones_like(color[:, 0, :1])], dim=-1)
    alpha = values[..., ALPHA] * rows.valid[..., None]
    through = torch.cumprod(torch.cat([torch.ones_like(alpha[:, :1]), 1 - alpha[:, :-1]], dim=1), dim=1)
    weight = alpha * through
    return torch.cat([(weight * color).sum(1), weight.sum(1)], dim=-1)


def tone_slope(radiance: torch.Tensor) -> torch.Tensor:
    """Derivative of sRGB(log(1 + x)) at radiance x >= 0, any shape; the weight of a linear residual."""
    x = radiance.clamp(min=0)
    y = torch.log1p(x)
    slope = torch.where(
        y <= 0.0031308, torch.full_like(y, 12.92), (1.055 / 2.4) * y.clamp(min=0.0031308) ** (1 / 2.4 - 1)
    )
    return slope / (1 + x)


def fit_loss(prediction: torch.Tensor, rows: SampleTable) -> torch.Tensor:
    """Scalar loss of predictions [P, 4] against the rows' reference colour and alpha."""
    weight = tone_slope(prediction[:, :3].detach())
    residual = weight * (prediction[:, :3] - rows.color)
    loss = F.huber_loss(residual, torch.zeros_like(residual), delta=_HUBER)
    coverage = F.mse_loss(prediction[:, 3], rows.alpha)
    return loss + coverage


class TableFit:
    """State of one fit: the maps, the batches of the current size and the optimiser."""

    def __init__(self, table: SampleTable, light: EnvironmentLight, plan: FitPlan, seed: int = 0) -> None:
        self.plan, self.light, self.table = plan, light, table
        device = table.color.device
        self.ggx = ggx_table(device)
        with torch.no_grad():
            self.prefiltered: PrefilteredLight = light.build_mips()
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(table), generator=generator).to(device)
        count = max(1, round(len(table) / plan.batch))
        self.batch_rows = [_sorted_by_texel(table, part) for part in order.chunk(count)]
        self.maps = initial_maps(plan.resolution >> (plan.stages - 1), plan.fit_alpha, device=device)
        self.iteration = 0

    def set_resolution(self, resolution: int) -> None:
        """Bring the maps to a size and work out the taps of every batch."""
        if resolution != self.maps.resolution:
            self.maps = self.maps.resized(resolution)
        self.levels = mip_count(resolution)
        self.taps = [_taps(rows, resolution, self.levels) for rows in self.batch_rows]
        self.texels = self.maps.texels.requires_grad_(True)
        self.optimizer = torch.optim.Adam([self.texels], lr=self.plan.learning_rate, betas=(0.9, 0.99), fused=True)

    def values(self, taps: Taps, rows: SampleTable) -> torch.Tensor:
        """Material values [P, K, C] at the rows."""
        values = lookup(pyramid(self.texels, self.levels), taps)
        return values.reshape(*rows.valid.shape, -1)

    def step(self, learning_rate: float) -> torch.Tensor:
        """One iteration; returns the loss (not synchronised)."""
        number = self.iteration % len(self.batch_rows)
        rows, taps = self.batch_rows[number], self.taps[number]
        prediction = shade_samples(self.values(taps, rows), rows, self.prefiltered, self.ggx, self.plan.model)
        loss = fit_loss(prediction, rows)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._freeze_unfitted()
        self.optimizer.param_groups[0]["lr"] = learning_rate
        self.optimizer.step()
        project_(self.texels.data)
        self.iteration += 1
        return loss.detach()

    def _freeze_unfitted(self) -> None:
        if not self.plan.fit_normal:
            self.texels.grad[..., NORMAL] = 0
        if not self.plan.fit_ks:
            self.texels.grad[..., ROUGHNESS.start : METALLIC.stop] = 0

    @torch.no_grad()
    def error(self, rows: SampleTable, taps: Taps) -> torch.Tensor:
        """Squared sRGB error of each pixel, [P, 3]."""
        prediction = shade_samples(self.values(taps, rows), rows, self.prefiltered, self.ggx, self.plan.model)
        return (linear_to_srgb(prediction[:, :3]).clamp(max=1) - linear_to_srgb(rows.color).clamp(max=1)).square()


def _sorted_by_texel(table: SampleTable, index: torch.Tensor) -> SampleTable:
    """Rows in the order of their place in the texture, so that neighbours in a batch read the same cache lines."""
    uv = table.uv[index, 0]
    cell = (torch.remainder(uv[:, 1], 1) * 1024).long() * 1024 + (torch.remainder(uv[:, 0], 1) * 1024).long()
    return table.rows(index[torch.argsort(cell)])


def _taps(rows: SampleTable, resolution: int, levels: int) -> Taps:
    level = torch.log2((rows.footprint * resolution).clamp(min=1e-6))
    return trilinear_taps(rows.uv.reshape(-1, 2), level.reshape(-1), resolution, levels)


def stage_lengths(iterations: int, stages: int) -> list[int]:
    """Iterations at each size: later sizes get more."""
    weights = [1.0 + 0.5 * stage for stage in range(stages)]
    return [max(1, round(iterations * weight / sum(weights))) for weight in weights]


def run(
    fit: TableFit, held_out: SampleTable | None, on_step: Callable[[int, int, float | None], None]
) -> list[tuple[float, int, float]]:
    """Run the whole plan; `on_step(iteration, iterations, psnr or None)`; returns (seconds, iteration, held-out dB)."""
    plan, history, started = fit.plan, [], time.perf_counter()
    lengths = stage_lengths(plan.iterations, plan.stages)
    total = sum(lengths)
    decay = math.log(plan.final_learning_rate / plan.learning_rate)
    for stage, length in enumerate(lengths):
        fit.set_resolution(plan.resolution >> (plan.stages - 1 - stage))
        held_taps = _taps(held_out, fit.maps.resolution, fit.levels) if held_out is not None else None
        for _ in range(length):
            fit.step(plan.learning_rate * math.exp(decay * fit.iteration / total))
            psnr = None
            if held_out is not None and (fit.iteration % 25 == 0 or fit.iteration == total):
                psnr = float(-10 * torch.log10(fit.error(held_out, held_taps).mean()))
                history.append((time.perf_counter() - started, fit.iteration, psnr))
            on_step(fit.iteration, total, psnr)
        fit.maps = MaterialMaps(fit.texels.detach())
    return history
