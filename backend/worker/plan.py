"""What a worker process runs, in words that it can be told at its start."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class WorkerPlan:
    """Functions as "module:name"; the worker imports them, so that the server's process need not.

    run_job: what a job runs (`backend.job.model.RunJob`). make_drawing: called for the first preview. find_device: called
    at the start; it returns the welcome's `device` and `device_name`. checkpoints: the folder where jobs keep what they need
    to go on, and the seconds between two files of one; empty: nowhere. cancel_s: a job that does not leave so soon after its
    cancel loses its process; leave_s: the same, where it writes a last checkpoint. idle_s: after so long without work, the
    memory of a GPU is given back. hung_s: a worker that does not answer for so long loses its
    process. relays_log: whether the server writes the worker's log; else it goes to stderr. device: the name of the device
    that the worker has, "auto" where it finds one itself. environment: variables that the process gets beside the server's,
    so that it sees no other device. joined: how many devices its jobs use together; with more than one, run_joined is called
    with that number, and returns what a job runs. memory_bytes: a worker that takes more memory of the machine loses its
    process; 0: no limit.
    """

    run_job: str = "backend.job.run:run_fit_job"
    run_joined: str = "backend.job.joined_devices:joined_job"
    make_drawing: str = "backend.preview.drawing:Drawing"
    find_device: str = "backend.job.device:installed_device"
    checkpoints: str = ""
    checkpoint_interval_s: float = 5.0
    cancel_s: float = 1.0
    leave_s: float = 15.0
    idle_s: float = 30.0
    hung_s: float = 60.0
    relays_log: bool = False
    device: str = "auto"
    environment: dict[str, str] = field(default_factory=dict)
    joined: int = 1
    memory_bytes: int = 0
    python_path: list[str] = field(default_factory=lambda: list(sys.path))

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def named(name: str) -> Callable[..., Any]:
    """The function of a "module:name"."""
    module, _, attribute = name.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    return function
