"""Scenes up and frames down: a real server on loopback and the client, the drawing itself being a stand-in."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from support.cuttable_link import CuttableLink
from support.preview_harness import EMPTY_SCENE, StandIn, even_scene, preview_client, request
from support.server_harness import CLIENT_KEYS, ONE_MIB, PATIENCE_S, Limits, assert_lives, raw_client, running_server

from backend.protocol.client.preview_events import (
    FrameFailed,
    PreviewConnected,
    PreviewFailed,
    PreviewFrame,
    SceneReady,
)
from backend.protocol.wire import UNHASHED_TYPES, Message, ProtocolError, describe, pack, unpack

SCENE = even_scene(0.5)
SCENE_JSON = np.frombuffer(json.dumps(SCENE.to_dict()).encode(), np.uint8)


@pytest.fixture
def stand_in():
    return StandIn()


@pytest.fixture
def server(stand_in):
    with running_server(make_drawing=lambda: stand_in.drawing) as running:
        yield running


@pytest.fixture
def client(server):
    with preview_client(server.address) as connected:
        yield connected


def drawn(client, asked):
    client.request_frame(asked)
    return client.wait(PreviewFrame, FrameFailed)


def until(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_a_frame_comes_as_it_was_asked_for(client):
    assert client.wait(PreviewConnected).info["protocol"] == 1
    client.show(SCENE)
    for dtype in ("float16", "float32"):
        frame = drawn(client, request(3, size=(600, 700), spp=2, channel="kd", dtype=dtype))
        assert (frame.viewport, frame.number, frame.width, frame.height) == ("view", 3, 700, 600)
        assert (frame.spp, frame.channel) == (2, "kd")
        assert frame.image.shape == (600, 700, 4)
        assert frame.image.dtype == dtype
        np.testing.assert_array_equal(frame.image[..., 0], 0.5)
        rows = np.arange(600, dtype=dtype) / np.array(600, dtype)
        np.testing.assert_allclose(frame.image[..., 1], np.broadcast_to(rows[:, None], (600, 700)), rtol=1e-3)
        np.testing.assert_array_equal(frame.image[..., 2], 3)
        assert set(frame.timing) == {"render", "copy"}


@pytest.mark.parametrize(("channel", "outside"), [("shaded", [0, 0, 0, 0]), ("depth", [1e10, 1e10, 1e10, 0])])
def test_only_the_rectangle_travels_and_the_rest_is_empty(client, stand_in, channel, outside):
    stand_in.rect = (3, 5, 4, 6)
    client.show(SCENE)
    frame = drawn(client, request(2, size=(16, 24), channel=channel, dtype="float32"))
    inside = np.zeros((16, 24), bool)
    inside[3:7, 5:11] = True
    assert (frame.image[inside][:, 2] == 2).all()
    assert (frame.image[~inside] == np.array(outside, np.float32)).all()


def test_an_empty_frame_comes_too(client, stand_in):
    stand_in.rect = (0, 0, 0, 0)
    client.show(SCENE)
    assert (drawn(client, request()).image == 0).all()


def test_of_frames_that_wait_only_the_latest_of_each_viewport_is_drawn(client, stand_in):
    client.show(SCENE)
    stand_in.gate.clear()
    for number in range(40):
        client.request_frame(request(number, "one"))
        if number == 0:
            until(lambda: client._commands.empty())
            time.sleep(0.05)
        client.request_frame(request(number, "two"))
    time.sleep(0.05)
    stand_in.gate.set()
    latest = {}
    while latest.get("one") != 39 or latest.get("two") != 39:
        frame = client.wait(PreviewFrame)
        latest[frame.viewport] = frame.number
    assert len(stand_in.seen) <= 8


def test_a_main_thread_that_does_not_poll_finds_the_latest_frame(client):
    client.show(SCENE)
    for number in range(5):
        client.request_frame(request(number))
        time.sleep(0.05)
    frames = [event for event in client.poll() if isinstance(event, PreviewFrame)]
    assert [frame.number for frame in frames] == [4]


def test_arrays_travel_once_and_stay_the_same_objects(client, stand_in):
    mesh, image = np.arange(700_000, dtype=np.float32), np.ones((4, 4, 4), np.uint8)
    client.show(SCENE, {"mesh": mesh, "image": image, "same": image.copy()})
    client.show(SCENE, {"other name": mesh, "image": image})
    first, second = stand_in.loads
    np.testing.assert_array_equal(first["mesh"], mesh)
    assert first["image"] is first["same"] is second["image"]
    assert first["mesh"] is second["other name"]
    assert not second["image"].flags.writeable


def test_only_the_latest_scene_counts(client, stand_in):
    for number in range(30):
        client.set_scene(even_scene(number / 32), {"mesh": np.full(400_000, number, np.float32)})
    client.wait(SceneReady)
    assert drawn(client, request()).image[0, 0, 0] == 29 / 32
    assert len(stand_in.loads) < 30


def test_a_broken_scene_says_why_and_the_one_before_stays(client):
    client.set_scene(EMPTY_SCENE, {})
    failed = client.wait(PreviewFailed)
    assert (failed.code, failed.cause, failed.cure) == ("scene", "The scene has no parts.", "Give it one.")
    assert drawn(client, request()).code == "scene"
    client.show(SCENE)
    client.set_scene(EMPTY_SCENE, {})
    client.wait(PreviewFailed)
    assert drawn(client, request()).image[0, 0, 0] == 0.5


def test_a_frame_without_a_scene_and_one_that_fails_are_told(client):
    assert drawn(client, request(7)) == FrameFailed(
        "view", 7, "scene", "No scene has been set.", "Set a scene before a frame is asked for."
    )
    client.show(SCENE)
    failed = drawn(client, request(-1))
    assert (failed.number, failed.code, failed.cause) == (-1, "frame", "The number is negative.")
    assert drawn(client, request(1)).number == 1


def test_a_backend_that_cannot_draw_says_so():
    def broken():
        raise ImportError("no torch here")

    with running_server(make_drawing=broken) as server, preview_client(server.address) as client:
        client.set_scene(SCENE, {})
        assert "no torch here" in client.wait(PreviewFailed).cause
        assert drawn(client, request()).code == "scene"


@pytest.mark.parametrize(
    "change",
    [
        {"width": 8193}, {"height": 0}, {"spp": 17}, {"layers": 0}, {"channel": "?"}, {"background": "?"}, {"dtype": "int8"},
        {"viewport": ""}, {"number": 1.5}, {"view": [[1]]}, {"projection": [[float("nan")] * 4] * 4}, {"more": 1},
    ],
)  # fmt: skip
def test_bad_requests_are_refused(server, change):
    with raw_client(server.address) as raw:
        values = {**request().to_dict(), **change}
        if change.keys() & {"projection", "more"}:
            values.pop("view")
        reply = raw.request(
            "frame", {k: v for k, v in values.items() if k != "projection" or "projection" not in change}
        )
        assert (reply.type, reply.body["code"]) == ("error", "frame")
        assert_lives(raw)


def scene_body(**arrays):
    described = {name: describe(array).to_dict() for name, array in arrays.items()}
    return {"scene": 1, "jobs": [], "arrays": described}


def test_malformed_scenes_and_lights_are_refused(server):
    text = SCENE_JSON
    big = describe(np.zeros(1, np.float32)).to_dict() | {"shape": [2 * ONE_MIB]}
    with raw_client(server.address) as raw:
        for body, code in [
            ({}, "malformed"),
            (scene_body() | {"jobs": [1]}, "malformed"),
            (scene_body() | {"arrays": {"a": {}}}, "array"),
            (scene_body() | {"arrays": {"a": big}}, "oversized"),
        ]:
            assert raw.request("scene", body, description=text).body["code"] == code
        assert raw.request("scene", scene_body()).body["code"] == "malformed"
        for array in (np.zeros((2, 3), np.float32), np.zeros((2, 4, 3), np.float16), np.zeros((0, 4, 3), np.float32)):
            assert raw.request("light", {"array": describe(array).to_dict()}).body["code"] == "light"
        assert raw.request("frame_seen", {"viewport": 1}).body["code"] == "malformed"
        raw.request("scene", scene_body(), description=np.frombuffer(b"[1", np.uint8))
        assert raw.event("scene_failed").body["code"] == "scene"
        assert_lives(raw)


def test_a_slow_reader_gets_no_second_frame_before_it_has_seen_the_first(server, stand_in):
    with raw_client(server.address) as raw:
        raw.request("scene", scene_body(), description=SCENE_JSON)
        raw.event("scene_ready")
        frames = [raw.frames("frame", request(number).to_dict()) for number in range(3)]
        raw.send(frames[0])
        first = raw.event("frame_piece")
        raw.send(frames[1])
        raw.send(frames[2])
        assert raw.event("error").body["code"] == "replaced"
        time.sleep(0.1)
        assert [seen.number for seen in stand_in.seen] == [0]
        raw.request("frame_seen", {"viewport": "view", "request": first.request})
        assert raw.event("frame_piece").arrays["rows"][0, 0, 2] == 2
        raw.send(frames[2])  # sent again, as after a lost connection: it is drawn again
        assert raw.event("frame_piece").arrays["rows"][0, 0, 2] == 2


def test_several_clients_have_scenes_of_their_own(server, client):
    with preview_client(server.address) as other:
        other.set_scene(EMPTY_SCENE, {})
        other.wait(PreviewFailed)
        client.show(SCENE)
        assert drawn(client, request(5)).number == 5
        assert drawn(other, request(6)).code == "scene"


def test_what_a_client_leaves_is_forgotten(server):
    array = np.ones(1000, np.float32)
    with preview_client(server.address) as client:
        client.show(SCENE, {"a": array})
        assert server._service.stores.of(CLIENT_KEYS.public).pinned_bytes
    until(lambda: not server._service.stores.of(CLIENT_KEYS.public).pinned_bytes)
    assert not server._previews.sessions
    assert not server.workers.drawer._clients


def test_a_request_is_checked_where_it_is_made():
    with pytest.raises(ProtocolError, match="8192"):
        request(size=(9000, 10))
    assert type(request()).from_dict(request().to_dict()) == request()


@pytest.mark.parametrize("kind", UNHASHED_TYPES)
def test_only_pictures_that_are_replaced_travel_without_a_hash(kind):
    array = np.arange(12, dtype=np.float16)
    header, data = pack(Message(kind, arrays={"a": array}))
    assert json.loads(bytes(header))["frames"][0]["hash"] == ""
    np.testing.assert_array_equal(unpack([header, data]).arrays["a"], array)
    for other in (header.replace(kind.encode(), b"view"), header.replace(b'"hash":""', b'"hash":"' + b"0" * 64 + b'"')):
        with pytest.raises(ProtocolError, match="hash"):
            unpack([other, data])
    with pytest.raises(ProtocolError, match="bytes"):
        unpack([header, bytes(data)[2:]])


def test_a_frame_that_was_lost_with_a_connection_is_drawn_again(server, stand_in):
    link = CuttableLink(server.address)
    with preview_client(link.address) as client:
        client.show(SCENE)
        stand_in.gate.clear()
        client.request_frame(request(1))
        time.sleep(0.1)
        link.cut()
        stand_in.gate.set()
        assert client.wait(PreviewFrame).number == 1
        assert drawn(client, request(2)).number == 2
        client.show(even_scene(0.75))
        assert drawn(client, request(3)).image[0, 0, 0] == 0.75
    link.close()


def test_a_scene_whose_event_was_lost_is_ready_all_the_same(server):
    with raw_client(server.address) as raw:
        assert raw.request("ping").body["scene"] == 0
        raw.request("scene", scene_body() | {"scene": 7}, description=SCENE_JSON)
        raw.event("scene_ready")
        assert raw.request("ping").body["scene"] == 7


def test_large_scenes_pass_limits_in_pieces():
    with (
        running_server(make_drawing=lambda: StandIn().drawing, limits=Limits()) as server,
        preview_client(server.address) as client,
    ):
        client.show(SCENE, {"a": np.arange(3_000_000, dtype=np.float32)})
        frame = drawn(client, request(1, size=(1080, 1920)))
        assert (frame.image[..., 2] == 1).all()
