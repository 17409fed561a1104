"""The server over real ZeroMQ, spoken to message by message."""

from __future__ import annotations

import json
import threading
import time

import numpy as np
import pytest
from server_harness import IDENTITY, ONE_MIB, average_views, raw_client, running_server, small_capacity

from backend.jobs import FitProgress, FitResult, JobCancelled, JobError
from backend.protocol.wire import Limits, describe, unpack
from backend.server import Server, ServerError


def submit(raw, arrays=None, view_count=0, settings=None):
    arrays = arrays or {}
    described = {name: describe(array).to_dict() for name, array in arrays.items()}
    return raw.request("submit", {"settings": settings or {}, "arrays": described, "view_count": view_count})


def put(raw, array, **changes):
    data = array.reshape(-1).view(np.uint8)
    body = {"hash": describe(array).hash, "offset": 0, "total": data.nbytes, **changes}
    return raw.request("put", body, data=data)


def run_to_result(raw, value=1.0):
    job = submit(raw).job
    raw.send_view(job, 0, value)
    raw.request("end_views", {"count": 1}, job)
    return raw.event("result")


def assert_lives(raw):
    assert raw.request("ping").type == "pong"


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
    assert bytes(result.arrays["mean.txt"]) == b"2.0"
    assert result.arrays["empty.bin"].size == 0
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
        assert raw.event("result").body == first.body == {"metrics": {"sum": 4.0}}


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
    np.testing.assert_array_equal(again.arrays["mean.txt"], result.arrays["mean.txt"])
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
    [
        {"kd.png": bytes(5 * ONE_MIB)},
        {f"{number}.png": bytes(3 * ONE_MIB) for number in range(3)},
        {f"{number}.png": b"" for number in range(65)},
        {"x" * 65: b""},
    ],
    ids=["one file", "all files", "many files", "a long name"],
)
def test_a_result_too_large_for_a_message_fails_the_job(files):
    limits = Limits(frame_bytes=4 * ONE_MIB, message_bytes=8 * ONE_MIB)
    with (
        running_server(lambda *_: FitResult(files, {}), limits=limits) as server,
        raw_client(server.address) as raw,
    ):
        submit(raw)
        assert raw.event("failed").body["code"] == "result_too_large"


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
        assert left.wait(1.0)
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
        assert busy.wait(1.0)
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


# What must be refused


def test_too_many_jobs_are_refused():
    with running_server(capacity=small_capacity(live_jobs=1)) as server, raw_client(server.address) as raw:
        submit(raw)
        assert submit(raw).body["code"] == "busy"


def test_arrays_beyond_the_store_are_refused_before_any_upload():
    with running_server(capacity=small_capacity(store_bytes=1000)) as server, raw_client(server.address) as raw:
        assert submit(raw, {"a": np.zeros(1001, np.uint8)}).body["code"] == "store"
        array = np.zeros(1000, np.uint8)
        accepted = submit(raw, {"a": array})
        raw.request("cancel", job=accepted.job)
        assert put(raw, array).body["code"] == "store"
        accepted = submit(raw, {"b": np.ones(1000, np.uint8)})
        assert accepted.type == "accepted"


def test_an_array_too_large_for_one_message_is_refused_before_any_upload(raw):
    huge = {"dtype": "float32", "byte_order": "little", "shape": [2**40], "hash": "0" * 64}
    reply = raw.request("submit", {"settings": {}, "arrays": {"a": huge}})
    assert reply.body["code"] == "oversized"


def test_views_that_nobody_takes_are_bounded():
    with (
        running_server(lambda *_: time.sleep(0.3), capacity=small_capacity(view_bytes=200)) as server,
        raw_client(server.address) as raw,
    ):
        job = submit(raw).job
        assert raw.send_view(job, 0).type == "ok"
        assert raw.send_view(job, 1).body["code"] == "views_too_large"


def test_bad_settings_are_refused_by_name(raw):
    reply = submit(raw, settings={"resolution": 1000})
    assert reply.body["code"] == "settings"
    assert "resolution" in reply.body["cause"]
    assert "power of two" in reply.body["cure"]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("submit", {}),
        ("submit", {"arrays": {"a": 3}}),
        ("submit", {"arrays": {}, "view_count": -1}),
        ("submit", {"arrays": {}, "settings": 3}),
        ("put", {"hash": "0" * 64, "offset": 0, "total": 0}),
        ("view", {}),
        ("cancel", {}),
        ("conquer", {}),
    ],
)
def test_a_request_that_makes_no_sense_gets_an_error(raw, kind, body):
    assert raw.request(kind, body).type == "error"
    assert_lives(raw)


@pytest.mark.parametrize(
    "changes", [{"hash": "0" * 64}, {"hash": 5}, {"offset": 1}, {"total": 9}, {"total": None}]
)
def test_a_put_that_contradicts_itself_is_refused(raw, changes):
    array = np.arange(4, dtype=np.float32)
    job = submit(raw, {"a": array}).job
    assert put(raw, array, **changes).type == "error"
    assert raw.request("ping", job=job).body["state"] == "uploading"
    assert put(raw, array).type == "stored"


@pytest.mark.parametrize(
    "changes",
    [
        {"index": -1},
        {"index": "0"},
        {"held_out": 1},
        {"view": None},
        {"view": [[1.0] * 4] * 3},
        {"view": [[1, 2], [3]]},
        {"projection": [["a"] * 4] * 4},
        {"projection": [[10**400] * 4] * 4},
        {"projection": [[1e300] * 4] * 4},
    ],
)
def test_a_bad_view_is_refused(raw, changes):
    job = submit(raw).job
    body = {"index": 0, "held_out": False, "view": IDENTITY, "projection": IDENTITY, **changes}
    assert raw.request("view", body, job, image=np.ones((2, 2, 4), np.float32)).type == "error"
    assert raw.send_view(job, 0).type == "ok"


@pytest.mark.parametrize(
    ("shape", "dtype"), [((2, 2, 3), "float32"), ((2, 2, 4), "float64"), ((0, 2, 4), "float16"), ((4,), "float32")]
)
def test_a_bad_image_is_refused(raw, shape, dtype):
    image = np.ones(shape, dtype)
    job = submit(raw).job
    body = {"index": 0, "held_out": False, "view": IDENTITY, "projection": IDENTITY}
    assert raw.request("view", body, job, image=image).type == "error"


def test_a_view_that_comes_twice_or_beyond_the_count_is_refused(raw):
    job = submit(raw, view_count=2).job
    raw.send_view(job, 0)
    assert "twice" in raw.send_view(job, 0).body["cause"]
    raw.send_view(job, 1)
    assert "more than" in raw.send_view(job, 2).body["cause"]
    assert raw.request("end_views", {"count": 1}, job).type == "error"


def with_header(frames, /, **values):
    return [json.dumps({**json.loads(bytes(frames[0])), **values}).encode(), *frames[1:]]


def test_another_protocol_version_gets_a_clear_error(raw):
    raw.send(with_header(raw.frames("hello"), protocol=99))
    error = raw.receive()
    assert error.body["code"] == "version"
    assert "99" in error.body["cause"]
    assert "same version" in error.body["cure"]


def broken_messages(raw):
    good = [bytes(frame) for frame in raw.frames("put", {}, data=np.arange(9, dtype=np.uint8))]
    described = json.loads(good[0])["frames"][0]
    return {
        "wrong hash": [good[0], b"012345678"],
        "wrong size": [good[0], good[1] + b"1"],
        "unknown dtype": with_header(good, frames=[{**described, "dtype": "object"}]),
        "truncated frames": good[:1],
        "surplus frames": [*good, b"more"],
        "garbage": [b"\x80\x04\x95pickled?", b"\xff" * 1000],
        "nothing": [b""],
        "deep": [b"[" * 60_000],
        "oversized header": [b" " * (ONE_MIB // 16 + 1)],
        "many frames": [good[0], *[b""] * 100],
        "no session": with_header(good, session=""),
        "no request": with_header(good, request=""),
    }


def test_broken_messages_are_dropped_answered_and_counted_and_the_server_lives(server, raw):
    broken = broken_messages(raw)
    for name, frames in broken.items():
        raw.send(frames)
        assert raw.receive().type == "error", name
    assert sum(server.dropped.values()) == len(broken)
    assert set(server.dropped) == {"hash", "size", "array", "malformed", "oversized"}
    assert run_to_result(raw).body["metrics"]["views"] == 1


def test_a_frame_beyond_the_limit_is_not_read_and_other_clients_go_on(server, raw):
    with raw_client(server.address) as rude:
        rude.send([b"{}", bytes(5 * ONE_MIB)])
        assert not rude.socket.poll(200)
    assert_lives(raw)


def test_random_bytes_never_end_the_server(raw):
    generator = np.random.default_rng(0)
    good = [bytes(frame) for frame in raw.frames("put", {"hash": "0"}, data=np.arange(9, dtype=np.uint8))]
    for _ in range(300):
        header = bytearray(good[0])
        for position in generator.integers(0, len(header), 3):
            header[position] = generator.integers(0, 256)
        raw.send([bytes(header), good[1]])
        raw.receive()
    assert_lives(raw)


def test_a_taken_port_is_an_error_with_cause_and_cure(server):
    with pytest.raises(ServerError) as caught:
        Server(server.address, average_views)
    assert server.address in caught.value.cause
    assert "free" in caught.value.cure


def test_replies_repeat_session_and_request(raw):
    frames = raw.frames("ping")
    raw.send(frames)
    reply, sent = raw.receive(), unpack(frames)
    assert (reply.session, reply.request, reply.seq) == (sent.session, sent.request, 0)
