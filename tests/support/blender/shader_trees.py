"""Short ways to build the node tree of a material in tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bpy
from support.blender.scenes import use_nodes


class Tree:
    """A node tree: of a new material with a Principled BSDF, or of a group. shader, output: its first nodes."""

    def __init__(self, nodes: bpy.types.NodeTree | None = None) -> None:
        if nodes is None:
            self.material = bpy.data.materials.new("Look")
            use_nodes(self.material)
            nodes = self.material.node_tree
        self.nodes = nodes
        self.links = nodes.links
        self.shader = nodes.nodes.get("Principled BSDF")
        self.output = nodes.nodes.get("Material Output")

    def new(self, kind: str, **inputs: Any) -> bpy.types.Node:
        """A new shader node; inputs by their names, with _ for a space."""
        node = self.nodes.nodes.new(f"ShaderNode{kind}")
        for name, value in inputs.items():
            self.input(node, name.replace("_", " ")).default_value = value
        return node

    def input(self, node: bpy.types.Node, name: str | int) -> bpy.types.NodeSocket:
        """An input by its identifier, or by its place."""
        if isinstance(name, int):
            return node.inputs[name]
        return next(socket for socket in node.inputs if socket.identifier == name)

    def link(self, source: bpy.types.Node, target: bpy.types.Node, name: str | int, output: int = 0) -> bpy.types.Node:
        """Link an output to an input; returns the node of the input."""
        self.links.new(source.outputs[output], self.input(target, name))
        return target

    def group(self, name: str, build: Callable[[Tree], bpy.types.Node]) -> bpy.types.NodeTree:
        """A new group whose only output is that of the node that `build` returns; its input "Amount" is a number."""
        nodes = bpy.data.node_groups.new(name, "ShaderNodeTree")
        inside = Tree(nodes)
        nodes.interface.new_socket("Amount", in_out="INPUT", socket_type="NodeSocketFloat")
        source = build(inside)
        kind = "NodeSocketShader" if source.outputs[0].type == "SHADER" else "NodeSocketColor"
        nodes.interface.new_socket("Result", in_out="OUTPUT", socket_type=kind)
        inside.links.new(source.outputs[0], nodes.nodes.new("NodeGroupOutput").inputs[0])
        return nodes

    def use(self, group: bpy.types.NodeTree, amount: float = 0.0) -> bpy.types.Node:
        """A node for a group."""
        node = self.nodes.nodes.new("ShaderNodeGroup")
        node.node_tree = group
        node.inputs["Amount"].default_value = amount
        return node
