"""Small things that several tests of the command line need."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path


def run_python(*arguments: object) -> None:
    """Run a script in this Python; a failure shows what it said."""
    result = subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def content_hash(path: Path) -> str:
    """Of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def processes_that_mention(path: Path) -> list[str]:
    """Command lines and working directories of living processes that name a path."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode().replace("\0", " ")
            state = (process / "stat").read_text().rsplit(")", 1)[1].split()[0]
            if state != "Z" and str(path) in words + os.readlink(process / "cwd"):
                found.append(words)
        except OSError:  # it has ended, or belongs to somebody else
            continue
    return found
