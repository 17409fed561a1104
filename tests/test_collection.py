"""What pytest can collect on a machine that lacks something."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
# As where bpy is not installed: it cannot be found, and to import it fails.
WITHOUT_BPY = "import sys; sys.modules['bpy'] = None; import pytest; sys.exit(pytest.main(sys.argv[1:]))"


def test_gpu_tests_are_collected_without_blender():
    options = ["-m", "cuda", "--collect-only", "-q", "-rs", "-p", "no:cacheprovider"]
    command = [sys.executable, "-c", WITHOUT_BPY, *options]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr
    assert "test_parity.py::" in run.stdout
    assert "the Blender module bpy is not installed" in run.stdout
