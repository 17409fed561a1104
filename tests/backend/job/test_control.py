"""Pause, resume and finish, and previews of the maps: through the client, the server and a job."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from support.cuttable_link import CuttableLink
from support.fit_scenes import ball_dataset, submit_ball
from support.server_harness import (
    CLIENT_KEYS,
    FIT_PATIENCE_S,
    PATIENCE_S,
    PATIENT,
    SERVER_KEYS,
    add_view,
    average_views,
    connected_client,
    progress_until,
    raw_client,
    run_to_result,
    running_server,
    small_capacity,
    submit,
    wait_for,
)

from backend.job.model import FitProgress, FitResult
from backend.job.run import run_fit_job
from backend.protocol.client.client import BackendClient
from backend.protocol.client.events import Accepted, Cancelled, Failed, MapPreview, Progress, Result
from backend.protocol.settings import FitSettings
from backend.protocol.wire import Limits

SMALL = FitSettings(resolution=32, device="cpu", quality="draft", self_shadowing=False)


def count_up(inputs, settings, report, cancelled):
    """Counts until it is to finish, and reports each number."""
    for number in range(1, 100_000):
        if inputs.control.finishing:
            return FitResult({}, {"number": number})
        report(FitProgress("fitting", number / 100_000, number, None, None, "Counting"))
        time.sleep(0.002)
    raise AssertionError("nobody said to finish")


def start_counting(client) -> None:
    client.submit(FitSettings(), {})
    progress_until(client, lambda event: event.iteration > 0)


def pause(client) -> Progress:
    client.pause()
    return progress_until(client, lambda event: event.state == "paused")


@pytest.fixture
def counting():
    with running_server(count_up) as server, connected_client(server.address) as client:
        yield client


def test_a_paused_job_rests_and_goes_on_where_it_was(counting):
    start_counting(counting)
    paused_at = pause(counting).iteration
    time.sleep(0.15)
    later = [event for event in counting.polled + counting.poll() if isinstance(event, Progress)]
    counting.polled.clear()
    assert all(event.state == "paused" for event in later)
    rested_at = max([paused_at, *(event.iteration for event in later)])
    time.sleep(0.15)
    assert not [event for event in counting.poll() if isinstance(event, Progress)]
    counting.resume()
    running = progress_until(counting, lambda event: event.iteration > rested_at)
    assert running.state == "running"
    assert running.iteration < rested_at + 60


def test_pause_and_resume_may_be_repeated_and_come_in_any_order(counting):
    start_counting(counting)
    for command in (counting.resume, counting.pause, counting.pause, counting.resume, counting.resume):
        command()
    paused_at = pause(counting).iteration
    counting.resume()
    progress_until(counting, lambda event: event.iteration > paused_at + 5 and event.state == "running")


def test_a_paused_job_is_cancelled_at_once_and_the_next_one_runs(counting):
    start_counting(counting)
    pause(counting)
    started = time.monotonic()
    counting.cancel()
    assert wait_for(counting, Cancelled)[-1] == Cancelled()
    assert time.monotonic() - started < 0.5
    start_counting(counting)


def test_finish_ends_a_job_with_its_result(counting):
    start_counting(counting)
    counting.finish()
    counting.finish()
    assert wait_for(counting, Result, Failed)[-1].metrics["number"] > 1


def test_finish_ends_a_paused_job_too(counting):
    start_counting(counting)
    pause(counting)
    counting.finish()
    counting.pause()  # too late: it is on its way to the end
    assert isinstance(wait_for(counting, Result, Failed)[-1], Result)


def test_wishes_without_a_job_or_after_its_end_do_nothing(counting):
    for command in (counting.pause, counting.resume, counting.finish):
        command()
    start_counting(counting)
    counting.finish()
    wait_for(counting, Result)
    for command in (counting.pause, counting.resume, counting.finish):
        command()
    time.sleep(0.1)
    assert counting.polled + counting.poll() == []


def test_wishes_reach_a_job_that_is_not_accepted_yet(counting):
    counting.submit(FitSettings(), {"a": np.zeros(1000)})
    counting.pause()
    progress_until(counting, lambda event: event.state == "paused")
    counting.resume()
    progress_until(counting, lambda event: event.iteration > 5)


def test_a_request_that_is_sent_again_is_answered_alike():
    with running_server(count_up) as server, raw_client(server.address) as raw:
        job = submit(raw).job
        while raw.event("progress").body["iteration"] == 0:
            pass
        for kind, state in (("pause", "paused"), ("resume", "running")):
            frames = raw.frames(kind, job=job)
            assert [raw.exchange(frames).body["state"] for _ in range(2)] == [state, state]
        pausing = raw.frames("pause", job=job)
        raw.exchange(pausing)
        raw.request("resume", job=job)
        assert raw.exchange(pausing).body == {"state": "paused"}  # the old reply; it is not carried out again
        assert raw.request("ping", job=job).body["state"] == "running"


def test_a_paused_job_holds_the_worker_until_its_client_is_gone():
    with running_server(count_up, capacity=small_capacity(silence_s=0.5)) as server:
        with raw_client(server.address) as gone:
            job = submit(gone).job
            gone.request("end_views", {"count": 0}, job)
            assert gone.event("progress")
            gone.request("pause", job=job)
        with raw_client(server.address) as raw:
            job = submit(raw).job
            assert raw.request("ping", job=job).body["state"] == "queued"
            deadline = time.monotonic() + PATIENCE_S
            while raw.request("ping", job=job).body["state"] != "running":
                assert time.monotonic() < deadline
                time.sleep(0.05)


def test_finish_takes_no_more_views():
    with running_server(average_views) as server, connected_client(server.address) as client:
        client.submit(FitSettings(), {}, view_count=5)
        add_view(client, 0, 2.0)
        progress_until(client, lambda event: event.iteration == 1)
        client.finish()
        result = wait_for(client, Result, Failed)[-1]
        add_view(client, 1, 8.0)
        assert result.metrics["mean"] == 2.0


def test_finish_before_the_first_view_waits_for_it():
    with running_server(average_views) as server, connected_client(server.address) as client:
        client.submit(FitSettings(), {}, view_count=5)
        client.finish()
        add_view(client, 0, 3.0)
        add_view(client, 1, 9.0)
        assert wait_for(client, Result, Failed)[-1].metrics["mean"] == 3.0


def test_a_client_that_connects_anew_ends_its_earlier_job():
    with running_server(count_up) as server:
        link = CuttableLink(server.address)
        lost, again = (BackendClient(PATIENT, CLIENT_KEYS, session="one Blender") for _ in range(2))
        lost.connect(link.address, SERVER_KEYS.public)
        lost.submit(FitSettings(), {})
        deadline = time.monotonic() + PATIENCE_S
        while not any(isinstance(event, Progress) and event.iteration for event in lost.poll()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        link.swallow()  # from now on nothing of it arrives, not even its farewell
        again.connect(server.address, SERVER_KEYS.public)
        again.submit(FitSettings(), {})
        while not any(isinstance(event, Progress) and event.iteration for event in again.poll()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        for client in (lost, again):
            client.close()
        link.close()


def show_maps(inputs, settings, report, cancelled):
    for number in range(200):
        for index in (0, 1):
            inputs.control.show(index, {"kd": np.full((4, 4, 4), number, np.uint8)})
    inputs.control.show(1, {"kd": np.full((4, 4, 4), 255, np.uint8), "orm": np.zeros((2, 3, 4), np.uint8)})
    while not inputs.control.finishing:
        if cancelled():
            break
        time.sleep(0.01)
    return FitResult({}, {})


def test_only_the_latest_previews_are_sent():
    with running_server(show_maps) as server, connected_client(server.address) as client:
        client.submit(FitSettings(), {})
        wait_for(client, Accepted)
        time.sleep(0.3)
        client.finish()
        previews = [event for event in wait_for(client, Result) if isinstance(event, MapPreview)]
    latest = {(event.set_index, event.name): event.image for event in previews}
    assert (latest[1, "kd"] == 255).all()
    assert (latest[0, "kd"] == 199).all()
    assert latest[1, "orm"].shape == (2, 3, 4)
    assert len(previews) < 50


def test_a_main_thread_that_does_not_poll_finds_one_preview_of_each_map():
    with running_server(show_maps) as server, connected_client(server.address) as client:
        client.submit(FitSettings(), {})
        time.sleep(0.3)
        polled = [event for event in client.poll() if isinstance(event, MapPreview)]
        keys = [(event.set_index, event.name) for event in polled]
        assert sorted(keys) == [(0, "kd"), (1, "kd"), (1, "orm")]
        assert client.poll() == []


def test_previews_nobody_confirms_are_not_sent_on():
    with running_server(show_maps) as server, raw_client(server.address) as raw:
        job = submit(raw).job
        first = raw.event("preview")
        time.sleep(0.2)
        assert raw.request("ping", job=job).body["state"] == "running"
        assert not [event for event in raw.events if event.type == "preview"]
        raw.request("preview_seen", job=job)
        assert raw.event("preview").body["set"] != first.body["set"]


@pytest.fixture(scope="module")
def ball():
    return ball_dataset(8, 48)


@pytest.fixture
def fitting():
    """A server that fits, and a client of it."""
    with (
        running_server(run_fit_job, limits=Limits()) as server,
        connected_client(server.address) as client,
    ):
        yield client


def test_a_fit_that_is_to_finish_gives_the_best_so_far(fitting, ball):
    submit_ball(fitting, ball, FitSettings(resolution=64, device="cpu", quality="high", self_shadowing=False))
    progress_until(fitting, lambda event: event.phase == "fitting" and event.iteration > 20, FIT_PATIENCE_S)
    started = time.monotonic()
    fitting.finish()
    result = wait_for(fitting, Result, Failed)[-1]
    assert time.monotonic() - started < 2.0
    assert set(result.files) == {"kd.png", "orm.png", "normal.png"}
    assert 20 < result.metrics["iterations"] < 1000
    assert result.metrics["fit_heldout_psnr_db"] > 12


def test_a_fit_shows_its_maps_as_they_grow(fitting, ball):
    submit_ball(fitting, ball, FitSettings(resolution=64, device="cpu", quality="draft", self_shadowing=True))
    previews = [
        event for event in wait_for(fitting, Result, Failed, patience_s=FIT_PATIENCE_S) if isinstance(event, MapPreview)
    ]
    assert {event.name for event in previews} == {"kd", "orm", "normal"}
    for event in previews:
        assert event.set_index == 0
        assert event.image.dtype == np.uint8
        assert event.image.shape in ((32, 32, 4), (64, 64, 4))
        assert (event.image[..., 3] == 255).all()
    kd = [event.image for event in previews if event.name == "kd"]
    assert kd[-1][16:48, :, :3].std() > 20  # waves of colour


def test_a_result_is_the_same_whether_it_was_paused_or_not(fitting, ball):
    results = []
    for paused in (False, True):
        submit_ball(fitting, ball, SMALL)
        if paused:
            progress_until(fitting, lambda event: event.phase == "fitting", FIT_PATIENCE_S)
            pause(fitting)
            time.sleep(0.2)
            fitting.resume()
        results.append(wait_for(fitting, Result, Failed, patience_s=FIT_PATIENCE_S)[-1])
    assert results[0].files == results[1].files


def test_finish_before_the_fit_has_begun_makes_it_a_short_one(fitting, ball):
    submit_ball(fitting, ball, replace(SMALL, quality="high"))
    fitting.finish()
    result = wait_for(fitting, Result, Failed, patience_s=FIT_PATIENCE_S)[-1]
    assert 10 <= result.metrics["iterations"] < 1000


def test_a_finish_after_the_end_does_no_harm():
    with running_server(average_views) as server, raw_client(server.address) as raw:
        result = run_to_result(raw)
        assert raw.request("finish", job=result.job).body == {"state": "done"}
