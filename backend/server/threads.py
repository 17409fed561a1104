"""How PyTorch's threads wait."""

from __future__ import annotations

import os


def yield_idle_threads() -> None:
    """Let the threads of PyTorch's CPU build sleep soon when they wait for each other. Call before torch is first imported.

    By default GNU OpenMP's threads spin for long. On a machine whose cores are busy with something else (Blender renders
    beside the fit) the spinning takes the time slices of those waited for: an elementwise operation on 63000 x 8 floats
    took 46 ms on two busy cores, and 1.9 ms without spinning. Sleeping at once costs on idle cores (an iteration of
    65536 samples: 164 ms; 100 ms with the default), so threads spin briefly first: 117 ms. A value that the user has set
    stays.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
