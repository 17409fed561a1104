# SPDX-License-Identifier: GPL-3.0-or-later
"""Export and render objects of a .blend with Cycles, alone in their scene, for a fit. Runs in a separate Blender.

    python render_references.py plan.json                                      (bpy installed as a Python module)
    blender --background --factory-startup --python render_references.py -- plan.json

The plan is JSON:

- ``blend``; ``scene``, ``view_layer`` (names), ``objects`` (list of [name, library or null]): what to render, as it is in
  this scene and view layer; ``use_scripts``: whether the file's Python may run (false); ``cache_folders``: of
  ``copied_file.CopiedFile`` (none); ``output``: the folder for files
- ``mesh``: first export the objects as Cycles renders them; the group's plan, from ``export.plan_json``. Then ``cameras``:
  {``training``, ``held_out``, ``seed``, ``samples``, ``held_out_samples``, and optionally ``lights`` and ``wanted``} says which
  views to plan around them, and ``shown_triangles`` how many triangles the viewport shows
- ``views``, without ``mesh``: list of {``index``, ``matrix_world`` (4x4, of the Blender camera), ``fov`` (radians),
  ``clip_start``, ``clip_end``, and optionally ``seed``, its own ``samples``, its own ``size`` as [width, height], ``shift`` as
  [across, up] in widths of the image, and ``width`` for a view without perspective: how much of the world is across}
- optional ``materials``: what slots of the objects show instead, [number of the object, slot, name of the material or null]
- optional ``rendered``: the indices of views that are there already
- optional ``candidate``: materials that a fit begins with, {``recipes``, ``files``} as in candidate.py, and ``name``; all views
  are rendered with them first, except those with the indices in ``rendered``; ``start``: the resolution at which to read
  the maps of a fit again, or 0; then ``group`` is the group's plan
- optional ``size`` (256 px), ``samples`` (16), ``threads`` (0: all cores)
- optional ``studio``: whether the Studio lights alone are the lights of the views
- optional ``devices``: what Cycles should render with, of ``render_devices.WantedDevices.to_json`` (the CPU)
- optional ``environment``: [width, height]: first render the world's light, in this size
- optional ``world``: the name of a world, in place of ``scene``, ``view_layer`` and ``objects``, to render only that
- optional ``plans``: further plans, which this process does afterwards, one after the other

Files, each of which appears complete (written under another name, then renamed):

- ``mesh.npz``: the wire arrays of the mesh
- ``view_0003.npy``: float32 [size, size, 4] (or of the view's own size), linear Rec.709, premultiplied alpha, row 0 at the top
- ``bake_0003.npy``, by the candidate's name: the same with the candidate, and the same random numbers
- ``fit_start.npz``, by its name: the texels of the candidate, as candidate_start.py gives them
- ``lights.npy``: the Studio lights, of ``studio_designs.studio_lights``, if any view is in one
- ``environment.npy``: float32 [height, width, 3], linear Rec.709, equirectangular in Blender's mapping, row 0 at the top

Each result is a line on stdout, the word PBRFIT and JSON: {"device": name, "on_gpu": whether it is a GPU, and perhaps
"note": why it is not what was wanted}, if the plan has ``devices``; {"environment": file}, {"lights": file},
{"mesh": file, "center", "radius", "overlap"}, {"start": file}, {"view" or "candidate": index, "file": name, "seconds": s},
{"error": {"cause", "cure"}}, with "gpu" if a GPU failed, {"done": true}; lines of further plans have "plan" (1, 2, ...). All
other output of Blender goes to stderr. The .blend is never saved, except that a copy with ``cache_folders`` gets their paths.
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
    plan_work = importlib.import_module("pbrfit_modules.references.plan_work")

if __name__ == "__main__":
    plan_script.run(plan_work.render_plan, "Rendering the references")
