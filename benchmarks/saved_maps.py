"""`python -m benchmarks saved_maps`: seconds that Save Maps takes for the maps of one object, for several programs.

A monkey with a grainy procedural material is baked by the button in a second process with Blender, then saved as a script saves
it, a few times for each layout; the median counts. An image that has the wanted file's pixels already is copied; others are read
by Blender, which only its main thread can do, and encoded in threads. The files go to the folder for temporary ones.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

import build_addon
from backend.cli.errors import CommandError
from benchmarks.measure import check_output, circumstances, print_table, write_json

INSIDE = Path(__file__).with_name("saved_maps_inside.py")
LAYOUTS = ("gltf", "unreal", "unity-hdrp", "blender")
LONGEST_SECONDS = 1800.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--resolution", type=int, default=4096, help="width and height of the maps (default: 4096)")
    parser.add_argument("--repeat", type=int, default=5, help="of each layout; the median counts (default: 5)")
    parser.add_argument("--json", type=Path, help="write the record here")


def run(options: argparse.Namespace) -> None:
    """Bake, save in each layout, print a table, and write the record."""
    check_output(options.json)
    with tempfile.TemporaryDirectory(prefix="pbrfit-saved-maps-") as folder:
        archive = build_addon.build(Path(folder), "none")
        request = {
            "resolution": options.resolution,
            "repeat": options.repeat,
            "layouts": LAYOUTS,
            "zip": str(archive),
            "folder": folder,
        }
        rows = _saved(request)
    names = ("layout", "files", "megabytes", "seconds", "processor_seconds")
    print_table(
        f"Save Maps, {options.resolution} x {options.resolution}",
        [list(names), *([row[name] for name in names] for row in rows)],
    )
    if options.json:
        settings = {"resolution": options.resolution, "repeat": options.repeat}
        write_json(options.json, {**circumstances(torch.device("cpu")), "settings": settings, "layouts": rows})


def _saved(request: dict[str, Any]) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, str(INSIDE), json.dumps(request)],
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST_SECONDS,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("TIMES ")]
    if not lines:
        raise CommandError("Nothing was timed.", done.stderr[-2000:])
    rows: list[dict[str, Any]] = json.loads(lines[0].removeprefix("TIMES "))
    return rows
