"""The worker processes as places for jobs: one for each device. Which of them a job gets, and where it goes when it loses one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from backend.job.model import Job, JobError
from backend.job.worker import ReportOfJob
from backend.worker.process import WorkerProcess
from backend.worker.slot import Slot


class Slots:
    """Any thread may call it. condition: guards all, and is notified when something changes.

    A process that is just starting gets a job only where no other could have it: so a device that does not work takes no jobs.
    freed: called when a place that jobs may wait for is there again, by whatever thread saw it.
    """

    def __init__(self, processes: Sequence[WorkerProcess], report: ReportOfJob, freed: Callable[[], None]) -> None:
        self.condition = threading.Condition()
        self._freed = freed
        self.all = [Slot(number, process, self.condition, report, freed) for number, process in enumerate(processes)]
        for slot in self.all:
            slot.process.attach(slot)

    def check(self, job: Job) -> None:
        """Raise `JobError` where none of the devices suits a job."""
        if not any(slot.suits(job) for slot in self.all):
            names = ", ".join(slot.process.name for slot in self.all)
            cause = f"The device {job.settings.device} was asked for, and this backend has {names}."
            raise JobError("device", cause, "Choose the device 'auto', or one of those.")

    def free(self, job: Job, only_ready: bool = False) -> Slot | None:
        """The place that a job would get now. only_ready: none where the process has yet to start."""
        with self.condition:
            suiting = [slot for slot in self.all if slot.suits(job)]
            ready = [slot for slot in suiting if slot.is_ready]
            places = [slot for slot in (ready if ready or only_ready else suiting) if slot.job is None]
            return min(places, key=lambda slot: slot.process.losses, default=None)

    def take(self, job: Job) -> Slot:
        """Give a job its place. Raises LookupError where there is none for it now."""
        with self.condition:
            slot = self.free(job)
            if slot is None:
                raise LookupError(job.id)
            slot.take_job(job)
            return slot

    def move(self, job: Job, slot: Slot) -> Slot:
        """The place where a job that has lost its process goes on soonest: another that is free and ready, or its own."""
        with self.condition:
            other = None if slot.is_ready else self.free(job, only_ready=True)
            if other is None:
                return slot
            slot.leave()
            other.take_job(job)
        self._freed()
        return other
