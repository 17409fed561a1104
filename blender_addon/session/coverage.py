# SPDX-License-Identifier: GPL-3.0-or-later
"""What the views of a fit saw of its maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..export.plan import GroupPlan


@dataclass(frozen=True)
class Coverage:
    """share: of the texels on the surface, how many no view saw, 0..1; masks: which, for each set of maps, as
    `protocol.unseen` writes it; empty where views saw all of it, or where it does not matter."""

    share: float = 0.0
    masks: tuple[str, ...] = ()


@dataclass(frozen=True)
class UnseenSet:
    """Which texels of a set of maps no view saw. uv_map: the UV map that reads it; tile: its UDIM tile, 0: none."""

    uv_map: str
    tile: int
    mask: str


def take_coverage(metrics: dict[str, Any]) -> Coverage:
    """What the metrics of a result say of it. The masks are taken out of the metrics, which are kept with each material."""
    masks = tuple(str(one.pop("unseen", "")) for one in metrics.get("sets", []))
    return Coverage(float(metrics.get("texels_unseen", 0.0)), masks)


def unseen_sets(plan: GroupPlan, coverage: Coverage) -> dict[tuple[int, int], list[UnseenSet]]:
    """The sets that views have not seen completely, by object (its session_uid) and slot."""
    found: dict[tuple[int, int], list[UnseenSet]] = {}
    for item, mask in zip(plan.sets, coverage.masks, strict=False):
        for slot in item.slots if mask else ():
            own = UnseenSet(item.uv_maps[slot.object_uid], item.tile, mask)
            found.setdefault((slot.object_uid, slot.slot_index), []).append(own)
    return found
