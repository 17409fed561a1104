"""The door: takes TCP connections, and passes to libzmq only those that say no more than a handshake until they are let in.

libzmq takes any number of connections, and before it knows who speaks it reads messages as large as afterwards. So a thread
stands between: it bounds how many strangers there are, for how long, and what each may send. What clients send once they
are in, it passes on as it is: 0.03 s of a core for 100 MB; and it bounds how much of that the server has not read yet.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from backend.server.handshake import MOST_BYTES, HandshakeError, Stage, client_stage, server_stage
from backend.server.unread import Unread, one_too_many

BACKLOG = 1024
_PREFIX = "pbrfit-door-"
_PIECE_BYTES = 256 << 10
_LONGEST_WAIT_S = 0.5
_LOOK_S = 0.1
_INSIDE_S = 1.0
# The longest path of a socket has 103 bytes on macOS, 107 on Linux.
_LONGEST_FOLDER = 90
_ACCEPTED_AT_ONCE = 64

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DoorLimits:
    """strangers: connections that are not let in yet, in all and of one address; where there are more, the oldest go, first
    those that the backend has not answered yet. handshake_s: how long the handshake may take. clients: connections that are let
    in, in all and of one address; further ones are refused. unread_bytes: of one connection, all_unread_bytes: of all, how much
    may wait for the server to read it, as `unread.cost_of` counts; a message that stands still for `still_s` ends its connection.
    """

    strangers: int = 512
    address_strangers: int = 128
    handshake_s: float = 5.0
    clients: int = 1024
    address_clients: int = 512
    unread_bytes: int = 2 << 30
    all_unread_bytes: int = 4 << 30
    still_s: float = 60.0


@dataclass(eq=False)
class _Way:
    """One direction of a connection: bytes from a socket that the other has not taken yet."""

    source: socket.socket
    target: socket.socket | None = None
    waiting: memoryview = field(default_factory=lambda: memoryview(b""))
    ended: bool = False


@dataclass(eq=False)
class _Connection:
    """in_: from the client. out: to it. seen, answered: what was said before it is let in. inside: the name of our end of
    the inner connection. unread: of what came after the handshake.
    """

    address: str
    came: float
    in_: _Way
    out: _Way | None = None
    stage: Stage = Stage.SILENT
    seen: bytes = b""
    answered: bytes = b""
    inside: str = ""
    unread: Unread = field(default_factory=Unread)

    @property
    def is_client(self) -> bool:
        return self.stage == Stage.READY

    @property
    def ways(self) -> list[_Way]:
        return [self.in_] if self.out is None else [self.in_, self.out]


class Door:
    """Listens on construction (raises OSError); `start` begins to take connections, `close` ends all.

    address: where it listens, as ZeroMQ writes it. inner: where libzmq is to listen, which nobody else can reach where the
    system has sockets in folders. refused: called in the door's thread with a code and why: "handshake" for each stranger that is
    turned away, "unread" for a client that sends more than the server reads.
    """

    def __init__(self, host: str, port: int, limits: DoorLimits, refused: Callable[[str, str], None]) -> None:
        self._limits = limits
        self._refused = refused
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
        self._listener.setblocking(False)
        bound_host, bound_port = self._listener.getsockname()[:2]
        self.address = f"tcp://[{bound_host}]:{bound_port}" if ":" in bound_host else f"tcp://{bound_host}:{bound_port}"
        self._folder = _private_folder()
        self.inner = "tcp://127.0.0.1:*" if self._folder is None else f"ipc://{Path(self._folder.name) / 'door'}"
        self._selector = selectors.DefaultSelector()
        self._connections: set[_Connection] = set()
        # By the name of our end of the inner connection, which the server sees as its other end.
        self._inside: dict[str, _Connection] = {}
        self._inside_count = 0
        self._buffer = memoryview(bytearray(_PIECE_BYTES))
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="pbrfit-door", daemon=True)

    def start(self, inner: str) -> None:
        """Begins to take connections. inner: where libzmq listens."""
        self.inner = inner
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread.start()

    def taken(self, inside: str, key: str, cost: int) -> None:
        """The server has read a message of this cost (`unread.cost_of`) from a client with this key. For the thread that reads.

        inside: the name of the other end of libzmq's connection; one that is not known, or gone, changes nothing.
        """
        connection = self._inside.get(inside)
        if connection is not None:
            connection.unread.taken += cost
            connection.unread.key = key

    def close(self) -> None:
        """Ends all connections and the thread. A second call does nothing."""
        self._wake.close()
        if self._thread.ident is not None:
            self._thread.join()
        self._listener.close()
        self._woken.close()
        if self._folder is not None:
            self._folder.cleanup()

    def _run(self) -> None:
        next_look = 0.0
        try:
            while True:
                for key, events in self._selector.select(_LONGEST_WAIT_S):
                    if key.fileobj is self._woken:
                        return
                    if key.fileobj is self._listener:
                        self._accept()
                    elif key.data in self._connections:
                        self._work(key.data, key.fileobj, events)
                if time.monotonic() > next_look:
                    next_look = time.monotonic() + _LOOK_S
                    self._end_slow_strangers()
                    self._end_unread()
        except Exception:
            logger.exception("the door failed: no new client can connect")
        finally:
            for connection in list(self._connections):
                self._end(connection)
            self._selector.close()

    def _accept(self) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                client, peer = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:  # too many open files: those who are let in go on
                self._turn_away(self._least([known for known in self._connections if not known.is_client]), str(error))
                return
            client.setblocking(False)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = _Connection(peer[0], time.monotonic(), _Way(client))
            self._connections.add(connection)
            self._selector.register(client, selectors.EVENT_READ, connection)
            self._make_place(connection.address)

    def _make_place(self, address: str) -> None:
        strangers = [known for known in self._connections if not known.is_client]
        near = [known for known in strangers if known.address == address]
        if len(near) > self._limits.address_strangers:
            self._turn_away(self._least(near), "too many others from there connect")
        elif len(strangers) > self._limits.strangers:
            self._turn_away(self._least(strangers), "too many others connect")

    @staticmethod
    def _least(strangers: list[_Connection]) -> _Connection | None:
        """Who came first of those that the backend has not answered: they may not even know its public key."""
        return min(strangers, key=lambda known: (known.stage >= Stage.WELCOME, known.came), default=None)

    def _end_slow_strangers(self) -> None:
        latest = time.monotonic() - self._limits.handshake_s
        for known in [known for known in self._connections if not known.is_client and known.came < latest]:
            self._turn_away(known, "its handshake takes too long")

    def _turn_away(self, connection: _Connection | None, why: str) -> None:
        if connection is not None:
            self._end(connection)
            self._refused("handshake", f"a client at {connection.address}: {why}")

    def _work(self, connection: _Connection, ready: object, events: int) -> None:
        try:
            for way in connection.ways:
                if events & selectors.EVENT_WRITE and ready is way.target:
                    self._send(way)
            for way in connection.ways:
                if events & selectors.EVENT_READ and ready is way.source and not way.waiting and not way.ended:
                    self._pass_on(connection, way)
            for way in connection.ways:
                if way.ended and not way.waiting:
                    self._end(connection)
                    return
            self._watch(connection)
            if connection.unread.size > self._limits.unread_bytes:
                self._end_too_large(connection, "it sends more than is read of it")
        except HandshakeError as error:
            self._turn_away(connection, str(error))
        except OSError:  # an end is gone
            self._end(connection)

    def _pass_on(self, connection: _Connection, way: _Way) -> None:
        """Takes what has come from one end, and gives it to the other."""
        most = _PIECE_BYTES
        if not connection.is_client and way is connection.in_:
            most = MOST_BYTES + 1 - len(connection.seen)
        count = way.source.recv_into(self._buffer, most)
        if not count:
            way.ended = True
            return
        piece = self._buffer[:count]
        if not connection.is_client:
            self._look_at(connection, way, bytes(piece))
        elif way is connection.in_ and self._folder is not None:
            connection.unread.came(piece)
        if way.target is not None:
            way.waiting = piece
            self._send(way)
            way.waiting = memoryview(bytes(way.waiting)) if way.waiting else way.waiting

    def _look_at(self, connection: _Connection, way: _Way, piece: bytes) -> None:
        """Follows the handshake; libzmq hears of a client once that has said something sensible."""
        if way is connection.in_:
            connection.seen += piece
            connection.stage = max(connection.stage, client_stage(connection.seen))
            if connection.out is None:
                self._open_inside(connection)
            return
        connection.answered = (connection.answered + piece)[: 2 * MOST_BYTES]
        connection.stage = max(connection.stage, server_stage(connection.answered))
        if connection.is_client:
            connection.seen = connection.answered = b""
            clients = [known for known in self._connections if known.is_client]
            near = sum(known.address == connection.address for known in clients)
            if len(clients) > self._limits.clients or near > self._limits.address_clients:
                raise HandshakeError("too many clients are connected")

    def _open_inside(self, connection: _Connection) -> None:
        if self.inner.startswith("ipc://"):
            inside = socket.socket(socket.AF_UNIX)
            inside.settimeout(_INSIDE_S)
            self._name(inside, connection)
            inside.connect(self.inner.removeprefix("ipc://"))
        else:
            inside = socket.create_connection(("127.0.0.1", int(self.inner.rpartition(":")[2])), _INSIDE_S)
        inside.setblocking(False)
        connection.in_.target = inside
        connection.out = _Way(inside, connection.in_.source)
        self._selector.register(inside, selectors.EVENT_READ, connection)

    def _name(self, inside: socket.socket, connection: _Connection) -> None:
        """Give our end a name, so that the server can say of which connection it has read something."""
        assert self._folder is not None
        self._inside_count += 1
        name = os.path.join(self._folder.name, f"{self._inside_count:x}")
        inside.bind(name)
        os.unlink(name)  # the name stays with the connection; nobody else is to find it
        connection.inside = name
        self._inside[name] = connection

    @staticmethod
    def _send(way: _Way) -> None:
        assert way.target is not None
        with contextlib.suppress(BlockingIOError):
            while way.waiting:
                way.waiting = way.waiting[way.target.send(way.waiting) :]

    def _watch(self, connection: _Connection) -> None:
        """Listens to each end while the other takes what comes: so no more than one piece waits in each direction."""
        wanted: dict[socket.socket, int] = {}
        for way in connection.ways:
            if way.waiting and way.target is not None:
                wanted[way.target] = wanted.get(way.target, 0) | selectors.EVENT_WRITE
            elif not way.ended:
                wanted[way.source] = wanted.get(way.source, 0) | selectors.EVENT_READ
        for end in _ends(connection):
            known = self._selector.get_map().get(end)
            if end not in wanted:
                if known is not None:
                    self._selector.unregister(end)
            elif known is None:
                self._selector.register(end, wanted[end], connection)
            elif known.events != wanted[end]:
                self._selector.modify(end, wanted[end], connection)

    def _end_unread(self) -> None:
        """Ends connections of which too much is not read yet: libzmq lets go of it."""
        for known in [known for known in self._connections if known.unread.stands_still(self._limits.still_s)]:
            self._end_too_large(known, "a message of it does not go on")
        clients = {known.unread: known for known in self._connections if known.is_client}
        while (largest := one_too_many(clients, self._limits.all_unread_bytes)) is not None:
            self._end_too_large(clients.pop(largest), "too much of all clients is not read")

    def _end_too_large(self, connection: _Connection, why: str) -> None:
        size = connection.unread.size / 2**20
        self._end(connection)
        self._refused("unread", f"a client at {connection.address}: {why} ({size:.0f} MiB)")

    def _end(self, connection: _Connection) -> None:
        self._connections.discard(connection)
        self._inside.pop(connection.inside, None)
        for end in _ends(connection):
            with contextlib.suppress(KeyError):
                self._selector.unregister(end)
            end.close()


def _private_folder() -> tempfile.TemporaryDirectory[str] | None:
    """A folder of mode 0700 for libzmq's socket; None where there are none, or none with a path short enough."""
    parents = ["/tmp"] if os.name == "posix" else []
    with contextlib.suppress(OSError):  # nothing can be written anywhere, as on a full disk
        parents.insert(0, tempfile.gettempdir())
    for parent in parents if os.name == "posix" else ():
        if len(os.fsencode(parent)) + len(_PREFIX) + 10 <= _LONGEST_FOLDER and os.access(parent, os.W_OK):
            return tempfile.TemporaryDirectory(prefix=_PREFIX, dir=parent)
    return None


def host_and_port(address: str) -> tuple[str, int]:
    """Of an address as ZeroMQ writes it; `*` is every network, or any free port. Raises ValueError."""
    scheme, _, rest = address.partition("://")
    host, _, port = rest.rpartition(":")
    if scheme != "tcp" or not host or not (port == "*" or (port.isascii() and port.isdigit() and int(port) < 65536)):
        raise ValueError(f"{address!r} is not like tcp://127.0.0.1:5555")
    return "0.0.0.0" if host == "*" else host.strip("[]"), 0 if port == "*" else int(port)


def _ends(connection: _Connection) -> Iterator[socket.socket]:
    for way in connection.ways:
        yield way.source
