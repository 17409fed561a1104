# SPDX-License-Identifier: GPL-3.0-or-later
"""The artist's file in the command line's Blender: open it, find the object to fit, and leave all else as it was."""

from __future__ import annotations

import contextlib
import difflib
import gzip
import importlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import bpy

GLTF = (".glb", ".gltf")
MOST_CHOICES = 20
"""How many objects a message lists."""


class DriveError(Exception):
    """The request cannot be carried out; with its cause and its cure."""

    def __init__(self, cause: str, cure: str) -> None:
        super().__init__(f"{cause} {cure}")
        self.cause = cause
        self.cure = cure


# Opening ------------------------------------------------------------------------------------------------------------


def open_file(path: str) -> None:
    """Open a .blend with its windows, so that it can be saved as it was; or import a glTF into an empty file. Raises
    DriveError.

    A file of a newer Blender is refused even if this one can read it: what it does not know would be lost in the result.
    """
    if path.lower().endswith(GLTF):
        import_gltf(path)
        return
    try:
        bpy.ops.wm.open_mainfile(filepath=path, load_ui=True, use_scripts=False)
        if not bpy.context.window_manager.windows:
            bpy.ops.wm.open_mainfile(filepath=path, load_ui=False, use_scripts=False)
    except RuntimeError as error:
        version = saved_by(path)
        if version is not None and version > tuple(bpy.app.version[:2]):
            raise newer(path, version) from error
        reason = str(error).removeprefix("Error: ").strip()
        raise DriveError(
            f"Blender {bpy.app.version_string} cannot open {path}: {reason}",
            "If a newer Blender saved it, give --blender the path of that one. If the file is damaged, use a backup.",
        ) from error
    version = tuple(bpy.data.version[:2])
    if version > tuple(bpy.app.version[:2]):
        raise newer(path, version)


def import_gltf(path: str) -> None:
    """What a .glb or .gltf has, alone in a new file. Raises DriveError."""
    bpy.ops.wm.read_homefile(use_empty=True)
    try:
        bpy.ops.import_scene.gltf(filepath=path)
    except (AttributeError, RuntimeError) as error:
        reason = str(error).removeprefix("Error: ").strip()
        raise DriveError(
            f"Blender {bpy.app.version_string} cannot import {path}: {reason}", "Export it again."
        ) from error


def newer(path: str, version: tuple[int, ...]) -> DriveError:
    """The error that a newer Blender saved the file."""
    theirs = ".".join(map(str, version))
    return DriveError(
        f"Blender {theirs} saved {path}, and this is Blender {bpy.app.version_string}.",
        f"Give --blender the path of a Blender {theirs} or newer.",
    )


def saved_by(path: str) -> tuple[int, ...] | None:
    """Major and minor version of the Blender that saved a file; None where that cannot be read."""
    head = b""
    with contextlib.suppress(OSError, EOFError):
        with open(path, "rb") as file:
            head = file.read(32)
        if head[:2] == b"\x1f\x8b":
            with gzip.open(path) as file:
                head = file.read(32)
        elif head[:4] == b"\x28\xb5\x2f\xfd":
            head = zstandard_head(path)
    # BLENDER-v405, since Blender 5.0 BLENDER17-01v0500
    found = re.match(rb"BLENDER(?:[-_][vV](\d)(\d\d)|\d\d-\d\dv(\d\d)(\d\d))", head)
    return tuple(int(part) for part in found.groups() if part is not None) if found else None


def zstandard_head(path: str) -> bytes:
    """The first 32 bytes in a file compressed by Zstandard; none where this Blender's Python cannot tell."""
    try:
        # Late: it comes with Blender's Python, but no version promises it.
        zstandard = importlib.import_module("zstandard")
        with open(path, "rb") as file:
            return bytes(zstandard.ZstdDecompressor().stream_reader(file).read(32))
    except (ImportError, OSError, ValueError):
        return b""


def linked_files() -> list[str]:
    """The absolute paths of all files that the open one uses, those of its libraries too; not what is packed into it."""
    paths = [path for path in bpy.utils.blend_paths(absolute=True, packed=False, local=False) if path]
    for image in bpy.data.images:
        if image.source == "SEQUENCE" and image.filepath:
            paths += sequence_files(bpy.path.abspath(image.filepath, library=image.library))
    return sorted({os.path.normpath(path) for path in paths})


def sequence_files(path: str) -> list[str]:
    """The files of an image sequence of which one is given: those whose names differ from it only in the last number."""
    folder, name = os.path.split(path)
    found = re.fullmatch(r"(.*?)(\d+)(\D*)", name)
    if found is None or not os.path.isdir(folder):
        return []
    frame = re.compile(re.escape(found[1]) + r"\d+" + re.escape(found[3]))
    return [os.path.join(folder, other) for other in os.listdir(folder) if frame.fullmatch(other)]


# Finding the object -------------------------------------------------------------------------------------------------


def find_target(path: str, name: str) -> tuple[bpy.types.Scene, bpy.types.ViewLayer, bpy.types.Object]:
    """The object of that name, with a scene and a view layer that have it. Raises DriveError where there is none.

    The file's own object comes before a linked one, the file's active scene and view layer before others.
    """
    window = bpy.context.window_manager.windows[0]
    scenes = list(dict.fromkeys([window.scene, *bpy.data.scenes]))
    named = [thing for thing in bpy.data.objects if thing.name == name]
    named.sort(key=lambda thing: thing.library is not None)
    for thing in named:
        for scene in scenes:
            if is_one_of(thing, scene.objects):
                layers = [window.view_layer, *scene.view_layers] if scene == window.scene else scene.view_layers
                layer = next((layer for layer in layers if is_one_of(thing, layer.objects)), None)
                if layer is None:
                    raise excluded(thing, scene)
                return scene, layer, thing
    if named:
        raise in_no_scene(named[0])
    raise DriveError(f"There is no object {name!r} in {path}.", choices(name))


def is_one_of(thing: bpy.types.ID, things: Iterable[bpy.types.ID]) -> bool:
    """Whether it is in a collection of Blender's, where a name may stand for two objects."""
    return any(other == thing for other in things)


def excluded(thing: bpy.types.Object, scene: bpy.types.Scene) -> DriveError:
    """The error that an object is in a scene, but in none of its view layers."""
    mine = [scene.collection, *scene.collection.children_recursive]
    collections = quoted(item for item in mine if is_one_of(thing, item.objects))
    layers = quoted(scene.view_layers)
    return DriveError(
        f'"{thing.name}" is not in the view layer {layers} of the scene "{scene.name}", since its collection '
        f"{collections} is excluded there.",
        "Turn the collection on in the Outliner (the box beside its name), and save the file.",
    )


def in_no_scene(thing: bpy.types.Object) -> DriveError:
    """The error that an object is in no scene by itself; it says who shows it."""
    cause = f'"{thing.name}" is in the file, but in no scene by itself'
    shown = shown_by(thing)
    if shown is not None:
        instancer, collection = shown
        kind = "Empty" if instancer.type == "EMPTY" else "object"
        return DriveError(
            f'{cause}: the {kind} "{instancer.name}" shows it as an instance of the collection "{collection.name}".',
            f'Select "{instancer.name}", choose Object > Apply > Make Instances Real, save the file, and give --object '
            "the name of the new object.",
        )
    users = bpy.data.user_map(subset=[thing]).get(thing, set())
    owners = [user for user in users if isinstance(user, (bpy.types.Object, bpy.types.ParticleSettings))]
    owners += [user for user in users if isinstance(user, bpy.types.NodeTree)]
    where = f": only {quoted(owners)} uses it." if owners else "."
    return DriveError(
        f"{cause}{where}",
        "Link it to a collection of a scene in the Outliner, and save the file. " + choices(thing.name),
    )


def shown_by(thing: bpy.types.Object) -> tuple[bpy.types.Object, bpy.types.Collection] | None:
    """The object in a scene that shows this one as an instance, perhaps by way of other instances, and of what."""
    in_scenes = {item for scene in bpy.data.scenes for item in scene.objects}
    looked_at, waiting = {thing}, [thing]
    while waiting:
        current = waiting.pop(0)
        for collection in [item for item in bpy.data.collections if is_one_of(current, item.all_objects)]:
            for item in bpy.data.objects:
                if item.instance_type != "COLLECTION" or item.instance_collection != collection or item in looked_at:
                    continue
                if item in in_scenes:
                    return item, collection
                looked_at.add(item)
                waiting.append(item)
    return None


def choices(asked: str) -> str:
    """What to give to --object: the mesh objects of the scenes, those with a similar name first."""
    found = {item for scene in bpy.data.scenes for item in scene.objects if item.type == "MESH" and item.name != asked}
    names = sorted({item.name for item in found})
    if not names:
        return "Its scenes have no other mesh object: open the file in Blender, and see what is in it."
    near = difflib.get_close_matches(asked, names, n=3)
    names = [*near, *(name for name in names if name not in near)]
    linked = {item.name for item in found if item.library} - {item.name for item in found if not item.library}
    listed = ", ".join(f"{name} (linked)" if name in linked else name for name in names[:MOST_CHOICES])
    more = f" and {len(names) - MOST_CHOICES} more" if len(names) > MOST_CHOICES else ""
    return f"Give one of its mesh objects to --object: {listed}{more}."


def quoted(things: Iterable[bpy.types.ID]) -> str:
    """Their names in quotes."""
    return ", ".join(sorted(f'"{thing.name}"' for thing in things))


def foggy_world(scene: bpy.types.Scene, layer: bpy.types.ViewLayer) -> str | None:
    """The name of the world that a view layer shows, if Cycles fills it with a volume."""
    world = getattr(layer, "world_override", None) or scene.world
    if world is None or not world.use_nodes:
        return None
    outputs = [node for node in world.node_tree.nodes if node.bl_idname == "ShaderNodeOutputWorld"]
    shown = [node for node in outputs if node.is_active_output and node.target in {"ALL", "CYCLES"}]
    return world.name if any(node.inputs["Volume"].is_linked for node in shown) else None


# Leaving it as it was -----------------------------------------------------------------------------------------------


@dataclass
class FileState:
    """What an artist sees in a file when it opens, as far as a fit needs it otherwise.

    scene, layer: of the first window; active, selected, mode: of the view layer in which the fit works; settings: those
    of `scene.pbrfit` that the file had, by name.
    """

    window_scene: bpy.types.Scene
    window_layer: bpy.types.ViewLayer
    scene: bpy.types.Scene
    layer: bpy.types.ViewLayer
    active: bpy.types.Object | None
    selected: list[bpy.types.Object]
    mode: str
    settings: dict[str, Any] = field(default_factory=dict)

    def keep_settings(self) -> None:
        """Remember the settings of the extension, which must be enabled. The preset follows from the others."""
        if not self.scene.is_property_set("pbrfit"):
            return
        settings = self.scene.pbrfit
        self.settings = {
            item.identifier: getattr(settings, item.identifier)
            for item in settings.bl_rna.properties
            if not item.is_readonly and item.identifier != "preset" and settings.is_property_set(item.identifier)
        }

    def restore(self) -> None:
        """Put everything back."""
        self.scene.property_unset("pbrfit")
        for name, value in self.settings.items():
            setattr(self.scene.pbrfit, name, value)
        for thing in self.layer.objects:
            thing.select_set(thing in self.selected, view_layer=self.layer)
        self.layer.objects.active = self.active
        if self.mode != "OBJECT":
            bpy.ops.object.mode_set(mode=self.mode)
        window = bpy.context.window_manager.windows[0]
        window.scene = self.window_scene
        window.view_layer = self.window_layer


def find_others(
    path: str, scene: bpy.types.Scene, layer: bpy.types.ViewLayer, names: list[str]
) -> list[bpy.types.Object]:
    """The mesh objects of these names in a view layer. Raises DriveError where one is missing there, or is no mesh."""
    found = []
    for name in names:
        named = [thing for thing in layer.objects if thing.name == name]
        if not named:
            raise DriveError(
                f'There is no object {name!r} in the view layer "{layer.name}" of the scene "{scene.name}" of {path}.',
                "Give --with the name of an object that is shown beside the other one.",
            )
        other = min(named, key=lambda thing: thing.library is not None)
        if other.type != "MESH":
            raise DriveError(
                f'"{name}" is not a mesh but of the type {other.type.lower()}, so it cannot share maps.',
                "Leave it out of --with, or convert it with Object > Convert > Mesh, and save the file.",
            )
        found.append(other)
    return found


def select_alone(
    scene: bpy.types.Scene,
    layer: bpy.types.ViewLayer,
    target: bpy.types.Object,
    others: Sequence[bpy.types.Object] = (),
) -> FileState:
    """Show the scene and the view layer, select only the target and the others there, in Object Mode, the target active.
    Returns how it was before."""
    window = bpy.context.window_manager.windows[0]
    before = (window.scene, window.view_layer)
    window.scene, window.view_layer = scene, layer
    active = layer.objects.active
    selected = [thing for thing in layer.objects if thing.select_get(view_layer=layer)]
    state = FileState(*before, scene, layer, active, selected, "OBJECT" if active is None else active.mode)
    if state.mode != "OBJECT":
        bpy.ops.object.mode_set(mode="OBJECT")
    for thing in layer.objects:
        thing.select_set(thing == target or thing in others, view_layer=layer)
    layer.objects.active = target
    return state
