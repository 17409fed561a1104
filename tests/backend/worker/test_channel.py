"""Packets through a pair of pipes."""

from __future__ import annotations

import io
import os
import threading

import numpy as np
import pytest

from backend.worker.channel import Channel, Packet


@pytest.fixture
def ends():
    """Two channels that speak with each other."""
    pipes = [os.pipe() for _ in range(2)]
    (here_in, there_out), (there_in, here_out) = pipes
    here, there = (
        Channel(io.FileIO(reading, "rb"), io.FileIO(writing, "wb"))
        for reading, writing in ((here_in, here_out), (there_in, there_out))
    )
    yield here, there
    for channel in (here, there):
        channel.close()


def test_arrays_of_any_kind_arrive_as_they_were(ends):
    here, there = ends
    arrays = {
        "large": np.random.default_rng(0).standard_normal((3, 500_000)).astype(np.float32),
        "strided": np.arange(100, dtype=np.int64)[::3],
        "scalar": np.array(3.5),
        "empty": np.zeros((0, 4), np.float16),
        "read only": np.frombuffer(b"abc", np.uint8),
    }
    here.send(Packet("many", {"a": [1, None, "ü"]}, arrays))
    packet = there.receive()
    assert (packet.kind, packet.body) == ("many", {"a": [1, None, "ü"]})
    for name, array in arrays.items():
        np.testing.assert_array_equal(packet.arrays[name], array)
        assert packet.arrays[name].dtype == array.dtype
        assert packet.arrays[name].flags.writeable


def test_what_is_urgent_passes_what_is_large(ends):
    here, there = ends
    sent = threading.Event()
    here.send(Packet("large", {}, {"a": np.ones(32 << 20, np.uint8)}), sent.set)
    here.send(Packet("later"))
    here.urge(Packet("first"))
    here.urge(Packet("second"))
    assert not sent.is_set()
    assert [there.receive().kind for _ in range(4)] == ["first", "second", "large", "later"]
    assert sent.wait(5.0)


def test_an_end_that_is_gone_is_noticed(ends):
    here, there = ends
    here.send(Packet("last"))
    here.close(patience_s=5.0)
    here._writing.close()
    assert there.receive().kind == "last"
    assert there.receive() is None
