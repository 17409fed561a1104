"""Waking a thread that waits in a ZeroMQ poller from any other thread."""

from __future__ import annotations

import contextlib
import socket


class Wakeup:
    """A pair of connected sockets: `set` from any thread, the poller watches `fileno()`, `clear` after waking."""

    def __init__(self) -> None:
        self._receiver, self._sender = socket.socketpair()
        self._receiver.setblocking(False)
        self._sender.setblocking(False)

    def fileno(self) -> int:
        return self._receiver.fileno()

    def set(self) -> None:
        # A full buffer means that the thread is being woken already, a closed socket that it has ended.
        with contextlib.suppress(OSError):
            self._sender.send(b"\0")

    def clear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while len(self._receiver.recv(4096)) == 4096:
                pass

    def close(self) -> None:
        self._receiver.close()
        self._sender.close()
