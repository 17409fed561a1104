"""Jobs run by the worker process: the server's side. A job goes on in a new process when the one before is lost."""

from __future__ import annotations

import logging
import queue
import threading
import time
from dataclasses import dataclass
from functools import partial

import numpy as np

from backend.job.checkpoints import CheckpointFolder
from backend.job.failures import DEVICE, MEMORY, WORKER, failure_of
from backend.job.model import FitProgress, FitResult, Job, JobCancelled, JobError, LightShown, MapPreviews
from backend.job.worker import ReportOfJob
from backend.protocol.wire import Buffer
from backend.worker.channel import Channel, Packet
from backend.worker.log_relay import write_relayed
from backend.worker.process import WorkerProcess
from backend.worker.view_feed import ViewFeed

# So many bytes of views may wait in the worker; the others wait here.
MOST_WAITING_BYTES = 64 << 20
START_S = 180.0
# A job that loses its process so often, and gets no further between, has failed.
MOST_USELESS, MOST_ATTEMPTS = 2, 50

logger = logging.getLogger(__name__)


@dataclass
class _Attempt:
    """One run of a job in one worker process. iteration: the last one that it reported. waiting: bytes of views there."""

    job: Job
    iteration: int = 0
    waiting: int = 0
    outcome: FitResult | JobError | JobCancelled | None = None
    lost: str = ""

    @property
    def is_over(self) -> bool:
        return self.outcome is not None or bool(self.lost)


class RemoteWorker:
    """As `backend.job.worker.Worker`, in another process."""

    def __init__(self, process: WorkerProcess, report: ReportOfJob) -> None:
        self._process = process
        self._report = report
        self._checkpoint = ""
        self._condition = threading.Condition()
        self._channel: Channel | None = None
        self._attempt: _Attempt | None = None
        self._closing = False
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        process.attach(self)
        self._thread = threading.Thread(target=self._run, name="pbrfit-jobs", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Queue a job whose `inputs` are set."""
        self._jobs.put(job)

    def close(self, timeout_s: float) -> bool:
        """End the thread after the current job, which the caller has stopped. False if that took too long."""
        with self._condition:
            self._closing = True
            self._condition.notify_all()
        self._jobs.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    # What the worker process says

    def started(self, channel: Channel) -> None:
        """See `Listener`."""
        with self._condition:
            self._channel = channel
            self._condition.notify_all()

    def lost(self, reason: str) -> None:
        """See `Listener`."""
        with self._condition:
            self._channel = None
            if self._attempt is not None and not self._attempt.is_over:
                self._attempt.lost = reason
            self._condition.notify_all()

    def take(self, packet: Packet) -> bool:
        """See `Listener`."""
        body, attempt = packet.body, self._attempt
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
            self._checkpoint = body["name"]
        else:
            self._take_outcome(attempt, packet)
        return True

    def _take_outcome(self, attempt: _Attempt, packet: Packet) -> None:
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

    # The thread

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._report(job, self._outcome(job))

    def _outcome(self, job: Job) -> FitResult | JobError | JobCancelled:
        if job.control.stopped:
            return JobCancelled()
        self._report(job, "started")
        self._checkpoint = ""
        feed = ViewFeed(job.views, self._process.plan.checkpoints, self._condition)
        try:
            return self._tried(job, feed)
        except (JobCancelled, JobError) as error:
            return error
        except Exception as error:  # whatever a job does, the next one runs
            logger.exception("job %s failed", job.id, extra=job.about)
            return failure_of(error)
        finally:
            job.control.relay = lambda _wish: None
            self._attempt = None
            feed.close()

    def _tried(self, job: Job, feed: ViewFeed) -> FitResult | JobError | JobCancelled:
        reached, useless = -1, 0
        for _ in range(MOST_ATTEMPTS):
            attempt = _Attempt(job)
            self._run_once(attempt, feed)
            outcome, lost = attempt.outcome, attempt.lost
            if job.control.stopped and not isinstance(outcome, FitResult):
                self._discard(job)
                return JobCancelled()
            if isinstance(outcome, JobError) and outcome.code == MEMORY:
                if job.control.economy:
                    self._discard(job)
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
                self._replace_process(lost)
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
        self._discard(job)
        if isinstance(outcome, JobError):
            return outcome
        cause = f"The process that fits {lost}, several times in a row."
        return JobError(WORKER, cause, "Choose a smaller resolution or fewer views, and look into the backend's log.")

    def _tell(self, job: Job, attempt: _Attempt, message: str) -> None:
        self._report(job, FitProgress("again", 0.0, attempt.iteration, None, None, message))

    def _discard(self, job: Job) -> None:
        plan = self._process.plan
        if self._checkpoint and plan.checkpoints and not job.control.keeps_checkpoint:
            CheckpointFolder(plan.checkpoints).job(self._checkpoint, 0).discard()

    def _run_once(self, attempt: _Attempt, feed: ViewFeed) -> None:
        """Run a job in the worker process until it ends there or the process is lost."""
        job = attempt.job
        channel = self._worker_for(job)
        with self._condition:
            if channel is not self._channel:
                attempt.lost = "ended"
                return
            self._attempt = attempt
        control, inputs = job.control, job.inputs
        assert inputs is not None  # `submit` wants them set
        control.relay = partial(self._relay, channel, job)
        stop = "leave" if control.leaving else "stop"
        wishes = [("pause", control.paused), ("finish", control.finishing), (stop, control.stopped)]
        body = {
            "job": job.id,
            "settings": job.settings.to_dict(),
            "view_count": job.view_count,
            "economy": control.economy,
            "wishes": [name for name, is_wished in wishes if is_wished],
            "keeps": control.keeps_checkpoint,
            "size": control.live.size,
            "interval_s": control.live.interval_s,
        }
        channel.urge(Packet("job", body))
        channel.send(Packet("inputs", {"job": job.id}, dict(inputs.arrays)))
        self._send_views(attempt, feed, channel)
        with self._condition:
            self._condition.wait_for(lambda: attempt.is_over or control.stopped)
            plan = self._process.plan
            patience_s = plan.leave_s if control.leaving else plan.cancel_s
            if attempt.is_over or self._condition.wait_for(lambda: attempt.is_over, patience_s):
                return
        logger.info("job %s does not leave after its cancel", job.id, extra=job.about)
        self._replace_process("was ended, because a cancelled job did not leave it")

    def _replace_process(self, reason: str) -> None:
        """End the worker process and wait until it is gone."""
        with self._condition:
            channel = self._channel
        self._process.kill(reason)
        with self._condition:
            self._condition.wait_for(lambda: self._channel is not channel or channel is None)

    def _worker_for(self, job: Job) -> Channel:
        """The pipe to a worker process. Raises `JobCancelled`, and `JobError` where there is none for long."""
        deadline = time.monotonic() + START_S
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._channel or job.control.stopped or self._closing, 1.0)
                if job.control.stopped or self._closing:
                    raise JobCancelled
                if self._channel is not None:
                    return self._channel
            if time.monotonic() > deadline:
                cause = f"The process that fits does not start: it {self._process.last_loss}."
                raise JobError(WORKER, cause, "Look into the backend's log; `pbrfit doctor` says what is missing.")

    def _send_views(self, attempt: _Attempt, feed: ViewFeed, channel: Channel) -> None:
        job = attempt.job
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
                    f"The process that fits {self._process.last_loss}, and the views are not there any more.",
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
    def _can_go_on(attempt: _Attempt, feed: ViewFeed, index: int) -> bool:
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
