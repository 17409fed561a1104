# SPDX-License-Identifier: GPL-3.0-or-later
"""Carry out a plan of compare_maps.py in this Blender."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from ..common.material_recipe import MaterialRecipe
from ..common.node_layout import build_world_nodes
from ..export import plan_json
from ..export.plan import GroupPlan, SlotUse
from ..references import rendering, stage
from ..references.candidate import assign, assign_candidate
from ..references.plan_work import open_file
from .errors import BAKE, FIT, OPAQUE, Choice, choose, products, score

Json = dict[str, Any]
OWN, UNSEEN = "own", "unseen"
Shots = dict[str, list[list[NDArray[np.float32]]]]
"""Renders of one look by light: [seed][view], float32 [size, size, 4]."""


class Comparison:
    """Renders the looks of one plan, and says after each render how far it is."""

    def __init__(self, plan: Json, set_up: stage.Stage, report: Callable[[Json], None]) -> None:
        self._plan, self._stage, self._report = plan, set_up, report
        self._worlds = {OWN: set_up.scene.world, UNSEEN: lit_by(plan["unseen"])}
        self._count = 3 * len(self._worlds) * len(plan["seeds"]) * len(plan["views"])
        self._done = 0

    def shots(self) -> Shots:
        """What the stage shows now, in both lights."""
        found: Shots = {}
        for light, world in self._worlds.items():
            self._stage.scene.world = world
            found[light] = [[self._shot(view | {"seed": seed}) for view in self._views] for seed in self._plan["seeds"]]
        return found

    def slots(self, group: GroupPlan) -> list[NDArray[np.uint8]]:
        """Which slots each pixel of the views shows, whether they let light through or not: the place, from 1, of their
        sets in `slots_of`; 0: none. The materials are gone after it."""
        places = {slots: place for place, slots in enumerate(slots_of(group), 1)}
        count = len(places) + 1
        recipes = tuple(glowing(places[item.slots] / count) for item in group.sets)
        assign(group, recipes, {})
        self._stage.scene.world = None
        with rendering.center_of_pixels(self._stage):
            images = [
                rendering.render_view(self._stage, view | {"samples": 1}, self._plan["size"], 1) for view in self._views
            ]
        return [np.round(image[..., 1] * count * (image[..., 3] > OPAQUE)).astype(np.uint8) for image in images]

    @property
    def _views(self) -> list[Json]:
        views: list[Json] = self._plan["views"]
        return views

    def _shot(self, view: Json) -> NDArray[np.float32]:
        image = rendering.render_view(self._stage, view, self._plan["size"], self._plan["samples"])
        self._done += 1
        self._report({"progress": self._done / self._count})
        return image


def compare_plan(plan: Json, report: Callable[[Json], None]) -> None:
    """Do what one plan asks for; call `report` with lines.

    Raises PbrFitError if the file lacks what the plan names, or a candidate cannot be assigned.
    """
    open_file(plan)
    scene, layer = stage.find_scene(plan["scene"], plan["view_layer"])
    names = [(name, library) for name, library in plan["objects"]]
    set_up = stage.set_up(scene, layer, names, plan["samples"], plan.get("threads", 0))
    group = plan_json.from_json(plan["group"], [target.session_uid for target in set_up.targets])
    comparison = Comparison(plan, set_up, report)
    shots = {"": comparison.shots()}
    for name in (BAKE, FIT):
        assign_candidate(group, plan["candidates"][name])
        shots[name] = comparison.shots()
    slots = slots_of(group)
    shown = comparison.slots(group)
    choices = [choice_of(shots, [pixels == place for pixels in shown]) for place in range(1, len(slots) + 1)]
    report({"compared": [choices[slots.index(item.slots)].to_json() for item in group.sets]})


def choice_of(shots: dict[str, Shots], masks: list[NDArray[np.bool_]]) -> Choice:
    """What to keep where the masks are: one for each view. What lets light through is compared over black."""
    original = shots[""]
    if not any(mask.any() for mask in masks):
        return Choice(BAKE, ())
    scores = []
    for light in original:
        found = {
            name: np.concatenate(
                [
                    products(
                        [seed[view] for seed in original[light]], [seed[view] for seed in shots[name][light]], mask
                    )
                    for view, mask in enumerate(masks)
                ]
            )
            for name in (BAKE, FIT)
        }
        scores.append(score(light, found[BAKE], found[FIT]))
    return choose(scores)


def slots_of(group: GroupPlan) -> list[tuple[SlotUse, ...]]:
    """The slots of the materials that a group gets: the UDIM tiles of a material share them."""
    return list(dict.fromkeys(item.slots for item in group.sets))


def glowing(value: float) -> MaterialRecipe:
    """A material that shows one value everywhere."""
    return MaterialRecipe(
        {
            "Base Color": (0.0, 0.0, 0.0),
            "Specular IOR Level": 0.0,
            "Emission Color": (value, value, value),
            "Emission Strength": 1.0,
        }
    )


def lit_by(path: str) -> bpy.types.World:
    """A new world that an HDRI lights."""
    world = bpy.data.worlds.new("PBRfit unseen light")
    build_world_nodes(world, bpy.data.images.load(path), "Unseen Light")
    return world
