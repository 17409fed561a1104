"""`python -m benchmarks preview`: from a camera's change to the frame in hand, over loopback from a backend of its own.

The backend is a process as Blender starts it, asked through `PreviewClient`, and the camera moves with every frame. Of each
frame: `render` until the device has drawn it, `copy` of it to the backend's main memory, and `transfer`, all else: the
request, encryption, sending, and putting the pieces together.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from backend.cli.errors import CommandError
from backend.job.device import resolve_device
from backend.preview.drawing import BAND_BYTES, LEAST_BAND_ROWS
from backend.protocol.client.preview_client import PreviewClient
from backend.protocol.client.preview_events import (
    FrameFailed,
    PreviewConnected,
    PreviewEvent,
    PreviewFailed,
    PreviewFrame,
    PreviewLost,
    SceneReady,
)
from backend.protocol.frames import FrameRequest
from backend.protocol.scene_description import (
    SRGB,
    LookDescription,
    MeshDescription,
    PartDescription,
    SceneDescription,
    TextureDescription,
)
from benchmarks.cases import DATA, FOVY, NEAR, load_case
from benchmarks.measure import check_output, circumstances, print_table, write_json
from render.core.color import linear_to_srgb
from render.core.image_io import encode_image, read_image
from render.geometry.camera import Camera, look_at, perspective
from render.geometry.mesh import Mesh
from render.material.material import KD, METALLIC, ROUGHNESS

SIZES = {"512": (512, 512), "720p": (720, 1280), "1080p": (1080, 1920), "4K": (2160, 3840)}
# What is asked for beside the size: settings of the request.
KINDS: dict[str, dict[str, Any]] = {
    "shaded": {},
    "base color": {"channel": "kd"},
    "shaded, 4 samples": {"spp": 2},
    "shaded, light behind": {"background": "light"},
}
_START_S, _FRAME_S = 60.0, 60.0
_FAR = 100.0
_DISTANCE = 2.6
# The pause between looks for the frame, as short as sleeping can be.
_PAUSE_S = 1e-4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda: what the backend draws on")
    parser.add_argument("--size", choices=tuple(SIZES), default="1080p", help="of the frames")
    parser.add_argument("--frames", type=int, default=100, help="of each kind at most; medians count")
    parser.add_argument("--budget", type=float, default=8.0, help="seconds for the frames of one kind")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of spot/ and forest_1k.hdr")
    parser.add_argument("--json", type=Path, help="write what was measured to this file")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Start a backend, time frames, print, write; returns what was written."""
    if options.frames < 1:
        raise CommandError(f"--frames is {options.frames}.", "Give a number of at least 1.")
    check_output(options.json)
    device = resolve_device(options.device)
    description, arrays = spot_scene(options.data)
    with running_backend(device) as (client, seconds_to_start):
        began = time.perf_counter()
        client.set_scene(description, arrays)
        _wait(client, SceneReady, _START_S)
        seconds_to_load = time.perf_counter() - began
        rows = [
            _measured(client, name, SIZES[options.size], settings, options.frames, options.budget)
            for name, settings in KINDS.items()
        ]
    result = circumstances(device) | {
        "size": list(SIZES[options.size]),
        "timing": "wall clock from asking for a frame to having it, median; the camera moves with every frame",
        "seconds_to_start": seconds_to_start,
        "seconds_to_load": seconds_to_load,
        "frames": rows,
    }
    heading = ["frame", "render ms", "copy ms", "transfer ms", "total ms", "p95 ms", "MiB", "MB/s", "frames"]
    columns = ("render_ms", "copy_ms", "transfer_ms", "total_ms", "total_p95_ms", "mib", "mb_per_second", "frames")
    print_table(
        f"{result['machine']['device']}: {options.size}, half floats, over loopback",
        [heading] + [[row["name"], *(row[column] for column in columns)] for row in rows],
    )
    print(f"  started in {seconds_to_start:.1f} s, scene loaded in {seconds_to_load:.1f} s")
    if options.json is not None:
        write_json(options.json, result)
    return result


def spot_scene(data: Path) -> tuple[SceneDescription, dict[str, np.ndarray]]:
    """Spot under the forest as an add-on would describe it: image files of 1024 x 1024 and an equirectangular light."""
    case = load_case("spot", data, resolution=1024, light_resolution=16)
    arrays = mesh_arrays(case.mesh)
    kd = linear_to_srgb(case.maps.texels[..., KD])
    orm = torch.cat(
        [torch.ones_like(kd[..., :1]), case.maps.texels[..., ROUGHNESS], case.maps.texels[..., METALLIC]], -1
    )
    for name, image in (("kd", kd), ("orm", orm)):
        pixels = (image.clamp(0, 1) * 255).round().numpy().astype(np.uint8)
        arrays[name] = np.frombuffer(encode_image(".png", pixels), np.uint8)
    arrays["light"] = np.ascontiguousarray(read_image(data / "forest_1k.hdr")[..., :3])

    look = LookDescription(
        kd=TextureDescription("kd", None, SRGB),
        openness=TextureDescription("orm", 0),
        roughness=TextureDescription("orm", 1),
        metallic=TextureDescription("orm", 2),
    )
    mesh = MeshDescription(**{name: name for name in mesh_arrays(case.mesh)})
    part = PartDescription(mesh, tuple(map(tuple, np.eye(4).tolist())), look)
    return SceneDescription((part,), "light"), arrays


def mesh_arrays(mesh: Mesh) -> dict[str, np.ndarray]:
    """A mesh as it travels, uv pointing up."""
    return {
        "vertex_position": mesh.position.numpy(),
        "vertex_normal": mesh.normal.numpy(),
        "vertex_tangent": mesh.tangent.numpy(),
        "vertex_uv": torch.stack([mesh.uv[:, 0], 1 - mesh.uv[:, 1]], -1).numpy(),
        "triangles": mesh.triangles.int().numpy(),
    }


@contextlib.contextmanager
def started_backend(device: torch.device, client_key: str) -> Iterator[tuple[str, str]]:
    """A backend in a process of its own that serves the client with this key: its address and public key."""
    environment = os.environ | ({"CUDA_VISIBLE_DEVICES": ""} if device.type == "cpu" else {})
    if device.type == "cuda" and device.index:
        environment["CUDA_VISIBLE_DEVICES"] = str(device.index)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        said, log = Path(folder) / "address.json", Path(folder) / "backend.log"
        command = [sys.executable, "-m", "backend", "serve", "--address-file", str(said), f"--client-key={client_key}"]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, "--parent-pid", str(os.getpid())], env=environment, stdout=output, stderr=subprocess.STDOUT
            )
        try:
            while not said.is_file():
                if process.poll() is not None or time.perf_counter() - began > _START_S:
                    words = log.read_text(errors="replace")[-2000:]
                    raise CommandError(f"The backend did not start. {words}", "Look at `pbrfit doctor`.")
                time.sleep(0.01)
            address = json.loads(said.read_text(encoding="utf-8"))
            yield address["address"], address["public_key"]
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def running_backend(device: torch.device) -> Iterator[tuple[PreviewClient, float]]:
    """Such a backend's client, which it has answered, and the seconds which that took."""
    client = PreviewClient()
    began = time.perf_counter()
    with started_backend(device, client.public_key) as address:
        try:
            client.connect(*address)
            _wait(client, PreviewConnected, _START_S)
            yield client, time.perf_counter() - began
        finally:
            client.close()


def _wait(client: PreviewClient, kind: type[PreviewEvent], seconds: float) -> PreviewEvent:
    """The next event of a kind. Raises CommandError for a failure, or after so many seconds."""
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        for event in client.poll():
            if isinstance(event, kind):
                return event
            if isinstance(event, (PreviewFailed, FrameFailed)):
                raise CommandError(event.cause, event.cure)
            if isinstance(event, PreviewLost):
                raise CommandError(f"The backend was lost: {event.reason}.", "Look at `pbrfit doctor`.")
        time.sleep(_PAUSE_S)
    raise CommandError(f"The backend was silent for {seconds:.0f} s.", "Look at what else keeps this machine busy.")


def orbit_camera(number: int, size: tuple[int, int]) -> Camera:
    """The camera of a frame on its way around Spot, who fills much of the height."""
    angle = 0.4 + 0.02 * number
    eye = _DISTANCE * torch.tensor([math.sin(angle), 0.35, math.cos(angle)])
    return Camera(look_at(eye, torch.zeros(3)), perspective(FOVY, size[1] / size[0], NEAR, _FAR))


def _measured(
    client: PreviewClient, name: str, size: tuple[int, int], settings: dict[str, Any], frames: int, budget: float
) -> dict[str, Any]:
    """Times of frames of one kind. The first ones compile and allocate, and do not count."""
    lines: list[tuple[float, float, float, float]] = []
    nbytes: list[int] = []
    warm_up = 3
    began = time.perf_counter()
    for number in range(frames + warm_up):
        if len(lines) >= 3 and time.perf_counter() - began > budget:
            break
        camera = orbit_camera(number, size)
        request = FrameRequest(
            "benchmark", number, rows_of(camera.view), rows_of(camera.projection), size[1], size[0], **settings
        )
        asked = time.perf_counter()
        client.request_frame(request)
        frame = _wait(client, PreviewFrame, _FRAME_S)
        total = time.perf_counter() - asked
        if number >= warm_up:
            render, copy = frame.timing["render"], frame.timing["copy"]
            lines.append((render, copy, total - render - copy, total))
            nbytes.append(_sent_bytes(frame.rows))
    render, copy, transfer, total = (statistics.median(column) for column in zip(*lines, strict=True))
    return {
        "name": name,
        "render_ms": 1e3 * render,
        "copy_ms": 1e3 * copy,
        "transfer_ms": 1e3 * transfer,
        "total_ms": 1e3 * total,
        "total_p95_ms": 1e3 * float(np.percentile([line[3] for line in lines], 95)),
        "mib": statistics.median(nbytes) / 2**20,
        "mb_per_second": statistics.median(nbytes) / transfer / 1e6,
        "frames": len(lines),
    } | settings


def _sent_bytes(rows: np.ndarray) -> int:
    """Bytes of a frame's bands, about: of each the columns that show something."""
    step = max(LEAST_BAND_ROWS, BAND_BYTES // (rows.strides[0] or 1))
    covered = [(rows[first : first + step, :, 3] > 0).any(0).nonzero()[0] for first in range(0, len(rows), step)]
    widths = [int(np.ptp(columns)) + 1 if len(columns) else 0 for columns in covered]
    heights = [min(step, len(rows) - first) for first in range(0, len(rows), step)]
    return sum(height * width for height, width in zip(heights, widths, strict=True)) * 4 * rows.itemsize


def rows_of(matrix: torch.Tensor) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in matrix.double().tolist())
