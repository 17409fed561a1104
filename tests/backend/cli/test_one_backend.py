"""The backend of a batch: it answers who has its keys, comes back at the same address where it dies, and ends with the batch."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from support.command_line import processes_that_mention

from backend.cli.batch_log import EventLog
from backend.cli.one_backend import OneBackend
from backend.protocol.client.ask import ask
from backend.protocol.client.link import Destination, LinkEnded
from backend.protocol.keys import kept_keys
from backend.protocol.wire import Message


def status_of(setup: dict) -> dict:
    """What the backend says of itself."""
    backend = setup["backend"]
    destination = Destination(backend["address"], backend["key"], kept_keys(backend["client_keys"]))
    reply = ask(destination, Message("status"))
    assert reply.type == "status", reply
    return reply.body


def process_of(folder: Path) -> int:
    """The number of the process that serves."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if "serve" in words and str(folder / "address.json") in words and f"{os.getpid()}" in words:
            return int(process.name)
    raise AssertionError("no backend")


@pytest.mark.skipif(sys.platform != "linux", reason="it looks for processes in /proc")
def test_it_comes_back_with_its_keys_and_ends_with_the_batch(tmp_path):
    with EventLog(str(tmp_path / "log.jsonl")) as log:
        backend = OneBackend(tmp_path / "backend", log)
        try:
            setup = backend.setup(threading.Event())
            status_of(setup)
            first = process_of(tmp_path / "backend")
            os.kill(first, signal.SIGKILL)
            deadline = time.monotonic() + 60.0
            while True:
                try:
                    status_of(setup)
                    break
                except LinkEnded:
                    assert time.monotonic() < deadline
            assert process_of(tmp_path / "backend") != first
            assert backend.setup(threading.Event()) == setup
        finally:
            backend.close()
    (event,) = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert (event["event"], event["status"]) == ("backend_restart", -signal.SIGKILL)
    assert not processes_that_mention(tmp_path)
