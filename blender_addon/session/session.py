# SPDX-License-Identifier: GPL-3.0-or-later
"""The one session of this Blender, which panels and operators ask and handlers inform."""

from __future__ import annotations

from collections.abc import Callable

import bpy

from ..common.errors import PbrFitError
from .session_status import (
    APPLYING,
    CANCELLED,
    DONE,
    EXPORTING,
    FAILED,
    FITTING,
    IDLE,
    RENDERING,
    STARTING,
    SessionResult,
    SessionStatus,
)
from .state_machine import OptimizeSession

__all__ = [
    "APPLYING",
    "CANCELLED",
    "DONE",
    "EXPORTING",
    "FAILED",
    "FITTING",
    "IDLE",
    "RENDERING",
    "STARTING",
    "OptimizeSession",
    "SessionResult",
    "SessionStatus",
    "backend_device",
    "current",
    "end_session",
    "running",
    "start_session",
]

_current: OptimizeSession | None = None


def current() -> OptimizeSession | None:
    """The session that runs, or the last one; None before the first."""
    return _current


def running() -> bool:
    """Whether a fit runs in this Blender."""
    return _current is not None and not _current.status.finished and _current.status.state != IDLE


def backend_device() -> str:
    """The device of the backend of the current or last session; empty while it is not known."""
    return _current.device if _current is not None else ""


def start_session(
    context: bpy.types.Context, progress: Callable[[float], None] = lambda _fraction: None
) -> OptimizeSession:
    """Start a new session in place of the last one. Raises PbrFitError as `OptimizeSession.start` does."""
    global _current
    if running():
        raise PbrFitError("A fit is running already.", "Wait for it, or cancel it.")
    end_session()
    _current = OptimizeSession()
    _current.start(context, progress)
    return _current


def end_session() -> None:
    """Close the session, if there is one, and forget it."""
    global _current
    if _current is not None:
        _current.close()
        _current = None
