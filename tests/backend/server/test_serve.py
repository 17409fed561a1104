"""`serve` as its own process, as Blender starts it."""

from __future__ import annotations

import json
import os
import resource
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.server_harness import ATTENTIVE, CLIENT_KEYS, FIT_PATIENCE_S, PATIENCE_S, connected_client, wait_for

from backend.protocol.client.events import Connected, Disconnected, Failed
from backend.protocol.keys import kept_keys
from backend.protocol.settings import FitSettings
from backend.server.address_file import ServerError, address_file
from backend.server.gatekeeper import AuthorizedKeys
from backend.server.parent_watch import parent_watch
from backend.server.serving import serve
from backend.worker.plan import WorkerPlan

ROOT = Path(__file__).parents[3]
SERVE = f"""
import sys
from backend.server.gatekeeper import AuthorizedKeys
from backend.server.serving import serve
from backend.worker.plan import WorkerPlan
authorized, plan = AuthorizedKeys(["{CLIENT_KEYS.public}"]), WorkerPlan(find_device="builtins:dict")
serve(address_file=sys.argv[1], parent_pid=int(sys.argv[2]), authorized=authorized, plan=plan)
"""
BUSY = SERVE.replace("WorkerPlan(", 'WorkerPlan("support.worker_jobs:never_end", ').replace(
    "import sys\n", f"import sys\nsys.path.append({str(ROOT / 'tests')!r})\n"
)


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
    return value


def read_address(path):
    wait_until(path.exists)
    return json.loads(path.read_text())


@pytest.fixture
def processes():
    started = []

    def start(code, *arguments, **options):
        command = [sys.executable, "-c", code, *map(str, arguments)]
        started.append(subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, **options))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stderr.close()


def test_the_address_file_is_whole_and_private_and_leads_to_the_server(processes, tmp_path):
    path = tmp_path / "address.json"
    process = processes(SERVE, path, os.getpid())
    written = read_address(path)
    assert written["pid"] == process.pid
    assert written["version"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with connected_client(written["address"], server_key=written["public_key"]) as client:
        assert wait_for(client, Connected)[-1].info["pid"] == process.pid
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_S) == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", [SERVE, BUSY], ids=["idle", "busy"])
def test_the_server_ends_when_the_process_it_serves_is_gone(processes, tmp_path, code):
    path = tmp_path / "address.json"
    parent = processes("import time; time.sleep(60)")
    process = processes(code, path, parent.pid)
    written = read_address(path)
    with connected_client(written["address"], server_key=written["public_key"]) as client:
        client.submit(FitSettings(), {})
        wait_for(client, Connected)
        time.sleep(0.1)
        assert process.poll() is None
        parent.kill()
        parent.wait()
        assert process.wait(PATIENCE_S) == 0
    assert list(tmp_path.iterdir()) == []


def test_the_server_ends_with_the_process_that_started_it(processes, tmp_path):
    path = tmp_path / "address.json"
    start_and_wait = f"""
import os, subprocess, sys, time
subprocess.Popen([sys.executable, "-c", {SERVE!r}, {str(path)!r}, str(os.getpid())])
time.sleep(60)
"""
    parent = processes(start_and_wait)
    pid = read_address(path)["pid"]
    alive = parent_watch(pid)
    assert alive()
    parent.kill()  # not waited for: it stays a zombie, and the server must notice all the same
    wait_until(lambda: not path.exists())


def test_a_killed_server_is_reported_by_the_client(processes, tmp_path):
    path = tmp_path / "address.json"
    process = processes(SERVE, path, os.getpid())
    written = read_address(path)
    with connected_client(written["address"], ATTENTIVE, written["public_key"]) as client:
        wait_for(client, Connected)
        process.kill()
        assert isinstance(wait_for(client, Disconnected, Failed)[-1], Disconnected)


def test_an_address_file_that_cannot_be_written_is_an_error_with_cure(tmp_path):
    file, plan = tmp_path / "absent" / "address.json", WorkerPlan(find_device="builtins:dict")
    with pytest.raises(ServerError, match="folder that exists"):
        serve(address_file=file, authorized=AuthorizedKeys(), plan=plan)


def test_a_second_server_does_not_take_the_address_file_of_one_that_runs(processes, tmp_path):
    """Figure before: the second wrote over it, and the first removed the second's at its end."""
    path = tmp_path / "address.json"
    first = processes(SERVE, path, os.getpid())
    written = read_address(path)
    second = processes(SERVE, path, os.getpid())
    assert second.wait(FIT_PATIENCE_S) != 0
    assert f"process {first.pid}, listens at" in second.stderr.read().decode()
    assert read_address(path) == written
    first.kill()
    first.wait()
    third = processes(SERVE, path, os.getpid())  # what a killed one has left behind is replaced
    wait_until(lambda: read_address(path)["pid"] == third.pid)
    assert [found.name for found in tmp_path.iterdir()] == ["address.json"]


def test_an_address_file_of_another_is_not_removed_at_the_end(tmp_path):
    path = tmp_path / "address.json"
    with address_file(path, {"address": "tcp://127.0.0.1:1", "pid": 1}):
        path.unlink()
        with address_file(path, {"address": "tcp://127.0.0.1:1", "pid": 2}):
            pass
        path.write_text("{}")
    assert path.read_text() == "{}"


def test_the_command_serves_and_knows_its_device(processes, tmp_path):
    path = tmp_path / "address.json"
    code = "import sys; from backend.cli.main import main; sys.exit(main(sys.argv[1:]))"
    arguments = ["serve", "--address-file", path, "--checkpoints", tmp_path / "kept"]
    processes(code, *arguments, f"--client-key={CLIENT_KEYS.public}")
    deadline = time.monotonic() + FIT_PATIENCE_S
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    written = json.loads(path.read_text())
    with connected_client(written["address"], server_key=written["public_key"]) as client:
        info = wait_for(client, Connected)[-1].info
    assert info["device"] in ("cpu", "cuda")
    assert info["device_name"]
    assert (tmp_path / "kept").is_dir()


def test_authorized_keys_come_from_a_file_and_the_address_is_printed(processes, tmp_path):
    keys = tmp_path / "authorized_keys"
    keys.write_text(f"{CLIENT_KEYS.public} the test\n")
    code = "import sys; from backend.cli.main import main; sys.exit(main(sys.argv[1:]))"
    arguments = ["serve", "--authorized-keys", keys, "--key-file", tmp_path / "backend.json"]
    process = processes(code, *arguments, stdout=subprocess.PIPE, text=True)
    address, public_key = (process.stdout.readline().split()[-1] for _ in range(2))
    process.stdout.close()
    assert public_key == kept_keys(tmp_path / "backend.json").public
    with connected_client(address, server_key=public_key) as client:
        assert wait_for(client, Connected)


def test_importing_the_server_is_cheap():
    code = "import sys, backend.server.server, backend.protocol.client.client; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("option", ["--address-file", "--key-file"])
def test_a_full_disk_is_an_error_with_cause_and_cure(tmp_path, option):
    """A limit of the size of files stands for it."""
    code = "import sys; from backend.cli.main import main; sys.exit(main(sys.argv[1:]))"
    arguments = ["serve", option, tmp_path / "file.json", f"--client-key={CLIENT_KEYS.public}"]
    ended = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=FIT_PATIENCE_S,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
    )
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    assert "file.json" in ended.stderr
    assert list(tmp_path.iterdir()) == []
