"""Packets between the server and its worker process: JSON and raw arrays through two pipes. Nothing is pickled.

A thread writes, so that whoever sends never waits. An urgent packet passes the arrays of one that is on its way.
"""

from __future__ import annotations

import contextlib
import io
import json
import struct
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

if sys.platform == "linux":
    import fcntl

PIECE_BYTES = 1 << 20
# On a pipe each part has a head: its kind and how many bytes follow.
_HEAD = struct.Struct("<BQ")
_PACKET, _PIECE = 0, 1
_WIDER_PIPE = 1031, 1 << 20  # F_SETPIPE_SZ of Linux: fewer turns between the two processes

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Packet:
    """What one process tells the other. body: JSON values. arrays: numpy arrays of plain numbers, by name."""

    kind: str
    body: dict[str, Any] = field(default_factory=dict)
    arrays: Arrays = field(default_factory=dict)


class Channel:
    """Both directions. `send` and `urge` are for any thread, `receive` for one."""

    def __init__(self, reading: io.RawIOBase, writing: io.RawIOBase) -> None:
        self._reading, self._writing = reading, writing
        self._condition = threading.Condition()
        self._ordered: deque[tuple[Packet, Callable[[], None] | None]] = deque()
        self._urgent: deque[Packet] = deque()
        self._closed = False
        self._open: tuple[Packet, list[memoryview]] | None = None
        _widen(writing)
        self._writer = threading.Thread(target=self._write, name="pbrfit-channel", daemon=True)
        self._writer.start()

    def send(self, packet: Packet, sent: Callable[[], None] | None = None) -> None:
        """Send a packet after those before it. Nobody may write to its arrays. sent: called once it is in the pipe."""
        with self._condition:
            self._ordered.append((packet, sent))
            self._condition.notify()

    def urge(self, packet: Packet) -> None:
        """Send a packet without arrays before all that waits."""
        with self._condition:
            self._urgent.append(packet)
            self._condition.notify()

    def receive(self) -> Packet | None:
        """The next packet; None when the other end is gone."""
        while True:
            head = self._read(_HEAD.size)
            if head is None:
                return None
            kind, size = _HEAD.unpack(head)
            packet = self._take_packet(size) if kind == _PACKET else self._take_piece(size)
            if packet is _GONE:
                return None
            if packet is not _PART:
                return packet

    def close(self, patience_s: float = 0.0) -> None:
        """Write nothing more. patience_s: how long to wait until what was sent is in the pipe."""
        with self._condition:
            if patience_s:
                self._condition.wait_for(lambda: self._closed or not (self._urgent or self._ordered), patience_s)
            self._closed = True
            self._condition.notify_all()

    # Writing

    def _write(self) -> None:
        try:
            while self._write_next():
                pass
        except (OSError, ValueError):  # the other end is gone, which whoever receives hears too
            self.close()

    def _write_next(self) -> bool:
        """Write the next packet; returns False at the end. A function of its own, so that nothing holds its arrays later."""
        with self._condition:
            self._condition.wait_for(lambda: self._closed or self._urgent or self._ordered)
            if self._closed:
                return False
            urgent = bool(self._urgent)
            packet, sent = (self._urgent[0], None) if urgent else self._ordered[0]
        for part in _parts(packet):
            if not urgent:
                self._write_urgent()
            for data in part:
                self._put(data)
        if sent is not None:
            sent()
        with self._condition:
            (self._urgent if urgent else self._ordered).popleft()
            if not self._urgent and not self._ordered:
                self._condition.notify_all()
        return True

    def _write_urgent(self) -> None:
        while self._urgent:
            for part in _parts(self._urgent[0]):
                for data in part:
                    self._put(data)
            with self._condition:
                self._urgent.popleft()

    def _put(self, data: memoryview) -> None:
        while data.nbytes:
            written = self._writing.write(data)
            data = data[written or 0 :]

    # Reading

    def _take_packet(self, size: int) -> Packet | None:
        text = self._read(size)
        if text is None:
            return _GONE
        values = json.loads(bytes(text))
        arrays = {
            name: np.empty(tuple(shape), np.dtype(dtype)) for name, (dtype, shape) in values.get("arrays", {}).items()
        }
        packet = Packet(values["kind"], values["body"], arrays)
        missing = [_bytes_of(array) for array in arrays.values() if array.nbytes]
        if not missing:
            return packet
        self._open = packet, missing
        return _PART

    def _take_piece(self, size: int) -> Packet | None:
        assert self._open is not None  # pieces follow their packet
        packet, missing = self._open
        while size:
            part = min(size, missing[0].nbytes)
            if not self._read_into(missing[0][:part]):
                return _GONE
            size -= part
            missing[0] = missing[0][part:]
            if not missing[0].nbytes:
                missing.pop(0)
        if missing:
            return _PART
        self._open = None
        return packet

    def _read(self, size: int) -> bytearray | None:
        data = bytearray(size)
        return data if self._read_into(memoryview(data)) else None

    def _read_into(self, place: memoryview) -> bool:
        while place.nbytes:
            try:
                count = self._reading.readinto(place)
            except (OSError, ValueError):
                return False
            if not count:
                return False
            place = place[count:]
        return True


_PART, _GONE = Packet("part"), Packet("gone")


def _bytes_of(array: NDArray[Any]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _parts(packet: Packet) -> Iterator[tuple[memoryview, ...]]:
    """The parts of a packet; between two of them others may go."""
    arrays = {name: np.ascontiguousarray(array) for name, array in packet.arrays.items()}
    described = {name: (packet.arrays[name].dtype.str, packet.arrays[name].shape) for name in arrays}
    text = json.dumps({"kind": packet.kind, "body": packet.body, "arrays": described}).encode()
    yield memoryview(_HEAD.pack(_PACKET, len(text))), memoryview(text)
    for array in arrays.values():
        data = _bytes_of(array) if array.nbytes else memoryview(b"")
        for first in range(0, data.nbytes, PIECE_BYTES):
            piece = data[first : first + PIECE_BYTES]
            yield memoryview(_HEAD.pack(_PIECE, piece.nbytes)), piece


def _widen(pipe: io.RawIOBase) -> None:
    if sys.platform == "linux":
        with contextlib.suppress(OSError, ValueError):
            fcntl.fcntl(pipe.fileno(), *_WIDER_PIPE)
