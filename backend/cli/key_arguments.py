"""The arguments of ``pbrfit keys``, and where PBRfit keeps the keys of this user's backend."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable
from pathlib import Path

from backend.protocol.key_text import is_key

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


def listen_address(text: str) -> str:
    """A parser of where to listen: HOST, or HOST:PORT. Without a port, any free one."""
    found = _ADDRESS.fullmatch(text)
    if found is None or int(found["port"] or 1) not in range(1, 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is no HOST:PORT, such as 0.0.0.0:5555")
    return f"tcp://{found['host']}:{found['port'] or '*'}"


def public_key(text: str) -> str:
    """A parser of a public key."""
    if not is_key(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a public key: 40 characters, as Blender's preferences show")
    return text


def add_keys_parser(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    run: Callable[[argparse.Namespace], int],
) -> None:
    """Add ``pbrfit keys`` with what it can do. run: carries out ``action``."""
    keys = commands.add_parser("keys", help="who may connect to a backend on this machine: make, show, allow, revoke")
    actions = keys.add_subparsers(dest="action", required=True, metavar="ACTION")
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
    keys.set_defaults(run=run)


def key_file_of(chosen: argparse.Namespace) -> Path:
    """The file of the backend's own keys that was chosen."""
    return default_key_file() if chosen.key_file is None else Path(chosen.key_file)


def authorized_keys_of(chosen: argparse.Namespace) -> Path:
    """The file of the clients that may connect that was chosen."""
    return default_authorized_keys() if chosen.authorized_keys is None else Path(chosen.authorized_keys)
