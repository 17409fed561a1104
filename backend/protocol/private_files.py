"""Files that decide who may connect: who may read them, and who may change them."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import IO

from .errors import CauseAndCure


class KeyFileError(CauseAndCure):
    """A key file that cannot be used."""


def make_private_folder(folder: Path) -> None:
    """Makes a folder with mode 0700, and those above it, where it does not exist. Raises OSError."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)


def check_folder(folder: Path, mine: bool = False) -> None:
    """Raises `KeyFileError` where others could put files of theirs in place of those in a folder.

    mine: the folder is PBRfit's alone: where others may look into it, and it is this user's, that ends.
    """
    if os.name != "posix":
        return
    if mine and folder.is_symlink():
        raise KeyFileError(f"The folder {folder} is a link.", "Make it a folder of its own, which only you may enter.")
    status = folder.stat()
    mode = stat.S_IMODE(status.st_mode)
    if mine and mode & 0o077 and status.st_uid == os.getuid():
        folder.chmod(0o700)
        return
    shared = mode & 0o022 and not mode & stat.S_ISVTX
    if shared or status.st_uid not in (os.getuid(), 0):
        cause = f"Others than you may change what is in the folder {folder}."
        raise KeyFileError(cause, f"Run chmod 700 {folder}, or choose a folder of your own.")


def open_trusted(path: Path, secret: bool) -> IO[str]:
    """Opens a text file for reading. secret: whether nobody else may read it.

    Raises `KeyFileError` where it is a link, or no file; where it is another user's, or others may change it (or read it,
    where it is secret). Raises OSError where it cannot be opened.
    """
    if path.is_symlink():
        raise KeyFileError(f"{path} is a link.", "Give the file itself: a link can be made to lead to another file.")
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    try:
        _check(path, os.fstat(handle), secret)
        return os.fdopen(handle, encoding="utf-8")
    except BaseException:
        os.close(handle)
        raise


def _check(path: Path, status: os.stat_result, secret: bool) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise KeyFileError(f"{path} is no file.", "Give a file.")
    if os.name != "posix":
        return
    mode = stat.S_IMODE(status.st_mode)
    if secret and mode & 0o077:
        cause = f"Others than you may read the key file {path}, so it is not secret."
        raise KeyFileError(cause, "Remove the file, so that PBRfit makes new keys, and tell the other end the new one.")
    if mode & 0o022:
        cause = f"Others than you may change the file {path}, and so decide who may connect."
        raise KeyFileError(cause, f"Look through it, and run chmod 600 {path}.")
    if status.st_uid not in (os.getuid(), 0):
        raise KeyFileError(f"The file {path} belongs to another user.", "Give a file of your own.")
