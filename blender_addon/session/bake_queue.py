# SPDX-License-Identifier: GPL-3.0-or-later
"""The bakes of one click. Each handles one group of objects."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..closures.parameters import NORMAL
from ..common.material_recipe import BakedMaps, MaterialRecipe
from .group_queue import GroupWork

RECORDED = ("target", "resolution", "supersampling", "occlusion", "geometry")


@dataclass
class GroupBake(GroupWork):
    """What the bake of one group needs until it is over.

    bake_plan: for the second Blender; folder: of its maps; maps: what it has made, None before that; nodes: what
    `prepare.nodes_of` says of the original materials.
    """

    bake_plan: dict[str, Any]
    maps: BakedMaps | None = None
    nodes: dict[str, Any] = field(default_factory=dict)

    @property
    def has_maps(self) -> bool:
        """Whether the bake is done: a material that is the same everywhere has numbers, and no file."""
        return self.maps is not None

    @property
    def recipes(self) -> tuple[MaterialRecipe, ...] | None:
        """What the new material of each set gets; None before the bake is done."""
        return self.maps.recipes if self.maps is not None else None

    @property
    def record(self) -> dict[str, Any]:
        """What was baked, how finely, and what of it is lost."""
        recorded = {name: self.bake_plan[name] for name in RECORDED}
        known = {"nodes": self.nodes, "notes": list(self.notes), "seconds": self.seconds}
        return {"kind": "bake", **recorded, **known}

    @property
    def cure(self) -> str:
        """What to do if nothing of it could be assigned."""
        return "Bake it again."

    def take(self, maps: BakedMaps) -> None:
        """Keep what was baked."""
        self.maps = maps
        self.result.files = dict(maps.files)
        own = (
            item.name for item, recipe in zip(self.plan.sets, maps.recipes, strict=True) if NORMAL not in recipe.inputs
        )
        self.notes += tuple(
            f'"{name}" has no normal map: its normals are those of the surface.' for name in dict.fromkeys(own)
        )
