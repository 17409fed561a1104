# SPDX-License-Identifier: GPL-3.0-or-later
"""Show maps on the stage, as the artist would get them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..assign.materials import AssignOptions, assignment_steps
from ..common.material_recipe import MaterialRecipe
from ..export.plan import GroupPlan
from .stage import Stage


def assign(group: GroupPlan, recipes: tuple[MaterialRecipe, ...], files: dict[str, bytes]) -> None:
    """Give the objects of a group new materials. Raises PbrFitError if that fails."""
    for _ in assignment_steps(group, files, {}, AssignOptions(), recipes):
        pass


def assign_candidate(group: GroupPlan, candidate: dict[str, Any]) -> None:
    """Give the objects of a group the materials of a plan: {"recipes": of each set, "files": the path of each by name}.

    Raises PbrFitError if that fails, OSError if a file cannot be read.
    """
    recipes = tuple(MaterialRecipe.from_json(values) for values in candidate["recipes"])
    assign(group, recipes, {name: Path(path).read_bytes() for name, path in candidate["files"].items()})


@contextmanager
def shown(set_up: Stage, group: GroupPlan, candidate: dict[str, Any]) -> Iterator[None]:
    """With the materials of a candidate in place of the objects' own."""
    before = [(slot, slot.link, slot.material) for target in set_up.targets for slot in target.material_slots]
    try:
        assign_candidate(group, candidate)
        yield
    finally:
        for slot, link, material in before:
            if slot.link != link:
                slot.link = link
            slot.material = material
