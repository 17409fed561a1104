"""One job from its inputs to its files: the sample tables, self-shadowing, the fits of its sets of maps, the maps.

The order is that of the data: the mesh and the light come first, so shadows are traced while the references are still
being rendered; each reference becomes rows of the table as it arrives. Sets of maps are fitted and encoded one after the
other, so that the maps of one are in memory at a time. A light that is learned is learned with the set that has most
samples, since those tell most of it; the others are then fitted under that light.
"""

from __future__ import annotations

import json
import logging
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch

from backend.bake import encode_maps, fill_unknown, finish_maps, uv_charts
from backend.checkpoints import FinishedSet, JobCheckpoint, RunningSet, Saved
from backend.device import device_description, resolve_device
from backend.fit import FitPlan
from backend.job_fit import SHORT_FIT_S, FittedSet, JobProgress, SetTask, fit_set, fits_plan, work_of
from backend.job_preview import LARGEST_PREVIEW, MapPreviewer
from backend.job_sets import MapSets, map_sets, on_device
from backend.job_tables import LEARNED_LIGHT_RESOLUTION, job_light, reference_tables, say, shadowed, stop_if
from backend.jobs import FitInputs, FitProgress, FitResult
from backend.protocol.settings import SMALLEST_RESOLUTION, FitSettings
from backend.protocol.wire import array_bytes, content_hash
from backend.sample_table import SampleTable
from render.image_io import encode_image
from render.light import EnvironmentLight
from render.material import initial_maps
from render.mesh import Mesh
from render.visibility import shadow_directions, vertex_visibility

ITERATIONS = {"draft": 160, "standard": 400, "high": 1000}
SHADOW_DIRECTIONS = {"draft": 128, "standard": 256, "high": 512}
LEARNED_LIGHT_SIZE = (256, 512)
_VERTICES_AT_ONCE = 1 << 16
MAP_FILES = ("kd.png", "orm.png", "normal.png")

logger = logging.getLogger(__name__)


def telling_resolution(resolution: int, footprint: torch.Tensor) -> int:
    """The largest map size up to `resolution` whose texels the references can tell apart.

    footprint  [...] of the samples, in uv. Beyond two texels a pixel (median) the finest texels would get noise only:
    such maps are fitted at the smaller size and enlarged at the end (at 2.7 texels a pixel fitting them cost 0.4 dB).
    """
    widest = 2.0 / max(float(footprint.median()), 1e-9)
    while resolution > max(widest, SMALLEST_RESOLUTION) and resolution % 2 == 0:
        resolution //= 2
    return resolution


def plan_for(settings: FitSettings, resolution: int | None = None, on_gpu: bool = False) -> FitPlan:
    """The plan of a fit from the artist's settings; `resolution` to fit at, where it is not the settings'.

    On a GPU an iteration takes 0.6 ms (an H200, light known) where two cores take 100, whether it reads 65 or 400
    thousand pixels: there are twice as many, of six times the pixels, and one size fewer.
    """
    resolution = settings.resolution if resolution is None else resolution
    iterations, batch, most_stages = (
        (2 * ITERATIONS[settings.quality], 6 * 65536, 3) if on_gpu else (ITERATIONS[settings.quality], 65536, 4)
    )
    return FitPlan(
        resolution=resolution,
        iterations=iterations,
        batch=batch,
        stages=max(1, min(most_stages, (resolution // 32).bit_length())),
        model=settings.shading,
        fit_ks="ks" in settings.maps,
        fit_normal="normal" in settings.maps,
        fit_alpha="alpha" in settings.maps,
        learn_light=settings.learn_light,
    )


def run_fit_job(
    inputs: FitInputs,
    settings: FitSettings,
    report: Callable[[FitProgress], None],
    cancelled: Callable[[], bool],
) -> FitResult:
    """Run a job. Raises JobError for inputs that cannot be fitted, JobCancelled when `cancelled()` turns true."""
    clock = _Clock()
    device = resolve_device(settings.device)
    sets = on_device(map_sets(inputs.arrays), device)
    light = job_light(inputs.arrays, settings, device)

    say(report, "preparing", 0.0, "Tracing self-shadowing")
    openness, directions, visibility = None, None, None
    if settings.self_shadowing:
        directions = shadow_directions(SHADOW_DIRECTIONS[settings.quality], device)
        visibility = vertex_visibility(sets.mesh, directions, cancelled)
        stop_if(cancelled)
        openness = _openness(sets.mesh, directions, visibility)
    clock.lap("shadow_maps")

    train, held_out, view_names = reference_tables(inputs, sets.mesh, settings, report, cancelled)
    clock.lap("references")
    if visibility is not None:
        say(report, "table", 0.0, "Building the sample table")
        train, held_out = shadowed((train, held_out), light, settings, directions, visibility, cancelled)
        del visibility
    stop_if(cancelled)
    clock.lap("table")

    checkpoint = _checkpoint(inputs, settings, view_names)
    fits = _SetFits(inputs, settings, sets, light, openness, checkpoint)
    finished = fits.run(train, held_out, report, cancelled)
    clock.lap("fit")
    clock.laps["bake"] = round(fits.bake_seconds, 3)
    clock.laps["fit"] = round(clock.laps["fit"] - fits.bake_seconds, 3)
    shared = {
        "table_bytes": train.bytes,
        "seconds": clock.seconds(),
        "device": device_description(device),
        "versions": _versions(),
    }
    return _result(finished, light if settings.learn_light else None, shared)


class _SetFits:
    """The fits of a job's sets of maps, one after the other."""

    def __init__(
        self,
        inputs: FitInputs,
        settings: FitSettings,
        sets: MapSets,
        light: EnvironmentLight,
        openness: torch.Tensor | None,
        checkpoint: JobCheckpoint | None,
    ) -> None:
        """openness: of the vertices, [V]; None: nothing occludes."""
        self._control = inputs.control
        self._settings = settings
        self._sets = sets
        self._light = light
        self._openness = openness
        self._checkpoint = checkpoint
        self.bake_seconds = 0.0

    def run(
        self,
        train: SampleTable,
        held_out: SampleTable | None,
        report: Callable[[FitProgress], None],
        cancelled: Callable[[], bool],
    ) -> dict[int, FinishedSet]:
        """Fits and encodes every set; returns what came of each."""
        saved = Saved() if self._checkpoint is None else self._checkpoint.read()
        samples = [self._sets.row_count(train, number) for number in range(self._sets.count)]
        order = sorted(range(self._sets.count), key=lambda number: -samples[number])
        learner = order[0] if self._settings.learn_light else None
        whole = plan_for(self._settings, on_gpu=self._on_gpu)
        progress = JobProgress(report, self._control, [work_of(whole, count) for count in samples])
        finished: dict[int, FinishedSet] = {}
        for place, number in enumerate(order):
            learns = number == learner
            if (known := saved.finished.get(number)) is not None and self._take_over(known, learns):
                progress.skip(number)
                finished[number] = known
                continue
            rows = self._sets.rows(train, number)
            plan = self._plan(rows, learns)
            own_held_out = None if held_out is None else self._sets.rows(held_out, number)
            if own_held_out is not None and len(own_held_out) == 0:
                own_held_out = None
            task = SetTask(number, rows, own_held_out, plan, self._settings.seed, SHORT_FIT_S / (len(order) - place))
            part = self._sets.part(number)
            previewer = MapPreviewer(self._control, number, self._small_openness(part))
            fitted = self._fit(task, saved.running, progress, cancelled, previewer)
            if place == len(order) - 1:
                say(report, "baking", 0.0, "Filling and encoding the maps")
            began = time.perf_counter()
            finished[number] = self._finish(fitted, part, len(rows), learns, previewer)
            if self._checkpoint is not None and self._sets.count > 1:
                self._checkpoint.keep(number, finished[number])
            self.bake_seconds += time.perf_counter() - began
            stop_if(cancelled)
        return finished

    @property
    def _on_gpu(self) -> bool:
        return self._light.base.device.type == "cuda"

    def _plan(self, rows: SampleTable, learns: bool) -> FitPlan:
        resolution = self._settings.resolution
        if len(rows):
            resolution = telling_resolution(resolution, rows.footprint[rows.valid])
        return replace(plan_for(self._settings, resolution, self._on_gpu), learn_light=learns)

    def _take_over(self, known: FinishedSet, learns: bool) -> bool:
        """Whether a set that an earlier run finished is of use; its light is taken, where it has learned one."""
        if set(known.files) != set(MAP_FILES) or (known.light is not None) != learns:
            self._checkpoint.ignore("a finished set is not one of this job")
            return False
        if learns:
            if known.light.shape != tuple(self._light.base.shape) or not np.isfinite(known.light).all():
                self._checkpoint.ignore("its light is not one of this job")
                return False
            with torch.no_grad():
                self._light.base.copy_(torch.from_numpy(known.light))
        known.measured["resumed_at"] = known.measured["iterations"]
        return True

    def _fit(
        self,
        task: SetTask,
        running: RunningSet | None,
        progress: JobProgress,
        cancelled: Callable[[], bool],
        previewer: MapPreviewer,
    ) -> FittedSet:
        if len(task.train) == 0:  # nobody sees any of it
            maps = initial_maps(SMALLEST_RESOLUTION, task.plan.fit_alpha, device=self._light.base.device)
            return FittedSet(maps, torch.zeros_like(maps.texels[..., 0], dtype=torch.bool), 0, 0, {}, {})
        if running is not None and (running.set_index != task.index or not fits_plan(running, task.plan, self._light)):
            if running.set_index == task.index:
                self._checkpoint.ignore("its maps are not of this job's plan")
            running = None
        if running is not None:
            logger.info("going on with set %d from iteration %d", task.index, running.iteration)
        return fit_set(task, self._light, self._control, cancelled, progress, previewer, self._checkpoint, running)

    def _small_openness(self, part: Mesh) -> torch.Tensor | None:
        """Openness as a small texture: the mean of the vertices in each texel."""
        if self._openness is None:
            return None
        size = min(LARGEST_PREVIEW, self._settings.resolution)
        vertex = part.triangles.unique()
        column, row = (torch.remainder(part.uv[vertex], 1.0) * size).long().clamp(max=size - 1).unbind(-1)
        sums = torch.zeros(size * size, 2).to(self._openness)
        values = torch.stack([self._openness[vertex], torch.ones_like(self._openness[vertex])], dim=-1)
        sums.index_add_(0, row * size + column, values)
        mean = (sums[:, :1] / sums[:, 1:].clamp(min=1)).reshape(size, size, 1)
        return fill_unknown(mean, (sums[:, 1] > 0).reshape(size, size))[..., 0]

    def _finish(
        self, fitted: FittedSet, part: Mesh, samples: int, learns: bool, previewer: MapPreviewer
    ) -> FinishedSet:
        """Fills what no view saw, bakes openness and encodes."""
        resolution = self._settings.resolution
        charts = uv_charts(part, resolution)
        maps = finish_maps(fitted.maps, fitted.seen)
        previewer.show(maps)
        seen = fitted.seen
        if (enlarged := resolution // maps.resolution) > 1:
            maps = maps.resized(resolution)
            seen = seen.repeat_interleave(enlarged, 0).repeat_interleave(enlarged, 1)
        openness = torch.ones(resolution, resolution, device=seen.device)
        if self._openness is not None:
            openness = fill_unknown(charts.bake(self._openness[:, None]), charts.covered)[..., 0]
        covered = int(charts.covered.sum())
        measured = {
            "samples": samples,
            "texels_covered": covered,
            "texels_unseen": float((charts.covered & ~seen).sum()) / max(covered, 1),
            "fitted_resolution": fitted.maps.resolution,
            "iterations": fitted.iterations,
            "resumed_at": fitted.resumed_at,
            "views": [[view, psnr, fitted.rows_by_view[view]] for view, psnr in fitted.psnr_by_view.items()],
        }
        light = self._light.base.detach().cpu().numpy() if learns else None
        return FinishedSet(encode_maps(maps, openness), measured, light)


def _openness(mesh: Mesh, directions: torch.Tensor, visibility: torch.Tensor) -> torch.Tensor:
    """The open part of the sky of each vertex, cosine-weighted, [V]."""
    parts = []
    for normal, seen in zip(mesh.normal.split(_VERTICES_AT_ONCE), visibility.split(_VERTICES_AT_ONCE), strict=True):
        cosine = (normal @ directions.T).clamp(min=0)
        parts.append((cosine * seen).sum(-1) / (255 * cosine.sum(-1)).clamp(min=1e-6))
    return torch.cat(parts)


def _checkpoint(inputs: FitInputs, settings: FitSettings, views: list[str]) -> JobCheckpoint | None:
    """Where the job's checkpoints go: named by all that it is made of, so that another job never takes them."""
    folder = inputs.control.checkpoints
    if folder is None:
        return None
    parts = {
        name: [array.dtype.name, array.shape, content_hash(array_bytes(array))] for name, array in inputs.arrays.items()
    }
    described = json.dumps([_versions()["pbrfit"], settings.to_dict(), parts, sorted(views)], sort_keys=True)
    texels = settings.resolution**2 * (9 if "alpha" in settings.maps else 8)
    most_bytes = (
        8 * texels + 6 * LEARNED_LIGHT_RESOLUTION**2 * 12
    )  # finished files are the largest: 3 bytes and 6 a texel
    inputs.control.checkpoint = folder.job(content_hash(described.encode())[:32], most_bytes)
    return inputs.control.checkpoint


def _result(finished: dict[int, FinishedSet], light: EnvironmentLight | None, shared: dict[str, Any]) -> FitResult:
    """The files and metrics of all sets. light: the learned one."""
    measured = [finished[number].measured for number in sorted(finished)]
    prefix = "{}/" if len(finished) > 1 else ""
    files = {
        prefix.format(number) + name: data
        for number in sorted(finished)
        for name, data in finished[number].files.items()
    }
    if light is not None:
        files["environment.exr"] = encode_image(".exr", light.to_latlong(LEARNED_LIGHT_SIZE).cpu().numpy())
    psnr = _psnr_of_views(measured)
    covered = sum(one["texels_covered"] for one in measured)
    metrics = {
        "fit_heldout_psnr_db": float(np.mean(psnr)) if psnr else None,
        "fit_heldout_psnr_db_list": psnr,
        "iterations": sum(one["iterations"] for one in measured),
        "resumed_at_iteration": sum(one["resumed_at"] for one in measured),
        "fitted_resolution": max(one["fitted_resolution"] for one in measured),
        "samples": sum(one["samples"] for one in measured),
        "texels_unseen": sum(one["texels_unseen"] * one["texels_covered"] for one in measured) / max(covered, 1),
        "sets": [
            {name: one[name] for name in ("samples", "texels_unseen", "fitted_resolution", "iterations")}
            for one in measured
        ],
    }
    return FitResult(files, metrics | shared)


def _psnr_of_views(measured: list[dict[str, Any]]) -> list[float]:
    """The PSNR of each held-out view over the pixels of all sets, in order of the views."""
    sums: dict[int, tuple[float, int]] = {}
    for one in measured:
        for view, psnr, rows in one["views"]:
            error, count = sums.get(view, (0.0, 0))
            sums[view] = error + rows * 10 ** (-psnr / 10), count + rows
    return [float(-10 * np.log10(sums[view][0] / sums[view][1])) for view in sorted(sums)]


def _versions() -> dict[str, str]:
    try:
        own = version("pbrfit")
    except PackageNotFoundError:
        own = "source"
    return {"pbrfit": own, "torch": torch.__version__, "numpy": np.__version__, "python": platform.python_version()}


class _Clock:
    """Wall-clock seconds of named laps."""

    def __init__(self) -> None:
        self.started = self.last = time.perf_counter()
        self.laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = round(now - self.last, 3)
        self.last = now

    def seconds(self) -> dict[str, float]:
        return self.laps | {"total": round(self.last - self.started, 3)}
