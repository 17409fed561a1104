"""What the process asks of the system: how PyTorch's threads wait, and how many files it may open."""

from __future__ import annotations

import contextlib
import os
import sys

if sys.platform != "win32":
    import resource

MOST_FILES = 8192


def yield_idle_threads() -> None:
    """Let PyTorch's CPU threads sleep soon when they wait for each other. Call before torch is first imported.

    By default GNU OpenMP's threads spin for a long time. Where the cores are busy with something else (Blender renders
    beside the fit), spinning threads take the time slices of the threads that they wait for: an elementwise operation on
    63000 x 8 floats took 46 ms on two busy cores, and 1.9 ms without spinning. Sleeping at once costs time on idle cores
    (an iteration of 65536 samples: 164 ms; 100 ms with the default), so threads spin briefly first: 117 ms. A value that
    the user has set stays.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")


def raise_file_limit() -> None:
    """Let this process open as many files as it may: often 1024 is only where the limit begins, and each client takes three."""
    if sys.platform == "win32":
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(MOST_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
