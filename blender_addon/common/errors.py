# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors that tell an artist what to do."""

from __future__ import annotations

from pathlib import Path

from bpy.types import Operator

from ..protocol.errors import CauseAndCure
from ..translations.translate import tr_report


class PbrFitError(CauseAndCure):
    """A failure with its cause and its cure, both sentences."""


class GpuFailed(PbrFitError):
    """Cycles could not render on a GPU: what is missing may be rendered on the CPU."""


_reported: list[PbrFitError] = []


def report(operator: Operator, error: PbrFitError) -> None:
    """Let an operator report an error. What Blender hands on to scripts is one text: they get the parts by `reported`."""
    _reported[:] = [error]
    operator.report({"ERROR"}, tr_report(str(error)))


def reported() -> PbrFitError | None:
    """The last error that an operator reported."""
    return _reported[0] if _reported else None


LAST_WORDS = " Its last words:"
"""What comes after a cause and before the end of the log of the process that failed."""


def first_line(cause: str) -> str:
    """A cause without the log of the process that failed, in one line."""
    return " ".join(cause.partition(LAST_WORDS)[0].split())


def log_of(cause: str) -> str:
    """The end of the log of the process that failed, as a cause holds it; empty if it holds none."""
    return cause.partition(LAST_WORDS)[2].strip("\n")


def own_fault(error: Exception) -> PbrFitError:
    """The error to show for an exception that nobody expected."""
    return PbrFitError(f"PBRfit itself failed: {error!r}.", "Please report this as a fault.")


def log_tail(path: Path, lines: int = 12) -> str:
    """The last lines of a log file that are not blank; empty if there is no log."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])
