"""What libzmq holds of messages that nobody has read: a paired client that never ends one, in a real backend process."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from support.backend_process import backend_process
from support.server_harness import (
    CLIENT_KEYS,
    PATIENCE_S,
    SERVER_KEYS,
    assert_lives,
    put,
    raw_client,
    running_server,
    submit,
)

from backend.protocol.keys import new_keys
from backend.server.door import DoorLimits, host_and_port
from backend.server.unread import FRAME_COST, Unread, cost_of, one_too_many

MIB = 1 << 20
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


class Stingy:
    """A relay that passes on only the first bytes of what a client says: so its last message never ends."""

    def __init__(self, address: str, most: int) -> None:
        self._target, self._most = host_and_port(address), most
        self.passed_on, self.ended = 0, threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        near, _ = self._listener.accept()
        far = socket.create_connection(self._target)
        threading.Thread(target=self._back, args=(far, near), daemon=True).start()
        with contextlib.suppress(OSError):
            while self.passed_on < self._most and (data := near.recv(MIB)):
                far.sendall(data[: self._most - self.passed_on])
                self.passed_on += len(data)
        self._near, self._far = near, far  # both stay open, though nothing comes any more

    def _back(self, far: socket.socket, near: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := far.recv(65536):
                near.sendall(data)
        self.ended.set()

    def wait(self) -> None:
        """Until all has been passed on, or the backend has ended the connection."""
        deadline = time.monotonic() + 30.0
        while self.passed_on < self._most and not self.ended.is_set():
            assert time.monotonic() < deadline
            time.sleep(0.01)


@contextlib.contextmanager
def unfinished(address: str, nbytes: int, keys=CLIENT_KEYS, part: int = MIB, parts: int = 0) -> Iterator[Stingy]:
    """A client that has sent so many bytes of a message of parts that does not end. parts: how many; 0: as many as it takes."""
    relay = Stingy(address, nbytes)
    with raw_client(relay.address, keys) as raw:
        assert_lives(raw)
        raw.socket.sndhwm = 0
        raw.socket.send_multipart([bytes(part)] * (parts or nbytes // part + 2), copy=False)
        relay.wait()
        yield relay


def until(condition, patience_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@linux
def test_a_message_that_never_ends_takes_a_bounded_share_of_memory(tmp_path):
    """Figure before: all of it was held: 3072 MiB sent, 3084 MiB more."""
    with backend_process(tmp_path, unread_bytes=64 * MIB) as process, raw_client(process.address) as other:
        assert_lives(other)
        before = process.memory_mib()
        with unfinished(process.address, 400 * MIB) as relay:
            assert relay.ended.wait(PATIENCE_S)
            assert_lives(other)
        assert process.memory_mib(peak=True) - before < 64 + 32
        until(lambda: process.memory_mib() - before < 32)  # and it is given back


@linux
def test_all_unfinished_messages_together_are_bounded_and_other_keys_go_on(tmp_path):
    bad = new_keys()
    limits = {"unread_bytes": 64 * MIB, "all_unread_bytes": 100 * MIB}
    with (
        backend_process(tmp_path, CLIENT_KEYS.public, bad.public, **limits) as process,
        raw_client(process.address) as other,
        unfinished(process.address, 10 * MIB) as honest,
        contextlib.ExitStack() as stack,
    ):
        assert_lives(other)
        before = process.memory_mib()
        relays = [stack.enter_context(unfinished(process.address, 40 * MIB, bad)) for _ in range(5)]
        until(lambda: sum(relay.ended.is_set() for relay in relays) >= 3)
        assert process.memory_mib(peak=True) - before < 100 + 60
        assert not honest.ended.is_set()
        assert_lives(other)


def test_a_message_that_does_not_go_on_ends_its_connection_and_a_client_that_waits_stays():
    with running_server(door=DoorLimits(still_s=0.3)) as server, raw_client(server.address) as other:
        assert_lives(other)
        with unfinished(server.address, 2 * MIB, part=MIB // 2) as relay:
            assert relay.ended.wait(PATIENCE_S)
        time.sleep(0.5)
        assert server.dropped["unread"] == 1
        assert_lives(other)
        assert [known.size for known in unread_of(server)] == [0]


def unread_of(server) -> list[Unread]:
    return [known.unread for known in server._door._connections if known.is_client]


@pytest.mark.parametrize("size", [0, 1, 221, 222, 223, 300, 70_000])
def test_what_is_read_is_what_came_to_the_byte(size):
    """Frames of up to 255 bytes, encrypted, have a short header: a count that is off would end a long connection."""
    with running_server() as server, raw_client(server.address) as raw:
        array = np.zeros(size, np.uint8)
        for _ in range(3):
            submit(raw, {"a": array})
            put(raw, array)
        raw.send([b"n" * size, b"m" * size])
        raw.event("error")
        assert [known.size for known in unread_of(server)] == [0]
        assert [known.key for known in unread_of(server)] == [CLIENT_KEYS.public]


def test_many_large_messages_at_once_pass_since_they_are_read():
    limits = DoorLimits(unread_bytes=24 * MIB)
    array = np.random.default_rng(0).integers(0, 255, 3 * MIB, dtype=np.uint8)
    with running_server(door=limits) as server, raw_client(server.address) as raw:
        raw.socket.sndhwm = 0
        job = submit(raw, {"a": array}).job
        sent = [raw.frames("nonsense", {}, job, data=array) for _ in range(40)]
        for frames in sent:
            raw.send(frames)
        for _ in sent:
            assert raw.receive().body["code"] == "type"
        assert "unread" not in server.dropped


def test_the_key_that_has_the_most_loses_its_largest():
    first, second, third = Unread(50, 0, "a"), Unread(40, 10, "b"), Unread(45, 10, "b")
    assert one_too_many([first, second, third], 200) is None
    assert one_too_many([first, second, third], 114) is third
    assert one_too_many([first, second], 70) is first
    assert one_too_many([], 0) is None
    assert one_too_many([Unread(5, 9, "a"), Unread(3, 0, "b")], 3) is None


def test_a_message_is_larger_on_the_wire_and_each_frame_costs():
    assert cost_of([]) == 0
    assert cost_of([b"", bytes(222), bytes(223)]) == 35 + 257 + 265 + 3 * FRAME_COST


@pytest.mark.parametrize("step", [1, 2, 3, 8, 9, 10, 64, 5000])
def test_frames_are_counted_however_the_bytes_come(step):
    bodies = [b"", b"\x02" * 5, bytes(range(256)) * 2, b"\x02" * 255, bytes(70_000), b""]
    said = b"".join(
        b"\x00" + bytes([len(body)]) + body if len(body) < 256 else b"\x02" + len(body).to_bytes(8, "big") + body
        for body in bodies
    )
    unread = Unread()
    for first in range(0, len(said), step):
        unread.came(memoryview(said[first : first + step]))
    assert unread.size == len(said) + len(bodies) * FRAME_COST


@linux
@pytest.mark.parametrize("part", [1, 64, 1000])
def test_a_message_of_many_small_parts_takes_no_more_than_it_is_counted(tmp_path, part):
    """Of each byte on the wire libzmq keeps up to four where the parts are small."""
    with backend_process(tmp_path, unread_bytes=64 * MIB) as process, raw_client(process.address) as other:
        assert_lives(other)
        before = process.memory_mib()
        with unfinished(process.address, 80 * MIB, part=part, parts=200_000) as relay:
            assert relay.ended.wait(PATIENCE_S)
        assert process.memory_mib(peak=True) - before < 64 + 16
        assert_lives(other)


def test_a_name_of_another_end_that_is_not_known_changes_nothing():
    with running_server() as server, raw_client(server.address) as raw:
        assert_lives(raw)
        server._door.taken("", SERVER_KEYS.public, 5)
        assert [known.size for known in unread_of(server)] == [0]
