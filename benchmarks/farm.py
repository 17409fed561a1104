"""`python -m benchmarks farm`: small objects baked by `pbrfit farm` with Ray on this machine, while workers are killed.

First the same objects by one command with two Blenders side by side and by the farm with two workers, in turns; and what a
worker's time is besides its objects' own work, for each object. That work is timed where it is done, so that what else the
machine does counts little. Then the farm while ten of its workers are killed with -9, at random moments: each object has one
result, which was put in its place once. Last ten thousand objects that fail at once: what they cost the process that hands
them out.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import torch

from backend.cli.errors import CommandError
from benchmarks.measure import check_output, circumstances, print_table, write_json

MAKER = Path(__file__).parents[1] / "tests" / "support" / "batch_files.py"
POLL_SECONDS = 0.02
WORKERS = 2
CALM_SECONDS = (1.0, 4.0)
"""Between two kills, at random."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--objects", type=int, default=50, help="small objects, in files of ten (default: 50)")
    parser.add_argument("--turns", type=int, default=2, help="how often both ways are timed (default: 2)")
    parser.add_argument("--kills", type=int, default=10, help="workers to kill (default: 10)")
    parser.add_argument("--many", type=int, default=10_000, help="objects that fail at once (default: 10000)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    parser.add_argument("--json", type=Path, help="write the record here")


def run(options: argparse.Namespace) -> None:
    """Time, kill, print tables, and write the record. Raises CommandError where a result is lost or made twice."""
    check_output(options.json)
    files = [f"boards{number}" for number in range(options.objects // 10)]
    objects = 10 * len(files)
    with tempfile.TemporaryDirectory(prefix="pbrfit-farm-bench-") as name:
        folder = Path(name)
        make = [sys.executable, str(MAKER), name, *(f"{file}=10" for file in files)]
        subprocess.run(make, check=True, capture_output=True)
        turns: dict[str, list[dict[str, Any]]] = {"plain": [], "farm": []}
        for turn in range(options.turns):
            for way in turns:
                turns[way].append(_timed(way, folder, f"{way}{turn}", files, objects))
        overhead = {
            name: round(median(one[name] for one in turns["farm"]) - median(one[name] for one in turns["plain"]), 3)
            for name in ("seconds", "besides_a_task", "besides_a_task_working")
        }
        overhead["seconds"] = round(overhead["seconds"] / objects, 3)
        killed = _killed(folder, files, objects, options.kills, random.Random(options.seed))
        many = _many(folder, files[0], options.many)
    rows = [[way, *one.values()] for way, ones in turns.items() for one in ones]
    heads = [
        "way",
        "seconds",
        "first to last object",
        "a worker, besides each object's work",
        "the same, first to last",
    ]
    print_table(f"{objects} objects", [heads, *rows])
    print(f"\nA task takes {overhead['seconds']} s more than in the plain loop, with Ray's start and end; {overhead}")
    print(f"{killed['kills']} kills: {killed['results']} results, put in place {killed['published']} times, {killed}")
    print(f"{many['objects']} objects that fail at once: {many}")
    if options.json:
        versions = {"ray": version("ray")}
        settings = {"objects": objects, "workers": WORKERS, "resolution": 16, "seed": options.seed}
        record = {"settings": settings, "turns": turns, "overhead_a_task": overhead, "killed": killed, "many": many}
        write_json(options.json, {**circumstances(torch.device("cpu")), **versions, **record})


def _start(way: str, folder: Path, out: str, files: list[str]) -> subprocess.Popen[str]:
    words = [f'[defaults]\nout = "{out}"\nresolution = 16\nsupersampling = 1\n']
    for file in files:
        names = ", ".join(f'"Board {number}"' for number in range(1, 11))
        words.append(f'[[jobs]]\nblend = "{file}.blend"\nobject = [{names}]\n')
    (folder / f"{out}.toml").write_text("".join(words), encoding="utf-8")
    said = ["--table", f"{out}.json", "--log-json", f"{out}.jsonl"]
    start = {
        "plain": ["bake", "--jobs", f"{out}.toml", "--at-once", "2"],
        "farm": ["farm", f"{out}.toml", "--command", "bake", "--workers", "2"],
    }[way]
    return _process([*start, *said], folder)


def _process(arguments: list[str], folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "backend", *arguments]
    log = open(folder / "output.txt", "w", encoding="utf-8")  # noqa: SIM115  the process has it
    return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, text=True)


def _timed(way: str, folder: Path, out: str, files: list[str], objects: int) -> dict[str, Any]:
    began = time.perf_counter()
    process = _start(way, folder, out, files)
    _checked(process.wait(), folder, out, {"done": objects})
    seconds = time.perf_counter() - began
    events = _events(folder, out)
    first, last = (
        [_seconds(event) for event in events if event["event"] == kind][place]
        for kind, place in (("job_start", 0), ("job_end", -1))
    )
    work = sum(event["seconds"] for event in events if event["event"] == "job_end")
    return {
        "seconds": round(seconds, 2),
        "working_seconds": round(last - first, 2),
        "besides_a_task": round((WORKERS * seconds - work) / objects, 3),
        "besides_a_task_working": round((WORKERS * (last - first) - work) / objects, 3),
    }


def _checked(status: int, folder: Path, out: str, counts: dict[str, int]) -> None:
    """Raise CommandError where a run came to something else."""
    found = json.loads((folder / f"{out}.json").read_text(encoding="utf-8"))["counts"]
    if found != counts:
        said = (folder / "output.txt").read_text(encoding="utf-8")
        raise CommandError(f"It ended with {status} and {found}, not {counts}.", said[-3000:])


def _killed(folder: Path, files: list[str], objects: int, kills: int, chance: random.Random) -> dict[str, Any]:
    process = _start("farm", folder, "killed", files)
    published: dict[str, set[tuple[int, int]]] = defaultdict(set)
    ended = threading.Event()
    watch = threading.Thread(target=_watch, args=(folder / "killed", published, ended))
    watch.start()
    began, done = time.perf_counter(), []
    try:
        while len(done) < kills and process.poll() is None:
            time.sleep(chance.uniform(*CALM_SECONDS))
            workers = _workers(process.pid)
            if workers:
                os.kill(chance.choice(workers), signal.SIGKILL)
                done.append(round(time.perf_counter() - began, 2))
        status = process.wait()
    finally:
        ended.set()
        watch.join()
    _checked(status, folder, "killed", {"done": objects})
    if len(done) < kills or len(published) != objects or any(len(one) != 1 for one in published.values()):
        raise CommandError(
            f"{len(done)} kills, {len(published)} results: {published}.", "A result was lost, or made twice."
        )
    events = _events(folder, "killed")
    return {
        "kills": len(done),
        "at_seconds": done,
        "retries": sum(event["event"] == "retry" for event in events),
        "results": len(published),
        "published": sum(map(len, published.values())),
        "left_over": sum(1 for _ in (folder / "killed").rglob(".*unfinished*")),
        "seconds": round(time.perf_counter() - began, 2),
    }


def _watch(out: Path, published: dict[str, set[tuple[int, int]]], ended: threading.Event) -> None:
    """Note each report.json that appears in a result's folder."""
    last = False
    while not last:
        last = ended.wait(POLL_SECONDS)
        for path in out.glob("*/[!.]*/report.json"):
            with contextlib.suppress(OSError):
                status = path.stat()
                published[str(path.relative_to(out))].add((status.st_ino, status.st_mtime_ns))


def _workers(farm: int) -> list[int]:
    """Ray's workers of a farm that do an object now: their parents' parent is the farm."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            title = (process / "cmdline").read_bytes().decode().partition("\0")[0]
            if title.startswith("ray::pbrfit object") and farm in _ancestors(int(process.name)):
                found.append(int(process.name))
    return found


def _ancestors(process: int) -> list[int]:
    found = []
    while process > 1:
        process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
        found.append(process)
    return found


def _many(folder: Path, file: str, objects: int) -> dict[str, Any]:
    """Objects whose folder cannot be made: all but the work itself."""
    (folder / "file").write_text("no folder", encoding="utf-8")
    names = ", ".join(f'"Board {number}"' for number in range(objects))
    text = f'[[jobs]]\nblend = "{file}.blend"\nout = "file/x/{{object}}"\nresolution = 16\nobject = [{names}]\n'
    (folder / "many.toml").write_text(text, encoding="utf-8")
    planned = _process(["farm", "many.toml", "--command", "bake", "--dry-run"], folder)
    began = time.perf_counter()
    dry_kib = _peak_kib(planned)
    dry_seconds = time.perf_counter() - began
    began = time.perf_counter()
    arguments = ["farm", "many.toml", "--command", "bake", "--workers", "2", "--table", "many.json", "--log-json"]
    process = _process([*arguments, "many.jsonl"], folder)
    peak = _peak_kib(process)
    _checked(process.wait(), folder, "many", {"failed": objects})
    return {
        "objects": objects,
        "dry_run_seconds": round(dry_seconds, 2),
        "dry_run_peak_mib": round(dry_kib / 1024),
        "seconds": round(time.perf_counter() - began, 2),
        "peak_mib": round(peak / 1024),
    }


def _peak_kib(process: subprocess.Popen[str]) -> int:
    """The most memory that a process had, when it has ended; looked at every 20 ms."""
    peak = 0
    while process.poll() is None:
        with contextlib.suppress(OSError, StopIteration):
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            peak = int(next(line.split()[1] for line in lines if line.startswith("VmHWM:")))
        time.sleep(POLL_SECONDS)
    return peak


def _events(folder: Path, out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{out}.jsonl").read_text(encoding="utf-8").splitlines()]


def _seconds(event: dict[str, Any]) -> float:
    return datetime.datetime.fromisoformat(event["time"]).timestamp()
