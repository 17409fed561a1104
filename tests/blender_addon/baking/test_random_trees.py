"""Random materials: every input of what is baked is what Cycles has at that point.

PBRFIT_RANDOM_TREES=100 tries more materials than the few of each run.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

bpy = pytest.importorskip("bpy")
hypothesis = pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, Phase, given, settings  # noqa: E402 (after the check that it is there)
from hypothesis import strategies as st  # noqa: E402
from looks import random_trees as trees  # noqa: E402 (they need bpy)
from looks.baking import ask, bake_looks  # noqa: E402

AT_ONCE = 6  # materials in one file
WANTED = int(os.environ.get("PBRFIT_RANDOM_TREES", "12"))
RESOLUTION = 256
LEAST_DB, MOST_DEGREES = 50.0, 1.0

VALUES = st.fixed_dictionaries(
    {
        "source": st.sampled_from(trees.SOURCES),
        "place": st.sampled_from(trees.PLACES),
        "scale": st.integers(4, 10).map(lambda number: number / 4),
        "seed": st.integers(0, 11),
        "detour": st.sampled_from(trees.DETOURS),
    }
)
INPUTS = st.dictionaries(st.sampled_from([*trees.SCALARS, *trees.COLORS, trees.BUMP]), VALUES, min_size=1, max_size=4)
RECIPES = st.fixed_dictionaries(
    {
        "shape": st.sampled_from(sorted(trees.SHAPES)),
        "way": st.sampled_from(trees.WAYS),
        "inputs": INPUTS,
        "second": VALUES,
        "mask": VALUES,
    }
)


def test_random_trees_are_baked_as_cycles_evaluates_them(addon, installed_extension: str) -> None:
    seen: list[str] = []

    @settings(
        max_examples=max(1, WANTED // AT_ONCE),
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],  # to shrink takes a second Blender each time
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(RECIPES, min_size=AT_ONCE, max_size=AT_ONCE))
    def try_trees(recipes: list[trees.Recipe]) -> None:
        named = {f"Random {number}": recipe for number, recipe in enumerate(recipes)}
        bpy.ops.wm.read_factory_settings(use_empty=True)
        bpy.ops.preferences.addon_enable(module=installed_extension)
        with tempfile.TemporaryDirectory(prefix="pbrfit_random_") as folder:
            looks = {name: trees.look_of(recipe) for name, recipe in named.items()}
            path = Path(folder) / "baked.blend"
            request = bake_looks(addon, named, "PRINCIPLED", RESOLUTION, path, looks)
            asked = [{**item, "recipe": named[item["look"]]} for item in request]
            found = ask("judge.py", asked, Path(folder))
        for name, recipe in named.items():
            wrong = [SimpleNamespace(**item) for item in found[name] if not is_right(item)]
            assert wrong == [], f"{recipe}"
            seen.append(recipe["way"])

    try_trees()
    print({way: seen.count(way) for way in trees.WAYS})
    assert len(seen) >= min(WANTED, AT_ONCE)


def is_right(item: dict[str, Any]) -> bool:
    """Whether an input is as it must be at the points away from jumps, if there are any."""
    if not item["points"] or not item["share"]:
        return True
    return item["degrees"] <= MOST_DEGREES if item["degrees"] is not None else item["db"] >= LEAST_DB
