"""The arguments of ``pbrfit serve``, ``pbrfit status`` and ``pbrfit stop``."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from backend.cli.arguments import whole_number
from backend.cli.key_arguments import BACKEND_KEY, listen_address, public_key
from backend.server.devices import AUTO, WORKERS_SHARE, read_devices

# PyTorch alone takes a third of a GiB, with CUDA one and more.
LEAST_WORKER_GIB = 1.0
LOG_FORMATS = ("text", "json")
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
Run = Callable[[argparse.Namespace], int]


def add_serve_parser(commands: Commands, run: Run) -> None:
    """Add ``pbrfit serve``."""
    serve = commands.add_parser("serve", help="run the backend alone, for a Blender on this or another machine")
    listen = serve.add_mutually_exclusive_group()
    listen.add_argument(
        "--bind",
        dest="address",
        default=argparse.SUPPRESS,
        type=listen_address,
        metavar="HOST[:PORT]",
        help="listen there, for other machines too; 0.0.0.0 is every network of this one (default: this machine alone)",
    )
    listen.add_argument(
        "--address",
        default="tcp://127.0.0.1:*",
        metavar="ADDRESS",
        help="the same as ZeroMQ writes it (default: %(default)s)",
    )
    serve.add_argument("--address-file", type=Path, metavar="FILE", help="write the chosen address to this file")
    serve.add_argument("--parent-pid", type=int, metavar="PID", help="end when this process ends")
    serve.add_argument(
        "--client-key",
        type=public_key,
        action="append",
        default=[],
        metavar="KEY",
        help="public key of a client that may connect; may be repeated",
    )
    serve.add_argument(
        "--authorized-keys",
        type=Path,
        metavar="FILE",
        help="file with the public keys of clients that may connect, one in a line; read again when it changes (default: "
        "that of pbrfit keys allow, where no --client-key is given)",
    )
    serve.add_argument(
        "--key-file",
        type=Path,
        metavar="FILE",
        help="file of the backend's own keys, made where there is none (default: with --authorized-keys "
        "~/.config/pbrfit/backend-key.json, else new keys each time)",
    )
    serve.add_argument(
        "--checkpoints", type=Path, metavar="DIR", help="folder that keeps what jobs need to go on after a crash"
    )
    serve.add_argument(
        "--devices",
        type=devices,
        default=AUTO,
        metavar="LIST",
        help="one process for each of these devices, each for a job at a time: all (every GPU, or the processor where there is "
        "none), or names with commas, such as cuda:0,cuda:1 or cpu,cpu; names with + share one job, as in cuda:0+cuda:1, and "
        "together is every GPU for one job (Linux); auto: one process, for the first GPU or the processor (default: auto)",
    )
    serve.add_argument(
        "--worker-memory",
        type=gibibytes,
        metavar="GIB",
        help="how much of the machine's memory each of these processes may take; a job that takes more is tried at half "
        f"the size, then fails (default: {WORKERS_SHARE * 100:.0f} percent of the machine's or the container's memory, divided "
        "by their number)",
    )
    serve.add_argument(
        "--metrics",
        type=whole_number(0, 65535),
        metavar="PORT",
        help="serve numbers for Prometheus at http://127.0.0.1:PORT/metrics, for this machine alone; 0: any free port",
    )
    serve.add_argument(
        "--log-format", choices=LOG_FORMATS, default="text", help="json: an object in each line (default: %(default)s)"
    )
    serve.add_argument(
        "--log-file",
        type=Path,
        metavar="FILE",
        help="write the log there, 10 MiB at most, and keep the five before (default: stderr)",
    )
    serve.set_defaults(run=run)


def devices(text: str) -> tuple[str, ...]:
    """A parser of lists of devices."""
    try:
        return read_devices(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def gibibytes(text: str) -> int:
    """A parser of sizes, in bytes."""
    try:
        size = float(text)
    except ValueError:
        size = 0.0
    if not LEAST_WORKER_GIB <= size < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of GiB, {LEAST_WORKER_GIB:g} or more")
    return int(size * 2**30)


def add_status_parser(commands: Commands, run: Run) -> None:
    """Add ``pbrfit status`` and ``pbrfit stop``. run: carries out ``action``."""
    status = commands.add_parser("status", help="show what a backend does: jobs, clients, memory, device")
    status.add_argument("--json", action="store_true", help="print JSON, for programs")
    stop = commands.add_parser("stop", help="let a backend end: its jobs keep what they need to go on later")
    for name, parser in (("status", status), ("stop", stop)):
        where = parser.add_mutually_exclusive_group(required=True)
        where.add_argument("--address-file", type=Path, metavar="FILE", help="the address file of a backend of yours")
        where.add_argument(
            "--address", dest="address", type=listen_address, metavar="HOST:PORT", help="where the backend listens"
        )
        parser.add_argument(
            "--public-key",
            type=public_key,
            metavar="KEY",
            help="the backend's public key (default: that of --key-file)",
        )
        parser.add_argument(
            "--key-file",
            type=Path,
            metavar="FILE",
            help="the keys to ask with: the backend's own show all, those of a client only what is its own (default: "
            f"~/.config/pbrfit/{BACKEND_KEY})",
        )
        parser.set_defaults(run=run, action=name)
