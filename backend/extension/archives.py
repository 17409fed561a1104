"""Zips and wheels that are the same, byte for byte, whenever the same files are put into them."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path
from typing import IO

TIMESTAMP = (2020, 1, 1, 0, 0, 0)


class BuildError(Exception):
    """The extension cannot be built; the message says why, and what to do."""


def write_zip(target: Path | IO[bytes], files: dict[str, bytes]) -> None:
    """Write files to a zip (a path or an open file), sorted by name and without today's date."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, TIMESTAMP)
            entry.external_attr = 0o644 << 16
            entry.create_system = 3  # not the system that runs this
            # A wheel is compressed already.
            entry.compress_type = zipfile.ZIP_STORED if name.endswith(".whl") else zipfile.ZIP_DEFLATED
            archive.writestr(entry, files[name])


def read_zip(path: Path) -> dict[str, bytes]:
    """The files of a zip by name, without its folders."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}


def with_record(files: dict[str, bytes], info: str) -> dict[str, bytes]:
    """The files of a wheel with the list of them, RECORD, in its folder `info`."""
    kept = {name: content for name, content in files.items() if name != f"{info}/RECORD"}
    record = [f"{name},sha256={_hash(content)},{len(content)}" for name, content in kept.items()]
    return kept | {f"{info}/RECORD": ("\n".join([*record, f"{info}/RECORD,,"]) + "\n").encode()}


def _hash(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
