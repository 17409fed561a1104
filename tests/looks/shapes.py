"""Objects whose UV maps do not overlap, with modest numbers of triangles. Each is active and selected."""

from __future__ import annotations

import bpy
import numpy as np
from scenes.parts import grid, sphere


def ball() -> bpy.types.Object:
    """A smooth sphere."""
    return sphere()


def box() -> bpy.types.Object:
    """A cube."""
    bpy.ops.mesh.primitive_cube_add()
    return bpy.context.object


def three_sided_box() -> bpy.types.Object:
    """A cube whose faces use three slots."""
    thing = box()
    for number, polygon in enumerate(thing.data.polygons):
        polygon.material_index = number % 3
    return thing


def pillow() -> bpy.types.Object:
    """A cube that a modifier makes round."""
    thing = box()
    modifier = thing.modifiers.new("Subdivision", "SUBSURF")
    modifier.levels = modifier.render_levels = 3
    bpy.ops.object.shade_smooth()
    return thing


def sheet() -> bpy.types.Object:
    """A flat square."""
    return grid(cuts=8)


def ring() -> bpy.types.Object:
    """A smooth torus."""
    bpy.ops.mesh.primitive_torus_add(major_segments=32, minor_segments=16)
    bpy.ops.object.shade_smooth()
    return bpy.context.object


def can() -> bpy.types.Object:
    """A cylinder with flat ends and a smooth side."""
    bpy.ops.mesh.primitive_cylinder_add(vertices=48)
    thing = bpy.context.object
    for polygon in thing.data.polygons:
        polygon.use_smooth = len(polygon.vertices) == 4
    return thing


def hills() -> bpy.types.Object:
    """A smooth landscape."""
    thing = grid(cuts=40)
    mesh = thing.data
    places = np.empty((len(mesh.vertices), 3), np.float32)
    mesh.vertices.foreach_get("co", places.ravel())
    x, y = places[:, 0], places[:, 1]
    places[:, 2] = 0.3 * np.sin(2.6 * x + 0.5) * np.cos(2.2 * y) + 0.08 * np.sin(6.0 * y + 2.0 * x)
    mesh.vertices.foreach_set("co", places.ravel())
    mesh.update()
    bpy.ops.object.shade_smooth()
    return thing


def colored_ring() -> bpy.types.Object:
    """A torus with colors on its corners ("Paint") and numbers on its vertices ("wear")."""
    thing = ring()
    mesh = thing.data
    colors = mesh.color_attributes.new("Paint", "FLOAT_COLOR", "CORNER")
    wear = mesh.attributes.new("wear", "FLOAT", "POINT")
    for loop in mesh.loops:
        x, y, z = mesh.vertices[loop.vertex_index].co
        colors.data[loop.index].color = (0.5 + 0.3 * x, 0.5 + 0.3 * y, 0.5 + 0.8 * z, 1.0)
    for vertex in mesh.vertices:
        wear.data[vertex.index].value = 0.45 + 0.25 * vertex.co.x * vertex.co.y
    return thing


def turned_pillow() -> bpy.types.Object:
    """A round cube that is moved, turned and stretched."""
    thing = pillow()
    thing.location, thing.rotation_euler, thing.scale = (0.5, -0.3, 0.2), (0.4, 0.9, -0.5), (1.2, 0.8, 1.0)
    return thing
