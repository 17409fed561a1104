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
    BakedViewRendered,
    EnvironmentRendered,
    LightsMade,
    MeshExported,
    ReferenceRenderer,
)
from .fit_queue import GroupFit

DEATHS_IN_A_ROW = 3


class ReferenceWork:
    """Gets the views of one group rendered; `take` hands them over."""

    def __init__(self, fit: GroupFit) -> None:
        self._ready: list[tuple[int, NDArray[np.float32]]] = []
        self._fit = fit
        self._renderer: ReferenceRenderer | None = None
        self._deaths = 0

    def start(self) -> None:
        """Start to render what is missing; returns at once. Raises PbrFitError if no process can be started."""
        if self._renderer is None and not self._complete:
            self._renderer = ReferenceRenderer(self._fit.missing_plan(), self._fit.folder)

    def poll(self) -> None:
        """Take in what has finished. Never waits. Raises PbrFitError if rendering failed for good.

        A second Blender that dies is replaced, one with a GPU by one without. If three die in a row without a view, that is a
        failure.
        """
        if self._renderer is None:
            return
        try:
            self._collect(self._renderer)
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
            with contextlib.suppress(PbrFitError):  # what failed will fail again if it is still needed
                self._collect(self._renderer)
            self._renderer = None

    def take(self) -> list[tuple[int, NDArray[np.float32]]]:
        """The (index, image) of the views that have finished since the last call."""
        taken, self._ready = self._ready, []
        return taken

    @property
    def _complete(self) -> bool:
        return self._fit.fully_rendered and self._fit.has_mesh and "environment" in self._fit.arrays

    def _collect(self, renderer: ReferenceRenderer) -> None:
        for finished in renderer.poll():
            if isinstance(finished, DeviceUsed):
                self._fit.take_device(finished)
                continue
            self._deaths = 0
            if isinstance(finished, EnvironmentRendered):
                self._fit.set_environment(finished.radiance)
            elif isinstance(finished, MeshExported):
                self._fit.set_mesh(finished)
            elif isinstance(finished, LightsMade):
                for number, light in enumerate(finished.lights, 1):
                    self._fit.arrays[f"environment_{number}"] = light
            elif isinstance(finished, BakedViewRendered):
                self._fit.rendered_baked.add(finished.index)
            elif finished.index not in self._fit.rendered:
                self._fit.rendered.add(finished.index)
                self._ready.append((finished.index, finished.image))
