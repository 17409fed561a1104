"""``pbrfit serve``: the backend alone."""

from __future__ import annotations

import argparse
import signal

from backend.cli.errors import CommandError
from backend.cli.key_arguments import default_authorized_keys, default_key_file
from backend.job.checkpoints import CheckpointError, CheckpointFolder
from backend.protocol.keys import kept_keys
from backend.protocol.private_files import KeyFileError
from backend.server.address_file import ServerError
from backend.server.gatekeeper import AuthorizedKeys
from backend.server.logs import set_up_log
from backend.server.serving import serve as serve_clients


def serve(chosen: argparse.Namespace) -> int:
    """Serve until it is told to end. Raises CommandError where no client may connect, for unusable keys or a taken address."""
    authorized_keys = chosen.authorized_keys
    if not chosen.client_key and authorized_keys is None:
        authorized_keys = default_authorized_keys()
        if not authorized_keys.exists():
            raise CommandError(
                "No client may connect: the backend knows no client's public key.",
                "Let one in with pbrfit keys allow, give its key with --client-key, or a file of keys with "
                "--authorized-keys; PBRfit's preferences in Blender show the key of that Blender.",
            )
    key_file = chosen.key_file
    own_folder = key_file is None
    if key_file is None and authorized_keys is not None:
        key_file = default_key_file()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        set_up_log(chosen.log_format, chosen.log_file)
        serve_clients(
            chosen.address,
            chosen.address_file,
            chosen.parent_pid,
            keys=None if key_file is None else kept_keys(key_file, own_folder),
            authorized=AuthorizedKeys(chosen.client_key, authorized_keys),
            checkpoints=None if chosen.checkpoints is None else CheckpointFolder(chosen.checkpoints),
            relays_log=chosen.log_format != "text" or chosen.log_file is not None,
            metrics_port=chosen.metrics,
            devices=chosen.devices,
            worker_memory=chosen.worker_memory,
            listening=_print_address if authorized_keys is not None else lambda _address, _key: None,
        )
    except (ServerError, KeyFileError, CheckpointError) as error:
        raise CommandError(error.cause, error.cure) from error
    return 0


def _print_address(address: str, key: str) -> None:
    print(f"Address:    {address}\nPublic key: {key}", flush=True)


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt
