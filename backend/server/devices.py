"""The devices of a backend: what `pbrfit serve --devices` names, and what the worker process of each gets to see."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

from backend.server.address_file import ServerError
from backend.worker.plan import WorkerPlan
from backend.worker.process_memory import machine_memory

# The first GPU, or the processor: as the worker process finds it, which then sees all of the machine.
AUTO = ("auto",)
ALL = ("all",)
# Every GPU, for one job at a time.
TOGETHER = ("together",)
# Of the machine's memory the workers get so much together. The rest is for the server, which keeps arrays, views and results
# (4 GiB each at most), for Blender on an artist's own machine, and for the system.
WORKERS_SHARE = 0.8
# `backend.job.checkpoints` keeps those of as many jobs. Not imported from there: the command line reads names of devices also
# where NumPy is missing, to say so.
MOST_DEVICES = 16
_NAME = re.compile(r"cpu|cuda:(0|[1-9][0-9]{0,2})")
_COUNT = "import sys; sys.path[:] = sys.argv[1:]; import torch; print(torch.cuda.device_count())"
_COUNT_S = 120.0
_VISIBLE = "CUDA_VISIBLE_DEVICES"
_CHOOSE = "Give --devices auto, all, together, or names with commas, such as cuda:0,cuda:1 or cpu."


def read_devices(text: str) -> tuple[str, ...]:
    """The names of a list with commas, each of one device or of several that + joins. Raises ValueError where it is none."""
    names = tuple("+".join(part.strip() for part in name.split("+")) for name in text.split(","))
    if names in (AUTO, ALL, TOGETHER):
        return names
    parts = [part for name in names for part in name.split("+")]
    wrong = next((part for part in parts if not _NAME.fullmatch(part)), None)
    if wrong is not None:
        raise ValueError(f"{wrong!r} is no device: auto, all, together, cpu, or cuda:N with the number N of a GPU")
    mixed = next((name for name in names if len({part == "cpu" for part in name.split("+")}) > 1), None)
    if mixed is not None:
        raise ValueError(f"{mixed!r} joins a GPU with the processor, for which it would wait")
    gpus = [part for part in parts if part != "cpu"]
    if len(set(gpus)) < len(gpus):
        raise ValueError("a GPU is named twice")
    if len(parts) > MOST_DEVICES:
        raise ValueError(f"there are more than {MOST_DEVICES} devices")
    return names


def device_plans(names: Sequence[str], plan: WorkerPlan, memory_bytes: int | None) -> list[WorkerPlan]:
    """A plan for the worker of each device, or of several that are joined. names: see `read_devices`. memory_bytes: how much of
    the machine's memory each worker may take; None: its share. Raises `ServerError` for a GPU that is not there, and where
    devices are joined on a system on which they cannot be.
    """
    if any("cpu" not in name for name in names) and tuple(names) != AUTO:
        names = _present(names, _count_gpus(plan))
    if any("+" in name for name in names) and sys.platform != "linux":
        raise ServerError(
            "Devices can be joined on Linux only.", "Give them --devices with commas: each has a job then."
        )
    if memory_bytes is None:
        whole = machine_memory()
        memory_bytes = 0 if whole is None else int(whole * WORKERS_SHARE / len(names))
    processors = sum(name.split("+").count("cpu") for name in names)
    plans = []
    for number, name in enumerate(names):
        own = name if names.count(name) < 2 else f"{name}:{names[:number].count(name)}"
        environment = _environment(name, processors, os.environ)
        joined = name.count("+") + 1
        plans.append(replace(plan, device=own, joined=joined, environment=environment, memory_bytes=memory_bytes))
    return plans


def _present(names: Sequence[str], gpus: int) -> tuple[str, ...]:
    """The devices that are meant, where the machine has so many GPUs."""
    every = tuple(f"cuda:{number}" for number in range(gpus))
    if tuple(names) == ALL:
        return every or ("cpu",)
    if tuple(names) == TOGETHER:
        return ("+".join(every) or "cpu",)
    for part in "+".join(names).split("+"):
        if part != "cpu" and int(part.partition(":")[2]) >= gpus:
            raise ServerError(f"The device {part} is not there: PyTorch finds {gpus} GPUs.", _CHOOSE)
    return tuple(names)


def _count_gpus(plan: WorkerPlan) -> int:
    """How many GPUs PyTorch sees; asked in a process of its own, since the server's never loads it."""
    try:
        asked = subprocess.run(
            [sys.executable, "-c", _COUNT, *plan.python_path],
            capture_output=True,
            text=True,
            timeout=_COUNT_S,
            check=True,
        )
        return int(asked.stdout.split()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        said = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
        cause = f"PyTorch does not say which GPUs there are ({said[-1] if said else error})."
        raise ServerError(cause, "Look at what `pbrfit doctor --backend-only` says, or give --devices cpu.") from error


def _environment(name: str, processors: int, given: Mapping[str, str]) -> dict[str, str]:
    """What a worker process needs so that it sees its device alone, under the name by which any fit finds it."""
    if name in AUTO:
        return {}
    if "cpu" not in name:
        visible = given.get(_VISIBLE, "")
        numbers = [int(part.partition(":")[2]) for part in name.split("+")]
        # The system's own list says which GPUs there are, and under which numbers.
        return {
            _VISIBLE: ",".join(visible.split(",")[number].strip() if visible else str(number) for number in numbers)
        }
    environment = {_VISIBLE: ""}
    if processors > 1 and "OMP_NUM_THREADS" not in given:
        cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
        environment["OMP_NUM_THREADS"] = str(max(1, cores // processors))
    return environment
