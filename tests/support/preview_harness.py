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
from backend.preview.scene import PreviewError, SceneFrame
from backend.protocol.client.preview_client import PreviewClient
from backend.protocol.client.preview_events import FrameRequest, PreviewEvent, SceneReady
from backend.protocol.keys import KeyPair

IDENTITY = tuple(tuple(float(row == column) for column in range(4)) for row in range(4))


class StandIn:
    """Draws a rectangle of the colour that its description or the maps of a job say.

    seen: every request that was drawn. gate: what a frame waits for. loads: the arrays of each description.
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
        if not isinstance(description, dict) or "color" not in description:
            raise PreviewError("The scene has no colour.", "Give it one.")
        self.color, self.rect = description["color"], description.get("rect")
        self.jobs = [part["job"] for part in description.get("parts", [])]
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

    def show(self, description: dict, arrays: dict[str, np.ndarray] | None = None) -> None:
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
