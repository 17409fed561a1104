"""Small things that several tests of the command line need."""

import hashlib
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
