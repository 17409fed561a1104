"""`python -m benchmarks looks`: the looks of tests/looks, given to `pbrfit optimize` as a user would, and judged by programs that
share no code with it.

Each result is rendered beside the original, in the look's own world and in two that PBRfit never saw, and so is what `pbrfit
bake` makes of it. PSNR is in sRGB over the object's pixels, the noise taken off; "equal" means that no difference can be
told from the noise. The core target is asked for, so that looks with a coat, sheen or transmission cannot be baked exactly.
Of looks that can, the base color is compared with its truth at thousands of points, and the seconds count from the click to
the material.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from backend.cli.errors import CommandError
from benchmarks.looks import LOOKS, ask, run_program, worlds_text
from benchmarks.measure import check_output, circumstances, print_table, write_json
from render.core.image_io import encode_image

_HEADING = ["look", "bake, dB", "fit, dB", "kept", "gain", "base color", "seconds"]
_KINDS = ("bake", "fit")
_PHASES = ("export", "bake", "start", "render", "fit", "compare", "check", "correct", "apply")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--only", nargs="+", default=[], metavar="LOOK", help="these looks (default: all)")
    parser.add_argument("--preset", default="standard", help="of the fit (default: standard)")
    parser.add_argument(
        "--render-device", default="auto", help="auto, or cpu for references on the CPU (default: auto)"
    )
    parser.add_argument("--size", type=int, default=128, help="width and height of the renders (default: 128)")
    parser.add_argument("--samples", type=int, default=256, help="samples of each render (default: 256)")
    parser.add_argument("--views", type=int, default=2, help="renders of each look in each world (default: 2)")
    parser.add_argument("--keep", type=Path, help="leave the files in this folder")
    parser.add_argument("--picture", type=Path, help="draw original, bake and result here")
    parser.add_argument("--json", type=Path, help="write the record here; looks that it has already are not done again")


def run(options: argparse.Namespace) -> None:
    """Fit and judge each look, print a table, and write the record."""
    for path in (options.json, options.picture):
        check_output(path)
    known = json.loads(run_program([sys.executable, LOOKS / "catalogue.py"]).splitlines()[-1])
    unknown = set(options.only) - known.keys()
    if unknown:
        raise CommandError(f"There is no look {', '.join(sorted(unknown))}.", f"It is one of {', '.join(known)}.")
    settings = {key: getattr(options, key) for key in ("preset", "render_device", "size", "samples", "views")}
    rows: dict[str, Any] = {}
    if options.json and options.json.is_file():
        rows = json.loads(options.json.read_text(encoding="utf-8"))["looks"]
    with tempfile.TemporaryDirectory(prefix="pbrfit-looks-") as temporary:
        for name in options.only or known:
            if name not in rows:
                folder = (options.keep or Path(temporary)).absolute() / name
                rows[name] = measure(name, known[name], folder, options)
                if options.json:
                    write_json(options.json, circumstances(torch.device("cpu")) | {"settings": settings, "looks": rows})
            print("  " + "  ".join(str(part) for part in cells(name, rows[name])), flush=True)
        if options.picture:
            draw((options.keep or Path(temporary)).absolute(), list(rows), options.picture)
    print_table("Looks", [_HEADING, *(cells(name, row) for name, row in rows.items())])
    print(summary(rows))


def measure(name: str, known: dict[str, Any], folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Bake and fit a look in `folder`, and judge both. known: what the catalogue says of it."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "look.blend"
    run_program([sys.executable, LOOKS / "catalogue.py", file, name])
    exact = "CORE" in known["equal"]
    row: dict[str, Any] = {"kinds": known["kinds"], "exact": exact, "bake": None}
    began = time.monotonic()
    command = [sys.executable, "-m", "backend", "optimize", file, "--object", name, "--out", folder / "fit"]
    command += ["--preset", options.preset, "--render-device", options.render_device]
    run_program([*command, "--no-report"], threads=None)
    report = json.loads((folder / "fit" / "report.json").read_text(encoding="utf-8"))
    seconds = report["seconds"]
    row["seconds"] = {
        "to_material": round(sum(seconds.get(phase, 0.0) for phase in _PHASES), 1),
        "phases": {phase: seconds[phase] for phase in _PHASES if phase in seconds},
        "command": round(time.monotonic() - began, 1),
    }
    row |= {"compared": report["compared"], "warnings": report["warnings"]}
    row["fit"] = _judged(name, folder, "fit", options)
    if exact:
        (blend,) = (folder / "fit").glob("*.blend")
        inputs = ask("judge.py", {"look": name, "object": name, "blend": str(blend)}, folder)
        row["base_color_db"] = min(item["db"] for item in inputs if item["name"] == "Base Color")
    elif "UNREADABLE" not in known["kinds"]:
        command = [sys.executable, "-m", "backend", "bake", file, "--object", name, "--out", folder / "bake"]
        run_program([*command, "--resolution", "1024"])
        row["bake"] = _judged(name, folder, "bake", options)
    return row


def _judged(name: str, folder: Path, kind: str, options: argparse.Namespace) -> dict[str, float | None]:
    """The PSNR of a result by world."""
    (blend,) = (folder / kind).glob("*.blend")
    settings = {key: getattr(options, key) for key in ("size", "samples", "views")}
    item = {"look": name, "object": name, "blend": str(blend)}
    found: dict[str, float | None] = ask("equality.py", item, folder, pictures=str(folder / f"{kind}.npz"), **settings)
    return found


def cells(name: str, row: dict[str, Any]) -> list[object]:
    """The row of a look in the table."""
    kept = "exact" if row["exact"] else "/".join(one["kept"].lower() for one in row["compared"]) or "fit"
    gain = "-" if row["bake"] is None else " / ".join(f"{value:+.1f}" for value in gains(row))
    color = f"{row['base_color_db']:.1f}" if "base_color_db" in row else "-"
    return [name, worlds_text(row["bake"]), worlds_text(row["fit"]), kept, gain, color, row["seconds"]["to_material"]]


def gains(row: dict[str, Any]) -> list[float]:
    """By how many dB a result is nearer to the original than the bake, by world; what is equal counts as 90 dB."""
    found = [{world: 90.0 if value is None else value for world, value in row[kind].items()} for kind in _KINDS]
    return [found[1][world] - found[0][world] for world in found[0]]


def summary(rows: dict[str, Any]) -> str:
    """The means over the looks that a bake cannot say exactly."""
    inexact = [row for row in rows.values() if row["bake"] is not None]
    if not inexact:
        return ""
    own = [next(iter(row["fit"].values())) or 90.0 for row in inexact]
    unseen = [value or 90.0 for row in inexact for value in list(row["fit"].values())[1:]]
    every = [value for row in inexact for value in gains(row)]
    return (
        f"{len(inexact)} looks that no bake says exactly: {np.mean(own):.1f} dB own, {np.mean(unseen):.1f} dB unseen in the "
        f"mean; gain over the bake {np.mean(every):+.1f} dB in the mean, {min(every):+.1f} at least"
    )


def draw(folder: Path, names: list[str], path: Path) -> None:
    """A sheet: a row for each look that was baked and fitted now, with original, bake and fit in each of the worlds."""
    lines = []
    for name in names:
        files = {kind: folder / name / f"{kind}.npz" for kind in _KINDS}
        if not all(file.is_file() for file in files.values()):
            continue
        bake, fit = (np.load(files[kind]) for kind in _KINDS)
        worlds = [key.removesuffix("/own") for key in fit.files if key.endswith("/own")]
        lines.append(
            np.concatenate([part for w in worlds for part in (fit[f"{w}/own"], bake[f"{w}/new"], fit[f"{w}/new"])], 1)
        )
    if lines:
        sheet = (np.concatenate(lines).clip(0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
        path.write_bytes(encode_image(".png", sheet))
