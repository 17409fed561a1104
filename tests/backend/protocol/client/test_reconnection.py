"""A client that lost its connection for longer than a silence: it comes back to its job, and nothing is lost."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from support.cuttable_link import CuttableLink
from support.server_harness import (
    ATTENTIVE,
    ONE_MIB,
    PATIENCE_S,
    SERVER_KEYS,
    add_view,
    connected_client,
    progress_until,
    running_server,
    small_capacity,
    wait_for,
)

from backend.job.model import FitProgress, FitResult
from backend.protocol.client.events import (
    Accepted,
    Cancelled,
    ConnectionBack,
    ConnectionLost,
    Disconnected,
    Failed,
    Progress,
    Result,
)
from backend.protocol.settings import FitSettings
from backend.protocol.wire import Limits

STUBBORN = replace(ATTENTIVE, retry=4 * PATIENCE_S)
LONGER_THAN_A_SILENCE_S = 2.5 * ATTENTIVE.silence


@pytest.fixture
def steps():
    return threading.Semaphore(0)


@pytest.fixture
def server(steps):
    """Its jobs say a word at each step, and end at the third."""

    def job(inputs, settings, report, cancelled):
        list(inputs.views)
        for number in range(3):
            report(FitProgress(f"step {number}", 0.0, number, None, None, f"word {number}"))
            while not steps.acquire(timeout=0.05):
                if cancelled():
                    return FitResult({}, {})
        sums = {name: int(array.sum()) for name, array in inputs.arrays.items()}
        return FitResult({"kd.png": b"kd"}, {"sums": sums})

    limits = Limits(header_bytes=ONE_MIB // 16, frame_bytes=16 * ONE_MIB)
    with running_server(job, limits=limits) as running:
        yield running


@pytest.fixture
def link(server):
    relay = CuttableLink(server.address)
    yield relay
    relay.close()


def test_what_was_said_meanwhile_is_told_and_the_job_goes_on(server, link, steps):
    with connected_client(link.address, STUBBORN) as client:
        client.submit(FitSettings(), {})
        client.end_views()
        progress_until(client, lambda event: event.message == "word 0")
        with link.outage():
            wait_for(client, ConnectionLost)
            for _ in range(2):
                steps.release()
                time.sleep(LONGER_THAN_A_SILENCE_S / 2)
        wait_for(client, ConnectionBack)
        progress_until(client, lambda event: event.message == "word 1")
        progress_until(client, lambda event: event.message == "word 2")
        steps.release()
        assert wait_for(client, Result)[-1].files == {"kd.png": b"kd"}


def test_a_result_that_came_meanwhile_is_fetched(server, link, steps):
    with connected_client(link.address, STUBBORN) as client:
        client.submit(FitSettings(), {})
        client.end_views()
        progress_until(client, lambda event: event.message == "word 0")
        with link.outage():
            wait_for(client, ConnectionLost)
            steps.release(3)
            time.sleep(LONGER_THAN_A_SILENCE_S)
        seen = wait_for(client, Result, Failed, Disconnected)
        assert isinstance(seen[-1], Result)
        assert sum(isinstance(event, Result) for event in seen) == 1


@pytest.mark.parametrize("how", ["cut", "dies unnoticed"])
def test_nothing_that_had_arrived_is_uploaded_again(server, link, steps, monkeypatch, how):
    """The link ends in the middle of an upload; only pieces without a reply travel again."""
    array = np.arange(12 * ONE_MIB, dtype=np.uint8)
    received = []
    handled = server._service.handle

    def handle(message, owner=""):
        reply = handled(message, owner)
        if message.type == "put":
            received.append(message.body["offset"])
            if len(received) == 2:
                link.swallow()
        return reply

    monkeypatch.setattr(server._service, "handle", handle)
    with connected_client(link.address, STUBBORN) as client:
        client.submit(FitSettings(), {"a": array})
        add_view(client, 0)
        client.end_views()
        deadline = time.monotonic() + PATIENCE_S
        while len(received) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        if how == "cut":
            with link.outage():
                wait_for(client, ConnectionLost)
        steps.release(3)
        result = wait_for(client, Result, Failed, Disconnected, patience_s=4 * PATIENCE_S)[-1]
        assert isinstance(result, Result), result
        assert result.metrics["sums"] == {"a": int(array.sum())}
        assert sorted(set(received)) == [2 * ONE_MIB * number for number in range(6)]
        assert len(received) == 6


def test_it_gives_up_after_the_time_that_it_was_told(server, link):
    retry = 1.5
    with connected_client(link.address, replace(ATTENTIVE, retry=retry)) as client:
        client.submit(FitSettings(), {})
        wait_for(client, Accepted)
        with link.outage():
            wait_for(client, ConnectionLost)
            began = time.monotonic()
            seen = wait_for(client, Disconnected, ConnectionBack)
            assert isinstance(seen[-1], Disconnected)
            assert retry - 0.5 < time.monotonic() - began < retry + 2.0


def test_a_cancel_meanwhile_is_carried_out_when_the_connection_is_back(server, link):
    with connected_client(link.address, STUBBORN) as client:
        client.submit(FitSettings(), {})
        client.end_views()
        progress_until(client, lambda event: event.message == "word 0")
        with link.outage():
            wait_for(client, ConnectionLost)
            client.cancel()
        seen = wait_for(client, Cancelled, Result, Failed)
        assert isinstance(seen[-1], Cancelled)
        assert not [event for event in seen if isinstance(event, Progress)]


def test_a_close_meanwhile_waits_for_nothing(server, link):
    with connected_client(link.address, STUBBORN) as client:
        client.submit(FitSettings(), {})
        wait_for(client, Accepted)
        with link.outage():
            wait_for(client, ConnectionLost)
            began = time.monotonic()
            client.close()
            assert time.monotonic() - began < 0.9


def test_a_client_that_gave_up_attaches_to_its_job(server, link, steps):
    with connected_client(link.address, ATTENTIVE) as client:
        client.submit(FitSettings(), {})
        client.end_views()
        job = wait_for(client, Accepted)[-1].job
        progress_until(client, lambda event: event.message == "word 0")
        with link.outage():
            wait_for(client, Disconnected)
            steps.release(2)
            time.sleep(0.2)
        client.connect(link.address, SERVER_KEYS.public, job)
        assert wait_for(client, Accepted)[-1].job == job
        progress_until(client, lambda event: event.message == "word 2")
        steps.release()
        assert wait_for(client, Result)[-1].files == {"kd.png": b"kd"}


def test_a_job_that_the_backend_does_not_know_is_lost(server):
    with connected_client(server.address) as client:
        client.connect(server.address, SERVER_KEYS.public, "0123456789abcdef")
        assert wait_for(client, Failed, Accepted)[-1].code == "job_lost"
        client.submit(FitSettings(), {})  # the connection is as good as any
        wait_for(client, Accepted)


def test_a_job_that_the_backend_gave_up_meanwhile_says_why():
    """It waited for its upload for too long. Its pieces, which are sent again, would be refused with another reason."""

    def job(inputs, settings, report, cancelled):
        return FitResult({}, {})

    limits = Limits(header_bytes=ONE_MIB // 16, frame_bytes=16 * ONE_MIB)
    capacity = small_capacity(silence_s=0.8, store_bytes=32 * ONE_MIB)
    with running_server(job, limits=limits, capacity=capacity) as server:
        link = CuttableLink(server.address, delay_s=0.02)
        with connected_client(link.address, STUBBORN) as client:
            client.submit(FitSettings(), {"a": np.arange(12 * ONE_MIB, dtype=np.uint8)})
            add_view(client, 0)
            client.end_views()
            wait_for(client, Progress)
            with link.outage():
                wait_for(client, ConnectionLost, patience_s=4 * PATIENCE_S)
                time.sleep(2.0)
            seen = wait_for(client, Failed, Result)
            assert seen[-1].code == "client_gone"
        link.close()
