"""The client as Blender uses it, against a real server."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from support.server_harness import (
    ATTENTIVE,
    PATIENCE_S,
    SERVER_KEYS,
    PolledClient,
    add_view,
    average_views,
    connected_client,
    running_server,
    small_capacity,
    wait_for,
)

from backend.job.model import FitResult, JobError
from backend.protocol.client.client import BackendClient
from backend.protocol.client.events import Accepted, Cancelled, Connected, Failed, Progress, Result
from backend.protocol.settings import FitSettings
from backend.protocol.wire import ProtocolError


@pytest.fixture
def client(server):
    with connected_client(server.address) as connected:
        yield connected


def kinds(events):
    return [type(event) for event in events]


def test_a_job_from_submit_to_result(client):
    arrays = {"a": np.arange(1000, dtype=np.float32), "nothing": np.zeros((0, 3), np.int32)}
    client.submit(FitSettings(resolution=64), arrays, view_count=3)
    for index in range(3):
        add_view(client, index, float(index))
    client.end_views()
    seen = wait_for(client, Result, Failed)
    assert kinds(seen)[:2] == [Connected, Accepted]
    assert seen[-1].files == {"mean.txt": b"1.0", "empty.bin": b""}
    assert seen[-1].metrics["sums"] == {"a": 499500.0, "nothing": 0.0}
    progress = [event for event in seen if isinstance(event, Progress)]
    assert [event.state for event in progress if event.state != "running"][-1] == "queued"
    assert progress[0].state == "uploading"
    assert progress[-1].fraction == 1.0
    assert progress[-1].phase == "average"


def test_views_may_trickle_in_after_the_job_runs(client):
    client.submit(FitSettings(), {})
    seen = wait_for(client, Progress)
    while seen[-1].state != "running":
        seen = wait_for(client, Progress)
    for index in range(2):
        add_view(client, index, 2.0)
        while wait_for(client, Progress)[-1].iteration != index + 1:
            pass
        time.sleep(0.06)
    client.end_views()
    assert wait_for(client, Result)[-1].metrics["mean"] == 2.0


def test_the_second_job_uploads_nothing_that_is_unchanged(client):
    arrays = {"a": np.arange(1000, dtype=np.float32)}
    uploads = []
    for _ in range(2):
        client.submit(FitSettings(), arrays)
        client.end_views()
        seen = wait_for(client, Result)
        uploads.append(sum(isinstance(event, Progress) and event.state == "uploading" for event in seen))
    assert uploads == [1, 0]


def test_calls_do_not_wait_for_hashing_or_sending(client):
    wait_for(client, Connected)
    arrays = {f"a{number}": np.full(1 << 20, number, np.uint8) for number in range(4)}
    started = time.perf_counter()
    client.submit(FitSettings(), arrays)
    add_view(client, 0)
    client.end_views()
    client.poll()
    assert time.perf_counter() - started < 0.02
    assert wait_for(client, Result)


def test_arrays_that_cannot_travel_are_refused_at_once(client):
    with pytest.raises(ProtocolError, match="complex"):
        client.submit(FitSettings(), {"a": np.zeros(3, complex)})
    with pytest.raises(ProtocolError, match="list"):
        client.add_view({}, [1.0])
    with pytest.raises(ProtocolError, match="name"):
        client.submit(FitSettings(), {"x" * 65: np.zeros(3)})


def test_calls_before_connect_are_an_error():
    with pytest.raises(RuntimeError, match="connect first"):
        BackendClient().submit(FitSettings(), {})


def test_a_failed_job_is_told_and_the_client_can_go_on():
    def fail_once(inputs, settings, report, cancelled):
        if settings.seed == 1:
            raise JobError("no_faces", "The mesh has no faces.", "Add some.")
        return average_views(inputs, settings, report, cancelled)

    with running_server(fail_once) as server, connected_client(server.address) as client:
        client.submit(FitSettings(seed=1), {})
        assert wait_for(client, Failed)[-1] == Failed("no_faces", "The mesh has no faces.", "Add some.")
        client.submit(FitSettings(), {})
        client.end_views()
        assert wait_for(client, Result)


def test_a_refused_job_is_told():
    with (
        running_server(capacity=small_capacity(store_bytes=10)) as server,
        connected_client(server.address) as client,
    ):
        client.submit(FitSettings(), {"a": np.zeros(100)})
        add_view(client, 0)
        failed = wait_for(client, Failed)[-1]
        assert failed.code == "store"
        assert failed.cure


def test_a_refused_view_ends_the_job(client):
    client.submit(FitSettings(), {})
    client.add_view({"index": "first"}, np.zeros((2, 2, 4), np.float32))
    assert wait_for(client, Failed)[-1].code == "malformed"
    client.submit(FitSettings(), {})
    client.end_views()
    assert wait_for(client, Result)


def test_a_view_beyond_the_limit_of_a_message_is_not_sent(client):
    client.submit(FitSettings(), {})
    client.add_view({"index": 0}, np.zeros((600, 600, 4), np.float32))
    failed = wait_for(client, Failed)[-1]
    assert failed.code == "oversized"
    assert "view 0" in failed.cause


def test_cancel_is_answered_at_once_while_the_fit_is_busy():
    busy, free = threading.Event(), threading.Event()

    def compute(inputs, settings, report, cancelled):
        busy.set()
        free.wait(5.0)
        return FitResult({}, {})

    with running_server(compute) as server, connected_client(server.address) as client:
        client.submit(FitSettings(), {})
        assert busy.wait(PATIENCE_S)
        started = time.monotonic()
        client.cancel()
        assert wait_for(client, Cancelled, Failed, Result)[-1] == Cancelled()
        assert time.monotonic() - started < 0.5
        free.set()
        time.sleep(0.1)
        assert client.polled + client.poll() == []


def test_cancel_before_the_job_is_accepted(client):
    client.submit(FitSettings(), {"a": np.zeros(1000)})
    client.cancel()
    seen = wait_for(client, Cancelled, Failed, Result)
    assert seen[-1] == Cancelled()


def test_cancel_without_a_job_says_nothing(client):
    wait_for(client, Connected)
    client.cancel()
    time.sleep(0.05)
    assert client.polled + client.poll() == []


def test_a_new_job_replaces_one_that_still_runs(client):
    client.submit(FitSettings(), {})
    first = wait_for(client, Accepted)[-1]
    client.submit(FitSettings(), {})
    client.end_views()
    seen = wait_for(client, Result, Failed, Cancelled)
    assert isinstance(seen[-1], Result)
    assert [event.job for event in seen if isinstance(event, Accepted)] != [first.job]


def test_an_idle_connection_stays_up_by_its_heartbeat(server):
    with connected_client(server.address, ATTENTIVE) as client:
        wait_for(client, Connected)
        time.sleep(2 * ATTENTIVE.silence)
        assert client.polled + client.poll() == []
        client.submit(FitSettings(), {})
        client.end_views()
        assert wait_for(client, Result)


def test_close_cancels_the_job_so_that_the_next_client_need_not_wait(server):
    with connected_client(server.address) as client:
        client.submit(FitSettings(), {})
        wait_for(client, Accepted)
    with connected_client(server.address) as client:
        client.submit(FitSettings(), {})
        client.end_views()
        assert wait_for(client, Result)


def test_close_is_quick_and_may_be_repeated(server):
    client = PolledClient(ATTENTIVE)
    client.close()
    client.connect(server.address, SERVER_KEYS.public)
    wait_for(client, Connected)
    started = time.monotonic()
    client.close()
    client.close()
    assert time.monotonic() - started < 0.3
    assert not [thread for thread in threading.enumerate() if thread.name == "pbrfit-client"]


def test_a_client_can_connect_again(server):
    with connected_client(server.address) as client:
        for _ in range(2):
            client.connect(server.address, SERVER_KEYS.public)
            client.submit(FitSettings(), {})
            client.end_views()
            assert wait_for(client, Result)
