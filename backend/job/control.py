"""What the artist wants of a running job: pause, resume, finish early, stop. And what the job shows meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.job.checkpoints import CheckpointFolder, JobCheckpoint
from backend.job.live_maps import JobLive


def _show_nobody(_set_index: int, _images: dict[str, NDArray[np.uint8]]) -> None:
    pass


class JobControl:
    """One for each job. The I/O thread sets what is wanted; the worker obeys when it looks.

    show: the job calls it with the index of a set of maps and its previews, uint8 [h, w, 4] by name.
    show_light: the job calls it with the current light, the fields of a `protocol.client.preview_events.PreparedLight`.
    live: who watches the maps meanwhile, and their latest copies.
    checkpoints: the folder where the job may keep what it needs to continue after a crash, or None. checkpoint: what it keeps.
    named: called with the name of the checkpoint, once it has one.
    relay: called with each wish ("pause", "resume", "finish", "stop", "leave"), where the job runs in another process.
    economy: by how many powers of two the job is to be smaller than it was planned, because memory did not suffice.
    """

    def __init__(self, checkpoints: CheckpointFolder | None = None) -> None:
        self.checkpoints = checkpoints
        self.checkpoint: JobCheckpoint | None = None
        self.show: Callable[[int, dict[str, NDArray[np.uint8]]], None] = _show_nobody
        self.show_light: Callable[[dict[str, Any]], None] = lambda _light: None
        self.live = JobLive()
        self.named: Callable[[str], None] = lambda _name: None
        self.relay: Callable[[str], None] = lambda _wish: None
        self.economy = 0
        self._condition = threading.Condition()
        self._paused = False
        self._finishing = False
        self._stopped = False
        self._keeps_checkpoint = False
        self._leaving = False
        self._rested = 0.0

    @property
    def paused(self) -> bool:
        """Whether the job shall wait."""
        return self._paused

    @property
    def finishing(self) -> bool:
        """Whether the job shall end soon, with the best that it has."""
        return self._finishing

    @property
    def stopped(self) -> bool:
        """Whether the job shall end at once, without a result."""
        return self._stopped

    @property
    def leaving(self) -> bool:
        """Whether the stopped job shall first write a last checkpoint."""
        return self._leaving

    @property
    def keeps_checkpoint(self) -> bool:
        """Whether the files of a stopped job stay, so that it can be submitted again and continue."""
        return self._keeps_checkpoint

    @property
    def rested_seconds(self) -> float:
        """For how long the job has waited in `rest`, in all."""
        return self._rested

    def pause(self) -> None:
        """Let the job wait, until it is resumed, finished or stopped."""
        with self._condition:
            self._paused = not (self._finishing or self._stopped)
        self.relay("pause")

    def resume(self) -> None:
        """Let a paused job continue."""
        with self._condition:
            self._paused = False
            self._condition.notify_all()
        self.relay("resume")

    def finish(self) -> None:
        """End the job soon, with the best that it has."""
        with self._condition:
            self._finishing, self._paused = True, False
            self._condition.notify_all()
        self.relay("finish")

    def stop(self, keep_checkpoint: bool = False) -> None:
        """End the job. keep_checkpoint: keep its files, so that it can be submitted again and continue."""
        with self._condition:
            self._keeps_checkpoint = keep_checkpoint
            self._stopped, self._paused = True, False
            self._condition.notify_all()
        self.relay("stop")

    def leave(self) -> None:
        """End the job, which first writes down where it is, so that it can be submitted again and continue there."""
        with self._condition:
            self._keeps_checkpoint = self._leaving = self._stopped = True
            self._paused = False
            self._condition.notify_all()
        self.relay("leave")

    def keep_in(self, checkpoint: JobCheckpoint) -> None:
        """Let the job keep what it needs to continue in this checkpoint. For the worker."""
        self.checkpoint = checkpoint
        self.named(checkpoint.name)

    def discard_checkpoint(self) -> None:
        """Remove the checkpoint of a job that is over, unless it was stopped to continue later. For the worker."""
        if self.checkpoint is not None and not self._keeps_checkpoint:
            self.checkpoint.discard()

    def rest(self) -> bool:
        """Wait while the job is paused. Returns whether it is stopped. For the worker."""
        if self._paused:
            with self._condition:
                began = time.monotonic()
                self._condition.wait_for(lambda: not self._paused)
                self._rested += time.monotonic() - began
        return self._stopped
