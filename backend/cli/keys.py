"""``pbrfit keys``: the backend's own keys, and the clients that may connect to it."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator

from backend.cli.errors import CommandError
from backend.cli.key_arguments import authorized_keys_of, key_file_of
from backend.protocol.authorized_keys import allow_key, listed_keys, revoke_key
from backend.protocol.keys import kept_keys
from backend.protocol.private_files import KeyFileError


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except KeyFileError as error:
        raise CommandError(error.cause, error.cure) from error


def run_make(chosen: argparse.Namespace) -> int:
    """``pbrfit keys make``."""
    with _errors():
        print(kept_keys(key_file_of(chosen), own_folder=chosen.key_file is None).public)
    return 0


def run_show(chosen: argparse.Namespace) -> int:
    """``pbrfit keys show``."""
    key_file, authorized = key_file_of(chosen), authorized_keys_of(chosen)
    with _errors():
        if key_file.exists():
            print(f"Backend: {kept_keys(key_file).public} ({key_file})")
        else:
            print(f"Backend: no keys in {key_file}; pbrfit keys make makes them")
        listed = listed_keys(authorized)
    print(f"Clients that may connect ({authorized}):", *([] if listed.keys else ["  none"]), sep="\n")
    for key, name in listed.keys.items():
        print(f"  {key} {name}".rstrip())
    return 0


def run_allow(chosen: argparse.Namespace) -> int:
    """``pbrfit keys allow``."""
    file = authorized_keys_of(chosen)
    if any(not letter.isprintable() for letter in chosen.name):
        raise CommandError("The name has letters that cannot be shown.", "Give a plain name.")
    with _errors():
        added = allow_key(file, chosen.key, chosen.name)
    print(f"{'May connect' if added else 'Could connect already'}: {chosen.key} ({file})")
    return 0


def run_revoke(chosen: argparse.Namespace) -> int:
    """``pbrfit keys revoke``. Raises CommandError where no client is named so."""
    file = authorized_keys_of(chosen)
    with _errors():
        gone = revoke_key(file, chosen.named)
    if not gone:
        raise CommandError(f"{chosen.named} may not connect anyway: {file} does not name it.", "See pbrfit keys show.")
    for key in gone:
        print(f"May not connect any more: {key} ({file})")
    return 0


ACTIONS: dict[str, Callable[[argparse.Namespace], int]] = {
    "make": run_make,
    "show": run_show,
    "allow": run_allow,
    "revoke": run_revoke,
}
"""What ``pbrfit keys`` can do."""
