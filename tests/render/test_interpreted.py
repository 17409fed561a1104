"""The Triton kernels on a machine without a GPU: their tests once more, in Triton's interpreter."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

KERNEL_TESTS = (
    "render/core/test_row_kernels.py",
    "render/raster/test_triton_rasterizer.py",
    "render/shading/test_fused_samples.py",
    "render/preview/test_renderer.py",
    "render/texture/test_gap_sweep.py",
    "backend/fit/test_fused_steps.py",
    "backend/fit/test_bands_in_kernels.py",
)


@pytest.mark.parametrize("file", KERNEL_TESTS)
def test_kernels_in_the_interpreter(file):
    if importlib.util.find_spec("triton") is None:
        pytest.skip("Triton is not installed: there is none for this system")
    # Triton looks at the variable when it is first imported, hence a process of its own.
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not cuda", "-p", "no:cacheprovider", "-W", "ignore"]
    run = subprocess.run(
        [*command, str(Path(__file__).parents[1] / file)],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-4000:]
    assert "passed" in run.stdout
