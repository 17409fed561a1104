"""Which device a fit runs on."""

from __future__ import annotations

import platform

import torch

from backend.job.model import JobError


def resolve_device(name: str) -> torch.device:
    """The device of a setting: "auto" is the first CUDA GPU, or the CPU where there is none.

    Raises `JobError` for a GPU that is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise JobError(
            "device",
            f"The device {name} was asked for, and PyTorch {torch.__version__} finds {torch.cuda.device_count()} GPUs.",
            "Choose the device 'auto' or 'cpu', or install a CUDA build of PyTorch; `pbrfit doctor` says which is there.",
        )
    return device


def device_description(device: torch.device) -> str:
    """A name for people: the GPU's, or the processor's with its number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU ({platform.machine()}, {torch.get_num_threads()} threads)"


def installed_device() -> dict[str, str]:
    """What the device "auto" is, for a welcome: `device`, "cuda" or "cpu", and `device_name`."""
    device = resolve_device("auto")
    return {"device": device.type, "device_name": device_description(device)}
