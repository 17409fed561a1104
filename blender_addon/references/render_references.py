# SPDX-License-Identifier: GPL-3.0-or-later
"""Export and render objects of a .blend with Cycles, alone in their scene, for a fit. Runs in a separate Blender.

    python render_references.py plan.json                                      (bpy installed as a Python module)
    blender --background --factory-startup --python render_references.py -- plan.json

The plan is JSON:

- ``blend``; ``scene``, ``view_layer`` (names), ``objects`` (list of [name, library or null]): what to render, as it is in
  this scene and view layer; ``use_scripts``: whether the file's Python may run (false); ``cache_folders``: of
  ``copied_file.CopiedFile`` (none); ``output``: the folder for files
- ``mesh``: first export the objects as Cycles renders them; the group's plan, from ``export.plan_json``. Then ``cameras``:
  {``training``, ``held_out``, ``seed``, ``samples``, ``held_out_samples``} says which views to plan around them, and
  ``shown_triangles`` how many triangles the viewport shows
- ``views``, without ``mesh``: list of {``index``, ``matrix_world`` (4x4, of the Blender camera), ``fov`` (radians),
  ``clip_start``, ``clip_end``, and optionally ``seed`` and its own ``samples``}
- optional ``size`` (256 px), ``samples`` (16), ``threads`` (0: all cores)
- optional ``environment``: [width, height]: first render the world's light, in this size
- optional ``world``: the name of a world, in place of ``scene``, ``view_layer`` and ``objects``, to render only that
- optional ``plans``: further plans, which this process does afterwards, one after the other

Files, each of which appears complete (written under another name, then renamed):

- ``mesh.npz``: the wire arrays of the mesh
- ``view_0003.npy``: float32 [size, size, 4], linear Rec.709, premultiplied alpha, row 0 at the top
- ``environment.npy``: float32 [height, width, 3], linear Rec.709, equirectangular in Blender's mapping, row 0 at the top

Each result is a line on stdout, the word PBRFIT and JSON: {"environment": file}, {"mesh": file, "center", "radius", "overlap"},
{"view": index, "file": name, "seconds": s}, {"error": {"cause", "cure"}}, {"done": true}; lines of further plans have
"plan" (1, 2, ...). All other output of Blender goes to stderr. The .blend is never
saved, except that a copy with ``cache_folders`` gets their paths.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
import types
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import bpy

if TYPE_CHECKING:
    from ..common import errors
    from . import plan_work
else:
    # This file runs as a script, and the add-on's own __init__ would register it. So its folder becomes another package.
    modules = types.ModuleType("pbrfit_modules")
    above = Path(__file__).resolve().parents
    modules.__path__ = [str(next(folder for folder in above if (folder / "blender_manifest.toml").is_file()))]
    sys.modules[modules.__name__] = modules
    errors = importlib.import_module("pbrfit_modules.common.errors")
    plan_work = importlib.import_module("pbrfit_modules.references.plan_work")


def own_stdout() -> TextIO:
    """Keep stdout for our lines and send Blender's output to stderr, since its buffered lines would break ours."""
    ours = os.fdopen(os.dup(1), "w", encoding="utf-8")
    sys.stdout.flush()
    os.dup2(2, 1)
    return ours


def main(arguments: list[str]) -> int:
    """Carry out the plan named by the only argument; 0: done, 1: error line printed, 2: usage, 3: nobody listens."""
    if len(arguments) != 1:
        print("usage: render_references.py plan.json", file=sys.stderr)
        return 2
    stdout = own_stdout()

    def say(line: dict[str, Any], number: int = 0) -> None:
        mark = {"plan": number} if number else {}
        print("PBRFIT " + json.dumps({**line, **mark}), file=stdout, flush=True)

    try:
        plan = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
        for number, part in enumerate([plan, *plan.get("plans", [])]):
            plan_work.render_plan(part, partial(say, number=number))
        say({"done": True})
        return 0
    except BrokenPipeError:
        return 3
    except errors.PbrFitError as error:
        say({"error": {"cause": error.cause, "cure": error.cure}})
    except Exception as error:
        cause = f"Rendering the references failed: {type(error).__name__}: {error}"
        say({"error": {"cause": cause, "cure": "Look at the log of the windowless Blender for what happened before."}})
    return 1


if __name__ == "__main__":
    status = main(sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else sys.argv[1:])
    sys.stderr.flush()
    # The work is done, and some versions of Blender hang or crash when Python ends.
    shutil.rmtree(bpy.app.tempdir, ignore_errors=True)
    os._exit(status)
