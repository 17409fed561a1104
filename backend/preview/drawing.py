"""What the preview thread does on the device: scenes, frames and lights, and previews of a running fit's maps."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from backend.job.device import resolve_device
from backend.job.map_previews import preview_images
from backend.job.snapshot import Snapshot
from backend.job.tables import known_light
from backend.preview.scene import LoadedScene, SceneFrame
from backend.preview.tasks import DrawnFrame
from backend.protocol.frames import FrameRequest
from backend.protocol.scene_description import Arrays, SceneDescription
from backend.protocol.wire import content_hash
from render.light.environment import EnvironmentLight
from render.light.prefiltered import PrefilteredLight
from render.material.material import MaterialMaps

# The cost of encrypting, sending and receiving a byte where both ends are on one machine: seconds of a core.
_SECONDS_PER_BYTE = 2e-9

# A frame travels in bands, so that encrypting, sending and decrypting overlap.
BAND_BYTES = 1 << 19
LEAST_BAND_ROWS = 32


class Scene(Protocol):
    """The part of `backend.preview.scene.LoadedScene` that a `Drawing` needs."""

    def updated(self, description: SceneDescription, arrays: Arrays) -> Scene: ...

    def set_job_maps(self, job_id: str, set_index: int, maps: MaterialMaps, openness: torch.Tensor | None) -> None: ...

    def set_light(self, light: PrefilteredLight) -> None: ...

    def frame(self, request: FrameRequest) -> SceneFrame: ...


class Drawing:
    """Belongs to the preview thread. On CUDA it uses a stream of its own, which does not wait for a fit's."""

    def __init__(
        self,
        load_scene: Callable[[SceneDescription, Arrays, torch.device], Scene] = LoadedScene,
        device: torch.device | str | None = None,
    ) -> None:
        """device: where frames are drawn; None: where fits run."""
        self.device = resolve_device("auto") if device is None else torch.device(device)
        self._load_scene = load_scene
        self._stream: torch.cuda.Stream | None = None
        if self.device.type == "cuda":
            self._stream = torch.cuda.Stream(self.device, priority=-1)  # type: ignore[no-untyped-call]  # torch's gap

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Sends the work of the code within to the stream of previews, without gradients."""
        with torch.no_grad(), torch.cuda.stream(self._stream) if self._stream else contextlib.nullcontext():
            yield

    def scene(self, known: Scene | None, description: SceneDescription, arrays: Arrays) -> Scene:
        """The scene of a description; a known scene is changed. Raises `PreviewError`."""
        if known is not None:
            return known.updated(description, arrays)
        return self._load_scene(description, arrays, self.device)

    def frame(self, scene: Scene, request: FrameRequest) -> DrawnFrame:
        """Draws a frame and waits for it. Raises `PreviewError`."""
        began = time.perf_counter()
        with self._measured() as mark:
            drawn = scene.frame(request)
        (top, left, height, width), bands = covered(drawn)
        gpu_s = mark()
        rendered = time.perf_counter()
        rows = self._in_main_memory(drawn.image[top : top + height, left : left + width])
        copied = time.perf_counter()
        timing = {"render": rendered - began, "copy": copied - rendered}
        cost = copied - began + rows.nbytes * _SECONDS_PER_BYTE if gpu_s is None else gpu_s
        return DrawnFrame(rows, (top, left, height, width), bands, timing, cost)

    def show_maps(self, scene: Scene, job: str, set_index: int, snapshot: Snapshot) -> None:
        """Gives a scene the maps of a job as they are now."""
        scene.set_job_maps(job, set_index, *self._maps(snapshot))

    def show_light(self, scene: Scene, snapshot: Snapshot) -> None:
        """Gives a scene the light that a job learns, as it is now. The snapshot must have one."""
        scene.set_light(self._learned(_base(snapshot), snapshot))

    def previews(self, snapshot: Snapshot, size: int) -> tuple[dict[str, NDArray[Any]], float]:
        """The maps of a job as `preview_images` shows them, and the seconds that the fit may have lost."""
        began = time.perf_counter()
        maps, openness = self._maps(snapshot)
        with self._measured() as mark:
            images = preview_images(maps, openness, size)
        gpu_s = mark()
        sent = sum(image.nbytes for image in images.values()) * _SECONDS_PER_BYTE
        return images, time.perf_counter() - began + sent if gpu_s is None else gpu_s

    def learned_light(self, snapshot: Snapshot) -> dict[str, Any]:
        """The fields of `PreparedLight` of the light that a job learns, as it is now. The snapshot must have one."""
        base = _base(snapshot)
        key = content_hash(np.ascontiguousarray(base.cpu().numpy()))
        return _fields(key, self._learned(base, snapshot))

    def prepared_light(self, key: str, environment: NDArray[np.float32]) -> dict[str, Any]:
        """The fields of `PreparedLight` of an environment float32 [H, W, 3]. Raises `JobError`."""
        return _fields(key, known_light(environment, self.device).build_mips())

    @contextlib.contextmanager
    def _measured(self) -> Iterator[Callable[[], float | None]]:
        """Measures the code within. Gives a function to call afterwards: it waits for the GPU and returns the seconds that
        the GPU worked; None on a CPU. A fit beside it loses these seconds on the GPU, and the whole time on a CPU.
        """
        if self._stream is None:
            yield lambda: None
            return
        first, last = (
            torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch's gap
            for _ in range(2)
        )
        first.record()

        def seconds() -> float:
            last.synchronize()
            return float(first.elapsed_time(last)) / 1000

        yield seconds
        last.record()

    def _maps(self, snapshot: Snapshot) -> tuple[MaterialMaps, torch.Tensor | None]:
        openness = None if snapshot.openness is None else self._here(snapshot.openness, snapshot)
        return MaterialMaps(self._here(snapshot.texels, snapshot)), openness

    def _learned(self, base: torch.Tensor, snapshot: Snapshot) -> PrefilteredLight:
        return EnvironmentLight(self._here(base, snapshot)).build_mips()

    def _here(self, tensor: torch.Tensor, snapshot: Snapshot) -> torch.Tensor:
        """A tensor of a fit, on this device, to be used once the fit has written it."""
        if not tensor.is_cuda:
            return tensor.to(self.device)
        stream = torch.cuda.current_stream(tensor.device)
        if snapshot.ready is not None:
            stream.wait_event(snapshot.ready)
        tensor.record_stream(stream)
        return tensor.to(self.device)

    def _in_main_memory(self, part: torch.Tensor) -> NDArray[Any]:
        part = part.contiguous()
        host = torch.empty(part.shape, dtype=part.dtype, pin_memory=part.is_cuda)
        host.copy_(part, non_blocking=True)
        if part.is_cuda:
            torch.cuda.current_stream(part.device).synchronize()
        rows: NDArray[Any] = host.numpy()
        return rows


def covered(frame: SceneFrame) -> tuple[tuple[int, int, int, int], tuple[tuple[int, int, int, int], ...]]:
    """The rect and the bands of a `DrawnFrame`: what a frame shows within its own rectangle, that of the scene's bounds.

    A band has about `BAND_BYTES`.
    """
    top, left, height, width = frame.rect
    image = frame.image[top : top + height, left : left + width]
    if not height or not width:
        return (top, left, 0, 0), ()
    step = min(height, max(LEAST_BAND_ROWS, BAND_BYTES // (4 * image.element_size() * width)))
    count = -(-height // step)
    shown = F.pad(image[..., 3] > 0, (0, 0, 0, count * step - height))
    # Both in one copy, since each copy makes the host wait for the device.
    found = torch.cat([shown.any(1), shown.view(count, step, width).any(1).flatten()]).cpu().numpy()
    by_band = found[count * step :].reshape(count, width)
    rows, columns = np.flatnonzero(found[: count * step]), np.flatnonzero(by_band.any(0))
    if not len(rows):
        return (top, left, 0, 0), ()
    first_row, end_row, first_column = int(rows[0]), int(rows[-1]) + 1, int(columns[0])
    bands = []
    for number in range(first_row // step, -(-end_row // step)):
        inside = np.flatnonzero(by_band[number]) - first_column
        across = (int(inside[0]), int(inside[-1]) + 1) if len(inside) else (0, 0)
        rows_of_band = max(number * step, first_row) - first_row, min((number + 1) * step, end_row) - first_row
        bands.append((*rows_of_band, *across))
    width = int(columns[-1]) + 1 - first_column
    return (top + first_row, left + first_column, end_row - first_row, width), tuple(bands)


def _base(snapshot: Snapshot) -> torch.Tensor:
    base = snapshot.base
    assert base is not None  # the caller has looked whether the job learns its light
    return base


def _fields(key: str, light: PrefilteredLight) -> dict[str, Any]:
    texels = light.atlas[0].permute(1, 2, 0)
    atlas = torch.zeros(*texels.shape[:2], 4, dtype=torch.float16, device=texels.device)
    atlas[..., :3] = texels[..., :3].clamp(max=torch.finfo(torch.float16).max)
    return {
        "key": key,
        "atlas": atlas.cpu().numpy(),
        "irradiance": light.irradiance.float().cpu().numpy().copy(),
        "places": tuple(light.layout.places),
        "roughnesses": tuple(float(level.roughness) for level in light.levels),
    }
