"""A real backend in a process of its own for many clients, with small jobs, and what it takes of the machine."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backend.job.model import FitInputs, FitProgress, FitResult
from backend.protocol.keys import KeyPair, new_keys
from backend.protocol.settings import FitSettings

_START_S = 60.0
_SERVE = """
import json, sys
from backend.job.checkpoints import CheckpointFolder
from backend.protocol.keys import KeyPair
from backend.server.gatekeeper import AuthorizedKeys
from backend.server.serving import serve
from backend.worker.plan import WorkerPlan
said = json.loads(sys.argv[1])
plan = WorkerPlan(run_job=said["run_job"], find_device="builtins:dict", python_path=[said["root"], *sys.path])
authorized = AuthorizedKeys(said["clients"])
checkpoints = CheckpointFolder(said["kept"]) if said["kept"] else None
keys = KeyPair(*said["keys"])
listen = "tcp://127.0.0.1:*"
serve(listen, said["file"], said["parent"], plan=plan, keys=keys, authorized=authorized, checkpoints=checkpoints)
"""


def echo(
    inputs: FitInputs,
    settings: FitSettings,
    report: Callable[[FitProgress], None],
    cancelled: Callable[[], bool],
) -> FitResult:
    """A small job: its result are its arrays and the means of its views."""
    means = []
    for view in inputs.views:
        means.append(float(view.image.mean()))
        report(FitProgress("echo", 0.5, len(means), None, None, ""))
    files = {"means.json": json.dumps(means).encode()}
    files |= {f"{number}.bin": inputs.arrays[name].tobytes() for number, name in enumerate(sorted(inputs.arrays)[:8])}
    return FitResult(files, {"views": len(means), "names": sorted(inputs.arrays)[:8]})


def busy(
    inputs: FitInputs,
    settings: FitSettings,
    report: Callable[[FitProgress], None],
    cancelled: Callable[[], bool],
) -> FitResult:
    """As `echo`, after half a second of work on a core."""
    until = time.monotonic() + 0.5
    matrix = np.ones((256, 256), np.float32)
    while time.monotonic() < until and not cancelled():
        matrix = np.tanh(matrix @ matrix.T)
        report(FitProgress("busy", 0.5, 1, None, None, ""))
    return echo(inputs, settings, report, cancelled)


@dataclass(frozen=True)
class SmallBackend:
    """A backend that listens. process: the server's; its child is the worker process."""

    address: str
    public_key: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def lives(self) -> bool:
        """Whether the server's process runs."""
        return self.process.poll() is None

    @property
    def worker(self) -> int:
        """The number of the worker process; 0 where there is none now."""
        found: list[int] = []
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{self.process.pid}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
        return found[0] if found else 0

    def memory_mib(self, pid: int = 0) -> float:
        """What the server holds, or another process; 0 where Linux says nothing of it."""
        try:
            status = Path(f"/proc/{pid or self.process.pid}/status").read_text()
        except OSError:
            return 0.0
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        return int(found[1]) / 1024 if found else 0.0

    def cpu_seconds(self) -> float:
        """The processor's time that the server has taken."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def small_backend(
    clients: Sequence[KeyPair], run_job: str = "benchmarks.small_backend:echo", keeps: bool = False
) -> Iterator[SmallBackend]:
    """Such a backend, which ends with the block. run_job: as in `WorkerPlan`. keeps: whether it has a folder for checkpoints,
    and so keeps arrays and views on disk.
    """
    keys = new_keys()
    with tempfile.TemporaryDirectory() as folder:
        file, log = Path(folder) / "address.json", Path(folder) / "log.txt"
        said = {
            "run_job": run_job,
            "root": str(Path(__file__).parents[1]),
            "clients": [client.public for client in clients],
            "file": str(file),
            "parent": os.getpid(),
            "keys": [keys.public, keys.secret],
            "kept": str(Path(folder) / "kept") if keeps else "",
        }
        environment = {**os.environ, "TMPDIR": folder, "CUDA_VISIBLE_DEVICES": ""}
        with log.open("wb") as output:
            command = [sys.executable, "-c", _SERVE, json.dumps(said)]
            process = subprocess.Popen(command, env=environment, cwd=said["root"], stderr=output)
        try:
            deadline = time.monotonic() + _START_S
            while not file.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"the backend did not start: {log.read_text()[-2000:]}")
                time.sleep(0.02)
            yield SmallBackend(json.loads(file.read_text())["address"], keys.public, process, log)
        finally:
            process.kill()
            process.wait()
