"""The longest time that Blender's window does not react, in each phase of a fit and of the preview, and what takes it.

    python benchmarks/stalls.py [--triangles 1000000] [--resolution 4096] [--preview] [--output FILE.json]

A timer in Blender that wants to be called every 5 ms notes how long it had to wait, and for how long of that the main thread
had a processor: its work, which depends less on what else runs on the machine. For the wait with the most work in each phase,
PBRfit's own calls are named; the rest is Blender's: its redraws, the decoding of images, OpenGL. With `--preview`, PBRfit
Preview is shown before the fit begins, else after it. Needs what the window tests need, as main_thread.py does.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.main_thread import measure

SCRIPT = Path(__file__).with_name("stalls_inside.py")


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Time how long Blender's window does not react.")
    parser.add_argument("--triangles", type=int, default=1_000_000)
    parser.add_argument("--resolution", type=int, default=4096)
    parser.add_argument("--materials", type=int, default=2, help="slots of the object, each with its own set of maps")
    parser.add_argument("--views", type=int, default=6)
    parser.add_argument("--fit-seconds", type=float, default=15.0, help="press Apply Now after so long")
    parser.add_argument(
        "--no-fit", dest="fit", action="store_false", help="assign maps from nowhere: quicker, so larger"
    )
    parser.add_argument("--preview", action="store_true", help="show the preview before the fit, not after it")
    parser.add_argument("--output", type=Path, help="a JSON file for the result (default: print it)")
    chosen = parser.parse_args()
    command = os.environ.get("PBRFIT_BLENDER_WINDOW") or shutil.which("blender-window") or shutil.which("blender")
    if not command:
        parser.error("name a Blender with a window in PBRFIT_BLENDER_WINDOW")
    folder = Path(tempfile.mkdtemp(prefix="pbrfit_stalls_"))
    names = ("triangles", "resolution", "materials", "views", "fit_seconds", "preview", "fit")
    try:
        found = measure(command, folder, {name: getattr(chosen, name) for name in names}, SCRIPT)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    found["machine"] = {
        "system": platform.platform(),
        "processors": os.cpu_count(),
        "load": [round(value, 1) for value in os.getloadavg()],
    }
    text = json.dumps(found, indent=1) + "\n"
    if chosen.output:
        chosen.output.write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
