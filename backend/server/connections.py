"""The open connections of clients, so that those of a key can be closed: libzmq itself has no way to close one."""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import dataclass

import zmq

MOST_KNOWN = 4096


@dataclass(frozen=True)
class _Connection:
    """A socket of libzmq's: its number may be used again once it is closed, its inode tells. peer: the name of its other end."""

    key: str
    fd: int
    inode: int
    peer: str

    @property
    def is_open(self) -> bool:
        return self.inode != 0 and self.inode == _inode(self.fd)


class Connections:
    """Every connection over which a message has come, by its route in the ROUTER socket.

    Where the system does not tell sockets by their inodes (Windows), none is known: messages of a key that was taken away
    are refused there, but its connections stay open.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, _Connection] = {}

    @property
    def keys(self) -> set[str]:
        """The keys of all connections."""
        return {known.key for known in self._known.values()}

    def note(self, key: str, route: zmq.Frame) -> str:
        """Notes over which connection a message of a key has come: `route` is its first frame.

        Returns the name of the connection's other end; empty where it is closed, or the system gives none.
        """
        name = route.bytes
        fd = int(route.get(zmq.SRCFD))
        known = self._known.get(name)
        if known is not None and known.fd == fd and (known.is_open or not known.inode):
            return known.peer
        if len(self._known) >= MOST_KNOWN:
            self._known = {name: known for name, known in self._known.items() if known.is_open}
        known = self._known[name] = _Connection(key, fd, _inode(fd), _peer(fd))
        return known.peer

    def close(self, key: str) -> None:
        """Closes the connections of a key, from our side."""
        for name, known in list(self._known.items()):
            if known.key == key:
                del self._known[name]
                if known.is_open:
                    # Another number for the same socket: libzmq finds it shut down, and closes its own.
                    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(known.fd)) as same:
                        same.shutdown(socket.SHUT_RDWR)


def _inode(fd: int) -> int:
    if os.name != "posix":
        return 0
    try:
        return os.fstat(fd).st_ino
    except OSError:
        return 0


def _peer(fd: int) -> str:
    if os.name != "posix":
        return ""
    try:
        with socket.socket(fileno=os.dup(fd)) as same:
            name = same.getpeername()
    except OSError:
        return ""
    return name if isinstance(name, str) else ""
