"""What clients have sent and the server has not read yet: libzmq holds it, without any bound of its own.

libzmq shows a message only when it is whole, and a message may have any number of frames: a client that never ends one could
fill the memory. The door knows how much it has passed on of each connection, the server how much it has read.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from backend.protocol.wire import Buffer
from backend.server.sharing import largest_holder

# What a frame takes in libzmq beside its bytes: measured 140 to 700, by its size.
FRAME_COST = 1 << 10
# Around the content of a frame: the name of CURVE's command, its nonce, the authentication, flags; then ZMTP's flags and length.
_SEALED, _SHORT, _LONG, _LONGEST_SHORT = 8 + 8 + 16 + 1, 2, 9, 255
_IS_LONG = 0x02
# A client that stands still with so little is no harm.
_SMALL = 1 << 20


def cost_of(frames: Sequence[Buffer]) -> int:
    """What a message costs that has come whole: its bytes between client and server, and `FRAME_COST` for each frame."""
    total = 0
    for frame in frames:
        size = len(frame) + _SEALED
        total += size + (_SHORT if size <= _LONGEST_SHORT else _LONG) + FRAME_COST
    return total


@dataclass(eq=False)
class Unread:
    """Of one connection. taken and key belong to the server's thread, all else to the door's.

    passed_on, taken: the cost of what libzmq got, and of the messages that have been read. key: whose it is; empty before its
    first message. last_came: when its latest byte came.
    """

    passed_on: int = 0
    taken: int = 0
    key: str = ""
    last_came: float = field(default_factory=time.monotonic)
    _to_skip: int = 0
    _head: bytes = b""

    @property
    def size(self) -> int:
        """The cost of what waits."""
        return self.passed_on - self.taken

    def came(self, piece: memoryview) -> None:
        """The door passes these bytes on."""
        self.passed_on += len(piece) + FRAME_COST * self._frames_in(piece)
        self.last_came = time.monotonic()

    def _frames_in(self, piece: memoryview) -> int:
        """How many frames begin in these bytes, which follow on the ones before."""
        data: bytes | memoryview = self._head + bytes(piece) if self._head else piece
        place, end, frames = self._to_skip, len(data), 0
        self._head = b""
        while place < end:
            length = _LONG if data[place] & _IS_LONG else _SHORT
            if place + length > end:
                self._head, place = bytes(data[place:]), end
                break
            place += length + int.from_bytes(data[place + 1 : place + length], "big")
            frames += 1
        self._to_skip = place - end
        return frames

    def stands_still(self, patience_s: float) -> bool:
        """Whether a message that has begun does not go on."""
        return self.size > _SMALL and time.monotonic() - self.last_came > patience_s


def one_too_many(all_unread: Iterable[Unread], most: int) -> Unread | None:
    """Whose connection must end, where more than `most` waits in all: the largest of the key that has the most."""
    waiting = [unread for unread in all_unread if unread.size > 0]
    if sum(unread.size for unread in waiting) <= most:
        return None
    held: dict[str, int] = {}
    for unread in waiting:
        held[unread.key] = held.get(unread.key, 0) + unread.size
    key = largest_holder(held)
    return max((unread for unread in waiting if unread.key == key), key=lambda unread: unread.size)
