"""The server over real ZeroMQ, spoken to message by message."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from support.server_harness import (
    CLIENT_KEYS,
    IDENTITY,
    ONE_MIB,
    PATIENCE_S,
    average_views,
    connected_client,
    put,
    raw_client,
    run_to_result,
    running_server,
    small_capacity,
    submit,
    wait_for,
)

from backend.job.model import FitProgress, FitResult, JobCancelled, JobError
from backend.protocol.client.events import Connected, Result
from backend.protocol.settings import FitSettings
from backend.protocol.wire import describe


def test_hello_is_answered_with_version_and_limits(raw):
    welcome = raw.request("hello")
    assert welcome.type == "welcome"
    assert welcome.body["protocol"] == 1
    assert welcome.body["limits"]["frame_bytes"] == 4 * ONE_MIB


def test_a_job_runs_from_submit_to_result_while_views_trickle_in(raw):
    arrays = {"a": np.arange(5, dtype=np.int32), "nothing": np.zeros((0, 3), np.float32)}
    accepted = submit(raw, arrays, view_count=3, settings={"resolution": 64})
    assert accepted.body["state"] == "uploading"
    assert set(accepted.body["missing"]) == {describe(array).hash for array in arrays.values()}
    job = accepted.job
    raw.send_view(job, 0, 1.0)
    for array in arrays.values():
        assert put(raw, array).type == "stored"
    for index in (1, 2):
        time.sleep(0.06)
        raw.send_view(job, index, 1.0 + index)
    assert raw.request("end_views", {"count": 3}, job).body["state"] in ("queued", "running", "done")
    result = raw.event("result")
    assert raw.file(result, "mean.txt") == b"2.0"
    assert raw.file(result, "empty.bin") == b""
    assert result.body["metrics"] == {"mean": 2.0, "views": 3, "resolution": 64, "sums": {"a": 10.0, "nothing": 0.0}}


def test_events_of_a_job_are_numbered_from_one_without_gaps(raw):
    job = submit(raw).job
    raw.send_view(job, 0)
    raw.request("end_views", {"count": 1}, job)
    events = list(raw.events)
    while not events or events[-1].type != "result":
        events.append(raw.receive())
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    states = [event.body["state"] for event in events[:-1]]
    assert states[0] == "queued"
    assert states[-1] == "running"


def test_known_arrays_are_not_asked_for_again(raw):
    array = np.arange(100, dtype=np.float32)
    submit(raw, {"a": array})
    put(raw, array)
    again = submit(raw, {"renamed": array.reshape(10, 10)})
    assert again.body == {"state": "queued", "missing": []}


def test_the_job_may_write_to_its_arrays_without_harm_to_the_next():
    def add_one(inputs, settings, report, cancelled):
        inputs.arrays["a"] += 1
        return FitResult({}, {"sum": float(inputs.arrays["a"].sum())})

    with running_server(add_one) as server, raw_client(server.address) as raw:
        array = np.zeros(4, np.float32)
        submit(raw, {"a": array})
        put(raw, array)
        first = raw.event("result")
        submit(raw, {"a": array})
        assert raw.event("result").body == first.body == {"metrics": {"sum": 4.0}, "files": []}


def test_a_retried_request_is_answered_alike_and_carried_out_once(raw):
    submitted = raw.frames("submit", {"settings": {}, "arrays": {}, "view_count": 0})
    first, second = raw.exchange(submitted), raw.exchange(submitted)
    assert first.job == second.job
    body = {"index": 0, "held_out": False, "view": IDENTITY, "projection": IDENTITY}
    view = raw.frames("view", body, first.job, image=np.ones((2, 2, 4), np.float32))
    ended = raw.frames("end_views", {"count": 1}, first.job)
    for frames in (view, view, ended, ended, view):
        assert raw.exchange(frames).type == "ok"
    assert raw.event("result").body["metrics"]["views"] == 1


def test_the_reply_to_a_request_is_forgotten_when_the_client_has_said_twice_over_that_it_has_it(raw):
    submitted = raw.frames("submit", {"settings": {}, "arrays": {}, "view_count": 0})
    first = raw.exchange(submitted)
    raw.request("ping", {"received": [first.request]})
    assert raw.exchange(submitted).job == first.job
    raw.request("ping")
    assert raw.exchange(submitted).job != first.job


def test_a_client_does_not_leave_replies_behind():
    with running_server() as server, connected_client(server.address) as client:
        wait_for(client, Connected)
        for _ in range(3):
            client.submit(FitSettings(), {})
            client.end_views()
            wait_for(client, Result)
        (caller,) = server._sessions.of_key(CLIENT_KEYS.public)
        deadline = time.monotonic() + PATIENCE_S
        while server._sessions.get(caller)._replies:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_a_view_that_is_overtaken_by_the_end_still_counts(raw):
    job = submit(raw).job
    raw.send_view(job, 1, 3.0)
    raw.request("end_views", {"count": 2}, job)
    raw.send_view(job, 0, 1.0)
    assert raw.event("result").body["metrics"]["mean"] == 2.0


def test_a_result_stays_until_it_is_acknowledged(raw):
    result = run_to_result(raw)
    assert raw.request("ping", job=result.job).body["state"] == "done"
    assert raw.request("get_result", job=result.job).type == "ok"
    again = raw.event("result")
    assert (again.seq, again.body) == (result.seq, result.body)
    assert raw.file(again, "mean.txt") == raw.file(result, "mean.txt") == b"1.0"
    assert raw.request("acknowledge", job=result.job).type == "ok"
    assert raw.request("get_result", job=result.job).body["code"] == "unknown_job"
    assert raw.request("ping", job=result.job).body["state"] is None


def test_only_so_many_results_are_kept_for_clients_that_never_fetch_them():
    with running_server(capacity=small_capacity(kept_outcomes=2)) as server, raw_client(server.address) as raw:
        finished = [run_to_result(raw).job for _ in range(3)]
        states = [raw.request("ping", job=job).body["state"] for job in finished]
    assert states == [None, "done", "done"]


def test_a_failure_carries_code_cause_and_cure():
    def fail(inputs, settings, report, cancelled):
        raise JobError("no_faces", "The mesh has no faces.", "Add some.")

    with running_server(fail) as server, raw_client(server.address) as raw:
        submit(raw)
        failed = raw.event("failed")
    assert failed.body == {"code": "no_faces", "cause": "The mesh has no faces.", "cure": "Add some."}


@pytest.mark.parametrize("error", [ZeroDivisionError("by nothing"), SystemExit("out"), KeyboardInterrupt()])
def test_an_unexpected_exception_becomes_internal_and_the_next_job_runs(error):
    def fail_once(inputs, settings, report, cancelled):
        if settings.seed == 1:
            raise error
        return average_views(inputs, settings, report, cancelled)

    with running_server(fail_once) as server, raw_client(server.address) as raw:
        submit(raw, settings={"seed": 1})
        failed = raw.event("failed")
        assert failed.body["code"] == "internal"
        assert type(error).__name__ in failed.body["cause"]
        assert run_to_result(raw).body["metrics"]["views"] == 1


@pytest.mark.parametrize("result", [None, FitResult({"a": 3.5}, {}), FitResult({}, {"a": np.zeros(3)})])
def test_a_job_that_returns_nonsense_fails(result):
    with running_server(lambda *_: result) as server, raw_client(server.address) as raw:
        submit(raw)
        assert raw.event("failed").body["code"] == "internal"


@pytest.mark.parametrize(
    "files",
    [{"kd.png": bytes(9 * ONE_MIB)}, {f"{number}.png": bytes(3 * ONE_MIB) for number in range(3)}, {"x" * 65: b""}],
)
def test_a_result_too_large_to_keep_or_wrongly_named_fails_the_job(files):
    capacity = small_capacity(outcome_bytes=8 * ONE_MIB)
    with (
        running_server(lambda *_: FitResult(files, {}), capacity=capacity) as server,
        raw_client(server.address) as raw,
    ):
        submit(raw)
        assert raw.event("failed").body["code"] == "result_too_large"


def test_only_so_many_bytes_of_results_are_kept_for_clients_that_never_fetch_them():
    capacity = small_capacity(outcome_bytes=5 * ONE_MIB)
    with (
        running_server(lambda *_: FitResult({"kd.png": bytes(2 * ONE_MIB)}, {}), capacity=capacity) as server,
        raw_client(server.address) as raw,
    ):
        finished = []
        for _ in range(3):
            submit(raw)
            finished.append(raw.event("result").job)
        states = [raw.request("ping", job=job).body["state"] for job in finished]
    assert states == [None, "done", "done"]


@pytest.mark.parametrize(
    "body", [{}, {"file": "kd.png", "offset": 0}, {"file": "mean.txt", "offset": 3}, {"file": "mean.txt", "offset": -1}]
)
def test_a_piece_that_there_is_not_is_refused(raw, body):
    result = run_to_result(raw)
    assert raw.request("fetch", body, result.job).body["code"] == "file"


@pytest.mark.parametrize("device", [{}, {"device": "cuda", "device_name": "a GPU"}])
def test_the_device_is_told_where_it_is_known(device):
    with running_server(device=device) as server, raw_client(server.address) as raw:
        welcome = raw.request("hello").body
    assert (welcome["device"], welcome["device_name"]) == (("cuda", "a GPU") if device else ("", ""))


def test_progress_that_is_not_finite_or_not_plain_still_travels():
    def report_oddly(inputs, settings, report, cancelled):
        report(FitProgress("fit", np.float32(2.0), np.int64(3), float("inf"), float("nan"), "odd"))
        return FitResult({}, {})

    with running_server(report_oddly) as server, raw_client(server.address) as raw:
        submit(raw)
        while (progress := raw.event("progress").body)["phase"] != "fit":
            pass
    assert progress["fraction"] == 1.0
    assert progress["iteration"] == 3
    assert progress["psnr_db"] is progress["seconds_left"] is None


def test_progress_is_thinned_so_that_a_fast_loop_does_not_flood_the_client():
    def report_often(inputs, settings, report, cancelled):
        for iteration in range(5000):
            report(FitProgress("fit", iteration / 10_000, iteration, None, None, ""))
        return FitResult({}, {})

    with running_server(report_often) as server, raw_client(server.address) as raw:
        submit(raw)
        assert raw.event("result").seq < 100


def test_cancel_while_waiting_for_views_ends_the_wait():
    left = threading.Event()

    def wait_for_views(inputs, settings, report, cancelled):
        try:
            return average_views(inputs, settings, report, cancelled)
        except JobCancelled:
            left.set()
            raise

    with running_server(wait_for_views) as server, raw_client(server.address) as raw:
        job = submit(raw).job
        raw.send_view(job, 0)
        while raw.event("progress").body["phase"] != "average":
            pass
        assert raw.request("cancel", job=job).body == {"state": "cancelled"}
        assert raw.event("cancelled").job == job
        assert left.wait(PATIENCE_S)
        assert run_to_result(raw).body["metrics"]["views"] == 1


def test_cancel_is_answered_at_once_while_the_worker_is_busy():
    busy, free = threading.Event(), threading.Event()

    def compute(inputs, settings, report, cancelled):
        if settings.seed == 1:
            busy.set()
            assert free.wait(5.0)
            assert cancelled()
            report(FitProgress("fit", 1.0, 1, None, None, "not reached"))
            raise AssertionError("report lets a cancelled job go on")
        return average_views(inputs, settings, report, cancelled)

    with running_server(compute) as server, raw_client(server.address) as raw:
        job = submit(raw, settings={"seed": 1}).job
        assert busy.wait(PATIENCE_S)
        started = time.monotonic()
        assert raw.request("cancel", job=job).body == {"state": "cancelled"}
        raw.event("cancelled")
        assert time.monotonic() - started < 0.5
        assert raw.request("cancel", job=job).body == {"state": "cancelled"}
        free.set()
        assert run_to_result(raw).body["metrics"]["views"] == 1
        assert not [event for event in raw.events if event.job == job]


def test_cancel_after_the_end_changes_nothing(raw):
    result = run_to_result(raw)
    assert raw.request("cancel", job=result.job).body == {"state": "done"}


def test_two_jobs_queue_and_a_queued_one_can_be_cancelled(server, raw):
    with raw_client(server.address) as other:
        first, second, third = submit(raw).job, submit(other).job, submit(other).job
        while raw.event("progress").body["state"] != "running":
            pass
        assert "1 earlier job" in other.event("progress").body["message"]
        for job in (second, third):
            other.send_view(job, 0, 5.0)
            other.request("end_views", {"count": 1}, job)
        assert other.request("ping", job=second).body["state"] == "queued"
        assert other.request("cancel", job=third).body["state"] == "cancelled"
        raw.request("end_views", {"count": 0}, first)
        assert raw.event("result").body["metrics"]["views"] == 0
        assert other.event("result").body["metrics"]["mean"] == 5.0


def test_a_job_of_another_client_cannot_be_touched(server, raw):
    job = submit(raw).job
    with raw_client(server.address) as other:
        for kind in ("cancel", "end_views", "get_result", "acknowledge"):
            assert other.request(kind, {"count": 0}, job).body["code"] == "unknown_job"
        assert other.request("ping", job=job).body["state"] is None
    raw.request("end_views", {"count": 0}, job)
    assert raw.event("result")


def test_events_follow_a_client_that_reconnects(server, raw):
    job = submit(raw).job
    with raw_client(server.address) as reconnected:
        reconnected.session = raw.session
        reconnected._requests = 100
        reconnected.request("end_views", {"count": 0}, job)
        assert reconnected.event("result").job == job


def test_a_job_whose_client_fell_silent_makes_way_for_the_next():
    with running_server(capacity=small_capacity(silence_s=0.3)) as server:
        with raw_client(server.address) as gone:
            submit(gone)
        with raw_client(server.address) as raw:
            job = submit(raw).job
            deadline = time.monotonic() + 3.0
            while raw.request("ping", job=job).body["state"] != "running" and time.monotonic() < deadline:
                time.sleep(0.05)
            raw.request("end_views", {"count": 0}, job)
            assert raw.event("result").job == job
