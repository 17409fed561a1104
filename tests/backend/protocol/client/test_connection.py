"""The client when the backend is absent, wrong, silent or gone, or the network bad."""

from __future__ import annotations

import socket
import sys
import threading
import time

import pytest
import zmq
from support.cuttable_link import CuttableLink
from support.server_harness import ATTENTIVE, QUICK, SERVER_KEYS, add_view, connected_client, running_server, wait_for

from backend.job.model import FitResult
from backend.protocol.client.events import Accepted, Connected, Disconnected, Failed, Result
from backend.protocol.settings import FitSettings
from backend.protocol.wire import Message, pack


def test_no_backend_is_told_with_cause_and_cure():
    with socket.socket() as taken:  # bound but not listening: a connection is refused
        taken.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with connected_client(address, QUICK) as client:
            client.submit(FitSettings(), {})
            seen = wait_for(client, Failed)
    assert seen[-1].code == "unreachable"
    assert address in seen[-1].cause
    assert seen[-1].cure
    assert len(seen) == 1


@pytest.mark.parametrize("address", ["", "127.0.0.1:5", "tcp://127.0.0.1", "ipc:///tmp/x", "tcp://127.0.0.1:notaport"])
def test_a_bad_address_is_told(address):
    with connected_client(address) as client:
        failed = wait_for(client, Failed)[-1]
    assert failed.code == "address"
    assert repr(address) in failed.cause


def test_what_cannot_be_sent_at_the_moment_of_the_handshake_is_sent_later(monkeypatch):
    """The monitor may tell of the link before the socket can use it (seen once in four hundred connections)."""
    refused = []
    send = zmq.Socket.send_multipart

    def send_multipart(self, frames, *arguments, **options):
        if self.type == zmq.DEALER and len(refused) < 3:
            refused.append(frames)
            raise zmq.Again
        return send(self, frames, *arguments, **options)

    monkeypatch.setattr(zmq.Socket, "send_multipart", send_multipart)
    with running_server() as server, connected_client(server.address) as client:
        client.submit(FitSettings(), {})
        client.end_views()
        seen = wait_for(client, Result, Failed)
    assert isinstance(seen[-1], Result)
    assert len(refused) == 3


@pytest.fixture
def other_router():
    """A ROUTER that is not a PBRfit backend of this version, and its address."""
    context = zmq.Context()
    router = context.socket(zmq.ROUTER)
    router.curve_server = True
    router.curve_publickey, router.curve_secretkey = SERVER_KEYS.public.encode(), SERVER_KEYS.secret.encode()
    router.bind("tcp://127.0.0.1:*")
    yield router, router.last_endpoint.decode().rstrip("\0")
    context.destroy(linger=0)


def test_something_else_at_the_address_is_told(other_router):
    with connected_client(other_router[1], QUICK) as client:
        failed = wait_for(client, Failed)[-1]
    assert failed.code == "unreachable"
    assert "does not answer as a PBRfit backend" in failed.cause


def test_a_backend_of_another_version_is_told(other_router):
    router, address = other_router
    with connected_client(address) as client:
        assert router.poll(1000)
        route = router.recv_multipart()[0]
        header = pack(Message("welcome"))[0].replace(b'"protocol":1', b'"protocol":2')
        router.send_multipart([route, header])
        failed = wait_for(client, Failed)[-1]
    assert failed.code == "version"
    assert "the other end 2" in failed.cause
    assert "same version" in failed.cure


def test_a_backend_that_dies_is_reported():
    with running_server() as server, connected_client(server.address, ATTENTIVE) as client:
        client.submit(FitSettings(), {})
        wait_for(client, Accepted)
        server.stop()
        seen = wait_for(client, Disconnected, Failed)
    assert isinstance(seen[-1], Disconnected)
    assert "Start the backend again" in seen[-1].reason


def test_a_restarted_backend_that_lost_the_job_is_reported():
    with running_server() as server, connected_client(server.address) as client:
        client.submit(FitSettings(), {})
        wait_for(client, Accepted)
        server.stop()
        deadline = time.monotonic() + 3.0
        while port_is_open(server.address) and time.monotonic() < deadline:
            time.sleep(0.02)
        with running_server(address=server.address):
            assert wait_for(client, Failed)[-1].code == "job_lost"


def port_is_open(address):
    host, port = address.removeprefix("tcp://").split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def test_a_main_thread_that_blocks_for_long_is_no_silence_of_the_backend(server):
    with connected_client(server.address, ATTENTIVE) as client:
        wait_for(client, Connected)
        hold_the_interpreter(1.5 * ATTENTIVE.silence)
        client.submit(FitSettings(), {})
        client.end_views()
        assert not [event for event in wait_for(client, Result) if isinstance(event, Disconnected)]


def hold_the_interpreter(seconds):
    """Computes without letting any other thread of this process run, as Blender does in long operators."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(60.0)
    try:
        deadline = time.perf_counter() + seconds
        while time.perf_counter() < deadline:
            pass
    finally:
        sys.setswitchinterval(interval)


@pytest.fixture
def link(server):
    relay = CuttableLink(server.address)
    yield relay
    relay.close()


def test_what_was_lost_with_a_connection_is_sent_again(server, link):
    with connected_client(link.address) as client:
        client.submit(FitSettings(), {}, view_count=3)
        wait_for(client, Accepted)
        add_view(client, 0, 0.0)
        time.sleep(0.1)
        link.swallow()
        add_view(client, 1, 3.0)
        time.sleep(0.1)
        link.cut()
        add_view(client, 2, 6.0)
        client.end_views()
        result = wait_for(client, Result, Failed, Disconnected)[-1]
        assert result.metrics["views"] == 3
        assert result.metrics["mean"] == 3.0


def test_a_result_that_was_lost_with_a_connection_is_asked_for():
    finish = threading.Event()

    def wait_to_finish(inputs, settings, report, cancelled):
        assert finish.wait(5.0)
        return FitResult({"kd.png": b"kd"}, {})

    with running_server(wait_to_finish) as server:
        link = CuttableLink(server.address)
        with connected_client(link.address) as client:
            client.submit(FitSettings(), {})
            wait_for(client, Accepted)
            time.sleep(0.05)
            link.swallow()
            finish.set()
            time.sleep(0.2)
            assert not [event for event in client.poll() if isinstance(event, Result)]
            link.cut()
            assert wait_for(client, Result)[-1].files == {"kd.png": b"kd"}
        link.close()
