"""A notification server on a D-Bus session of its own: it writes each notification to a file, one JSON list a line.

    python notification_server.py ADDRESS FILE

It speaks the wire format itself (https://dbus.freedesktop.org/doc/dbus-specification.html), since no Python here has D-Bus.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAME = "org.freedesktop.Notifications"
CALL, RETURN, ERROR = 1, 2, 3
PATH, INTERFACE, MEMBER, ERROR_NAME, REPLY, DESTINATION, SENDER, SIGNATURE = range(1, 9)
KINDS = {PATH: "o", REPLY: "u", SIGNATURE: "g"}
START_SECONDS = 20.0


def padded(data: bytes, size: int) -> bytes:
    return data + bytes(-len(data) % size)


def text(value: str) -> bytes:
    encoded = value.encode()
    return struct.pack("<I", len(encoded)) + encoded + b"\0"


def message(kind: int, serial: int, fields: dict[int, str | int], body: bytes = b"") -> bytes:
    """A message in its bytes."""
    listed = b""
    for code, value in fields.items():
        letter = KINDS.get(code, "s")
        listed = padded(listed, 8) + bytes([code, 1]) + letter.encode() + b"\0"
        if isinstance(value, int):
            listed = padded(listed, 4) + struct.pack("<I", value)
        elif letter == "g":
            listed += bytes([len(value)]) + value.encode() + b"\0"
        else:
            listed = padded(listed, 4) + text(value)
    head = struct.pack("<cBBBII", b"l", kind, 0, 1, len(body), serial) + struct.pack("<I", len(listed)) + listed
    return padded(head, 8) + body


class Reader:
    """Reads values one after the other."""

    def __init__(self, data: bytes) -> None:
        self.data, self.place = data, 0

    def number(self) -> int:
        self.place += -self.place % 4
        (value,) = struct.unpack_from("<I", self.data, self.place)
        self.place += 4
        return value

    def text(self) -> str:
        size = self.number()
        value = self.data[self.place : self.place + size].decode()
        self.place += size + 1
        return value

    def field(self) -> tuple[int, str | int]:
        self.place += -self.place % 8
        code, letter = self.data[self.place], chr(self.data[self.place + 2])
        self.place += 4
        if letter == "u":
            return code, self.number()
        if letter != "g":
            return code, self.text()
        size = self.data[self.place]
        value = self.data[self.place + 1 : self.place + 1 + size].decode()
        self.place += size + 2
        return code, value


def received(bus: socket.socket) -> tuple[int, int, dict[int, str | int], bytes] | None:
    """The kind, serial number, fields and body of the next message; None at the end."""
    head = bus.recv(16, socket.MSG_WAITALL)
    if len(head) < 16:
        return None
    kind, (body_size, serial, fields_size) = head[1], struct.unpack_from("<III", head, 4)
    rest = bus.recv(fields_size + -fields_size % 8 + body_size, socket.MSG_WAITALL)
    reader, fields = Reader(rest), {}
    while reader.place < fields_size:
        code, value = reader.field()
        fields[code] = value
    return kind, serial, fields, rest[fields_size + -fields_size % 8 :]


def serve(address: str, path: Path) -> None:
    """Own the name on the bus, and write down what is shown."""
    with socket.socket(socket.AF_UNIX) as bus:
        bus.connect(address.partition("path=")[2].partition(",")[0])
        bus.sendall(b"\0AUTH EXTERNAL " + str(os.getuid()).encode().hex().encode() + b"\r\n")
        assert bus.recv(100).startswith(b"OK")
        bus.sendall(b"BEGIN\r\n")
        daemon = {PATH: "/org/freedesktop/DBus", INTERFACE: "org.freedesktop.DBus", DESTINATION: "org.freedesktop.DBus"}
        bus.sendall(message(CALL, 1, daemon | {MEMBER: "Hello"}))
        bus.sendall(
            message(CALL, 2, daemon | {MEMBER: "RequestName", SIGNATURE: "su"}, padded(text(NAME), 4) + bytes(4))
        )
        while (found := received(bus)) is not None:
            kind, serial, fields, body = found
            if kind == RETURN and fields.get(REPLY) == 2:
                path.touch()
            if kind != CALL:
                continue
            answer = {REPLY: serial, DESTINATION: fields[SENDER]}
            if fields.get(MEMBER) != "Notify":
                unknown = "org.freedesktop.DBus.Error.UnknownMethod"
                bus.sendall(message(ERROR, serial + 2, answer | {ERROR_NAME: unknown}))
                continue
            reader = Reader(body)
            application, _, icon, title, shown = (
                reader.text(),
                reader.number(),
                reader.text(),
                reader.text(),
                reader.text(),
            )
            with path.open("a") as file:
                file.write(json.dumps([fields[SIGNATURE], application, icon, title, shown]) + "\n")
            bus.sendall(message(RETURN, serial + 2, answer | {SIGNATURE: "u"}, struct.pack("<I", 1)))


@contextmanager
def notification_server(folder: Path) -> Iterator[tuple[str, Path]]:
    """A bus with such a server on it: the bus's address, and the file. Needs the program dbus-daemon."""
    daemon = subprocess.Popen(
        ["dbus-daemon", "--session", "--nofork", "--print-address"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert daemon.stdout is not None
        address, path = daemon.stdout.readline().strip(), folder / "notifications"
        server = subprocess.Popen([sys.executable, __file__, address, str(path)])
        try:
            end = time.monotonic() + START_SECONDS
            while not path.exists():
                assert server.poll() is None
                assert time.monotonic() < end
                time.sleep(0.02)
            yield address, path
        finally:
            server.kill()
            server.wait()
    finally:
        daemon.kill()
        daemon.wait()
        daemon.stdout.close()


if __name__ == "__main__":
    serve(sys.argv[1], Path(sys.argv[2]))
