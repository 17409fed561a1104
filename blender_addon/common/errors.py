# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong, said so that an artist can act on it."""

from __future__ import annotations

from pathlib import Path

from ..protocol.errors import CauseAndCure


class PbrFitError(CauseAndCure):
    """A failure with its cause and its cure, both sentences."""


def own_fault(error: Exception) -> PbrFitError:
    """What to say of an exception that nobody foresaw."""
    return PbrFitError(f"PBRfit itself failed: {error!r}.", "Please report this as a fault.")


def log_tail(path: Path, lines: int = 12) -> str:
    """The last lines of a log file that hold anything; empty where there is no log."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])
