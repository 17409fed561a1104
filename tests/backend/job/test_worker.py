"""What a worker reports of a job that says more than can be sent."""

from __future__ import annotations

import queue
import time

from backend.job.model import FitInputs, FitProgress, FitResult, Job
from backend.job.worker import PROGRESS_INTERVAL_S, Worker
from backend.protocol.settings import FitSettings


def test_an_error_that_was_measured_comes_with_the_next_report() -> None:
    def run(_inputs, _settings, report, _cancelled) -> FitResult:
        for phase in ("table", "fitting"):
            report(FitProgress(phase, 0.1, 0, None, None, ""))
            report(FitProgress(phase, 0.2, 1, 31.0 if phase == "fitting" else None, None, ""))  # too soon to be sent
            time.sleep(2 * PROGRESS_INTERVAL_S)
            report(FitProgress(phase, 0.3, 2, None, None, ""))
            time.sleep(2 * PROGRESS_INTERVAL_S)
            report(FitProgress(phase, 0.4, 3, None, None, ""))
        return FitResult({}, {})

    said: queue.SimpleQueue = queue.SimpleQueue()
    worker = Worker(run, lambda _job, what: said.put(what))
    job = Job("job", "session", FitSettings(), {}, 0)
    job.inputs = FitInputs({}, iter(()), 0)
    worker.submit(job)
    found = []
    while not isinstance(found[-1] if found else None, FitResult):
        found.append(said.get(timeout=10.0))
    assert worker.close(10.0)
    fitting = [progress for progress in found if isinstance(progress, FitProgress) and progress.phase == "fitting"]
    assert [(progress.iteration, progress.psnr_db) for progress in fitting] == [(0, None), (2, 31.0), (3, None)]
