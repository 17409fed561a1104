# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders of the looks that are compared, in one file between the two comparisons of a group: none is made twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Shots = dict[str, list[list[NDArray[np.float32]]]]
"""Renders of one look by light: [seed][view], float32 [size, size, 4]."""


def load_shots(path: str) -> dict[str, Shots]:
    """The renders by look; none where there is no file."""
    found: dict[str, Shots] = {}
    if Path(path).is_file():
        with np.load(path) as file:
            for name in file.files:
                look, light = name.split("/")
                found.setdefault(look, {})[light] = [list(seed) for seed in file[name]]
    return found


def save_shots(path: str, shots: dict[str, Shots]) -> None:
    """Write the renders by look. Raises OSError if that fails."""
    arrays = {f"{look}/{light}": np.array(images) for look, lights in shots.items() for light, images in lights.items()}
    with open(path, "wb") as file:
        np.savez(file, **arrays)
