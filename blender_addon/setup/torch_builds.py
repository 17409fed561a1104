# SPDX-License-Identifier: GPL-3.0-or-later
"""The build of PyTorch for the backend: how large it is, and where pip finds it."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

AUTO, CPU, CUDA, CONFIGURED = "AUTO", "CPU", "CUDA", "CONFIGURED"
INDEX = "https://download.pytorch.org/whl"
# Works with drivers from 2022 on; the builds of CUDA 13 need newer ones.
WINDOWS_CUDA = "cu128"


@dataclass(frozen=True)
class TorchBuild:
    """A build of torch. index: where pip finds it, or empty for pip's own configuration; download_megabytes and
    disk_megabytes: sizes on Linux, of torch and everything else that the backend needs.
    """

    name: str
    index: str
    download_megabytes: int
    disk_megabytes: int

    @property
    def sizes(self) -> str:
        """Both sizes, for people."""
        download, disk = (f"{value / 1000:.1f} GB" for value in (self.download_megabytes, self.disk_megabytes))
        return f"downloads about {download} and takes {disk} on the disk"


def has_nvidia_gpu() -> bool:
    """Whether this machine has an NVIDIA GPU with its driver."""
    if sys.platform == "darwin":
        return False
    return shutil.which("nvidia-smi") is not None or Path("/proc/driver/nvidia/version").exists()


def torch_build(choice: str, platform: str = sys.platform, nvidia: bool | None = None) -> TorchBuild:
    """The build for a choice: AUTO, CPU, CUDA or CONFIGURED.

    Without an index, pip installs the CUDA build on Linux, and the CPU build on Windows and macOS (there with Metal).
    """
    if choice == AUTO:
        choice = CUDA if (has_nvidia_gpu() if nvidia is None else nvidia) else CPU
    if platform == "darwin" and choice == CUDA:
        choice = CPU
    index = ""
    if choice == CPU and platform == "linux":
        index = f"{INDEX}/cpu"
    elif choice == CUDA and platform == "win32":
        index = f"{INDEX}/{WINDOWS_CUDA}"
    if choice == CUDA or (choice == CONFIGURED and platform == "linux"):
        return TorchBuild(choice, index, 3100, 5600)
    return TorchBuild(choice, index, 300, 1200)
