"""How long PBRfit keeps Blender's main thread, call by call, while a large job runs in a real window.

    python benchmarks/main_thread.py [--triangles 1000000] [--resolution 4096] [--output FILE.json]

Needs what the window tests need (a Blender with a window, named in PBRFIT_BLENDER_WINDOW or on the path, and Xvfb).
The views are few and small, since what the second Blender and the backend do is not what is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import build_addon

SCRIPT = Path(__file__).with_name("main_thread_inside.py")
SCREEN = (1100, 760)
LONGEST_SECONDS = 1800.0


def start_display() -> tuple[subprocess.Popen, str]:
    """A virtual display of its own, and its name."""
    read_end, write_end = os.pipe()
    command = ["Xvfb", "-displayfd", str(write_end), "-screen", "0", f"{SCREEN[0]}x{SCREEN[1]}x24", "+extension", "GLX"]
    server = subprocess.Popen([*command, "-noreset"], pass_fds=[write_end], stderr=subprocess.DEVNULL)
    os.close(write_end)
    with os.fdopen(read_end) as answer:
        return server, f":{answer.readline().strip()}"


def measure(command: str, folder: Path, job: dict, script: Path = SCRIPT) -> dict:
    """Run a job (triangles, resolution, views, fit_seconds) in a Blender with a window; returns what the script inside
    found.
    """
    archive = build_addon.build(folder / "extension", "bundled", [build_addon.this_platform()])
    answer, log = folder / "answer.json", folder / "blender.log"
    request = {
        "extension": str(archive),
        "python": os.environ.get("PBRFIT_BACKEND_PYTHON") or sys.executable,
        "state": str(answer),
        "file": str(folder / "scene.blend"),
        **job,
    }
    start = [command, "--factory-startup", "--window-geometry", "0", "0", str(SCREEN[0]), str(SCREEN[1])]
    server, display = start_display()
    try:
        with open(log, "wb") as log_file:
            blender = subprocess.Popen(
                [*start, "--python", str(script), "--", json.dumps(request)],
                env={
                    **os.environ,
                    "DISPLAY": display,
                    "BLENDER_USER_RESOURCES": str(folder / "user"),
                    "MESA_SHADER_CACHE_DIR": str(folder / "shaders"),
                },
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=subprocess.STDOUT,
            )
        try:
            deadline = time.monotonic() + LONGEST_SECONDS
            while not answer.exists():
                if blender.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"Blender gave no answer. Its log ends:\n{log.read_text()[-3000:]}")
                time.sleep(0.5)
        finally:
            blender.kill()
            blender.wait()
    finally:
        server.terminate()
        server.wait()
    if "Traceback" in log.read_text(errors="replace"):
        raise SystemExit(f"Something raised an error, so the times are not those of PBRfit:\n{log.read_text()[-3000:]}")
    return json.loads(answer.read_text())


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Time PBRfit's work on Blender's main thread.")
    parser.add_argument("--triangles", type=int, default=1_000_000)
    parser.add_argument("--resolution", type=int, default=4096)
    parser.add_argument("--views", type=int, default=6)
    parser.add_argument("--output", type=Path, help="a JSON file for the result (default: print it)")
    parser.add_argument(
        "--fit-seconds", type=float, default=1e9, help="press Apply Now after so many seconds of fitting"
    )
    chosen = parser.parse_args()
    command = os.environ.get("PBRFIT_BLENDER_WINDOW") or shutil.which("blender-window") or shutil.which("blender")
    if not command:
        parser.error("name a Blender with a window in PBRFIT_BLENDER_WINDOW")
    folder = Path(tempfile.mkdtemp(prefix="pbrfit_measure_"))
    try:
        job = {name: getattr(chosen, name) for name in ("triangles", "resolution", "views", "fit_seconds")}
        found = measure(command, folder, {**job, "materials": 1})
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    found["machine"] = {"system": platform.platform(), "processors": os.cpu_count()}
    text = json.dumps(found, indent=1) + "\n"
    if chosen.output:
        chosen.output.write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
