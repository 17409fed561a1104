"""The fit: textures that make the split-sum render of every sample match its reference.

Coarse to fine: the maps start small and double. At each size Adam steps through a few fixed batches of the samples, whose
rows are sorted by texel (`backend.fit.steps`). The iterations use no rasterizer and make no new tables.
`backend.fit.objective` says what the fit minimizes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace

import torch

from backend.fit.asked_views import AskedViews, LitRows
from backend.fit.baked_start import BakedStart, carried_over
from backend.fit.balance import first_priors, two_valued_of
from backend.fit.differences import with_lobes, with_shading
from backend.fit.dilation import fill_gaps, sampled_texels
from backend.fit.fit_plan import FitPlan, learning_rate_at, stage_lengths
from backend.fit.fit_rows import FitRows, bands_of, fit_rows, parts_of, shares_of
from backend.fit.fit_status import FitStatus
from backend.fit.fused_light_optimizer import FusedLight, can_fuse_light
from backend.fit.held_out import LEAST_GAIN_DB, Best, HeldOutMeter, Pace
from backend.fit.judged_views import JudgedViews, squared_error
from backend.fit.light_optimizer import LightOptimizer
from backend.fit.memory import BEST, FitMemory, copies, live_tensors, put_back
from backend.fit.objective import LEAST_BOUND
from backend.fit.sample_table import SampleTable, StepRows, step_rows
from backend.fit.state import FitState, StepPlan, adam
from backend.fit.steps import CapturedSteps, Steps, TapSteps, arranged, taps_of
from backend.fit.team import ALONE, Team
from backend.fit.view_lights import ViewLights
from render.bsdf.ggx import ggx_table
from render.core.kernels import has_triton
from render.light.environment import EnvironmentLight
from render.material.material import MaterialMaps, initial_maps, project_
from render.shading.kernels.fused_samples import can_fuse
from render.texture.fixed_lookup import Taps, mip_count, pyramid
from render.texture.map_size import Size, map_size

_MEASURE_EVERY = 20
# The host launches a measurement kernel by kernel; it takes longer than a few iterations.
_MEASURE_EVERY_ON_GPU = 50
# Smaller maps one GPU fits as fast as two, which tell each other something in each iteration (H100: 0.55 and 0.59 ms at 1024).
_LEAST_SHARED_ON_GPU = 2048
# The views that are kept back are asked for the priors' weights as often as this.
_ASK_EVERY = 25
# Iterations between two marks at which the host waits for a GPU.
_STRIDE = 32
# To compute the taps of one sample takes as long as this many samples of an iteration (2 s for 1.8 million, 2 cores).
PREPARATION = 0.7
# This share of the plan's iterations may pass without a gain: the learning rate must have time to fall.
_PATIENCE = 0.2


class TableFit:
    """One fit: the maps, the light, and the iterations at the current size."""

    def __init__(
        self,
        table: SampleTable | StepRows | FitRows,
        light: EnvironmentLight,
        plan: FitPlan,
        seed: int = 0,
        start: BakedStart | None = None,
        others: Sequence[EnvironmentLight] = (),
        light_of_view: Mapping[int, int] | None = None,
        differs: bool = False,
        team: Team = ALONE,
    ) -> None:
        """start: of the plan's resolution; None: an even gray surface, of which nothing is known.

        others: known lights besides `light`, numbered from 1; light_of_view: the number of the light of views that have
        another than `light`. differs: the colors of all rows are differences from the start (`backend.fit.differences`),
        and no light is learned.

        team: the processes that share the fit, of which this one leads (`backend.fit.shared_fit`), or has been told its rows.
        """
        self.plan, self.light, self.start, self._differs = plan, light, start, differs
        device = light.base.device
        generator = torch.Generator(device).manual_seed(seed)
        # To compute the taps as they are read needs a kernel.
        self._captures = device.type == "cuda" and has_triton(device)
        rows = table if isinstance(table, FitRows) else fit_rows(table, plan.batch, generator)
        pays = team.leads_others and (plan.resolution.edge >= _LEAST_SHARED_ON_GPU or not self._captures)
        shares = shares_of(rows, bands_of(team, plan.resolution), plan.batch) if pays else None
        if shares is not None:
            told = {"light": light, "plan": plan, "seed": seed, "start": start, "others": list(others)}
            told |= {"light_of_view": dict(light_of_view or {}), "differs": differs}
            team.tell_each("begin", [({"table": own} | told,) for own in shares[1:]])
            rows = shares[0]
        self._team = team if shares is not None or isinstance(table, FitRows) else ALONE
        self._rows, self.table = rows, rows.fitted
        self.ggx = ggx_table(device)
        with torch.no_grad():
            start_light = light.build_mips()
            known = [other.build_mips() for other in others]
        self._lights = ViewLights([None if plan.learn_light else start_light, *known], light_of_view)
        self.order = torch.randperm(len(self.table), generator=generator, device=device)
        if self._captures and len(self.table):
            self.table = arranged(self.table, self.order, self._own_batch(plan.batch >> (plan.stages - 1)))
        first_resolution = plan.size_of(0)
        self.maps = (
            initial_maps(first_resolution, plan.fit_alpha, device=device)
            if start is None
            else MaterialMaps(start.at(first_resolution).texels.clone())
        )
        self._fuses = (
            self._captures
            and can_fuse(
                self.maps.texels.view(-1, self.maps.texels.shape[2]), start_light, plan.model, self.table.valid.shape[1]
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
        self._held_out, self._held_out_in_all = self.table.rows(self.order[:0]), 0

    def _own_batch(self, batch: int) -> int:
        """How many pixels of a batch are this process's."""
        return max(1, round(batch * self._rows.share))

    def set_resolution(self, resolution: Size, batch: int) -> None:
        """Resize the maps, and prepare iterations of about `batch` pixels each."""
        self._team.tell("set_resolution", resolution, batch)
        size = map_size(resolution)
        if size != self.maps.resolution:
            start = self.start
            self.maps = self.maps.resized(size) if start is None else carried_over(self.maps, start, size)
        texels = self.maps.texels.detach().requires_grad_(True)
        priors = self.priors
        if self.start is not None:
            known = self.start.at(size)
            priors = priors.at_start(known.texels, known.stiffness)
        step_plan = StepPlan(**{f.name: getattr(self.plan, f.name) for f in fields(StepPlan)})
        if len(self._lights.known) > 1:  # known lights tell the colors of the surface and of a learned light apart
            step_plan = replace(step_plan, white_balance=0.0)
        # What the iterations at the last size hold goes before those at the next one take as much.
        vars(self).pop("steps", None)
        self._asked: AskedViews | None = None
        self._judged: JudgedViews | None = None
        self._copy_leaders(texels)
        self.state = FitState(
            texels=texels,
            levels=mip_count(size),
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
            team=self._team,
            share=self._rows.share,
        )
        table, own_batch = self._whole(self.table), self._own_batch(batch)
        self.steps: Steps = (
            CapturedSteps(self.state, table, own_batch)
            if self._captures
            else TapSteps(self.state, table, self.order, own_batch)
        )
        if self._rows.kept_back_in_all:
            kept_back = self._by_light(self._whole(self._rows.kept_back))
            self._asked = AskedViews(self.state, kept_back, self._rows.kept_back_in_all, self._first_priors)

    @torch.no_grad()
    def _copy_leaders(self, texels: torch.Tensor) -> None:
        """Begin a size as the leader of the team does: with its maps, light, priors and bound."""
        priors, light = self.priors, self._light_optimizer
        self._team.copy_leaders(texels.detach(), self.bound, priors.smooth, priors.two_valued, priors.pull)
        if light is not None:
            self._team.copy_leaders(self.light.base.detach(), *light.tensors().values())
            if isinstance(light, FusedLight):
                light.refresh()

    def step(self, learning_rate: float) -> torch.Tensor:
        """Run one iteration. Returns its loss, a scalar on the device, without waiting for it."""
        self._team.tell("step", learning_rate)
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
        if held_out is not None:
            self._share_held_out(step_rows(held_out))

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
                self.set_resolution(plan.size_of(stage), batch)
            done += self._within * batch
            is_last = stage == len(lengths) - 1
            meter = None if held_out is None else HeldOutMeter(self.measure)
            best = self._best
            while self._within < length:
                self._within += 1
                self.step(learning_rate_at(plan, self.iteration))
                pace.keep(self.iteration)
                done += batch
                if self.iteration % _ASK_EVERY == 0:
                    self.rebalance()
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
                self.collect()
                self._restore(best)
                self.end()
            self.maps = MaterialMaps(self.state.texels.detach())
        return history

    def remember(self) -> FitMemory:
        """All that `resume` needs, copied. For `on_step`."""
        self.collect(with_moments=True)
        arrays = copies(self._live_tensors())
        arrays |= copies({f"{BEST}{number}": tensor for number, tensor in enumerate(self._best.kept)})
        numbers = self._best.numbers() | {"place": self.steps.place}
        return FitMemory(self.iteration, self._stage, self._within, numbers, arrays)

    def resume(self, memory: FitMemory) -> None:
        """Be as another fit of the same rows and plan was; call this before `run`. Raises ValueError for another fit's memory."""
        plan, resolution = self.plan, self.plan.size_of(memory.stage)
        memory.check_place(stage_lengths(plan.iterations, plan.stages))
        self.maps = MaterialMaps(memory.maps_like(self.maps.texels, resolution))
        self.set_resolution(resolution, plan.batch >> (plan.stages - 1 - memory.stage))
        live = self._live_tensors()
        put_back(live, memory.arrays)
        self._best.resume(memory.numbers, memory.best_like(live))
        self.take_over(int(memory.numbers.get("place", -1)))
        self.iteration, self._stage, self._within = memory.iteration, memory.stage, memory.within

    def _live_tensors(self) -> dict[str, torch.Tensor]:
        return live_tensors(self.state, self.steps.moments())

    def take_over(self, place: int) -> None:
        """Go on with a batch, and with what the leader's iterations change. Raises ValueError for no batch."""
        self.steps.resume(place)
        self._team.tell("take_over", place)
        self._team.copy_leaders(*self._live_tensors().values())
        self.steps.resume(place)

    def rebalance(self) -> None:
        """Ask the views that are kept back how much the priors should weigh."""
        self._team.tell("rebalance")
        if self._asked is not None:
            self._asked.ask(self.steps, self.plan.iterations // _ASK_EVERY)

    def collect(self, with_moments: bool = False) -> None:
        """Have the maps whole, of which each process of a team steps its own rows; with_moments: and what Adam keeps."""
        band = self.state.band
        if band is None:
            return
        self._team.tell("collect", with_moments)
        for tensor in [self.state.texels.detach(), *(self.steps.moments().values() if with_moments else ())]:
            if tensor.ndim == 3:
                self._team.collect(tensor, band)

    def _whole(self, rows: StepRows) -> StepRows:
        """The rows with what is known to lie over the base, and the colors that the maps of the current size are to show."""
        if self.start is None:
            return rows
        known = self.start.at(self.state.resolution)
        rows = with_lobes(rows, known)
        return with_shading(rows, known, self._lights, self.plan.model) if self._differs else rows

    def _by_light(self, rows: StepRows) -> list[LitRows]:
        """The rows of each light, with their taps where those are worth keeping."""
        parts = [(number, rows.rows(own)) for number, own in self._lights.parts(rows)]
        return [LitRows(number, own, self._taps(own)) for number, own in parts if len(own)]

    def _copies(self) -> tuple[torch.Tensor, ...]:
        """The current maps, and the current light where it is learned."""
        self.collect()
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
        """Make the texels that no sample falls into as smooth as their neighbors; where there is a start, they stay like it.

        Of a team's maps, `collect` them first.
        """
        self._team.tell("end")
        if self.start is None:
            sampled = sampled_texels(self.table.uv[self.table.valid], self.state.resolution).float()
            self._team.add_up(sampled)
            texels = fill_gaps(self.state.texels, sampled > 0)
            project_(texels)
            self.state.texels.copy_(texels)
        self.maps = MaterialMaps(self.state.texels.detach())

    def read_texels(self) -> torch.Tensor:
        """The rows of the pyramid that any sample reads, bool [T]."""
        self._team.tell("read_texels")
        read = self.steps.read_texels().float()
        self._team.add_up(read)
        return read > 0

    def _share_held_out(self, rows: StepRows) -> None:
        parts = parts_of(rows, bands_of(self._team, self.plan.resolution)) if self._team.size > 1 else [rows]
        self._team.tell_each("take_held_out", [(part, len(rows)) for part in parts[1:]])
        self.take_held_out(parts[0], len(rows))

    def take_held_out(self, rows: StepRows, in_all: int) -> None:
        """The held-out rows of this process, of so many in all."""
        self._held_out, self._held_out_in_all = rows, in_all

    def measure(self) -> torch.Tensor:
        """The mean squared error of the held-out rows, a scalar on the device."""
        self._team.tell("measure")
        if self._judged is None:
            self._judged = JudgedViews(self.state, self._by_light(self._whole(self._held_out)), self._held_out_in_all)
        return self._judged.error(self.steps.pyramid_rows())

    def _taps(self, rows: SampleTable | StepRows) -> Taps | None:
        """The taps of rows, where those are worth keeping."""
        return None if self._captures else taps_of(rows, self.state.resolution, self.state.levels)

    def values(self, rows: SampleTable | StepRows, taps: Taps | None = None) -> torch.Tensor:
        """Material values [P, K, C] at the rows."""
        read = self.state.read(pyramid(self.state.texels, self.state.levels), rows, taps)
        return read.reshape(*rows.valid.shape, -1)

    @torch.no_grad()
    def error(self, rows: SampleTable | StepRows) -> torch.Tensor:
        """Squared sRGB error of each pixel, [P, 3], with colors clipped to 0..1."""
        rows, levels = self._whole(step_rows(rows)), pyramid(self.state.texels, self.state.levels)
        found = torch.zeros_like(rows.color)
        for number, own in self._lights.parts(rows):
            found[own] = squared_error(self.state, levels, rows.rows(own), number)
        return found

    def psnr_by_view(self, rows: SampleTable | StepRows) -> list[float]:
        """The sRGB PSNR in dB of each view over its pixels among the rows, in order of the views."""
        error = self.error(rows).mean(-1)
        views = torch.unique(rows.view_index)
        return [float(-10 * torch.log10(error[rows.view_index == view].mean().clamp(min=1e-10))) for view in views]
