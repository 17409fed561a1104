"""`serve` as a process of its own, with the keys of the tests, and what it takes of the machine."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from support.server_harness import CLIENT_KEYS, SERVER_KEYS

ROOT = Path(__file__).parents[2]
START_S = 60.0
_SERVE = """
import json, sys
from backend.protocol.keys import KeyPair
from backend.server.door import DoorLimits
from backend.server.gatekeeper import AuthorizedKeys
from backend.server.serving import serve
from backend.worker.plan import WorkerPlan
file, public, secret, door, *clients = sys.argv[1:]
authorized, plan = AuthorizedKeys(clients), WorkerPlan(find_device="builtins:dict")
door = DoorLimits(**json.loads(door))
serve(address_file=file, keys=KeyPair(public, secret), authorized=authorized, plan=plan, door=door)
"""


@dataclass(frozen=True)
class BackendProcess:
    """A backend that listens. The methods read what Linux says of it."""

    address: str
    pid: int

    def memory_mib(self, peak: bool = False) -> float:
        """The memory that it holds now, or the most that it has held."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB" if peak else r"VmRSS:\s+(\d+) kB", status)
        assert found
        return int(found[1]) / 1024

    def open_files(self) -> int:
        """How many files and connections it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))


@contextlib.contextmanager
def backend_process(folder: Path, *clients: str, **door: float) -> Iterator[BackendProcess]:
    """clients: the public keys that may connect; without any, that of the tests' client. door: what its `DoorLimits` has else."""
    file = folder / "address.json"
    keys = (SERVER_KEYS.public, SERVER_KEYS.secret, json.dumps(door), *(clients or (CLIENT_KEYS.public,)))
    environment = {**os.environ, "TMPDIR": str(folder)}  # it is killed, and cannot remove its folder
    process = subprocess.Popen([sys.executable, "-c", _SERVE, str(file), *keys], cwd=ROOT, env=environment)
    try:
        deadline = time.monotonic() + START_S
        while not file.exists():
            assert process.poll() is None, "the backend has ended"
            assert time.monotonic() < deadline, "the backend did not start"
            time.sleep(0.02)
        yield BackendProcess(json.loads(file.read_text())["address"], process.pid)
        assert process.poll() is None, "the backend has ended"
    finally:
        process.kill()
        process.wait()
