# SPDX-License-Identifier: GPL-3.0-or-later
"""The comparison of a group's bake with its material, and later with its fit too, in a second Blender."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..common.errors import PbrFitError
from ..common.render_devices import DeviceUsed
from ..common.second_blender import BlenderDied
from ..comparing.errors import BAKE, FIT
from ..comparing.process import SAMPLES, SEEDS, SIZE, VIEWS, CompareProgress, MapComparer
from ..protocol.quality import QUALITIES
from ..references.views import plan_views
from .fit_queue import GroupFit

SHOTS, OTHER_SHOTS = "compared", "compared_as_rendered"


class ComparisonWork:
    """Gets what there is of one group compared: its bake, or bake and fit.

    near: whether the bake alone proved near enough. Where a comparison with a fit fails, the bake is kept, and a note says so.
    """

    def __init__(self, fit: GroupFit) -> None:
        """Write the candidates to the group's folder and start; returns at once."""
        self.done = False
        self.near = False
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
                    self.fraction = event.fraction
                else:
                    self.near = event.near
                    if event.near or self._fit.candidates.fitted:
                        self._fit.candidates.choices = event.choices
                    self.done = True
        except PbrFitError as error:
            if isinstance(error, BlenderDied) and self._fit.other_device(error):
                self.stop()
                self._start()
            else:
                self._keep_bake(error)

    def stop(self) -> None:
        """Kill the second Blender."""
        if self._comparer is not None:
            self._comparer.stop()
            self._comparer = None

    def _start(self) -> None:
        try:
            self._comparer = MapComparer(self._plan(), self._fit.folder)
        except (PbrFitError, OSError) as error:
            self._keep_bake(error)

    def _plan(self) -> dict[str, Any]:
        fit = self._fit
        assert fit.bake_plan is not None  # else there is nothing to compare with
        kept = ("blend", "cache_folders", "use_scripts", "scene", "view_layer", "objects", "output", "threads", "group")
        # Other views than those that the fit is fitted to, and than those that its end was chosen by.
        center, radius = (fit.center, fit.radius) if fit.other_shape else fit.render_plan["shown_sphere"]
        views = plan_views(np.array(center), radius, VIEWS, 0, 0)
        candidates = {BAKE: fit.candidates.baked_plan(fit.folder)}
        if fit.candidates.fitted:
            candidates[FIT] = self._written_fit()
        # Renders from different devices do not have the same noise, so each kind has its own file.
        shots = f"{OTHER_SHOTS if fit.other_shape else SHOTS}_{fit.device.wanted.kind.lower()}.npz"
        return {name: fit.bake_plan[name] for name in kept} | {
            "devices": fit.device.wanted.to_json(),
            "candidates": candidates,
            "near_enough": QUALITIES[fit.settings.quality].near_enough_db,
            "shots": str(fit.folder / shots),
            "views": [view.for_blender() for view in views],
            "size": SIZE,
            "samples": SAMPLES,
            "seeds": SEEDS,
            "unseen": fit.unseen_light,
        }

    def _written_fit(self) -> dict[str, Any]:
        """The fit, with its files in a folder of its own."""
        fit, paths = self._fit, {}
        numbers = range(fit.candidates.count)
        for number in numbers:
            for file, data in fit.candidates.files_of(FIT, number).items():
                path = fit.folder / FIT.lower() / file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
                paths[file] = str(path)
        recipes = [fit.candidates.recipe_of(FIT, number).to_json() for number in numbers]
        return {"recipes": recipes, "files": paths}

    def _keep_bake(self, error: Exception) -> None:
        self.done = True
        if not self._fit.candidates.fitted:
            return  # there will be another comparison
        cause = error.cause if isinstance(error, PbrFitError) else str(error)
        self._fit.notes += (f"Bake and fit could not be compared, so the bake is kept: {cause}",)
        self._fit.candidates.fitted = {}
