"""The machine that a measurement was made on."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def machine_description() -> dict[str, str | int | None]:
    """The processor's name where the system gives it, the number of its cores, and the system."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
