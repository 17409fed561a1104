"""The arguments of ``pbrfit farm``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from backend.cli.arguments import whole_number
from backend.cli.batch_arguments import STDOUT

COMMANDS = ("optimize", "bake")
MOST_WORKERS = 1024
MOST_RETRIES = 100
MOST_WAITING = 100_000
RETRIES = 3
"""So often an object is tried again whose worker or Blender died."""

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_farm_parser(commands: Commands, run: Callable[[argparse.Namespace], int]) -> None:
    """Add ``pbrfit farm``."""
    farm = commands.add_parser("farm", help="do a file of jobs on many machines, with Ray (see docs/scale.md)")
    farm.add_argument("jobs", type=Path, metavar="JOBS.toml", help="the file of jobs, as docs/batch.md describes it")
    farm.add_argument(
        "--command", choices=COMMANDS, default="optimize", help="what to do with each object (default: %(default)s)"
    )
    farm.add_argument(
        "--address", metavar="ADDRESS", help="of a Ray cluster, or auto (default: start Ray on this machine)"
    )
    farm.add_argument(
        "--workers",
        type=whole_number(1, MOST_WORKERS),
        metavar="N",
        help="without --address: so many objects at once (default: as many as --cpus and --gpus let in)",
    )
    farm.add_argument(
        "--cpus",
        type=_some,
        metavar="N",
        help="processor cores that an object takes; may be a fraction (default: 1 for a bake, 4 for a fit)",
    )
    farm.add_argument(
        "--gpus",
        type=_amount,
        metavar="N",
        help="GPUs that an object takes; 0.25: four share one (default: that of a fit where there is one, else 0)",
    )
    farm.add_argument("--memory", type=_amount, default=0.0, metavar="GIB", help="memory that an object takes")
    farm.add_argument(
        "--retries",
        type=whole_number(0, MOST_RETRIES),
        default=RETRIES,
        metavar="N",
        help="try an object again so often if its worker or its Blender dies (default: %(default)s)",
    )
    farm.add_argument(
        "--waiting",
        type=whole_number(1, MOST_WAITING),
        metavar="N",
        help="so many objects are with Ray at once, at work or waiting (default: twice as many as there is room for, and 8)",
    )
    farm.add_argument("--force", action="store_true", help="do again what is up to date")
    farm.add_argument("--dry-run", action="store_true", help="say what would be done and why; start nothing")
    farm.add_argument("--stop-at-first-error", action="store_true", help="begin nothing more after an object failed")
    farm.add_argument(
        "--log-json",
        metavar="FILE",
        help=f"write each event as JSON in a line; to stdout if FILE is {STDOUT}: the rest then goes to stderr",
    )
    farm.add_argument("--table", type=Path, metavar="FILE.json", help="write the table at the end as JSON too")
    farm.set_defaults(run=run, openjd=False)


def _some(text: str) -> float:
    if (value := _amount(text)) == 0.0:
        raise argparse.ArgumentTypeError("an object takes at least a part of a core")
    return value


def _amount(text: str) -> float:
    value = float(text)
    if not 0.0 <= value < 1e6:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0 on")
    return value
