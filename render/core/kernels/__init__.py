"""Triton kernels of the hot paths on CUDA. Each has its plain PyTorch reference beside it and is tested against it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import os
from functools import lru_cache

import torch

logger = logging.getLogger(__name__)


def has_triton(device: torch.device) -> bool:
    """Whether kernels can run on tensors of this device: on a GPU where Triton works, or in Triton's interpreter."""
    if device.type == "cuda":
        return _runs_on(str(device))
    return os.environ.get("TRITON_INTERPRET") == "1" and importlib.util.find_spec("triton") is not None


@lru_cache(maxsize=1)
def passes_tuples() -> bool:
    """Whether the installed Triton lets kernels pass vectors as tuples: version 3.3 or later."""
    return tuple(int(part) for part in importlib.metadata.version("triton").split(".")[:2]) >= (3, 3)


@lru_cache(maxsize=16)
def _runs_on(device: str) -> bool:
    """Try a small kernel: Triton may be missing (torch for Windows), or lack the C compiler that it needs."""
    if importlib.util.find_spec("triton") is None:
        return False
    try:
        # Late: Triton is not there on every machine.
        from render.core.kernels.row_sums_triton import narrow_sums

        source = torch.ones(2, 1, device=device)
        index, offset = torch.arange(2, device=device).int(), torch.tensor([0, 2], device=device).int()
        result = torch.empty(1, 1, device=device)
        narrow_sums[(1,)](source, index, offset, result, 1, WIDTH=1, BLOCK=32)
        return float(result) == 2.0
    except Exception as error:  # of any kind: plain PyTorch works without Triton
        logger.warning("Triton's kernels do not run on %s, PyTorch's slower ones are used instead: %s", device, error)
        return False
