"""A batch's log on a disk that becomes full: it ends, and the batch does not."""

from __future__ import annotations

import subprocess
import sys

import pytest

LOG = """
import resource, sys
from backend.cli.batch_log import EventLog
resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))  # no file may become larger: a disk with hardly any room
with EventLog(sys.argv[1]) as log:
    for number in range(9):
        log.write("note", text=f"{number} of nine notes")
print(log.failure)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a limit of the size of files is POSIX's")
def test_a_log_that_cannot_be_written_ends_and_says_so(tmp_path):
    path = tmp_path / "log.json"
    said = subprocess.run([sys.executable, "-c", LOG, str(path)], capture_output=True, text=True, check=True).stdout
    assert said == f"The log {path} could not be written any further: File too large.\n"
    assert path.read_text().startswith('{"time": ')
