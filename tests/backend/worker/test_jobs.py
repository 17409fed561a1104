"""Jobs in a worker process: what goes there and comes back, and what follows when the process is lost."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pytest
from support.server_harness import (
    PATIENCE_S,
    add_view,
    connected_client,
    progress_until,
    put,
    raw_client,
    run_to_result,
    submit,
    wait_for,
)
from support.worker_server import START_S, worker_server

from backend.protocol.client.events import Accepted, Cancelled, Failed, Progress, Result
from backend.protocol.settings import FitSettings

ARRAYS = {"a": np.arange(300_000, dtype=np.float32), "empty": np.zeros((0, 3), np.int32)}


def result_of(client, arrays=ARRAYS, views=3, settings=FitSettings()) -> Result | Failed:  # noqa: B008 (frozen)
    client.submit(settings, arrays, view_count=views)
    for index in range(views):
        add_view(client, index, float(index))
    client.end_views()
    return wait_for(client, Result, Failed, patience_s=START_S)[-1]


def test_arrays_views_and_files_go_through_the_pipes():
    with worker_server() as server, connected_client(server.address) as client:
        result = result_of(client)
        assert result.metrics["mean"] == 1.0
        assert result.metrics["sums"] == {"a": float(ARRAYS["a"].sum()), "empty": 0.0}
        assert result.files == {"mean.txt": b"1.0", "empty.bin": b""}
        assert result_of(client).metrics["views"] == 3


def test_a_job_whose_process_is_lost_goes_on_in_a_new_one(tmp_path, monkeypatch):
    monkeypatch.setenv("PBRFIT_TEST_MARKER", str(tmp_path / "died"))
    with worker_server("die_once") as server, connected_client(server.address) as client:
        result = result_of(client, views=4)
        assert (tmp_path / "died").exists()
        assert result.metrics["means"] == [0.0, 1.0, 2.0, 3.0]
        assert result.metrics["sums"]["a"] == float(ARRAYS["a"].sum())


def test_a_job_that_always_ends_its_process_fails_and_the_server_lives():
    with worker_server("always_die") as server, connected_client(server.address) as client:
        failed = result_of(client, views=1)
        assert isinstance(failed, Failed)
        assert failed.code == "worker"
        assert "signal 9" in failed.cause
        with raw_client(server.address) as raw:
            assert raw.request("ping").type == "pong"


@pytest.mark.parametrize(("seed", "expected"), [(0, Result), (1, Failed)])
def test_a_job_without_memory_is_tried_at_half_the_size(seed, expected):
    with worker_server("need_memory") as server, connected_client(server.address) as client:
        result = result_of(client, settings=FitSettings(seed=seed))
        assert isinstance(result, expected)
        if isinstance(result, Failed):
            assert result.code == "memory"
            assert "half" in result.cause
        else:
            assert result.metrics["views"] == [0, 1, 2]


def test_a_job_that_loses_its_gpu_gets_a_new_process_and_then_fails():
    with worker_server("lose_the_device") as server, connected_client(server.address) as client:
        before = server.workers.processes[0].pid
        failed = result_of(client, views=1)
        assert failed.code == "device_lost"
        assert "illegal memory access" in failed.cause
        assert server.workers.processes[0].pid != before


def test_a_job_that_does_not_hear_its_cancel_loses_its_process():
    with worker_server("never_end", cancel_s=0.3) as server, connected_client(server.address) as client:
        client.submit(FitSettings(), {})
        wait_for(client, Accepted)
        progress_until(client, lambda event: event.phase == "never")
        before = server.workers.processes[0].pid
        began = time.monotonic()
        client.cancel()
        wait_for(client, Cancelled)
        assert time.monotonic() - began < 0.2
        client.submit(FitSettings(), {})
        progress_until(client, lambda event: event.state == "running")
        deadline = time.monotonic() + PATIENCE_S
        while server.workers.processes[0].pid in (0, before):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_killed_worker_comes_again_by_itself():
    with worker_server() as server, raw_client(server.address) as raw:
        for _ in range(3):
            os.kill(server.workers.processes[0].pid, signal.SIGKILL)
            assert run_to_result(raw).body["metrics"]["views"] == 1


def test_pause_resume_and_finish_reach_the_worker():
    with worker_server("count_up") as server, connected_client(server.address) as client:
        client.submit(FitSettings(), {})
        progress_until(client, lambda event: event.iteration > 0)
        client.pause()
        paused = progress_until(client, lambda event: event.state == "paused")
        time.sleep(0.3)
        client.poll()
        time.sleep(0.3)
        assert not [event for event in client.poll() if isinstance(event, Progress)]
        client.resume()
        progress_until(client, lambda event: event.iteration > paused.iteration)
        client.finish()
        assert wait_for(client, Result, Failed)[-1].metrics["number"] > 1


def test_a_wish_before_the_job_runs_counts_too():
    with worker_server("count_up") as server, raw_client(server.address) as raw:
        first = submit(raw).job
        array = np.zeros(10)
        job = submit(raw, {"a": array}).job
        raw.request("finish", job=job)
        put(raw, array)
        raw.request("finish", job=first)
        ended = {raw.event("result").job, raw.event("result").job}
        assert ended == {first, job}
