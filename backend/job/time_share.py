"""How much of the time work beside a fit may take."""

from __future__ import annotations

import threading
import time

# At most this much unused time can be spent at once, and a larger debt than this is forgotten.
_MOST_SAVED_S = 0.03
_LARGEST_DEBT_S = 2.0


class TimeShare:
    """Keeps the time that is spent, over any longer time, at a share of it. Any thread may call it.

    Work that has begun may take as long as it needs. The next piece then waits until the share is kept again.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._lock = threading.Lock()
        self._credit = 0.0
        self._counted = time.monotonic()

    def wait_s(self) -> float:
        """Seconds until the next piece of work may begin; 0: now."""
        with self._lock:
            self._count()
            return max(0.0, -self._credit / self._share)

    def spend(self, seconds: float) -> None:
        """Count the seconds that a piece of work has taken."""
        with self._lock:
            self._count()
            self._credit = max(self._credit - seconds, -_LARGEST_DEBT_S)

    def _count(self) -> None:
        now = time.monotonic()
        self._credit = min(_MOST_SAVED_S, self._credit + self._share * (now - self._counted))
        self._counted = now
