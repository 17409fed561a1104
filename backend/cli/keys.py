"""``pbrfit keys``: the backend's own keys, and the clients that may connect to it."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from backend.cli.errors import CommandError

AUTHORIZED_KEYS = "authorized_keys"
BACKEND_KEY = "backend-key.json"
_ADDRESS = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^:\s/\[\]]+)(:(?P<port>\d{1,5}))?")


def config_folder() -> Path:
    """Where PBRfit keeps the keys of this user's backend."""
    folder = os.environ.get("APPDATA" if os.name == "nt" else "XDG_CONFIG_HOME")
    return (Path(folder) if folder else Path.home() / ".config") / "pbrfit"


def default_key_file() -> Path:
    """The file that keeps the keys of a backend for other machines: so Blender needs its public key only once."""
    return config_folder() / BACKEND_KEY


def default_authorized_keys() -> Path:
    """The file of the clients that ``pbrfit keys allow`` lets in."""
    return config_folder() / AUTHORIZED_KEYS


def public_key(text: str) -> str:
    """A parser of public keys."""
    from backend.protocol.keys import is_key

    if not is_key(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a public key: 40 characters, as Blender's preferences show")
    return text


def listen_address(text: str) -> str:
    """A parser of where to listen: HOST, or HOST:PORT. Without a port, any free one."""
    found = _ADDRESS.fullmatch(text)
    if found is None or int(found["port"] or 1) not in range(1, 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is no HOST:PORT, such as 0.0.0.0:5555")
    return f"tcp://{found['host']}:{found['port'] or '*'}"


def add_keys_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``pbrfit keys`` with what it can do."""
    keys = commands.add_parser("keys", help="who may connect to a backend on this machine: make, show, allow, revoke")
    actions = keys.add_subparsers(required=True, metavar="ACTION")
    make = actions.add_parser("make", help="make the backend's own keys, if there are none, and print the public one")
    show = actions.add_parser("show", help="print the backend's public key, and the clients that may connect")
    allow = actions.add_parser("allow", help="let a client connect", epilog="Before a key that starts with - write --.")
    revoke = actions.add_parser(
        "revoke", help="no longer let a client connect: its open connections end at once", epilog=allow.epilog
    )
    for action in (make, show):
        action.add_argument("--key-file", type=Path, metavar="FILE", help=f"default: {BACKEND_KEY} beside the next")
    for action in (show, allow, revoke):
        action.add_argument(
            "--authorized-keys",
            type=Path,
            metavar="FILE",
            help=f"the clients that may connect (default: ~/.config/pbrfit/{AUTHORIZED_KEYS})",
        )
    allow.add_argument("key", type=public_key, metavar="KEY", help="the client's public key, as Blender shows it")
    allow.add_argument("name", nargs="?", default="", metavar="NAME", help="who it is, for people")
    revoke.add_argument("named", metavar="KEY|NAME", help="a public key, or the name that was given with it")
    make.set_defaults(run=run_make)
    show.set_defaults(run=run_show)
    allow.set_defaults(run=run_allow)
    revoke.set_defaults(run=run_revoke)


def run_make(chosen: argparse.Namespace) -> int:
    """``pbrfit keys make``."""
    from backend.protocol.keys import kept_keys

    with _errors():
        print(kept_keys(_key_file(chosen), own_folder=chosen.key_file is None).public)
    return 0


def run_show(chosen: argparse.Namespace) -> int:
    """``pbrfit keys show``."""
    from backend.protocol.authorized_keys import listed_keys
    from backend.protocol.keys import kept_keys

    key_file, authorized = _key_file(chosen), _authorized_keys(chosen)
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
    from backend.protocol.authorized_keys import allow_key

    file = _authorized_keys(chosen)
    if any(not letter.isprintable() for letter in chosen.name):
        raise CommandError("The name has letters that cannot be shown.", "Give a plain name.")
    with _errors():
        added = allow_key(file, chosen.key, chosen.name)
    print(f"{'May connect' if added else 'Could connect already'}: {chosen.key} ({file})")
    return 0


def run_revoke(chosen: argparse.Namespace) -> int:
    """``pbrfit keys revoke``. Raises CommandError where no client is named so."""
    from backend.protocol.authorized_keys import revoke_key

    file = _authorized_keys(chosen)
    with _errors():
        gone = revoke_key(file, chosen.named)
    if not gone:
        raise CommandError(f"{chosen.named} may not connect anyway: {file} does not name it.", "See pbrfit keys show.")
    for key in gone:
        print(f"May not connect any more: {key} ({file})")
    return 0


def _key_file(chosen: argparse.Namespace) -> Path:
    return default_key_file() if chosen.key_file is None else Path(chosen.key_file)


def _authorized_keys(chosen: argparse.Namespace) -> Path:
    return default_authorized_keys() if chosen.authorized_keys is None else Path(chosen.authorized_keys)


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    from backend.protocol.private_files import KeyFileError

    try:
        yield
    except KeyFileError as error:
        raise CommandError(error.cause, error.cure) from error
