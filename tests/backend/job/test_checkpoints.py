"""Jobs that go on after a crash, and checkpoints that are not theirs."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from support.fit_scenes import ball_dataset, job_inputs, submit_ball, two_balls
from support.server_harness import (
    FIT_PATIENCE_S,
    connected_client,
    progress_until,
    running_server,
    wait_for,
)

from backend.job.checkpoints import CheckpointError, CheckpointFolder
from backend.job.control import JobControl
from backend.job.model import JobCancelled
from backend.job.run import run_fit_job
from backend.protocol.client.events import Cancelled, Failed, Result
from backend.protocol.settings import FitSettings
from backend.protocol.wire import Limits

SETTINGS = FitSettings(resolution=64, device="cpu", quality="draft", self_shadowing=False)
# A fit that goes on is to be as good as one that nobody disturbed.
SAME_DB = 0.1


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.fixture(scope="module")
def ball():
    return ball_dataset(8, 48)


@pytest.fixture
def folder(tmp_path):
    return CheckpointFolder(tmp_path / "checkpoints", interval_s=0.0)


def run(inputs, settings, folder, kill_at=None):
    """The job's result, or None where it was killed when it reported iteration `kill_at`."""
    inputs.control = JobControl(folder)

    def report(progress):
        if kill_at is not None and progress.iteration >= kill_at:
            raise Killed

    try:
        return run_fit_job(inputs, settings, report, lambda: False)
    except Killed:
        inputs.control.checkpoint.wait()
        return None


@pytest.fixture(scope="module")
def whole(ball):
    """What a run that nobody disturbs measures."""
    return run(job_inputs(ball), SETTINGS, None).metrics


@pytest.fixture(scope="module")
def whole_db():
    """The error of two sets and their light, where nobody disturbs their fits."""
    inputs = two_balls(views=4)
    del inputs.arrays["environment"]
    settings = replace(SETTINGS, resolution=16, learn_light=True)
    return run_fit_job(inputs, settings, lambda _progress: None, lambda: False).metrics["fit_heldout_psnr_db"]


def test_a_job_goes_on_where_it_was_killed(ball, folder, whole):
    assert whole["resumed_at_iteration"] == 0
    assert run(job_inputs(ball), SETTINGS, folder, kill_at=80) is None
    metrics = run(job_inputs(ball), SETTINGS, folder).metrics
    assert 50 <= metrics["resumed_at_iteration"] <= 80
    assert metrics["iterations"] == whole["iterations"]
    assert metrics["fit_heldout_psnr_db"] == pytest.approx(whole["fit_heldout_psnr_db"], abs=SAME_DB)


def test_a_job_whose_maps_are_not_square_goes_on_too(ball, folder):
    settings = replace(SETTINGS, resolution=(64, 32))
    whole = run(job_inputs(ball), settings, None).metrics
    assert run(job_inputs(ball), settings, folder, kill_at=80) is None
    metrics = run(job_inputs(ball), settings, folder).metrics
    assert 50 <= metrics["resumed_at_iteration"] <= 80
    assert metrics["fit_heldout_psnr_db"] == pytest.approx(whole["fit_heldout_psnr_db"], abs=SAME_DB)


def test_a_job_may_be_killed_again_and_again(ball, folder, whole):
    for kill_at in (10, 20, 40, 60, 120, 150):
        assert run(job_inputs(ball), SETTINGS, folder, kill_at) is None
    resumed = run(job_inputs(ball), SETTINGS, folder).metrics
    assert 120 <= resumed["resumed_at_iteration"] <= 150
    assert resumed["fit_heldout_psnr_db"] == pytest.approx(whole["fit_heldout_psnr_db"], abs=SAME_DB)


def test_views_may_come_in_another_order_when_a_job_goes_on(ball, folder, whole):
    assert run(job_inputs(ball), SETTINGS, folder, kill_at=100) is None
    inputs = job_inputs(ball)
    inputs.views = iter(list(inputs.views)[::-1])
    resumed = run(inputs, SETTINGS, folder)
    assert resumed.metrics["resumed_at_iteration"] > 50
    difference = resumed.metrics["fit_heldout_psnr_db"] - whole["fit_heldout_psnr_db"]
    assert abs(difference) < SAME_DB


def test_finished_sets_are_not_fitted_again(folder):
    settings = replace(SETTINGS, resolution=32)
    first = []

    def kill_in_the_second(progress):
        first.append(progress)
        if "set 2" in progress.message:
            raise Killed

    inputs = two_balls()
    inputs.control = JobControl(folder)
    with pytest.raises(Killed):
        run_fit_job(inputs, settings, kill_in_the_second, lambda: False)
    inputs.control.checkpoint.wait()
    metrics = run(two_balls(), settings, folder).metrics
    done = max(part["iterations"] for part in metrics["sets"] if part["iterations"] <= metrics["resumed_at_iteration"])
    assert metrics["resumed_at_iteration"] >= done > 0
    assert metrics["fit_heldout_psnr_db"] > 24


def test_a_learned_light_is_taken_over_too(ball, folder):
    def inputs():
        given = job_inputs(ball)
        del given.arrays["environment"]
        return given

    settings = replace(SETTINGS, learn_light=True, resolution=32)
    whole = run(inputs(), settings, None).metrics
    assert run(inputs(), settings, folder, kill_at=60) is None
    metrics = run(inputs(), settings, folder).metrics
    assert metrics["resumed_at_iteration"] >= 40
    assert metrics["fit_heldout_psnr_db"] == pytest.approx(whole["fit_heldout_psnr_db"], abs=SAME_DB)


@pytest.mark.parametrize("phase", ["to learn the light", "of set 1", "of set 2"])
def test_sets_whose_light_is_learned_go_on_in_every_phase(folder, phase, whole_db):
    settings = replace(SETTINGS, resolution=16, learn_light=True)

    def inputs():
        given = two_balls(views=4)
        del given.arrays["environment"]
        given.control = JobControl(folder)
        return given

    killed, messages = inputs(), []

    def kill_in_the_phase(progress):
        messages.append(progress.message)
        if sum(phase in message for message in messages) > 20:
            raise Killed

    with pytest.raises(Killed):
        run_fit_job(killed, settings, kill_in_the_phase, lambda: False)
    killed.control.checkpoint.wait()
    said = []
    result = run_fit_job(inputs(), settings, said.append, lambda: False)
    learned_again = [progress for progress in said if "to learn the light" in progress.message]
    assert bool(learned_again) == (phase == "to learn the light")
    assert len(learned_again) < 160
    assert result.metrics["fit_heldout_psnr_db"] == pytest.approx(whole_db, abs=SAME_DB)
    assert len(result.files) == 7


@pytest.mark.parametrize(
    "change",
    [
        lambda inputs, settings: (inputs, replace(settings, seed=1)),
        lambda inputs, settings: (job_inputs(ball_dataset(4, 48)), settings),
        lambda inputs, settings: (_brighter(inputs), settings),
    ],
    ids=["settings", "views", "light"],
)
def test_another_job_does_not_take_the_checkpoint(ball, folder, change):
    settings = replace(SETTINGS, resolution=16)
    assert run(job_inputs(ball), settings, folder, kill_at=40) is None
    inputs, settings = change(job_inputs(ball), settings)
    assert run(inputs, settings, folder).metrics["resumed_at_iteration"] == 0


def _brighter(inputs):
    inputs.arrays["environment"] = inputs.arrays["environment"] * 2
    return inputs


def _without(name):
    def change(about, arrays):
        del arrays[name]

    return change


def _array(name, value):
    def change(about, arrays):
        arrays[name] = value

    return change


def _number(path, value):
    def change(about, arrays):
        *places, last = path
        for place in places:
            about = about[place]
        about[last] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        _array("texels", np.full((16, 16, 8), np.nan, np.float32)),
        _array("texels", np.full((16, 16, 9), 0.5, np.float32)),
        _array("texels", np.full((24, 24, 8), 0.5, np.float32)),
        _array("texels", np.full((16, 16, 8), 0.5, np.float16)),
        _array("texels", np.float32(0.5)),
        _array("light", np.ones((6, 4, 4, 3), np.float32)),
        _array("maps0_exp_avg", np.zeros(3, np.float32)),
        _without("texels"),
        _without("bound"),
        _without("maps0_step"),
        _number(["memory", "iteration"], 10_000),
        _number(["memory", "iteration"], -1),
        _number(["memory", "within"], 0),
        _number(["memory", "stage"], 7),
        _number(["memory", "numbers", "place"], 99),
        _number(["memory"], None),
        _number(["plan"], {"resolution": "large"}),
        _number(["plan", "iterations"], 1e9),
        _number(["plan", "batch"], 3),
        _number(["plan", "unknown"], 3),
    ],
)
def test_maps_that_are_not_of_the_plan_are_ignored(ball, folder, change, caplog):
    settings = replace(SETTINGS, resolution=16)
    assert run(job_inputs(ball), settings, folder, kill_at=20) is None
    (path,) = folder.path.iterdir()
    checkpoint = folder.job(path.name, 1 << 24)
    running = checkpoint.read().running
    change(running.about, running.arrays)
    checkpoint.offer(lambda: running)
    checkpoint.wait()
    with caplog.at_level(logging.WARNING):
        result = run(job_inputs(ball), settings, folder)
    assert result.metrics["resumed_at_iteration"] == 0
    assert "ignored the checkpoint" in caplog.text


def test_a_disk_that_cannot_be_written_to_does_not_end_the_fit(ball, folder, caplog):
    shutil.rmtree(folder.path)
    folder.path.write_text("no folder")
    with caplog.at_level(logging.WARNING):
        result = run(job_inputs(ball), replace(SETTINGS, resolution=16), folder)
    assert result.metrics["iterations"] > 50
    assert "no checkpoint was written" in caplog.text


def test_a_folder_that_cannot_be_made_is_an_error_with_cure(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="Choose a folder"):
        CheckpointFolder(tmp_path / "file" / "folder")


def test_the_checkpoint_of_a_job_that_is_done_or_cancelled_goes(ball, folder):
    with (
        running_server(run_fit_job, limits=Limits(), checkpoints=folder) as server,
        connected_client(server.address) as client,
    ):
        submit_ball(client, ball, replace(SETTINGS, quality="high"))
        progress_until(client, lambda event: event.iteration > 10, FIT_PATIENCE_S)
        deadline = time.monotonic() + 5
        while not list(folder.path.glob("*/running.npz")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        client.cancel()
        wait_for(client, Cancelled)
        submit_ball(client, ball, replace(SETTINGS, resolution=16))
        wait_for(client, Result, Failed, patience_s=FIT_PATIENCE_S)
        assert [
            path for path in folder.path.iterdir() if path.name != "contents"
        ] == []  # arrays stay there by themselves


def test_a_server_that_ends_keeps_the_checkpoint(ball, folder):
    with (
        running_server(run_fit_job, limits=Limits(), checkpoints=folder) as server,
        connected_client(server.address) as client,
    ):
        submit_ball(client, ball, replace(SETTINGS, quality="high"))
        progress_until(client, lambda event: event.iteration > 30, FIT_PATIENCE_S)
        server.stop()
        deadline = time.monotonic() + 10
        while any(thread.name == "pbrfit-worker" for thread in threading.enumerate()):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert len(list(folder.path.glob("*/running.npz"))) == 1


def test_a_cancelled_job_in_this_process_discards_what_it_kept(ball, folder):
    inputs = job_inputs(ball)
    inputs.control = JobControl(folder)
    seen = []
    with pytest.raises(JobCancelled):
        run_fit_job(inputs, SETTINGS, seen.append, lambda: any(progress.iteration > 20 for progress in seen))
    inputs.control.discard_checkpoint()
    assert list(folder.path.iterdir()) == []
