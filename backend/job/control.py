"""What the artist wants of a job that runs: pause, go on, finish with what there is, stop. And what the job shows meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from backend.job.checkpoints import CheckpointFolder, JobCheckpoint
from backend.job.live_maps import JobLive


def _show_nobody(_set_index: int, _images: dict[str, np.ndarray]) -> None:
    pass


class JobControl:
    """One for each job; the I/O thread asks, the worker obeys when it looks.

    show: called by the job with the index of a set of maps and its previews, uint8 [h, w, 4] by name.
    show_light: called beside it with the fields of a `protocol.preview_events.PreparedLight`, the light as it is.
    live: who watches the maps meanwhile, and their latest copies.
    checkpoints: where the job may keep what it needs to go on after a crash, or None; checkpoint: what it keeps.
    """

    def __init__(self, checkpoints: CheckpointFolder | None = None) -> None:
        self.checkpoints = checkpoints
        self.checkpoint: JobCheckpoint | None = None
        self.show: Callable[[int, dict[str, np.ndarray]], None] = _show_nobody
        self.show_light: Callable[[dict[str, Any]], None] = lambda _light: None
        self.live = JobLive()
        self._condition = threading.Condition()
        self._paused = False
        self._finishing = False
        self._stopped = False
        self._keeps_checkpoint = False
        self._rested = 0.0

    @property
    def paused(self) -> bool:
        return self._paused

    @property
    def finishing(self) -> bool:
        """Whether the job is to end soon, with the best that it has."""
        return self._finishing

    @property
    def stopped(self) -> bool:
        return self._stopped

    @property
    def rested_seconds(self) -> float:
        """How long the job has been paused in all, while it looked."""
        return self._rested

    def pause(self) -> None:
        with self._condition:
            self._paused = not (self._finishing or self._stopped)

    def resume(self) -> None:
        with self._condition:
            self._paused = False
            self._condition.notify_all()

    def finish(self) -> None:
        with self._condition:
            self._finishing, self._paused = True, False
            self._condition.notify_all()

    def stop(self, keep_checkpoint: bool = False) -> None:
        """Ends the job. keep_checkpoint: it may be submitted again, to go on."""
        with self._condition:
            self._keeps_checkpoint = keep_checkpoint
            self._stopped, self._paused = True, False
            self._condition.notify_all()

    def discard_checkpoint(self) -> None:
        """Removes what was kept of a job that is over, unless it was stopped to go on later. For the worker."""
        if self.checkpoint is not None and not self._keeps_checkpoint:
            self.checkpoint.discard()

    def rest(self) -> bool:
        """Waits while the job is paused; returns whether it is stopped. For the worker."""
        if self._paused:
            with self._condition:
                began = time.monotonic()
                self._condition.wait_for(lambda: not self._paused)
                self._rested += time.monotonic() - began
        return self._stopped
