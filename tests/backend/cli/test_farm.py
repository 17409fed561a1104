"""`pbrfit farm` with Ray on this machine: results, a killed worker, what it refuses."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import importlib.util
import json
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.command_line import processes_that_mention, run_python

from backend.cli.batch_commands import COMMANDS
from backend.cli.batch_plan import plan
from backend.cli.command_options import CommandOptions
from backend.cli.farm_task import FarmTask, do_object, report_stamp
from backend.cli.jobs_file import read_jobs

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


def farm(folder: Path, *more: str, jobs: str = "jobs.toml") -> subprocess.Popen[str]:
    """Start it in a folder, with temporary files of its own."""
    (folder / "temporary").mkdir(exist_ok=True)
    command = [sys.executable, "-m", "backend", "farm", jobs, "--command", "bake", *more]
    return subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "TMPDIR": str(folder / "temporary")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def log_text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def events_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in log_text(folder / "log.jsonl").splitlines() if line.endswith("}")]


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


@pytest.fixture(scope="module")
def killed(made) -> dict:
    """The farm's run, in which a worker was killed while it did an object: its output, table and events."""
    process = farm(made, "--workers", "2", "--log-json", "log.jsonl", "--table", "table.json")
    count = 0
    while process.poll() is None and not count:
        time.sleep(0.1)
        if any(event["event"] == "progress" for event in events_of(made)):
            count = kill_a_worker(made)
    output = "".join(process.communicate(timeout=200))
    assert count, output
    assert process.returncode == 1, output  # the broken file
    table = json.loads((made / "table.json").read_text(encoding="utf-8"))
    return {"output": output, "table": table, "events": events_of(made)}


def test_a_killed_worker_costs_no_object_and_makes_none_twice(made, killed):
    assert killed["table"]["counts"] == {"failed": 1, "done": len(OBJECTS)}
    assert sorted(path.name for path in (made / "baked" / "boards").iterdir()) == OBJECTS
    events = killed["events"]
    (retry,) = [event for event in events if event["event"] == "retry"]
    assert retry["attempt"] == 2
    assert "died" in retry["cause"]
    ended = sorted(event["object"] for event in events if event["event"] == "job_end" and event["status"] == "done")
    assert ended == OBJECTS
    for name in OBJECTS:
        report = json.loads((made / "baked" / "boards" / name / "report.json").read_text(encoding="utf-8"))
        assert report["object"] == name
        assert all((made / "baked" / "boards" / name / file).is_file() for file in report["files"])


def test_the_log_is_as_described(killed):
    text = (Path(__file__).parents[3] / "docs" / "batch.md").read_text(encoding="utf-8")
    assert all(f"`{event}`" in text for event in {event["event"] for event in killed["events"]})
    begun = [event for event in killed["events"] if event["event"] == "job_start"]
    assert {event["host"] for event in begun} == {platform.node()}
    assert [event["attempt"] for event in begun if "attempt" in event] == [2]
    rows = {(event["file"], event["object"]) for event in killed["events"] if event["event"] == "job_end"}
    assert {(event["file"], event["object"]) for event in begun} <= rows


def test_nothing_is_left_over(made, killed):
    deadline = time.monotonic() + 30.0
    while processes_that_mention(made) and time.monotonic() < deadline:  # a killed worker's Blender ends itself
        time.sleep(0.2)
    assert processes_that_mention(made) == []
    assert not list((made / "temporary").glob("pbrfit-farm-*"))


def test_a_second_run_starts_no_ray(made, killed):
    (made / "boards.toml").write_text(
        (made / "jobs.toml").read_text().replace("broken", "boards").replace('"*"', '"Board 2"')
    )
    process = farm(made, jobs="boards.toml")
    output, errors = process.communicate(timeout=100)
    assert process.returncode == 0, output + errors
    assert "all 2 are up to date" in output


def test_an_attempt_finds_what_the_one_before_it_made(made, killed):
    """Its worker died after the result was in its place, and before it could say so."""
    command = COMMANDS["bake"]
    (selection,) = read_jobs(made / "boards.toml", CommandOptions(command.add_arguments), {}, None)[1:]
    (planned,) = plan(selection, command, force=False)
    version = importlib.metadata.version("pbrfit")
    names = {"file": "f", "object": "Board 2", "out": "o"}
    task = FarmTask("bake", planned.request, selection.options, None, version, "new", names, attempt=2)
    before = report_stamp(planned.request.out)
    told = []
    result = do_object(task, lambda event, values: told.append((event, values["attempt"])))
    assert (result.status, result.quality, result.maps) == ("done", "exact", 1)
    assert told == [("job_start", 2)]
    assert report_stamp(planned.request.out) == before is not None
    other = do_object(dataclasses.replace(task, pbrfit="0.0"), lambda event, values: None)
    assert (other.status, other.again) == ("failed", False)
    assert "0.0" in other.cause


def test_it_can_be_stopped_and_leaves_whole_results(made, killed):
    (made / "again.jsonl").unlink(missing_ok=True)
    process = farm(made, "--force", "--workers", "2", "--log-json", "again.jsonl")
    while process.poll() is None and "job_start" not in log_text(made / "again.jsonl"):
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=100)
    assert process.returncode == 130, output + errors
    assert "interrupted" in output.splitlines()[-1]
    for name in OBJECTS:
        folder = made / "baked" / "boards" / name
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        assert all((folder / file).is_file() for file in report["files"])
    assert not list(made.rglob(".*unfinished*"))


def test_it_says_what_no_machine_has(made):
    process = farm(made, "--gpus", "512", "--force")
    output, errors = process.communicate(timeout=100)
    assert process.returncode == 2, output + errors
    assert "512 GPU" in errors
    assert "--gpus" in errors
