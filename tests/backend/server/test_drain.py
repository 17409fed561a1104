"""A real server process that is told to end: what becomes of its jobs and their clients."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from support.fit_scenes import ball_dataset, submit_ball
from support.server_harness import (
    CLIENT_KEYS,
    FIT_PATIENCE_S,
    PATIENCE_S,
    connected_client,
    progress_until,
    raw_client,
    submit,
    wait_for,
)
from support.worker_server import SERVE, served

from backend.cli.main import main
from backend.job.checkpoints import CheckpointFolder
from backend.protocol.client.events import Accepted, Failed
from backend.protocol.settings import FitSettings
from backend.server.drain import FETCH_S, LEAVE_S

FIT = FitSettings(resolution=64, device="cpu", quality="draft", self_shadowing=False)
COUNT = {"run_job": "support.worker_jobs:count_up", "find_device": "builtins:dict"}


@pytest.fixture
def drained(monkeypatch):
    """`serve` without a parent process, as a service runs it."""
    monkeypatch.setattr("support.worker_server.SERVE", SERVE.replace('said["parent"]', "None"))


def test_a_fit_leaves_where_it_is_after_sigterm(tmp_path, drained):
    """The interval of the usual checkpoints is so long that only the last one can be there."""
    ball, kept = ball_dataset(8, 48), tmp_path / "kept"
    with served(tmp_path, kept, interval_s=1000.0) as server, connected_client(server.address) as client:
        submit_ball(client, ball, FIT)
        reached = progress_until(client, lambda event: event.iteration > 40, FIT_PATIENCE_S).iteration
        began = time.monotonic()
        os.kill(server.worker, signal.SIGTERM)  # as a service manager tells all processes
        server.process.send_signal(signal.SIGTERM)
        assert wait_for(client, Failed)[-1].code == "draining"
        assert server.process.wait(LEAVE_S) == 0
        assert time.monotonic() - began < 5.0
    (folder,) = (path for path in kept.iterdir() if path.name != "contents")
    running = CheckpointFolder(kept).job(folder.name, 1 << 30).read().running
    assert running.about["memory"]["iteration"] >= reached


def test_those_who_wait_are_told_and_new_jobs_are_refused(tmp_path, drained):
    plan = {**COUNT, "run_job": "support.worker_jobs:never_end", "leave_s": 2.0}
    with served(tmp_path, **plan) as server, raw_client(server.address) as raw:
        running = submit(raw).job
        while raw.event("progress").body["phase"] != "never":
            pass
        queued, uploading = submit(raw).job, submit(raw, {"a": np.zeros(8)}).job
        server.process.send_signal(signal.SIGTERM)
        told = {}
        while len(told) < 2:
            event = raw.event("failed")
            told[event.job] = event.body["code"]
        assert told == {queued: "draining", uploading: "draining"}
        assert submit(raw).body["code"] == "draining"
        assert raw.request("ping", job=running).body["state"] == "running"
        failed = raw.event("failed")
        assert (failed.job, failed.body["code"]) == (running, "draining")
        for job in (running, queued, uploading):
            raw.request("acknowledge", job=job)
        assert server.process.wait(LEAVE_S + FETCH_S) == 0


def test_what_is_done_may_still_be_fetched(tmp_path, drained):
    plan = {**COUNT, "run_job": "support.worker_jobs:average_views"}
    with served(tmp_path, **plan) as server, raw_client(server.address) as raw:
        job = submit(raw).job
        raw.send_view(job, 0, 1.0)
        raw.request("end_views", {"count": 1}, job)
        result = raw.event("result")
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert raw.file(result, "mean.txt") == b"1.0"
        raw.request("acknowledge", job=job)
        assert server.process.wait(FETCH_S / 2) == 0


def test_a_second_signal_ends_it_at_once(tmp_path, drained):
    with served(tmp_path, **{**COUNT, "run_job": "support.worker_jobs:never_end"}) as server:
        with raw_client(server.address) as raw:
            submit(raw)
            while raw.event("progress").body["phase"] != "never":
                pass
            server.process.send_signal(signal.SIGTERM)
            while submit(raw).body.get("code") != "draining":
                time.sleep(0.05)
            assert server.process.poll() is None
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE_S) == 0
        assert not server.file.exists()


def test_stop_is_for_the_owner(tmp_path, drained, capsys):
    with served(tmp_path, **COUNT) as server:
        with raw_client(server.address) as raw:
            assert raw.request("drain").body["code"] == "type"
        with connected_client(server.address) as client:
            client.submit(FitSettings(), {})
            wait_for(client, Accepted)
            assert main(["stop", "--address-file", str(server.file)]) == 0
            assert wait_for(client, Failed)[-1].code == "draining"
        assert server.process.wait(PATIENCE_S) == 0
    assert CLIENT_KEYS.public not in capsys.readouterr().out


def test_the_command_of_a_service_ends_well_by_sigterm(tmp_path):
    """As docs/serving.md has it: all options together, in a process group that gets the signal as a whole."""
    code = "import sys; from backend.cli.main import main; sys.exit(main(sys.argv[1:]))"
    file, log = tmp_path / "address.json", tmp_path / "backend.log"
    arguments = ["serve", "--address-file", file, "--checkpoints", tmp_path / "kept", "--metrics", "0"]
    arguments += ["--log-format", "json", "--log-file", log, f"--client-key={CLIENT_KEYS.public}"]
    process = subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], start_new_session=True)
    try:
        deadline = time.monotonic() + FIT_PATIENCE_S
        while not file.exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
        assert not file.exists()
        messages = [json.loads(line)["message"] for line in log.read_text().splitlines()]
        assert any(message.startswith("metrics at http://127.0.0.1:") for message in messages)
        assert messages[-1] == "ending: 0 jobs are to leave"
    finally:
        process.kill()
        process.wait()
