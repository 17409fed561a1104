"""What the command line says about more than one result: which objects of which files, and how to go through them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from backend.cli.arguments import whole_number
from backend.cli.errors import CommandError

MOST_AT_ONCE = 64
SELECTION = ("blend", "object", "collection", "out")
"""What says which results there are to be, and where."""
OF_THE_BATCH = ("jobs", "force", "dry_run", "stop_at_first_error", "at_once", "log_json", "table", "part", "openjd")
"""What says how to go through them."""
OF_THE_MACHINE = ("device", "render_device", "blender")
"""What a result does not depend on, except on the Blender, which is noted otherwise."""
STDOUT = "-"


def add_batch_options(parser: argparse.ArgumentParser) -> None:
    """Add how to go through many jobs. Each is None or False where it is not given."""
    batch = parser.add_argument_group("many objects (see docs/batch.md)")
    batch.add_argument(
        "--jobs", type=Path, metavar="FILE.toml", help="a file of jobs, instead of files and objects here"
    )
    batch.add_argument("--force", action="store_true", help="do again what is up to date")
    batch.add_argument(
        "--dry-run",
        action="store_true",
        help="say what would be done and why, and whether the files are there; start nothing",
    )
    batch.add_argument("--stop-at-first-error", action="store_true", help="begin nothing more after a job failed")
    batch.add_argument(
        "--at-once",
        type=whole_number(1, MOST_AT_ONCE),
        metavar="N",
        help="how many Blenders work side by side (default: 1)",
    )
    batch.add_argument(
        "--log-json",
        metavar="FILE",
        help=f"write each event as JSON in a line; to stdout if FILE is {STDOUT}: the rest then goes to stderr",
    )
    batch.add_argument(
        "--part",
        type=_part,
        metavar="N/M",
        help="do only the Nth of M equal parts of the objects, so that M machines share them; N is 1 to M",
    )
    batch.add_argument(
        "--openjd", action="store_true", help="print the progress for Open Job Description (see docs/scale.md)"
    )
    batch.add_argument("--table", type=Path, metavar="FILE.json", help="write the table at the end as JSON too")


def is_pattern(name: str) -> bool:
    """Whether a name stands for several."""
    return "*" in name or "?" in name


def is_batch(chosen: argparse.Namespace) -> bool:
    """Whether a command is more than one object of one file, or asks for what only a batch has."""
    objects, files = chosen.object or [], chosen.blend or []
    several = len(files) > 1 or len(objects) > 1 or bool(chosen.collection) or any(is_pattern(name) for name in objects)
    return several or any(getattr(chosen, name) not in (None, False) for name in OF_THE_BATCH)


def check_selection(chosen: argparse.Namespace) -> None:
    """Raise CommandError where the command line does not say which objects of which files, and where to."""
    if not chosen.blend:
        raise CommandError("No file is given.", "Give the path of a .blend file, or a file of jobs to --jobs.")
    if not chosen.object and not chosen.collection:
        raise CommandError(
            "No object is named.", "Give --object NAME or --collection NAME; --object '*' is every mesh object."
        )
    if chosen.out is None:
        raise CommandError("There is no folder for the results.", "Give one to --out.")


def one_object(chosen: argparse.Namespace) -> argparse.Namespace:
    """The same with the one file and the one object themselves, where it is not a batch. Raises CommandError."""
    check_selection(chosen)
    return argparse.Namespace(**{**vars(chosen), "blend": chosen.blend[0], "object": chosen.object[0]})


def result_options(chosen: argparse.Namespace) -> dict[str, Any]:
    """The options of a command that its result depends on, as JSON values by name."""
    left_out = {*SELECTION, *OF_THE_BATCH, *OF_THE_MACHINE, "run", "arguments"}
    return {name: _as_json(value) for name, value in sorted(vars(chosen).items()) if name not in left_out}


def _part(text: str) -> tuple[int, int]:
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"{text} is not like 2/10, the second of ten parts")
    return int(number), int(count)


def _as_json(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return [_as_json(one) for one in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
