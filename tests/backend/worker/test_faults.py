"""A real fit whose worker process or whose server is killed: it goes on, as good as undisturbed."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
from support.fit_scenes import ball_dataset, job_inputs, submit_ball
from support.server_harness import FIT_PATIENCE_S, connected_client, progress_until, wait_for
from support.worker_server import served

from backend.fit.table_fit import TableFit
from backend.job.run import run_fit_job
from backend.protocol.client.events import Accepted, Cancelled, Failed, Result
from backend.protocol.settings import FitSettings

SETTINGS = FitSettings(resolution=64, device="cpu", quality="draft", self_shadowing=False)
SAME_DB = 0.1


@pytest.fixture(scope="module")
def ball():
    return ball_dataset(8, 48)


@pytest.fixture(scope="module")
def undisturbed(ball) -> float:
    return run_fit_job(job_inputs(ball), SETTINGS, lambda _progress: None, lambda: False).metrics["fit_heldout_psnr_db"]


def test_a_worker_and_a_server_that_are_killed_cost_nothing_of_the_fit(ball, undisturbed, tmp_path):
    kept = tmp_path / "kept"
    for phase in ("", "references"):
        with served(tmp_path, kept) as server, connected_client(server.address) as client:
            submit_ball(client, ball, SETTINGS)
            wait_for(client, Accepted)
            if phase:
                progress_until(client, lambda event: event.phase == phase, FIT_PATIENCE_S)  # noqa: B023 (called here)
            server.kill()
    with served(tmp_path, kept) as server, connected_client(server.address) as client:
        submit_ball(client, ball, SETTINGS)
        for iteration in (20, 60):
            progress_until(client, lambda event, least=iteration: event.iteration > least, FIT_PATIENCE_S)
            os.kill(server.worker, signal.SIGKILL)
        progress_until(client, lambda event: event.iteration > 100, FIT_PATIENCE_S)
        worker = server.worker
        server.kill()
    deadline = time.monotonic() + 2.0
    while os.path.exists(f"/proc/{worker}/exe"):  # it ends with its server
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with served(tmp_path, kept) as server, connected_client(server.address) as client:
        submit_ball(client, ball, SETTINGS)
        result = wait_for(client, Result, Failed, patience_s=FIT_PATIENCE_S)[-1]
        assert result.metrics["resumed_at_iteration"] > 60
        assert abs(result.metrics["fit_heldout_psnr_db"] - undisturbed) < SAME_DB
        assert [path.name for path in kept.iterdir()] == ["contents"]


def test_a_cancel_while_the_maps_are_baked_leaves_at_once(ball, tmp_path):
    settings = replace(SETTINGS, resolution=4096)
    with served(tmp_path, tmp_path / "kept") as server, connected_client(server.address) as client:
        submit_ball(client, ball, settings)
        progress_until(client, lambda event: event.phase == "fitting" and event.iteration > 3, FIT_PATIENCE_S)
        client.finish()
        progress_until(client, lambda event: event.phase == "baking", FIT_PATIENCE_S)
        began = time.monotonic()
        client.cancel()
        wait_for(client, Cancelled)
        assert time.monotonic() - began < 0.2
        submit_ball(client, ball, replace(SETTINGS, resolution=16))
        progress_until(client, lambda event: event.state == "running", FIT_PATIENCE_S)
        progress_until(client, lambda event: event.iteration > 0, FIT_PATIENCE_S)
        assert time.monotonic() - began < 15.0


@pytest.mark.parametrize(
    ("arrays", "settings", "code"),
    [
        ({"vertex_uv": np.float32(1e38)}, SETTINGS, "mesh"),
        ({"vertex_position": np.float32(3e38)}, SETTINGS, "mesh"),
    ],
)
def test_values_that_no_fit_can_use_end_with_an_error_that_says_so(ball, arrays, settings, code):
    inputs = job_inputs(ball)
    for name, value in arrays.items():
        inputs.arrays[name] = np.full_like(inputs.arrays[name], value)
    error = failure(inputs, settings)
    assert error.code == code
    assert error.cure


def failure(inputs, settings):
    with pytest.raises(Exception) as raised:  # noqa: PT011 (the caller looks at its code)
        run_fit_job(inputs, settings, lambda _progress: None, lambda: False)
    return raised.value


def test_a_camera_that_is_out_of_all_bounds_ends_with_an_error_that_says_so(ball):
    inputs = job_inputs(ball)
    views = list(inputs.views)
    inputs.views = iter([replace(view, view=np.full((4, 4), 3e38, np.float32)) for view in views])
    assert failure(inputs, SETTINGS).code == "references"


def test_images_of_one_pixel_are_refused(ball):
    error = failure(job_inputs(ball_dataset(4, 1)), SETTINGS)
    assert error.code == "references"
    assert "view size" in error.cure


def test_maps_that_are_no_numbers_are_an_error_or_go_back_to_the_best(ball, monkeypatch):
    step = TableFit.step

    def broken(fit, learning_rate):
        loss = step(fit, learning_rate)
        if fit.iteration > broken.at:
            fit.state.texels.data.fill_(float("nan"))
        return loss

    monkeypatch.setattr(TableFit, "step", broken)
    broken.at = 140  # of 160, after some measurements at the last size
    metrics = run_fit_job(job_inputs(ball), SETTINGS, lambda _progress: None, lambda: False).metrics
    assert metrics["fit_heldout_psnr_db"] > 20
    broken.at = 10
    assert failure(job_inputs(ball), SETTINGS).code == "not_finite"


def test_a_job_that_is_to_be_smaller_is(ball):
    inputs = job_inputs(ball)
    inputs.control.economy = 1
    metrics = run_fit_job(inputs, SETTINGS, lambda _progress: None, lambda: False).metrics
    assert metrics["fitted_resolution"] == 32
    assert metrics["halved_for_memory"] == 1
