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
from ..common.render_devices import use_devices
from ..export import plan_json
from ..export.plan import GroupPlan, SlotUse
from ..references import rendering, stage
from ..references.candidate import assign, assign_candidate
from ..references.plan_work import open_file
from ..references.studio_lights import BRIGHTNESS, image_world, studio_lights
from .errors import OPAQUE, Choice, NearScore, Products, all_near, choose, near_score, products
from .shots import Shots, load_shots, save_shots

Json = dict[str, Any]
OWN, UNSEEN = "own", "unseen"
ORIGINAL = "ORIGINAL"
Masks = list[NDArray[np.bool_]]
"""Pixels of each view, bool [size, size]."""


class Comparison:
    """Renders the looks of one plan, and says after each render how far it is."""

    def __init__(self, plan: Json, set_up: stage.Stage, report: Callable[[Json], None]) -> None:
        self._plan, self._stage, self._report = plan, set_up, report
        own = set_up.scene.world if plan.get("own", "world") == "world" else image_world(studio_lights(BRIGHTNESS)[0])
        self._worlds = {OWN: own, UNSEEN: lit_by(plan["unseen"])}
        self._count = len(self._worlds) * len(plan["seeds"]) * len(plan["views"])
        self._done = 0

    def add(self, shots: dict[str, Shots], group: GroupPlan) -> None:
        """Make the renders that are missing among `shots`, by look."""
        candidates: Json = self._plan["candidates"]
        missing = [look for look in (ORIGINAL, *candidates) if look not in shots]
        self._count *= max(1, len(missing))
        for look in missing:  # the original is first, while its materials are still there
            if look != ORIGINAL:
                assign_candidate(group, candidates[look])
            shots[look] = self.shots()

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
    on_gpu = use_devices(scene, plan, report)
    set_up = stage.set_up(scene, layer, names, plan["samples"], plan.get("threads", 0), on_gpu)
    group = plan_json.from_json(plan["group"], [target.session_uid for target in set_up.targets])
    comparison = Comparison(plan, set_up, report)
    shots = load_shots(plan["shots"])
    comparison.add(shots, group)
    save_shots(plan["shots"], shots)
    slots = slots_of(group)
    shown = comparison.slots(group)
    masks = [[pixels == place for pixels in shown] for place in range(1, len(slots) + 1)]
    choices = [choice_of(shots, own, list(plan["candidates"])) for own in masks]
    scores = [near_scores(shots, own, choice.kept) for own, choice in zip(masks, choices, strict=True)]
    near = all_near(scores, plan["near_enough"])
    report({"compared": [choices[slots.index(item.slots)].to_json() for item in group.sets], "near": near})


def choice_of(shots: dict[str, Shots], masks: Masks, looks: list[str]) -> Choice:
    """Which of several looks to keep where the masks are. What lets light through is compared over black."""
    if not any(mask.any() for mask in masks):
        return Choice(looks[0], ())
    found = {look: by_light(shots, look, masks) for look in looks}
    return choose({look: {light: np.concatenate(views) for light, views in own.items()} for look, own in found.items()})


def near_scores(shots: dict[str, Shots], masks: Masks, look: str) -> list[NearScore]:
    """How near a look is where the masks are, in each light; nothing where no view shows it."""
    if not any(mask.any() for mask in masks):
        return []
    return [near_score(list(zip(found, masks, strict=True))) for found in by_light(shots, look, masks).values()]


def by_light(shots: dict[str, Shots], look: str, masks: Masks) -> dict[str, list[Products]]:
    """The errors of a look in each light: those of each view where its mask is."""
    return {
        light: [
            products([seed[view] for seed in original], [seed[view] for seed in shots[look][light]], mask)
            for view, mask in enumerate(masks)
        ]
        for light, original in shots[ORIGINAL].items()
    }


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
