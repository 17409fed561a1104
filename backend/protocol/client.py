"""The client of the backend, for a main thread that must never wait.

The main thread only fills a queue of commands and drains a queue of events; hashing, sending and receiving happen in
one I/O thread (`connection.py`), which owns the socket.
"""

from __future__ import annotations

import queue
import threading
import uuid
from typing import Any

import numpy as np

from .connection import Connection, Timing
from .events import Event
from .settings import FitSettings
from .wakeup import Wakeup
from .wire import LONGEST_NAME, ProtocolError, check_dtype

CLOSING_WAIT_S = 1.0


class BackendClient:
    """One connection to a backend and at most one job on it. No method waits for the backend.

    Call all methods from one thread. Arrays are not copied: do not write to an array after handing it over.
    What happens comes out of `poll`; `Failed` with code "unreachable", "address" or "version" and `Disconnected`
    end the connection, and `connect` starts a new one.
    """

    def __init__(self, timing: Timing = Timing()) -> None:  # noqa: B008 (frozen)
        self._timing = timing
        self._session = uuid.uuid4().hex
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._commands: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._wakeup: Wakeup | None = None
        self._thread: threading.Thread | None = None

    def connect(self, address: str) -> None:
        """Starts to connect to an address such as tcp://127.0.0.1:5555; `Connected` or `Failed` follows.

        An earlier connection of this client is closed.
        """
        self.close()
        self._commands = queue.SimpleQueue()
        self._wakeup = Wakeup()
        connection = Connection(address, self._session, self._timing, self._commands, self._wakeup, self._events.put)
        self._thread = threading.Thread(target=connection.run, name="pbrfit-client", daemon=True)
        self._thread.start()

    def submit(self, settings: FitSettings, arrays: dict[str, np.ndarray], view_count: int = 0) -> None:
        """Submits a job; only arrays that the backend does not have are uploaded. An earlier job is cancelled.

        view_count: how many views will follow, 0 if unknown; then `end_views` alone says when they end.
        Raises `ProtocolError` for an array whose dtype cannot travel, RuntimeError before `connect`.
        `Progress` (uploading), `Accepted` and the job's events follow.
        """
        for name, array in arrays.items():
            check_dtype(name, array)
            if not 0 < len(name) <= LONGEST_NAME:
                raise ProtocolError("array", f"The array name {name!r} is not 1 to {LONGEST_NAME} characters long.")
        self._command("submit", (settings, dict(arrays), view_count))

    def add_view(self, view: dict[str, Any], image: np.ndarray) -> None:
        """Sends one view of the job: `index`, `held_out`, `view` and `projection` (4x4 nested lists),
        and its image, float16 or float32 [h, w, 4]. May be called before the job is accepted.
        """
        check_dtype("image", image)
        self._command("view", (dict(view), image))

    def end_views(self) -> None:
        """Says that no more views follow."""
        self._command("end_views", None)

    def cancel(self) -> None:
        """Cancels the job; `Cancelled` follows unless the job ends first. Without a job nothing happens."""
        self._command("cancel", None)

    def poll(self) -> list[Event]:
        """The events since the last call, in order. Never waits."""
        events: list[Event] = []
        while not self._events.empty():
            events.append(self._events.get_nowait())
        return events

    def close(self) -> None:
        """Cancels a job that still runs and ends the connection. Waits for at most a second, usually milliseconds."""
        if self._thread is None or self._wakeup is None:
            return
        self._command("close", None)
        self._thread.join(CLOSING_WAIT_S)
        self._thread = None

    def _command(self, name: str, value: Any) -> None:
        if self._wakeup is None:
            raise RuntimeError("The client is not connected: call connect first.")
        self._commands.put((name, value))
        self._wakeup.set()
