"""Large contents in small pieces: arrays on their way to the backend, files on their way back.

Each piece is a request with its reply, a few of them on their way at a time. So a transfer has progress, heartbeats pass
between the pieces, and after a lost connection only the pieces that were not answered travel again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .wire import CHUNK_BYTES, Message, ProtocolError, array_bytes, content_hash, describe

PIECES_ON_THEIR_WAY = 4


def piece_message(kind: str, body: dict[str, Any], piece: NDArray[np.uint8]) -> Message:
    """A message with a piece of something, without a hash: that of the whole is checked."""
    return Message(kind, body, {"data": piece}, descriptions={"data": describe(piece, hashed=False)})


@dataclass
class _Upload:
    digest: str
    data: NDArray[Any]  # uint8
    next: int = 0
    received: int = 0

    @property
    def done(self) -> bool:
        return self.next >= max(len(self.data), 1)


class Uploads:
    """Arrays by hash that the backend lacks, sent in pieces one array after the other.

    total_bytes: of all; received_bytes: what the backend has confirmed.
    """

    def __init__(self, arrays: dict[str, NDArray[Any]]) -> None:
        self._all = {digest: _Upload(digest, array_bytes(array)) for digest, array in arrays.items()}
        self._waiting = deque(self._all.values())
        self._on_their_way = 0
        self.total_bytes = sum(len(upload.data) for upload in self._all.values())

    @property
    def received_bytes(self) -> int:
        return sum(upload.received for upload in self._all.values())

    def messages(self) -> Iterator[Message]:
        """The next `put` messages, as many as may be on their way."""
        while self._waiting and self._on_their_way < PIECES_ON_THEIR_WAY:
            upload = self._waiting[0]
            if upload.done:
                self._waiting.popleft()
                continue
            piece = upload.data[upload.next : upload.next + CHUNK_BYTES]
            body = {"hash": upload.digest, "offset": upload.next, "total": len(upload.data)}
            upload.next += max(len(piece), 1)
            self._on_their_way += 1
            yield piece_message("put", body, piece)

    def stored(self, body: dict[str, Any]) -> None:
        """Takes the reply to a `put`: `received` says how much of the array the backend has, without gaps."""
        self._on_their_way -= 1
        upload, received = self._all[body["hash"]], body["received"]
        upload.received = received
        if received >= len(upload.data):
            upload.next = max(len(upload.data), 1)  # another client may have sent the rest
        elif self._on_their_way == 0 and upload.next > received:
            upload.next = received  # a piece met a gap, since another client's upload of the same content ended
            if upload not in self._waiting:
                self._waiting.appendleft(upload)


class Download:
    """The files of a result, fetched in pieces. `described`: for each `name`, `size` and `hash`, as the event has them.

    Raises `ProtocolError` for a description that makes no sense.
    """

    def __init__(self, described: Any) -> None:
        self._files: dict[str, bytearray] = {}
        self._hashes: dict[str, str] = {}
        self._waiting: deque[tuple[str, int]] = deque()
        self._on_their_way = 0
        self.total_bytes = self.received_bytes = 0
        try:
            for file in described:
                name, size, digest = str(file["name"]), int(file["size"]), str(file["hash"])
                self._files[name], self._hashes[name] = bytearray(size), digest
                self._waiting += ((name, offset) for offset in range(0, size, CHUNK_BYTES))
                self.total_bytes += size
        except (TypeError, KeyError, ValueError, MemoryError) as error:
            raise ProtocolError("malformed", "The result does not describe its files.") from error

    @property
    def done(self) -> bool:
        return self.received_bytes == self.total_bytes and not self._on_their_way

    def messages(self) -> Iterator[tuple[Message, int]]:
        """The next `fetch` requests, as many as may be on their way, each with the bytes it asks for."""
        while self._waiting and self._on_their_way < PIECES_ON_THEIR_WAY:
            name, offset = self._waiting.popleft()
            self._on_their_way += 1
            yield Message("fetch", {"file": name, "offset": offset}), self._length(name, offset)

    def take(self, request: Message, piece: NDArray[Any] | None) -> None:
        """Takes the reply to a `fetch`. Raises `ProtocolError` when it is not what was asked for."""
        name, offset = request.body["file"], request.body["offset"]
        length = self._length(name, offset)
        if piece is None or piece.dtype != np.uint8 or piece.shape != (length,):
            raise ProtocolError("size", f"A piece of {name} is not as long as it should be.")
        self._on_their_way -= 1
        self._files[name][offset : offset + length] = piece.data
        self.received_bytes += length

    def files(self) -> dict[str, bytes]:
        """The files, once `done`. Raises `ProtocolError` when one is not what was described."""
        for name, data in self._files.items():
            if content_hash(data) != self._hashes[name]:
                raise ProtocolError("hash", f"The content of {name} does not match its hash.", "Start the job again.")
        return {name: bytes(data) for name, data in self._files.items()}

    def _length(self, name: str, offset: int) -> int:
        return min(CHUNK_BYTES, len(self._files[name]) - offset)
