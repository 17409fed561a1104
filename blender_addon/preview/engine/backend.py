# SPDX-License-Identifier: GPL-3.0-or-later
"""The preview's own connection to the backend that the preferences name, or to one that this Blender starts."""

from __future__ import annotations

import uuid

from ...common.errors import PbrFitError
from ...protocol.client import preview_events as events
from ...protocol.client.preview_client import PreviewClient
from ...settings.preferences import PBRFIT_AddonPreferences
from ...setup.backend_process import LocalBackend, backend_command, client_keys, local_backend
from ...setup.state import require_permission

# Failures after which the client says nothing more.
ENDING = frozenset({"unreachable", "address", "key", "version", "internal"})


class PreviewBackend:
    """A client for frames and lights, and the process of the backend if it is on this machine. Never waits."""

    def __init__(self, preferences: PBRFIT_AddonPreferences) -> None:
        """Start to connect. Raises PbrFitError if there is no backend to start, or if Blender may not go to it."""
        address = preferences.backend_address.strip()
        if address:
            require_permission(address)
        self.connected = False
        self.device = ""
        self._process: LocalBackend | None = None
        self.client = PreviewClient(client_keys(), session=uuid.uuid4().hex)
        self._connecting = bool(address)
        try:
            if address:
                self.client.connect(address, preferences.backend_key.strip())
            else:
                command = backend_command(preferences.backend_python.strip())
                self._process = local_backend(command, client_keys().public)
        except PbrFitError:
            self.client.close()
            raise

    def poll(self) -> list[events.PreviewEvent]:
        """What the backend said since the last call. Raises PbrFitError if it will say nothing more."""
        if self._process is not None:
            address = self._process.poll_address()
            if address is not None and not self._connecting:
                self._connecting = True
                self.client.connect(*address)
        if not self._connecting:
            return []
        taken = self.client.poll()
        for event in taken:
            if isinstance(event, events.PreviewConnected):
                self.connected = True
                self.device = str(event.info.get("device", ""))
            elif isinstance(event, events.PreviewLost):
                raise PbrFitError(f"The backend is gone: {event.reason}", "Connect again.")
            elif isinstance(event, events.PreviewFailed) and event.code in ENDING:
                raise PbrFitError(event.cause, event.cure)
        return taken

    def close(self) -> None:
        """End the connection. A backend that this Blender started stays."""
        self.client.close()
