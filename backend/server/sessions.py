"""The sessions of all clients, by the client's key and the name that it chose: no key can name another's session."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from backend.protocol.wire import Buffer
from backend.server.sharing import largest_holder

MOST_KEPT_REPLIES = 4096
LARGEST_KEPT_REPLIES = 2 << 20


@dataclass(frozen=True)
class Caller:
    """Who sends a message: a client's public key, and the name of its session. Both together name a session."""

    key: str
    session: str


@dataclass
class Session:
    """A client. route: where its connection is now. last_heard: when its last message came."""

    route: bytes
    last_heard: float
    _replies: OrderedDict[str, list[Buffer]] = field(default_factory=OrderedDict)
    _reply_bytes: int = 0
    _received: Sequence[str] = ()

    def reply_to(self, request: str) -> list[Buffer] | None:
        """The reply that this request got; None where it is new, or was too long ago."""
        return self._replies.get(request)

    def keep_reply(self, request: str, reply: list[Buffer]) -> None:
        """Keeps a reply for a repeat of its request; the oldest go where there are too many, or too large ones."""
        self._replies[request] = reply
        self._reply_bytes += _size(reply)
        while len(self._replies) > 1 and (
            len(self._replies) > MOST_KEPT_REPLIES or self._reply_bytes > LARGEST_KEPT_REPLIES
        ):
            _, oldest = self._replies.popitem(last=False)
            self._reply_bytes -= _size(oldest)

    def note_received(self, requests: Sequence[str]) -> None:
        """Takes the names of requests whose replies the client has. The replies go with the next call only: a repeat that was
        sent over an earlier connection may still wait to be read, and must not be carried out again."""
        for request in self._received:
            self._reply_bytes -= _size(self._replies.pop(request, []))
        self._received = requests


class Sessions:
    """All sessions: at most `most_of_key` of a key and `most` in all.

    Where a key has too many, its own longest silent one ends; where there are too many in all, one of the key that has the
    most. ended: called with each session that ends so.
    """

    def __init__(self, most: int, most_of_key: int, ended: Callable[[Caller], None]) -> None:
        self._most = most
        self._most_of_key = most_of_key
        self._ended = ended
        self._by_key: dict[str, OrderedDict[str, Session]] = {}

    @property
    def keys(self) -> list[str]:
        """The keys that have sessions."""
        return list(self._by_key)

    def of_key(self, key: str) -> list[Caller]:
        """The sessions of a key, the longest silent first."""
        return [Caller(key, name) for name in self._by_key.get(key, ())]

    def get(self, caller: Caller) -> Session | None:
        """The session of this name and key, if there is one."""
        mine = self._by_key.get(caller.key)
        return None if mine is None else mine.get(caller.session)

    def heard(self, caller: Caller, route: bytes) -> Session:
        """Notes that a message came over a connection; the session begins with its first."""
        mine = self._by_key.setdefault(caller.key, OrderedDict())
        session = mine.setdefault(caller.session, Session(route, 0.0))
        session.route, session.last_heard = route, time.monotonic()
        mine.move_to_end(caller.session)
        if len(mine) > self._most_of_key:
            self._end_oldest(caller.key)
        counts = {key: len(sessions) for key, sessions in self._by_key.items()}
        if sum(counts.values()) > self._most:
            self._end_oldest(largest_holder(counts))
        return session

    def silent_for(self, seconds: float) -> list[Caller]:
        """The sessions from which nothing came for so long."""
        oldest = time.monotonic() - seconds
        return [
            Caller(key, name)
            for key, sessions in self._by_key.items()
            for name, session in sessions.items()
            if session.last_heard < oldest
        ]

    def excuse(self, seconds: float) -> None:
        """Does not count a time in which this process could not listen, as when it or its machine was stopped."""
        now = time.monotonic()
        for sessions in self._by_key.values():
            for session in sessions.values():
                session.last_heard = min(now, session.last_heard + seconds)

    def remove(self, caller: Caller) -> None:
        """Forgets a session."""
        mine = self._by_key.get(caller.key, OrderedDict())
        mine.pop(caller.session, None)
        if not mine:
            self._by_key.pop(caller.key, None)

    def _end_oldest(self, key: str) -> None:
        oldest = self.of_key(key)[0]
        self.remove(oldest)
        self._ended(oldest)


def _size(reply: list[Buffer]) -> int:
    return sum(len(frame) for frame in reply)
