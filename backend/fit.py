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

from backend.sample_table import SampleTable
from render.brdf import GgxTable, ggx_table
from render.color import linear_to_srgb
from render.compositing import composite
from render.light import EnvironmentLight, PrefilteredLight
from render.material import ALPHA, METALLIC, NORMAL, ROUGHNESS, MaterialMaps, initial_maps, project_
from render.radiance import ShadingModel
from render.shade import shade_texels
from render.texel_lookup import Taps, lookup, mip_count, pyramid, trilinear_taps

_HUBER = 0.15
# Step between neighbouring texels that counts as an edge; smaller ones are smoothed.
_EDGE = 0.03
# The sum over texels of a smooth surface's squared steps does not depend on the map size. Up to this many texels the
# weight is larger: then coarse sizes do not settle on metal or paint from a few noisy samples (0.3 dB on the demo).
_PRIOR_TEXELS = 512 * 512
_MEASURE_EVERY = 20
# Working out the taps of one sample takes as long as this many samples of an iteration (2 s for 1.8 million, 2 cores).
_PREPARATION = 0.7
_LEAST_GAIN_DB = 0.02
_PATIENCE = 80


@dataclass(frozen=True)
class FitPlan:
    """How a fit goes: `iterations` at most over all sizes, learning rate decaying from first to last.

    The last size draws `batch` pixels an iteration and each smaller one half of the next: a coarse texel is read by
    more samples, so fewer tell as much and many quick steps settle what kind of surface it is.
    """

    resolution: int
    iterations: int = 400
    stages: int = 4
    batch: int = 65536
    learning_rate: float = 0.04
    final_learning_rate: float = 0.002
    model: ShadingModel = "principled"
    smooth_kd: float = 0.03
    smooth_ks: float = 0.01
    smooth_normal: float = 0.1
    metallic_prior: float = 3e-4
    fit_normal: bool = True
    fit_ks: bool = True
    fit_alpha: bool = False
    learn_light: bool = False
    light_learning_rate: float = 0.03
    white_balance: float = 0.01


@dataclass(frozen=True)
class FitStatus:
    """Where a fit is: iteration, fraction of the plan's work, map size, held-out PSNR if just measured, seconds so far, left."""

    iteration: int
    fraction: float
    resolution: int
    psnr_db: float | None
    seconds: float
    seconds_left: float


def shade_samples(
    values: torch.Tensor, rows: SampleTable, light: PrefilteredLight, table: GgxTable, model: ShadingModel
) -> torch.Tensor:
    """Radiance and coverage of pixels, [P, 4], premultiplied, from material values [P, K, C]; layers composited near to far."""
    color = shade_texels(values, rows, light, table, model, rows.shadow)
    if values.shape[-1] <= ALPHA.start:
        return torch.cat([color[:, 0], torch.ones_like(color[:, 0, :1])], dim=-1)
    return composite(color, values[..., ALPHA] * rows.valid[..., None])


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


@torch.no_grad()
def add_smoothness_gradient_(gradient: torch.Tensor, texels: torch.Tensor, weight: torch.Tensor) -> None:
    """Add to `gradient` that of the smoothness term of texels, both [R, R, C], in place; weight [C].

    The term is weight / min(R, 512)^2 * the sum over texels of e^2 (sqrt(1 + (d / e)^2) - 1) over the steps d to the right and
    lower neighbour (Charbonnier): quadratic for small steps, so noise is averaged, and linear for large ones, so edges stay.
    """
    scale = weight / min(texels.shape[0] * texels.shape[1], _PRIOR_TEXELS)
    for step, near, far in (
        (texels[1:] - texels[:-1], gradient[:-1], gradient[1:]),
        (texels[:, 1:] - texels[:, :-1], gradient[:, :-1], gradient[:, 1:]),
    ):
        slope = step * scale / (1 + (step / _EDGE).square()).sqrt()
        near -= slope
        far += slope


class TableFit:
    """State of one fit: the maps, the batches of the current size and the optimiser."""

    def __init__(self, table: SampleTable, light: EnvironmentLight, plan: FitPlan, seed: int = 0) -> None:
        self.plan, self.light, self.table = plan, light, table
        device = table.color.device
        self.ggx = ggx_table(device)
        with torch.no_grad():
            self.prefiltered: PrefilteredLight = light.build_mips()
        self.light_optimizer = None
        if plan.learn_light:
            self.light_optimizer = torch.optim.Adam([light.base], lr=plan.light_learning_rate, betas=(0.9, 0.99))
        generator = torch.Generator().manual_seed(seed)
        self.order = torch.randperm(len(table), generator=generator).to(device)
        self.maps = initial_maps(plan.resolution >> (plan.stages - 1), plan.fit_alpha, device=device)
        self.iteration = 0

    def set_resolution(self, resolution: int, batch: int) -> None:
        """Bring the maps to a size, and work out batches of about `batch` pixels and their taps."""
        if resolution != self.maps.resolution:
            self.maps = self.maps.resized(resolution)
        self.levels = mip_count(resolution)
        count = max(1, round(len(self.table) / batch))
        self.batch_rows = [_sorted_by_texel(self.table, part) for part in self.order.chunk(count)]
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
        if self.light_optimizer is not None:
            self.light_optimizer.zero_grad(set_to_none=True)
            self.prefiltered = self.light.build_mips()
        prediction = shade_samples(self.values(taps, rows), rows, self.prefiltered, self.ggx, self.plan.model)
        loss = fit_loss(prediction, rows)
        if self.light_optimizer is not None:
            loss = loss + self.plan.white_balance * self.light.regularizer()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.light_optimizer is not None:
            self.light_optimizer.param_groups[0]["lr"] = (
                self.plan.light_learning_rate * learning_rate / self.plan.learning_rate
            )
            self.light_optimizer.step()
            self.light.clamp_(0.0)
        self._add_priors_()
        self._freeze_unfitted()
        self.optimizer.param_groups[0]["lr"] = learning_rate
        self.optimizer.step()
        project_(self.texels.data)
        self.iteration += 1
        return loss.detach()

    @torch.no_grad()
    def _add_priors_(self) -> None:
        gradient, texels, plan = self.texels.grad, self.texels.data, self.plan
        weights = (plan.smooth_kd,) * 3 + (plan.smooth_ks,) * 2 + (plan.smooth_normal,) * 3
        weights = weights + (plan.smooth_kd,) * (texels.shape[2] - NORMAL.stop)
        add_smoothness_gradient_(gradient, texels, torch.tensor(weights).to(texels))
        scale = plan.metallic_prior / (texels.shape[0] * texels.shape[1])
        gradient[..., METALLIC] += scale * (1 - 2 * texels[..., METALLIC])

    def _freeze_unfitted(self) -> None:
        if not self.plan.fit_normal:
            self.texels.grad[..., NORMAL] = 0
        if not self.plan.fit_ks:
            self.texels.grad[..., ROUGHNESS.start : METALLIC.stop] = 0

    def run(self, held_out: SampleTable | None, on_step: Callable[[FitStatus], None]) -> list[FitStatus]:
        """Run the whole plan; `on_step` hears of every iteration; returns the states at which the error was measured.

        The last size ends early when the held-out error has stopped falling.
        """
        plan, history, started = self.plan, [], time.perf_counter()
        lengths = stage_lengths(plan.iterations, plan.stages)
        total = sum(lengths)
        decay = math.log(plan.final_learning_rate / plan.learning_rate)
        batches = [plan.batch >> (plan.stages - 1 - stage) for stage in range(plan.stages)]
        preparation = _PREPARATION * len(self.table)
        work = sum(preparation + length * batch for length, batch in zip(lengths, batches, strict=True))
        done = 0.0
        for stage, (length, batch) in enumerate(zip(lengths, batches, strict=True)):
            self.set_resolution(plan.resolution >> (plan.stages - 1 - stage), batch)
            done += preparation
            held_taps = _taps(held_out, self.maps.resolution, self.levels) if held_out is not None else None
            best, best_iteration = -math.inf, self.iteration
            for _ in range(length):
                self.step(plan.learning_rate * math.exp(decay * self.iteration / total))
                psnr = None
                if held_out is not None and (self.iteration % _MEASURE_EVERY == 0 or self.iteration == total):
                    psnr = float(-10 * torch.log10(self.error(held_out, held_taps).mean()))
                done += batch
                elapsed, fraction = time.perf_counter() - started, done / work
                left = elapsed * (1 - fraction) / fraction
                status = FitStatus(self.iteration, fraction, self.maps.resolution, psnr, elapsed, left)
                on_step(status)
                if psnr is None:
                    continue
                history.append(status)
                if psnr > best + _LEAST_GAIN_DB:
                    best, best_iteration = psnr, self.iteration
                elif stage == len(lengths) - 1 and self.iteration - best_iteration >= _PATIENCE:
                    break
            self.maps = MaterialMaps(self.texels.detach())
        return history

    @torch.no_grad()
    def error(self, rows: SampleTable, taps: Taps) -> torch.Tensor:
        """Squared sRGB error of each pixel, [P, 3], colours clipped to 0..1."""
        prediction = shade_samples(self.values(taps, rows), rows, self.prefiltered, self.ggx, self.plan.model)
        return (linear_to_srgb(prediction[:, :3]).clamp(max=1) - linear_to_srgb(rows.color).clamp(max=1)).square()

    def psnr_by_view(self, rows: SampleTable) -> list[float]:
        """sRGB PSNR in dB over the rows' pixels, one for each view among them, in order of the views."""
        error = self.error(rows, _taps(rows, self.maps.resolution, self.levels)).mean(-1)
        views = torch.unique(rows.view_index)
        return [float(-10 * torch.log10(error[rows.view_index == view].mean())) for view in views]


def _sorted_by_texel(table: SampleTable, index: torch.Tensor) -> SampleTable:
    """Rows in the order of their place in the texture, so that neighbours in a batch read the same cache lines."""
    uv = table.uv[index, 0]
    cell = (torch.remainder(uv[:, 1], 1) * 1024).long() * 1024 + (torch.remainder(uv[:, 0], 1) * 1024).long()
    return table.rows(index[torch.argsort(cell)])


def _taps(rows: SampleTable, resolution: int, levels: int) -> Taps:
    level = torch.log2((rows.footprint * resolution).clamp(min=1e-6))
    return trilinear_taps(rows.uv.reshape(-1, 2), level.reshape(-1), resolution, levels)


def stage_lengths(iterations: int, stages: int) -> list[int]:
    """Iterations at each size: early ones are cheap and settle metallic and roughness, so they get more."""
    weights = [1.25**-stage for stage in range(stages)]
    return [max(1, round(iterations * weight / sum(weights))) for weight in weights]
