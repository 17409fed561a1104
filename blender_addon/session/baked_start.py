# SPDX-License-Identifier: GPL-3.0-or-later
"""The bake that a group's fit begins with, in a second Blender."""

from __future__ import annotations

import numpy as np

from ..baking.process import BakeProgress, MapBaker, MapsBaked
from ..common.errors import PbrFitError
from .fit_queue import GroupFit

# Half of what a backend keeps, and what it takes as one array.
MOST_BYTES, MOST_IN_ONE = 2 << 30, 1 << 30
WIRE_NAMES = {"texels": "start", "surety": "surety", "lobes": "lobes"}
"""What the backend calls the arrays of a start."""


class StartWork:
    """Gets one group baked; `poll` says how far it is.

    Whatever goes wrong with a bake is said in a note: then the fit begins with nothing. With maps that the artist has chosen
    the fit fails.
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
                self._take(event)
        except PbrFitError as error:
            self._give_up(error)

    def stop(self) -> None:
        """Kill the second Blender."""
        if self._baker is not None:
            self._baker.stop()
            self._baker = None

    def _take(self, event: MapsBaked) -> None:
        fit = self._fit
        fit.candidates.baked = event.maps
        sizes = [array.nbytes for arrays in event.starts for array in arrays.values()]
        if sum(sizes) <= MOST_BYTES and max(sizes, default=0) <= MOST_IN_ONE:
            for number, arrays in enumerate(event.starts):
                if fit.begins_with_maps:
                    # Nothing says that they are right, so the fit may change all of them.
                    arrays["surety"] = np.zeros_like(arrays["surety"])
                fit.arrays |= {f"{WIRE_NAMES[name]}_{number}": array for name, array in arrays.items()}
        elif not fit.exact:
            fit.notes += (
                "The bake is too large to begin the fit with: use smaller maps, or fit fewer materials at once.",
            )
        self.done = True

    def _give_up(self, error: PbrFitError) -> None:
        if self._fit.begins_with_maps:
            raise error  # the artist has chosen them
        self._fit.notes += (f"{error.cause} So the fit began with nothing that the nodes say.",)
        self._fit.bake_plan, self._fit.exact = None, ""
        self.done = True
