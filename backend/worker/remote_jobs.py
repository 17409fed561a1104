"""Jobs run by worker processes: the server's side. A job goes on in another process when its own is lost."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from backend.job.checkpoints import CheckpointFolder
from backend.job.failures import DEVICE, MEMORY, WORKER, failure_of
from backend.job.model import FitProgress, FitResult, Job, JobCancelled, JobError
from backend.job.worker import ReportOfJob
from backend.worker.channel import Channel, Packet
from backend.worker.process import WorkerProcess
from backend.worker.slot import Attempt, Slot
from backend.worker.slots import Slots
from backend.worker.view_feed import ViewFeed

# So many bytes of views may wait in the worker; the others wait here.
MOST_WAITING_BYTES = 64 << 20
START_S = 180.0
# A job that loses its process so often, and gets no further between, has failed.
MOST_USELESS, MOST_ATTEMPTS = 2, 50

logger = logging.getLogger(__name__)


class _Run:
    """A job on its way through one worker process or several. checkpoint: its name, once it is known."""

    def __init__(self, job: Job, slot: Slot, feed: ViewFeed) -> None:
        self.job = job
        self.slot = slot
        self.feed = feed
        self.checkpoint = ""


class RemoteWorker:
    """As `backend.job.worker.Worker`, in other processes: as many jobs at once as there are of these.

    slots: the processes, each a place for a job. count: how many.
    """

    def __init__(
        self,
        processes: Sequence[WorkerProcess],
        report: ReportOfJob,
        freed: Callable[[], None] = lambda: None,
        placed: Callable[[Job, int | None], None] = lambda _job, _number: None,
    ) -> None:
        """freed: called when a job that waits may have a place now. placed: called when a job comes to a process, with the
        number of that, or leaves the last one (None). Any thread calls both.
        """
        self._report = report
        self._placed = placed
        self.slots = Slots(processes, report, freed)
        self.count = len(self.slots.all)
        self._condition = self.slots.condition
        self._closing = False
        self._threads: list[threading.Thread] = []

    def check(self, job: Job) -> None:
        """Raise `JobError` where a job can never run here."""
        self.slots.check(job)

    def can_take(self, job: Job) -> bool:
        """Whether a job would run at once."""
        return self.slots.free(job) is not None

    def submit(self, job: Job) -> None:
        """Run a job whose `inputs` are set, for which there is a place (`can_take`)."""
        slot = self.slots.take(job)
        thread = threading.Thread(target=self._run, args=(job, slot), name="pbrfit-jobs", daemon=True)
        self._threads = [known for known in self._threads if known.is_alive()] + [thread]
        thread.start()

    def close(self, timeout_s: float) -> bool:
        """End the threads after the current jobs, which the caller has stopped. False if that took too long."""
        with self._condition:
            self._closing = True
            self._condition.notify_all()
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    # The threads

    def _run(self, job: Job, slot: Slot) -> None:
        self._report(job, self._outcome(job, slot))

    def _outcome(self, job: Job, slot: Slot) -> FitResult | JobError | JobCancelled:
        folder = slot.process.plan.checkpoints
        run = _Run(job, slot, ViewFeed(job.views, folder, self._condition))
        try:
            if job.control.stopped:
                return JobCancelled()
            self._report(job, "started")
            return self._tried(run)
        except (JobCancelled, JobError) as error:
            return error
        except Exception as error:  # whatever a job does, the next one runs
            logger.exception("job %s failed", job.id, extra=job.about)
            return failure_of(error)
        finally:
            job.control.relay = lambda _wish: None
            self._placed(job, None)
            with self._condition:
                run.slot.leave()
            run.feed.close()

    def _tried(self, run: _Run) -> FitResult | JobError | JobCancelled:
        job, reached, useless = run.job, -1, 0
        for _ in range(MOST_ATTEMPTS):
            attempt = Attempt(job)
            self._run_once(run, attempt)
            run.checkpoint = attempt.checkpoint or run.checkpoint
            outcome, lost = attempt.outcome, attempt.lost
            if job.control.stopped and not isinstance(outcome, FitResult):
                self._discard(run)
                return JobCancelled()
            if isinstance(outcome, JobError) and outcome.code == MEMORY:
                if job.control.economy:
                    self._discard(run)
                    cause = f"{outcome.cause} It did not suffice for half the size either."
                    return JobError(MEMORY, cause, outcome.cure)
                logger.warning(
                    "job %s: %s It is tried again with half the size", job.id, outcome.cause, extra=job.about
                )
                job.control.economy = 1
                self._tell(job, attempt, "The memory does not suffice: trying with half the size")
                continue
            if isinstance(outcome, JobError) and outcome.code == DEVICE:
                lost = "lost its GPU"
                self._replace_process(run.slot, lost)
            elif outcome is not None:
                return outcome
            useless = useless + 1 if attempt.iteration <= reached else 0
            reached = max(reached, attempt.iteration)
            logger.warning(
                "job %s: the worker process %s at iteration %d", job.id, lost, attempt.iteration, extra=job.about
            )
            if useless >= MOST_USELESS or (outcome is not None and useless):
                break
            self._tell(job, attempt, f"The process that fits {lost}; starting again")
        self._discard(run)
        if isinstance(outcome, JobError):
            return outcome
        cause = f"The process that fits {lost}, several times in a row."
        return JobError(WORKER, cause, "Choose a smaller resolution or fewer views, and look into the backend's log.")

    def _tell(self, job: Job, attempt: Attempt, message: str) -> None:
        self._report(job, FitProgress("again", 0.0, attempt.iteration, None, None, message))

    @staticmethod
    def _discard(run: _Run) -> None:
        folder = run.slot.process.plan.checkpoints
        if run.checkpoint and folder and not run.job.control.keeps_checkpoint:
            CheckpointFolder(folder).job(run.checkpoint, 0).discard()

    def _run_once(self, run: _Run, attempt: Attempt) -> None:
        """Run a job in a worker process until it ends there or the process is lost."""
        job = run.job
        channel = self._worker_for(run)
        slot = run.slot
        self._placed(job, slot.number)
        with self._condition:
            if channel is not slot.channel:
                attempt.lost = "ended"
                return
            slot.attempt = attempt
        control, inputs = job.control, job.inputs
        assert inputs is not None  # `submit` wants them set
        control.relay = partial(self._relay, channel, job)
        stop = "leave" if control.leaving else "stop"
        wishes = [("pause", control.paused), ("finish", control.finishing), (stop, control.stopped)]
        body = {
            "job": job.id,
            "settings": slot.settings_of(job).to_dict(),
            "view_count": job.view_count,
            "economy": control.economy,
            "wishes": [name for name, is_wished in wishes if is_wished],
            "keeps": control.keeps_checkpoint,
            "size": control.live.size,
            "interval_s": control.live.interval_s,
        }
        channel.urge(Packet("job", body))
        channel.send(Packet("inputs", {"job": job.id}, dict(inputs.arrays)))
        self._send_views(run, attempt, channel)
        with self._condition:
            self._condition.wait_for(lambda: attempt.is_over or control.stopped)
            plan = slot.process.plan
            patience_s = plan.leave_s if control.leaving else plan.cancel_s
            if attempt.is_over or self._condition.wait_for(lambda: attempt.is_over, patience_s):
                return
        logger.info("job %s does not leave after its cancel", job.id, extra=job.about)
        self._replace_process(slot, "was ended, because a cancelled job did not leave it")

    def _replace_process(self, slot: Slot, reason: str) -> None:
        """End a worker process and wait until it is gone."""
        with self._condition:
            channel = slot.channel
        slot.process.kill(reason)
        with self._condition:
            self._condition.wait_for(lambda: slot.channel is not channel or channel is None)

    def _worker_for(self, run: _Run) -> Channel:
        """The pipe to a worker process, which may be of another device than the one before.

        Raises `JobCancelled`, and `JobError` where there is none for long.
        """
        control, deadline = run.job.control, time.monotonic() + START_S
        while True:
            run.slot = self.slots.move(run.job, run.slot)
            with self._condition:
                self._condition.wait_for(lambda: run.slot.channel or control.stopped or self._closing, 1.0)
                if control.stopped or self._closing:
                    raise JobCancelled
                if run.slot.channel is not None:
                    return run.slot.channel
            if time.monotonic() > deadline:
                cause = f"The process that fits does not start: it {run.slot.process.last_loss}."
                raise JobError(WORKER, cause, "Look into the backend's log; `pbrfit doctor` says what is missing.")

    def _send_views(self, run: _Run, attempt: Attempt, channel: Channel) -> None:
        job, feed = run.job, run.feed
        index = 0
        while True:
            with self._condition:
                self._condition.wait_for(partial(self._can_go_on, attempt, feed, index))
                if attempt.is_over or job.control.stopped:
                    return
                if index == len(feed):
                    break
                attempt.waiting += feed.size(index)
            view = feed.get(index)
            if view is None:
                attempt.outcome = JobError(
                    WORKER,
                    f"The process that fits {run.slot.process.last_loss}, and the views are not there any more.",
                    "Fit again, with more free space where the backend keeps its files.",
                )
                return
            body = {
                "job": job.id,
                "index": view.index,
                "held_out": view.held_out,
                "content": view.content,
                "light": view.light,
            }
            arrays = {"image": np.asarray(view.image), "view": view.view, "projection": view.projection}
            channel.send(Packet("view", body, arrays), partial(feed.sent, index))
            index += 1
        channel.send(Packet("end_views", {"job": job.id}))

    @staticmethod
    def _can_go_on(attempt: Attempt, feed: ViewFeed, index: int) -> bool:
        if attempt.is_over or attempt.job.control.stopped:
            return True
        if index < len(feed):
            return attempt.waiting == 0 or attempt.waiting + feed.size(index) <= MOST_WAITING_BYTES
        return feed.ended

    def _relay(self, channel: Channel, job: Job, wish: str) -> None:
        channel.urge(Packet("wish", {"job": job.id, "wish": wish, "keeps": job.control.keeps_checkpoint}))
        if wish in ("stop", "leave"):
            with self._condition:
                self._condition.notify_all()
