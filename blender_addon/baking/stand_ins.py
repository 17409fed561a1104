# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of a material that emit a value in place of each closure: Cycles itself then weighs and adds the values, through
the same groups, mixes and muted nodes as the closures."""

from __future__ import annotations

from collections.abc import Hashable

import bpy

from ..closures.mixing import FACTOR, Leaf, Mixed, leaves_of, parts_of, shows
from ..closures.parameters import NORMAL, NOTHING_SCATTERED, TANGENT, parameter
from ..closures.reading import Reading
from ..closures.values import Difference, Input, Number, Product, Value, constant
from ..common.reached_nodes import MATERIAL_OUTPUT, Groups, Reached, input_of, known_input, reached_nodes, source_of
from .quantities import DIRECTION, TRANSPARENCY, Pass, value_in
from .tangents import ROTATION, as_direction, direction_nodes
from .uv_names import name_uv_map

IMAGE = "ShaderNodeTexImage"
OPERATIONS = {Product: "MULTIPLY", Difference: "SUBTRACT"}


def stand_in(
    material: bpy.types.Material,
    reading: Reading,
    baked: Pass,
    image: bpy.types.Image,
    uv_map: str,
    rendered_uv_map: str | None,
) -> bpy.types.Material:
    """A copy of a material that shows what a pass bakes into `image`.

    uv_map: the one that is baked; rendered_uv_map: the one that nodes read which name none, if that is another one.
    """
    copy = material.copy()
    copy.name = "PBRfit bake"
    separate_groups(copy.node_tree)
    keep_alpha_in_use(copy, material)
    if rendered_uv_map is not None:
        name_uv_map(copy.node_tree, rendered_uv_map)
    copy.cycles.emission_sampling = "NONE"  # else Cycles prepares every triangle as a lamp
    if baked.names != (TRANSPARENCY,):
        show_what_shows(copy, reading)
    for leaf in leaves_of(reading.surface):
        tree, node = place_of(copy, leaf.item.groups, leaf.item.node)
        if baked.is_normal:
            replacement = diffuse(tree, node, leaf, baked.names[0])
        elif baked.names == (DIRECTION,):
            replacement = direction(tree, node, leaf, uv_map)
        else:
            values = [simplest(value_in(leaf, name, reading), leaf) for name in baked.names]
            replacement = emission(tree, node, values, baked.is_whole)
        replace(tree, node, replacement)
    bake_into(copy.node_tree, image)
    return copy


def placeholder(image: bpy.types.Image) -> bpy.types.Material:
    """A material for faces that are not baked; what Cycles bakes of them goes into `image`."""
    material = bpy.data.materials.new("PBRfit bake")
    if bpy.app.version < (5, 0, 0):
        material.use_nodes = True
    bake_into(material.node_tree, image)
    return material


def positions(image: bpy.types.Image) -> bpy.types.Material:
    """A material that shows where each point is in the world; Cycles bakes it into `image`."""
    material = placeholder(image)
    tree = material.node_tree
    output = next(node for node in tree.nodes if node.bl_idname == MATERIAL_OUTPUT)
    light, place = tree.nodes.new("ShaderNodeEmission"), tree.nodes.new("ShaderNodeNewGeometry")
    tree.links.new(place.outputs["Position"], known_input(light, "Color"))
    tree.links.new(light.outputs[0], known_input(output, "Surface"))
    return material


def bake_into(tree: bpy.types.NodeTree, image: bpy.types.Image) -> None:
    """Make an image the one that Cycles bakes into."""
    node = tree.nodes.new("ShaderNodeTexImage")
    node.image = image
    for other in tree.nodes:
        other.select = other == node
    tree.nodes.active = node


def separate_groups(tree: bpy.types.NodeTree) -> None:
    """Give each group node, also in groups, a tree of its own."""
    for node in tree.nodes:
        if getattr(node, "node_tree", None) is not None:
            node.node_tree = node.node_tree.copy()
            separate_groups(node.node_tree)


def place_of(
    material: bpy.types.Material, groups: Groups, node: bpy.types.Node
) -> tuple[bpy.types.NodeTree, bpy.types.Node]:
    """The tree and the node of a copied material that stand for a node of the original."""
    tree = material.node_tree
    for group in groups:
        tree = tree.nodes[group.name].node_tree
    return tree, tree.nodes[node.name]


def keep_alpha_in_use(copy: bpy.types.Material, material: bpy.types.Material) -> None:
    """Let images whose alpha the original uses keep their colors: Cycles multiplies them by alpha where nothing uses it."""
    reached = reached_nodes(material.node_tree, MATERIAL_OUTPUT, idle_lobes=True)
    images = [(item, picture_of(item)) for item in reached if item.node.bl_idname == IMAGE]
    in_use = {picture for item, picture in images if "Alpha" in item.outputs}
    for item, picture in images:
        if picture in in_use:
            tree, node = place_of(copy, item.groups, item.node)
            color, alpha = node.outputs["Color"], node.outputs["Alpha"]
            taken = [link.to_socket for link in tree.links if link.from_socket == color and not link.is_muted]
            # The alpha is never less than -1, so the factor is 1; Cycles does not know that, and leaves the nodes in.
            least, factor, scaled = (tree.nodes.new(f"ShaderNode{kind}") for kind in ("Math", "Math", "Mix"))
            least.operation, factor.operation = "MINIMUM", "ABSOLUTE"
            least.inputs[1].default_value = -1.0
            scaled.data_type, scaled.blend_type = "RGBA", "MULTIPLY"
            known_input(scaled, "Factor_Float").default_value = 1.0
            tree.links.new(alpha, least.inputs[0])
            tree.links.new(least.outputs[0], factor.inputs[0])
            tree.links.new(color, known_input(scaled, "A_Color"))
            tree.links.new(factor.outputs[0], known_input(scaled, "B_Color"))
            result = next(socket for socket in scaled.outputs if socket.identifier == "Result_Color")
            for socket in taken:
                tree.links.new(result, socket)


def picture_of(item: Reached) -> Hashable:
    """Equal for nodes of the same image that Cycles makes into one."""
    node, source = item.node, source_of(item, "Vector")
    place = source.key if source is not None and source.computed else None
    user = node.image_user
    frames = user.frame_current, user.frame_offset, user.frame_start, user.tile
    return node.image, node.interpolation, node.projection, node.extension, frames, place


def show_what_shows(material: bpy.types.Material, reading: Reading) -> None:
    """Leave out of mixes what only lets light through: a cut-out has its color under the holes too."""
    for part in parts_of(reading.surface):
        if isinstance(part, Mixed) and None not in part.sides:
            first, second = (shows(side) for side in part.sides)
            if first != second:
                tree, node = place_of(material, part.item.groups, part.item.node)
                factor = known_input(node, FACTOR)
                unlink(tree, factor)
                factor.default_value = float(second)


def replace(tree: bpy.types.NodeTree, node: bpy.types.Node, replacement: bpy.types.Node) -> None:
    """Link what a shader node is linked to, to another one."""
    taken = [link.to_socket for link in tree.links if link.from_node == node and not link.is_muted]
    for socket in taken:
        tree.links.new(replacement.outputs[0], socket)


def diffuse(tree: bpy.types.NodeTree, node: bpy.types.Node, leaf: Leaf, name: str) -> bpy.types.Node:
    """A closure with the normal of another one, which tells nothing else of it."""
    closure = tree.nodes.new("ShaderNodeBsdfDiffuse")
    scattered = 0.0 if leaf.kind in NOTHING_SCATTERED else 1.0
    known_input(closure, "Color").default_value = (scattered, scattered, scattered, 1.0)
    source = linked(tree, node, name)
    if source is not None:
        tree.links.new(source, known_input(closure, "Normal"))
    return closure


def emission(tree: bpy.types.NodeTree, node: bpy.types.Node, values: list[Value], whole: bool) -> bpy.types.Node:
    """A closure that emits values of what the inputs of a node have: one color, or up to three scalars."""
    closure = tree.nodes.new("ShaderNodeEmission")
    color = known_input(closure, "Color")
    if whole:
        feed(tree, color, node, values[0])
        return closure
    combined = tree.nodes.new("ShaderNodeCombineXYZ")
    for socket, value in zip(combined.inputs, values, strict=False):
        feed(tree, socket, node, value)
    tree.links.new(combined.outputs[0], color)
    return closure


def direction(tree: bpy.types.NodeTree, node: bpy.types.Node, leaf: Leaf, uv_map: str) -> bpy.types.Node:
    """A closure that emits the direction of another one's anisotropy; one without a tangent adds nothing to the mean."""
    closure = tree.nodes.new("ShaderNodeEmission")
    tangent = linked(tree, node, TANGENT)
    if tangent is None:
        known_input(closure, "Strength").default_value = 0.0
        return closure
    angle, rotation = direction_nodes(tree, tangent, linked(tree, node, NORMAL), uv_map)
    feed(tree, rotation, node, parameter(leaf, ROTATION))
    tree.links.new(as_direction(tree, angle), known_input(closure, "Color"))
    return closure


def feed(tree: bpy.types.NodeTree, socket: bpy.types.NodeSocket, node: bpy.types.Node, value: Value) -> None:
    """Give an input the value of an expression of what the inputs of a node have."""
    if isinstance(value, Number):
        set_numbers(socket, value.value)
    elif isinstance(value, Input):
        given = known_input(node, value.identifier)
        source = linked(tree, node, value.identifier)
        if source is None:
            number = given.default_value
            set_numbers(socket, (number,) * 3 if isinstance(number, int | float) else tuple(number[:3]))
        elif given.type == "VALUE" and socket.type != "VALUE":
            # A color becomes a number where it enters such an input.
            as_number = tree.nodes.new("ShaderNodeMath")
            as_number.operation = "ADD"
            as_number.inputs[1].default_value = 0.0
            tree.links.new(source, as_number.inputs[0])
            tree.links.new(as_number.outputs[0], socket)
        else:
            tree.links.new(source, socket)
    else:
        combined = tree.nodes.new("ShaderNodeVectorMath")
        combined.operation = OPERATIONS.get(type(value), "ADD")
        feed(tree, combined.inputs[0], node, value.first)
        feed(tree, combined.inputs[1], node, value.second)
        tree.links.new(combined.outputs["Vector"], socket)


def simplest(value: Value, leaf: Leaf) -> Value:
    """A value as numbers, if no node computes it: each node and number that is not made saves an update of the whole tree."""
    known = constant(value, leaf.item)
    return value if known is None else Number(known)


def set_numbers(socket: bpy.types.NodeSocket, numbers: tuple[float, ...]) -> None:
    """Give an input its own value: the first number, or all three."""
    if socket.type == "VALUE":
        if socket.default_value != numbers[0]:
            socket.default_value = numbers[0]
    elif tuple(socket.default_value[:3]) != tuple(numbers):
        socket.default_value[:3] = numbers


def linked(tree: bpy.types.NodeTree, node: bpy.types.Node, identifier: str) -> bpy.types.NodeSocket | None:
    """What is linked to an input of a node, if anything that Cycles follows."""
    socket = input_of(node, identifier)
    if socket is None or not socket.enabled:
        return None
    for link in tree.links:
        if link.to_socket == socket and link.is_valid and not link.is_muted and link.from_socket.enabled:
            return link.from_socket
    return None


def unlink(tree: bpy.types.NodeTree, socket: bpy.types.NodeSocket) -> None:
    """Take the links to an input away."""
    for link in [link for link in tree.links if link.to_socket == socket]:
        tree.links.remove(link)
