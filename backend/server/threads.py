"""How PyTorch's threads wait."""

from __future__ import annotations

import os


def yield_idle_threads() -> None:
    """Let PyTorch's CPU threads sleep soon when they wait for each other. Call before torch is first imported.

    By default GNU OpenMP's threads spin for a long time. Where the cores are busy with something else (Blender renders
    beside the fit), spinning threads take the time slices of the threads that they wait for: an elementwise operation on
    63000 x 8 floats took 46 ms on two busy cores, and 1.9 ms without spinning. Sleeping at once costs time on idle cores
    (an iteration of 65536 samples: 164 ms; 100 ms with the default), so threads spin briefly first: 117 ms. A value that
    the user has set stays.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
