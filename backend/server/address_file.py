"""The file that tells where a backend listens, for whoever started it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from backend.protocol.errors import CauseAndCure

_KNOCK_S = 1.0


class ServerError(CauseAndCure, RuntimeError):
    """The server cannot start."""


@contextlib.contextmanager
def address_file(path: Path, values: Mapping[str, Any]) -> Iterator[None]:
    """Has the file while the server runs: whole or not at all, readable by this user only.

    values: with `address` and `pid`. Raises `ServerError` where it cannot be written, or another backend that listens has it;
    a file that a backend has left behind is replaced. At the end it is removed, unless another has taken its place.
    """
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)  # mode 0600
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(values, file)
        _take_place(Path(temporary), path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        cure = "Choose a file in a folder that exists, can be written to and has space left."
        raise ServerError(f"The address file {path} cannot be written: {error}.", cure) from error
    try:
        yield
    finally:
        if _read(path) == values:
            path.unlink(missing_ok=True)


def _take_place(temporary: Path, path: Path) -> None:
    """Gives a file its name, where no backend that listens has it: of two at one time, only one succeeds."""
    try:
        while True:
            try:
                os.link(temporary, path)
                return
            except FileExistsError:
                _check_left_behind(path)
                path.unlink(missing_ok=True)
            except OSError:  # a file system without links
                if path.exists():
                    _check_left_behind(path)
                os.replace(temporary, path)
                return
    finally:
        temporary.unlink(missing_ok=True)


def _check_left_behind(path: Path) -> None:
    """Raises `ServerError` where the backend that wrote the file listens."""
    values = _read(path)
    if values is None or values.get("pid") == os.getpid() or not _listens(str(values.get("address"))):
        return
    cause = f"Another backend, process {values.get('pid')}, listens at {values.get('address')} and has the file {path}."
    raise ServerError(cause, "End it, or give this one a file of its own with --address-file.")


def _read(path: Path) -> dict[str, Any] | None:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return values if isinstance(values, dict) else None


def _listens(address: str) -> bool:
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    host = {"0.0.0.0": "127.0.0.1", "[::]": "::1"}.get(host, host.strip("[]"))
    try:
        with socket.create_connection((host, int(port)), _KNOCK_S):
            return True
    except (OSError, ValueError, OverflowError):
        return False
