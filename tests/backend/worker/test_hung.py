"""A worker process that hangs is replaced and its job goes on; one that is only busy, or stopped for less, is not."""

from __future__ import annotations

import os
import signal
import time

import pytest
from support.server_harness import (
    add_view,
    assert_lives,
    connected_client,
    progress_until,
    raw_client,
    submit,
    wait_for,
)
from support.worker_server import START_S, served, worker_server

from backend.protocol.client.events import Accepted, Failed, Result
from backend.protocol.settings import FitSettings

HUNG_S = 2.0


@pytest.fixture
def marker(tmp_path, monkeypatch):
    monkeypatch.setenv("PBRFIT_TEST_MARKER", str(tmp_path / "once"))


def result_of(client) -> Result | Failed:
    client.submit(FitSettings(), {}, view_count=3)
    for index in range(3):
        add_view(client, index, float(index))
    client.end_views()
    return wait_for(client, Result, Failed, patience_s=START_S)[-1]


@pytest.mark.parametrize("job", ["stop_once", "deadlock_once"])
def test_a_hung_worker_is_replaced_and_its_job_goes_on(tmp_path, marker, job):
    plan = {"run_job": f"support.worker_jobs:{job}", "find_device": "builtins:dict", "hung_s": HUNG_S}
    with served(tmp_path, **plan) as server, connected_client(server.address) as client:
        began, worker = time.monotonic(), server.worker
        result = result_of(client)
        assert result.metrics["means"] == [0.0, 1.0, 2.0]
        # Its last sign of life may have come a little before the job.
        assert HUNG_S / 2 < time.monotonic() - began < HUNG_S + 10.0
        assert server.worker != worker
        with raw_client(server.address) as raw:
            assert_lives(raw)


def test_a_worker_that_is_stopped_for_less_survives(tmp_path):
    plan = {"run_job": "support.worker_jobs:count_up", "find_device": "builtins:dict", "hung_s": 3.0}
    with served(tmp_path, **plan) as server, connected_client(server.address) as client:
        client.submit(FitSettings(), {})
        wait_for(client, Accepted)
        progress_until(client, lambda event: event.iteration > 0)
        worker = server.worker
        for _ in range(2):
            os.kill(worker, signal.SIGSTOP)
            time.sleep(1.5)
            os.kill(worker, signal.SIGCONT)
            time.sleep(0.5)
        assert server.worker == worker
        client.finish()
        assert isinstance(wait_for(client, Result, Failed)[-1], Result)


def test_a_busy_worker_is_not_hung():
    """The job computes without a pause for longer than a hung worker is given."""
    with worker_server("compute_for_long", hung_s=0.9) as server, connected_client(server.address) as client:
        worker = server.workers.processes[0].pid
        client.submit(FitSettings(), {})
        assert isinstance(wait_for(client, Result, Failed, patience_s=START_S)[-1], Result)
        assert server.workers.processes[0].pid == worker
        assert server.workers.processes[0].losses == 0


def test_a_server_that_was_stopped_itself_does_not_blame_its_worker(tmp_path):
    plan = {"run_job": "support.worker_jobs:count_up", "find_device": "builtins:dict", "hung_s": 1.0}
    with served(tmp_path, **plan) as server, raw_client(server.address) as raw:
        submit(raw)
        worker = server.worker
        for pid in (server.process.pid, worker):
            os.kill(pid, signal.SIGSTOP)
        time.sleep(2.5)
        for pid in (server.process.pid, worker):
            os.kill(pid, signal.SIGCONT)
        time.sleep(0.5)
        assert_lives(raw)
        assert server.worker == worker
