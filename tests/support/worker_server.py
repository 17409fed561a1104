"""A server whose jobs and previews run in a worker process, as those of `pbrfit serve` do."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from support.server_harness import CLIENT_KEYS, SERVER_KEYS, raw_client, running_server

from backend.protocol.status import BackendStatus
from backend.server.server import Server
from backend.worker.plan import WorkerPlan
from backend.worker.process import WorkerProcess

START_S = 60.0
TESTS = str(Path(__file__).parents[1])


@contextlib.contextmanager
def worker_process(run_job: str = "average_views", **plan: object) -> Iterator[WorkerProcess]:
    """A worker process. run_job: of `support.worker_jobs`, or "module:name"."""
    name = run_job if ":" in run_job else f"support.worker_jobs:{run_job}"
    plan.setdefault("find_device", "builtins:dict")
    plan.setdefault("make_drawing", "support.worker_drawing:make_drawing")
    process = WorkerProcess(WorkerPlan(name, python_path=[TESTS, *sys.path], **plan))
    try:
        assert process.wait_ready(START_S)
        yield process
    finally:
        process.close(5.0)


@contextlib.contextmanager
def worker_server(
    run_job: str = "average_views", options: dict | None = None, devices: Sequence[str] = ("auto",), **plan: object
) -> Iterator[Server]:
    """A server with a worker process for each device of these names, which need not exist."""
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(worker_process(run_job, device=device, **plan)) for device in devices]
        yield stack.enter_context(running_server(processes, **(options or {})))


SERVE = """
import json, sys
from pathlib import Path
from backend.job.checkpoints import CheckpointFolder
from backend.protocol.keys import KeyPair
from backend.server.gatekeeper import AuthorizedKeys
from backend.server.logs import set_up_log
from backend.server.serving import serve
from backend.worker.plan import WorkerPlan
said = json.loads(sys.argv[1])
kept = said["checkpoints"]
if said["log"]:
    set_up_log(said["log"][0], Path(said["log"][1]) if said["log"][1] else None)
serve(
    address_file=said["address_file"], parent_pid=said["parent"], authorized=AuthorizedKeys([said["client"]]),
    keys=KeyPair(*said["keys"]), plan=WorkerPlan(**said["plan"]),
    checkpoints=CheckpointFolder(kept, interval_s=said["interval_s"]) if kept else None, **said["options"],
)
"""


class Served:
    """A server in a process of its own, with its worker process."""

    def __init__(
        self,
        folder: Path,
        checkpoints: Path | None = None,
        interval_s: float = 0.1,
        options: dict | None = None,
        log: tuple[str, str] | None = None,
        stderr: int | None = None,
        most_file_bytes: int | None = None,
        **plan: object,
    ) -> None:
        """Start it. folder: for its address file. options: further ones of `serve`. log: format and file of its log.

        most_file_bytes: a longer file cannot be written, as on a full disk. stderr: where to; None: a file of its own.
        """
        plan.setdefault("python_path", [TESTS, *sys.path])
        plan.setdefault("make_drawing", "support.worker_drawing:make_drawing")
        self.file = folder / f"address{time.monotonic_ns()}.json"
        said = {
            "address_file": str(self.file),
            "parent": os.getpid(),
            "client": CLIENT_KEYS.public,
            "keys": [SERVER_KEYS.public, SERVER_KEYS.secret],
            "plan": plan,
            "checkpoints": "" if checkpoints is None else str(checkpoints),
            "interval_s": interval_s,
            "options": options or {},
            "log": log,
        }
        limit = () if most_file_bytes is None else ("prlimit", f"--fsize={most_file_bytes}")
        self.log = folder / f"{self.file.stem}.log"
        command = [*limit, sys.executable, "-c", SERVE, json.dumps(said)]
        with self.log.open("wb") as file:
            self.process = subprocess.Popen(command, stderr=file if stderr is None else stderr)

    @property
    def address(self) -> str:
        """Where it listens. Waits until it does."""
        deadline = time.monotonic() + START_S
        while not self.file.exists():
            assert self.process.poll() is None, "the server has ended"
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return str(json.loads(self.file.read_text())["address"])

    @property
    def worker(self) -> int:
        """The number of its worker process."""
        (number,) = children_of(self.process.pid)
        return number

    def status(self) -> BackendStatus:
        """What it says of itself to its owner."""
        with raw_client(self.address, SERVER_KEYS) as owner:
            return BackendStatus.from_dict(owner.request("status").body)

    def kill(self) -> None:
        """End it without a warning."""
        self.process.kill()
        self.process.wait()


def children_of(pid: int) -> list[int]:
    """The processes that a process has started."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += map(int, (task / "children").read_text().split())
    return found


@contextlib.contextmanager
def served(folder: Path, checkpoints: Path | None = None, **plan: object) -> Iterator[Served]:
    """A server in a process of its own."""
    server = Served(folder, checkpoints, **plan)
    try:
        yield server
    finally:
        server.kill()
