"""Who may connect: answers libzmq's question about each client's key, and counts the clients that are refused.

libzmq asks over a socket of the same context (ZAP, RFC 27) before it lets a client send messages; the server's I/O thread
answers, so there is no further thread.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import zmq
from zmq.utils import z85
from zmq.utils.monitor import recv_monitor_message

from backend.protocol.authorized_keys import read_keys
from backend.protocol.keys import KeyPair
from backend.protocol.private_files import KeyFileError, check_folder, open_trusted

_ZAP_ADDRESS = "inproc://zeromq.zap.01"
_ZAP_FRAMES = 7  # version, request, domain, address, identity, mechanism, the client's public key
_REFUSED: dict[int, str] = {
    zmq.EVENT_HANDSHAKE_FAILED_AUTH: "key",
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: "handshake",
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: "handshake",
}
_NO_HANDSHAKE = "a client that does not encrypt, or expects another backend's key"

logger = logging.getLogger(__name__)


class AuthorizedKeys:
    """The public keys of the clients that may connect: those given, and those of a file.

    The file is read again when it changes. Each line starts with a key; empty lines, lines that start with # and text after
    a space are for people. Raises `KeyFileError` where others may change the file, or it is a link; where it becomes so
    later, none of its keys counts.
    """

    def __init__(self, keys: Iterable[str] = (), file: str | os.PathLike[str] | None = None) -> None:
        self._keys = frozenset(keys)
        self._file = Path(file) if file is not None else None
        self._stamp: tuple[int, ...] | None = None
        self._in_file: dict[str, str] = {}
        if self._file is not None and os.path.lexists(self._file):
            check_folder(self._file.absolute().parent)
            with contextlib.suppress(OSError), open_trusted(self._file, secret=False):
                pass
        self._refresh()

    def __contains__(self, key: str) -> bool:
        self._refresh()
        return key in self._keys or key in self._in_file

    def __len__(self) -> int:
        self._refresh()
        return len(self._keys.union(self._in_file))

    def name_of(self, key: str) -> str:
        """The name that the file gives a key, for people; empty where it has none."""
        return self._in_file.get(key, "")

    def _refresh(self) -> None:
        if self._file is None:
            return
        try:
            status = os.lstat(self._file)
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino, status.st_mode, status.st_uid)
            if stamp == self._stamp:
                return
            with open_trusted(self._file, secret=False) as file:
                found = read_keys(file.read())
        except (OSError, UnicodeDecodeError, KeyFileError) as error:
            if self._in_file or self._stamp is None:
                logger.warning("the authorized keys in %s cannot be read: %s; none of them counts", self._file, error)
            self._stamp, self._in_file = (0,), {}
            return
        self._stamp, self._in_file = stamp, found.keys
        if found.other_lines:
            logger.warning("%s: %d lines do not start with a key", self._file, found.other_lines)


class Admitted:
    """The keys that may connect: those of clients, and those that show that whoever has them can read the server's own files.

    owner_keys: public keys whose holders may ask for the status and let the server end, and nothing else.
    """

    def __init__(self, authorized: AuthorizedKeys, owner_keys: Iterable[str]) -> None:
        self.authorized = authorized
        self.owner_keys = frozenset(owner_keys)

    def __contains__(self, key: str) -> bool:
        return key in self.owner_keys or key in self.authorized


class Gatekeeper:
    """Makes a socket accept CURVE only, and only authorized keys. Belongs to the thread that owns the socket.

    refused: called with a code, "key" (not authorized) or "handshake" (no CURVE, or another backend's key), and a text.
    """

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        keys: KeyPair,
        admitted: Admitted,
        refused: Callable[[str, str], None],
    ) -> None:
        self._admitted = admitted
        self._refused = refused
        self._last_refused = "a client whose key is not authorized"
        # Bound before the socket: if nobody answered at this address, libzmq would let everyone in.
        self._questions = socket.context.socket(zmq.ROUTER)
        self._questions.linger = 0
        self._questions.bind(_ZAP_ADDRESS)
        socket.curve_server = True
        socket.curve_publickey, socket.curve_secretkey = keys.public.encode(), keys.secret.encode()
        socket.zap_domain = b"pbrfit"
        self._monitor = socket.get_monitor_socket(sum(_REFUSED))
        self._monitor.linger = 0
        self.sockets = (self._questions, self._monitor)

    def work(self) -> None:
        """Answers libzmq's questions and counts the clients that were refused. Never waits."""
        while self._questions.poll(0):
            route, empty, *question = self._questions.recv_multipart()
            self._questions.send_multipart([route, empty, *self._answer(question)])
        while self._monitor.poll(0):
            code = _REFUSED[recv_monitor_message(self._monitor)["event"]]
            self._refused(code, self._last_refused if code == "key" else _NO_HANDSHAKE)

    def _answer(self, question: list[bytes]) -> list[bytes]:
        version, request = (*question, b"", b"")[:2]
        good = len(question) == _ZAP_FRAMES and version == b"1.0" and question[5] == b"CURVE"
        key = z85.encode(question[6]).decode() if good and len(question[6]) == 32 else ""
        if key and key in self._admitted:
            return [version, request, b"200", b"OK", key.encode(), b""]
        if key:
            self._last_refused = f"a client whose key {key} is not authorized"
        return [version, request, b"400", b"not authorized", b"", b""]
