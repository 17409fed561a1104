# SPDX-License-Identifier: GPL-3.0-or-later
"""Render objects of a .blend with their own materials, baked ones and fitted ones, and compare. Runs in a separate Blender.

It does so twice: first it looks whether the bake is near enough, later it compares bake and fit.

    python compare_maps.py plan.json                                      (bpy installed as a Python module)
    blender --background --factory-startup --python compare_maps.py -- plan.json

The plan is JSON:

- ``blend``, ``scene``, ``view_layer``, ``objects``, ``use_scripts``, ``cache_folders``, ``output``, ``threads``,
  ``devices``, ``plans``: as in references/render_references.py; no file is written
- ``group``: the group of objects and its sets of maps, from ``export.plan_json``
- ``candidates``: {"BAKE": ..., "FIT": ..., "ROUND_1": ...}, each {``recipes``: of each set, ``files``: the path of each file
  by name}: the first is kept unless one after it is better; ``near_enough``: how near that is to be, in dB
- ``shots``: the path of a file of renders: of those that are there none is made again, and new ones are added
- ``views``: as in references/render_references.py; ``size``: of the renders in pixels; ``samples``; ``seeds``: two
- ``own``: "world", or "studio" where the scene has no light; ``unseen``: the path of an HDRI that lights the objects besides

Lines on stdout, the word PBRFIT and JSON: {"device": ...} as there; {"progress": 0..1}, {"compared": [...], "near": ...}: for
each set {"kept", "scores"}, as in ``errors.Choice.to_json``, and whether what is kept of every set is near enough;
{"error": {"cause", "cure"}}, {"done": true}. All other output of Blender goes to stderr.
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
    plan_work = importlib.import_module("pbrfit_modules.comparing.plan_work")

if __name__ == "__main__":
    plan_script.run(plan_work.compare_plan, "Comparing the maps")
