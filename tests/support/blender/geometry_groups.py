"""Geometry node groups for the tests, and modifiers with them."""

from __future__ import annotations

from collections.abc import Callable

import bpy

Made = Callable[[bpy.types.NodeTree, bpy.types.NodeSocket], bpy.types.NodeSocket]


def nodes_modifier(scene_object: bpy.types.Object, name: str, made: Made) -> bpy.types.Modifier:
    """A Geometry Nodes modifier; `made` gets the tree and the socket of the object's geometry, and returns the result."""
    group = bpy.data.node_groups.new(name, "GeometryNodeTree")
    for in_out in ("INPUT", "OUTPUT"):
        group.interface.new_socket("Geometry", in_out=in_out, socket_type="NodeSocketGeometry")
    start, end = group.nodes.new("NodeGroupInput"), group.nodes.new("NodeGroupOutput")
    group.links.new(made(group, start.outputs[0]), end.inputs[0])
    modifier = scene_object.modifiers.new(name, "NODES")
    modifier.node_group = group
    return modifier


def set_material(material: bpy.types.Material) -> Made:
    """Give all faces a material."""

    def made(group, geometry):
        setter = group.nodes.new("GeometryNodeSetMaterial")
        setter.inputs["Material"].default_value = material
        group.links.new(geometry, setter.inputs["Geometry"])
        return setter.outputs[0]

    return made


def sphere_with_uv(name: str = "UVMap", material: bpy.types.Material | None = None, kind: str = "FLOAT2") -> Made:
    """A sphere in place of the object's geometry, with its UVs stored under a name, and a material."""

    def made(group, _geometry):
        sphere = group.nodes.new("GeometryNodeMeshUVSphere")
        store = group.nodes.new("GeometryNodeStoreNamedAttribute")
        store.data_type, store.domain = kind, "CORNER"
        store.inputs["Name"].default_value = name
        group.links.new(sphere.outputs["Mesh"], store.inputs["Geometry"])
        value = next(socket for socket in store.inputs if socket.name == "Value" and socket.enabled)
        group.links.new(sphere.outputs["UV Map"], value)
        return set_material(material)(group, store.outputs[0]) if material is not None else store.outputs[0]

    return made


def joined_with(kind: str) -> Made:
    """The object's geometry together with what a node of this kind makes."""

    def made(group, geometry):
        join, other = group.nodes.new("GeometryNodeJoinGeometry"), group.nodes.new(kind)
        if kind == "GeometryNodeInstanceOnPoints":
            cube = group.nodes.new("GeometryNodeMeshCube")
            group.links.new(geometry, other.inputs["Points"])
            group.links.new(cube.outputs["Mesh"], other.inputs["Instance"])
        group.links.new(geometry, join.inputs[0])
        group.links.new(other.outputs[0], join.inputs[0])
        return join.outputs[0]

    return made
