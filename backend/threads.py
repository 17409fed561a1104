"""How PyTorch's threads wait."""

from __future__ import annotations

import os


def yield_idle_threads() -> None:
    """Let the threads of PyTorch's CPU build sleep while they wait for each other. Call before torch is first imported.

    By default GNU OpenMP's threads spin. On a machine whose cores are busy with something else (Blender renders beside
    the fit) the spinning takes the time slices of those waited for: an elementwise operation on 63000 x 8 floats took
    46 ms on two busy cores, and 1.9 ms with this. A value that the user has set stays.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
