"""`python -m benchmarks bakes`: the looks of tests/looks, baked by `pbrfit bake`, and judged by programs that share no code
with it.

Each input of a new material is compared with Cycles' own value at thousands of points: the lowest PSNR counts, and of normals
and reflections' directions the largest mean angle, away from jumps of the truth and from borders of UV islands. Looks that a
target can say exactly are rendered with both materials in their own world and two others; "equal" means that no difference
can be told from the noise, which is taken off. What noise the seeds share stays: it falls with the samples.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from backend.cli.errors import CommandError
from benchmarks.measure import check_output, circumstances, print_table, write_json

LOOKS = Path(__file__).resolve().parents[1] / "tests" / "looks"
_TARGETS = ("PRINCIPLED", "CORE")
_HEADING = ["look", "verdict", "input", "dB", "over all", "angle", "degrees", "principled", "core", "seconds"]
_LONGEST_SECONDS = 1800.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--only", nargs="+", default=[], metavar="LOOK", help="these looks (default: all)")
    parser.add_argument("--resolution", type=int, default=1024, help="width and height of the maps (default: 1024)")
    parser.add_argument("--size", type=int, default=128, help="width and height of the renders (default: 128)")
    parser.add_argument("--samples", type=int, default=256, help="samples of each render (default: 256)")
    parser.add_argument("--views", type=int, default=1, help="renders of each look in each world (default: 1)")
    parser.add_argument("--python", default=sys.executable, help="the Python whose PBRfit bakes (default: this one)")
    parser.add_argument("--keep", type=Path, help="leave the files in this folder")
    parser.add_argument("--json", type=Path, help="write the record here")


def run(options: argparse.Namespace) -> None:
    """Bake and judge each look, print a table, and write the record."""
    check_output(options.json)
    known = json.loads(run_program([sys.executable, LOOKS / "catalogue.py"]).splitlines()[-1])
    unknown = set(options.only) - known.keys()
    if unknown:
        raise CommandError(f"There is no look {', '.join(sorted(unknown))}.", f"It is one of {', '.join(known)}.")
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="pbrfit-looks-") as temporary:
        for name in options.only or known:
            if "UNREADABLE" not in known[name]["kinds"]:
                folder = (options.keep or Path(temporary)).absolute() / name
                rows[name] = {"kinds": known[name]["kinds"]} | measure(name, known[name]["equal"], folder, options)
                print("  " + "  ".join(str(part) for part in cells(name, rows[name])), flush=True)
    print_table("Looks", [_HEADING, *(cells(name, row) for name, row in rows.items())])
    if options.json:
        settings = {key: getattr(options, key) for key in ("resolution", "size", "samples", "views")}
        write_json(options.json, circumstances(torch.device("cpu")) | {"settings": settings, "looks": rows})


def measure(name: str, equal: list[str], folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Bake a look for both targets in `folder`, and judge it. equal: the targets for which it must render the same."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "look.blend"
    run_program([sys.executable, LOOKS / "catalogue.py", file, name])
    row: dict[str, Any] = {"renders": {}}
    for target in _TARGETS:
        if target != "PRINCIPLED" and target not in equal:
            continue
        out = folder / target.lower()
        command = [options.python, "-m", "backend", "bake", file, "--object", name, "--out", out]
        began = time.monotonic()
        run_program([*command, "--target", target.lower(), "--resolution", str(options.resolution)])
        seconds = time.monotonic() - began
        (baked,) = out.glob("*.blend")
        item = {"look": name, "object": name, "blend": str(baked)}
        if target == "PRINCIPLED":
            report = json.loads((out / "report.json").read_text(encoding="utf-8"))
            row |= {"seconds": round(seconds, 1), "verdicts": [one["text"] for one in report["materials"]]}
            row["inputs"] = ask("judge.py", item, folder)
        if target in equal:
            settings = {key: getattr(options, key) for key in ("size", "samples", "views")}
            row["renders"][target] = ask("equality.py", item, folder, **settings)
    return row


def cells(name: str, row: dict[str, Any]) -> list[object]:
    """The row of a look in the table."""
    inputs = row["inputs"]
    worst = min((item for item in inputs if item["db"] is not None), key=lambda item: item["db"], default=None)
    angle = max(
        (item for item in inputs if item["degrees"] is not None), key=lambda item: item["degrees"], default=None
    )
    found: list[object] = [name, "/".join(dict.fromkeys(row["kinds"]))]
    found += ["-", "-", "-"] if worst is None else [worst["name"], round(worst["db"], 1), round(worst["db_all"], 1)]
    found += ["-", "-"] if angle is None else [angle["name"], round(angle["degrees"], 2)]
    found += [worlds_text(row["renders"].get(target)) for target in _TARGETS]
    return [*found, row["seconds"]]


def worlds_text(decibels: dict[str, float | None] | None) -> str:
    if decibels is None:
        return "-"
    return " / ".join("equal" if value is None else f"{value:.1f}" for value in decibels.values())


def ask(script: str, item: dict[str, str], folder: Path, **settings: int | str) -> Any:
    """What judge.py or equality.py says of a look."""
    request, output = folder / "request.json", folder / "found.json"
    request.write_text(json.dumps({"looks": [item], "output": str(output), **settings}), encoding="utf-8")
    run_program([sys.executable, LOOKS / script, request])
    return json.loads(output.read_text(encoding="utf-8"))[item["look"]]


def run_program(command: list[Any], threads: int | None = 1) -> str:
    """The output of a program. threads: of PyTorch and NumPy; None: as many as they take. Raises CommandError if it fails."""
    words = [str(part) for part in command]
    environment = os.environ | ({} if threads is None else {"OMP_NUM_THREADS": str(threads)})
    result = subprocess.run(
        words, capture_output=True, text=True, check=False, timeout=_LONGEST_SECONDS, env=environment
    )
    if result.returncode:
        raise CommandError(
            f"{Path(words[1]).name} failed: {result.stderr[-800:]}", "Run it by hand: " + " ".join(words)
        )
    return result.stdout
