# SPDX-License-Identifier: GPL-3.0-or-later
"""The comparison of what a group may get with its material, in a second Blender: the bake alone, later all candidates."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..common.errors import PbrFitError
from ..common.render_devices import DeviceUsed
from ..common.second_blender import BlenderDied
from ..comparing.process import SAMPLES, SEEDS, SIZE, VIEWS, CompareProgress, MapComparer
from ..protocol.quality import QUALITIES
from ..references.views import plan_views
from ..settings.start import MAPS
from .fit_queue import GroupFit
from .verdict_text import kept_text

SHOTS, OTHER_SHOTS = "compared", "compared_as_rendered"


class ComparisonWork:
    """Gets what there is of one group compared: its bake, or bake, fit and rounds.

    near: whether what is to be kept proved near enough. Where a comparison with a fit fails, the first candidate is kept, and
    a note says so.
    """

    def __init__(self, fit: GroupFit) -> None:
        """Write the candidates to the group's folder and start; returns at once."""
        self.done = False
        self.near = self.failed = False
        self.fraction = 0.0
        self._fit = fit
        self._comparer: MapComparer | None = None
        self._start()

    def poll(self) -> None:
        """Take in what has finished. Never waits."""
        if self._comparer is None:
            return
        try:
            for event in self._comparer.poll():
                if isinstance(event, DeviceUsed):
                    self._fit.take_device(event)
                elif isinstance(event, CompareProgress):
                    self._fit.device.works()
                    self.fraction = event.fraction
                else:
                    self.near = event.near
                    if event.near or self._fit.candidates.fits:
                        start = {"start": MAPS} if self._fit.begins_with_maps else {}
                        self._fit.candidates.choices = tuple(choice | start for choice in event.choices)
                    self.done = True
            if (stuck := self._fit.device.stuck()) is not None:
                raise stuck
        except PbrFitError as error:
            if isinstance(error, BlenderDied) and self._fit.other_device(error):
                self.stop()
                self._start()
            else:
                self._keep_first(error)

    def stop(self) -> None:
        """Kill the second Blender."""
        if self._comparer is not None:
            self._comparer.stop()
            self._comparer = None

    def _start(self) -> None:
        try:
            self._comparer = MapComparer(self._plan(), self._fit.folder)
        except (PbrFitError, OSError) as error:
            self._keep_first(error)

    def _plan(self) -> dict[str, Any]:
        fit = self._fit
        kept = ("blend", "cache_folders", "use_scripts", "scene", "view_layer", "objects", "output", "threads", "group")
        # Other views than those that the fit is fitted to, and than those that its end was chosen by.
        center, radius = (fit.center, fit.radius) if fit.other_shape else fit.render_plan["shown_sphere"]
        views = plan_views(np.array(center), radius, VIEWS, 0, 0)
        candidates = fit.candidates
        # Renders from different devices do not have the same noise, so each kind has its own file.
        shots = f"{OTHER_SHOTS if fit.other_shape else SHOTS}_{fit.device.wanted.kind.lower()}.npz"
        return {name: fit.render_plan[name] for name in kept} | {
            "devices": fit.device.wanted.to_json(),
            "candidates": {look: candidates.plan(look, fit.folder) for look in candidates.looks},
            "near_enough": QUALITIES[fit.settings.quality].near_enough_db,
            "shots": str(fit.folder / shots),
            "views": [view.for_blender() for view in views],
            "size": SIZE,
            "samples": SAMPLES,
            "seeds": SEEDS,
            "own": "world" if fit.has_own_light else "studio",
            "unseen": fit.unseen_light,
        }

    def _keep_first(self, error: Exception) -> None:
        self.done = self.failed = True
        candidates = self._fit.candidates
        if not candidates.fits:
            return  # there will be another comparison
        cause = error.cause if isinstance(error, PbrFitError) else str(error)
        first = candidates.looks[0]
        self._fit.notes += (
            f"Nothing could be compared, so the {kept_text(first, self._fit.begins_with_maps)} is kept: {cause}",
        )
        candidates.fits = {first: candidates.fits[first]} if first in candidates.fits else {}
