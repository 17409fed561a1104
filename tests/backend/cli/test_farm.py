"""`pbrfit farm` with Ray on this machine: results, a killed worker, what it refuses."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.command_line import processes_that_mention, run_python

MAKER = Path(__file__).parents[2] / "support" / "batch_files.py"
OBJECTS = [f"Board {number}" for number in range(1, 6)]

pytestmark = [
    pytest.mark.usefixtures("blend_files"),
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install '.[farm]'"),
    pytest.mark.skipif(sys.platform != "linux", reason="it signals processes, and looks for them in /proc"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with a file of five boards, a broken file, and a file of jobs for both."""
    folder = tmp_path_factory.mktemp("farm")
    run_python(MAKER, folder, f"boards={len(OBJECTS)}")
    (folder / "broken.blend").write_bytes((folder / "boards.blend").read_bytes()[:20000])
    head = '[defaults]\nout = "baked"\nresolution = 16\nsupersampling = 1\n'
    jobs = '[[jobs]]\nblend = "broken.blend"\nobject = "Board 1"\n[[jobs]]\nblend = "boards.blend"\nobject = "*"\n'
    (folder / "jobs.toml").write_text(head + jobs, encoding="utf-8")
    return folder


def farm(folder: Path, *more: str) -> subprocess.Popen[str]:
    """Start it in a folder, with temporary files of its own."""
    (folder / "temporary").mkdir(exist_ok=True)
    command = [sys.executable, "-m", "backend", "farm", "jobs.toml", "--command", "bake", *more]
    return subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "TMPDIR": str(folder / "temporary")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def events_of(folder: Path) -> list[dict]:
    with contextlib.suppress(OSError):
        return [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    return []


def kill_a_worker(folder: Path) -> int:
    """Kill a worker of this farm with -9; returns how many there were. Those that do an object have its title."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            title = (process / "cmdline").read_bytes().decode().partition("\0")[0]
            environment = (process / "environ").read_bytes().decode()
            if title.startswith("ray::pbrfit object") and str(folder) in environment:
                found.append(int(process.name))
    if found:
        os.kill(found[0], signal.SIGKILL)
    return len(found)


def test_a_killed_worker_costs_no_object_and_makes_none_twice(made):
    process = farm(made, "--workers", "2", "--log-json", "log.jsonl", "--table", "table.json")
    killed = 0
    while process.poll() is None and not killed:
        time.sleep(0.1)
        if any(event["event"] == "progress" for event in events_of(made)):
            killed = kill_a_worker(made)
    output = "".join(process.communicate(timeout=200))
    assert killed, output
    assert process.returncode == 1, output  # the broken file
    table = json.loads((made / "table.json").read_text(encoding="utf-8"))
    assert table["counts"] == {"failed": 1, "done": len(OBJECTS)}
    assert sorted(path.name for path in (made / "baked" / "boards").iterdir()) == OBJECTS
    events = events_of(made)
    assert [event["event"] for event in events].count("retry") == 1
    ended = sorted(event["object"] for event in events if event["event"] == "job_end" and event["status"] == "done")
    assert ended == OBJECTS
    for name in OBJECTS:
        report = json.loads((made / "baked" / "boards" / name / "report.json").read_text(encoding="utf-8"))
        assert report["object"] == name
        assert all((made / "baked" / "boards" / name / file).is_file() for file in report["files"])
    deadline = time.monotonic() + 30.0
    while processes_that_mention(made) and time.monotonic() < deadline:  # a killed worker's Blender ends itself
        time.sleep(0.2)
    assert processes_that_mention(made) == []
    assert not list((made / "temporary").glob("pbrfit-farm-*"))

    began = time.monotonic()
    again = farm(made, "--dry-run")
    output = again.communicate(timeout=100)[0]
    assert f"1 new, {len(OBJECTS)} up to date" in output, output
    assert time.monotonic() - began < 10.0  # it does not start Ray


def test_it_says_what_no_machine_has(made):
    process = farm(made, "--gpus", "512", "--force")
    output, errors = process.communicate(timeout=100)
    assert process.returncode == 2, output + errors
    assert "512 GPU" in errors
    assert "--gpus" in errors
