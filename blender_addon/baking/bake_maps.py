# SPDX-License-Identifier: GPL-3.0-or-later
"""Bake what the materials of objects of a .blend say into maps. Runs in a separate Blender.

    python bake_maps.py plan.json                                      (bpy installed as a Python module)
    blender --background --factory-startup --python bake_maps.py -- plan.json

The plan is JSON:

- ``blend``, ``scene``, ``view_layer``, ``objects``, ``use_scripts``, ``cache_folders``, ``output``, ``threads``, ``plans``:
  as in references/render_references.py; without ``scene``, which then needs no ``view_layer``, the file has only the objects,
  and what they need, and they are put into a new scene at ``frame`` (1)
- ``materials``: as in references/render_references.py
- ``group``: the group of objects and its sets of maps, from ``export.plan_json``
- ``target``: CORE, GLTF or PRINCIPLED; ``resolution``: edge of square maps in pixels, or [width, height];
  ``supersampling``: 1, 2 or 4: how many points in a row each texel of a map is the mean of, where a texture can be finer
  than the map
- optional ``margin``: how many texels around faces are filled with what the nearest face has; absent or null: all
- optional ``occlusion``: whether to bake how open each texel is, too
- optional ``geometry``: some of Height, Curvature and Thickness, to bake too (see geometry.py)
- optional ``start_maps``: of each set, what `protocol.start_maps.start_entry` gives: these maps are read in place of a bake
- optional ``start``: whether a fit begins with the bake, and wants the start of each set of maps too (see start.py)

Each finished map is a file in ``output``, named as in a ``common.material_recipe.BakedMaps``. Lines on stdout, the word PBRFIT
and JSON: {"progress": 0..1, "message"}, {"baked": {"recipes": [...], "files": [names], "starts": [names]}},
{"error": {"cause", "cure"}}, {"done": true}; lines of further plans have "plan" (1, 2, ...). All other output of Blender
goes to stderr.
"""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..common import plan_script
    from . import plan_work
else:
    # This file runs as a script, and the add-on's own __init__ would register it. So its folder becomes another package.
    modules = types.ModuleType("pbrfit_modules")
    above = Path(__file__).resolve().parents
    modules.__path__ = [str(next(folder for folder in above if (folder / "blender_manifest.toml").is_file()))]
    sys.modules[modules.__name__] = modules
    plan_script = importlib.import_module("pbrfit_modules.common.plan_script")
    plan_work = importlib.import_module("pbrfit_modules.baking.plan_work")

if __name__ == "__main__":
    plan_script.run(plan_work.bake_plan, "Baking the maps")
