"""What both clients share, so that a main thread never waits: a queue of commands, a queue of events, one I/O thread."""

from __future__ import annotations

import queue
import threading
import uuid
from collections.abc import Hashable, Mapping
from typing import Any, Generic, TypeVar

from numpy.typing import NDArray

from ..keys import KeyPair, new_keys
from ..wakeup import Wakeup
from ..wire import LONGEST_NAME, ProtocolError, check_dtype
from .link import Destination, Timing
from .link_loop import Commands, LinkLoop, LoopSetup

CLOSING_WAIT_S = 1.0

EventT = TypeVar("EventT")
"""The events that `poll` returns."""


class PolledClient(Generic[EventT]):
    """The main thread's end of one connection. Call all methods from one thread.

    A subclass makes the loop that its I/O thread runs, and names the events of which only the latest counts.
    """

    _thread_name = "pbrfit-client"

    def __init__(self, keys: KeyPair | None, session: str, timing: Timing) -> None:
        self._keys = new_keys() if keys is None else keys
        self._session = session or uuid.uuid4().hex
        self._timing = timing
        self._events: queue.SimpleQueue[EventT] = queue.SimpleQueue()
        self._commands: Commands = queue.SimpleQueue()
        self._wakeup: Wakeup | None = None
        self._thread: threading.Thread | None = None
        self._latest: dict[Hashable, EventT] = {}
        self._lock = threading.Lock()

    @property
    def public_key(self) -> str:
        """The client's public key, Z85 text: the backend must know it (`pbrfit serve --client-key`)."""
        return self._keys.public

    @property
    def connected(self) -> bool:
        """Whether there is a connection, or one is being made."""
        return self._thread is not None and self._thread.is_alive()

    def poll(self) -> list[EventT]:
        """Returns the events since the last call, in order. Never waits."""
        polled: list[EventT] = []
        while not self._events.empty():
            event = self._events.get_nowait()
            place = self._place_of(event)
            if place is not None:
                with self._lock:
                    event = self._latest.pop(place)
            polled.append(event)
        return polled

    def close(self) -> None:
        """Ends the connection; a job that still runs on it is cancelled. Waits for at most a second, usually milliseconds."""
        if self._thread is None or self._wakeup is None:
            return
        self._command("close", None)
        self._thread.join(CLOSING_WAIT_S)
        self._thread = None

    def _start(self, address: str, server_key: str) -> None:
        """Starts the I/O thread of a new connection; an earlier one is closed."""
        self.close()
        self._commands = queue.SimpleQueue()
        self._wakeup = Wakeup()
        destination = Destination(address, server_key, self._keys)
        loop = self._new_loop(LoopSetup(destination, self._session, self._timing, self._commands, self._wakeup))
        self._thread = threading.Thread(target=loop.run, name=self._thread_name, daemon=True)
        self._thread.start()

    def _command(self, name: str, value: Any) -> None:
        if self._wakeup is None:
            raise RuntimeError("The client is not connected: call connect first.")
        self._commands.put((name, value))
        self._wakeup.set()

    def _emit(self, event: EventT) -> None:
        """Called in the I/O thread. Where only the latest event counts, it replaces one that was not polled yet."""
        place = self._place_of(event)
        if place is not None:
            with self._lock:
                waits = place in self._latest
                self._latest[place] = event
            if waits:
                return
        self._events.put(event)

    def _new_loop(self, setup: LoopSetup) -> LinkLoop[Any]:
        """The loop of a new connection."""
        raise NotImplementedError

    def _place_of(self, event: EventT) -> Hashable | None:
        """The name of that of which only the latest event counts; None for events that all count."""
        raise NotImplementedError


def check_arrays(arrays: Mapping[str, NDArray[Any]]) -> None:
    """Raises `ProtocolError` with code "array" for an array whose dtype or name cannot travel."""
    for name, array in arrays.items():
        check_dtype(name, array)
        if not 0 < len(name) <= LONGEST_NAME:
            raise ProtocolError("array", f"The array name {name!r} is not 1 to {LONGEST_NAME} characters long.")
