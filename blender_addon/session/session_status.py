# SPDX-License-Identifier: GPL-3.0-or-later
"""What a session says about itself: its state, its progress, and its results."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from ..common.errors import PbrFitError
from ..protocol.client import events
from ..references.views import View

IDLE, EXPORTING, STARTING, BAKING, RENDERING, FITTING, COMPARING, APPLYING, DONE, FAILED, CANCELLED = (
    "idle", "exporting", "starting", "baking", "rendering", "fitting", "comparing", "applying", "done", "failed",
    "cancelled",
)  # fmt: skip
FINISHED_STATES = frozenset({DONE, FAILED, CANCELLED})
WORKING_STATES = frozenset({STARTING, BAKING, RENDERING, FITTING, COMPARING})
CURVE_POINTS = 200
# Of the progress bar: where the work, the look at the bake, the references, the fit, the comparison and the assignment begin.
STARTED, BAKED, RENDERING_FROM, FITTING_FROM, COMPARING_FROM, ASSIGNING = 0.04, 0.08, 0.12, 0.6, 0.92, 0.99
# Where each phase of a fit begins and ends in the rest of the bar; a phase counts from 0 to 1. "fitting" is by far the
# longest.
FIT_PHASES = {"preparing": (0.0, 0.0), "references": (0.0, 0.02), "table": (0.02, 0.12), "fitting": (0.12, 0.94)}
LAST_PHASES = (0.94, 1.0)
# What the backend does, in words of an artist; of other phases its own words are shown.
PHASE_WORDS = {
    "preparing": "Finding where the object shadows itself",
    "references": "Reading the renders",
    "table": "Finding what each render shows",
    "baking": "Writing the maps",
}

Curve = tuple[tuple[float, float], ...]  # (seconds, PSNR in dB)


@dataclass(frozen=True)
class SessionStatus:
    """Where a session is.

    state: one of the names above; message: a sentence or two for the panel; fraction: 0..1 of the whole; iteration: of
    the optimizer; psnr_db, seconds_left (of this phase): None while unknown; time_left: seconds of all that is left,
    about, None while unknown; error: why it failed; paused: it waits for the artist; fit, fits: the number of the current
    group, from 1, and how many there are; round, rounds: the number of the current round of correction, 0 in the fit
    itself, and how many there will be; curve: (seconds since the fit began, PSNR in dB) of the current fit, at most a few
    hundred points; can_resume: it failed because the backend is gone, and can go on from where it was.
    """

    state: str = IDLE
    message: str = ""
    fraction: float = 0.0
    iteration: int = 0
    psnr_db: float | None = None
    seconds_left: float | None = None
    error: PbrFitError | None = None
    paused: bool = False
    fit: int = 1
    fits: int = 1
    round: int = 0
    rounds: int = 0
    curve: Curve = ()
    can_resume: bool = False
    time_left: int | None = None

    def moved(
        self,
        state: str,
        message: str,
        fraction: float,
        iteration: int = 0,
        psnr_db: float | None = None,
        seconds_left: float | None = None,
    ) -> SessionStatus:
        """The status one step further; `fraction`: of the current group while it is worked on, else of all."""
        whole = (self.fit - 1 + fraction) / self.fits if state in WORKING_STATES else fraction
        return replace(
            self,
            state=state,
            message=message,
            fraction=max(whole, self.fraction),  # a bar must not go back
            iteration=iteration,
            psnr_db=psnr_db,
            seconds_left=seconds_left,
        )

    def rendering(self, done: int, count: int, seconds: float, device: str = "") -> SessionStatus:
        """The status after `done` of `count` views of the current fit or round, rendered in these seconds; device: with
        what, or empty while that is not known."""
        left = seconds / done * (count - done) if done else None
        by = f" with {device}" if device else ""
        message = f"Rendering {'the fit and references' if self.round else 'references'} {done}/{count}{by}"
        share = (FITTING_FROM - RENDERING_FROM) * done / count
        return self.moved(RENDERING, message, self.in_round(RENDERING_FROM + share), seconds_left=left)

    def fitting(self, event: events.Progress, seconds: float) -> SessionStatus:
        """The status after what the backend reports, these seconds after the fit began."""
        status = self
        if event.psnr_db is not None:
            status = replace(self, curve=with_point(self.curve, seconds, event.psnr_db))
        fraction = fit_fraction(event.phase, event.fraction)
        psnr = self.psnr_db if event.psnr_db is None else event.psnr_db
        message = PHASE_WORDS.get(event.phase) or event.message or event.phase
        if self.round:
            message = f"Correction {self.round}/{self.rounds}: {message}"
        return status.moved(FITTING, message, self.in_round(fraction), event.iteration, psnr, event.seconds_left)

    def in_round(self, fraction: float) -> float:
        """Where the bar is, from where it would be if the fit were all: a round takes about half as long as a fit."""
        share = (fraction - RENDERING_FROM) / (COMPARING_FROM - RENDERING_FROM)
        done = share if self.round == 0 else 1.0 + (self.round - 1 + share) / 2.0
        return RENDERING_FROM + (COMPARING_FROM - RENDERING_FROM) * done / (1.0 + self.rounds / 2.0)

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self.state in FINISHED_STATES

    @property
    def cause(self) -> str:
        """Why it failed; empty if it did not."""
        return self.error.cause if self.error is not None else ""

    @property
    def cure(self) -> str:
        """What to do about it; empty if nothing failed."""
        return self.error.cure if self.error is not None else ""


@dataclass
class SessionResult:
    """What a fit or bake of one group leaves.

    object_name, uv_map: what was fitted (the first of several objects); materials: names of all that were made; material
    (material_uid: its session_uid), original_materials (by slot, "": none) and world: the first object's; notes: what
    differs from what was chosen; files: result files by name; metrics: of the fit; compared: what is kept of each set, and
    how near bake and fit are; render_device: what Cycles rendered with last, empty if it did not; seconds: by phase
    (export, start, bake, render, fit, compare, apply, total), those that there were; plan: of the second Blender; views: of
    the references, held-out ones included; warnings: of the preflight.
    """

    object_name: str
    uv_map: str
    plan: dict[str, Any]
    views: list[View]
    warnings: list[str]
    material: str = ""
    material_uid: int = 0
    materials: tuple[str, ...] = ()
    original_materials: dict[int, str] = field(default_factory=dict)
    world: str = ""
    notes: tuple[str, ...] = ()
    files: dict[str, bytes] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    compared: tuple[dict[str, Any], ...] = ()
    render_device: str = ""
    seconds: dict[str, float] = field(default_factory=dict)


def with_point(curve: Curve, seconds: float, psnr_db: float) -> Curve:
    """The curve with one more point; once it is long, every other one of the older points goes."""
    if curve and curve[-1][1] == psnr_db:
        return curve
    if len(curve) >= CURVE_POINTS:
        curve = curve[::2]
    return (*curve, (seconds, psnr_db))


def fit_fraction(phase: str, fraction: float) -> float:
    """Where the progress bar is while the backend fits: 0..1 of the current fit, from the phase and its own 0..1."""
    first, last = FIT_PHASES.get(phase, LAST_PHASES)
    return FITTING_FROM + (COMPARING_FROM - FITTING_FROM) * (first + (last - first) * min(1.0, max(0.0, fraction)))
