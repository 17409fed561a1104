# SPDX-License-Identifier: GPL-3.0-or-later
"""The stage of the references: the artist's own scene, in a copy of the file, with only the objects to fit to be seen.

It is not a new scene, because materials, geometry nodes and drivers may read the scene: its properties, its time, its
frame rate, its camera, its view layer. So nothing of that changes. Other objects only leave the view layer: what is fitted
may depend on them. Of what is fitted only the mesh shows: no particles, no hair, no instances.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import bpy

from ..common.errors import PbrFitError
from ..common.node_trees import world_of
from .cycles_settings import set_plain_cycles, set_plain_output
from .fixed_values import fix
from .one_light import with_one_light

Name = tuple[str, str | None]
"""The name of a datablock, and the path of the library that it is linked from, None in the file itself."""

LISTED = 20  # names in a message
MESH_ONLY = "PBRfit Mesh Only"


@dataclass(frozen=True)
class Stage:
    """What is rendered. targets: the objects to fit, in the collection `shown`, the only one of the view layer; window,
    area: with a 3D view whose local camera is `camera`; the scene keeps its own camera."""

    scene: bpy.types.Scene
    view_layer: bpy.types.ViewLayer
    targets: list[bpy.types.Object]
    shown: bpy.types.Collection
    camera: bpy.types.Object
    window: bpy.types.Window
    area: bpy.types.Area


def find(collection: bpy.types.bpy_prop_collection, name: Name, where: str) -> Any:
    """The datablock of this name and library. Raises PbrFitError that says what there is `where` if there is none."""
    for item in collection:
        if item.name == name[0] and (item.library.filepath if item.library is not None else None) == name[1]:
            return item
    names = sorted(item.name for item in collection)
    present = ", ".join([*names[:LISTED], *(["..."] if len(names) > LISTED else [])]) or "nothing"
    raise PbrFitError(f'There is no "{name[0]}" in {where}.', f"It has: {present}.")


def find_scene(scene_name: str, layer_name: str) -> tuple[bpy.types.Scene, bpy.types.ViewLayer]:
    """The scene and its view layer of these names. Raises PbrFitError if there is none."""
    scene = find(bpy.data.scenes, (scene_name, None), "the file")
    view_layer = scene.view_layers.get(layer_name)
    if view_layer is None:
        raise PbrFitError(f'The scene "{scene.name}" has no view layer "{layer_name}".', "Choose another view layer.")
    return scene, view_layer


def set_up(
    scene: bpy.types.Scene,
    view_layer: bpy.types.ViewLayer,
    names: list[Name],
    samples: int,
    threads: int,
    on_gpu: bool = False,
) -> Stage:
    """Turn a scene of the open file into the stage. Raises PbrFitError if it has no objects of these names."""
    window = bpy.context.window
    window.scene, window.view_layer = scene, view_layer
    targets = [find(scene.objects, name, f'the scene "{scene.name}"') for name in names]
    scene.background_set = None
    set_plain_output(scene, view_layer)
    set_plain_cycles(scene, samples, threads, on_gpu)
    camera = bpy.data.objects.new("PBRfit camera", bpy.data.cameras.new("PBRfit camera"))
    shown = show_alone(scene, view_layer, targets)
    scene.collection.objects.link(camera)
    for target in targets:
        show(target)
        show_mesh_only(target)
        show_as_bump(target)
    use_world(scene, view_layer)
    view_layer.update()
    return Stage(scene, view_layer, targets, shown, camera, window, look_through(window, camera))


def scene_of(names: list[Name], frame: int) -> tuple[bpy.types.Scene, bpy.types.ViewLayer]:
    """A new scene with the objects of a file that has no scene, and its view layer. Raises PbrFitError if one is missing."""
    scene = bpy.data.scenes.new("PBRfit objects")
    scene.frame_set(frame)
    for name in names:
        scene.collection.objects.link(find(bpy.data.objects, name, "the file"))
    return scene, scene.view_layers[0]


def put_materials(targets: list[bpy.types.Object], materials: list[list[Any]]) -> None:
    """Give slots of targets other materials of the file: [number of the target, slot, name of the material, or None for
    no material]. Raises PbrFitError if there is no such material or slot."""
    for place, index, name in materials:
        target = targets[place]
        known = [item for item in bpy.data.materials if item.name == name]
        if index >= len(target.material_slots) or (name is not None and not known):
            raise PbrFitError(
                f'"{target.name}" cannot get the material "{name}" back.', "Show the original, and try again."
            )
        slot = target.material_slots[index]
        slot.link = "OBJECT"
        slot.material = known[0] if known else None


def look_through(window: bpy.types.Window, camera: bpy.types.Object) -> bpy.types.Area:
    """An area with a 3D view that has `camera` as its own camera; renders that start there use it.

    So `scene.camera` stays the artist's, which geometry nodes (Active Camera) and drivers may read.
    """
    areas = sorted(window.screen.areas, key=lambda area: (area.type == "VIEW_3D", area.width * area.height))
    area = areas[-1]
    area.type = "VIEW_3D"
    view = area.spaces.active
    view.use_local_camera, view.camera = True, camera
    return area


def use_world(scene: bpy.types.Scene, view_layer: bpy.types.ViewLayer) -> None:
    """Light the scene with the one light of the world that its view layer shows; without fog."""
    world = world_of(scene, view_layer)
    if getattr(view_layer, "world_override", None) is not None:
        view_layer.world_override = None
    scene.world = with_one_light(world) if world is not None else None


# What shows --------------------------------------------------------------------------------------------------------


def show_alone(
    scene: bpy.types.Scene, view_layer: bpy.types.ViewLayer, shown: list[bpy.types.Object]
) -> bpy.types.Collection:
    """Leave only these objects in a view layer, whatever their collections say; returns their new collection.

    The others leave it with their collections and are not hidden: drivers may read whether an object is hidden, and
    modifiers and nodes may need it. What is needed is evaluated all the same.
    """
    for child in layer_collections(view_layer.layer_collection):
        child.exclude = True
    for other in list(scene.collection.objects):
        scene.collection.objects.unlink(other)
    collection = bpy.data.collections.new("PBRfit")
    scene.collection.children.link(collection)
    for item in shown:
        collection.objects.link(item)
    return collection


def layer_collections(parent: bpy.types.LayerCollection) -> Iterator[bpy.types.LayerCollection]:
    """All collections below one, in a view layer."""
    for child in parent.children:
        yield child
        yield from layer_collections(child)


def show(target: bpy.types.Object) -> None:
    """Let an object be seen."""
    fix(target, hide_render=False, hide_viewport=False, visible_camera=True, is_holdout=False, is_shadow_catcher=False)


def show_mesh_only(target: bpy.types.Object) -> None:
    """Show an object's mesh, and nothing else that comes from it: no particles, hair, instances, curves or points.

    Its particle systems stay, since modifiers may read them.
    """
    fix(target, instance_type="NONE", show_instancer_for_render=True)
    if target.parent is not None and target.parent.instance_type in {"VERTS", "FACES"}:
        fix(target.parent, instance_type="NONE")  # else the object shows only as instances on its parent
    for system in target.particle_systems:
        # A change makes the particles start again. Hair is left out by the view layer; other ways show nothing.
        if system.settings.render_type in {"OBJECT", "COLLECTION"}:
            fix(system.settings, render_type="NONE")
    if any(modifier.type == "NODES" for modifier in target.modifiers):
        target.modifiers.new(MESH_ONLY, "NODES").node_group = mesh_only()


def mesh_only() -> bpy.types.NodeTree:
    """Geometry nodes that let only the mesh through."""
    group = bpy.data.node_groups.get((MESH_ONLY, None))
    if group is not None:
        return group
    group = bpy.data.node_groups.new(MESH_ONLY, "GeometryNodeTree")
    for direction in ("INPUT", "OUTPUT"):
        group.interface.new_socket("Geometry", in_out=direction, socket_type="NodeSocketGeometry")
    nodes = group.nodes
    start, end = nodes.new("NodeGroupInput"), nodes.new("NodeGroupOutput")
    separate = nodes.new("GeometryNodeSeparateComponents")
    group.links.new(start.outputs[0], separate.inputs[0])
    group.links.new(separate.outputs["Mesh"], end.inputs[0])
    return group


def show_as_bump(target: bpy.types.Object) -> None:
    """Render displacement as bump and subdivide as the modifiers say: other vertices cannot be exported."""
    for slot in target.material_slots:
        if slot.material is not None:
            slot.material.displacement_method = "BUMP"
    for owner in (getattr(target, "cycles", None), *target.modifiers):
        if getattr(owner, "use_adaptive_subdivision", False):
            owner.use_adaptive_subdivision = False
