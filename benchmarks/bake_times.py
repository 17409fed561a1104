"""`python -m benchmarks bake_times`: seconds from the click on Bake Maps to the new material, beside bakes by hand.

By hand is what Blender offers: for each channel its source linked to an Emission node (for the normal none), and one
bake with the same number of points in each texel and Blender's own margin; only the seconds of the bakes themselves count, not
the clicks between them, which are counted (ONCE, EACH). How exact both are: the base color beside one from 64 points in each
texel (of one image: the image itself), PSNR of what 8 bits store where faces are. The click is cold: the second Blender starts,
and no cache of an earlier bake is used. Each is timed several times in a Blender of its own; the median counts. Processor
seconds tell more where other work runs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import torch

import build_addon
from backend.cli.errors import CommandError
from benchmarks.measure import check_output, circumstances, print_table, write_json

INSIDE = Path(__file__).with_name("bake_times_inside.py")
LOOKS = ("one image", "procedural", "all lobes")
LONGEST_SECONDS = 600.0
ONCE = {
    "Render Engine: Cycles": 2,
    "samples": 1,
    "add an Image Texture": 2,
    "add an Emission": 2,
    "link it to the output": 1,
}
EACH = {
    "New image, its name, OK": 3,
    "link the source to the Emission (for the normal: the shader to the output, and Bake Type)": 1,
    "Bake": 1,
    "Image > Save As, Save": 3,
}
NEW_MATERIAL = {"New material": 1}
NEW_LINK = {"add an Image Texture": 2, "choose the image": 2, "link it": 1}
NON_COLOR = 2  # for all but colors
"""What a person clicks or drags: once, for each channel, and for the material that shows the maps. Names and sizes are typed."""
CLICKS_ON_BAKE_MAPS = 1  # on the selected object


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--resolution", type=int, default=1024, help="width and height of the maps (default: 1024)")
    parser.add_argument("--supersampling", type=int, choices=(1, 2, 4), default=2, help="(default: 2)")
    parser.add_argument("--repeat", type=int, default=3, help="how many times (default: 3)")
    parser.add_argument("--json", type=Path, help="write the record here")


def run(options: argparse.Namespace) -> None:
    """Time all looks, print a table, and write the record."""
    check_output(options.json)
    rows = []
    with tempfile.TemporaryDirectory(prefix="pbrfit-bake-times-") as folder:
        archive = build_addon.build(Path(folder), "none")
        for look in LOOKS:
            runs = [_time(look, options, archive, Path(folder)) for _ in range(options.repeat)]
            hand, click = median(run["hand"] for run in runs), median(run["click"] for run in runs)
            rows.append(
                {
                    "look": look,
                    "channels": runs[0]["channels"],
                    "hand_clicks": hand_clicks(runs[0]["channels"], runs[0]["colors"]),
                    "clicks": CLICKS_ON_BAKE_MAPS,
                    "hand_db": round(runs[0]["hand_db"], 1),
                    "click_db": round(runs[0]["click_db"], 1),
                    "hand_s": round(hand, 2),
                    "hand_processor_s": round(median(run["hand_work"] for run in runs), 2),
                    "click_s": round(click, 2),
                    "click_processor_s": round(median(run["click_work"] for run in runs), 2),
                    "phases_s": {
                        name: round(median(run["phases"][name] for run in runs), 2) for name in runs[0]["phases"]
                    },
                    "ratio": round(hand / click, 2),
                }
            )
    names = ("look", "channels", "hand_clicks", "hand_s", "hand_db", "clicks", "click_s", "click_db", "ratio")
    print_table("Bake Maps and bakes by hand", [list(names), *([row[name] for name in names] for row in rows)])
    if options.json:
        settings = {"resolution": options.resolution, "supersampling": options.supersampling, "repeat": options.repeat}
        write_json(options.json, {**circumstances(torch.device("cpu")), "settings": settings, "looks": rows})


def hand_clicks(channels: int, colors: int) -> int:
    """How many clicks and drags bakes by hand of so many channels take, with the material that shows them."""
    once, each = (sum(part.values()) for part in (ONCE | NEW_MATERIAL, EACH))
    return once + channels * (each + sum(NEW_LINK.values())) + (channels - colors) * NON_COLOR


def _time(look: str, options: argparse.Namespace, archive: Path, folder: Path) -> dict[str, Any]:
    """The seconds of one run."""
    request = {
        "look": look,
        "resolution": options.resolution,
        "supersampling": options.supersampling,
        "zip": str(archive),
        "folder": tempfile.mkdtemp(dir=folder),
    }
    done = subprocess.run(
        [sys.executable, str(INSIDE), json.dumps(request)],
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST_SECONDS,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("TIMES ")]
    if not lines:
        raise CommandError(f"The look {look!r} was not timed.", done.stderr[-2000:])
    times: dict[str, Any] = json.loads(lines[0].removeprefix("TIMES "))
    return times
