# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep what was found out about materials until one changes: a panel asks again whenever Blender draws it.

To read a material takes some milliseconds, and many can be selected.
"""

from __future__ import annotations

from typing import Any

import bpy
from bpy.app.handlers import persistent

from ..closures.parameters import FITTED
from ..closures.verdict import Verdict, verdict_of
from ..settings.start import BAKE

CHANGING = ("MATERIAL", "NODETREE", "IMAGE")
"""Kinds of datablocks that a verdict may depend on."""

_known: dict[tuple[int, str, str], Verdict] = {}


def verdict(material: bpy.types.Material, target: str) -> Verdict:
    """What a bake of a material for a target can do; kept since the last change that Blender has evaluated."""
    key = material.session_uid, material.name, target
    if key not in _known:
        _known[key] = verdict_of(material, target)
    return _known[key]


def fitted_target(settings: Any) -> str:
    """What the new material of a fit can keep, from the scene's settings: what is baked for it, or the fitted maps alone."""
    return str(settings.bake_target) if settings.start == BAKE else FITTED


def forget_verdicts(*_arguments: object) -> None:
    """Read every material again when it is asked for."""
    _known.clear()


@persistent
def note_changes(_scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph) -> None:
    """After Blender has evaluated changes."""
    if _known and any(depsgraph.id_type_updated(kind) for kind in CHANGING):
        forget_verdicts()


@persistent
def note_another_file(*_arguments: object) -> None:
    """After undo, redo and load."""
    forget_verdicts()


HANDLERS = {
    "depsgraph_update_post": note_changes,
    "undo_post": note_another_file,
    "redo_post": note_another_file,
    "load_post": note_another_file,
}


def register() -> None:
    """Give the handlers to Blender."""
    for name, handler in HANDLERS.items():
        getattr(bpy.app.handlers, name).append(handler)


def unregister() -> None:
    """Take the handlers back."""
    for name, handler in HANDLERS.items():
        getattr(bpy.app.handlers, name).remove(handler)
    forget_verdicts()
