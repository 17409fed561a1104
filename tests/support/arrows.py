"""Which folder may import from which: the one list, which tests/test_rooms.py checks and docs/architecture.md draws.

A line is a folder and the folders that its files may import from: those of its own room, then, after a room and a colon,
those of that room; a dot is the room's own `__init__`. A line that
begins with a space goes on with the one before. Kernels belong to the folder that they are in. The add-on has a
copy of the backend's protocol, which build_addon.py puts into it: that counts as the backend's.
"""

from __future__ import annotations

from collections.abc import Mapping

from support.imports import reached

ROOMS = ("render", "backend", "blender_addon")
# What no file of a room imports. The add-on has its own copy of the protocol, and so needs no other room.
FORBIDDEN = {
    "render": {"zmq", "bpy", "backend", "blender_addon"},
    "backend": {"bpy", "blender_addon"},
    "blender_addon": {"torch", "render", "backend"},
}

LIST = """
render           core geometry files bsdf raster texture material light shading images preview
render/core
render/geometry
render/bsdf
render/texture   core
render/raster    core geometry
render/light     core bsdf
render/material  core raster texture
render/shading   core geometry bsdf texture light material raster
render/files     core geometry texture
render/images    core geometry bsdf light material raster shading
render/preview   core geometry bsdf texture light material raster shading

backend
backend/extension
backend/protocol
backend/protocol/client  protocol
backend/fit              protocol  render: core geometry bsdf texture light material raster shading
backend/job              fit protocol  render: core geometry bsdf texture light material raster shading images
backend/preview          job protocol  render: core geometry texture light material preview
backend/worker           job preview protocol
backend/server           job preview protocol worker
backend/cli              . extension job protocol protocol/client server  render: core
backend/__main__         cli

blender_addon/translations
blender_addon/common          translations  backend: protocol
blender_addon/command_line
blender_addon/setup           common  backend: protocol protocol/client
blender_addon/settings        common translations setup  backend: protocol
blender_addon/export          common
blender_addon/closures        common
blender_addon/assign          common settings export
blender_addon/references      common export assign  backend: protocol
blender_addon/saving          common export assign  backend: protocol
blender_addon/baking          common export references closures  backend: protocol
blender_addon/comparing       common export references
blender_addon/models/gltf     common assign saving references baking  backend: protocol
blender_addon/models          common assign saving references models/gltf  backend: protocol
blender_addon/preflight       common translations setup settings export closures  backend: protocol
blender_addon/session         common setup settings export closures references baking comparing assign preflight
                              backend: protocol protocol/client
blender_addon/overlay         common export assign session  backend: protocol
blender_addon/preview
blender_addon/preview/gl      common  backend: protocol
blender_addon/preview/scene   common export closures references baking session  backend: protocol protocol/client
blender_addon/preview/engine  common translations setup settings references session preview/gl preview/scene
                              backend: protocol protocol/client
blender_addon/wipe            common translations settings assign references session preview/gl preview/scene preview/engine
blender_addon/ui              common translations setup settings export closures assign saving models preflight session overlay
                              preview/engine wipe  backend: protocol
blender_addon                 translations setup settings models/gltf preflight session overlay preview/scene preview/engine wipe
                              ui
"""


def _read(text: str) -> dict[str, set[str]]:
    arrows: dict[str, set[str]] = {}
    for folder, *words in (line.split() for line in text.replace("\n ", " ").splitlines() if line):
        room = _room(folder)
        arrows[folder] = set()
        for word in words:
            if word.endswith(":"):
                room = word[:-1]
            else:
                arrows[folder].add(room if word == "." else f"{room}/{word}")
    return arrows


def _room(folder: str) -> str:
    return folder.partition("/")[0]


ARROWS = _read(LIST)
"""The folders that each folder may import from."""


def drawing(arrows: Mapping[str, set[str]]) -> str:
    """The arrows as a mermaid graph, without those that a longer way implies; a room's arrows to `render` are one."""
    linked = {folder for folder, targets in arrows.items() if targets}.union(*arrows.values())
    lines = ["```mermaid", "graph TD"]
    for room in ROOMS:
        lines.append(f'  subgraph {_name(room)}_room["{room}/"]')
        lines += [
            f'    {_name(folder)}["{_label(folder)}"]'
            for folder in arrows
            if _room(folder) == room and folder in linked
        ]
        lines.append("  end")
    for folder, targets in arrows.items():
        implied = set[str]().union(*(reached(arrows, target) for target in targets))
        kept = targets - implied
        drawn = {_name(target) for target in kept if _room(target) == _room(folder) or _room(target) != "render"}
        if any(_room(target) == "render" != _room(folder) for target in targets):
            drawn.add("render_room")
        lines += [f"  {_name(folder)} --> {target}" for target in sorted(drawn)]
    return "\n".join([*lines, "```"])


def _name(folder: str) -> str:
    return folder.replace("/", "_")


def _label(folder: str) -> str:
    return folder.partition("/")[2] or "__init__"
