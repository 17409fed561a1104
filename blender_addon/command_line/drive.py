# SPDX-License-Identifier: GPL-3.0-or-later
"""Do in a windowless Blender what an artist does: install the extension, open the file, press the button, save.

    python drive.py request.json                                    (bpy installed as a Python module)
    blender --background --factory-startup --python drive.py -- request.json

The request is JSON:

- ``blend`` (the file, or null for the demo's scene) and ``object`` (its name)
- ``button``: the name of the operator: "optimize" or "bake_maps"
- ``layout``, optional: how to save the maps for another program: see saved_layout.py
- ``export``, optional: what to export besides: see exported_files.py
- ``others``: names of further objects that are selected too
- ``unwrap``, ``pack_islands``: whether to give them a new UV map first, with the add-on's operator
- ``extension``: the zip to install
- ``backend_python``: for the add-on's preferences; ``backend``, which may be missing: ``address`` and public ``key`` of one
  that runs, and ``client_keys``, the file of the keys that it knows
- ``properties``: for ``scene.pbrfit``, in order
- ``original``: where to save a copy of the file before, or null; ``result``: where to save the file after it
- ``owner``: what report.json says first: whose result it is; ``replaceable``: names of files beside ``result`` that may be
  overwritten
- ``relit_hdri``, for a fit: name of an HDRI that ships with Blender; the result gives its path

BLENDER_USER_RESOURCES should name an empty folder, so that the artist's own preferences stay as they are.

Each event is a line on stdout: the word PBRFIT and JSON, one of {"progress": {...}}, {"verdicts": [...]},
{"result": {...}}, {"error": {"cause", "cure"}}, {"cancelled": true}, {"done": true}. When standard input ends, the work is
cancelled.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import bpy

if TYPE_CHECKING:
    from .artist_file import DriveError, find_others, find_target, foggy_world, linked_files, open_file, select_alone
    from .bake_report import SETTINGS, BakeReport, slot_of
    from .demo_scene import build_demo_scene, shipped_hdri
    from .exported_files import ExportedFiles
    from .result_files import PICTURE, ResultFolder
    from .saved_layout import SavedLayout
    from .script import own_stdout, run
else:  # this file runs as a script, without its package
    sys.path.insert(0, str(Path(__file__).parent))
    from artist_file import DriveError, find_others, find_target, foggy_world, linked_files, open_file, select_alone
    from bake_report import SETTINGS, BakeReport, slot_of
    from demo_scene import build_demo_scene, shipped_hdri
    from exported_files import ExportedFiles
    from result_files import PICTURE, ResultFolder
    from saved_layout import SavedLayout
    from script import own_stdout, run

Json = dict[str, Any]

EXTENSION = "bl_ext.user_default.pbrfit"
BAKE = "bake_maps"
LIGHT = "environment.exr"
POLL_SECONDS = 0.05
# How often a fit goes on with another backend after its own was lost.
MOST_RESUMES = 3


class Cancelled(Exception):
    """The work was cancelled."""


def drive(request: Json, say: Callable[[Json], None], cancelled: threading.Event) -> Json:
    """Carry out a request; returns what {"result": ...} says. Raises DriveError or Cancelled."""
    if request["blend"] is None:
        build_demo_scene()
    else:
        open_file(request["blend"])
    saved = Path(request["result"])
    folder = ResultFolder(saved.parent, saved, request["replaceable"])
    folder.check_unused(request["blend"])
    scene, layer, target = find_target(request["blend"] or "the demo", request["object"])
    links = linked_files()
    fog = foggy_world(scene, layer)  # before the fit, which may give the scene another world
    if request["original"]:
        bpy.ops.wm.save_as_mainfile(filepath=request["original"], copy=True, check_existing=False)
    others = find_others(request["blend"] or "the demo", scene, layer, request["others"])
    before = select_alone(scene, layer, target, others)
    install_extension(request)
    before.keep_settings()
    for name, value in _properties(request).items():
        setattr(scene.pbrfit, name, value)
    layout = SavedLayout(request["layout"], EXTENSION) if request.get("layout") else None
    exports = ExportedFiles(request.get("export", []), EXTENSION, saved.parent, set(request["replaceable"]))
    images_before = {image.session_uid for image in bpy.data.images}
    session_module = importlib.import_module(EXTENSION + ".session.session")
    if request["unwrap"]:
        _press(bpy.ops.pbrfit.unwrap, request)
    if request["pack_islands"]:
        _press(bpy.ops.pbrfit.pack_islands, request)
    _press(getattr(bpy.ops.pbrfit, request["button"]), request)
    session = session_module.current()
    try:
        if layout is not None:
            layout.check_names(session.plans[0], saved.parent, set(request["replaceable"]))
        baked = _begun_bake(session, say) if request["button"] == BAKE else None
        _wait(session, say, cancelled)
        files, laid_out = ({}, None) if layout is None else layout.files(target)
        names = folder.write(request["owner"], session.result.files | files, [PICTURE] if baked is None else [])
        summary = _summary(request, target, layer, session) | {"layout": laid_out}
        if baked is None:
            summary |= _of_fit(request, session) | {"foggy_world": fog}
        else:
            summary["materials"] = baked.materials()
        before.restore()
        as_files = request["properties"].get("image_storage") == "FILES"
        names += folder.save(_new_maps(images_before) if as_files else None)
    finally:
        session.close()
    targets = [item.name for item in (target, *others)]
    exported = exports.write(saved, summary["scene"], summary["view_layer"], targets) if request.get("export") else []
    return summary | {"files": names + exported, "exported": exported, "links": links}


def _begun_bake(session: Any, say: Callable[[Json], None]) -> BakeReport:
    verdict_of = importlib.import_module(EXTENSION + ".closures.verdict").verdict_of
    found = BakeReport(session, verdict_of)
    say({"verdicts": found.verdicts})
    return found


def _properties(request: Json) -> Json:
    # The add-on would write the files beside the artist's .blend; they belong beside the result.
    return {name: "PACKED" if name == "image_storage" else value for name, value in request["properties"].items()}


def _new_maps(images_before: set[int]) -> list[bpy.types.Image]:
    """The packed images that the fit made; those of earlier fits stay as the artist has them."""
    images = [image for image in bpy.data.images if image.session_uid not in images_before]
    return [image for image in images if "pbrfit" in image and image.packed_files]


def _press(button: Callable[[], object], request: Json) -> None:
    """Call an operator. Blender raises what it reports as one text; the extension knows its cause and its cure."""
    try:
        button()
    except RuntimeError as error:
        text = str(error).removeprefix("Error: ").strip()
        reported = importlib.import_module(EXTENSION + ".common.errors").reported()
        cause, cure = (text, "") if str(reported) != text else (reported.cause, reported.cure)
        if "nwrap" in text and not request["unwrap"]:
            cure = f"{cure} The option --unwrap does this first.".strip()
        if cure.endswith("Optimize Materials."):
            cure += " On the command line that is `pbrfit optimize`."
        raise DriveError(cause, cure) from error


def install_extension(request: Json) -> None:
    """Install and enable the extension if it is not, and tell it which Python runs the backend. Raises DriveError if Blender
    refuses it."""
    archive = request["extension"]
    if EXTENSION not in bpy.context.preferences.addons:
        bpy.ops.extensions.package_install_files(filepath=archive, repo="user_default", enable_on_install=True)
    # The operator returns FINISHED even if it refuses the zip.
    addon = bpy.context.preferences.addons.get(EXTENSION)
    if addon is None or addon.preferences is None:
        raise DriveError(
            f"Blender {bpy.app.version_string} cannot use the extension {archive}.",
            "Use Blender 4.2.23 or newer on the platform that this Python is for.",
        )
    addon.preferences.backend_python = request["backend_python"]
    backend = request.get("backend")
    if backend is not None:
        client_keys = Path(bpy.utils.extension_path_user(EXTENSION, create=True)) / "client_keys.json"
        if not client_keys.exists():
            client_keys.parent.chmod(0o700)
            shutil.copy2(backend["client_keys"], client_keys)
        addon.preferences.backend_address, addon.preferences.backend_key = backend["address"], backend["key"]


def remove_extension() -> None:
    """Disable the extension if it is enabled: this ends its backend."""
    if EXTENSION in bpy.context.preferences.addons:
        bpy.ops.preferences.addon_disable(module=EXTENSION)


def _wait(session: Any, say: Callable[[Json], None], cancelled: threading.Event) -> None:
    """Poll the session (the installed extension's `WorkSession`) to its end, and report its progress.

    A fit whose backend is lost goes on with another one, as it does when an artist presses Resume.
    """
    last, resumes = None, 0
    while True:
        if cancelled.is_set():
            session.cancel()
        status = session.poll()
        shown = _progress(status)
        if shown != last:
            say({"progress": shown})
            last = shown
        if status.state == "failed":
            # Where no backend ever answered, another one would not either.
            if status.can_resume and session.device and resumes < MOST_RESUMES and not cancelled.is_set():
                resumes += 1
                print(
                    f"The backend was lost ({resumes} of {MOST_RESUMES}): {status.error}", file=sys.stderr, flush=True
                )
                # What it raises, it has failed with again, which its status says.
                with contextlib.suppress(importlib.import_module(EXTENSION + ".common.errors").PbrFitError):
                    session.resume(bpy.context)
                continue
            raise DriveError(status.error.cause, status.error.cure)
        if status.state == "cancelled":
            raise Cancelled
        if status.state == "done":
            return
        time.sleep(POLL_SECONDS)


def _progress(status: Any) -> Json:
    return {
        "state": status.state,
        "fraction": status.fraction,
        "seconds_left": status.seconds_left,
        "psnr_db": status.psnr_db,
        "message": status.message,
    }


def _summary(request: Json, target: bpy.types.Object, layer: bpy.types.ViewLayer, session: Any) -> Json:
    """What there is to say of a fit and of a bake."""
    result, scene = session.result, layer.id_data
    return {
        "scene": scene.name,
        "view_layer": layer.name,
        "object": target.name,
        "material": result.material,
        "sets": _sets(session.plans[0].sets, sorted(result.files)),
        "seconds": result.seconds,
        "settings": _settings(scene, request["button"] == BAKE)
        | {"image_storage": request["properties"].get("image_storage", "PACKED")},
        "warnings": [*result.warnings, *result.notes],
        "blender": bpy.app.version_string,
        "python": sys.version.split()[0],
    }


def _of_fit(request: Json, session: Any) -> Json:
    """What the report on a fit needs besides."""
    return {
        "metrics": session.result.metrics,
        "render_device": session.result.render_device,
        "compared": list(session.result.compared),
        "verdicts": importlib.import_module(EXTENSION + ".session.verdict_text").compared_lines(
            [item.name for item in session.plans[0].sets], session.result.compared
        ),
        "held_out_views": [view.for_blender() for view in session.result.views if view.held_out],
        "relit_hdri": shipped_hdri(request["relit_hdri"]),
        "fonts": str(Path(bpy.utils.system_resource("DATAFILES")) / "fonts"),
    }


def _sets(sets: Any, files: list[str]) -> list[Json]:
    """The sets of maps: what each is named after, its new material, its UDIM tile (0: none) and its files."""
    return [
        {
            "name": map_set.name,
            "material": slot_of(map_set.slots[0]).material.name,
            "tile": map_set.tile,
            "files": [name for name in files if name != LIGHT and (len(sets) == 1 or name.startswith(f"{index}/"))],
        }
        for index, map_set in enumerate(sets)
    ]


def _settings(scene: bpy.types.Scene, is_bake: bool) -> Json:
    """Every setting that was used, by name."""
    names = [item.identifier for item in scene.pbrfit.bl_rna.properties if not item.is_readonly]
    used = set(SETTINGS) if is_bake else set(names) - {"name"}
    return {name: getattr(scene.pbrfit, name) for name in names if name in used}


def answer(work: Callable[[], Json], say: Callable[[Json], None]) -> int:
    """Say what work comes to: its result and that it is done, its error, or that it is cancelled; 0, 1 or 130."""
    try:
        say({"result": work()})
        say({"done": True})
        return 0
    except Cancelled:
        say({"cancelled": True})
        return 130
    except DriveError as error:
        say({"error": {"cause": error.cause, "cure": error.cure}})
    except Exception as error:
        traceback.print_exc()
        cause = f"Blender could not do it: {type(error).__name__}: {error}"
        say({"error": {"cause": cause, "cure": "The log names the place; please report it."}})
    return 1


def speaker(stdout: TextIO, cancelled: threading.Event) -> Callable[[Json], None]:
    """What says events on ``stdout``; where nobody listens any more, the work is cancelled."""

    def say(line: Json) -> None:
        try:
            print("PBRFIT " + json.dumps(line), file=stdout, flush=True)
        except BrokenPipeError:
            cancelled.set()

    return say


def _cancel_at_end_of_input(cancelled: threading.Event) -> None:
    def wait() -> None:
        while os.read(0, 4096):
            pass
        cancelled.set()

    threading.Thread(target=wait, name="PBRfit cancel", daemon=True).start()


def main(arguments: list[str]) -> int:
    """Carry out the request in the file that the only argument names; 0: done, 1: error, 2: usage, 130: cancelled."""
    if len(arguments) != 1:
        print("usage: drive.py request.json", file=sys.stderr)
        return 2
    stdout = own_stdout()
    cancelled = threading.Event()
    _cancel_at_end_of_input(cancelled)

    def work() -> Json:
        try:
            return drive(json.loads(Path(arguments[0]).read_text(encoding="utf-8")), say, cancelled)
        finally:
            remove_extension()

    say = speaker(stdout, cancelled)
    return answer(work, say)


if __name__ == "__main__":
    run(main)
