# SPDX-License-Identifier: GPL-3.0-or-later
"""A group's plan as JSON, for a Blender that has the same objects under other numbers."""

from __future__ import annotations

from typing import Any

from .plan import GroupPlan, MapSet, ObjectUse, SlotUse


def to_json(plan: GroupPlan) -> dict[str, Any]:
    """The plan as JSON values: objects are counted from 0 in the plan's order, in place of their numbers."""
    places = {item.uid: place for place, item in enumerate(plan.objects)}
    return {
        "objects": [item.name for item in plan.objects],
        "sets": [
            {
                "name": item.name,
                "slots": [[places[slot.object_uid], slot.slot_index] for slot in item.slots],
                "uv_maps": [[places[uid], name] for uid, name in item.uv_maps.items()],
                "tile": item.tile,
            }
            for item in plan.sets
        ],
    }


def from_json(values: dict[str, Any], uids: list[int]) -> GroupPlan:
    """The plan of what `to_json` gave; uids: the numbers that its objects have here, in their order."""
    return GroupPlan(
        tuple(ObjectUse(name, uid) for name, uid in zip(values["objects"], uids, strict=True)),
        tuple(
            MapSet(
                item["name"],
                tuple(SlotUse(uids[place], slot) for place, slot in item["slots"]),
                {uids[place]: name for place, name in item["uv_maps"]},
                item["tile"],
            )
            for item in values["sets"]
        ),
    )
