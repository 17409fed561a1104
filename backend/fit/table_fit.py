"""The fit: textures that make the split-sum render of every sample match its reference.

Coarse to fine: the maps start small and double. At each size Adam steps through a few fixed batches of the samples, whose
rows are sorted by texel (`backend.fit.steps`). The iterations use no rasterizer and make no new tables.
`backend.fit.objective` says what the fit minimizes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace

import torch

from backend.fit.baked_start import BakedStart, carried_over
from backend.fit.balance import first_priors, rebalance_, split_views, two_valued_of
from backend.fit.differences import with_lobes, with_shading
from backend.fit.dilation import fill_gaps, sampled_texels
from backend.fit.fit_plan import FitPlan, learning_rate_at, stage_lengths
from backend.fit.fused_light_optimizer import FusedLight, can_fuse_light
from backend.fit.held_out import LEAST_GAIN_DB, Best, HeldOutMeter, Pace
from backend.fit.light_optimizer import LightOptimizer
from backend.fit.memory import BEST, FitMemory, copies, live_tensors, put_back
from backend.fit.objective import LEAST_BOUND, bound_of, shade_samples
from backend.fit.sample_table import SampleTable, StepRows, step_rows
from backend.fit.state import FitState, StepPlan, adam, level_of_detail
from backend.fit.steps import CapturedSteps, Steps, TapSteps, arranged, taps_of
from backend.fit.view_lights import ViewLights
from render.bsdf.ggx import ggx_table
from render.core.color import linear_to_srgb
from render.core.kernels import has_triton
from render.light.environment import EnvironmentLight
from render.material.material import MaterialMaps, initial_maps, project_
from render.shading.kernels.fused_samples import can_fuse, fused_sample_error, fused_sample_gradients
from render.texture.fixed_lookup import Taps, lookup, mip_count, pyramid
from render.texture.kernels.texture_lookup import lookup_at

_MEASURE_EVERY = 20
# The host launches a measurement kernel by kernel; it takes longer than a few iterations.
_MEASURE_EVERY_ON_GPU = 50
# The views that are kept back are asked for the priors' weights as often as this, with this share of a batch.
_ASK_EVERY = 25
_SHARE_ASKED = 4
# Iterations between two marks at which the host waits for a GPU.
_STRIDE = 32
# To compute the taps of one sample takes as long as this many samples of an iteration (2 s for 1.8 million, 2 cores).
PREPARATION = 0.7
# This share of the plan's iterations may pass without a gain: the learning rate must have time to fall.
_PATIENCE = 0.2


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

    def __init__(
        self,
        table: SampleTable | StepRows,
        light: EnvironmentLight,
        plan: FitPlan,
        seed: int = 0,
        start: BakedStart | None = None,
        others: Sequence[EnvironmentLight] = (),
        light_of_view: Mapping[int, int] | None = None,
        differs: bool = False,
    ) -> None:
        """start: of the plan's resolution; None: an even gray surface, of which nothing is known.

        others: known lights besides `light`, numbered from 1; light_of_view: the number of the light of views that have
        another than `light`. differs: the colors of all rows are differences from the start (`backend.fit.differences`),
        and no light is learned.
        """
        self.plan, self.light, self.start, self._differs = plan, light, start, differs
        device = table.color.device
        generator = torch.Generator(device).manual_seed(seed)
        fitted, kept_back = split_views(table, max(1, plan.batch // _SHARE_ASKED), generator)
        rows = step_rows(table)
        self.table = rows.rows(fitted) if len(kept_back) else rows
        self.kept_back: StepRows | None = rows.rows(kept_back) if len(kept_back) else None
        # To compute the taps as they are read needs a kernel.
        self._captures = device.type == "cuda" and has_triton(device)
        self.ggx = ggx_table(device)
        with torch.no_grad():
            start_light = light.build_mips()
            known = [other.build_mips() for other in others]
        self._lights = ViewLights([None if plan.learn_light else start_light, *known], light_of_view)
        self.order = torch.randperm(len(self.table), generator=generator, device=device)
        if self._captures and len(self.table):
            self.table = arranged(self.table, self.order, max(1, plan.batch >> (plan.stages - 1)))
        first_resolution = plan.resolution >> (plan.stages - 1)
        self.maps = (
            initial_maps(first_resolution, plan.fit_alpha, device=device)
            if start is None
            else MaterialMaps(start.at(first_resolution).texels.clone())
        )
        self._fuses = (
            self._captures
            and can_fuse(
                self.maps.texels.view(-1, self.maps.texels.shape[2]), start_light, plan.model, rows.valid.shape[1]
            )
            and (not plan.learn_light or can_fuse_light(light))
            and (start is None or start.lobes is None)
        )
        self._light_optimizer: LightOptimizer | FusedLight | None = None
        if plan.learn_light:
            self._light_optimizer = FusedLight(light) if self._fuses else LightOptimizer(light)
        two_valued = two_valued_of(start)
        self._first_priors = first_priors(self.maps.texels.shape[2], device, two_valued)
        self.priors = first_priors(self.maps.texels.shape[2], device, two_valued)
        self.bound = torch.full((), LEAST_BOUND, device=device)
        self.iteration = self._stage = self._within = 0
        self._best = Best()

    def set_resolution(self, resolution: int, batch: int) -> None:
        """Resize the maps, and prepare iterations of about `batch` pixels each."""
        if resolution != self.maps.resolution:
            start = self.start
            self.maps = self.maps.resized(resolution) if start is None else carried_over(self.maps, start, resolution)
        texels = self.maps.texels.requires_grad_(True)
        priors = self.priors
        if self.start is not None:
            known = self.start.at(resolution)
            priors = priors.at_start(known.texels, known.stiffness)
        step_plan = StepPlan(**{f.name: getattr(self.plan, f.name) for f in fields(StepPlan)})
        if len(self._lights.known) > 1:  # known lights tell the colors of the surface and of a learned light apart
            step_plan = replace(step_plan, white_balance=0.0)
        # What the iterations at the last size hold goes before those at the next one take as much.
        vars(self).pop("steps", None)
        self._asked: list[tuple[int, StepRows, Taps | None]] = []
        self.state = FitState(
            texels=texels,
            levels=mip_count(resolution),
            light=self.light,
            lights=self._lights,
            ggx=self.ggx,
            plan=step_plan,
            priors=priors,
            optimizer=adam(texels),
            light_optimizer=self._light_optimizer if isinstance(self._light_optimizer, LightOptimizer) else None,
            fused_light=self._light_optimizer if isinstance(self._light_optimizer, FusedLight) else None,
            bound=self.bound,
            white_balance=torch.zeros((), device=texels.device),
            fuses=self._fuses,
        )
        table = self._whole(self.table)
        self.steps: Steps = (
            CapturedSteps(self.state, table, batch)
            if self._captures
            else TapSteps(self.state, table, self.order, batch)
        )
        self._asked = [] if self.kept_back is None else self._by_light(self._whole(self.kept_back))

    def step(self, learning_rate: float) -> torch.Tensor:
        """Run one iteration. Returns its loss, a scalar on the device, without waiting for it."""
        self.iteration += 1
        return self.steps.step(learning_rate)

    def run(self, held_out: SampleTable | None, on_step: Callable[[FitStatus], None]) -> list[FitStatus]:
        """Run the plan, or what `resume` left of it, and call `on_step` after every iteration. Returns the measured states.

        The last size ends early when the held-out error has stopped falling, and keeps the maps with the lowest error.
        On a GPU an error is known only some iterations after it was measured.
        """
        plan, started = self.plan, time.perf_counter()
        history: list[FitStatus] = []
        lengths = stage_lengths(plan.iterations, plan.stages)
        total = sum(lengths)
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
            done += preparation
            if stage < self._stage:
                done += length * batch
                continue
            if stage > self._stage or not self._within:
                self._stage, self._within, self._best = stage, 0, Best()
                self.set_resolution(self._resolution(stage), batch)
            done += self._within * batch
            is_last = stage == len(lengths) - 1
            meter = None if held_out is None else HeldOutMeter(self._judge(held_out))
            best = self._best
            while self._within < length:
                self._within += 1
                self.step(learning_rate_at(plan, self.iteration))
                pace.keep(self.iteration)
                done += batch
                if self.iteration % _ASK_EVERY == 0:
                    self._rebalance()
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
                self.end()
            self.maps = MaterialMaps(self.state.texels.detach())
        return history

    def remember(self) -> FitMemory:
        """All that `resume` needs, copied. For `on_step`."""
        arrays = copies(self._live_tensors())
        arrays |= copies({f"{BEST}{number}": tensor for number, tensor in enumerate(self._best.kept)})
        numbers = self._best.numbers() | {"place": self.steps.place}
        return FitMemory(self.iteration, self._stage, self._within, numbers, arrays)

    def resume(self, memory: FitMemory) -> None:
        """Be as another fit of the same rows and plan was; call this before `run`. Raises ValueError for another fit's memory."""
        plan, resolution = self.plan, self._resolution(memory.stage)
        memory.check_place(stage_lengths(plan.iterations, plan.stages))
        self.maps = MaterialMaps(memory.maps_like(self.maps.texels, resolution))
        self.set_resolution(resolution, plan.batch >> (plan.stages - 1 - memory.stage))
        live = self._live_tensors()
        put_back(live, memory.arrays)
        self._best.resume(memory.numbers, memory.best_like(live))
        self.steps.resume(int(memory.numbers.get("place", -1)))
        self.iteration, self._stage, self._within = memory.iteration, memory.stage, memory.within

    def _live_tensors(self) -> dict[str, torch.Tensor]:
        return live_tensors(self.state, self.steps.moments())

    def _resolution(self, stage: int) -> int:
        return self.plan.resolution >> (self.plan.stages - 1 - stage)

    def _rebalance(self) -> None:
        """Ask the views that are kept back how much the priors should weigh."""
        if not self._asked:
            return
        state = self.state
        texels = state.texels.detach().requires_grad_(True)
        gradient, loss = torch.zeros_like(state.texels), torch.zeros((), device=texels.device)
        total = sum(len(rows) for _, rows, _ in self._asked)
        for number, rows, taps in self._asked:
            found, own = self._gradient(texels, rows, taps, number)
            gradient += found * (len(rows) / total)
            loss += own * (len(rows) / total)
        self.bound.copy_(bound_of(loss))
        squared = self.steps.squared_gradients()
        if squared is not None:
            times = self.plan.iterations // _ASK_EVERY
            rebalance_(state.priors, self._first_priors, texels.detach(), gradient, squared, times)

    def _gradient(
        self, texels: torch.Tensor, rows: StepRows, taps: Taps | None, number: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The gradient [R, R, C] of the loss of rows under the light of this number, and the loss."""
        state = self.state
        levels = pyramid(texels, state.levels)
        with torch.no_grad():
            light = state.prefiltered(number)
        if self._fuses:
            found = fused_sample_gradients(
                levels.detach(), rows.uv, level_of_detail(rows, state.resolution), state.resolution, state.levels,
                rows.normal, rows.tangent, rows.sign, rows.view, rows.color, rows.alpha,
                light, self.ggx, self.plan.model, state.bound, rows.shadow,
            )  # fmt: skip
            (gradient,) = torch.autograd.grad(levels, texels, found.texels)
            return gradient, found.loss.detach()
        loss = state.loss_of_values(self._read(levels, rows, taps), rows, light)
        (gradient,) = torch.autograd.grad(loss, texels)
        return gradient, loss.detach()

    def _whole(self, rows: StepRows) -> StepRows:
        """The rows with what is known to lie over the base, and the colors that the maps of the current size are to show."""
        if self.start is None:
            return rows
        known = self.start.at(self.state.resolution)
        rows = with_lobes(rows, known)
        return with_shading(rows, known, self._lights, self.plan.model) if self._differs else rows

    def _by_light(self, rows: StepRows) -> list[tuple[int, StepRows, Taps | None]]:
        """The rows of each light, with its number, and their taps where those are worth keeping."""
        parts = [(number, rows.rows(own)) for number, own in self._lights.parts(rows)]
        return [(number, own, self._taps(own)) for number, own in parts]

    def _copies(self) -> tuple[torch.Tensor, ...]:
        """The current maps, and the current light where it is learned."""
        texels = self.state.texels.detach().clone()
        return (texels, self.light.base.detach().clone()) if self.plan.learn_light else (texels,)

    @torch.no_grad()
    def _restore(self, best: Best) -> None:
        """Go back to the best of the measured states where the last one is worse."""
        if best.lead > LEAST_GAIN_DB:
            self.state.texels.copy_(best.kept[0])
            if self.plan.learn_light:
                self.light.base.copy_(best.kept[1])

    def go_back(self) -> bool:
        """Be as the best of the measured states was. Returns whether there is one."""
        self._best.latest_db = -math.inf
        self._restore(self._best)
        return bool(self._best.kept)

    @torch.no_grad()
    def end(self) -> None:
        """Make the texels that no sample falls into as smooth as their neighbors; where there is a start, they stay like it."""
        if self.start is None:
            sampled = sampled_texels(self.table.uv[self.table.valid], self.state.resolution)
            texels = fill_gaps(self.state.texels, sampled)
            project_(texels)
            self.state.texels.copy_(texels)
        self.maps = MaterialMaps(self.state.texels.detach())

    def _judge(self, held_out: SampleTable) -> Callable[[], torch.Tensor]:
        """A function that computes the mean squared error of the held-out rows at the current size of the maps."""
        parts, state = self._by_light(self._whole(step_rows(held_out))), self.state

        def error_of(number: int, rows: StepRows, taps: Taps | None) -> torch.Tensor:
            if not self._fuses:
                return self._error(rows, taps, number).mean()
            return fused_sample_error(
                pyramid(state.texels.detach(), state.levels), rows.uv, level_of_detail(rows, state.resolution),
                state.resolution, state.levels, rows.normal, rows.tangent, rows.sign, rows.view, rows.color,
                state.prefiltered(number), self.ggx, self.plan.model, rows.shadow,
            )  # fmt: skip

        def error() -> torch.Tensor:
            total = torch.zeros((), device=state.texels.device)
            with torch.no_grad():
                for number, rows, taps in parts:
                    total += error_of(number, rows, taps) * (len(rows) / len(held_out))
            return total

        return error

    def _taps(self, rows: SampleTable | StepRows) -> Taps | None:
        """The taps of rows, where those are worth keeping."""
        return None if self._captures else taps_of(rows, self.state.resolution, self.state.levels)

    def values(self, rows: SampleTable | StepRows, taps: Taps | None = None) -> torch.Tensor:
        """Material values [P, K, C] at the rows."""
        read = self._read(pyramid(self.state.texels, self.state.levels), rows, taps)
        return read.reshape(*rows.valid.shape, -1)

    def _read(self, levels: torch.Tensor, rows: SampleTable | StepRows, taps: Taps | None) -> torch.Tensor:
        """What rows read of the maps' pyramid, [P * K, C]; `taps` of theirs where there are any."""
        if taps is not None:
            return lookup(levels, taps)
        level, state = level_of_detail(rows, self.state.resolution), self.state
        return lookup_at(levels, rows.uv.reshape(-1, 2), level, state.resolution, state.levels)

    @torch.no_grad()
    def error(self, rows: SampleTable | StepRows) -> torch.Tensor:
        """Squared sRGB error of each pixel, [P, 3], with colors clipped to 0..1."""
        rows = self._whole(step_rows(rows))
        found = torch.zeros_like(rows.color)
        for number, own in self._lights.parts(rows):
            found[own] = self._error(rows.rows(own), None, number)
        return found

    def _error(self, rows: StepRows, taps: Taps | None, number: int) -> torch.Tensor:
        light = self.state.prefiltered(number)
        prediction = shade_samples(self.values(rows, taps), rows, light, self.ggx, self.plan.model)
        return (linear_to_srgb(prediction[:, :3]).clamp(max=1) - linear_to_srgb(rows.color).clamp(max=1)).square()

    def psnr_by_view(self, rows: SampleTable | StepRows) -> list[float]:
        """The sRGB PSNR in dB of each view over its pixels among the rows, in order of the views."""
        error = self.error(rows).mean(-1)
        views = torch.unique(rows.view_index)
        return [float(-10 * torch.log10(error[rows.view_index == view].mean().clamp(min=1e-10))) for view in views]
