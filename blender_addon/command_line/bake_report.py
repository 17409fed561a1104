# SPDX-License-Identifier: GPL-3.0-or-later
"""What the report on a bake says of each material: the verdict on it, and what the new one gets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bpy

SETTINGS = (
    *("map_sets", "use_udim", "material_name", "image_storage", "resolution", "map_shape"),
    *("bake_target", "supersampling", "margin_type", "margin", "use_occlusion"),
    *("use_height", "use_curvature", "use_thickness"),
)
"""The settings that a bake uses."""


def slot_of(use: Any) -> bpy.types.MaterialSlot:
    """The material slot of a `SlotUse` of the installed extension."""
    owner = next(thing for thing in bpy.data.objects if thing.session_uid == use.object_uid)
    return owner.material_slots[use.slot_index]


class BakeReport:
    """The materials that a bake replaces; `verdicts`: JSON values on each of them."""

    def __init__(self, session: Any, verdict_of: Callable[[bpy.types.Material, str], Any]) -> None:
        """session, verdict_of: of the installed extension; the bake has started, and nothing is assigned yet."""
        self._bake = session.bakes[0]
        self._sets: dict[str, int] = {}
        self.verdicts: list[dict[str, Any]] = []
        for number, map_set in enumerate(self._bake.plan.sets):
            for slot in map_set.slots:
                material = slot_of(slot).material
                if material is not None and material.name not in self._sets:
                    self._sets[material.name] = number
                    known = verdict_of(material, self._bake.bake_plan["target"])
                    self.verdicts.append(
                        {
                            "name": material.name,
                            "verdict": known.kind,
                            "text": known.text,
                            "lost": list(known.lost),
                        }
                    )

    def materials(self) -> list[dict[str, Any]]:
        """The verdicts, each with what the new material gets, once the bake is done."""
        recipes = self._bake.recipes
        return [item | {"recipe": recipes[self._sets[item["name"]]].to_json()} for item in self.verdicts]
