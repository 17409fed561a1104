"""docs/serving.md: its commands are understood, and its metrics exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from backend.cli.main import argument_parser
from backend.protocol.status import BackendStatus, JobStatus, WorkerStatus
from backend.server.drain import FETCH_S, LEAVE_S
from backend.server.metrics import metrics_text

TEXT = (Path(__file__).parents[3] / "docs" / "serving.md").read_text(encoding="utf-8")
JOINED = TEXT.replace("\\\n", " ").replace("C:\\", "C:/").replace("'KEY'", "'" + "0" * 40 + "'")
COMMANDS = re.findall(r"(?:^|[\s`=/])pbrfit ((?:serve|status|stop|keys|doctor) [^`\n]*)", JOINED)


@pytest.mark.parametrize("command", [found for found in COMMANDS if "|" not in found])
def test_a_command_is_understood(command):
    argument_parser().parse_args(shlex.split(command))


def test_there_are_commands():
    assert len(COMMANDS) >= 8


def test_the_metrics_that_are_named_exist():
    status = BackendStatus(
        jobs=(JobStatus(state="queued"),),
        workers=(WorkerStatus(1, 0, "", 1, 1, "cpu", "CPU", memory_limit=1),),
        memory_bytes=1,
        ended={"failed": 1},
        dropped={"key": 1},
    )
    made = set(re.findall(r"^(pbrfit_\w+)", metrics_text(status), re.MULTILINE))
    assert set(re.findall(r"`(pbrfit_\w+)", TEXT)) <= made


def test_the_service_manager_waits_long_enough():
    (patience,) = re.findall(r"^TimeoutStopSec=(\d+)$", TEXT, re.MULTILINE)
    assert float(patience) > LEAVE_S + FETCH_S + 5
