"""`python -m benchmarks live`: a fit that somebody watches beside one that nobody does.

A backend as Blender starts it fits Spot again and again: alone, with its maps sent as they grow (what a viewport drawn by
Blender's GPU asks for), and with frames of the backend asked for whenever the maps have changed. Of each: milliseconds an
iteration, how much slower than alone, and how often something new came. Kinds take turns, so that a machine that grows
slower does so for all.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from backend.cli.errors import CommandError
from backend.job.device import resolve_device
from backend.protocol.client import events
from backend.protocol.client.client import BackendClient
from backend.protocol.client.preview_client import PreviewClient
from backend.protocol.client.preview_events import MapsChanged, PreviewFailed, PreviewFrame, SceneReady
from backend.protocol.frames import FrameRequest
from backend.protocol.keys import new_keys
from backend.protocol.scene_description import JobMaps
from backend.protocol.settings import FitSettings
from benchmarks.cases import DATA, load_case, training_cameras
from benchmarks.measure import check_output, circumstances, print_table, write_json
from benchmarks.preview import orbit_camera, rows_of, spot_scene, started_backend

ALONE, MAPS, FRAMES = "alone", "maps", "frames"
_MAP_SIZE, _MAP_INTERVAL_S = 512, 0.1
_PATIENCE_S = 300.0
_PAUSE_S = 0.002


@dataclass
class _Run:
    """One fit. arrivals: when something new came while it iterated, seconds."""

    ms_per_iteration: float
    seconds: float
    arrivals: list[float] = field(default_factory=list)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--resolution", type=int, default=1024, help="edge of the maps in texels")
    parser.add_argument("--quality", default="standard", help="draft, standard or high")
    parser.add_argument("--views", type=int, default=32)
    parser.add_argument("--view-size", type=int, default=256, help="edge of a view in pixels")
    parser.add_argument("--frame-size", type=int, nargs=2, default=[270, 480], metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--repeats", type=int, default=3, help="fits of each kind; medians count")
    parser.add_argument("--kinds", nargs="+", choices=(MAPS, FRAMES), default=[MAPS, FRAMES])
    parser.add_argument("--data", type=Path, default=DATA, help="folder of spot/ and forest_1k.hdr")
    parser.add_argument("--json", type=Path, help="write what was measured to this file")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Fit, print, write; returns what was written."""
    if options.repeats < 1:
        raise CommandError(f"--repeats is {options.repeats}.", "Give a number of at least 1.")
    check_output(options.json)
    device = resolve_device(options.device)
    settings = FitSettings(resolution=options.resolution, quality=options.quality, device=device.type)
    views = _views(options)
    description, arrays = spot_scene(options.data)
    keys = new_keys()
    kinds = [ALONE, *options.kinds]
    runs: dict[str, list[_Run]] = {kind: [] for kind in kinds}
    with started_backend(device, keys.public) as address:
        client = BackendClient(keys=keys)
        client.connect(*address)
        try:
            for number in range(options.repeats + 1):
                for kind in kinds if number else [ALONE]:  # the first one compiles and does not count
                    done = _fit(client, kind, settings, views, (description, arrays), options.frame_size, keys, address)
                    if number:
                        runs[kind].append(done)
        finally:
            client.close()
    rows = [_row(kind, runs[kind], runs[ALONE]) for kind in kinds]
    print_table(
        f"{circumstances(device)['machine']['device']}: maps {options.resolution}, {options.quality}",
        [list(rows[0]), *([row[name] for name in row] for row in rows)],
    )
    chosen = ("resolution", "quality", "views", "view_size", "frame_size", "repeats")
    result = circumstances(device) | {
        "settings": {name: getattr(options, name) for name in chosen},
        "maps": {"size": _MAP_SIZE, "interval_s": _MAP_INTERVAL_S},
        "kinds": rows,
    }
    if options.json is not None:
        write_json(options.json, result)
    return result


@torch.no_grad()
def _views(options: argparse.Namespace) -> list[tuple[dict[str, Any], np.ndarray]]:
    """Reference views as a client sends them; every eighth is held out."""
    case = load_case("spot", options.data, 512, 256, "principled", torch.device("cpu"))
    light = case.light.build_mips()
    found = []
    for index, camera in enumerate(training_cameras(options.views)):
        view = {"index": index, "held_out": index % 8 == 7}
        view |= {"view": camera.view.tolist(), "projection": camera.projection.tolist()}
        found.append((view, case.images([camera], options.view_size, light)[0].numpy()))
    return found


def _fit(
    client: BackendClient,
    kind: str,
    settings: FitSettings,
    views: list[tuple[dict[str, Any], np.ndarray]],
    scene: tuple[dict[str, Any], dict[str, np.ndarray]],
    frame_size: list[int],
    keys: Any,
    address: tuple[str, str],
) -> _Run:
    """One fit, watched as its kind says."""
    description, arrays = scene
    names = ("vertex_position", "vertex_normal", "vertex_tangent", "vertex_uv", "triangles")
    inputs = {name: arrays[name] for name in names}
    inputs["triangle_material"] = np.zeros(len(arrays["triangles"]), np.int32)
    inputs["environment"] = arrays["light"]
    client.watch(*(_MAP_SIZE, _MAP_INTERVAL_S) if kind == MAPS else (0, 1.0))
    client.submit(settings, inputs, len(views))
    for view, image in views:
        client.add_view(view, image)
    client.end_views()
    began = time.monotonic()
    preview: PreviewClient | None = None
    arrivals: list[float] = []
    iterating = False
    try:
        while time.monotonic() - began < _PATIENCE_S:
            for event in client.poll():
                if isinstance(event, events.Accepted) and kind == FRAMES:
                    preview = PreviewClient(keys)
                    preview.connect(*address)
                    part = replace(description.parts[0], job=JobMaps(event.job, 0))
                    preview.set_scene(replace(description, parts=(part,)), arrays)
                elif isinstance(event, events.Progress):
                    iterating = event.phase == "fitting"
                elif isinstance(event, events.MapPreview) and event.name == "kd" and kind == MAPS and iterating:
                    arrivals.append(time.monotonic())
                elif isinstance(event, events.Result):
                    seconds = event.metrics["seconds"]["fit"]
                    return _Run(1e3 * seconds / event.metrics["iterations"], seconds, arrivals)
                elif isinstance(event, (events.Failed, events.Disconnected)):
                    raise CommandError(f"The fit failed: {event}.", "Look at `pbrfit doctor`.")
            if preview is not None:
                arrivals += _frames_of(preview, frame_size, iterating)
            time.sleep(_PAUSE_S)
    finally:
        if preview is not None:
            preview.close()
    raise CommandError(f"A fit took more than {_PATIENCE_S:.0f} s.", "Choose a smaller --resolution.")


def _frames_of(preview: PreviewClient, size: list[int], iterating: bool) -> list[float]:
    """When frames came; a new one is asked for whenever the maps have changed."""
    arrivals = []
    for event in preview.poll():
        if isinstance(event, (SceneReady, MapsChanged)):
            camera = orbit_camera(0, (size[0], size[1]))
            preview.request_frame(
                FrameRequest("live", 0, rows_of(camera.view), rows_of(camera.projection), size[1], size[0])
            )
        elif isinstance(event, PreviewFrame) and iterating:
            arrivals.append(time.monotonic())
        elif isinstance(event, PreviewFailed):
            raise CommandError(event.cause, event.cure)
    return arrivals


def _row(kind: str, runs: list[_Run], alone: list[_Run]) -> dict[str, Any]:
    time_each, time_alone = ([one.ms_per_iteration for one in some] for some in (runs, alone))
    gaps = [gap for one in runs for gap in np.diff(one.arrivals)]
    per_second = [len(one.arrivals) / one.seconds for one in runs]
    return {
        "kind": kind,
        "ms_per_iteration": statistics.median(time_each),
        "slower_percent": 100 * (statistics.median(time_each) / statistics.median(time_alone) - 1),
        "fit_seconds": statistics.median(one.seconds for one in runs),
        "updates_per_second": statistics.median(per_second) if gaps else None,
        "median_gap_s": statistics.median(gaps) if gaps else None,
        "longest_gap_s": max(gaps, default=None),
    }


__all__ = ["add_arguments", "run"]
