# SPDX-License-Identifier: GPL-3.0-or-later
"""What a session says of itself: where it is, how far, and what it leaves."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ..common.errors import PbrFitError
from ..references.views import View

IDLE, EXPORTING, STARTING, RENDERING, FITTING, APPLYING, DONE, FAILED, CANCELLED = (
    "idle", "exporting", "starting", "rendering", "fitting", "applying", "done", "failed", "cancelled",
)  # fmt: skip
FINISHED_STATES = frozenset({DONE, FAILED, CANCELLED})
WORKING_STATES = frozenset({STARTING, RENDERING, FITTING})
CURVE_POINTS = 200
STARTED, RENDERING_SHARE, ASSIGNING = 0.04, 0.6, 0.99  # of the progress bar
# The parts of the rest that the phases of a fit take; each phase counts from 0 to 1. "fitting" is by far the longest.
FIT_PHASES = {"preparing": (0.0, 0.0), "references": (0.0, 0.02), "table": (0.02, 0.12), "fitting": (0.12, 0.94)}
LAST_PHASES = (0.94, 1.0)


@dataclass(frozen=True)
class SessionStatus:
    """Where a session is.

    state: one of the names above; message: a sentence or two for the panel; fraction: 0..1 of the whole; iteration: of
    the optimiser; psnr_db, seconds_left (of this phase): None while unknown; error: why it failed; paused: it waits for
    the artist; job, jobs: the number of the group of objects it is at, from 1, and how many there are; curve: (seconds
    since the fit began, PSNR in dB) of the current job, at most a few hundred points; can_resume: it failed since the
    backend is gone, but goes on from where it was when resumed.
    """

    state: str = IDLE
    message: str = ""
    fraction: float = 0.0
    iteration: int = 0
    psnr_db: float | None = None
    seconds_left: float | None = None
    error: PbrFitError | None = None
    paused: bool = False
    job: int = 1
    jobs: int = 1
    curve: tuple[tuple[float, float], ...] = ()
    can_resume: bool = False

    def moved(
        self,
        state: str,
        message: str,
        fraction: float,
        iteration: int = 0,
        psnr_db: float | None = None,
        seconds_left: float | None = None,
    ) -> SessionStatus:
        """The status a step further; `fraction`: of the current job while it is worked on, else of all."""
        whole = (self.job - 1 + fraction) / self.jobs if state in WORKING_STATES else fraction
        return replace(
            self,
            state=state,
            message=message,
            fraction=max(whole, self.fraction),  # a bar that goes back says nothing
            iteration=iteration,
            psnr_db=psnr_db,
            seconds_left=seconds_left,
        )

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self.state in FINISHED_STATES

    @property
    def cause(self) -> str:
        """Why it failed; empty where it did not."""
        return self.error.cause if self.error is not None else ""

    @property
    def cure(self) -> str:
        """What to do about it; empty where nothing failed."""
        return self.error.cure if self.error is not None else ""


@dataclass
class SessionResult:
    """What a job leaves.

    object_name, uv_map: what was fitted, of several objects the first; materials: names of all that were made;
    material, original_materials (by slot, "": none) and world: the first object's; notes: what was done otherwise than
    chosen; files: result files by name; metrics: of the fit; seconds: by phase (export, start, render, fit, apply,
    total), as far as the job had them; plan: of the references as given to the second Blender; views: all, held-out
    included; warnings: what preflight had to say.
    """

    object_name: str
    uv_map: str
    plan: dict
    views: list[View]
    warnings: list[str]
    material: str = ""
    materials: tuple[str, ...] = ()
    original_materials: dict[int, str] = field(default_factory=dict)
    world: str = ""
    notes: tuple[str, ...] = ()
    files: dict[str, bytes] = field(default_factory=dict)
    metrics: dict = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def with_point(curve: tuple[tuple[float, float], ...], seconds: float, psnr_db: float) -> tuple:
    """The curve with one more point; where it gets long, every second of the older points goes."""
    if curve and curve[-1][1] == psnr_db:
        return curve
    if len(curve) >= CURVE_POINTS:
        curve = curve[::2]
    return (*curve, (seconds, psnr_db))


def fit_fraction(phase: str, fraction: float) -> float:
    """Where the progress bar is while the backend fits: 0..1 of a job, from the phase and its own 0..1."""
    first, last = FIT_PHASES.get(phase, LAST_PHASES)
    start = STARTED + RENDERING_SHARE
    return start + (ASSIGNING - start) * (first + (last - first) * min(1.0, max(0.0, fraction)))
