# SPDX-License-Identifier: GPL-3.0-or-later
"""The prepared lights of the preview: the latest ones in memory, others on disk, new ones from the backend."""

from __future__ import annotations

import contextlib
from collections import OrderedDict

from ...protocol.client.preview_events import PreparedLight
from ..scene.light import ShownLight, keep_light, kept_light
from ..scene.scene import Environment, PreviewScene
from .connections import BackendConnections

LIGHTS_KEPT = 4
GROUP = "light"


class PreparedLights:
    """Lights by the key of their environment. For Blender's main thread."""

    def __init__(self, connections: BackendConnections) -> None:
        self._connections = connections
        self._lights: OrderedDict[str, PreparedLight] = OrderedDict()
        self._asked: set[str] = set()

    def of(self, scene: PreviewScene) -> ShownLight | None:
        """The prepared light of a scene; None while the backend prepares it, or if nothing can prepare it."""
        if scene.learned is not None:
            return scene.learned
        environment = scene.environment
        if environment is None:
            return None
        if environment.key not in self._lights:
            found = kept_light(environment.key)
            if found is None:
                self._ask(environment)
                return None
            self._remember(found)
        self._lights.move_to_end(environment.key)
        return self._lights[environment.key]

    def take(self, light: PreparedLight) -> None:
        """Keep a light that the backend has prepared, on disk too."""
        self._remember(light)
        with contextlib.suppress(OSError):
            keep_light(light)

    def forget_questions(self) -> None:
        """Forget which lights were asked for: the connections have ended, so no answers will come."""
        self._asked.clear()

    def free(self) -> None:
        """Forget all lights; those on disk stay."""
        self._lights.clear()

    def _ask(self, environment: Environment) -> None:
        backend = self._connections.backend(GROUP)
        if backend is not None and backend.connected and environment.key not in self._asked:
            self._asked.add(environment.key)
            backend.client.request_light(environment.radiance)

    def _remember(self, light: PreparedLight) -> None:
        self._asked.discard(light.key)
        self._lights[light.key] = light
        while len(self._lights) > LIGHTS_KEPT:
            self._lights.popitem(last=False)
