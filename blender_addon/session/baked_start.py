# SPDX-License-Identifier: GPL-3.0-or-later
"""The bake that a group's fit begins with, in a second Blender."""

from __future__ import annotations

import numpy as np

from ..baking.process import BakeProgress, MapBaker
from ..common.errors import PbrFitError
from .fit_queue import GroupFit


class StartWork:
    """Gets one group baked; `poll` says how far it is.

    Whatever goes wrong is said in a note: then the fit begins with nothing.
    """

    def __init__(self, fit: GroupFit) -> None:
        """Start; returns at once."""
        self.done = False
        self.fraction = 0.0
        self.message = "Starting a second Blender"
        self._fit = fit
        self._baker: MapBaker | None = None
        try:
            assert fit.bake_plan is not None  # else there is nothing to bake
            self._baker = MapBaker(fit.bake_plan, fit.folder)
        except PbrFitError as error:
            self._give_up(error)

    def poll(self) -> None:
        """Take in what has finished. Never waits."""
        if self._baker is None:
            return
        try:
            for event in self._baker.poll():
                if isinstance(event, BakeProgress):
                    self.fraction, self.message = event.fraction, event.message
                    continue
                for number, path in enumerate(event.starts):
                    with np.load(path) as arrays:
                        self._fit.arrays |= {f"{WIRE_NAMES[name]}_{number}": arrays[name] for name in arrays}
                self._fit.candidates.baked = event.maps
                self.done = True
        except (PbrFitError, OSError, ValueError) as error:
            self._give_up(error)

    def stop(self) -> None:
        """Kill the second Blender."""
        if self._baker is not None:
            self._baker.stop()
            self._baker = None

    def _give_up(self, error: Exception) -> None:
        cause = error.cause if isinstance(error, PbrFitError) else str(error)
        self._fit.notes += (f"{cause} So the fit began with nothing that the nodes say.",)
        self._fit.bake_plan = None
        self.done = True


WIRE_NAMES = {"texels": "start", "surety": "surety"}
"""What the backend calls the arrays of a start."""
