"""The fit of one set of maps within a job: what it shows while it runs, how it ends early and goes on after a crash."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from backend.fit.dilation import seen_texels
from backend.fit.sample_table import SampleTable
from backend.fit.table_fit import FitPlan, FitStatus, TableFit
from backend.job.checkpoints import JobCheckpoint, RunningSet
from backend.job.control import JobControl
from backend.job.map_previews import AtlasPreviewer, MapPreviewer
from backend.job.model import FitProgress
from backend.job.tables import stop_if
from render.light.environment import EnvironmentLight
from render.material.material import MaterialMaps

# What a set gets that the artist's "finish" finds without a fit: iterations, and seconds over all such sets.
LEAST_ITERATIONS = 10
SHORT_FIT_S = 1.0
# The work of preparing a size for one row, in samples of an iteration; as `backend.fit.table_fit` counts it.
_PREPARATION = 0.7


class _FinishEarly(Exception):
    """Ends a fit from within."""


@dataclass(frozen=True)
class FittedSet:
    """What a fit leaves: maps of the plan's resolution or smaller, the texels seen bool [r, r], iterations in all and
    those of them from a checkpoint, and the held-out error: PSNR in dB by view, and rows by view.
    """

    maps: MaterialMaps
    seen: torch.Tensor
    iterations: int
    resumed_at: int
    psnr_by_view: dict[int, float]
    rows_by_view: dict[int, int]


class JobProgress:
    """One bar, and one estimate of the time left, over all fits of a job.

    work: of each fit by its number, in any unit.
    """

    def __init__(self, report: Callable[[FitProgress], None], control: JobControl, work: dict[int, float]) -> None:
        self._report = report
        self._control = control
        self._share = {number: part / max(sum(work.values()), 1e-9) for number, part in work.items()}
        self._started = time.monotonic() - control.rested_seconds
        self._done = 0.0
        self._found = 0.0  # what an earlier run has done
        self._iterations = 0

    def skip(self, number: int) -> None:
        """A fit that is done already."""
        self._done += self._share[number]
        self._found += self._share[number]

    def begin(self, task: SetTask, done_before: float) -> None:
        """A fit that begins; `done_before`: the share of it that an earlier run has done."""
        self._current = self._share[task.index]
        self._label = task.label
        self._found += done_before * self._current

    def end(self, iterations: int) -> None:
        """The fit at hand has ended, after so many iterations."""
        self._done += self._current
        self._iterations += iterations

    def step(self, status: FitStatus, fraction: float, iteration: int) -> None:
        """Tells of an iteration; `fraction` and `iteration` are those of the whole fit."""
        seconds = time.monotonic() - self._control.rested_seconds - self._started
        done = self._done + fraction * self._current
        left = seconds * (1 - done) / max(done - self._found, 1e-6)
        message = f"Fitting {status.resolution} x {status.resolution} maps{self._label}"
        self._report(FitProgress("fitting", done, self._iterations + iteration, status.psnr_db, left, message))


@dataclass(frozen=True)
class SetTask:
    """One set of maps to fit: its rows and its plan. `short_s`: its share of `SHORT_FIT_S`; `label`: for messages."""

    index: int
    train: SampleTable
    held_out: SampleTable | None
    plan: FitPlan
    seed: int
    short_s: float
    label: str


@dataclass(frozen=True)
class Start:
    """Maps to begin with instead of grey ones, as good as after some iterations of the plan, at one of its sizes.

    of_this_fit: whether an earlier run of this very fit made them, so that its iterations count.
    """

    maps: MaterialMaps
    iteration: int
    of_this_fit: bool


def work_of(plan: FitPlan, rows: int) -> float:
    """About how long the fit of a table takes, in samples of iterations."""
    halves = range(plan.stages)
    mean_batch = sum(min(rows, plan.batch >> half) for half in halves) / plan.stages
    return plan.iterations * mean_batch + _PREPARATION * rows * plan.stages


def fit_set(
    task: SetTask,
    light: EnvironmentLight,
    keep_light: bool,
    control: JobControl,
    cancelled: Callable[[], bool],
    progress: JobProgress,
    previewer: MapPreviewer | AtlasPreviewer,
    checkpoint: JobCheckpoint | None,
    start: Start | None,
) -> FittedSet:
    """Fits one set. keep_light: whether checkpoints hold the light, which the job learns. Raises `JobCancelled`."""
    plan = task.plan
    if start is not None:
        plan = remaining_plan(task.plan, start.iteration, start.maps.resolution)
    before = start.iteration if start is not None and start.of_this_fit else 0
    fit = TableFit(task.train, light, plan, task.seed)
    if start is not None:
        fit.maps = start.maps
    # The share of the work that an earlier run has done, by iterations.
    share_before = before / (before + plan.iterations)
    began = time.monotonic() - control.rested_seconds
    progress.begin(task, share_before)

    def on_step(status: FitStatus) -> None:
        stop_if(cancelled)
        progress.step(status, share_before + (1 - share_before) * status.fraction, before + status.iteration)
        previewer.offer(MaterialMaps(fit.state.texels.detach()))
        if checkpoint is not None:
            checkpoint.offer(lambda: _snapshot(fit, task, start, light if keep_light else None))
        if control.finishing and status.iteration >= LEAST_ITERATIONS:
            fitted_s = time.monotonic() - control.rested_seconds - began
            if start is not None or fitted_s >= task.short_s:
                raise _FinishEarly

    try:
        fit.run(task.held_out, on_step)
    except _FinishEarly:
        fit.maps = MaterialMaps(fit.state.texels.detach())
    progress.end(before + fit.iteration)
    psnr, rows = {}, {}
    if task.held_out is not None and len(task.held_out):
        views, counts = torch.unique(task.held_out.view_index, return_counts=True)
        psnr = dict(zip(views.tolist(), fit.psnr_by_view(task.held_out), strict=True))
        rows = dict(zip(views.tolist(), counts.tolist(), strict=True))
    seen = seen_texels(fit.steps.read_texels(), fit.maps.resolution, fit.state.levels)
    return FittedSet(fit.maps, seen, before + fit.iteration, before, psnr, rows)


def remaining_plan(plan: FitPlan, iteration: int, resolution: int) -> FitPlan:
    """What is left of a plan after some iterations, the last of them at a size of the maps."""
    stages = (plan.resolution // resolution).bit_length()
    decay = math.log(plan.final_learning_rate / plan.learning_rate)
    return replace(
        plan,
        iterations=max(stages, plan.iterations - iteration),
        stages=stages,
        learning_rate=plan.learning_rate * math.exp(decay * min(1.0, iteration / plan.iterations)),
    )


def fits_plan(saved: RunningSet, plan: FitPlan) -> bool:
    """Whether a checkpoint can be of this plan's fit."""
    shape, size = saved.texels.shape, saved.texels.shape[0] if saved.texels.ndim == 3 else 0
    return (
        size in [plan.resolution >> stage for stage in range(plan.stages)]
        and shape == (size, size, 9 if plan.fit_alpha else 8)
        and saved.texels.dtype == np.float16
        and bool(np.isfinite(saved.texels).all())
        and 0 < saved.iteration <= plan.iterations
    )


def _snapshot(fit: TableFit, task: SetTask, start: Start | None, light: EnvironmentLight | None) -> RunningSet:
    """What the fit needs to go on: at the iteration of its whole plan that it has come to."""
    iteration = fit.iteration if start is None else start.iteration + fit.iteration
    texels = fit.state.texels.detach().half().cpu().numpy()
    base = None if light is None else light.base.detach().cpu().numpy().copy()
    return RunningSet(task.index, min(iteration, task.plan.iterations), texels, base)
