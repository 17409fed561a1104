"""A server whose jobs and previews run in a worker process, as those of `pbrfit serve` do."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from support.server_harness import running_server

from backend.server.server import Server
from backend.worker.plan import WorkerPlan
from backend.worker.process import WorkerProcess

START_S = 60.0
TESTS = str(Path(__file__).parents[1])


@contextlib.contextmanager
def worker_process(run_job: str = "average_views", **plan: object) -> Iterator[WorkerProcess]:
    """A worker process. run_job: of `support.worker_jobs`, or "module:name"."""
    name = run_job if ":" in run_job else f"support.worker_jobs:{run_job}"
    plan.setdefault("find_device", "builtins:dict")
    plan.setdefault("make_drawing", "support.worker_drawing:make_drawing")
    process = WorkerProcess(WorkerPlan(name, python_path=[TESTS, *sys.path], **plan))
    try:
        assert process.wait_ready(START_S)
        yield process
    finally:
        process.close(5.0)


@contextlib.contextmanager
def worker_server(run_job: str = "average_views", options: dict | None = None, **plan: object) -> Iterator[Server]:
    """A server with a worker process."""
    with worker_process(run_job, **plan) as process, running_server(process, **(options or {})) as server:
        yield server
