"""One job from its inputs to its files: the sample table, self-shadowing, the fit, the maps.

The order is that of the data: the mesh and the light come first, so shadows are traced while the references are still
being rendered; each reference becomes rows of the table as it arrives.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import torch

from backend.bake import encode_maps, fill_unknown, finish_maps, seen_texels, uv_charts
from backend.device import device_description, resolve_device
from backend.fit import FitPlan, FitStatus, TableFit
from backend.jobs import FitInputs, FitProgress, FitResult, JobCancelled, JobError, ViewInput
from backend.protocol.settings import SMALLEST_RESOLUTION, FitSettings
from backend.sample_table import (
    SampleTable,
    blocker_radiance,
    concatenate,
    layers_for,
    sample_view,
    with_self_shadowing,
)
from render.brdf import ggx_table
from render.camera import Camera
from render.image_io import encode_image
from render.light import EnvironmentLight, create_trainable_env_rnd, env_from_latlong
from render.mesh import Mesh, MeshError, mesh_from_arrays
from render.visibility import LightCells, light_cells, shadow_directions, vertex_visibility

ITERATIONS = {"draft": 160, "standard": 400, "high": 1000}
SHADOW_DIRECTIONS = {"draft": 128, "standard": 256, "high": 512}
KNOWN_LIGHT_RESOLUTION = 256
LEARNED_LIGHT_RESOLUTION = 64
# What a blocked direction sends where the light is not known: a grey object returns about half of what falls on it.
_UNKNOWN_BLOCKER = 0.5


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

    def stop_if_cancelled() -> bool:
        """Leaves the job at once: a table with shadows for some of its rows is of no use."""
        _stop_if(cancelled)
        return False

    try:
        mesh = mesh_from_arrays(inputs.arrays).to(device)
    except MeshError as error:
        raise JobError("mesh", f"The mesh cannot be fitted: {error}.", "Check the mesh in Blender.") from error
    light = _light(inputs.arrays, settings, device)

    _say(report, "preparing", 0.0, "Tracing self-shadowing")
    directions = visibility = None
    if settings.self_shadowing:
        directions = shadow_directions(SHADOW_DIRECTIONS[settings.quality], device)
        visibility = vertex_visibility(mesh, directions, cancelled)
        _stop_if(cancelled)
    clock.lap("shadow_maps")

    train, held_out = _tables(inputs, mesh, settings, report, cancelled, device)
    clock.lap("references")
    if visibility is not None:
        _say(report, "table", 0.0, "Building the sample table")
        cells, blocker = _shadow_light(light, settings, train, directions)
        ggx = ggx_table(device)
        train = with_self_shadowing(train, visibility, cells, blocker, ggx, stop_if_cancelled)
        if held_out is not None:
            held_out = with_self_shadowing(held_out, visibility, cells, blocker, ggx, stop_if_cancelled)
    _stop_if(cancelled)
    clock.lap("table")

    resolution = telling_resolution(settings.resolution, train.footprint[train.valid])
    fit = TableFit(train, light, plan_for(settings, resolution, device.type == "cuda"), settings.seed)

    def on_step(status: FitStatus) -> None:
        _stop_if(cancelled)
        message = f"Fitting {status.resolution} x {status.resolution} maps"
        report(FitProgress("fitting", status.fraction, status.iteration, status.psnr_db, status.seconds_left, message))

    fit.run(held_out, on_step)
    clock.lap("fit")

    _say(report, "baking", 0.0, "Filling and encoding the maps")
    heldout_psnr = fit.psnr_by_view(held_out) if held_out is not None else []
    files, unseen = _bake(fit, mesh, settings.resolution, directions, visibility)
    if settings.learn_light:
        files["environment.exr"] = encode_image(".exr", light.to_latlong((256, 512)).cpu().numpy())
    clock.lap("bake")
    return FitResult(
        files=files,
        metrics={
            "fit_heldout_psnr_db": float(np.mean(heldout_psnr)) if heldout_psnr else None,
            "fit_heldout_psnr_db_list": heldout_psnr,
            "iterations": fit.iteration,
            "fitted_resolution": resolution,
            "samples": len(train),
            "table_bytes": train.bytes,
            "seconds": clock.seconds(),
            "texels_unseen": unseen,
            "device": device_description(device),
            "versions": _versions(),
        },
    )


def _light(arrays: dict[str, np.ndarray], settings: FitSettings, device: torch.device) -> EnvironmentLight:
    if settings.learn_light:
        return create_trainable_env_rnd(LEARNED_LIGHT_RESOLUTION, seed=settings.seed, device=device)
    environment = arrays.get("environment")
    if environment is None or environment.ndim != 3 or environment.shape[2] < 3:
        raise JobError(
            "environment",
            "The job has no environment image and is not to learn its light.",
            "Give the scene a world with light, or switch on Learn Light.",
        )
    if not np.isfinite(environment).all():
        raise JobError(
            "environment",
            "The environment image holds values that are not finite.",
            "Clamp the world's image or its strength.",
        )
    image = torch.from_numpy(np.array(environment[..., :3], np.float32)).clamp(min=0)
    return env_from_latlong(image, KNOWN_LIGHT_RESOLUTION, device)


def _tables(
    inputs: FitInputs,
    mesh: Mesh,
    settings: FitSettings,
    report: Callable[[FitProgress], None],
    cancelled: Callable[[], bool],
    device: torch.device,
) -> tuple[SampleTable, SampleTable | None]:
    layers = layers_for(settings.maps)
    train: list[SampleTable] = []
    held_out: list[SampleTable] = []
    for count, view in enumerate(inputs.views, 1):
        _stop_if(cancelled)
        rows = _rows(view, mesh, layers, device)
        (held_out if view.held_out else train).append(rows)
        _say(report, "references", count / max(inputs.view_count, count), f"Reference {count} of {inputs.view_count}")
    if sum(map(len, train)) == 0:
        raise JobError(
            "references",
            "No reference view shows the inside of the object.",
            "Check that the object is visible in renders, that its material is not fully transparent, and the view size.",
        )
    some = [rows for rows in held_out if len(rows)]
    return concatenate(train), concatenate(some) if some else None


def _rows(view: ViewInput, mesh: Mesh, layers: int, device: torch.device) -> SampleTable:
    image = torch.from_numpy(np.array(view.image, np.float32)).to(device)
    if image.ndim != 3 or image.shape[2] != 4 or not bool(torch.isfinite(image).all()):
        raise JobError(
            "references",
            f"Reference {view.index} is not a finite [h, w, 4] image but {list(image.shape)}.",
            "Check the object's material for values that are not finite.",
        )
    camera = Camera(torch.from_numpy(np.array(view.view, np.float32)), torch.from_numpy(np.array(view.projection)))
    return sample_view(mesh, camera.to(device), image, view.index, layers)


def _shadow_light(
    light: EnvironmentLight, settings: FitSettings, train: SampleTable, directions: torch.Tensor
) -> tuple[LightCells, torch.Tensor]:
    cells = light_cells(light.base.detach(), directions)
    if settings.learn_light:
        cells = replace(cells, radiance=torch.ones_like(cells.radiance))
        return cells, torch.full_like(cells.radiance, _UNKNOWN_BLOCKER)
    return cells, blocker_radiance(train, directions)


def _bake(
    fit: TableFit,
    mesh: Mesh,
    resolution: int,
    directions: torch.Tensor | None,
    visibility: torch.Tensor | None,
) -> tuple[dict[str, bytes], float]:
    enlarged = resolution // fit.maps.resolution
    charts = uv_charts(mesh, resolution)
    seen = seen_texels(fit.steps.read_texels(), fit.maps.resolution, fit.state.levels)
    maps = finish_maps(fit.maps, seen)
    if enlarged > 1:
        maps = maps.resized(resolution)
        seen = seen.repeat_interleave(enlarged, 0).repeat_interleave(enlarged, 1)
    openness = torch.ones(resolution, resolution, device=seen.device)
    if visibility is not None:
        cosine = (mesh.normal @ directions.T).clamp(min=0)
        open_part = (cosine * visibility).sum(-1) / (255 * cosine.sum(-1)).clamp(min=1e-6)
        openness = fill_unknown(charts.bake(open_part[:, None]), charts.covered)[..., 0]
    unseen = float((charts.covered & ~seen).sum() / charts.covered.sum().clamp(min=1))
    return encode_maps(maps, openness), unseen


def _stop_if(cancelled: Callable[[], bool]) -> None:
    if cancelled():
        raise JobCancelled


def _say(report: Callable[[FitProgress], None], phase: str, fraction: float, message: str) -> None:
    report(FitProgress(phase, fraction, 0, None, None, message))


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
