# SPDX-License-Identifier: GPL-3.0-or-later
"""The one session of this Blender, which panels and operators ask and handlers inform."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import bpy

from ..common.errors import PbrFitError
from .bake_session import BakeSession
from .base_session import WorkSession
from .session_status import (
    APPLYING,
    BAKING,
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
    "BAKING",
    "CANCELLED",
    "DONE",
    "EXPORTING",
    "FAILED",
    "FITTING",
    "IDLE",
    "RENDERING",
    "STARTING",
    "AnySession",
    "BakeSession",
    "OptimizeSession",
    "SessionResult",
    "SessionStatus",
    "WorkSession",
    "backend_device",
    "busy_text",
    "current",
    "end_session",
    "noun",
    "running",
    "start_bake",
    "start_session",
]

AnySession = WorkSession[Any]
Started = TypeVar("Started", bound=AnySession)

_current: AnySession | None = None


def current() -> AnySession | None:
    """The session that runs, or the last one; None before the first."""
    return _current


def running() -> bool:
    """Whether a fit or a bake runs in this Blender."""
    return _current is not None and not _current.status.finished and _current.status.state != IDLE


def noun() -> str:
    """What the current or last session does: "fit" or "bake"."""
    return _current.noun if _current is not None else OptimizeSession.noun


def busy_text() -> str:
    """Why nothing else can start while a session runs, and what to do."""
    return f"A {noun()} is running: wait for it, or cancel it"


def backend_device() -> str:
    """The device of the backend that was connected last; empty while it is not known."""
    return _current.device if _current is not None else ""


def start_session(
    context: bpy.types.Context, progress: Callable[[float], None] = lambda _fraction: None
) -> OptimizeSession:
    """Start fits in place of the last session. Raises PbrFitError as `WorkSession.start` does."""
    return _start(OptimizeSession(), context, progress)


def start_bake(context: bpy.types.Context, progress: Callable[[float], None] = lambda _fraction: None) -> BakeSession:
    """Start bakes in place of the last session. Raises PbrFitError as `WorkSession.start` does."""
    made = BakeSession()
    made.device = backend_device()  # a bake asks no backend, and so learns nothing else of it
    return _start(made, context, progress)


def _start(made: Started, context: bpy.types.Context, progress: Callable[[float], None]) -> Started:
    global _current
    if running():
        raise PbrFitError(f"A {noun()} is running already.", "Wait for it, or cancel it.")
    end_session()
    _current = made
    made.start(context, progress)
    return made


def end_session() -> None:
    """Close the session, if there is one, and forget it."""
    global _current
    if _current is not None:
        _current.close()
        _current = None
