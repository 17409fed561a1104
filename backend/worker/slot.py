"""A worker process as a place for one job at a time, and what it says of that job."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from backend.job.failures import MEMORY
from backend.job.model import FitProgress, FitResult, Job, JobCancelled, JobError, LightShown, MapPreviews
from backend.job.worker import ReportOfJob
from backend.protocol.settings import FitSettings
from backend.protocol.wire import Buffer
from backend.worker.channel import Channel, Packet
from backend.worker.log_relay import write_relayed
from backend.worker.process import WorkerProcess

_ANY = "auto"


@dataclass(eq=False)
class Attempt:
    """One run of a job in one worker process. iteration: the last one that it reported. waiting: bytes of views there.

    checkpoint: its name, once the job has one. lost: how the process was lost, a part of a sentence.
    """

    job: Job
    iteration: int = 0
    waiting: int = 0
    checkpoint: str = ""
    outcome: FitResult | JobError | JobCancelled | None = None
    lost: str = ""

    @property
    def is_over(self) -> bool:
        """Whether it needs nothing more of the process."""
        return self.outcome is not None or bool(self.lost)


class Slot:
    """Listens to a worker process. Its fields are guarded by `condition`, which is notified when one changes.

    number: its place in the order of the devices. channel: to the process that runs now. is_ready: whether that has imported
    what it needs. job: the job that has this place; attempt: its run in the process. jobs: how many have had it.
    """

    def __init__(
        self,
        number: int,
        process: WorkerProcess,
        condition: threading.Condition,
        report: ReportOfJob,
        freed: Callable[[], None],
    ) -> None:
        """freed: called when the process is ready, since a job may wait for that."""
        self.number = number
        self.process = process
        self.channel: Channel | None = None
        self.is_ready = False
        self.job: Job | None = None
        self.attempt: Attempt | None = None
        self.jobs = 0
        self._condition = condition
        self._report = report
        self._freed = freed
        self._taken_at = 0.0
        self._busy_s = 0.0

    @property
    def busy_s(self) -> float:
        """For how long jobs have had it, in all."""
        return self._busy_s + (time.monotonic() - self._taken_at if self.job is not None else 0.0)

    def suits(self, job: Job) -> bool:
        """Whether the job may run on this device."""
        wanted, name = job.settings.device, self.process.name
        if name == _ANY or not wanted.startswith("cuda"):
            return True
        return wanted in name.split("+") or (wanted == "cuda" and name.startswith("cuda"))

    def settings_of(self, job: Job) -> FitSettings:
        """The job's settings for the process, which sees its own GPU alone and by no number."""
        is_numbered = self.process.name != _ANY and job.settings.device.startswith("cuda")
        return replace(job.settings, device="cuda") if is_numbered else job.settings

    def take_job(self, job: Job) -> None:
        """Give the place to a job."""
        self.job, self._taken_at = job, time.monotonic()
        self.jobs += 1

    def leave(self) -> None:
        """The job has left."""
        self._busy_s = self.busy_s
        self.job = self.attempt = None

    # What the worker process says

    def started(self, channel: Channel) -> None:
        """See `Listener`."""
        with self._condition:
            self.channel = channel
            self._condition.notify_all()

    def ready(self) -> None:
        """See `Listener`."""
        with self._condition:
            self.is_ready = True
            self._condition.notify_all()
        self._freed()

    def lost(self, reason: str) -> None:
        """See `Listener`."""
        with self._condition:
            self.channel, self.is_ready = None, False
            attempt = self.attempt
            if attempt is not None and not attempt.is_over:
                if self.process.lost_for_memory:
                    attempt.outcome = JobError(
                        MEMORY,
                        f"The process that fits {reason}.",
                        "Choose a smaller resolution, or fewer or smaller views; or give the backend's processes more memory "
                        "(pbrfit serve --worker-memory).",
                    )
                else:
                    attempt.lost = reason
            self._condition.notify_all()

    def take(self, packet: Packet) -> bool:
        """See `Listener`."""
        body, attempt = packet.body, self.attempt
        if packet.kind == "log":
            known = None if attempt is None else attempt.job
            write_relayed(body, lambda job: known.owner if known is not None and known.id == job else "")
            return True
        if "job" not in body or "session" in body:
            return False
        if attempt is None or attempt.job.id != body["job"] or attempt.is_over:
            return True  # a job that has been left
        if packet.kind == "taken":
            with self._condition:
                attempt.waiting -= body["bytes"]
                self._condition.notify_all()
        elif packet.kind == "progress":
            progress = FitProgress(**body["progress"])
            attempt.iteration = max(attempt.iteration, progress.iteration)
            self._report(attempt.job, progress)
        elif packet.kind == "maps":
            self._report(attempt.job, MapPreviews(body["set"], dict(packet.arrays)))
        elif packet.kind == "light_shown":
            self._report(attempt.job, LightShown({**body["fields"], **packet.arrays}))
        elif packet.kind == "checkpoint":
            attempt.checkpoint = body["name"]
        else:
            self._take_outcome(attempt, packet)
        return True

    def _take_outcome(self, attempt: Attempt, packet: Packet) -> None:
        body = packet.body
        outcome: FitResult | JobError | JobCancelled = JobCancelled()
        if packet.kind == "result":
            files: dict[str, Buffer] = {name: data.data for name, data in packet.arrays.items()}
            outcome = FitResult(files, body["metrics"], body["hashes"])
        elif packet.kind == "failed":
            outcome = JobError(body["code"], body["cause"], body["cure"])
        with self._condition:
            attempt.outcome = outcome
            self._condition.notify_all()
