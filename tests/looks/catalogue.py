"""All looks by name.

    python tests/looks/catalogue.py

prints them as JSON, with the verdicts on their slots and the targets for which they must render as the originals do.

    python tests/looks/catalogue.py OUT.blend NAME [NAME...]

saves a file with an object for each of the looks, called as it is, in a world lit by an image.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a script, this folder alone is on the path

from looks.look import CORE, GLTF, PRINCIPLED, Look
from looks.mixed_looks import MIXED
from looks.single_looks import SINGLE
from scenes.parts import image_world, shipped_hdri

LOOKS: dict[str, Look] = {**SINGLE, **MIXED}
OWN_WORLD, UNSEEN_WORLDS = "studio", ("courtyard", "sunrise")


def build_looks(names: Iterable[str], looks: Mapping[str, Look] = LOOKS) -> list[bpy.types.Object]:
    """Fill the empty open file with some of the looks; returns the objects, all selected, the first one active."""
    image_world(shipped_hdri(OWN_WORLD))
    things = [looks[name].build(name) for name in names]
    for thing in things:
        thing.select_set(True)
    bpy.context.view_layer.objects.active = things[0]
    bpy.context.view_layer.update()
    return things


def listed() -> dict[str, dict[str, list[str]]]:
    """Of each look, the kinds of the verdicts on its slots, and the targets for which it must render as the original."""
    found = {}
    for name, look in LOOKS.items():
        targets = (CORE, GLTF, PRINCIPLED)
        equal = [target for target in targets if all(surface.renders_equal(target) for surface in look.surfaces)]
        found[name] = {"kinds": [surface.kind for surface in look.surfaces], "equal": equal}
    return found


if __name__ == "__main__":
    if len(sys.argv) == 1:
        print(json.dumps(listed()))
    else:
        bpy.ops.wm.read_factory_settings(use_empty=True)
        build_looks(sys.argv[2:])
        bpy.ops.wm.save_as_mainfile(filepath=str(Path(sys.argv[1]).absolute()), check_existing=False)
    sys.stdout.flush()
    os._exit(0)  # some versions of Blender hang or crash when Python ends
