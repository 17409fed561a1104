"""What the server must refuse, and that it lives on."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from support.server_harness import (
    IDENTITY,
    ONE_MIB,
    SERVER_KEYS,
    assert_lives,
    average_views,
    put,
    raw_client,
    run_to_result,
    running_server,
    small_capacity,
    submit,
)

from backend.protocol.wire import unpack
from backend.server import server as server_module
from backend.server.address_file import ServerError
from backend.server.gatekeeper import AuthorizedKeys
from backend.server.server import Server


def test_too_many_jobs_are_refused():
    with running_server(capacity=small_capacity(live_jobs=1)) as server, raw_client(server.address) as raw:
        submit(raw)
        assert submit(raw).body["code"] == "busy"


def test_a_message_whose_reading_fails_is_dropped_and_the_others_go_on(monkeypatch):
    """Whatever the fault is: one of NumPy's once ended the server and all jobs."""

    def fail_on_marked(frames, limits):
        if b"marked" in bytes(frames[0]):
            raise ValueError("a fault of ours")
        return unpack(frames, limits)

    monkeypatch.setattr(server_module, "unpack", fail_on_marked)
    with running_server(average_views) as server, raw_client(server.address) as raw:
        raw.send(raw.frames("marked"))
        reply = raw.receive()
        assert (reply.type, reply.body["code"]) == ("error", "malformed")
        run_to_result(raw)


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
        ("ping", {"received": "r1"}),
        ("ping", {"received": [1]}),
        ("ping", {"received": ["r"] * 257}),
    ],
)
def test_a_request_that_makes_no_sense_gets_an_error(raw, kind, body):
    assert raw.request(kind, body).type == "error"
    assert_lives(raw)


@pytest.mark.parametrize("changes", [{"hash": "0" * 64}, {"hash": 5}, {"offset": 1}, {"total": 9}, {"total": None}])
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
        Server(server.address, average_views, SERVER_KEYS, AuthorizedKeys())
    assert server.address in caught.value.cause
    assert "free" in caught.value.cure


def test_replies_repeat_session_and_request(raw):
    frames = raw.frames("ping")
    raw.send(frames)
    reply, sent = raw.receive(), unpack(frames)
    assert (reply.session, reply.request, reply.seq) == (sent.session, sent.request, 0)
