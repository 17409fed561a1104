# SPDX-License-Identifier: GPL-3.0-or-later
"""Check what the objects themselves tell, without evaluating or reading their meshes."""

from __future__ import annotations

from collections.abc import Iterator

import bpy

from .finding import ERROR, WARNING, Finding
from .modifiers import can_make_uv_map, can_set_materials

MODES_WITH_UNFINISHED_MESH = {"EDIT": "Edit Mode", "SCULPT": "Sculpt Mode", "PARTICLE_EDIT": "Particle Edit"}
CONVERTIBLE = {"CURVE", "SURFACE", "FONT", "META"}
SHAPELESS = {"ARMATURE", "CAMERA", "LATTICE", "LIGHT", "LIGHT_PROBE", "SPEAKER"}
UNWRAP = "Press Unwrap, or unwrap it yourself in Edit Mode (UV > Smart UV Project)."
LISTED = 3  # names in a sentence
MOST_INSTANCES = 100_000  # looked at
KINDS = {"CURVE": "curves", "CURVES": "curves", "POINTCLOUD": "points", "VOLUME": "a volume"}


def object_findings(scene_object: bpy.types.Object, layer: bpy.types.ViewLayer) -> Iterator[Finding]:
    """Type, owner, mode and basic parts of an object; stops at the first error."""
    name, target = scene_object.name, scene_object.name_full
    if scene_object.type != "MESH":
        yield type_finding(scene_object)
        return
    if scene_object.library is not None:
        cause = (
            f'"{name}" is linked from {scene_object.library.filepath}, so PBRfit cannot change its material slots here.'
        )
        cure = (
            "Make it local (Object > Relations > Make Local > Selected Objects and Data), or do this in its own file."
        )
        yield Finding(ERROR, cause, cure, "pbrfit.make_local", target)
        return
    if scene_object.mode in MODES_WITH_UNFINISHED_MESH:
        mode = MODES_WITH_UNFINISHED_MESH[scene_object.mode]
        cause = f'"{name}" is in {mode}, where its mesh is unfinished.'
        yield Finding(ERROR, cause, "Switch to Object Mode.", "pbrfit.object_mode", target)
        return
    if not scene_object.visible_get(view_layer=layer):
        cause = f'"{name}" is hidden in the viewport.'
        yield Finding(ERROR, cause, "Show it in the Outliner.", "pbrfit.show_object", target)
        return
    if not scene_object.modifiers and not scene_object.data.polygons:
        yield Finding(ERROR, f'"{name}" has no faces.', "Select an object with faces, or add faces in Edit Mode.")
        return
    # What modifiers can make, only the full check can know.
    if scene_object.data.uv_layers.active is None and not can_make_uv_map(scene_object):
        yield Finding(ERROR, f'"{name}" has no UV map.', UNWRAP, "pbrfit.unwrap", target)
    if not can_set_materials(scene_object) and not any(slot.material for slot in scene_object.material_slots):
        cure = "Give it one, in the Material properties."
        yield Finding(ERROR, f'"{name}" has no material.', cure)


def type_finding(scene_object: bpy.types.Object) -> Finding:
    """The error that an object is no mesh, and what to do about it."""
    name = scene_object.name
    collection = scene_object.instance_collection if scene_object.instance_type == "COLLECTION" else None
    if collection is not None:
        inside = listed([f'"{item.name}"' for item in collection.all_objects if item.type == "MESH"])
        holds = f"the mesh {inside}" if inside else "no mesh"
        cause = f'"{name}" only shows instances of the collection "{collection.name}", which holds {holds}.'
        cure = "Make real objects of them (Object > Apply > Make Instances Real), or put the object into a scene of its own."
        return Finding(ERROR, cause, cure)
    kind = scene_object.type.replace("_", " ").lower()
    cure = "Select a mesh, or convert this object with Object > Convert > Mesh."
    fix = "pbrfit.convert_to_mesh" if scene_object.type in CONVERTIBLE else ""
    return Finding(ERROR, f'"{name}" is not a mesh but of the type {kind}.', cure, fix, scene_object.name_full)


def emitted_findings(scene_object: bpy.types.Object) -> Iterator[Finding]:
    """What an object shows besides its mesh, and whether it is itself shown elsewhere, as far as its settings tell."""
    name, parent = scene_object.name, scene_object.parent
    systems = [item for item in scene_object.modifiers if item.type == "PARTICLE_SYSTEM" and item.show_render]
    emitted = [particles(item.particle_system) for item in systems]
    if scene_object.instance_type in {"VERTS", "FACES"} and scene_object.children:
        emitted.append("instances of its children")
    yield from emission_finding(name, [item for item in emitted if item])
    if parent is not None and parent.instance_type in {"VERTS", "FACES"}:
        cause = f'"{name}" is shown only as instances on "{parent.name}".'
        yield Finding(WARNING, cause, "PBRfit takes the object at its own place.")


def has_neighbors(layer: bpy.types.ViewLayer, targets: list[bpy.types.Object]) -> bool:
    """Whether renders of a view layer show other objects than the targets."""
    return any(not item.hide_render and can_show(item) and item not in targets for item in layer.objects)


def can_show(scene_object: bpy.types.Object) -> bool:
    """Whether an object is of a type that renders show as a shape."""
    if scene_object.type == "EMPTY":
        return scene_object.instance_collection is not None
    return scene_object.type not in SHAPELESS


def particles(system: bpy.types.ParticleSystem) -> str:
    """What a particle system renders, or empty if it renders nothing that Cycles shows."""
    settings = system.settings
    if settings.render_type == "PATH" and settings.type == "HAIR":
        return f'hair of the particle system "{system.name}"'
    shown = settings.instance_object if settings.render_type == "OBJECT" else None
    shown = settings.instance_collection if settings.render_type == "COLLECTION" else shown
    return f'instances of "{shown.name}" by the particle system "{system.name}"' if shown is not None else ""


def instance_findings(scene_object: bpy.types.Object, depsgraph: bpy.types.Depsgraph) -> Iterator[Finding]:
    """What the geometry nodes of an object show besides its mesh, as evaluated."""
    found = shown_besides_mesh(scene_object, depsgraph)
    if found:
        yield from emission_finding(scene_object.name, [f"{listed(found)} of its geometry nodes"])


def shown_besides_mesh(scene_object: bpy.types.Object, depsgraph: bpy.types.Depsgraph) -> list[str]:
    """The kinds of things besides a mesh that the evaluated geometry nodes of an object show, such as "instances"."""
    if not any(modifier.type == "NODES" for modifier in scene_object.modifiers):
        return []
    found: dict[str, None] = {}
    for number, instance in enumerate(depsgraph.object_instances):
        if number >= MOST_INSTANCES:
            break
        parent = instance.parent if instance.is_instance and instance.particle_system is None else None
        if parent is not None and parent.original == scene_object:
            found[KINDS.get(instance.object.type, "instances")] = None
    return list(found)


def emission_finding(name: str, emitted: list[str]) -> Iterator[Finding]:
    """The warning that an object shows more than its mesh, if it does."""
    if emitted:
        cause = f'"{name}" also shows {listed(emitted)}, which PBRfit leaves out.'
        cure = "It takes the mesh alone. If you want the rest too, make it a mesh of its own first."
        yield Finding(WARNING, cause, cure)


def listed(words: list[str]) -> str:
    """Words as a list in a sentence, cut after a few."""
    if len(words) > LISTED:
        words = [*words[:LISTED], f"{len(words) - LISTED} more"]
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1] if words else "")))
