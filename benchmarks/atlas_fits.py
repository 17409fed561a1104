"""`python -m benchmarks atlas_fits`: fits of five slots and of three objects in an atlas, beside fits of each by itself.

All begin with gray, since what the nodes of these scenes say a bake has exactly. Each is rendered by Cycles from three sides
with its own materials and with the fitted ones: PSNR in sRGB without the noise. An atlas has as many texels as the maps that it
stands for, or more, since its edge is a power of two.
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

ROOT = Path(__file__).resolve().parents[1]
INSIDE = Path(__file__).with_name("atlas_fits_inside.py")
SCENES = {"five slots": 4, "three objects": 2}
"""The edge of the atlas, in edges of a map by itself."""
LONGEST_SECONDS = 900.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--only", choices=tuple(SCENES), help="only this scene")
    parser.add_argument("--resolution", type=int, default=128, help="of a map by itself (default: 128)")
    parser.add_argument("--views", type=int, default=40, help="(default: 40)")
    parser.add_argument("--view-size", type=int, default=128, help="(default: 128)")
    parser.add_argument("--samples", type=int, default=8, help="(default: 8)")
    parser.add_argument("--quality", default="draft", help="(default: draft)")
    parser.add_argument("--json", type=Path, help="write the record here")


def run(options: argparse.Namespace) -> None:
    """Fit all, print a table, and write the record."""
    check_output(options.json)
    settings = {name: getattr(options, name) for name in ("resolution", "views", "view_size", "samples", "quality")}
    rows = []
    with tempfile.TemporaryDirectory(prefix="pbrfit-atlas-fits-") as folder:
        archive = build_addon.build(Path(folder), "none", with_manual=False)
        for scene, factor in SCENES.items():
            if options.only in (None, scene):
                row: dict[str, Any] = {"scene": scene, "atlas_resolution": factor * options.resolution}
                for name, atlas in (("by_itself", False), ("atlas", True)):
                    asked = {**settings, "scene": scene, "factor": factor, "atlas": atlas, "zip": str(archive)}
                    row[name] = _fit(asked, Path(folder))
                rows.append(row)
    names = ("scene", "by itself dB", "materials", "atlas dB", "materials")
    lines = [
        [
            row["scene"],
            *(value for name in ("by_itself", "atlas") for value in (row[name]["db"], row[name]["materials"])),
        ]
        for row in rows
    ]
    print_table("Fits by themselves and in an atlas", [list(names), *lines])
    if options.json:
        write_json(options.json, {**circumstances(torch.device("cpu")), "settings": settings, "scenes": rows})


def _fit(request: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What one fit came to."""
    own = {
        "folder": tempfile.mkdtemp(dir=folder),
        "tests": str(ROOT / "tests"),
        "backend_python": sys.executable,
    }
    done = subprocess.run(
        [sys.executable, str(INSIDE), json.dumps(request | own)],
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST_SECONDS,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("FITTED ")]
    if not lines:
        raise CommandError(f"The scene {request['scene']!r} was not fitted.", (done.stdout + done.stderr)[-2000:])
    found: dict[str, Any] = json.loads(lines[0].removeprefix("FITTED "))
    return {"db": None if found["db"] is None else round(found["db"], 1)} | {
        name: round(found[name], 1) for name in ("seconds", "materials")
    }
