# SPDX-License-Identifier: GPL-3.0-or-later
"""The jobs of one click: each fits a group of objects that belong together, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..assign.materials import AssignOptions
from ..common.errors import PbrFitError
from ..export.plan import GroupPlan
from ..protocol.settings import FitSettings
from ..references.views import View
from .session_status import SessionResult


@dataclass(frozen=True)
class ReferenceView:
    """A rendered reference of a job: its camera, and the file that its pixels are in."""

    view: View
    path: Path

    def image(self) -> np.ndarray:
        """Its pixels, float32 [h, w, 4], premultiplied, linear, row 0 at the top. Raises PbrFitError where they are gone."""
        try:
            return np.load(self.path)
        except (OSError, ValueError) as error:
            cause = f"The rendered view {self.path} cannot be read again: {error}."
            raise PbrFitError(cause, "Start the fit again, with room in the temporary directory.") from error


@dataclass
class FitJob:
    """What one job needs until it is over, so that its parts can be done again when a process dies.

    plan: its objects and sets of maps; settings: of the fit; options: of the assignment; arrays: of the mesh, and the
    environment once it is known; views: all, held-out included; render_plan: for the second Blender, with all views;
    folder: of the rendered views; rendered: indices of the views that are there; result: what it leaves; error: why it
    came to nothing.
    """

    plan: GroupPlan
    settings: FitSettings
    options: AssignOptions
    arrays: dict[str, np.ndarray]
    views: list[View]
    render_plan: dict
    folder: Path
    result: SessionResult
    rendered: set[int] = field(default_factory=set)
    error: PbrFitError | None = None

    @property
    def name(self) -> str:
        """The job by the name of its first object."""
        return self.result.object_name

    @property
    def fully_rendered(self) -> bool:
        """Whether every view is there."""
        return len(self.rendered) == len(self.views)

    def set_environment(self, radiance: np.ndarray) -> None:
        """Take the light, float32 [H, W, 3]. Raises PbrFitError where nothing can be seen in it."""
        if not np.isfinite(radiance).all():
            raise PbrFitError("The world's light is not finite.", "Check the numbers in the world's nodes.")
        if radiance.max() <= 0.0:
            raise PbrFitError("The world gives no light: it is black.", "Give it a color or image and a strength.")
        self.arrays["environment"] = np.ascontiguousarray(radiance, dtype=np.float32)

    def missing_plan(self) -> dict:
        """The plan for the second Blender of what is not rendered yet."""
        missing = [entry for entry in self.render_plan["views"] if entry["index"] not in self.rendered]
        environment = None if "environment" in self.arrays else self.render_plan["environment"]
        return self.render_plan | {"views": missing, "environment": environment}

    def view_image(self, index: int) -> np.ndarray:
        """A rendered view from its file, float32 [h, w, 4]. Raises PbrFitError where it cannot be read."""
        return self._reference(index).image()

    def reference_views(self) -> list[ReferenceView]:
        """The views that are there, in their order."""
        return [self._reference(index) for index in sorted(self.rendered)]

    def _reference(self, index: int) -> ReferenceView:
        return ReferenceView(self.views[index], self.folder / f"view_{index:04d}.npy")


class FitQueue:
    """The jobs in their order, and which is the current one."""

    def __init__(self, jobs: list[FitJob]) -> None:
        self.jobs = jobs
        self._at = 0

    def __iter__(self) -> Iterator[FitJob]:
        return iter(self.jobs)

    def __len__(self) -> int:
        return len(self.jobs)

    @property
    def current(self) -> FitJob:
        """The job that is worked on, or was the last one."""
        return self.jobs[self._at]

    @property
    def number(self) -> int:
        """Its number, from 1."""
        return self._at + 1

    def advance(self) -> bool:
        """Go to the next job; False where there is none."""
        if self._at + 1 == len(self.jobs):
            return False
        self._at += 1
        known = self.jobs[0].arrays.get("environment")  # all jobs are lit by the same world
        if known is not None:
            self.current.arrays.setdefault("environment", known)
        return True

    @property
    def fitted(self) -> list[FitJob]:
        """The jobs that have maps and no failure."""
        return [job for job in self.jobs if job.error is None and job.result.files]

    @property
    def failed(self) -> list[FitJob]:
        """The jobs that came to nothing."""
        return [job for job in self.jobs if job.error is not None]

    def outcome(self) -> str:
        """What has become of the jobs, a line each: what was assigned, what deserves a remark, what failed."""
        assigned = [job.result for job in self.jobs if job.result.material]
        names = ", ".join(f'"{name}"' for result in assigned for name in result.materials)
        lines = [f"Assigned {names}", *dict.fromkeys(note for result in assigned for note in result.notes)]
        return "\n".join(lines + [f"{job.name}: {job.error}" for job in self.failed])

    def lowest_psnr_db(self) -> float | None:
        """How good the worst of the fits is in held-out views, in dB; None where that was not measured."""
        measured = [job.result.metrics.get("fit_heldout_psnr_db") for job in self.jobs if job.result.material]
        return min((psnr for psnr in measured if psnr is not None), default=None)
