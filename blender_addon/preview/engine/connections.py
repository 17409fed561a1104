# SPDX-License-Identifier: GPL-3.0-or-later
"""The preview's connections to the backend: one for all viewports that show the same; what to do when it is lost."""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterator

import bpy

from ...common.errors import LAST_WORDS, PbrFitError
from ...protocol.client import preview_events as events
from ...settings.preferences import addon_preferences
from ...setup.backend_process import local_backend_runs
from ..scene.scene import PreviewScene, description
from .backend import PreviewBackend

CONNECT = 'Press "Connect Again" in the tab PBRfit.'
# After a backend was lost, wait this long before the next attempt.
AGAIN_SECONDS = 3.0


class BackendConnections:
    """Connections, each for one group of viewports. Nothing here waits. For Blender's main thread."""

    def __init__(self) -> None:
        self.trouble: PbrFitError | None = None  # with the connection
        self.refusal: PbrFitError | None = None  # of a scene, a frame or a light
        self._backends: dict[str, PreviewBackend] = {}
        self._scenes: dict[str, Hashable] = {}
        self._lost_at = 0.0

    @property
    def can_stream(self) -> bool:
        """Whether the backend can draw, as far as known."""
        return self.trouble is None and self.refusal is None

    @property
    def any_connected(self) -> bool:
        """Whether a backend has answered."""
        return any(backend.connected for backend in self._backends.values())

    @property
    def waiting(self) -> str:
        """What has not answered yet, in a sentence; empty once a backend has answered or is lost."""
        if self.trouble is not None or self.any_connected:
            return ""
        address = addon_preferences(bpy.context).backend_address.strip()
        return f"The backend at {address} has not answered yet." if address else "The backend is starting."

    @property
    def can_try_again(self) -> bool:
        """Whether the backend was lost and a fit has started it again since then."""
        return self.trouble is not None and local_backend_runs() and time.monotonic() > self._lost_at + AGAIN_SECONDS

    def backend(self, group: str) -> PreviewBackend | None:
        """The connection of a group; starts one if there is none. None if the backend is lost."""
        if group not in self._backends and self.trouble is None:
            try:
                self._backends[group] = PreviewBackend(addon_preferences(bpy.context))
            except PbrFitError as error:
                self.lose(error)
        return self._backends.get(group)

    def show(self, group: str, scene: PreviewScene) -> PreviewBackend | None:
        """Give this scene to a group's connection and return the connection; None while there is none."""
        backend = self.backend(group)
        if backend is None or not backend.connected:
            return None
        content = content_of(scene)
        if self._scenes.get(group) != content:
            self._scenes[group] = content
            self.refusal = None
            backend.client.set_scene(*description(scene))
        return backend

    def poll(self) -> Iterator[tuple[str, events.PreviewEvent]]:
        """Each group's events since the last call. Once a backend is lost, `trouble` says so and no more events come."""
        for group, backend in list(self._backends.items()):
            try:
                polled = backend.poll()
            except PbrFitError as error:
                if backend.connected:
                    first, *_ = error.cause.splitlines()
                    error = PbrFitError(first.removesuffix(LAST_WORDS), CONNECT)
                self.lose(error)
                return
            for event in polled:
                yield group, event

    def lose(self, error: PbrFitError) -> None:
        """Note that the backend is gone, and why; end all connections."""
        self.trouble = error
        self._lost_at = time.monotonic()
        self.disconnect()

    def disconnect(self) -> None:
        """End all connections. The backend itself stays."""
        for backend in self._backends.values():
            backend.close()
        self._backends.clear()
        self._scenes.clear()

    def forget_trouble(self) -> None:
        """End all connections and forget the trouble: the next frame starts or finds a backend."""
        self.disconnect()
        self.trouble = self.refusal = None


def content_of(scene: PreviewScene) -> Hashable:
    """Equal for scenes that are the same for the backend. It has the maps of a running fit itself, so they do not count."""
    parts = tuple((part.key, part.matrix.tobytes(), part.fallback or part.look, part.job) for part in scene.parts)
    return parts, scene.environment, scene.light_job
