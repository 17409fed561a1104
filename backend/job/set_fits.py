"""The fits of a job's sets of maps, one after another, and the results of each: files and measurements.

So only the maps of one set are in memory at a time. A light that several sets learn comes first, with all of them in one
texture (`backend.job.atlas`). Then each set is fitted under that light, from its tile.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from backend.fit.baked_start import carried_over
from backend.fit.dilation import fill_unknown, finish_maps, texel_at, uv_charts
from backend.fit.fit_plan import FitPlan
from backend.fit.map_files import encode_maps
from backend.fit.sample_table import SampleTable
from backend.job.atlas import Atlas, atlas_for
from backend.job.checkpoints import FinishedSet, LearnedTogether, RunningSet, Saved
from backend.job.context import JobContext
from backend.job.map_previews import LARGEST_PREVIEW, AtlasPreviewer, MapPreviewer
from backend.job.map_sets import MapSets
from backend.job.margins import Margins
from backend.job.plan import plan_for, smaller, telling_resolution
from backend.job.set_fit import (
    SHORT_FIT_S,
    FittedSet,
    Interrupted,
    JobProgress,
    Lights,
    SetTask,
    Start,
    fit_set,
    interrupted,
    work_of,
)
from backend.job.starts import Known, KnownSet, KnownSets
from backend.protocol.quality import SMALLEST_RESOLUTION
from backend.protocol.unseen import unseen_text
from render.geometry.mesh import Mesh
from render.material.material import MaterialMaps, initial_maps
from render.texture.map_size import MapSize, map_size, size_of

MAP_FILES = ("kd.png", "orm.png", "normal.png")
# The number of the fit of all sets in one texture, among those of the sets.
TOGETHER = -1
# The share of a set's plan that the fit of all sets together replaces.
_DONE_TOGETHER = 0.5
# Openness is smooth, and laying out a mesh in 4096 x 4096 texels takes four times as long: 30 s on a busy core.
LARGEST_CHARTS = 2048

logger = logging.getLogger(__name__)


class SetFits:
    """Fits, fills and encodes every set of a job. `bake_seconds`: how long filling and encoding took."""

    def __init__(
        self,
        context: JobContext,
        sets: MapSets,
        lights: Lights,
        openness: torch.Tensor | None,
        known: dict[int, KnownSet],
    ) -> None:
        """openness: of the vertices, [V]; None: nothing occludes. known: what is known of some sets, by their numbers."""
        self._context = context
        self._settings = context.settings
        self._sets = sets
        self._lights = lights
        self._light = light = lights.own
        self._learned = light if context.settings.learn_light else None
        self._openness = openness
        self._known = known
        self._size = map_size(context.settings.map_size)
        self._on_gpu = light.base.device.type == "cuda"
        self.bake_seconds = 0.0

    def run(self, train: SampleTable, held_out: SampleTable | None) -> dict[int, FinishedSet]:
        """The results of each set, by its number. Raises `JobCancelled`."""
        count = self._sets.count
        samples = self._sets.row_counts(train)
        order = sorted(range(count), key=lambda number: -samples[number])
        learns, several = self._settings.learn_light, sum(map(bool, samples)) > 1
        saved = self._saved()
        together = learns and several and (saved.together is not None or not saved.finished)
        work = [work_of(plan_for(self._settings, on_gpu=self._on_gpu), rows) for rows in samples]
        shares = {number: part * (_DONE_TOGETHER if together else 1.0) for number, part in enumerate(work)}
        progress = JobProgress(self._context, shares | ({TOGETHER: sum(work)} if together else {}))
        tiles: dict[int, MaterialMaps] = {}
        if together:
            tiles = self._fit_together(train, held_out, saved, progress)
        finished: dict[int, FinishedSet] = {}
        for place, number in enumerate(order):
            if number in saved.finished:
                progress.skip(number)
                finished[number] = saved.finished[number]
                continue
            rows = self._sets.rows(train, number)
            plan = replace(self._plan(rows), learn_light=learns and not several)
            label = f" of set {place + 1} of {count}" if count > 1 else ""
            task = SetTask(
                number,
                rows,
                self._held_out(held_out, number),
                plan,
                self._settings.seed,
                SHORT_FIT_S / (count - place),
                label,
                self._known.get(number),
            )
            part = self._sets.part(number)
            previewer = self._previewer(number, part)
            fitted = self._fit(task, saved.running, tiles.get(number), progress, previewer)
            if place == count - 1:
                self._context.say("baking", 0.0, "Filling and encoding the maps")
            began = time.perf_counter()
            finished[number] = self._finish(fitted, part, len(rows), previewer, task.known)
            if self._context.checkpoint is not None and count > 1:
                self._context.checkpoint.keep(number, finished[number])
            self.bake_seconds += time.perf_counter() - began
            self._context.stop_if_cancelled()
        return finished

    def _saved(self) -> Saved:
        """What an earlier run has left, without what does not belong to this job. The job goes on with its light."""
        checkpoint = self._context.checkpoint
        if checkpoint is None:
            return Saved()
        saved = checkpoint.read()
        several: list[FinishedSet | LearnedTogether] = list(saved.finished.values())
        several += [saved.together] if saved.together is not None else []
        lights = [known.light for known in several]
        running = saved.running
        if running is not None and (running.light is not None or not several):
            lights.append(running.light)
        if any(not self._is_light(light) for light in lights):
            checkpoint.ignore("its light does not belong to this job")
            return Saved()
        for number, known in list(saved.finished.items()):
            if number >= self._sets.count or set(known.files) != set(MAP_FILES):
                checkpoint.ignore(f"set {number} does not belong to this job")
                del saved.finished[number]
                continue
            known.measured["resumed_at"] = known.measured["iterations"]
        if lights and lights[-1] is not None:
            with torch.no_grad():
                self._light.base.copy_(torch.from_numpy(np.array(lights[-1])))
        return saved

    def _is_light(self, light: NDArray[Any] | None) -> bool:
        """Whether a saved light, or None, can belong to this job."""
        if light is None or not self._settings.learn_light:
            return light is None and not self._settings.learn_light
        return light.shape == tuple(self._light.base.shape) and bool(np.isfinite(light).all())

    def _held_out(self, held_out: SampleTable | None, number: int) -> SampleTable | None:
        rows = None if held_out is None else self._sets.rows(held_out, number)
        return rows if rows is not None and len(rows) else None

    def _plan(self, rows: SampleTable) -> FitPlan:
        resolution = self._size
        if len(rows):
            resolution = telling_resolution(resolution, rows.footprint[rows.valid])
        return smaller(plan_for(self._settings, resolution, self._on_gpu), self._context.control.economy)

    def _fit_together(
        self, train: SampleTable, held_out: SampleTable | None, saved: Saved, progress: JobProgress
    ) -> dict[int, MaterialMaps]:
        """Learn the light. Returns the maps that each set has at the end, by its number."""
        own = telling_resolution(self._size, train.footprint[train.valid])
        atlas: Atlas = atlas_for(self._sets.count, own)
        if saved.together is not None and atlas.can_hold(saved.together.texels, "alpha" in self._settings.maps):
            texels = torch.from_numpy(np.array(saved.together.texels)).to(self._light.base.device)
            progress.skip(TOGETHER)
            return {number: atlas.part(MaterialMaps(texels), number) for number in range(self._sets.count)}
        rows = atlas.table(self._sets, train)
        judged = None if held_out is None else atlas.table(self._sets, held_out)
        plan = replace(plan_for(self._settings, atlas.resolution, self._on_gpu), learn_light=True)
        plan = smaller(plan, self._context.control.economy)
        task = SetTask(
            TOGETHER,
            rows,
            judged if judged is not None and len(judged) else None,
            plan,
            self._settings.seed,
            SHORT_FIT_S,
            " to learn the light",
            KnownSets(atlas, self._known) if self._known else None,
        )
        previewers = [self._previewer(number, self._sets.part(number)) for number in range(self._sets.count)]
        previewer = AtlasPreviewer(self._context.control, atlas, previewers)
        fitted = self._fit(task, saved.running, None, progress, previewer)
        if self._context.checkpoint is not None:
            base = self._light.base.detach().cpu().numpy().copy()
            self._context.checkpoint.keep_together(LearnedTogether(fitted.maps.texels.cpu().numpy(), base))
        return {number: atlas.part(fitted.maps, number) for number in range(self._sets.count)}

    def _fit(
        self,
        task: SetTask,
        running: RunningSet | None,
        tile: MaterialMaps | None,
        progress: JobProgress,
        previewer: MapPreviewer | AtlasPreviewer,
    ) -> FittedSet:
        device = self._light.base.device
        if len(task.train) == 0 and task.known is not None:
            maps = MaterialMaps(task.known.start(task.plan.fit_alpha, map_size(SMALLEST_RESOLUTION), device).texels)
            return FittedSet(maps, torch.zeros_like(maps.texels[..., 0], dtype=torch.bool), 0, 0, {}, {})
        if len(task.train) == 0:  # no view shows any of it
            maps = initial_maps(SMALLEST_RESOLUTION, task.plan.fit_alpha, device=device)
            return FittedSet(maps, torch.zeros_like(maps.texels[..., 0], dtype=torch.bool), 0, 0, {}, {})
        start: Start | Interrupted | None = None
        if running is not None and running.set_index == task.index:
            start = interrupted(running, task.plan)
            if start is None and self._context.checkpoint is not None:
                self._context.checkpoint.ignore("its maps do not belong to this job's plan")
        elif tile is not None:
            # All of these have one shape, so that the longer one is the larger one.
            coarsest = task.plan.size_of(0)
            size = max(coarsest, min(tile.resolution, task.plan.resolution))
            maps = tile
            if tile.resolution != size and task.known is not None:
                known = task.known.start(task.plan.fit_alpha, max(size, tile.resolution), device)
                maps = carried_over(tile, known, size)
            elif tile.resolution != size:
                maps = tile.resized(size)
            start = Start(maps, round(_DONE_TOGETHER * task.plan.iterations))
        return fit_set(task, self._lights, start, progress, previewer, self._context)

    def _previewer(self, number: int, part: Mesh) -> MapPreviewer:
        return MapPreviewer(self._context.control, number, self._small_openness(part), self._learned)

    def _small_openness(self, part: Mesh) -> torch.Tensor | None:
        """Openness as a small texture: the mean of the vertices in each texel, or None."""
        if self._openness is None:
            return None
        size = self._size.at_most(LARGEST_PREVIEW)
        vertex = torch.unique(part.triangles)
        sums = torch.zeros(size.texels, 2).to(self._openness)
        values = torch.stack([self._openness[vertex], torch.ones_like(self._openness[vertex])], dim=-1)
        sums.index_add_(0, texel_at(part.uv[vertex], size), values)
        mean = (sums[:, :1] / sums[:, 1:].clamp(min=1)).reshape(*size, 1)
        return fill_unknown(mean, (sums[:, 1] > 0).reshape(size))[..., 0]

    def _finish(
        self, fitted: FittedSet, part: Mesh, samples: int, previewer: MapPreviewer, known: Known | None
    ) -> FinishedSet:
        """Fill the texels that no view saw, or leave them as they are known; bake openness, and encode."""
        size = self._size
        charts = uv_charts(part, size.at_most(LARGEST_CHARTS))
        self._context.stop_if_cancelled()
        if known is not None:
            previewer.show(fitted.maps)
            start = known.start(fitted.maps.has_alpha, size, fitted.seen.device)
            maps = carried_over(fitted.maps, start, size)
        else:
            maps = finish_maps(fitted.maps, fitted.seen)
            previewer.show(maps)
            if maps.resolution != size:
                maps = maps.resized(size)
        self._context.stop_if_cancelled()
        margins = Margins(part, charts)
        maps = margins.fill_maps(maps, self._settings.margin)
        openness = torch.ones(size, device=fitted.seen.device)
        if self._openness is not None:
            baked = fill_unknown(charts.bake(self._openness[:, None]), charts.covered)
            openness = _resized(margins.fill(baked), size, "bilinear")[..., 0]
        seen = _resized(fitted.seen[..., None].float(), size_of(charts.covered), "area")[..., 0]
        covered = int(charts.covered.sum())
        measured = {
            "samples": samples,
            "texels_covered": covered,
            "texels_unseen": float((charts.covered * (1 - seen)).sum()) / max(covered, 1),
            "unseen": unseen_text(charts.covered.cpu().numpy(), seen.cpu().numpy()),
            "fitted_resolution": _told(fitted.maps.resolution),
            "iterations": fitted.iterations,
            "resumed_at": fitted.resumed_at,
            "views": [[view, psnr, fitted.rows_by_view[view]] for view, psnr in fitted.psnr_by_view.items()],
        }
        light = self._light.base.detach().cpu().numpy().copy() if self._settings.learn_light else None
        self._context.stop_if_cancelled()
        return FinishedSet(encode_maps(maps, openness), measured, light)


def _told(size: MapSize) -> int | list[int]:
    """A size as results tell it: the edge of a square, or width and height."""
    return size.width if size.width == size.height else [size.width, size.height]


def _resized(texture: torch.Tensor, size: MapSize, mode: Literal["area", "bilinear"]) -> torch.Tensor:
    """A texture [h, w, C] at another size."""
    if size_of(texture) == size:
        return texture
    image = texture.permute(2, 0, 1)[None]
    align_corners = None if mode == "area" else False
    return F.interpolate(image, size=size, mode=mode, align_corners=align_corners)[0].permute(1, 2, 0)
