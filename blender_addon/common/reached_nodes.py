# SPDX-License-Identifier: GPL-3.0-or-later
"""The nodes of a material or world that really reach the output that Cycles renders.

The walk goes back from the output through what Cycles follows: links that are valid, not muted and between sockets that
are there; reroutes; the used outputs of groups, also nested ones; muted nodes by their internal links. An input that
cannot matter, because a constant factor takes nothing of it, is not followed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import bpy

from .node_trees import output_node

MATERIAL_OUTPUT = "ShaderNodeOutputMaterial"
WORLD_OUTPUT = "ShaderNodeOutputWorld"
RENDERED = {"Surface", "Volume", "Displacement"}  # what Cycles takes of an output node

Groups = tuple[bpy.types.Node, ...]
Follow = Callable[[bpy.types.Node, bpy.types.NodeSocket], bool]
Source = tuple[bpy.types.Node, bpy.types.NodeSocket]

# Inputs of the Principled BSDF that do nothing while another one is zero.
WITHOUT_WEIGHT = {
    "Emission Strength": {"Emission Color"},
    "Coat Weight": {"Coat Roughness", "Coat IOR", "Coat Tint", "Coat Normal"},
    "Sheen Weight": {"Sheen Roughness", "Sheen Tint"},
    "Subsurface Weight": {"Subsurface Radius", "Subsurface Scale", "Subsurface IOR", "Subsurface Anisotropy"},
}


@dataclass(frozen=True)
class Reached:
    """A node that reaches the output. outputs: identifiers of its output sockets that lead there, none for the output
    node itself; groups: the group nodes that it lies in, the outermost first, none at the top of the tree."""

    node: bpy.types.Node
    outputs: frozenset[str]
    groups: Groups = ()


def reached_nodes(tree: bpy.types.NodeTree | None, kind: str, follow: Follow | None = None) -> list[Reached]:
    """The nodes that reach the output of `tree` that Cycles renders, from the output back; group nodes included.

    A node in a group comes once for each instance of the group through which it is reached. Reroutes, muted nodes, and
    the inputs and outputs of groups only lead on, so they are left out.
    kind: MATERIAL_OUTPUT or WORLD_OUTPUT; follow: whether to go back from an input socket of a node (default: always).
    """
    if tree is None:
        return []
    return _Walk(follow or (lambda _node, _socket: True)).reached(tree, kind)


def input_of(node: bpy.types.Node, identifier: str) -> bpy.types.NodeSocket | None:
    """The input socket of a node by its identifier, which is the same in every language and version."""
    return next((socket for socket in node.inputs if socket.identifier == identifier), None)


def label_of(node: bpy.types.Node) -> str:
    """How to name a node to the artist: its label, else its name."""
    return str(node.label or node.name)


def rendered_output(tree: bpy.types.NodeTree, kind: str, groups: Groups = ()) -> tuple[Groups, bpy.types.Node] | None:
    """The output node that Cycles renders, and the groups that it lies in; one in a group counts if the tree has none."""
    output = output_node(tree, kind)
    if output is not None:
        return groups, output
    for node in tree.nodes:
        if getattr(node, "node_tree", None) is not None and not node.mute:
            found = rendered_output(node.node_tree, kind, (*groups, node))
            if found is not None:
                return found
    return None


class _Walk:
    """One walk through a tree: what was found, and what is still to be visited."""

    def __init__(self, follow: Follow) -> None:
        self._follow = follow
        self._links: dict[int, dict[int, Source]] = {}
        self._found: dict[tuple[int, ...], tuple[Groups, bpy.types.Node, set[str]]] = {}
        self._pending: list[tuple[Groups, bpy.types.Node, bpy.types.NodeSocket]] = []
        self._seen: set[tuple[tuple[int, ...], str]] = set()

    def reached(self, tree: bpy.types.NodeTree, kind: str) -> list[Reached]:
        output = rendered_output(tree, kind)
        if output is None:
            return []
        groups, node = output
        self._found[_key(groups, node)] = groups, node, set()
        self._push_inputs(groups, node, [socket for socket in node.inputs if socket.identifier in RENDERED])
        while self._pending:
            self._visit(*self._pending.pop())
        return [Reached(node, frozenset(outputs), groups) for groups, node, outputs in self._found.values()]

    def _push_inputs(
        self, groups: Groups, node: bpy.types.Node, sockets: Iterator[bpy.types.NodeSocket] | list[bpy.types.NodeSocket]
    ) -> None:
        for socket in sockets:
            if self._follow(node, socket):
                self._push(groups, socket)

    def _push(self, groups: Groups, socket: bpy.types.NodeSocket) -> None:
        """Visit what feeds an input socket, later."""
        source = self._source(socket)
        if source is not None:
            self._pending.append((groups, *source))

    def _source(self, socket: bpy.types.NodeSocket) -> Source | None:
        """The node and the output that Cycles takes for an input socket; reroutes count as nodes."""
        tree = socket.id_data
        links = self._links.get(tree.as_pointer())
        if links is None:
            # Blender searches all links of the tree for those of one socket, so they are sorted once.
            links = {}
            for link in tree.links:
                usable = link.is_valid and not link.is_muted and link.from_socket.enabled and link.to_socket.enabled
                if usable:
                    links.setdefault(link.to_socket.as_pointer(), (link.from_node, link.from_socket))
            self._links[tree.as_pointer()] = links
        return links.get(socket.as_pointer())

    def _visit(self, groups: Groups, node: bpy.types.Node, output: bpy.types.NodeSocket) -> None:
        key = _key(groups, node)
        if (key, output.identifier) in self._seen:
            return
        self._seen.add((key, output.identifier))
        onward = self._through(groups, node, output)
        if onward is not None:
            for place, socket in onward:
                self._push(place, socket)
            return
        is_new = key not in self._found
        self._found.setdefault(key, (groups, node, set()))[2].add(output.identifier)
        if getattr(node, "node_tree", None) is not None:
            inner = group_output(node.node_tree)
            socket = input_of(inner, output.identifier) if inner is not None else None
            if socket is not None:
                self._push((*groups, node), socket)
        elif is_new:
            self._push_inputs(groups, node, self._needed(groups, node))

    def _through(
        self, groups: Groups, node: bpy.types.Node, output: bpy.types.NodeSocket
    ) -> list[tuple[Groups, bpy.types.NodeSocket]] | None:
        """The inputs that an output only passes on, each with its groups; None if the node itself has an effect."""
        if node.bl_idname == "NodeReroute":
            return [(groups, node.inputs[0])]
        if node.mute:
            return [(groups, link.from_socket) for link in node.internal_links if link.to_socket == output]
        if node.bl_idname == "NodeGroupInput":
            outer = input_of(groups[-1], output.identifier) if groups else None
            return [(groups[:-1], outer)] if outer is not None and self._follow(groups[-1], outer) else []
        return None

    def _constant(self, groups: Groups, socket: bpy.types.NodeSocket) -> float | None:
        """The number that an input has, if nothing computes it."""
        while True:
            source = self._source(socket)
            if source is None:
                value = getattr(socket, "default_value", None)
                return float(value) if isinstance(value, int | float) else None
            node, output = source
            if node.bl_idname == "ShaderNodeValue" and not node.mute:
                return float(output.default_value)
            onward = self._through(groups, node, output)
            if not onward:
                return None
            groups, socket = onward[0]
            if node.bl_idname == "NodeReroute" and self._source(socket) is None:
                return None

    def _needed(self, groups: Groups, node: bpy.types.Node) -> Iterator[bpy.types.NodeSocket]:
        """The inputs of a node that can have an effect."""
        without = self._without_effect(groups, node)
        yield from (socket for socket in node.inputs if socket.enabled and socket.identifier not in without)
        if node.bl_idname == "GeometryNodeRepeatOutput":  # what its zone starts with, in shaders from Blender 5.0 on
            for other in node.id_data.nodes:
                if getattr(other, "paired_output", None) == node:
                    yield from other.inputs

    def _without_effect(self, groups: Groups, node: bpy.types.Node) -> set[str]:
        """The identifiers of inputs that a constant factor switches off."""
        if node.bl_idname == "ShaderNodeBsdfPrincipled":
            weights = {name: node.inputs.get(name) for name in WITHOUT_WEIGHT}
            zero = [name for name, socket in weights.items() if socket and self._constant(groups, socket) == 0.0]
            unused = set().union(*(WITHOUT_WEIGHT[name] for name in zero))
            return {socket.identifier for socket in node.inputs if socket.name in unused}
        if node.bl_idname == "GeometryNodeMenuSwitch" and self._source(node.inputs[0]) is None:  # from Blender 5.0 on
            chosen = node.inputs[0].default_value
            return {socket.identifier for socket in node.inputs if socket.name != chosen}
        if node.bl_idname not in {"ShaderNodeMix", "ShaderNodeMixRGB", "ShaderNodeMixShader"}:
            return set()
        sockets = [socket for socket in node.inputs if socket.enabled]
        if len(sockets) != 3 or sockets[0].type != "VALUE":
            return set()
        factor = self._constant(groups, sockets[0])
        if factor is None:
            return set()
        is_clamped = node.bl_idname != "ShaderNodeMix" or node.clamp_factor
        factor = min(max(factor, 0.0), 1.0) if is_clamped else factor
        if factor == 0.0:
            return {sockets[2].identifier}
        has_blend = node.bl_idname == "ShaderNodeMixRGB" or getattr(node, "data_type", "") == "RGBA"
        return {sockets[1].identifier} if factor == 1.0 and not (has_blend and node.blend_type != "MIX") else set()


def group_output(tree: bpy.types.NodeTree) -> bpy.types.Node | None:
    """The Group Output that counts: the active one, else the first."""
    outputs = [node for node in tree.nodes if node.bl_idname == "NodeGroupOutput"]
    return next((node for node in outputs if node.is_active_output), outputs[0] if outputs else None)


def _key(groups: Groups, node: bpy.types.Node) -> tuple[int, ...]:
    return (*(group.as_pointer() for group in groups), node.as_pointer())
