"""The fit of one set of maps in a job: what it shows while it runs, how it ends early, and how it continues after a crash."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace

import torch

from backend.fit.differences import differences
from backend.fit.dilation import seen_texels
from backend.fit.fit_plan import FitPlan, learning_rate_at
from backend.fit.fit_status import FitStatus
from backend.fit.memory import FitMemory
from backend.fit.sample_table import SampleTable
from backend.fit.table_fit import PREPARATION, TableFit
from backend.job.checkpoints import RunningSet
from backend.job.context import JobContext
from backend.job.map_previews import AtlasPreviewer, MapPreviewer
from backend.job.model import FitProgress, JobCancelled, JobError
from backend.job.starts import Known
from render.light.environment import EnvironmentLight
from render.material.material import MaterialMaps
from render.texture.map_size import MapSize

# When the artist says "finish", each set whose fit has not begun gets these iterations; all such sets get these seconds.
LEAST_ITERATIONS = 10
SHORT_FIT_S = 1.0

logger = logging.getLogger(__name__)


class _FinishEarly(Exception):
    """Ends a fit from inside its own call."""


@dataclass(frozen=True)
class FittedSet:
    """What a fit leaves.

    maps: of the plan's resolution or smaller. seen: which texels a view saw, bool [h, w]. iterations: in all, and
    resumed_at: those of them that an earlier run did. psnr_by_view, rows_by_view: the held-out error, in dB, and its rows.
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

    def __init__(self, context: JobContext, work: dict[int, float]) -> None:
        self._context = context
        self._share = {number: part / max(sum(work.values()), 1e-9) for number, part in work.items()}
        self._started = context.worked_seconds
        self._done = 0.0
        self._found = 0.0  # what an earlier run has done
        self._iterations = 0

    def skip(self, number: int) -> None:
        """An earlier run has done this fit."""
        self._done += self._share[number]
        self._found += self._share[number]

    def begin(self, task: SetTask, done_before: float) -> None:
        """A fit begins; `done_before`: the share of it that an earlier run has done."""
        self._current = self._share[task.index]
        self._label = task.label
        self._found += done_before * self._current

    def end(self, iterations: int) -> None:
        """The current fit has ended after `iterations`."""
        self._done += self._current
        self._iterations += iterations

    def step(self, status: FitStatus, fraction: float, iteration: int) -> None:
        """Report an iteration; `fraction` and `iteration` are those of the whole fit."""
        seconds = self._context.worked_seconds - self._started
        done = self._done + fraction * self._current
        left = seconds * (1 - done) / max(done - self._found, 1e-6)
        message = f"Fitting {status.resolution} maps{self._label}"
        self._context.report(FitProgress("fitting", done, self._iterations + iteration, status.psnr_db, left, message))


@dataclass(frozen=True)
class SetTask:
    """One set of maps to fit: its rows and its plan. `short_s`: its share of `SHORT_FIT_S`. `label`: for messages.

    known: what its fit begins with; None: nothing.
    """

    index: int
    train: SampleTable
    held_out: SampleTable | None
    plan: FitPlan
    seed: int
    short_s: float
    label: str
    known: Known | None = None


@dataclass(frozen=True)
class Lights:
    """The light of the scene, known or learned, and further known ones, numbered from 1, with the views that they light."""

    own: EnvironmentLight
    others: Sequence[EnvironmentLight] = ()
    of_view: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Start:
    """Maps to begin with instead of gray ones, as good as after `iteration` iterations of the plan, at one of its sizes."""

    maps: MaterialMaps
    iteration: int


@dataclass(frozen=True)
class Interrupted:
    """A fit that an earlier run has begun: its plan, and all that it needs to go on."""

    plan: FitPlan
    memory: FitMemory


def work_of(plan: FitPlan, rows: int) -> float:
    """About how long the fit of a table with `rows` rows takes, in samples of iterations."""
    halves = range(plan.stages)
    mean_batch = sum(min(rows, plan.batch >> half) for half in halves) / plan.stages
    return plan.iterations * mean_batch + PREPARATION * rows * plan.stages


def fit_set(
    task: SetTask,
    lights: Lights,
    start: Start | Interrupted | None,
    progress: JobProgress,
    previewer: MapPreviewer | AtlasPreviewer,
    context: JobContext,
) -> FittedSet:
    """Fit one set of maps. Raises `JobCancelled`; `JobError` where the fit comes to values that are no numbers."""
    plan, checkpoint = task.plan, context.checkpoint
    light = lights.own
    if isinstance(start, Interrupted):
        plan = start.plan
    elif start is not None:
        plan = remaining_plan(task.plan, start.iteration, start.maps.resolution)
    known, train, held_out = None, task.train, task.held_out
    if task.known is not None:
        known = task.known.start(plan.fit_alpha, plan.resolution, train.color.device)
    differs = known is not None and not plan.learn_light and train.baked is not None
    if differs:
        train, held_out = differences(train), None if held_out is None else differences(held_out)
    fit = TableFit(train, light, plan, task.seed, known, lights.others, lights.of_view, differs, context.team)
    before = 0
    if isinstance(start, Interrupted):
        try:
            fit.resume(start.memory)
            before = start.memory.iteration
            logger.info("continuing set %d from iteration %d", task.index, before)
        except ValueError as error:
            assert checkpoint is not None  # it came from there
            checkpoint.ignore(f"{error}")
            return fit_set(task, lights, None, progress, previewer, context)
    elif start is not None:
        fit.maps = start.maps
    began = context.worked_seconds
    # The share of the work that an earlier run has done, by iterations.
    progress.begin(task, before / plan.iterations)

    def on_step(status: FitStatus) -> None:
        try:
            context.stop_if_cancelled()
            progress.step(status, status.fraction, status.iteration)
        except JobCancelled:
            if checkpoint is not None and context.control.leaving:
                checkpoint.keep_running(_running_set(fit, task))
            raise
        previewer.offer(MaterialMaps(fit.state.texels.detach()))
        if checkpoint is not None:
            checkpoint.offer(lambda: _running_set(fit, task))
        if context.control.finishing and status.iteration >= LEAST_ITERATIONS:
            fitted_s = context.worked_seconds - began
            if start is not None or fitted_s >= task.short_s:
                raise _FinishEarly

    try:
        fit.run(held_out, on_step)
    except (JobCancelled, JobError):
        raise
    except _FinishEarly:
        fit.collect()
        fit.end()
    except Exception as error:  # shading reads maps that are no numbers anywhere
        if context.team.size > 1 or bool(torch.isfinite(fit.state.texels).all()):
            raise
        if not fit.go_back():
            raise _not_finite() from error
        fit.end()
        logger.warning("set %d came to values that are no numbers after %d iterations", task.index, fit.iteration)
    if not bool(torch.isfinite(fit.maps.texels).all()):
        raise _not_finite()
    progress.end(fit.iteration)
    psnr: dict[int, float] = {}
    rows: dict[int, int] = {}
    if held_out is not None and len(held_out):
        views, counts = torch.unique(held_out.view_index, return_counts=True)
        psnr = dict(zip(views.tolist(), fit.psnr_by_view(held_out), strict=True))
        rows = dict(zip(views.tolist(), counts.tolist(), strict=True))
    seen = seen_texels(fit.read_texels(), fit.maps.resolution, fit.state.levels)
    return FittedSet(fit.maps, seen, fit.iteration, before, psnr, rows)


def _not_finite() -> JobError:
    return JobError(
        "not_finite",
        "The fit came to values that are no numbers.",
        "Check the references, the light and the mesh for values that are extreme, then fit again.",
    )


def remaining_plan(plan: FitPlan, iteration: int, resolution: MapSize) -> FitPlan:
    """The rest of a plan after some iterations, the last of them on maps of this resolution."""
    stages = (plan.resolution.longer // resolution.longer).bit_length()
    return replace(
        plan,
        iterations=max(stages, plan.iterations - iteration),
        stages=stages,
        learning_rate=learning_rate_at(plan, min(iteration, plan.iterations)),
    )


def interrupted(saved: RunningSet, plan: FitPlan) -> Interrupted | None:
    """The fit of a checkpoint, where it can belong to a task with this plan; `TableFit.resume` checks the rest."""
    try:
        own = FitPlan(**saved.about["plan"])
        memory = FitMemory.from_dict(saved.about["memory"], saved.arrays)
    except (TypeError, ValueError, KeyError):
        return None
    # A fit that began with maps has only the rest of the task's plan.
    whole = replace(own, iterations=plan.iterations, stages=plan.stages, learning_rate=plan.learning_rate)
    is_rest = 0 < own.iterations <= plan.iterations and 0 < own.stages <= plan.stages
    is_rest = is_rest and plan.final_learning_rate <= own.learning_rate <= plan.learning_rate
    is_form = all(type(getattr(own, item.name)) is type(getattr(plan, item.name)) for item in fields(FitPlan))
    return Interrupted(own, memory) if whole == plan and is_rest and is_form else None


def _running_set(fit: TableFit, task: SetTask) -> RunningSet:
    """What the fit needs to continue."""
    memory = fit.remember()
    return RunningSet(task.index, {"plan": asdict(fit.plan), "memory": memory.to_dict()}, memory.arrays)
