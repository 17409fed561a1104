# SPDX-License-Identifier: GPL-3.0-or-later
"""The references of one job, whatever happens to the second Blender that renders them.

When it dies, another one renders what is missing; a pause ends it too, and what follows starts a new one.
"""

from __future__ import annotations

import contextlib

import numpy as np

from ..common.errors import PbrFitError
from ..references.process import EnvironmentRendered, ReferenceRenderer, RendererDied
from .fit_queue import FitJob

DEATHS_IN_A_ROW = 3


class ReferenceWork:
    """Has the views of one job rendered; `take` gives them out."""

    def __init__(self, job: FitJob) -> None:
        self._ready: list[tuple[int, np.ndarray]] = []
        self._job = job
        self._renderer: ReferenceRenderer | None = None
        self._deaths = 0

    def start(self) -> None:
        """Start to render what is missing; returns at once. Raises PbrFitError where no process can be started."""
        if self._renderer is None and not self._complete:
            self._renderer = ReferenceRenderer(self._job.missing_plan(), self._job.folder)

    def poll(self) -> None:
        """See what has finished. Never waits. Raises PbrFitError when rendering failed for good.

        A second Blender that dies is replaced, but not for ever: the third that dies without a view is a failure.
        """
        if self._renderer is None:
            return
        try:
            self._collect()
        except RendererDied:
            self.stop()
            self._deaths += 1
            if self._deaths == DEATHS_IN_A_ROW:
                raise
            self.start()

    def stop(self) -> None:
        """Kill the second Blender; what it had finished stays, and `start` goes on from there."""
        if self._renderer is not None:
            self._renderer.stop()
            with contextlib.suppress(PbrFitError):  # what failed will fail again where it is still wanted
                self._collect()
            self._renderer = None

    def take(self) -> list[tuple[int, np.ndarray]]:
        """The (index, image) of views that have finished since the last call."""
        taken, self._ready = self._ready, []
        return taken

    @property
    def _complete(self) -> bool:
        return self._job.fully_rendered and "environment" in self._job.arrays

    def _collect(self) -> None:
        for finished in self._renderer.poll():
            self._deaths = 0
            if isinstance(finished, EnvironmentRendered):
                self._job.set_environment(finished.radiance)
            elif finished.index not in self._job.rendered:
                self._job.rendered.add(finished.index)
                self._ready.append((finished.index, finished.image))
