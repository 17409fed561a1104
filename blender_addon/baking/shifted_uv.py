# SPDX-License-Identifier: GPL-3.0-or-later
"""UV maps that reach into negative numbers: Blender bakes nothing there, so a copy is baked that lies whole numbers further.

The maps repeat, so the copy shows the same. The map itself stays, since nodes may read it.
"""

from __future__ import annotations

from dataclasses import replace

import bpy
import numpy as np

from ..export.plan import GroupPlan
from ..export.uv_layout import BORDER
from ..references.stage import Stage

NAME = "PBRfit bake"


def with_positive_uv_maps(set_up: Stage, group: GroupPlan) -> GroupPlan:
    """The group, with the names of the copies in place of UV maps of sets without UDIM tiles that are negative somewhere."""
    copies: dict[int, str] = {}
    targets = {target.session_uid: target for target in set_up.targets}
    for item in group.sets:
        for uid, name in item.uv_maps.items():
            if not item.tile and uid not in copies:
                made = positive_copy(targets[uid].data, name)
                if made is not None:
                    copies[uid] = made
    sets = tuple(
        replace(item, uv_maps={uid: copies.get(uid, name) for uid, name in item.uv_maps.items()}) for item in group.sets
    )
    return GroupPlan(group.objects, sets)


def positive_copy(mesh: bpy.types.Mesh, name: str) -> str | None:
    """The name of a copy of a UV map of a mesh that is nowhere negative; None if the map itself is not, or modifiers make it."""
    layer = mesh.uv_layers.get(name)
    if layer is None or not len(layer.uv):
        return None
    uv = np.empty(len(layer.uv) * 2, np.float32)
    layer.uv.foreach_get("vector", uv)
    lowest = np.floor(uv.reshape(-1, 2).min(axis=0) + BORDER)
    if lowest.min() >= 0.0:
        return None
    copy = mesh.uv_layers.get(NAME) or mesh.uv_layers.new(name=NAME, do_init=False)
    if copy is None:  # a mesh has eight at most
        return None
    copy.uv.foreach_set("vector", (uv.reshape(-1, 2) - np.minimum(lowest, 0.0)).ravel())
    return str(copy.name)
