"""The client of the backend's previews, for a main thread that must never wait: scenes up, frames down."""

from __future__ import annotations

import queue
import threading
import uuid
from typing import Any

import numpy as np

from ..frames import FrameRequest
from ..keys import KeyPair, new_keys
from ..scene_description import SceneDescription
from ..wakeup import Wakeup
from ..wire import LONGEST_NAME, ProtocolError, check_dtype
from . import events
from .link import Destination, Timing
from .preview_connection import PreviewConnection
from .preview_events import (
    MapsChanged,
    PreviewEvent,
    PreviewFailed,
    PreviewFrame,
    PreviewLost,
)

CLOSING_WAIT_S = 1.0


class PreviewClient:
    """A connection to a backend that draws a scene. No method waits for the backend.

    Call all methods from one thread. Arrays are not copied: do not write to an array after handing it over. What happens
    comes out of `poll`; `PreviewFailed` with code "unreachable", "address", "key", "version" or "internal" and `PreviewLost`
    end the connection, and `connect` starts a new one, whose scene must be set anew.

    keys: the client's own, which the backend must know; new ones without. A scene shows the jobs of clients with the same
    keys. session: a name that is this client's alone, a random one without; not that of a `BackendClient`.
    """

    def __init__(
        self,
        keys: KeyPair | None = None,
        session: str = "",
        timing: Timing = Timing(),  # noqa: B008 (frozen)
    ) -> None:
        self._keys = new_keys() if keys is None else keys
        self._session = session or uuid.uuid4().hex
        self._timing = timing
        self._events: queue.SimpleQueue[PreviewEvent] = queue.SimpleQueue()
        self._commands: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._wakeup: Wakeup | None = None
        self._thread: threading.Thread | None = None
        self._latest: dict[object, PreviewEvent] = {}
        self._lock = threading.Lock()

    @property
    def public_key(self) -> str:
        """The client's public key, Z85 text: the backend must know it (`pbrfit serve --client-key`)."""
        return self._keys.public

    @property
    def connected(self) -> bool:
        """Whether there is a connection, or one that is being made."""
        return self._thread is not None and self._thread.is_alive()

    def connect(self, address: str, server_key: str) -> None:
        """Starts to connect; `PreviewConnected` or `PreviewFailed` follows. An earlier connection is closed."""
        self.close()
        self._commands = queue.SimpleQueue()
        self._wakeup = Wakeup()
        destination = Destination(address, server_key, self._keys)
        arguments = (destination, self._session, self._timing, self._commands, self._wakeup, self._emit)
        connection = PreviewConnection(*arguments)
        self._thread = threading.Thread(target=connection.run, name="pbrfit-preview-client", daemon=True)
        self._thread.start()

    def set_scene(self, description: SceneDescription, arrays: dict[str, np.ndarray]) -> None:
        """Sets what frames show from now on; only the latest counts.

        Only arrays that the backend does not have are uploaded; one that is handed over again is not hashed again.
        `SceneReady` or `PreviewFailed` follows. Raises `ProtocolError` for an array whose dtype cannot travel, RuntimeError
        before `connect`.
        """
        for name, array in arrays.items():
            check_dtype(name, array)
            if not 0 < len(name) <= LONGEST_NAME:
                raise ProtocolError("array", f"The array name {name!r} is not 1 to {LONGEST_NAME} characters long.")
        self._command("scene", (description, dict(arrays)))

    def request_frame(self, request: FrameRequest) -> None:
        """Asks for a frame; `PreviewFrame` or `FrameFailed` follows, unless a later request of the viewport replaces it."""
        self._command("frame", request)

    def request_light(self, environment: np.ndarray) -> None:
        """Has an environment prefiltered as a fit does: float32 [H, W, 3], equirectangular, row 0 at the top, linear.

        `PreparedLight` or `PreviewFailed` with code "light" follows. Raises `ProtocolError` for another array.
        """
        if environment.dtype != np.float32 or environment.ndim != 3 or environment.shape[2] != 3:
            raise ProtocolError(
                "light", f"An environment is float32 [H, W, 3], not {environment.dtype} {environment.shape}."
            )
        self._command("light", environment)

    def poll(self) -> list[PreviewEvent]:
        """The events since the last call, in order; of each viewport only the latest frame. Never waits."""
        polled: list[PreviewEvent] = []
        while not self._events.empty():
            event = self._events.get_nowait()
            place = _place_of(event)
            if place is not None:
                with self._lock:
                    event = self._latest.pop(place)
            polled.append(event)
        return polled

    def close(self) -> None:
        """Ends the connection. Waits for at most a second, usually milliseconds."""
        if self._thread is None or self._wakeup is None:
            return
        self._command("close", None)
        self._thread.join(CLOSING_WAIT_S)
        self._thread = None

    def _emit(self, event: PreviewEvent | events.Failed | events.Disconnected) -> None:
        """Called in the I/O thread. A frame that was not polled yet makes way for the next of its viewport."""
        if isinstance(event, events.Failed):
            event = PreviewFailed(event.code, event.cause, event.cure)
        elif isinstance(event, events.Disconnected):
            event = PreviewLost(event.reason)
        place = _place_of(event)
        if place is not None:
            with self._lock:
                waits = place in self._latest
                self._latest[place] = event
            if waits:
                return
        self._events.put(event)

    def _command(self, name: str, value: Any) -> None:
        if self._wakeup is None:
            raise RuntimeError("The client is not connected: call connect first.")
        self._commands.put((name, value))
        self._wakeup.set()


def _place_of(event: PreviewEvent) -> object | None:
    """Names what only the latest counts of; None for events that all count."""
    if isinstance(event, PreviewFrame):
        return event.viewport
    return event if isinstance(event, MapsChanged) else None
