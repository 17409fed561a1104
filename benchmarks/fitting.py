"""The one place where the benchmarks touch the fit: its table, its plan, its run and its state."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any

import torch

from backend.cli.errors import CommandError
from backend.fit.fit_plan import FitPlan, stages_for
from backend.fit.fit_status import FitStatus
from backend.fit.sample_table import SampleTable, StepRows, concatenate, sample_views, step_rows
from backend.fit.table_fit import TableFit
from benchmarks.cases import Case
from benchmarks.measure import Clock, synchronize
from render.geometry.camera import Camera
from render.light.environment import EnvironmentLight
from render.material.material import MaterialMaps
from render.preview.renderer import PreviewRenderer
from render.raster.kernels.triton_provider import can_rasterize
from render.texture.map_size import Size, map_size

# References that are rendered before their rows are made: bounds the memory that images take.
_VIEWS_AT_A_TIME = {"cuda": 8, "cpu": 2}


@dataclass(frozen=True)
class Snapshot:
    """Maps and light of a fit after some iterations, `seconds` after the references were requested."""

    iteration: int
    seconds: float
    texels: torch.Tensor
    base: torch.Tensor | None


@dataclass(frozen=True)
class FitRun:
    """One fit from references to maps: seconds of each phase (without making snapshots), and the state at times."""

    phases: dict[str, float]
    seconds: float
    iterations: int
    samples: int
    table_bytes: int
    snapshots: list[Snapshot]
    maps: MaterialMaps
    base: torch.Tensor


def plan_for(resolution: Size, model: str, learn_light: bool, changes: Sequence[str] = ()) -> FitPlan:
    """The plan of a fit, changed by texts such as "iterations=200". Raises CommandError for one that is not of it."""
    plan = FitPlan(resolution=map_size(resolution), model=model, learn_light=learn_light)
    known = {field.name: getattr(plan, field.name) for field in fields(plan)}
    values: dict[str, Any] = {}
    for change in changes:
        name, _, text = change.partition("=")
        if name not in known:
            raise CommandError(
                f"A plan has no {name!r}.", f"Set one of {', '.join(known)}, as in --set iterations=200."
            )
        try:
            values[name] = _as(type(known[name]), text)
        except ValueError as error:
            raise CommandError(f"{change!r} does not set {name}, now {known[name]!r}.", "Give a like value.") from error
    plan = replace(plan, **values)
    return plan if "stages" in values else replace(plan, stages=stages_for(plan.resolution, plan.iterations))


def _as(kind: type, text: str) -> Any:
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(text)
        return text.lower() == "true"
    return kind(text) if kind in (int, float, str) else text


def snapshot_iterations(total: int, first: int = 10) -> Iterator[int]:
    """Iterations at which a fit of about `total` is looked at, without end: each 12 % after the one before, at most 4 % of
    the total, so that times are known that well."""
    iteration, widest = first, max(1, total // 25)
    while True:
        yield iteration
        iteration += max(1, min(round(iteration * 0.12), widest))


def build_table(case: Case, cameras: Sequence[Camera], size: int, clock: Clock) -> StepRows:
    """Render the references of the cameras and make their table; adds to the phases "references" and "table"."""
    images_of = _reference_renderer(case, size)
    tables: list[StepRows] = []
    step = _VIEWS_AT_A_TIME[clock.device.type]
    for first in range(0, len(cameras), step):
        part = cameras[first : first + step]
        images = images_of(part)
        clock.lap("references")
        rows = step_rows(sample_views(case.mesh, part, images, first))
        tables.append(replace(rows, color=case.noisy(rows.color, first)))
        clock.lap("table")
    table = concatenate(tables)
    clock.lap("table")
    return table


def _reference_renderer(case: Case, size: int) -> Callable[[Sequence[Camera]], torch.Tensor]:
    """Views [N, size, size, 4] of a case's known maps: by the kernels of previews where they run, else by `render_mesh`.

    They agree within 1e-4 but at silhouettes, which the table leaves out.
    """
    with torch.no_grad():
        light = case.light.build_mips()
    if not can_rasterize(case.mesh.position.device, (size, size)):
        return lambda cameras: case.images(cameras, size, light)
    renderer = PreviewRenderer(case.mesh, case.mesh.position.device)
    renderer.set_maps(case.maps)
    renderer.set_light(light)
    return lambda cameras: renderer.frame(
        [camera.to("cpu") for camera in cameras], (size, size), model=case.shading.model
    )


def row_bytes(table: SampleTable | StepRows) -> int:
    """Bytes of a table's columns (without shadows, which these fits do not have)."""
    return sum(column.nbytes for column in vars(table).values() if isinstance(column, torch.Tensor))


def run_fit(
    case: Case,
    light: EnvironmentLight,
    plan: FitPlan,
    cameras: Sequence[Camera],
    size: int,
    seed: int = 0,
    snapshots: bool = True,
    validation: Sequence[Camera] = (),
) -> FitRun:
    """References, table and fit of a case, timed from the request of the references.

    light       what the fit begins with; it is changed where the plan learns it
    validation  further cameras by whose error the fit may end early; their references are timed too
    Snapshots are copies on the device. The fit is waited for before each (`torch.cuda.synchronize`), which counts; the
    copy is timed by itself and left out.
    """
    clock = Clock(case.mesh.position.device)
    table = build_table(case, cameras, size, clock)
    held_out = build_table(case, validation, size, clock) if validation else None
    fit = TableFit(table, light, plan, seed)
    samples, table_bytes = len(table), row_bytes(table)
    del table  # the fit keeps what it reads
    taken: list[Snapshot] = []
    wanted = snapshot_iterations(plan.iterations)
    state = {"next": next(wanted), "copying": 0.0}

    def take(iteration: int) -> None:
        synchronize(clock.device)
        begin = time.perf_counter()
        taken.append(Snapshot(iteration, begin - clock.started - state["copying"], *_state_of(fit, plan)))
        synchronize(clock.device)
        state["copying"] += time.perf_counter() - begin

    def on_step(status: FitStatus) -> None:
        if not snapshots or status.iteration < state["next"]:
            return
        take(status.iteration)
        while state["next"] <= status.iteration:
            state["next"] = next(wanted)

    fit.run(held_out, on_step)
    clock.lap("fit")
    if snapshots:  # the end of a fit changes maps that were looked at after the last iteration
        taken = [snapshot for snapshot in taken if snapshot.iteration < fit.iteration]
        take(fit.iteration)
    phases = clock.phases | {"fit": clock.phases["fit"] - state["copying"]}
    return FitRun(
        phases,
        sum(phases.values()),
        fit.iteration,
        samples,
        table_bytes,
        [_on_host(snapshot) for snapshot in taken],
        MaterialMaps(fit.maps.texels.detach()),
        fit.light.base.detach(),
    )


def _state_of(fit: TableFit, plan: FitPlan) -> tuple[torch.Tensor, torch.Tensor | None]:
    return fit.maps.texels.detach().clone(), fit.light.base.detach().clone() if plan.learn_light else None


def _on_host(snapshot: Snapshot) -> Snapshot:
    base = None if snapshot.base is None else snapshot.base.cpu()
    return replace(snapshot, texels=snapshot.texels.cpu(), base=base)


@dataclass(frozen=True)
class IterationTime:
    """Seconds of an iteration at a plan's full size, and of what comes before the first."""

    preparation: float
    iteration: float


def time_iterations(
    table: StepRows, light: EnvironmentLight, plan: FitPlan, window: int = 10, windows: int = 10, seed: int = 0
) -> IterationTime:
    """An iteration's time is the median over `windows` windows of `window` iterations each, after two windows more.

    The device is waited for after the first iteration and at the ends of windows alone, so the loop runs as it does in a
    fit. The preparation is the time to the end of the first iteration, less one iteration.
    """
    device = table.color.device
    plan = replace(plan, stages=1, iterations=window * (windows + 2))
    marks: list[tuple[int, float]] = []

    def on_step(status: FitStatus) -> None:
        if not marks or status.iteration - marks[-1][0] >= window:
            synchronize(device)
            marks.append((status.iteration, time.perf_counter()))

    light = light.clone()
    synchronize(device)
    started = time.perf_counter()
    TableFit(table, light, plan, seed).run(None, on_step)
    pairs = list(pairwise(marks))
    pairs = pairs[2:] if len(pairs) > 3 else pairs
    iteration = statistics.median((later[1] - earlier[1]) / (later[0] - earlier[0]) for earlier, later in pairs)
    first = marks[0][1] - started - marks[0][0] * iteration
    return IterationTime(max(0.0, first), iteration)
