# SPDX-License-Identifier: GPL-3.0-or-later
"""Set properties so that they stay: Blender evaluates drivers and keyframes again for each render."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import bpy


def fix(owner: Any, **values: Any) -> None:
    """Set properties of a datablock, or of a part of one, and let no driver or keyframe set them any more."""
    data = getattr(owner.id_data, "animation_data", None)
    for name, value in values.items():
        if data is not None:
            stop_animation(data, owner.path_from_id(name))
        if getattr(owner, name) != value:  # writing the same value would still reset the particles of an object
            setattr(owner, name, value)


def stop_animation(data: bpy.types.AnimData, path: str) -> None:
    """Let neither drivers nor actions, also those of the NLA, set the property at `path`."""
    for driver in [item for item in data.drivers if item.data_path == path]:
        data.drivers.remove(driver)
    for action in [data.action] + [strip.action for track in data.nla_tracks for strip in track.strips]:
        for curve in curves_of(action):
            if curve.data_path == path:
                curve.mute = True


def curves_of(action: bpy.types.Action | None) -> Iterator[bpy.types.FCurve]:
    """The curves of an action: of all its slots in Blender 4.4 and later."""
    if action is None:
        return
    if not hasattr(action, "layers"):
        yield from action.fcurves
        return
    for layer in action.layers:
        for strip in layer.strips:
            for bag in strip.channelbags:
                yield from bag.fcurves
