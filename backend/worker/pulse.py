"""Whether the worker process answers: a stopped or deadlocked one would keep its job, and all others, for ever.

The server asks, and the thread of the worker that reads packets answers; a fit or a kernel that is busy does not hold that
thread up. Seconds in which the server itself could not run do not count.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

ASK, ANSWER = "pulse", "pulse"
_LONGEST_WAIT_S = 2.0
# What a worker imports at its start may take long on a slow disk.
_START_S = 300.0


class Pulse:
    """Asks the worker process again and again, in a thread of its own.

    hung_s: after so long without an answer it counts as hung. ask: sends the question; hung: called where no answer comes,
    with how long that was.
    """

    def __init__(self, hung_s: float, ask: Callable[[], None], hung: Callable[[float], None]) -> None:
        self._hung_s = hung_s
        self._ask = ask
        self._hung = hung
        self._lock = threading.Lock()
        self._silent_s = 0.0
        self._patience_s = 0.0
        self._asked = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pbrfit-pulse", daemon=True)
        self._thread.start()

    def started(self) -> None:
        """There is a new process, which imports what it needs before it answers."""
        with self._lock:
            self._silent_s, self._asked = 0.0, False
            self._patience_s = max(self._hung_s, _START_S)

    def answered(self) -> None:
        """The process lives."""
        with self._lock:
            self._silent_s, self._asked = 0.0, False
            self._patience_s = self._hung_s

    def lost(self) -> None:
        """There is no process now."""
        with self._lock:
            self._patience_s = 0.0

    def close(self) -> None:
        """Ask no more."""
        self._ended.set()

    def _run(self) -> None:
        interval_s = min(_LONGEST_WAIT_S, self._hung_s / 6)
        last = time.monotonic()
        while not self._ended.wait(interval_s):
            now = time.monotonic()
            passed, last = min(now - last, 2 * interval_s), now
            with self._lock:
                if not self._patience_s:
                    continue
                self._silent_s += passed
                silent_s, asks = self._silent_s, not self._asked
                is_hung = silent_s > self._patience_s
                self._asked = True
                if is_hung:
                    self._patience_s = 0.0
            if is_hung:
                self._hung(silent_s)
            elif asks:
                self._ask()
