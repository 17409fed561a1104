"""The command ``pbrfit``: demo, optimize, bake, farm, serve, status, stop, keys, doctor."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from backend.cli.arguments import (
    add_blender_option,
    add_device_option,
    check_path,
    folder,
)
from backend.cli.batch_arguments import is_batch, one_object
from backend.cli.errors import CommandError, Interrupted
from backend.cli.farm_arguments import add_farm_parser
from backend.cli.fit_arguments import add_bake_arguments, add_optimize_arguments
from backend.cli.key_arguments import add_keys_parser
from backend.cli.openjd import print_failure
from backend.cli.serve_arguments import add_serve_parser, add_status_parser

if TYPE_CHECKING:
    from backend.cli.driving import DriveRequest

EXIT_ERROR = 2
# No space left, a quota or a limit of file sizes reached.
FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
EXIT_INTERRUPTED = 130
DEMO_OBJECT = "Suzanne"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line. Returns the exit status: 0 done, 1 jobs of a batch failed or doctor found something missing, 2 error,
    130 Ctrl-C."""
    chosen = argument_parser().parse_args(arguments)
    chosen.arguments = sys.argv[1:] if arguments is None else arguments
    run: Callable[[argparse.Namespace], int] = chosen.run
    try:
        return run(chosen)
    except CommandError as error:
        if getattr(chosen, "openjd", False):
            print_failure(error)
        print(f"pbrfit: {error.cause}", *([error.cure] if error.cure else []), sep="\n  ", file=sys.stderr)
        return EXIT_ERROR
    except BrokenPipeError:
        # What is still to be written at the end of the program must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print("pbrfit: nobody reads its output any more, so it ended; nothing is left running.", file=sys.stderr)
        return EXIT_ERROR
    except OSError as error:
        if error.errno not in FULL_DISK:
            raise
        cause = f"pbrfit: The disk is full: {error.strerror}" + (f" ({error.filename})." if error.filename else ".")
        print(cause, "Free space there, or choose another folder, then run it again.", sep="\n  ", file=sys.stderr)
        return EXIT_ERROR
    except (KeyboardInterrupt, Interrupted):
        print("\npbrfit: cancelled; nothing is left running.", file=sys.stderr)
        return EXIT_INTERRUPTED


def argument_parser() -> argparse.ArgumentParser:
    """The parser of all commands; each sets ``run``."""
    parser = argparse.ArgumentParser(
        prog="pbrfit", description="Fit one clean physically based material to any look of an object."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="build an example scene in Blender, fit it and report")
    demo.add_argument("--out", type=folder, default=Path("demo"), help="folder for the results (default: demo)")
    add_device_option(demo)
    add_blender_option(demo)
    demo.set_defaults(run=run_demo)

    optimize = commands.add_parser("optimize", help="fit the materials of objects of .blend files and report")
    add_optimize_arguments(optimize)
    optimize.set_defaults(run=run_optimize)

    bake = commands.add_parser("bake", help="bake what the nodes of objects' materials say, without a backend")
    add_bake_arguments(bake)
    bake.set_defaults(run=run_bake)

    add_farm_parser(commands, run_farm)
    add_serve_parser(commands, run_serve)
    add_status_parser(commands, run_status)
    add_keys_parser(commands, run_keys)

    doctor = commands.add_parser("doctor", help="show what is installed, what will be used and what is missing")
    doctor.add_argument("--blender", metavar="PATH", help="a Blender program to check instead of the module bpy")
    doctor.add_argument(
        "--backend-only", action="store_true", help="check only what the backend needs, without Blender"
    )
    doctor.add_argument("--json", action="store_true", help="print JSON, for programs")
    doctor.set_defaults(run=run_doctor)
    return parser


def run_demo(chosen: argparse.Namespace) -> int:
    """``pbrfit demo``."""
    from backend.cli.driving import DriveRequest
    from backend.cli.fit_requests import checked_settings

    settings = checked_settings(device=chosen.device)
    properties = {
        "map_sets": "OBJECT",
        "device": settings.device,
        "render_device": chosen.render_device.upper(),
    }
    return _optimize(chosen, DriveRequest(None, DEMO_OBJECT, chosen.out, "demo", properties, chosen.blender))


def run_optimize(chosen: argparse.Namespace) -> int:
    """``pbrfit optimize``. Raises CommandError for wrong arguments before anything starts."""
    from backend.cli.fit_requests import optimize_request

    if is_batch(chosen):
        return _run_batch(chosen, "optimize")
    chosen = one_object(chosen)
    check_path(chosen.blend)
    return _optimize(chosen, optimize_request(chosen))


def run_bake(chosen: argparse.Namespace) -> int:
    """``pbrfit bake``. Raises CommandError for wrong arguments before anything starts."""
    from backend.cli.bake import bake, maps_text
    from backend.cli.fit_requests import bake_request
    from backend.cli.terminal import ProgressLine

    if is_batch(chosen):
        return _run_batch(chosen, "bake")
    chosen = one_object(chosen)
    check_path(chosen.blend)
    request = bake_request(chosen)
    signal.signal(signal.SIGTERM, _interrupt)
    progress = ProgressLine()
    try:
        report = bake(request, progress)
    finally:
        progress.clear()
    print(f"{chosen.out / request.name}.blend: {maps_text(report)} (see {chosen.out / 'report.json'})")
    return 0


def _run_batch(chosen: argparse.Namespace, name: str) -> int:
    from backend.cli.batch import run_batch
    from backend.cli.batch_commands import COMMANDS
    from backend.cli.batch_plan import selections_of

    signal.signal(signal.SIGTERM, _interrupt)
    command = COMMANDS[name]
    return run_batch(chosen, command, selections_of(chosen, command))


def run_farm(chosen: argparse.Namespace) -> int:
    """``pbrfit farm``."""
    from backend.cli.farm import farm

    signal.signal(signal.SIGTERM, _interrupt)
    return farm(chosen)


def run_serve(chosen: argparse.Namespace) -> int:
    """``pbrfit serve``."""
    from backend.cli.serve import serve

    return serve(chosen)


def run_status(chosen: argparse.Namespace) -> int:
    """``pbrfit status`` and ``pbrfit stop``."""
    from backend.cli.status import ACTIONS

    return ACTIONS[chosen.action](chosen)


def run_doctor(chosen: argparse.Namespace) -> int:
    """``pbrfit doctor``."""
    from backend.cli.doctor import as_json, examine

    findings = examine(chosen.blender, chosen.backend_only)
    if chosen.json:
        print(as_json(findings))
    else:
        print(*findings, sep="\n")
    return 1 if any(finding.missing for finding in findings) else 0


def run_keys(chosen: argparse.Namespace) -> int:
    """``pbrfit keys``."""
    from backend.cli.keys import ACTIONS

    return ACTIONS[chosen.action](chosen)


def _optimize(chosen: argparse.Namespace, request: DriveRequest) -> int:
    from backend.cli.optimize import optimize
    from backend.cli.report_files import summary_text
    from backend.cli.terminal import ProgressLine

    signal.signal(signal.SIGTERM, _interrupt)
    progress = ProgressLine()
    try:
        judged = not getattr(chosen, "no_report", False)  # the demo always is
        report = optimize(request, progress, judged)
    finally:
        progress.clear()
    if judged:
        print(f"{chosen.out / request.name}.blend: {summary_text(report)} (see {chosen.out / 'report.png'})")
    else:
        print(f"{chosen.out / request.name}.blend (see {chosen.out / 'report.json'})")
    return 0


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt
