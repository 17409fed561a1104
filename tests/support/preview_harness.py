"""A scene that is quick to draw, and the preview client as Blender uses it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

import numpy as np
import torch
from support.server_harness import CLIENT_KEYS, PATIENCE_S, PATIENT, SERVER_KEYS

from backend.preview.drawing import Drawing
from backend.preview.look import PreviewError
from backend.preview.scene import SceneFrame
from backend.protocol.client.preview_client import PreviewClient
from backend.protocol.client.preview_events import PreviewEvent, SceneReady
from backend.protocol.frames import FrameRequest
from backend.protocol.keys import KeyPair
from backend.protocol.scene_description import (
    JobLight,
    JobMaps,
    LookDescription,
    MeshDescription,
    PartDescription,
    SceneDescription,
)

IDENTITY = tuple(tuple(float(row == column) for column in range(4)) for row in range(4))


def even_scene(shade: float = 0.5, job: str = "", light_job: str = "") -> SceneDescription:
    """A scene of one part, all of one grey, perhaps with the maps and the light of a job; only `StandIn` can draw it."""
    part = PartDescription(
        MeshDescription("position", "normal", "tangent", "uv", "triangles"),
        IDENTITY,
        LookDescription(kd=(shade, shade, shade)),
        JobMaps(job, 0) if job else None,
    )
    return SceneDescription((part,), JobLight(light_job) if light_job else None)


EMPTY_SCENE = SceneDescription(())


class StandIn:
    """Draws a rectangle of the grey that the first part's look or the maps of a job say; refuses a scene without parts.

    seen: every request that was drawn. gate: what a frame waits for. loads: the arrays of each description. rect: of the
    frames to come; None: all of the frame.
    """

    def __init__(self) -> None:
        self.seen: list[FrameRequest] = []
        self.loads: list[dict[str, np.ndarray]] = []
        self.maps: list[tuple[str, int, torch.Tensor]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.color, self.rect = 0.0, None
        self.drawing = Drawing(self.load, "cpu")

    def load(self, description, arrays, device):
        return self.updated(description, arrays)

    def updated(self, description, arrays):
        if not description.parts:
            raise PreviewError("The scene has no parts.", "Give it one.")
        self.color = description.parts[0].look.kd[0]
        self.jobs = [part.job for part in description.parts]
        self.loads.append(dict(arrays))
        return self

    def set_job_maps(self, job, set_index, maps, openness):
        self.maps.append((job, set_index, maps.texels.clone()))
        self.color = float(maps.texels[..., 0].mean())

    def set_light(self, light):
        self.light = light

    def frame(self, request):
        assert self.gate.wait(PATIENCE_S)
        self.seen.append(request)
        if request.number < 0:
            raise PreviewError("The number is negative.", "Count from 0.")
        dtype = getattr(torch, request.dtype)
        rect = tuple(self.rect or (0, 0, request.height, request.width))
        image = torch.full((request.height, request.width, 4), self.color, dtype=dtype)
        image[..., 1] = torch.arange(request.height, dtype=dtype)[:, None] / request.height
        image[..., 2] = request.number
        return SceneFrame(image, rect)


class PolledPreview(PreviewClient):
    """The client, and the events that a test has polled but not looked at yet."""

    def __init__(self, keys: KeyPair = CLIENT_KEYS) -> None:
        super().__init__(keys, timing=PATIENT)
        self.polled: list[PreviewEvent] = []

    def wait(self, *kinds: type, patience_s: float = PATIENCE_S) -> PreviewEvent:
        """The next event of one of these kinds; those before it are skipped."""
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            self.polled += self.poll()
            while self.polled:
                event = self.polled.pop(0)
                if isinstance(event, kinds):
                    return event
            time.sleep(0.001)
        raise AssertionError(f"none of {kinds} came")

    def show(self, description: SceneDescription, arrays: dict[str, np.ndarray] | None = None) -> None:
        self.set_scene(description, arrays or {})
        self.wait(SceneReady)


@contextlib.contextmanager
def preview_client(address: str, keys: KeyPair = CLIENT_KEYS) -> Iterator[PolledPreview]:
    client = PolledPreview(keys)
    client.connect(address, SERVER_KEYS.public)
    try:
        yield client
    finally:
        client.close()


def request(number: int = 0, viewport: str = "view", size: tuple[int, int] = (16, 24), **options) -> FrameRequest:
    """A request for a frame of (height, width)."""
    return FrameRequest(viewport, number, IDENTITY, IDENTITY, width=size[1], height=size[0], **options)
