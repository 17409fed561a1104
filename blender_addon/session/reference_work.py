# SPDX-License-Identifier: GPL-3.0-or-later
"""The references of one group, whatever happens to the second Blender that renders them.

If that Blender dies, another one renders what is missing. A pause ends it too; afterwards a new one starts.
"""

from __future__ import annotations

import contextlib

import numpy as np
from numpy.typing import NDArray

from ..common.errors import PbrFitError
from ..common.render_devices import DeviceUsed
from ..common.second_blender import BlenderDied
from ..references.process import (
    CandidateRead,
    CandidateRendered,
    EnvironmentRendered,
    LightsMade,
    MeshExported,
    ReferenceRenderer,
    ViewRendered,
)
from .fit_queue import GroupFit

DEATHS_IN_A_ROW = 3


class _UselessLight(Exception):
    """The scene's light tells too little of a material. lack: why, as the end of a sentence."""

    def __init__(self, lack: str) -> None:
        super().__init__(lack)
        self.lack = lack


class ReferenceWork:
    """Gets the views of one group rendered; `take` hands them over."""

    def __init__(self, fit: GroupFit) -> None:
        self._ready: list[tuple[int, NDArray[np.float32] | None]] = []
        self._fit = fit
        self._renderer: ReferenceRenderer | None = None
        self._deaths = 0

    def start(self) -> None:
        """Start to render what is missing; returns at once. Raises PbrFitError if no process can be started."""
        if self._renderer is None and not self._complete:
            try:
                plan = self._fit.missing_plan()
            except OSError as error:
                cause = f"PBRfit cannot write the maps of a fit to {self._fit.folder}: {error.strerror}."
                raise PbrFitError(cause, "Free disk space.") from error
            self._renderer = ReferenceRenderer(plan, self._fit.folder)

    def poll(self) -> None:
        """Take in what has finished. Never waits. Raises PbrFitError if rendering failed for good.

        A second Blender that dies is replaced, one with a GPU by one without. If three die in a row without a view, that is a
        failure.
        """
        if self._renderer is None:
            return
        try:
            self._collect(self._renderer)
            if (stuck := self._fit.device.stuck()) is not None:
                raise stuck
        except _UselessLight as useless:
            self._renderer.stop()
            self._renderer = None
            self._fit.use_studio(useless.lack)
            self.start()
        except BlenderDied as error:
            self.stop()
            self._fit.other_device(error)
            self._deaths += 1
            if self._deaths == DEATHS_IN_A_ROW:
                raise
            self.start()

    def stop(self) -> None:
        """Kill the second Blender; what it has finished stays, and `start` goes on from there."""
        if self._renderer is not None:
            self._renderer.stop()
            with contextlib.suppress(PbrFitError, _UselessLight):  # what failed will fail again if it is still needed
                self._collect(self._renderer)
            self._renderer = None

    def take(self) -> list[tuple[int, NDArray[np.float32] | None]]:
        """The (index, image) of the views that have finished since the last call; None: its files have it."""
        taken, self._ready = self._ready, []
        return taken

    @property
    def _complete(self) -> bool:
        fit = self._fit
        return fit.fully_rendered and fit.has_mesh and fit.has_start and "environment" in fit.arrays

    def _take_light(self, radiance: NDArray[np.float32]) -> None:
        """Take the scene's light. Raises PbrFitError if it is useless, and _UselessLight if Studio's may stand in."""
        lack = self._fit.take_scene_light(radiance)
        if lack:
            raise _UselessLight(lack)

    def _collect(self, renderer: ReferenceRenderer) -> None:
        for finished in renderer.poll():
            if isinstance(finished, DeviceUsed):
                self._fit.take_device(finished)
                continue
            self._deaths = 0
            if isinstance(finished, CandidateRendered | ViewRendered | EnvironmentRendered):
                self._fit.device.works()
            if isinstance(finished, EnvironmentRendered):
                self._take_light(finished.radiance)
            elif isinstance(finished, MeshExported):
                self._fit.set_mesh(finished)
            elif isinstance(finished, LightsMade):
                self._fit.set_lights(finished.lights)
            elif isinstance(finished, CandidateRead):
                self._fit.set_start(finished.arrays)
            elif isinstance(finished, CandidateRendered):
                self._fit.rendered_candidate.add(finished.index)
                self._add(finished.index, None)
            elif finished.index not in self._fit.rendered:
                self._fit.rendered.add(finished.index)
                self._add(finished.index, finished.image)

    def _add(self, index: int, image: NDArray[np.float32] | None) -> None:
        """Hand a view over, if all of it is there. image: where that is all of it."""
        if index in self._fit.ready:
            self._ready.append((index, None if self._fit.compares_views else image))
