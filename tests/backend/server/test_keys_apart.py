"""Several clients with keys of their own on one server: none sees, spoils or takes what another has."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from support.preview_harness import StandIn, even_scene, preview_client, request
from support.server_harness import (
    CLIENT_KEYS,
    ONE_MIB,
    PATIENCE_S,
    RawClient,
    assert_lives,
    average_views,
    put,
    raw_client,
    run_to_result,
    running_server,
    small_capacity,
    submit,
)

from backend.job.model import FitResult
from backend.protocol.client.preview_events import PreviewFrame
from backend.protocol.keys import new_keys
from backend.protocol.wire import describe
from backend.server.capacity import Capacity
from backend.server.gatekeeper import AuthorizedKeys

OTHER_KEYS = new_keys()
BOTH = AuthorizedKeys([CLIENT_KEYS.public, OTHER_KEYS.public])


@pytest.fixture
def server():
    with running_server(authorized=BOTH) as running:
        yield running


@pytest.fixture
def thief(server):
    with raw_client(server.address, OTHER_KEYS) as client:
        yield client


def test_who_knows_session_and_job_but_has_another_key_gets_nothing(raw, thief):
    """Figure before: the thief owned the job."""
    job = submit(raw).job
    thief.session = raw.session
    absent = {}
    for kind in ("cancel", "end_views", "pause", "finish", "watch", "get_result", "fetch", "acknowledge"):
        body = {"count": 0, "size": 8, "interval_s": 1.0, "file": "mean.txt", "offset": 0}
        stolen, absent[kind] = (thief.request(kind, body, name) for name in (job, "0" * 16))
        assert stolen.body["code"] == absent[kind].body["code"] == "unknown_job", kind
        assert stolen.body["cause"].replace(job, "0" * 16) == absent[kind].body["cause"]
    assert thief.send_view(job, 0).body["code"] == "unknown_job"
    assert thief.request("ping", job=job).body["state"] is None
    thief.request("hello")  # ends what the session has left behind: its own, which is nothing
    raw.send_view(job, 0, 3.0)
    raw.request("end_views", {"count": 1}, job)
    result = raw.event("result")
    assert result.body["metrics"]["mean"] == 3.0
    assert not thief.socket.poll(100), "an event of another key's job came"
    assert thief.request("fetch", {"file": "mean.txt", "offset": 0}, job).body["code"] == "unknown_job"
    assert raw.file(result, "mean.txt") == b"3.0"


def test_a_flood_of_session_names_ends_only_sessions_of_its_own_key(raw, thief):
    """Figure before: 1100 names, and another client's job failed."""
    job = submit(raw).job
    for number in range(1100):
        thief.session = f"flood {number}"
        thief.send(thief.frames("ping"))
    for _ in range(1100):
        thief.receive()
    assert raw.request("ping", job=job).body["state"] == "running"
    raw.request("end_views", {"count": 0}, job)
    assert raw.event("result").job == job


def test_another_keys_array_is_not_known_and_its_upload_not_disturbed(server, raw, thief):
    """Figures before: `missing` told that it exists, and one hash with two sizes stopped all uploads of it."""
    array = np.arange(1000, dtype=np.float32)
    accepted = submit(raw, {"a": array})
    liar = {"a": {**describe(array).to_dict(), "shape": [1]}}
    assert thief.request("submit", {"arrays": liar}).type == "accepted"
    assert put(raw, array).type == "stored"
    raw.request("end_views", {"count": 0}, accepted.job)
    assert raw.event("result").body["metrics"]["sums"] == {"a": float(array.sum())}
    with raw_client(server.address, OTHER_KEYS) as honest:
        assert submit(honest, {"a": array}).body["code"] == "store"  # only its own key contradicts it
    assert submit(raw, {"a": array}).body["missing"] == []
    fresh = np.arange(1000, 2000, dtype=np.float32)
    submit(raw, {"a": fresh})
    put(raw, fresh)
    assert submit(thief, {"a": fresh}).body["missing"] == [describe(fresh).hash]
    assert put(thief, fresh).type == "stored"


def test_a_greedy_key_leaves_room_for_jobs_and_arrays_of_others():
    """Figure before: 4 x 1 GiB announced, or 32 jobs, and all others were refused."""
    capacity = small_capacity(live_jobs=8)
    with (
        running_server(authorized=BOTH, capacity=capacity) as server,
        raw_client(server.address) as greedy,
        raw_client(server.address, OTHER_KEYS) as modest,
    ):
        replies = [submit(greedy, {"a": np.full(ONE_MIB, number, np.uint8)}) for number in range(8)]
        assert [reply.type for reply in replies].count("accepted") == 4
        assert {reply.body["code"] for reply in replies[4:]} <= {"store", "busy"}
        assert submit(modest, {"a": np.zeros(ONE_MIB, np.uint8)}).type == "accepted"
        assert submit(modest).type == "accepted"


def test_a_key_alone_may_have_all_and_the_next_gets_its_share_as_it_is_given_back(tmp_path):
    file = tmp_path / "authorized_keys"
    file.write_text(CLIENT_KEYS.public + "\n")
    capacity = small_capacity(live_jobs=4)
    with (
        running_server(authorized=AuthorizedKeys([], file), capacity=capacity) as server,
        raw_client(server.address) as first,
    ):
        accepted = [submit(first) for _ in range(4)]
        assert all(reply.type == "accepted" for reply in accepted)
        file.write_text(f"{CLIENT_KEYS.public}\n{OTHER_KEYS.public}\n")
        with raw_client(server.address, OTHER_KEYS) as second:
            assert submit(second).body["code"] == "busy"
            first.request("cancel", job=accepted[0].job)
            assert submit(second).type == "accepted"
            first.request("cancel", job=accepted[1].job)
            assert submit(first).body["code"] == "busy"


def test_jobs_of_keys_take_turns():
    order, gate = [], threading.Event()

    def note(inputs, settings, report, cancelled):
        gate.wait(PATIENCE_S)
        order.append(settings.seed)
        return FitResult({}, {})

    with (
        running_server(note, authorized=BOTH) as server,
        raw_client(server.address) as greedy,
        raw_client(server.address, OTHER_KEYS) as modest,
    ):
        for seed in range(6):
            submit(greedy, settings={"seed": seed})
        job = submit(modest, settings={"seed": 100}).job
        waiting = modest.event("progress").body["message"]
        assert waiting == "Waiting for 2 earlier jobs"  # the one that runs, and one more
        gate.set()
        assert modest.event("result").job == job
        for _ in range(6):
            greedy.event("result")
    assert order == [0, 1, 100, 2, 3, 4, 5]


def test_results_of_one_key_push_out_none_of_another():
    with (
        running_server(authorized=BOTH, capacity=small_capacity(kept_outcomes=4)) as server,
        raw_client(server.address) as raw,
        raw_client(server.address, OTHER_KEYS) as busy,
    ):
        mine = run_to_result(raw).job
        theirs = [run_to_result(busy).job for _ in range(6)]
        assert raw.request("ping", job=mine).body["state"] == "done"
        states = [busy.request("ping", job=job).body["state"] for job in theirs]
        assert states == [None] * 3 + ["done"] * 3


def test_scenes_of_one_key_leave_places_for_another():
    capacity = Capacity(scenes=4)
    stand_in = StandIn()
    with running_server(authorized=BOTH, capacity=capacity, make_drawing=lambda: stand_in.drawing) as server:
        greedy = [RawClient(server.address) for _ in range(4)]
        try:
            replies = [client.request("scene", SCENE_BODY, description=SCENE) for client in greedy]
            assert [reply.type for reply in replies] == ["scene_taken"] * 2 + ["error"] * 2
            assert replies[2].body["code"] == "busy"
            with raw_client(server.address, OTHER_KEYS) as modest:
                assert modest.request("scene", SCENE_BODY, description=SCENE).type == "scene_taken"
        finally:
            for client in greedy:
                client.close()


SCENE_BODY = {"scene": 1, "arrays": {}, "jobs": []}
SCENE = np.frombuffer(b'{"parts": []}', np.uint8)


def test_scenes_of_two_keys_under_one_session_name_are_two():
    stand_in = StandIn()
    with (
        running_server(average_views, authorized=BOTH, make_drawing=lambda: stand_in.drawing) as server,
        preview_client(server.address) as client,
        raw_client(server.address, OTHER_KEYS) as thief,
    ):
        client.show(even_scene(0.25))
        thief.session = client._session
        assert thief.request("ping").body["scene"] == 0
        thief.request("leave_preview")
        client.request_frame(request(1))
        assert client.wait(PreviewFrame).rows[0, 0, 0] == 0.25
        assert_lives(thief)
