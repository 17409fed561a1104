"""`pbrfit status`: who may ask a real server process for what, and what it says."""

from __future__ import annotations

import json
import os
import time

import numpy as np
import pytest
from support.server_harness import (
    CLIENT_KEYS,
    SERVER_KEYS,
    connected_client,
    progress_until,
    raw_client,
    running_server,
    submit,
    wait_for,
)
from support.worker_server import served

from backend.cli.main import main
from backend.protocol.client.events import Accepted
from backend.protocol.keys import KeyPair, new_keys
from backend.protocol.settings import FitSettings
from backend.protocol.status import BackendStatus
from backend.server.gatekeeper import AuthorizedKeys

ARRAY = np.arange(1 << 18, dtype=np.float32)


@pytest.fixture(scope="module")
def backend(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    with served(folder, run_job="support.worker_jobs:count_up", find_device="builtins:dict") as server:
        yield server


@pytest.fixture
def counting(backend):
    with connected_client(backend.address) as client:
        client.submit(FitSettings(), {"array": ARRAY})
        wait_for(client, Accepted)
        progress_until(client, lambda event: event.iteration > 2)
        yield client


def key_file(folder, keys: KeyPair):
    path = folder / "keys.json"
    path.write_text(json.dumps({"public_key": keys.public, "secret_key": keys.secret}))
    path.chmod(0o600)
    return str(path)


def asked(capsys, *arguments: str) -> BackendStatus:
    assert main(["status", *arguments, "--json"]) == 0
    return BackendStatus.from_dict(json.loads(capsys.readouterr().out))


def test_the_owner_sees_jobs_clients_and_memory(backend, counting, capsys):
    status = asked(capsys, "--address-file", str(backend.file))
    assert status.whole
    assert status.pid == backend.process.pid
    (job,) = (job for job in status.jobs if job.state == "running")
    assert job.client == CLIENT_KEYS.public
    assert job.phase == "fitting"
    assert job.iteration > 0
    assert job.nbytes >= ARRAY.nbytes
    (client,) = status.clients
    assert (client.key, client.sessions >= 1, client.store_bytes) == (CLIENT_KEYS.public, True, ARRAY.nbytes)
    assert 10 << 20 < status.memory_bytes < 1 << 30
    (worker,) = status.workers
    assert (worker.pid, worker.job) == (backend.worker, job.id)
    assert worker.memory_bytes > 10 << 20
    assert status.uptime_s > 0


def test_the_table_names_what_runs(backend, counting, capsys):
    began = time.monotonic()
    assert main(["status", "--address-file", str(backend.file)]) == 0
    assert time.monotonic() - began < 2.0
    text = capsys.readouterr().out
    assert f"process {backend.process.pid}" in text
    assert CLIENT_KEYS.public in text
    assert "running" in text
    assert "1.0 MiB" in text


def test_the_backends_own_keys_show_all_too(backend, counting, capsys, tmp_path):
    address = backend.address.removeprefix("tcp://")
    status = asked(capsys, "--address", address, "--key-file", key_file(tmp_path, SERVER_KEYS))
    assert status.whole


def test_a_client_sees_its_own_alone(capsys, tmp_path):
    mine, other = new_keys(), new_keys()
    with (
        running_server(authorized=AuthorizedKeys([mine.public, other.public])) as server,
        raw_client(server.address, mine) as first,
        raw_client(server.address, other) as second,
    ):
        job = submit(first, {"array": ARRAY[:64]}).job
        submit(second, {"array": ARRAY[:32]})
        address = server.address.removeprefix("tcp://")
        arguments = [f"--public-key={SERVER_KEYS.public}", "--key-file", key_file(tmp_path, mine)]
        status = asked(capsys, "--address", address, *arguments)
        assert not status.whole
        assert [known.id for known in status.jobs] == [job]
        assert [client.key for client in status.clients] == [mine.public]
        assert status.memory_bytes is None
        assert status.store_bytes == 0
        assert other.public not in json.dumps(status.to_dict())


def test_strangers_get_nothing(backend, capsys, tmp_path):
    address = backend.address.removeprefix("tcp://")
    stranger = [f"--public-key={SERVER_KEYS.public}", "--key-file", key_file(tmp_path, new_keys())]
    assert main(["status", "--address", address, *stranger]) == 2
    assert "does not know this client's public key" in capsys.readouterr().err


def test_the_owners_key_is_for_nothing_else(backend):
    with raw_client(backend.address, SERVER_KEYS) as owner:
        for kind in ("hello", "submit", "put", "scene", "fetch"):
            assert owner.request(kind).body["code"] == "owner"
        assert owner.request("status").body["whole"]


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX")
def test_an_address_file_that_others_may_read_is_refused(tmp_path, capsys):
    file = tmp_path / "address.json"
    file.write_text("{}")
    file.chmod(0o644)
    assert main(["status", "--address-file", str(file)]) == 2
    assert "not secret" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"owner_key": 1}', '{"owner_key": {"public": 1, "secret": 2}}'])
def test_what_is_no_address_file_is_an_error_with_cure(tmp_path, capsys, text):
    file = tmp_path / "address.json"
    file.write_text(text)
    file.chmod(0o600)
    assert main(["status", "--address-file", str(file)]) == 2
    assert main(["status", "--address-file", str(tmp_path / "none.json")]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_status_of_a_newer_version_is_read():
    values = {**BackendStatus(version="9").to_dict(), "new": 1, "jobs": [{"id": "a", "new": 2}]}
    assert BackendStatus.from_dict(values).jobs[0].id == "a"
