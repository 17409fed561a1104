"""`python -m benchmarks devices`: how much sooner several jobs are done where a backend has several devices.

A backend for each list of devices (`pbrfit serve --devices`) gets the same fits of Spot at once, from clients of one key. Before
that each of its devices has one fit, which compiles and does not count. Of each list: seconds from the first submit to the last
result, how much sooner that is than with the first list, how long each fit took by itself, and the lowest quality among them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from backend.cli.errors import CommandError
from backend.job.device import resolve_device
from backend.protocol.client import events
from backend.protocol.client.client import BackendClient
from backend.protocol.keys import KeyPair, new_keys
from backend.protocol.settings import FitSettings
from benchmarks.cases import DATA, FAR, FOVY, Case, load_case, training_cameras
from benchmarks.measure import check_output, circumstances, print_table, write_json
from benchmarks.preview import spot_scene
from render.geometry.camera import Camera, look_at, perspective

_START_S, _PATIENCE_S, _PAUSE_S = 180.0, 900.0, 0.005
_PHASES = ("references", "table", "fit", "bake", "total")
_MESH = ("vertex_position", "vertex_normal", "vertex_tangent", "vertex_uv", "triangles")

Views = list[tuple[dict[str, Any], np.ndarray]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument(
        "--devices",
        nargs="+",
        default=["auto", "all"],
        metavar="LIST",
        help="lists to compare, as pbrfit serve has them",
    )
    parser.add_argument("--jobs", type=int, default=8, help="how many fits at once")
    parser.add_argument("--resolution", type=int, default=1024, help="edge of the maps in texels")
    parser.add_argument("--quality", default="standard", help="draft, standard or high")
    parser.add_argument("--views", type=int, default=32)
    parser.add_argument("--view-size", type=int, default=256, help="edge of a view in pixels")
    parser.add_argument(
        "--distance",
        type=float,
        help="cameras so far from points of the surface, to show fine maps; default: all of it",
    )
    parser.add_argument("--learn-light", action="store_true", help="learn the light too")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of spot/ and forest_1k.hdr")
    parser.add_argument("--json", type=Path, help="write what was measured to this file")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Fit, print, write; returns what was written."""
    if options.jobs < 1:
        raise CommandError(f"--jobs is {options.jobs}.", "Give a number of at least 1.")
    check_output(options.json)
    inputs, views, keys = _inputs(options.data), _views(options), new_keys()
    rows: list[dict[str, Any]] = []
    for devices in options.devices:
        with _backend(devices, keys) as (address, server_key):
            clients = [BackendClient(keys=keys) for _ in range(options.jobs)]
            try:
                for client in clients:
                    client.connect(address, server_key)
                _fit_all(clients, options, inputs, views)  # all devices have had one then
                began = time.monotonic()
                metrics = _fit_all(clients, options, inputs, views)
                seconds = time.monotonic() - began
            finally:
                for client in clients:
                    client.close()
        rows.append(
            {
                "devices": devices,
                "seconds": seconds,
                "times_sooner": rows[0]["seconds"] / seconds if rows else 1.0,
                **{f"median_{name}_s": float(np.median([one["seconds"][name] for one in metrics])) for name in _PHASES},
                "fitted_resolution": max(one["fitted_resolution"] for one in metrics),
                "lowest_psnr_db": min(one["fit_heldout_psnr_db"] for one in metrics),
                "names": sorted({str(one["device"]) for one in metrics}),
            }
        )
    shown = [name for name in rows[0] if name != "names"]
    print_table(f"{options.jobs} fits at once", [shown, *([row[name] for name in shown] for row in rows)])
    chosen = ("jobs", "resolution", "quality", "views", "view_size", "distance", "learn_light")
    settings = {name: getattr(options, name) for name in chosen}
    result = circumstances(resolve_device("auto")) | {"settings": settings, "lists": rows}
    if options.json is not None:
        write_json(options.json, result)
    return result


def _inputs(data: Path) -> dict[str, np.ndarray]:
    _description, arrays = spot_scene(data)
    inputs = {name: arrays[name] for name in _MESH}
    inputs["triangle_material"] = np.zeros(len(arrays["triangles"]), np.int32)
    return inputs | {"environment": arrays["light"]}


@torch.no_grad()
def _views(options: argparse.Namespace) -> Views:
    """Reference views as a client sends them; every eighth is held out."""
    case = load_case("spot", options.data, 512, 256, "principled", torch.device("cpu"))
    light = case.light.build_mips()
    found = []
    cameras = training_cameras(options.views)
    if options.distance is not None:
        cameras = _near_cameras(case, options.views, options.distance)
    for index, camera in enumerate(cameras):
        view = {"index": index, "held_out": index % 8 == 7}
        view |= {"view": camera.view.tolist(), "projection": camera.projection.tolist()}
        found.append((view, case.images([camera], options.view_size, light)[0].numpy()))
    return found


def _near_cameras(case: Case, count: int, distance: float) -> list[Camera]:
    """Cameras that look straight at points of the surface, evenly spread over its vertices."""
    mesh = case.mesh
    chosen = torch.linspace(0, len(mesh.position) - 1, count).long()
    projection = perspective(FOVY, 1.0, distance / 10, FAR)
    places = mesh.position[chosen]
    eyes = places + distance * torch.nn.functional.normalize(mesh.normal[chosen], dim=-1)
    return [Camera(look_at(eye, place), projection) for eye, place in zip(eyes, places, strict=True)]


def _fit_all(
    clients: list[BackendClient], options: argparse.Namespace, inputs: dict[str, np.ndarray], views: Views
) -> list[dict[str, Any]]:
    """One fit of each client, all at once, each client in a thread of its own; their metrics. Raises CommandError where one
    fails."""

    def fit(seed: int) -> dict[str, Any]:
        settings = FitSettings(
            resolution=options.resolution, quality=options.quality, seed=seed, learn_light=options.learn_light
        )
        return _fit(clients[seed], settings, inputs, views)

    with ThreadPoolExecutor(len(clients)) as threads:
        return list(threads.map(fit, range(len(clients))))


def _fit(client: BackendClient, settings: FitSettings, inputs: dict[str, np.ndarray], views: Views) -> dict[str, Any]:
    client.submit(settings, inputs, len(views))
    for view, image in views:
        client.add_view(view, image)
    client.end_views()
    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until:
        for event in client.poll():
            if isinstance(event, events.Result):
                return event.metrics
            if isinstance(event, (events.Failed, events.Disconnected)):
                raise CommandError(f"A fit failed: {event}.", "Look at `pbrfit doctor`.")
        time.sleep(_PAUSE_S)
    raise CommandError(f"The fits took more than {_PATIENCE_S:.0f} s.", "Choose a smaller --resolution.")


@contextlib.contextmanager
def _backend(devices: str, keys: KeyPair) -> Iterator[tuple[str, str]]:
    """A backend with these devices: its address and public key."""
    with tempfile.TemporaryDirectory() as folder:
        said, log = Path(folder) / "address.json", Path(folder) / "backend.log"
        command = [sys.executable, "-m", "backend", "serve", "--devices", devices, "--address-file", str(said)]
        command += [f"--client-key={keys.public}", "--parent-pid", str(os.getpid()), "--log-file", str(log)]
        process = subprocess.Popen(command)
        try:
            until = time.monotonic() + _START_S
            while not said.is_file():
                if process.poll() is not None or time.monotonic() > until:
                    words = log.read_text(errors="replace")[-2000:] if log.is_file() else ""
                    raise CommandError(f"The backend did not start with {devices}. {words}", "Look at `pbrfit doctor`.")
                time.sleep(0.02)
            values = json.loads(said.read_text(encoding="utf-8"))
            yield values["address"], values["public_key"]
        finally:
            process.kill()
            process.wait()
