# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects as renders show them, without what makes them: no modifiers, parents or constraints, which exporters treat unlike."""

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Matrix

from ..common.names import RECORD
from ..common.records import record_of
from ..references import stage

MOST_SHEAR = 1e-4
"""How far the parts of a matrix may be off if position, rotation and scale are to say it."""


def plain_objects(
    layer: bpy.types.ViewLayer, targets: list[bpy.types.Object], shown: bpy.types.Collection
) -> list[bpy.types.Object]:
    """Put an object with the mesh of each target in its place in the view layer's collection, selected and under its name."""
    for target in targets:
        stage.show(target)
        stage.show_mesh_only(target)
        show_as_rendered(target)
    layer.update()
    depsgraph = bpy.context.evaluated_depsgraph_get()
    made = [plain(target, depsgraph) for target in targets]
    names = [(target.name, target.data.name) for target in targets]  # targets can share a mesh
    for target, item, (name, data_name) in zip(targets, made, names, strict=True):
        shown.objects.unlink(target)
        if target.library is None:
            target.name = "PBRfit source"
        if target.data.library is None:
            target.data.name = "PBRfit source"
        item.name, item.data.name = name, data_name
        shown.objects.link(item)
    for item in made:
        item.select_set(True, view_layer=layer)
    layer.objects.active = made[0]
    layer.update()
    return made


def show_as_rendered(target: bpy.types.Object) -> None:
    """Make the viewport, which exporters read, show what renders do."""
    for modifier in target.modifiers:
        modifier.show_viewport = modifier.show_render
        for shown, rendered in (("levels", "render_levels"), ("viewport_subdivisions", "render_subdivisions")):
            if hasattr(modifier, shown) and hasattr(modifier, rendered):
                setattr(modifier, shown, getattr(modifier, rendered))


def plain(target: bpy.types.Object, depsgraph: bpy.types.Depsgraph) -> bpy.types.Object:
    """An object with a target's mesh as it is now, in its place."""
    evaluated = target.evaluated_get(depsgraph)
    mesh = bpy.data.meshes.new_from_object(evaluated, preserve_all_data_layers=True, depsgraph=depsgraph)
    materials = [slot.material for slot in target.material_slots]
    # Generated coordinates, and so the tangents of materials without one, are in the box of what modifiers begin with.
    mesh.use_auto_texspace = False
    mesh.texspace_location, mesh.texspace_size = target.data.texspace_location, target.data.texspace_size
    mesh.materials.clear()
    for material in materials:
        mesh.materials.append(material)
    uv_map = next((str(record_of(item).get("uv_map", "")) for item in materials if item and RECORD in item), "")
    if uv_map in mesh.uv_layers:  # formats with one UV map take this one
        mesh.uv_layers.active = mesh.uv_layers[uv_map]
        mesh.uv_layers[uv_map].active_render = True
    made = bpy.data.objects.new("PBRfit object", mesh)
    place = evaluated.matrix_world.copy()
    made.matrix_world = place
    if float(np.abs(np.array(made.matrix_basis) - np.array(place)).max()) > MOST_SHEAR:
        mesh.transform(place)
        if place.is_negative:
            mesh.flip_normals()
        made.matrix_world = Matrix()
    if any(polygon.loop_total > 4 for polygon in mesh.polygons):
        # No format's tangents are defined for larger faces.
        made.modifiers.new("PBRfit Triangulate", "TRIANGULATE").min_vertices = 5
    return made
