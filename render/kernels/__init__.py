"""Triton kernels of the hot paths on CUDA. Each has its plain PyTorch reference beside it and is tested against it."""

from __future__ import annotations

import importlib.util
import os

import torch


def has_triton(device: torch.device) -> bool:
    """Whether kernels can run on tensors of this device: Triton is installed, and it is a GPU (or Triton interprets)."""
    if importlib.util.find_spec("triton") is None:
        return False
    return device.type == "cuda" or os.environ.get("TRITON_INTERPRET") == "1"
