"""The thread that runs jobs, one after another. It lives in the worker process (`backend.worker`); tests have it in theirs.

What a job raises ends only that job.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from backend.job.failures import DEVICE, MEMORY, failure_of
from backend.job.model import (
    FitInputs,
    FitProgress,
    FitResult,
    Job,
    JobCancelled,
    JobError,
    LightShown,
    MapPreviews,
    ReportProgress,
    RunJob,
)
from backend.protocol.wire import content_hash, plain

PROGRESS_INTERVAL_S = 0.05

logger = logging.getLogger(__name__)

JobReport = str | FitProgress | MapPreviews | LightShown | FitResult | JobError | JobCancelled
ReportOfJob = Callable[[Job, JobReport], None]


class Worker:
    """Runs jobs from a queue in a thread of its own.

    It calls `report(job, what)` from that thread: "started", then `FitProgress` at most every `PROGRESS_INTERVAL_S` within
    a phase, `MapPreviews` and `LightShown`, and last a `FitResult`, `JobError` or `JobCancelled`. After that it does not
    touch the job again. count: how many jobs it runs at once.
    """

    count = 1

    def __init__(self, run_job: RunJob, report: ReportOfJob, owns_arrays: bool = False) -> None:
        """owns_arrays: nobody else has the arrays of a job's inputs, so the job need not copy them."""
        self._owns_arrays = owns_arrays
        self._run_job = run_job
        self._report = report
        self._running: Job | None = None
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="pbrfit-worker", daemon=True)
        self._thread.start()

    def check(self, job: Job) -> None:
        """It runs any job."""

    def can_take(self, job: Job) -> bool:
        """Whether a job would run at once, where none runs."""
        return True

    def submit(self, job: Job) -> None:
        """Queue a job whose `inputs` are set."""
        self._jobs.put(job)

    @property
    def running(self) -> Job | None:
        """The job that runs now and is not paused. Any thread may ask."""
        job = self._running
        return None if job is None or job.control.paused else job

    def close(self, timeout_s: float) -> bool:
        """End the thread after the current job, which the caller has stopped. False if that took too long."""
        self._jobs.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._running = job
            outcome = self._outcome(job)
            self._running = None
            if not (isinstance(outcome, JobError) and outcome.code in (MEMORY, DEVICE)):  # the job may be tried again
                job.control.discard_checkpoint()
            self._report(job, outcome)

    def _outcome(self, job: Job) -> FitResult | JobError | JobCancelled:
        try:
            if job.control.stopped:
                return JobCancelled()
            self._report(job, "started")
            job.control.show = lambda index, images: self._report(job, MapPreviews(index, images))
            job.control.show_light = lambda light: self._report(job, LightShown(light))
            given = job.inputs
            assert given is not None  # `submit` wants them set
            arrays = {name: array if self._owns_arrays else np.array(array) for name, array in given.arrays.items()}
            inputs = FitInputs(arrays, given.views, given.view_count, job.control)
            result = self._run_job(inputs, job.settings, self._throttled(job), job.control.rest)
            files = {name: bytes(data) for name, data in result.files.items()}
            return FitResult(files, plain(result.metrics), {name: content_hash(data) for name, data in files.items()})
        except (JobCancelled, JobError) as error:
            return error
        except BaseException as error:  # also SystemExit: whatever a job does, the next one runs
            logger.exception("job %s failed", job.id, extra=job.about)
            return failure_of(error)

    def _throttled(self, job: Job) -> ReportProgress:
        last_time, last_phase = 0.0, ""
        measured: float | None = None

        def report(progress: FitProgress) -> None:
            nonlocal last_time, last_phase, measured
            if job.control.rest():
                raise JobCancelled
            now = time.monotonic()
            # An error is measured now and then: it comes with the next report, if its own is left out.
            measured = progress.psnr_db if progress.phase != last_phase or progress.psnr_db is not None else measured
            if progress.phase == last_phase and now - last_time < PROGRESS_INTERVAL_S and progress.fraction < 1:
                return
            last_time, last_phase = now, progress.phase
            self._report(job, _sendable(replace(progress, psnr_db=measured)))
            measured = None

        return report


def _sendable(progress: FitProgress) -> FitProgress:
    """The same in plain Python numbers, so that a value that cannot be sent fails the job that reported it."""
    numbers = plain([progress.fraction, progress.iteration, progress.psnr_db, progress.seconds_left])
    fraction, iteration, psnr_db, seconds_left = numbers
    fraction = min(max(fraction or 0.0, 0.0), 1.0)
    return FitProgress(str(progress.phase), fraction, iteration, psnr_db, seconds_left, str(progress.message))
