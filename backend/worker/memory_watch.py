"""Whether the worker process takes more memory than it may.

The server looks, since a process that takes all that it can get may not get to it itself. A limit of the system's on addresses
(RLIMIT_AS) is none on memory: CUDA reserves far more addresses than it ever uses.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from backend.worker.process_memory import process_memory

# Between two looks a process can take what it gets in this time: some hundred megabytes a thread that writes.
INTERVAL_S = 0.1


class MemoryWatch:
    """Looks at a process in a thread of its own. Where the system does not say what a process takes, nothing happens.

    most: bytes. pid: of the process now; 0: there is none. exceeded: called with what it takes, once for each process.
    """

    def __init__(self, most: int, pid: Callable[[], int], exceeded: Callable[[int], None]) -> None:
        self._most = most
        self._pid = pid
        self._exceeded = exceeded
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pbrfit-memory", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._ended.set()

    def _run(self) -> None:
        told = 0
        while not self._ended.wait(INTERVAL_S):
            pid = self._pid()
            taken = process_memory(pid)
            if taken is not None and taken > self._most and pid != told:
                told = pid
                self._exceeded(taken)
