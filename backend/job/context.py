"""What all parts of a running job share, in one object."""

from __future__ import annotations

import time
from dataclasses import dataclass

from backend.fit.team import ALONE, Team
from backend.job.checkpoints import JobCheckpoint
from backend.job.control import JobControl
from backend.job.model import FitProgress, IsCancelled, JobCancelled, ReportProgress
from backend.protocol.settings import FitSettings


@dataclass(frozen=True)
class JobContext:
    """One for each run of a job.

    control: what the artist wants of the job meanwhile, and where it shows its maps. settings: what to fit and how.
    report: takes the job's progress. cancelled: whether to leave the job; it waits while the job is paused. team: the processes
    that share its fits.
    """

    control: JobControl
    settings: FitSettings
    report: ReportProgress
    cancelled: IsCancelled
    team: Team = ALONE

    @property
    def checkpoint(self) -> JobCheckpoint | None:
        """What the job keeps to continue after a crash; None where it keeps nothing, and until `run_fit_job` names it."""
        return self.control.checkpoint

    @property
    def worked_seconds(self) -> float:
        """A monotonic clock that stands still while the job is paused."""
        return time.monotonic() - self.control.rested_seconds

    def stop_if_cancelled(self) -> None:
        """Raise `JobCancelled` when the job is cancelled; wait while it is paused."""
        if self.cancelled():
            raise JobCancelled

    def say(self, phase: str, fraction: float, message: str) -> None:
        """Report a phase that has no iterations."""
        self.report(FitProgress(phase, fraction, 0, None, None, message))
