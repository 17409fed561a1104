"""The log of a real server process: its form, its size, and that nothing about it ends or holds up the server."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import select
import subprocess
import sys
import time

import pytest
from support.server_harness import CLIENT_KEYS, assert_lives, raw_client, submit
from support.worker_server import served

from backend.cli.main import main
from backend.server import logs
from backend.server.logs import JsonLines, LogWriter, RepeatLimit, RotatedFile, TextLines

PLAN = {"run_job": "support.worker_jobs:say_something", "find_device": "builtins:dict"}


def record(text: str, *arguments: object, **extra: object) -> logging.LogRecord:
    return logging.getLogger("test").makeRecord("test", logging.INFO, "", 0, text, arguments, None, extra=extra)


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def finish_job(address) -> str:
    with raw_client(address) as raw:
        job = submit(raw).job
        raw.event("result")
        assert_lives(raw)
        return job


def test_json_lines_name_job_and_key_and_have_the_workers_lines_too(tmp_path):
    file = tmp_path / "server.log"
    with served(tmp_path, log=("json", str(file)), options={"relays_log": True}, **PLAN) as server:
        job = finish_job(server.address)
        deadline = time.monotonic() + 5
        while f"job {job}: done" not in file.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        found = lines_of(file)
    assert all({"time", "level", "logger", "message"} <= set(line) for line in found)
    mine = [line for line in found if line.get("job") == job]
    assert {line["key"] for line in mine} == {CLIENT_KEYS.public}
    assert {"backend.server.job_service", "job"} <= {line["logger"] for line in mine}
    assert "ValueError: of the job" in next(line for line in mine if line["message"] == "it failed")["error"]
    assert sum(line["message"] == "the job says something" for line in found) == logs.MOST_SAME
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_a_full_disk_does_not_end_the_server(tmp_path):
    with served(tmp_path, log=("json", "/dev/full"), options={"relays_log": True}, **PLAN) as server:
        finish_job(server.address)
        finish_job(server.address)
        assert server.process.poll() is None


def test_a_pipe_that_nobody_reads_or_that_breaks_holds_up_nobody(tmp_path):
    reading, writing = os.pipe()
    probe = os.dup(writing)
    fcntl.fcntl(writing, 1031, 4096)  # F_SETPIPE_SZ of Linux
    with served(tmp_path, log=("text", ""), stderr=writing, options={"relays_log": True}, **PLAN) as server:
        os.close(writing)
        with raw_client(server.address) as raw:
            for _ in range(60):  # more text than a pipe holds
                began = time.monotonic()
                job = submit(raw).job
                raw.event("result")
                raw.request("acknowledge", job=job)
                assert time.monotonic() - began < 2.0
            assert not select.select([], [probe], [], 0)[1]
            os.close(reading)
            os.close(probe)
            for _ in range(3):
                submit(raw)
                raw.event("result")
            assert_lives(raw)


def test_a_file_has_a_bounded_size_and_so_have_those_before(tmp_path):
    file = RotatedFile(tmp_path / "a.log", most_bytes=100, kept=2)
    for number in range(40):
        file.write(f"line {number:03d} of the log\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.log", "a.log.1", "a.log.2"]
    assert all(path.stat().st_size <= 100 for path in tmp_path.iterdir())
    assert "line 039" in (tmp_path / "a.log").read_text()
    assert "line 032" in (tmp_path / "a.log.1").read_text()


def test_a_file_that_was_moved_away_is_begun_again(tmp_path):
    path = tmp_path / "a.log"
    file = RotatedFile(path)
    file.write("first\n")
    path.rename(tmp_path / "moved.log")
    file.write("second\n")
    assert path.read_text() == "second\n"
    assert (tmp_path / "moved.log").read_text() == "first\n"


def test_repeats_are_left_out_and_counted(monkeypatch):
    limit = RepeatLimit()
    passed = [limit.left_out(record("the same")) for _ in range(100)]
    assert passed.count(None) == 100 - logs.MOST_SAME
    alike = [limit.left_out(record("client %d", number)) for number in range(1000)]
    assert alike.count(None) == 1000 - logs.MOST_ALIKE
    monkeypatch.setattr(logs, "WINDOW_S", 0.0)
    time.sleep(0.001)
    assert limit.left_out(record("client %d", 1)) == 1000 - logs.MOST_ALIKE
    assert limit.left_out(record("client %d", 2)) == 0
    for number in range(5000):
        limit.left_out(record(f"kind {number}"))
    assert len(limit._counts) <= 512


def test_what_was_left_out_is_said():
    assert "(3 lines like it were left out)" in TextLines(logs.TEXT).format(record("a", left_out=3))
    values = json.loads(JsonLines().format(record("a\nb", left_out=3, job="7")))
    assert (values["message"], values["left_out"], values["job"]) == ("a\nb", 3, "7")
    assert "left_out" not in json.loads(JsonLines().format(record("a", left_out=0)))


def test_lost_lines_are_counted_and_said_later():
    class Target:
        full, written = True, ""

        def write(self, text):
            if self.full:
                raise OSError("full")
            self.written += text

    target = Target()
    writer = LogWriter(target)
    writer.emit(record("first"))
    writer.emit(record("%d arguments", "wrong"))
    time.sleep(0.1)
    target.full = False
    writer.emit(record("second"))
    writer.close()
    assert target.written == "second\n(2 lines of the log were lost)\n"


def test_a_log_that_cannot_be_written_is_an_error_with_cure(tmp_path, capsys):
    arguments = ["serve", f"--client-key={CLIENT_KEYS.public}", "--log-file", str(tmp_path / "none" / "a.log")]
    assert main(arguments) == 2
    assert "Choose a file" in capsys.readouterr().err


def test_lines_that_wait_are_written_at_the_end(tmp_path):
    code = f"""
import logging, os
from pathlib import Path
from backend.server.logs import set_up_log
set_up_log("text", Path({str(tmp_path / "a.log")!r}))
logging.info("the last line")
logging.shutdown()
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert "the last line" in (tmp_path / "a.log").read_text()
