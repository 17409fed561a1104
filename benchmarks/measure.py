"""Clocks, memory and records that every benchmark shares."""

from __future__ import annotations

import datetime
import gc
import json
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from backend.cli.errors import CommandError
from backend.cli.machine import machine_description
from backend.job.device import device_description

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@dataclass
class Clock:
    """Seconds of named phases on a device; it waits for the device at the end of each (`torch.cuda.synchronize`)."""

    device: torch.device
    phases: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        synchronize(self.device)
        self.started = self.last = time.perf_counter()

    def lap(self, name: str) -> None:
        """Add the time since the last lap to a phase."""
        synchronize(self.device)
        now = time.perf_counter()
        self.phases[name] = self.phases.get(name, 0.0) + now - self.last
        self.last = now

    @property
    def seconds(self) -> float:
        """Since the clock was made; does not wait for the device."""
        return time.perf_counter() - self.started


def median_seconds(
    work: Callable[[], object], device: torch.device, repeats: int = 20, warm_up: int = 3, budget: float = 10.0
) -> float:
    """Median seconds of `work`, waiting for the device before and after each; fewer repeats where they outlast `budget`."""
    started = time.perf_counter()
    for _ in range(warm_up):
        work()
        synchronize(device)
        if time.perf_counter() - started > budget / 4:
            break
    times: list[float] = []
    started = time.perf_counter()
    while len(times) < repeats and (not times or time.perf_counter() - started < budget):
        begin = time.perf_counter()
        work()
        synchronize(device)
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def copy_bandwidth(device: torch.device) -> float:
    """Bytes per second, read and written, of copying one large tensor to another on the device."""
    size = 1 << 26
    if device.type == "cuda":  # far more than its caches
        size = min(1 << 30, torch.cuda.get_device_properties(device).total_memory // 8)
    count = size // 4
    source, target = torch.ones(count, device=device), torch.empty(count, device=device)
    return 2 * source.nbytes / median_seconds(lambda: target.copy_(source), device, repeats=20)


def reset_peak(device: torch.device) -> None:
    """Begin anew to note the most memory in use: allocated by PyTorch on a GPU, resident of this process otherwise."""
    gc.collect()
    if device.type == "cuda":
        synchronize(device)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    else:
        try:
            _CLEAR.write_text("5")
        except OSError:
            return  # not Linux: the peak is that of the whole process


def peak_bytes(device: torch.device) -> int:
    """The most memory in use since `reset_peak` (where the system cannot tell, since the process began)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    except (OSError, StopIteration):
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on whichever device."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)


def circumstances(device: torch.device) -> dict[str, Any]:
    """Machine, versions and date of a measurement."""
    machine = machine_description() | {"device": device_description(device), "threads": torch.get_num_threads()}
    if hasattr(os, "getloadavg"):
        machine["load_average"] = round(os.getloadavg()[0], 2)
    return {
        "machine": machine,
        "versions": _versions(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def _versions() -> dict[str, str | None]:
    versions = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "cuda": torch.version.cuda,
    }
    for name in ("pbrfit", "triton", "nvdiffrast"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    return versions


def check_output(path: Path | None) -> None:
    """Before a long measurement: raises CommandError where its record could not be written."""
    if path is not None and (not path.absolute().parent.is_dir() or path.is_dir()):
        raise CommandError(f"{path} cannot be written.", "Name a file in a folder that exists.")


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write a record as indented JSON with finite numbers, six digits behind the point; infinity becomes null."""
    path.write_text(json.dumps(rounded(values), indent=2, allow_nan=False) + "\n", encoding="utf-8")


def rounded(value: Any) -> Any:
    """Nested values as JSON has them."""
    if isinstance(value, dict):
        return {str(key): rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item) for item in value]
    if isinstance(value, float):
        return round(value, 6) if np.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value


def print_table(title: str, rows: list[list[object]]) -> None:
    """Print rows below a title, columns aligned; the first row is the heading."""
    texts = [
        ["-" if cell is None else f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row]
        for row in rows
    ]
    widths = [max(len(row[column]) for row in texts) for column in range(len(texts[0]))]
    print(f"\n{title}")
    for row in texts:
        print("  " + "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip(), flush=True)
