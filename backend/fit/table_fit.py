"""The fit: textures that make the split-sum render of every sample match its reference.

Coarse to fine: the maps start small and double. At each size Adam steps through a few fixed batches of the samples, whose
rows are sorted by texel (`backend.fit.steps`). The iterations use no rasterizer and make no new tables.
`backend.fit.objective` says what the fit minimizes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, fields

import torch

from backend.fit.fused_light_optimizer import FusedLight, can_fuse_light
from backend.fit.held_out import HeldOutMeter, Measured, Pace
from backend.fit.light_optimizer import LightOptimizer
from backend.fit.objective import shade_samples
from backend.fit.sample_table import SampleTable, StepRows, step_rows
from backend.fit.state import FitState, StepPlan, adam, level_of_detail
from backend.fit.steps import CapturedSteps, Steps, TapSteps, arranged, taps_of
from render.bsdf.ggx import ggx_table
from render.core.color import linear_to_srgb
from render.core.kernels import has_triton
from render.light.environment import EnvironmentLight, PrefilteredLight
from render.material.material import MaterialMaps, initial_maps
from render.shading.kernels.fused_samples import can_fuse, fused_sample_error
from render.shading.models import ShadingModel
from render.texture.fixed_lookup import Taps, lookup, mip_count, pyramid
from render.texture.kernels.texture_lookup import lookup_at

_MEASURE_EVERY = 20
# The host launches a measurement kernel by kernel; it takes longer than a few iterations.
_MEASURE_EVERY_ON_GPU = 50
# Iterations between two marks at which the host waits for a GPU.
_STRIDE = 32
# To compute the taps of one sample takes as long as this many samples of an iteration (2 s for 1.8 million, 2 cores).
PREPARATION = 0.7
_LEAST_GAIN_DB = 0.02
# This share of the plan's iterations may pass without a gain: the learning rate must have time to fall.
_PATIENCE = 0.2


@dataclass(frozen=True)
class FitPlan:
    """How a fit goes: at most `iterations` over all sizes; the learning rate decays from the first to the last.

    The last size draws `batch` pixels an iteration, and each smaller size half as many as the next. More samples read a
    coarse texel, so fewer are enough, and many quick steps decide what kind of surface it is. The light learns at
    `light_learning_rate` times the rate of the maps.
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
    light_learning_rate: float = 1.0
    white_balance: float = 0.001


@dataclass(frozen=True)
class FitStatus:
    """Where a fit is: iteration, fraction of the plan's work, map size, held-out PSNR if just measured, seconds so far, left."""

    iteration: int
    fraction: float
    resolution: int
    psnr_db: float | None
    seconds: float
    seconds_left: float


class TableFit:
    """One fit: the maps, the light, and the iterations at the current size."""

    def __init__(self, table: SampleTable | StepRows, light: EnvironmentLight, plan: FitPlan, seed: int = 0) -> None:
        self.plan, self.light, self.table = plan, light, step_rows(table)
        device = table.color.device
        # To compute the taps as they are read needs a kernel.
        self._captures = device.type == "cuda" and has_triton(device)
        self.ggx = ggx_table(device)
        with torch.no_grad():
            start_light = light.build_mips()
        self._known_light: PrefilteredLight | None = None if plan.learn_light else start_light
        generator = torch.Generator(device).manual_seed(seed)
        self.order = torch.randperm(len(table), generator=generator, device=device)
        if self._captures and len(table):
            self.table = arranged(self.table, self.order, max(1, plan.batch >> (plan.stages - 1)))
        self.maps = initial_maps(plan.resolution >> (plan.stages - 1), plan.fit_alpha, device=device)
        self._fuses = (
            self._captures
            and can_fuse(
                self.maps.texels.view(-1, self.maps.texels.shape[2]), start_light, plan.model, table.valid.shape[1]
            )
            and (not plan.learn_light or can_fuse_light(light))
        )
        self._light_optimizer: LightOptimizer | FusedLight | None = None
        if plan.learn_light:
            self._light_optimizer = FusedLight(light, plan.white_balance) if self._fuses else LightOptimizer(light)
        self.iteration = 0

    def set_resolution(self, resolution: int, batch: int) -> None:
        """Resize the maps, and prepare iterations of about `batch` pixels each."""
        if resolution != self.maps.resolution:
            self.maps = self.maps.resized(resolution)
        texels = self.maps.texels.requires_grad_(True)
        step_plan = StepPlan(**{f.name: getattr(self.plan, f.name) for f in fields(StepPlan)})
        self.state = FitState(
            texels=texels,
            levels=mip_count(resolution),
            light=self.light,
            known_light=self._known_light,
            ggx=self.ggx,
            plan=step_plan,
            optimizer=adam(texels),
            light_optimizer=self._light_optimizer if isinstance(self._light_optimizer, LightOptimizer) else None,
            fused_light=self._light_optimizer if isinstance(self._light_optimizer, FusedLight) else None,
            fuses=self._fuses,
        )
        self.steps: Steps = (
            CapturedSteps(self.state, self.table, batch)
            if self._captures
            else TapSteps(self.state, self.table, self.order, batch)
        )

    def step(self, learning_rate: float) -> torch.Tensor:
        """Run one iteration. Returns its loss, a scalar on the device, without waiting for it."""
        self.iteration += 1
        return self.steps.step(learning_rate)

    def run(self, held_out: SampleTable | None, on_step: Callable[[FitStatus], None]) -> list[FitStatus]:
        """Run the whole plan, and call `on_step` after every iteration. Returns the states at which the error was measured.

        The last size ends early when the held-out error has stopped falling, and keeps the maps with the lowest error.
        On a GPU an error is known only some iterations after it was measured.
        """
        plan, started = self.plan, time.perf_counter()
        history: list[FitStatus] = []
        lengths = stage_lengths(plan.iterations, plan.stages)
        total = sum(lengths)
        decay = math.log(plan.final_learning_rate / plan.learning_rate)
        batches = [plan.batch >> (plan.stages - 1 - stage) for stage in range(plan.stages)]
        preparation = PREPARATION * len(self.table)
        work = sum(preparation + length * batch for length, batch in zip(lengths, batches, strict=True))
        pace = Pace(self.table.color.device, _STRIDE)
        every = _MEASURE_EVERY_ON_GPU if self._captures else _MEASURE_EVERY
        done = 0.0

        def status(iteration: int, psnr_db: float | None) -> FitStatus:
            elapsed, fraction = time.perf_counter() - started, done / work
            left = elapsed * (1 - fraction) / fraction
            return FitStatus(iteration, fraction, self.maps.resolution, psnr_db, elapsed, left)

        for stage, (length, batch) in enumerate(zip(lengths, batches, strict=True)):
            self.set_resolution(plan.resolution >> (plan.stages - 1 - stage), batch)
            done += preparation
            is_last = stage == len(lengths) - 1
            meter = None if held_out is None else HeldOutMeter(self._judge(held_out))
            best = _Best()
            for _ in range(length):
                self.step(plan.learning_rate * math.exp(decay * self.iteration / total))
                pace.keep(self.iteration)
                done += batch
                if meter is not None and (self.iteration % every == 0 or self.iteration == total):
                    meter.measure(self.iteration, self._copies() if is_last else ())
                measured = [] if meter is None else meter.finished()
                best.take(measured)
                history += [status(item.iteration, item.psnr_db) for item in measured]
                on_step(status(self.iteration, measured[-1].psnr_db if measured else None))
                if is_last and best.kept and self.iteration - best.since >= max(80, _PATIENCE * plan.iterations):
                    break
            if meter is not None:
                measured = meter.finished(every=True)
                best.take(measured)
                history += [status(item.iteration, item.psnr_db) for item in measured]
            if is_last:
                self._restore(best)
            self.maps = MaterialMaps(self.state.texels.detach())
        return history

    def _copies(self) -> tuple[torch.Tensor, ...]:
        """The current maps, and the current light where it is learned."""
        texels = self.state.texels.detach().clone()
        return (texels, self.light.base.detach().clone()) if self.plan.learn_light else (texels,)

    @torch.no_grad()
    def _restore(self, best: _Best) -> None:
        """Go back to the best of the measured states where the last one is worse."""
        if best.lead > _LEAST_GAIN_DB:
            self.state.texels.copy_(best.kept[0])
            if self.plan.learn_light:
                self.light.base.copy_(best.kept[1])

    def _judge(self, held_out: SampleTable) -> Callable[[], torch.Tensor]:
        """A function that computes the mean squared error of the held-out rows at the current size of the maps."""
        rows, taps = self._prepared(held_out)
        if not self._fuses:
            return lambda: self.error(rows, taps).mean()
        rows, state = step_rows(rows), self.state
        level = level_of_detail(rows, state.resolution)

        def error() -> torch.Tensor:
            with torch.no_grad():
                return fused_sample_error(
                    pyramid(state.texels.detach(), state.levels), rows.uv, level, state.resolution, state.levels,
                    rows.normal, rows.tangent, rows.sign, rows.view, rows.color,
                    state.prefiltered(), self.ggx, self.plan.model, rows.shadow,
                )  # fmt: skip

        return error

    def _prepared(self, rows: SampleTable | StepRows) -> tuple[SampleTable | StepRows, Taps | None]:
        """The rows, and their taps where those are worth keeping."""
        return rows, None if self._captures else taps_of(rows, self.state.resolution, self.state.levels)

    def values(self, rows: SampleTable | StepRows, taps: Taps | None = None) -> torch.Tensor:
        """Material values [P, K, C] at the rows."""
        state = self.state
        texels = pyramid(state.texels, state.levels)
        if taps is not None:
            read = lookup(texels, taps)
        else:
            level = level_of_detail(rows, state.resolution)
            read = lookup_at(texels, rows.uv.reshape(-1, 2), level, state.resolution, state.levels)
        return read.reshape(*rows.valid.shape, -1)

    @torch.no_grad()
    def error(self, rows: SampleTable | StepRows, taps: Taps | None = None) -> torch.Tensor:
        """Squared sRGB error of each pixel, [P, 3], with colors clipped to 0..1."""
        prediction = shade_samples(self.values(rows, taps), rows, self.state.prefiltered(), self.ggx, self.plan.model)
        return (linear_to_srgb(prediction[:, :3]).clamp(max=1) - linear_to_srgb(rows.color).clamp(max=1)).square()

    def psnr_by_view(self, rows: SampleTable | StepRows) -> list[float]:
        """The sRGB PSNR in dB of each view over its pixels among the rows, in order of the views."""
        error = self.error(rows).mean(-1)
        views = torch.unique(rows.view_index)
        return [float(-10 * torch.log10(error[rows.view_index == view].mean())) for view in views]


class _Best:
    """The best of the measured states, and the iteration at which it was measured."""

    def __init__(self) -> None:
        self.psnr_db, self.latest_db, self.since = -math.inf, -math.inf, 0
        self.kept: tuple[torch.Tensor, ...] = ()

    @property
    def lead(self) -> float:
        """By how many dB the best is better than the latest."""
        return self.psnr_db - self.latest_db if math.isfinite(self.latest_db) else 0.0

    def take(self, measured: list[Measured]) -> None:
        """Compare new measurements with the best."""
        for item in measured:
            self.latest_db = item.psnr_db
            if item.psnr_db > self.psnr_db + _LEAST_GAIN_DB:
                self.psnr_db, self.since, self.kept = item.psnr_db, item.iteration, item.kept


def stage_lengths(iterations: int, stages: int) -> list[int]:
    """Iterations at each size. Early sizes are cheap and decide metallic and roughness, so they get more."""
    weights = [1.25**-stage for stage in range(stages)]
    return [max(1, round(iterations * weight / sum(weights))) for weight in weights]
