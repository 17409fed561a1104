"""A user of the build for extensions.blender.org: python store_user.py ZIP bake|look

Installs it, looks at the preferences and the panel, asks for a fit and for a check, and bakes the maps of a cube. Prints as JSON
what came of it, and what Python's audit events say of connections and programs meanwhile.
"""

from __future__ import annotations

import json
import os
import sys
import time
from types import SimpleNamespace

import bpy
from support.blender import bake_steps, drawn_panel

EXTENSION = "bl_ext.user_default.pbrfit"
WATCHED = {
    "socket.connect",
    "socket.getaddrinfo",
    "urllib.Request",
    "http.client.connect",
    "subprocess.Popen",
    "os.system",
}
BAKE_SECONDS = 200.0
seen: list[tuple[str, str]] = []


def watch(event: str, arguments: tuple[object, ...]) -> None:
    """Write down what leaves this process."""
    if event in WATCHED:
        what = arguments[1] if event == "subprocess.Popen" else arguments
        seen.append((event, " ".join(map(str, what)) if isinstance(what, list | tuple) else str(what)))


def lines_of_the_preferences(addon: SimpleNamespace) -> list[str]:
    """All that the add-on's preferences show."""
    drawn = drawn_panel.Drawn()
    kind = addon.settings.preferences.PBRFIT_AddonPreferences
    preferences = bpy.context.preferences.addons[EXTENSION].preferences
    shown = SimpleNamespace(
        layout=drawn_panel.Layout(drawn), bl_rna=preferences.bl_rna, backend_address="", backend_python=""
    )
    for name in ("draw_found", "draw_backend", "draw_remote"):
        setattr(shown, name, getattr(kind, name).__get__(preferences))
    kind.draw(shown, drawn_panel.Context())
    return drawn.lines


def fit() -> str:
    """What Optimize Materials says when it is pressed."""
    try:
        return str(bpy.ops.pbrfit.optimize())
    except RuntimeError as error:
        return str(error)


def preview(addon: SimpleNamespace) -> str:
    """Why the preview has no backend."""
    connections = addon.preview.engine.connections.BackendConnections()
    assert connections.backend("look") is None
    return str(connections.trouble.cause)


def bake(addon: SimpleNamespace) -> dict[str, object]:
    """Press Bake Maps and wait; how it ended, and what the cube has then."""
    session = bake_steps.start_bake(addon)
    deadline = time.monotonic() + BAKE_SECONDS
    while session.poll().state not in {"done", "failed", "cancelled"} and time.monotonic() < deadline:
        time.sleep(0.05)
    (slot,) = bpy.context.object.material_slots
    images = [node.image for node in slot.material.node_tree.nodes if node.bl_idname == "ShaderNodeTexImage"]
    return {"state": session.status.state, "images": [tuple(image.size) for image in images]}


def main(path: str, what: str) -> None:
    """Do all of it, or only look."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.extensions.package_install_files(filepath=path, repo="user_default", enable_on_install=True)
    addon = sys.modules[EXTENSION]
    sys.addaudithook(watch)
    bake_steps.small_bake()
    bake_steps.chessboard_cube()
    told = {
        "preferences": lines_of_the_preferences(addon),
        "panel": drawn_panel.draw(addon.ui.panels.PBRFIT_PT_fit, open_lines=True).lines,
        "fit": fit() if what == "bake" else "",
        "operators": dir(bpy.ops.pbrfit),
    }
    if what == "bake":
        bpy.ops.pbrfit.check_backend()
        told["check"] = [line.text for line in addon.setup.state.report().lines]
        told["preview"] = preview(addon)
        told["bake"] = bake(addon)
    print("\n" + json.dumps(told | {"seen": seen}), flush=True)
    os._exit(0)  # Blender 4.2 crashes and 4.5 hangs when Python shuts down with classes registered.


main(*sys.argv[1:])
