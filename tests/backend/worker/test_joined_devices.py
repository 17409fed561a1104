"""A backend whose jobs have two processes each (`pbrfit serve --devices cpu+cpu`): fits, a cancel, lost processes."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest
from support.fit_scenes import ball_dataset, job_inputs, submit_ball
from support.server_harness import FIT_PATIENCE_S, connected_client, progress_until, wait_for
from support.worker_server import START_S, children_of, served

from backend.job.run import run_fit_job
from backend.protocol.client.events import Cancelled, Failed, Result
from backend.protocol.settings import FitSettings

SETTINGS = FitSettings(resolution=64, device="cpu", quality="draft", self_shadowing=False)
# Other rows come together in a batch.
ABOUT_DB = 0.5

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="devices are joined on Linux only")


@pytest.fixture(scope="module")
def ball():
    return ball_dataset(8, 48)


@pytest.fixture(scope="module")
def alone(ball) -> float:
    metrics = run_fit_job(job_inputs(ball), SETTINGS, lambda _progress: None, lambda: False).metrics
    return metrics["fit_heldout_psnr_db"]


def other_of(worker: int) -> int:
    """The second process of a worker's team."""
    deadline = time.monotonic() + START_S
    while True:
        for child in children_of(worker):
            with open(f"/proc/{child}/cmdline", encoding="utf-8") as file:
                if "spawn_main" in file.read():
                    return child
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_fits_of_two_processes_come_as_near_as_those_of_one(tmp_path, ball, alone):
    with (
        served(tmp_path, tmp_path / "kept", options={"devices": ["cpu+cpu"]}) as server,
        connected_client(server.address) as client,
    ):
        submit_ball(client, ball, SETTINGS)
        first = wait_for(client, Result, Failed, patience_s=FIT_PATIENCE_S)[-1].metrics
        assert first["device"].startswith("2 x CPU")
        assert first["fit_heldout_psnr_db"] > alone - ABOUT_DB

        submit_ball(client, ball, SETTINGS)
        progress_until(client, lambda event: event.iteration > 5, FIT_PATIENCE_S)
        client.cancel()
        assert wait_for(client, Cancelled, Failed, patience_s=FIT_PATIENCE_S)[-1] == Cancelled()

        submit_ball(client, ball, SETTINGS)
        progress_until(client, lambda event: event.iteration > 20, FIT_PATIENCE_S)
        (worker,) = server.status().workers
        lost = other_of(worker.pid)
        os.kill(lost, signal.SIGKILL)
        last = wait_for(client, Result, Failed, patience_s=FIT_PATIENCE_S)[-1].metrics
        assert last["resumed_at_iteration"] > 0
        assert abs(last["fit_heldout_psnr_db"] - first["fit_heldout_psnr_db"]) < 0.1
        (after,) = server.status().workers
        assert after.losses == 1
        worker_pid, team = after.pid, other_of(after.pid)
        os.kill(worker_pid, signal.SIGKILL)
        deadline = time.monotonic() + START_S
        while os.path.exists(f"/proc/{team}"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
