# SPDX-License-Identifier: GPL-3.0-or-later
"""The link to the backend. It is at an address, or on this machine, where this Blender starts it if none runs."""

from __future__ import annotations

import time
import uuid

from ..common.errors import PbrFitError
from ..protocol.client import events
from ..protocol.client.client import BackendClient
from ..settings.preferences import PBRFIT_AddonPreferences
from ..setup.backend_process import LocalBackend, backend_command, client_keys, local_backend, lose_local_backend

# Seconds to wait before each attempt to start a backend that was lost.
RESTART_DELAYS = (0.0, 1.0, 2.0, 4.0)
# All connections of this Blender use the same one: if the link is lost but the backend lives, it ends the job of the last
# connection.
SESSION = uuid.uuid4().hex
LOST_CODES = frozenset({"unreachable", "job_lost", "client_gone", "draining", "key", "version", "address"})


class BackendLost(PbrFitError):
    """The backend or the link to it is gone; the fit can go on with another backend."""


class BackendLink:
    """The client and, if the backend is on this machine, its process. Never waits."""

    def __init__(self, preferences: PBRFIT_AddonPreferences, again: bool) -> None:
        """Start to connect to the backend that the preferences name, or start one on this machine.

        again: the last backend was lost; if the new one does not start, try a few more times.
        Raises PbrFitError if there is no backend to start.
        """
        address = preferences.backend_address.strip()
        self.connected = False
        self._backend: LocalBackend | None = None
        self._command: list[str] = []
        self._delays = list(RESTART_DELAYS) if again else [0.0]
        self._start_at = 0.0
        self.client = BackendClient(keys=client_keys(), session=SESSION)
        self._connecting = bool(address)
        if address:
            self.client.connect(address, preferences.backend_key.strip())
        else:
            self._command = backend_command(preferences.backend_python.strip())
            self._start()

    @property
    def message(self) -> str:
        """What the link waits for while there is no connection."""
        wait = self._start_at - time.monotonic()
        return f"Starting the backend again in {wait:.0f} s" if wait > 0.5 else "Starting the backend"

    def poll(self) -> list[events.Event]:
        """What the backend said since the last call. Raises BackendLost if it is gone."""
        if not self._command:
            return self._events()
        try:
            if self._backend is None:
                if time.monotonic() >= self._start_at:
                    self._start()
                return []
            address = self._backend.poll_address()
        except PbrFitError as error:
            if self.connected or not self._delays:
                raise BackendLost(error.cause, error.cure) from error
            self._backend = None
            self._start_at = time.monotonic() + self._delays[0]
            return []
        if address is not None and not self._connecting:
            self._connecting = True
            self.client.connect(*address)
        return self._events()

    def last_words(self) -> str:
        """The end of a local backend's log, to append to a sentence of an error."""
        return self._backend.last_words() if self._backend is not None else ""

    def close(self) -> None:
        """Cancel what runs in the backend and end the connection. A local backend stays for the next fit."""
        self.client.close()

    def _start(self) -> None:
        self._delays.pop(0)
        self._backend = local_backend(self._command, client_keys().public)

    def _events(self) -> list[events.Event]:
        if not self._connecting:
            return []
        taken: list[events.Event] = []
        for event in self.client.poll():
            if isinstance(event, events.Connected):
                self.connected = True
            elif isinstance(event, events.Disconnected):
                if self._command:
                    lose_local_backend()  # it lives, but does not answer
                raise BackendLost(f"The backend is gone: {event.reason}", "Resume the fit, or start it again.")
            elif isinstance(event, events.Failed) and event.code in LOST_CODES:
                raise BackendLost(event.cause, event.cure)
            taken.append(event)
        return taken
