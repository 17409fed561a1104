"""How much of the time something may take that is done beside a fit."""

from __future__ import annotations

import threading
import time

# Of unused time this much may be made up for at once, and of a debt no more than this is remembered.
_MOST_SAVED_S = 0.03
_LARGEST_DEBT_S = 2.0


class TimeShare:
    """Keeps what is spent, over any longer time, at a share of it. For any thread.

    What is begun may take as long as it takes; what follows then waits until that has become a small enough part.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._lock = threading.Lock()
        self._credit = 0.0
        self._counted = time.monotonic()

    def wait_s(self) -> float:
        """Seconds until something may begin; 0: now."""
        with self._lock:
            self._count()
            return max(0.0, -self._credit / self._share)

    def spend(self, seconds: float) -> None:
        """Takes note of what something has cost."""
        with self._lock:
            self._count()
            self._credit = max(self._credit - seconds, -_LARGEST_DEBT_S)

    def _count(self) -> None:
        now = time.monotonic()
        self._credit = min(_MOST_SAVED_S, self._credit + self._share * (now - self._counted))
        self._counted = now
