"""What a batch says while it works: one progress line for all jobs, and the events of each in the log."""

from __future__ import annotations

import threading
import time

from backend.cli.batch_log import EventLog
from backend.cli.terminal import Progress

LOG_SECONDS = 1.0
"""Progress within a phase is logged at most so often."""


class JobProgress:
    """The progress of one job among others; a `Progress`."""

    def __init__(self, shown: Progress, lock: threading.Lock, log: EventLog, name: str, job: dict[str, str]) -> None:
        """shown: where all jobs show theirs, one at a time by ``lock``; name: before each line; job: the values that name
        the job in the log."""
        self._shown = shown
        self._lock = lock
        self._log = log
        self._name = name
        self._job = job
        self._phase, self._logged = "", 0.0

    def show(
        self,
        phase: str,
        fraction: float,
        seconds_left: float | None = None,
        psnr_db: float | None = None,
        message: str = "",
    ) -> None:
        """Show and log the state of a phase."""
        with self._lock:
            self._shown.show(f"{self._name}  {phase}", fraction, seconds_left, psnr_db, message)
        now = time.monotonic()
        if phase == self._phase and now - self._logged < LOG_SECONDS:
            return
        self._phase, self._logged = phase, now
        self._log.write(
            "progress",
            **self._job,
            phase=phase,
            fraction=round(fraction, 4),
            seconds_left=seconds_left,
            psnr_db=psnr_db,
            message=message or None,
        )

    def note(self, text: str) -> None:
        """Print and log a line that stays."""
        with self._lock:
            self._shown.note(f"{self._name}  {text}")
        self._log.write("note", **self._job, text=text)

    def clear(self) -> None:
        """Take the progress line away."""
        with self._lock:
            self._shown.clear()
