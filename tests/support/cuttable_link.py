"""A network between client and server that fails on demand."""

from __future__ import annotations

import contextlib
import socket
import threading
import time


class CuttableLink:
    """A TCP relay between client and server that can cut every connection, as a bad network does.

    delay_s: how long it takes for each 64 KiB. sent_bytes: what the client has sent so far.
    """

    def __init__(self, address, delay_s=0.0):
        self._delay_s = delay_s
        host, port = address.removeprefix("tcp://").split(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open = []
        self._dead = set()
        self._refuses = False
        self.sent_bytes = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._refuses:
                near.close()
                continue
            far = socket.create_connection(self._target)
            self._open += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, sink, source is near), daemon=True).start()

    def _pump(self, source, sink, is_client):
        try:
            while data := source.recv(65536):
                self.sent_bytes += len(data) * is_client
                if self._delay_s:
                    time.sleep(self._delay_s)
                if source not in self._dead:
                    sink.sendall(data)
        except OSError:
            pass

    def swallow(self):
        """From now on bytes of the connections that there are get lost, as they are when a link dies unnoticed."""
        self._dead.update(self._open)

    @contextlib.contextmanager
    def outage(self):
        """All connections end, and no new one comes about before the end of the block."""
        self._refuses = True
        self.cut()
        try:
            yield
        finally:
            self._refuses = False

    def cut(self):
        """Ends all connections; new ones work."""
        for connection in self._open:
            with contextlib.suppress(OSError):  # the other end may have gone first
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self._open.clear()

    def close(self):
        self._listener.close()
        self.cut()
