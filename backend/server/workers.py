"""Who runs the jobs and draws the previews: a process for each device, or threads of the server's own process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from backend.job.model import Job, RunJob
from backend.job.worker import ReportOfJob, Worker
from backend.preview.tasks import PreviewReport
from backend.preview.worker import PreviewWorker
from backend.protocol.status import WorkerStatus
from backend.server.drawer import Drawer
from backend.worker.plan import WorkerPlan, named
from backend.worker.process import WorkerProcess
from backend.worker.process_memory import process_memory
from backend.worker.remote_jobs import RemoteWorker
from backend.worker.remote_previews import RemotePreviews

if TYPE_CHECKING:
    from backend.preview.drawing import Drawing


class Runner(Protocol):
    """Who runs jobs: `backend.job.worker.Worker`, here or in worker processes. count: how many at once."""

    count: int

    def check(self, job: Job) -> None:
        """Raise `JobError` where a job can never run here."""
        ...

    def can_take(self, job: Job) -> bool:
        """Whether a job would run at once. Asked only where fewer than `count` run."""
        ...

    def submit(self, job: Job) -> None:
        """Run a job."""
        ...

    def close(self, timeout_s: float) -> bool:
        """End. Returns whether it has ended in time."""
        ...


@dataclass(frozen=True)
class Workers:
    """runner, drawer: what the services use. processes: those of the devices; none where all happens in this process."""

    runner: Runner
    drawer: Drawer
    processes: tuple[WorkerProcess, ...] = ()

    @classmethod
    def in_processes(
        cls,
        processes: Sequence[WorkerProcess],
        job_report: ReportOfJob,
        preview_report: Callable[[str, PreviewReport], None],
        freed: Callable[[], None],
    ) -> Workers:
        """One for each device. freed: called when a job that waits may have a place now, by any thread."""
        previews = RemotePreviews(processes, preview_report)
        return cls(RemoteWorker(processes, job_report, freed, previews.job_is_at), previews, tuple(processes))

    @classmethod
    def in_threads(
        cls,
        run_job: RunJob,
        job_report: ReportOfJob,
        preview_report: Callable[[str, PreviewReport], None],
        make_drawing: Callable[[], Drawing] | None,
    ) -> Workers:
        """All in this process. make_drawing: called for the first preview; None: as the worker process has it."""
        worker = Worker(run_job, job_report)
        draw = make_drawing or (lambda: named(WorkerPlan.make_drawing)())
        return cls(worker, PreviewWorker(draw, preview_report, lambda: worker.running))

    def close(self, timeout_s: float) -> bool:
        """End all. Returns whether everything has ended, each within this time."""
        ended = self.runner.close(timeout_s) & self.drawer.close(timeout_s)
        for process in self.processes:
            ended &= process.close(timeout_s)
        return ended

    def statuses(self) -> tuple[WorkerStatus, ...]:
        """What each process does."""
        if not isinstance(self.runner, RemoteWorker) or not isinstance(self.drawer, RemotePreviews):
            return ()
        places = zip(self.runner.slots.all, self.drawer.counts(), strict=True)
        return tuple(
            WorkerStatus(
                slot.process.pid,
                slot.process.losses,
                slot.process.last_loss,
                process_memory(slot.process.pid),
                slot.process.device_bytes,
                _name_of(slot.process),
                slot.process.device.get("device_name", ""),
                "" if (job := slot.job) is None else job.id,
                slot.jobs,
                slot.busy_s,
                previews,
                slot.process.plan.memory_bytes or None,
            )
            for slot, previews in places
        )


def described(processes: Sequence[WorkerProcess]) -> dict[str, str] | None:
    """`device` and `device_name` for a welcome; None where no process has said what it has."""
    known = [process.device for process in processes if process.device]
    if not known:
        return None
    counts = Counter(
        process.device["device_name"] for process in processes if process.device for _ in range(process.plan.joined)
    )
    names = (f"{count} x {name}" if count > 1 else name for name, count in counts.items())
    kinds = {device["device"] for device in known}
    return {"device": "cuda" if "cuda" in kinds else known[0]["device"], "device_name": ", ".join(names)}


def _name_of(process: WorkerProcess) -> str:
    return process.device.get("device", process.name) if process.name == "auto" else process.name
