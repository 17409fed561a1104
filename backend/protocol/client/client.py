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

from ..keys import KeyPair, new_keys
from ..settings import FitSettings
from ..wakeup import Wakeup
from ..watching import LARGEST_WATCHED, SHORTEST_INTERVAL_S
from ..wire import LONGEST_NAME, ProtocolError, check_dtype
from .connection import Connection
from .events import Event, LightPreview, MapPreview
from .link import Destination, Timing

CLOSING_WAIT_S = 1.0


class BackendClient:
    """One connection to a backend and at most one job on it. No method waits for the backend.

    Call all methods from one thread. Arrays are not copied: do not write to an array after handing it over.
    What happens comes out of `poll`; `Failed` with code "unreachable", "address", "key" or "version" and
    `Disconnected` end the connection, and `connect` starts a new one.

    keys: the client's own, which the backend must know; new ones without. public_key: the public one of them.
    session: a name of up to 64 characters that is this client's alone, a random one without. A client that connects
    under the name of an earlier one ends what that one has left running there; its checkpoint stays.
    """

    def __init__(
        self,
        timing: Timing = Timing(),  # noqa: B008 (frozen)
        keys: KeyPair | None = None,
        session: str = "",
    ) -> None:
        self._timing = timing
        self._keys = new_keys() if keys is None else keys
        self._session = session or uuid.uuid4().hex
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._commands: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._wakeup: Wakeup | None = None
        self._thread: threading.Thread | None = None
        self._previews: dict[object, Event] = {}
        self._previews_lock = threading.Lock()

    @property
    def public_key(self) -> str:
        """The client's public key, Z85 text: the backend must know it (`pbrfit serve --client-key`)."""
        return self._keys.public

    def connect(self, address: str, server_key: str = "") -> None:
        """Starts to connect to an address such as tcp://127.0.0.1:5555; `Connected` or `Failed` follows.

        server_key: the backend's public key, Z85 text. An earlier connection of this client is closed.
        """
        self.close()
        self._commands = queue.SimpleQueue()
        self._wakeup = Wakeup()
        destination = Destination(address, server_key, self._keys)
        connection = Connection(destination, self._session, self._timing, self._commands, self._wakeup, self._emit)
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

    def pause(self) -> None:
        """Makes the job rest where it is; the worker stays with it. `Progress` with state "paused" follows."""
        self._command("pause", None)

    def resume(self) -> None:
        """Lets a paused job go on."""
        self._command("resume", None)

    def finish(self) -> None:
        """Ends the fit early with the maps as they are: `Result` follows soon. A paused job goes on to its end.

        Where the fit has not begun, the views that have arrived are all, and the fit is a short one.
        """
        self._command("finish", None)

    def watch(self, size: int, interval_s: float = 0.2) -> None:
        """Has the previews of this client's jobs come larger and more often, from now on and for later jobs too.

        size: their height and width at most, up to 1024 pixels; 0: as without (128, every half second). interval_s: seconds
        between those of a job, 0.05 at least. The backend sends fewer where they would slow the fit. While a job learns its
        light, `LightPreview` comes too, once a second at most. Raises ValueError for other values, RuntimeError before `connect`.
        """
        if not 0 <= size <= LARGEST_WATCHED or not interval_s >= SHORTEST_INTERVAL_S:
            raise ValueError(
                f"previews have 0 to {LARGEST_WATCHED} pixels, every {SHORTEST_INTERVAL_S} s at most, not {size}, {interval_s}"
            )
        self._command("watch", {"size": int(size), "interval_s": float(interval_s)})

    def poll(self) -> list[Event]:
        """The events since the last call, in order; of each map, and the light, only the latest preview. Never waits."""
        events: list[Event] = []
        while not self._events.empty():
            event = self._events.get_nowait()
            place = _place_of(event)
            if place is not None:
                with self._previews_lock:
                    event = self._previews.pop(place)
            events.append(event)
        return events

    def close(self) -> None:
        """Cancels a job that still runs and ends the connection. Waits for at most a second, usually milliseconds."""
        if self._thread is None or self._wakeup is None:
            return
        self._command("close", None)
        self._thread.join(CLOSING_WAIT_S)
        self._thread = None

    def _emit(self, event: Event) -> None:
        """Called in the I/O thread. A preview that was not polled yet makes way for the next in its place."""
        place = _place_of(event)
        if place is not None:
            with self._previews_lock:
                waits = place in self._previews
                self._previews[place] = event
            if waits:
                return
        self._events.put(event)

    def _command(self, name: str, value: Any) -> None:
        if self._wakeup is None:
            raise RuntimeError("The client is not connected: call connect first.")
        self._commands.put((name, value))
        self._wakeup.set()


def _place_of(event: Event) -> object | None:
    """Names what only the latest counts of; None for events that all count."""
    if isinstance(event, MapPreview):
        return event.set_index, event.name
    return "light" if isinstance(event, LightPreview) else None
