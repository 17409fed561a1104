# SPDX-License-Identifier: GPL-3.0-or-later
"""How long the fits of one click will still take: by their settings, by earlier fits, and by what they took so far."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

from ..closures.verdict import COMPOSITE, EXACT, UNREADABLE, VIEW
from . import past_fits
from .estimates import Seconds, measured_parts, seconds_of_parts
from .fit_queue import GroupFit
from .past_fits import FitKind, PastFit
from .session_status import APPLYING, BAKING, COMPARING, FITTING, RENDERING, STARTING, SessionStatus

PART_OF = {
    BAKING: "bake",
    COMPARING: "compare",
    STARTING: "render",
    RENDERING: "render",
    FITTING: "fit",
    APPLYING: "start",
}
NEEDED_BY_A_BAKE = ("start", "bake")
KINDS = (UNREADABLE, VIEW, COMPOSITE, EXACT)


class Expected:
    """The expectations of one session. Before `begin`, and for bakes, nothing is expected."""

    def __init__(self) -> None:
        self._fits: list[GroupFit] = []
        self._guesses: list[Seconds] = []
        self._expected: list[Seconds] = []
        self._disturbed = False

    def begin(self, groups: Iterable[Any]) -> None:
        """Expect the fits of a queue; other work is left out."""
        self._fits = [group for group in groups if isinstance(group, GroupFit)]
        device = past_fits.last_device()
        self._guesses = [guess_of(fit, device) for fit in self._fits]
        kinds = [kind_of(fit, device) for fit in self._fits]
        self._expected = [past_fits.learned(guess, of) for guess, of in zip(self._guesses, kinds, strict=True)]

    def disturb(self) -> None:
        """The artist paused, resumed or ended a fit early: its seconds tell nothing."""
        self._disturbed = True

    def seconds_left(self, status: SessionStatus, phase_seconds: float) -> int | None:
        """How long all fits will still take, about, in whole seconds; None where that is not known. phase_seconds: how long
        the current phase runs."""
        if status.paused or status.finished:
            return None
        part = PART_OF.get(status.state, "")
        if not self._expected or not part:
            return None if status.seconds_left is None else round(status.seconds_left)
        number = len(self._fits) - 1 if status.state == APPLYING else status.fit - 1
        expected = self._expected[number]
        spent = measured_parts(self._fits[number].result.seconds)
        spent[part] += phase_seconds
        left = {name: max(0.0, seconds - spent[name]) for name, seconds in expected.items()}
        if status.seconds_left is not None:
            left[part] = max(left.get(part, 0.0), status.seconds_left)
        return round(sum(left.values()) + sum(sum(later.values()) for later in self._expected[number + 1 :]))

    def remember(self, device: str) -> None:
        """All fits are over: keep what those that succeeded took, except if they were disturbed. device: of the backend."""
        if self._disturbed:
            return
        for fit in self._fits:
            if fit.error is None and fit.result.material:
                kind = kind_of(fit, device)
                took = measured_parts(fit.result.seconds)
                guess = guess_of(fit, device)
                past_fits.remember(PastFit(kind, guess, {part: round(took[part], 2) for part in guess}))


def kind_of(fit: GroupFit, device: str) -> FitKind:
    """What the fit of a group is compared with others by."""
    return fit_kind(fit.nodes, len(fit.plan.sets), fit.settings.device, device, fit.settings.quality)


def fit_kind(nodes: dict[str, Any], sets: int, chosen: str, found: str, quality: str) -> FitKind:
    """The same from what is known before. nodes: see `prepare.nodes_of`; chosen, found: the setting, and the device of the
    last backend."""
    kind = min((one["kind"] for one in nodes.values()), key=KINDS.index, default=EXACT)
    device = (found if chosen == "auto" else chosen).partition(":")[0]
    return FitKind(tuple(sorted(nodes)), kind, sets, device, quality)


def guess_of(fit: GroupFit, device: str) -> Seconds:
    """The seconds of each part that the fit of a group needs, from its settings only."""
    settings = SimpleNamespace(**fit.options.scene_settings)
    chosen = device if settings.device == "auto" else settings.device
    triangles = int(fit.render_plan["shown_triangles"])
    guess = seconds_of_parts(settings, triangles, len(fit.plan.sets), chosen.startswith("cuda"))
    return {part: seconds for part, seconds in guess.items() if part in NEEDED_BY_A_BAKE} if fit.exact else guess
