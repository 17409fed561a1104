"""A program that plays strangers: it connects so and so often a second, says a part of a handshake, and stays for a while.

Arguments: host, port, seconds, connects a second, how many stay open. It prints how many connects it made.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import time
from collections import deque

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"CURVE".ljust(20, b"\0") + bytes(32)
HELLO = b"\x04\xc8\x05HELLO" + bytes(194)
SAID = (b"", GREETING, GREETING + HELLO)


def flood(host: str, port: int, seconds: float, rate: float, kept_open: int) -> int:
    """Returns how many connects were made."""
    kept: deque[socket.socket] = deque()
    made, began = 0, time.monotonic()
    while (now := time.monotonic() - began) < seconds:
        if made >= now * rate:
            time.sleep(0.0005)
            continue
        with contextlib.suppress(OSError):
            stranger = socket.create_connection((host, port), 5.0)
            kept.append(stranger)
            stranger.sendall(SAID[made % len(SAID)])
        made += 1
        if len(kept) > kept_open:
            kept.popleft().close()
    for stranger in kept:
        stranger.close()
    return made


if __name__ == "__main__":
    print(flood(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5])))
