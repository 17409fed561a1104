"""`python -m benchmarks batch`: 19 small boards of three files and a broken file, baked by `pbrfit bake` as a user would.

One command for all, with one Blender and with two side by side, beside a command for each object; then the second run, which has
nothing to do. Wall seconds depend on what else the machine does; processor seconds hardly do.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from backend.cli.errors import CommandError
from benchmarks.measure import check_output, circumstances, print_table, write_json

MAKER = Path(__file__).parents[1] / "tests" / "support" / "batch_files.py"
FILES = {"chairs": 7, "tables": 6, "lamps": 6}
OBJECTS = sum(FILES.values())
SINGLE = 4
"""So many objects get a command of their own."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--resolution", type=int, default=256, help="width and height of the maps (default: 256)")
    parser.add_argument("--json", type=Path, help="write the record here")


def run(options: argparse.Namespace) -> None:
    """Time all ways, print a table, and write the record."""
    check_output(options.json)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="pbrfit-batch-") as name:
        folder = Path(name)
        make = [sys.executable, str(MAKER), name, *(f"{file}={count}" for file, count in FILES.items())]
        subprocess.run(make, check=True, capture_output=True)
        (folder / "broken.blend").write_bytes((folder / "lamps.blend").read_bytes()[:20000])
        files = [f"{file}.blend" for file in FILES]
        size = ["--resolution", str(options.resolution), "--out"]
        for number in range(SINGLE):
            one = ["chairs.blend", "--object", f"Board {number + 1}", *size, f"single/{number}"]
            rows.append(_time("a command for each", 1, one, folder, 0))
        everything = [*files, "broken.blend", "--object", "*", *size]
        for at_once in (1, 2):
            more = [f"batch-{at_once}", "--at-once", str(at_once), "--table", "table.json"]
            rows.append(_time(f"one command, --at-once {at_once}", OBJECTS, [*everything, *more], folder, 1))
            counts = json.loads((folder / "table.json").read_text(encoding="utf-8"))["counts"]
            if counts != {"done": OBJECTS, "failed": 1}:
                raise CommandError(f"The batch came to {counts}.", "See what it printed.")
        rows.append(_time("second run", OBJECTS, [*files, "--object", "*", *size, "batch-1"], folder, 0))
    print_table(
        f"{OBJECTS} objects",
        [
            ["way", "objects", "seconds", "processor seconds"],
            *([row[name] for name in ("way", "objects", "seconds", "processor_seconds")] for row in rows),
        ],
    )
    if options.json:
        settings = {"resolution": options.resolution, "files": FILES}
        write_json(options.json, {**circumstances(torch.device("cpu")), "settings": settings, "runs": rows})


def _time(way: str, objects: int, arguments: list[str], folder: Path, status: int) -> dict[str, Any]:
    """The seconds of one command. Raises CommandError where its exit status is another."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "backend", "bake", *arguments]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if result.returncode != status:
        raise CommandError(f"{' '.join(command)} ended with {result.returncode}: {result.stderr}", "See what it says.")
    return {
        "way": way,
        "objects": objects,
        "seconds": round(seconds, 2),
        "processor_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 2),
        "last_line": result.stdout.splitlines()[-1].replace(str(folder), ""),
    }
