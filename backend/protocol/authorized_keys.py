"""The file of the clients that may connect: a public key at the start of each line, then a name for people."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .key_text import is_key
from .private_files import KeyFileError, check_folder, make_private_folder, open_trusted

_HEAD = "# The public keys of the clients that may connect to this PBRfit backend, one in a line; then who it is.\n"


@dataclass(frozen=True)
class ListedKeys:
    """What such a file says. keys: the names by key. other_lines: how many lines say something else."""

    keys: dict[str, str]
    other_lines: int


def read_keys(text: str) -> ListedKeys:
    """The keys of a file's text. Empty lines and those that start with # are for people."""
    keys: dict[str, str] = {}
    other_lines = 0
    for line in text.splitlines():
        words = line.split(maxsplit=1)
        if not words or words[0].startswith("#"):  # no key does
            continue
        if is_key(words[0]):
            keys.setdefault(words[0], words[1].strip() if len(words) > 1 else "")
        else:
            other_lines += 1
    return ListedKeys(keys, other_lines)


def listed_keys(path: Path) -> ListedKeys:
    """The keys of a file; none where there is no file. Raises `KeyFileError`."""
    return read_keys(_text(path))


def allow_key(path: Path, key: str, name: str) -> bool:
    """Adds a key to the file, which is made with its folder where it does not exist. Returns False where it was there.

    Raises `KeyFileError`.
    """
    text = _text(path)
    if key in read_keys(text).keys:
        return False
    text = text or _HEAD
    _replace(path, f"{text}{'' if text.endswith(chr(10)) else chr(10)}{key} {name}".rstrip() + "\n")
    return True


def revoke_key(path: Path, named: str) -> list[str]:
    """Takes a key out of the file, or all keys of a name. Returns the keys that were taken out. Raises `KeyFileError`."""
    text = _text(path)
    known = read_keys(text).keys
    gone = [key for key, name in known.items() if named in (key, name)]
    if gone:
        lines = [line for line in text.splitlines(keepends=True) if not set(line.split()[:1]) & set(gone)]
        _replace(path, "".join(lines))
    return gone


def _text(path: Path) -> str:
    with _explained(path):
        if not os.path.lexists(path):
            return ""
        check_folder(path.absolute().parent)
        with open_trusted(path, secret=False) as file:
            return file.read()


def _replace(path: Path, text: str) -> None:
    with _explained(path):
        make_private_folder(path.absolute().parent)
        check_folder(path.absolute().parent)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)  # mode 0600
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, UnicodeDecodeError) as error:
        cause = f"The authorized keys in {path} cannot be used: {getattr(error, 'strerror', error)}."
        raise KeyFileError(cause, "Choose a file in a folder that can be written to.") from error
