# SPDX-License-Identifier: GPL-3.0-or-later
"""The link to the backend. It is at an address, or on this machine, where this Blender starts it if none runs."""

from __future__ import annotations

import time
import uuid

from ..common.errors import PbrFitError
from ..protocol.client import events
from ..protocol.client.client import BackendClient
from ..protocol.client.link import REMOTE, Timing
from ..settings.preferences import PBRFIT_AddonPreferences
from ..setup.backend_process import LocalBackend, backend_command, client_keys, local_backend, lose_local_backend

# Seconds to wait before each attempt to start a backend that was lost.
RESTART_DELAYS = (0.0, 1.0, 2.0, 4.0)
# All connections of this Blender use the same one: if the link is lost but the backend lives, it ends the job of the last
# connection.
SESSION = uuid.uuid4().hex
LOST_CODES = frozenset({"unreachable", "job_lost", "client_gone", "draining", "key", "version", "address"})
# Of those, what a backend says that is there and would take the job again.
FORGOTTEN_CODES = frozenset({"job_lost", "client_gone"})

# The add-on sends only what its own version allows.
OTHER_VERSION = (
    "The backend is another version of PBRfit. Install the same version at both ends, or choose what it allows."
)


class BackendLost(PbrFitError):
    """The backend, the link to it or its job is gone; the fit can go on with another backend.

    backend_is_there: it would take the job again; job_may_go_on: it is out of reach, and perhaps works on.
    """

    def __init__(self, cause: str, cure: str, backend_is_there: bool = False, job_may_go_on: bool = False) -> None:
        super().__init__(cause, cure)
        self.backend_is_there = backend_is_there
        self.job_may_go_on = job_may_go_on


class BackendLink:
    """The client and, if the backend is on this machine, its process. Never waits.

    lost: whether the backend, which is elsewhere, does not answer and is tried again. job: the one to attach to there; empty:
    none.
    """

    def __init__(self, preferences: PBRFIT_AddonPreferences, again: bool, job: str = "") -> None:
        """Start to connect to the backend that the preferences name, or start one on this machine.

        again: the last backend was lost; if the new one does not start, try a few more times. job: of a backend elsewhere, to
        attach to.
        Raises PbrFitError if there is no backend to start.
        """
        address = preferences.backend_address.strip()
        self.connected = self.lost = False
        self.job = job if address else ""
        self._backend: LocalBackend | None = None
        self._command: list[str] = []
        self._delays = list(RESTART_DELAYS) if again else [0.0]
        self._start_at = 0.0
        # A backend on this machine that does not answer has died, and another is started.
        self.client = BackendClient(REMOTE if address else Timing(), client_keys(), SESSION)
        self._connecting = bool(address)
        if address:
            self.client.connect(address, preferences.backend_key.strip(), job)
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
                cause, cure = f"The backend is gone: {event.reason}", "Resume the fit, or start it again."
                raise BackendLost(cause, cure, job_may_go_on=not self._command)
            elif isinstance(event, events.Failed) and event.code in LOST_CODES:
                forgotten = event.code in FORGOTTEN_CODES and not self._command
                raise BackendLost(event.cause, event.cure, backend_is_there=forgotten)
            elif isinstance(event, events.Failed) and event.code == "settings":
                raise PbrFitError(event.cause, OTHER_VERSION)
            elif isinstance(event, events.ConnectionLost | events.ConnectionBack):
                self.lost = isinstance(event, events.ConnectionLost)
            taken.append(event)
        return taken
