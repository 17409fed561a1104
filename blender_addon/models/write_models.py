# SPDX-License-Identifier: GPL-3.0-or-later
"""Write objects of a .blend as the files of other programs. Runs in a separate Blender.

    python write_models.py plan.json                                      (bpy installed as a Python module)
    blender --background --factory-startup --python write_models.py -- plan.json

The plan is JSON:

- ``blend``, ``scene``, ``view_layer``, ``objects``, ``materials``, ``use_scripts``, ``cache_folders``, ``devices``: as in
  references/render_references.py; no .blend is written
- ``files``: list of what to write, each with ``what``; ``path``: the file; ``replace``: whether it and the files that belong to
  it may be overwritten, or the paths that may be. ``what`` is

  - "model": ``kind``, of protocol.model_kinds
  - "turntable": the values of ``turntable.render_turntable``
  - "sheet": the values of ``contact_sheet.render_sheet``

Lines on stdout, the word PBRFIT and JSON: {"written": the paths of the files of an entry, its own first}, {"progress": how far a
turntable is, 0..1}, {"device": ...} as in references/render_references.py, {"done": true}, {"error": {"cause", "cure"}}. All
other output of Blender goes to stderr.
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
    plan_work = importlib.import_module("pbrfit_modules.models.plan_work")

if __name__ == "__main__":
    plan_script.run(plan_work.write_plan, "The export")
