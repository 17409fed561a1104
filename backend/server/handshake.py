"""What of ZMTP 3 (https://rfc.zeromq.org/spec/37) a client may say before it is let in: a greeting and CURVE's two commands.

Both functions look at all that has come so far, which is at most `MOST_BYTES`.
"""

from __future__ import annotations

from enum import IntEnum

GREETING_BYTES = 64
_MECHANISM = b"CURVE".ljust(20, b"\0")
_COMMAND, _LONG_COMMAND = 0x04, 0x06
_HELLO, _INITIATE = (b"\x05HELLO", 200), (b"\x08INITIATE", 1024)
_WELCOME, _READY = (b"\x07WELCOME", 168), (b"\x05READY", 1024)
MOST_BYTES = GREETING_BYTES + _HELLO[1] + _INITIATE[1] + 2 * 9


class HandshakeError(Exception):
    """What came is no beginning of a handshake. The message says what is wrong."""


class Stage(IntEnum):
    """How far a client is."""

    SILENT = 0
    GREETED = 1
    HELLO = 2
    WELCOME = 3
    """The backend has answered: the client knows its public key."""
    INITIATE = 4
    READY = 5
    """The client is let in."""


def client_stage(seen: bytes) -> Stage:
    """How far a client is, by what it has sent. Raises `HandshakeError` for bytes that are no part of a handshake."""
    _check_greeting(seen)
    if len(seen) < GREETING_BYTES:
        return Stage.SILENT
    stage, place = Stage.GREETED, GREETING_BYTES
    for (name, most), reached in ((_HELLO, Stage.HELLO), (_INITIATE, Stage.INITIATE)):
        end = _end_of_command(seen, place, name, most)
        if end is None:
            return stage
        stage, place = reached, end
    if len(seen) > place:
        raise HandshakeError("it goes on before it is let in")
    return stage


def server_stage(seen: bytes) -> Stage:
    """How far the server has let a client come, by the beginning of what it has sent to it."""
    if len(seen) < GREETING_BYTES:
        return Stage.SILENT
    stage, place = Stage.GREETED, GREETING_BYTES
    for (name, most), reached in ((_WELCOME, Stage.WELCOME), (_READY, Stage.READY)):
        try:
            end = _end_of_command(seen, place, name, most)
        except HandshakeError:  # the command ERROR: a key that is not authorized
            return stage
        if end is None:
            return stage
        stage, place = reached, end
    return stage


def _check_greeting(seen: bytes) -> None:
    if seen[:1] not in (b"", b"\xff") or (len(seen) > 9 and not seen[9] & 1):
        raise HandshakeError("it does not speak ZeroMQ")
    if len(seen) > 10 and seen[10] < 3:
        raise HandshakeError("it speaks an old ZeroMQ")
    mechanism = seen[12:32]
    if not _MECHANISM.startswith(mechanism):
        raise HandshakeError("it does not encrypt")


def _end_of_command(seen: bytes, place: int, name: bytes, most: int) -> int | None:
    """Where a command of this name that begins at `place` ends; None where it has not come whole."""
    header = seen[place : place + 9]
    if not header:
        return None
    if header[0] not in (_COMMAND, _LONG_COMMAND):
        raise HandshakeError("a message comes before it is let in")
    length = 2 if header[0] == _COMMAND else 9
    if len(header) < length:
        return None
    size = int.from_bytes(header[1:length], "big")
    if size > most:
        raise HandshakeError(f"it announces {size} bytes before it is let in")
    body = seen[place + length : place + length + size]
    if body[: len(name)] != name[: len(body)]:
        raise HandshakeError("its commands are not those of CURVE")
    return place + length + size if len(body) == size else None
