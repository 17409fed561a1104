# SPDX-License-Identifier: GPL-3.0-or-later
"""The sources of a render's frames: the backend, or Blender's own GPU. They wait, so they are not for viewports."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import bpy
import numpy as np
from numpy.typing import NDArray

from ...common.errors import PbrFitError
from ...common.main_thread import in_main_thread
from ...protocol.client import preview_events as events
from ...protocol.frames import FrameRequest
from ...settings.preferences import addon_preferences
from ..gl.renderer import GlPreview
from ..scene.cameras import ImageCamera, Window, windowed
from ..scene.light import keep_light, kept_light
from ..scene.scene import Environment, PreviewScene, description
from .backend import PreviewBackend

WAIT_SECONDS = 0.005
CONNECT_SECONDS = 60.0
LAYERS = 8
# Samples to draw at a time on Blender's GPU. Between two bands, the artist can stop the render.
BAND_SAMPLES = 4_000_000
VIEWPORT = "render"

Progress = Callable[[float], None]
"""Takes the part that is done, 0..1; raises Stopped if the artist has stopped the render."""

Event = TypeVar("Event")


class Stopped(Exception):
    """The artist has stopped the render."""


class BackendSource:
    """Exact frames from the backend: float32, all samples."""

    name = "the backend"

    def __init__(self) -> None:
        """Start to connect. Raises PbrFitError if there is no backend to start."""
        self._backend = PreviewBackend(addon_preferences(bpy.context))
        self._numbers = itertools.count(1)

    def show(self, scene: PreviewScene, progress: Progress) -> None:
        """Set what the frames show. Raises PbrFitError if the backend cannot be reached, or cannot show it."""
        self._connect(progress)
        self._backend.client.set_scene(*description(scene))
        self._wait(progress, events.SceneReady)

    def light(self, environment: Environment, progress: Progress) -> events.PreparedLight:
        """The environment, prefiltered."""
        self._connect(progress)
        self._backend.client.request_light(environment.radiance)
        return self._wait(progress, events.PreparedLight)

    def frame(self, camera: ImageCamera, channel: str, spp: int, background: str, progress: Progress) -> NDArray[Any]:
        """A frame, float32 [h, w, 4], row 0 at the top."""
        number = next(self._numbers)
        self._backend.client.request_frame(
            FrameRequest(
                viewport=VIEWPORT,
                number=number,
                view=camera.view.tolist(),
                projection=camera.projection.tolist(),
                width=camera.window.width,
                height=camera.window.height,
                spp=spp,
                channel=channel,
                background=background,
                dtype="float32",
                layers=LAYERS,
                final=True,
            )
        )
        frame = self._wait(progress, events.PreviewFrame, lambda event: event.number == number)
        progress(1.0)
        return frame.image

    def end(self) -> None:
        """End a render; the connection stays for an animation's next frame."""

    def close(self) -> None:
        """End the connection."""
        self._backend.close()

    def _connect(self, progress: Progress) -> None:
        if not self._backend.connected:
            self._wait(progress, events.PreviewConnected)

    def _wait(
        self, progress: Progress, kind: type[Event], is_wanted: Callable[[Event], bool] = lambda _event: True
    ) -> Event:
        """The first wanted event of a kind. Raises PbrFitError if something failed, Stopped if the artist stopped it."""
        until = time.monotonic() + CONNECT_SECONDS
        while True:
            for event in self._backend.poll():
                if isinstance(event, kind) and is_wanted(event):
                    return event
                if isinstance(event, events.FrameFailed | events.PreviewFailed):
                    raise PbrFitError(event.cause, event.cure)
            if not self._backend.connected and time.monotonic() > until:
                raise PbrFitError("The backend does not answer.", "Press Check in the preferences of PBRfit.")
            progress(0.0)
            time.sleep(WAIT_SECONDS)


class GpuSource:
    """Frames from Blender's own GPU; the backend prepares the light if it is new."""

    name = "Blender's GPU"

    def __init__(self, scene: PreviewScene, progress: Progress) -> None:
        """Raises PbrFitError if the light is not prepared and no backend can do it."""
        self._scene = scene
        self._light = prepared_light(scene.environment, progress) if scene.environment is not None else None
        self._drawing = GlPreview()

    def frame(self, camera: ImageCamera, channel: str, spp: int, background: str, progress: Progress) -> NDArray[Any]:
        """A frame, float32 [h, w, 4], row 0 at the top."""
        width, height = camera.size
        rows = max(16, min(height, BAND_SAMPLES // (width * spp * spp)))
        bands = []
        for top in range(0, height, rows):
            progress(top / height)
            high = min(rows, height - top)
            window = Window(0, height - top - high, width, high)
            projection = camera.projection if high == height else windowed(camera.projection, window, camera.size)

            def drawn(
                projection: NDArray[np.float64] = projection, size: tuple[int, int] = (width, high)
            ) -> NDArray[Any]:
                image = self._drawing.draw(
                    self._scene, self._light, camera.view, projection, size, channel, spp=spp, background=background
                )
                return self._drawing.read(image)

            bands.append(in_main_thread(drawn, partial(progress, top / height)))
        progress(1.0)
        return np.concatenate(bands)

    def end(self) -> None:
        """Free what is on the GPU, in the thread that created it."""
        in_main_thread(self._drawing.free)


def prepared_light(environment: Environment, progress: Progress) -> events.PreparedLight:
    """The prefiltered light of an environment, from the disk or from the backend."""
    found = kept_light(environment.key)
    if found is None:
        source = BackendSource()
        try:
            found = source.light(environment, progress)
        finally:
            source.close()
        with contextlib.suppress(OSError):
            keep_light(found)
    return found
