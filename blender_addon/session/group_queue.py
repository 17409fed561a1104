# SPDX-License-Identifier: GPL-3.0-or-later
"""The work of one click. Each part handles one group of objects; they are done one after the other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from ..assign.materials import AssignOptions
from ..common.errors import PbrFitError
from ..common.material_recipe import MaterialRecipe
from ..export.plan import GroupPlan
from .session_status import SessionResult


@dataclass
class GroupWork(ABC):
    """What the work on one group needs until it is over.

    plan: the group's objects and sets of maps; options: of the assignment; folder: of its files; result: what it leaves;
    notes: sentences for the artist; error: why it failed.
    """

    plan: GroupPlan
    options: AssignOptions
    folder: Path
    result: SessionResult
    notes: tuple[str, ...] = field(default=(), kw_only=True)
    error: PbrFitError | None = field(default=None, kw_only=True)

    @property
    def name(self) -> str:
        """The name of the group's first object."""
        return self.result.object_name

    @property
    def seconds(self) -> float:
        """How long the work on it took so far."""
        return round(sum(seconds for phase, seconds in self.result.seconds.items() if phase != "total"), 1)

    @property
    @abstractmethod
    def has_maps(self) -> bool:
        """Whether all maps of the group are there."""

    @property
    @abstractmethod
    def recipes(self) -> tuple[MaterialRecipe, ...] | None:
        """What the new material of each set gets; None for a fit's three maps."""

    @property
    @abstractmethod
    def record(self) -> dict[str, Any]:
        """JSON values to keep with the new materials."""

    @property
    @abstractmethod
    def cure(self) -> str:
        """What to do if nothing of it could be assigned."""


Work = TypeVar("Work", bound=GroupWork)


class GroupQueue(Generic[Work]):
    """The groups in their order, and which one is current."""

    def __init__(self, groups: list[Work]) -> None:
        self.groups = groups
        self._at = 0

    def __iter__(self) -> Iterator[Work]:
        return iter(self.groups)

    def __len__(self) -> int:
        return len(self.groups)

    @property
    def current(self) -> Work:
        """The group that is worked on, or the last one."""
        return self.groups[self._at]

    @property
    def number(self) -> int:
        """The number of the current group, from 1."""
        return self._at + 1

    def advance(self) -> bool:
        """Go to the next group; False if there is none."""
        if self._at + 1 == len(self.groups):
            return False
        self._at += 1
        return True

    @property
    def ready(self) -> list[Work]:
        """The groups that have maps and no failure."""
        return [group for group in self.groups if group.error is None and group.has_maps]

    def errors(self) -> Iterator[tuple[Work, PbrFitError]]:
        """The groups that failed, each with its error."""
        return ((group, group.error) for group in self.groups if group.error is not None)

    def first_error(self) -> PbrFitError:
        """The error of the first group that failed; at least one must have failed."""
        return next(error for _, error in self.errors())

    def outcome(self) -> str:
        """What became of the groups, one line each: what was assigned, the notes on it, and what failed."""
        assigned = [group.result for group in self.groups if group.result.material]
        names = ", ".join(f'"{name}"' for result in assigned for name in result.materials)
        lines = [f"Assigned {names}", *dict.fromkeys(note for result in assigned for note in result.notes)]
        return "\n".join(lines + self.failures())

    def failures(self) -> list[str]:
        """What failed while other groups were assigned, one line each."""
        return [f"{group.name}: {error}" for group, error in self.errors()]

    def lowest_psnr_db(self) -> float | None:
        """The PSNR of the worst group in held-out views, in dB; None if none was measured."""
        measured = [group.result.metrics.get("fit_heldout_psnr_db") for group in self.groups if group.result.material]
        return min((psnr for psnr in measured if psnr is not None), default=None)
