# SPDX-License-Identifier: GPL-3.0-or-later
"""The second Blender that compares: this one stays free, and nothing of the artist's file is touched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

from ..common.package import shipped_file
from ..common.render_devices import DeviceUsed
from ..common.second_blender import SecondBlender

SCRIPT = shipped_file("comparing/compare_maps.py")
VIEWS, SIZE, SAMPLES, SEEDS = 4, 128, 16, (700001, 700002)
"""What is rendered of each look, in each of two lights. All looks get the same random numbers, so that most noise cancels."""
UNSEEN_LIGHTS = ("interior", "city")
"""HDRIs that ship with Blender; the second one is for worlds that the first one lights."""


@dataclass(frozen=True)
class CompareProgress:
    """How far the comparison is: 0..1."""

    fraction: float


@dataclass(frozen=True)
class MapsCompared:
    """choices: what to keep of each set and why, as `errors.Choice.to_json` gives it; near: whether that is near enough."""

    choices: tuple[dict[str, Any], ...]
    near: bool


class MapComparer(SecondBlender[DeviceUsed | CompareProgress | MapsCompared]):
    """Compares the candidates of one plan; see compare_maps.py."""

    def __init__(self, plan: dict[str, Any], directory: Path) -> None:
        """Write the plan to `directory` and start; returns at once. Raises PbrFitError if the program cannot start."""
        super().__init__(SCRIPT, plan, directory, self._read_entry)

    def _read_entry(self, entry: dict[str, Any]) -> Iterator[DeviceUsed | CompareProgress | MapsCompared]:
        if "device" in entry:
            yield DeviceUsed.from_json(entry)
        elif "progress" in entry:
            yield CompareProgress(entry["progress"])
        elif "compared" in entry:
            yield MapsCompared(tuple(entry["compared"]), bool(entry["near"]))


def unseen_light(world: bpy.types.World | None) -> str:
    """The path of an HDRI of Blender that does not light a world already."""
    folder = Path(bpy.utils.system_resource("DATAFILES")) / "studiolights" / "world"
    tree = world.node_tree if world is not None else None
    images = [node.image for node in tree.nodes if getattr(node, "image", None) is not None] if tree is not None else []
    names = {Path(image.filepath).stem for image in images} | {Path(image.name).stem for image in images}
    return str(folder / f"{next(name for name in UNSEEN_LIGHTS if name not in names)}.exr")
