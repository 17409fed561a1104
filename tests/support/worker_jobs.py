"""Jobs for a worker process, which imports them by their names."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import time
from pathlib import Path

import numpy as np
from support.server_harness import average_views

from backend.job.model import FitProgress, FitResult

__all__ = ["average_views"]


def say_something(inputs, settings, report, cancelled):
    """Writes into the log."""
    for _ in range(50):
        logging.getLogger("job").warning("the job says %s", "something")
    try:
        raise ValueError("of the job")
    except ValueError:
        logging.getLogger("job").exception("it failed")
    return FitResult({}, {})


def never_end(inputs, settings, report, cancelled):
    """A job that says that it runs, and then does not hear."""
    report(FitProgress("never", 0.0, 0, None, None, ""))
    while True:
        time.sleep(0.01)


def die_once(inputs, settings, report, cancelled):
    """Ends its process after the second view, the first time."""
    marker = Path(str(os.environ["PBRFIT_TEST_MARKER"]))
    views = []
    for view in inputs.views:
        views.append(float(view.image.astype(np.float64).mean()))
        report(FitProgress("average", 0.0, len(views), None, None, ""))
        if len(views) == 2 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return FitResult({}, {"means": views, "sums": {name: float(array.sum()) for name, array in inputs.arrays.items()}})


def always_die(inputs, settings, report, cancelled):
    """Ends its process."""
    os.kill(os.getpid(), signal.SIGKILL)


def need_memory(inputs, settings, report, cancelled):
    """Has too little memory unless it is smaller; with the seed 1 always."""
    views = [view.index for view in inputs.views]
    if settings.seed or not inputs.control.economy:
        raise MemoryError("too much")
    return FitResult({}, {"views": views})


def fit_in_little_memory(inputs, settings, report, cancelled):
    """A real fit in a process that may take 200 MB more."""
    import resource

    from backend.job.run import run_fit_job

    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + 200_000_000, resource.RLIM_INFINITY))
    try:
        return run_fit_job(inputs, settings, report, cancelled)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def take_memory_or_count(inputs, settings, report, cancelled):
    """At resolutions of 512 and more takes as many MiB of memory, half of that where it is to be smaller; else counts.

    With the seed 1 it takes as much at any size.
    """
    if settings.resolution < 512:
        return count_up(inputs, settings, report, cancelled)
    held = []
    for number in range(settings.resolution >> (0 if settings.seed else inputs.control.economy)):
        held.append(np.ones(1 << 20, np.uint8))
        if number % 16 == 0:
            time.sleep(0.01)
    return FitResult({}, {"mib": len(held)})


def name_the_device(inputs, settings, report, cancelled):
    """Says for which device it was asked, when it is to finish."""
    report(FitProgress("naming", 0.0, 1, None, None, ""))
    while not (cancelled() or inputs.control.finishing):
        time.sleep(0.01)
    return FitResult({}, {"device": settings.device})


def a_processor():
    """What a process says that finds no GPU."""
    return {"device": "cpu", "device_name": "CPU"}


def lose_the_device(inputs, settings, report, cancelled):
    """The GPU fails."""
    raise RuntimeError("CUDA error: an illegal memory access was encountered")


def count_up(inputs, settings, report, cancelled):
    """Counts until it is to finish, and reports each number."""
    for number in range(1, 100_000):
        if inputs.control.finishing:
            return FitResult({}, {"number": number})
        report(FitProgress("fitting", number / 100_000, number, None, None, "Counting"))
        time.sleep(0.002)
    raise AssertionError("nobody said to finish")


def _hang_once(inputs, hang):
    marker = Path(str(os.environ["PBRFIT_TEST_MARKER"]))
    views = []
    for view in inputs.views:
        views.append(float(view.image.astype(np.float64).mean()))
        if len(views) == 2 and not marker.exists():
            marker.touch()
            hang()
    return FitResult({}, {"means": views})


def stop_once(inputs, settings, report, cancelled):
    """Stops its process after the second view, the first time."""
    return _hang_once(inputs, lambda: os.kill(os.getpid(), signal.SIGSTOP))


def deadlock_once(inputs, settings, report, cancelled):
    """Waits for ever without giving Python's lock away, the first time."""
    return _hang_once(inputs, lambda: ctypes.PyDLL(None).sleep(100_000))


def compute_for_long(inputs, settings, report, cancelled):
    """Computes for three seconds."""
    ends, matrix = time.monotonic() + 3.0, np.eye(200)
    while time.monotonic() < ends:
        matrix = matrix @ matrix
    return FitResult({}, {})
