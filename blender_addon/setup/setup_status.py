# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a setup of the backend is, for the preferences to show."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..common.errors import PbrFitError
from .backend_environment import BackendEnvironment

RUNNING, DONE, FAILED, CANCELLED = "running", "done", "failed", "cancelled"


@dataclass(frozen=True)
class SetupStatus:
    """Where a setup is. fraction: 0..1; megabytes: downloaded so far, of about `expected_megabytes`; error: why it failed;
    other_index_may_do: PyTorch's own index does not give it, and the one that pip is configured for was not asked;
    environment: what was made.
    """

    state: str = RUNNING
    message: str = "Looking for Python"
    fraction: float = 0.0
    megabytes: float = 0.0
    expected_megabytes: float = 0.0
    error: PbrFitError | None = None
    other_index_may_do: bool = False
    environment: BackendEnvironment | None = None

    @property
    def finished(self) -> bool:
        """Whether the setup has ended."""
        return self.state != RUNNING


class RunningSetup(Protocol):
    """A setup, from its start to its end; no method waits, except `close`."""

    log_path: Path

    @property
    def status(self) -> SetupStatus:
        """How far it is, or how it ended."""

    @property
    def seconds(self) -> float:
        """How long it has run, or ran."""

    def cancel(self) -> None:
        """End it soon."""

    def close(self, patience: float = 5.0) -> None:
        """Cancel it and wait until it has ended, at most `patience` seconds."""
