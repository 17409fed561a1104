"""One job from its inputs to its files: the sample tables, self-shadowing, the fits of its sets of maps, the maps.

The order is that of the data. The mesh and the light come first, so the job traces shadows while the client still renders
the references. Each reference becomes rows of the table when it arrives. Then `backend.job.set_fits` fits the sets of maps.
"""

from __future__ import annotations

import json
import math
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch

from backend.fit.team import ALONE, Team
from backend.job.atlas import LARGEST_ATLAS
from backend.job.checkpoints import FinishedSet
from backend.job.context import JobContext
from backend.job.device import device_description, resolve_device
from backend.job.map_sets import map_sets, on_device
from backend.job.model import FitInputs, FitResult, IsCancelled, ReportProgress
from backend.job.set_fit import Lights
from backend.job.set_fits import SetFits
from backend.job.starts import known_sets
from backend.job.tables import (
    LEARNED_LIGHT_RESOLUTION,
    job_lights,
    reference_tables,
    shadowed,
    vertex_openness,
)
from backend.protocol.map_shape import map_size
from backend.protocol.quality import QUALITIES
from backend.protocol.settings import FitSettings
from backend.protocol.wire import array_bytes, content_hash
from render.core.image_io import encode_image
from render.geometry.mesh import Mesh
from render.light.environment import EnvironmentLight
from render.shading.shadow_maps import SkyVisibility, sky_visibility
from render.shading.visibility import shadow_directions

LEARNED_LIGHT_SIZE = (256, 512)
_LEAST_ERROR = 1e-10  # 100 dB: where nothing differs there is no PSNR, and no number for JSON


def run_fit_job(
    inputs: FitInputs, settings: FitSettings, report: ReportProgress, cancelled: IsCancelled, team: Team = ALONE
) -> FitResult:
    """Run a job. team: the processes that share its fits, which this one leads; those on other devices than the settings'
    rest. Raises `JobError` for inputs that cannot be fitted, `JobCancelled` when `cancelled()` becomes true.
    """
    clock = _Clock()
    device = resolve_device(settings.device)
    if team.device is not None and team.device.type != device.type:
        team = ALONE
    context = JobContext(inputs.control, settings, report, cancelled, team)
    sets = on_device(map_sets(inputs.arrays), device)
    known = known_sets(inputs.arrays, settings, sets.count)
    lights = job_lights(inputs.arrays, settings, device)
    light = lights[0]

    context.say("preparing", 0.0, "Tracing self-shadowing")
    sky = _traced(sets.mesh, context) if settings.self_shadowing else None
    clock.lap("shadow_maps")

    train, held_out, light_of_view, view_names = reference_tables(inputs, sets.mesh, context, len(lights))
    clock.lap("references")
    openness = None
    if sky is not None:
        context.say("table", 0.0, "Building the sample table")
        train, held_out = shadowed((train, held_out), light_of_view, lights, sky, context)
        openness = vertex_openness(train, sky)
        sky = None  # frees it: it may be as large as the table
    context.stop_if_cancelled()
    clock.lap("table")

    _name_checkpoint(inputs, settings, view_names)
    fits = SetFits(context, sets, Lights(light, lights[1:], light_of_view), openness, known)
    finished = fits.run(train, held_out)
    clock.lap("fit")
    clock.laps["bake"] = round(fits.bake_seconds, 3)
    clock.laps["fit"] = round(clock.laps["fit"] - fits.bake_seconds, 3)
    shared = {
        "table_bytes": train.bytes,
        "halved_for_memory": inputs.control.economy,
        "seconds": clock.seconds(),
        "device": f"{team.size} x {device_description(device)}" if team.size > 1 else device_description(device),
        "versions": _versions(),
    }
    return _result(finished, light if settings.learn_light else None, shared)


def _traced(mesh: Mesh, context: JobContext) -> SkyVisibility:
    """Raises `JobCancelled`: what a cancelled tracing leaves is not complete."""
    directions = shadow_directions(QUALITIES[context.settings.quality].shadow_directions, mesh.position.device)
    sky = sky_visibility(mesh, directions, context.cancelled)
    context.stop_if_cancelled()
    return sky


def _name_checkpoint(inputs: FitInputs, settings: FitSettings, views: list[str]) -> None:
    """Give the job a checkpoint, named by all of its inputs, so that another job never reads it."""
    folder = inputs.control.checkpoints
    if folder is None:
        return
    parts = {
        name: [array.dtype.name, array.shape, content_hash(array_bytes(array))] for name, array in inputs.arrays.items()
    }
    economy = inputs.control.economy
    described = json.dumps([_versions()["pbrfit"], settings.to_dict(), economy, parts, sorted(views)], sort_keys=True)
    height, width = settings.map_size
    texels = max(height * width, LARGEST_ATLAS**2) * (9 if "alpha" in settings.maps else 8)
    # The running set is the largest: its maps, what Adam keeps of them, and the best; all that for the light too.
    most_bytes = 4 * 4 * texels + 10 * 6 * LEARNED_LIGHT_RESOLUTION**2 * 12
    inputs.control.keep_in(folder.job(content_hash(described.encode())[:32], most_bytes))


def _result(finished: dict[int, FinishedSet], light: EnvironmentLight | None, shared: dict[str, Any]) -> FitResult:
    """The files and metrics of all sets. light: the learned one, or None."""
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
        "fitted_resolution": max(
            (one["fitted_resolution"] for one in measured), key=lambda told: math.prod(map_size(told))
        ),
        "samples": sum(one["samples"] for one in measured),
        "texels_unseen": sum(one["texels_unseen"] * one["texels_covered"] for one in measured) / max(covered, 1),
        "sets": [
            {name: one[name] for name in ("samples", "texels_unseen", "unseen", "fitted_resolution", "iterations")}
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
    return [float(-10 * np.log10(max(sums[view][0] / sums[view][1], _LEAST_ERROR))) for view in sorted(sums)]


def _versions() -> dict[str, str]:
    """The versions that a result depends on."""
    try:
        own = version("pbrfit")
    except PackageNotFoundError:
        own = "source"
    return {"pbrfit": own, "torch": torch.__version__, "numpy": np.__version__, "python": platform.python_version()}


class _Clock:
    """Seconds of named laps, by the wall clock."""

    def __init__(self) -> None:
        self.started = self.last = time.perf_counter()
        self.laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = round(now - self.last, 3)
        self.last = now

    def seconds(self) -> dict[str, float]:
        return self.laps | {"total": round(self.last - self.started, 3)}
