# SPDX-License-Identifier: GPL-3.0-or-later
"""The second Blender that bakes: this one stays free, and nothing of the artist's file is touched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..common.material_recipe import BakedMaps, MaterialRecipe
from ..common.package import shipped_file
from ..common.second_blender import SecondBlender

SCRIPT = shipped_file("baking/bake_maps.py")


@dataclass(frozen=True)
class BakeProgress:
    """How far the bake of a group is: 0..1, and what it does now, as "Baking Base Color"."""

    group: int
    fraction: float
    message: str


@dataclass(frozen=True)
class MapsBaked:
    """The maps of a group are there. starts: the arrays of the start of each set's fit (see start.py), where the plan asks for
    them."""

    group: int
    maps: BakedMaps
    starts: tuple[dict[str, NDArray[np.float16]], ...] = ()


class MapBaker(SecondBlender[BakeProgress | MapsBaked]):
    """Bakes the groups of one plan, one after the other; see bake_maps.py for the plan and the files."""

    def __init__(self, plan: dict[str, Any], directory: Path) -> None:
        """Write the plan to `directory` and start; returns at once. Raises PbrFitError if the program cannot start."""
        self._folders = [Path(part["output"]) for part in (plan, *plan.get("plans", []))]
        super().__init__(SCRIPT, plan, directory, self._read_entry)

    def _read_entry(self, entry: dict[str, Any]) -> Iterator[BakeProgress | MapsBaked]:
        group = entry.get("plan", 0)
        if "progress" in entry:
            yield BakeProgress(group, entry["progress"], entry["message"])
        elif "baked" in entry:
            baked = entry["baked"]
            recipes = tuple(MaterialRecipe.from_json(values) for values in baked["recipes"])
            maps = BakedMaps(recipes, {name: self._file(group, name) for name in baked["files"]})
            yield MapsBaked(group, maps, tuple(self._start(group, name) for name in baked["starts"]))

    def _start(self, group: int, name: str) -> dict[str, NDArray[np.float16]]:
        with np.load(self._folders[group] / name) as arrays:
            return {key: arrays[key] for key in arrays}

    def _file(self, group: int, name: str) -> bytes:
        return (self._folders[group] / name).read_bytes()
