"""The keys of CURVE: who a client or a backend is. The public key is shown to the other end, the secret one never leaves.

Keys are Z85 text of 40 characters, as ZeroMQ writes them.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from .key_text import is_key
from .private_files import KeyFileError, check_folder, make_private_folder, open_trusted
from .zeromq import zmq


@dataclass(frozen=True)
class KeyPair:
    """The public and the secret key of one end."""

    public: str
    secret: str = field(repr=False)


def new_keys() -> KeyPair:
    """A new pair of keys."""
    public, secret = zmq.curve_keypair()
    return KeyPair(public.decode(), secret.decode())


def kept_keys(path: str | os.PathLike[str], own_folder: bool = False) -> KeyPair:
    """The keys of a file, readable by this user only; it is made, with its folder, where it does not exist.

    own_folder: nothing but PBRfit's files is in its folder, which others then may not enter. Raises `KeyFileError` where the
    file can be neither read nor made, where it is a link, or where others may read it or put another in its place.
    """
    path = Path(path)
    try:
        make_private_folder(path.parent)
        check_folder(path.parent, own_folder)
        with contextlib.suppress(FileNotFoundError):
            return _read(path)
        _make(path)
        return _read(path)
    except OSError as error:
        cure = "Choose a file in a folder that can be written to."
        raise KeyFileError(f"The key file {path} cannot be used: {error.strerror}.", cure) from error


def _make(path: Path) -> None:
    """Writes new keys, whole or not at all; where another process was faster, its keys stay."""
    keys = new_keys()
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)  # mode 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump({"public_key": keys.public, "secret_key": keys.secret}, file)
        try:
            os.link(temporary, path)
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            os.replace(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def _read(path: Path) -> KeyPair:
    with open_trusted(path, secret=True) as file:
        try:
            values = json.load(file)
            keys = KeyPair(values["public_key"], values["secret_key"])
        except (ValueError, KeyError, TypeError) as error:
            raise KeyFileError(
                f"The key file {path} holds no keys.", "Remove it, so that PBRfit makes new ones."
            ) from error
    if (
        not is_key(keys.public)
        or not is_key(keys.secret)
        or zmq.curve_public(keys.secret.encode()).decode() != keys.public
    ):
        raise KeyFileError(f"The keys in {path} do not belong together.", "Remove it, so that PBRfit makes new ones.")
    return keys
