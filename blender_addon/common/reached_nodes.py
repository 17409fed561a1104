# SPDX-License-Identifier: GPL-3.0-or-later
"""The nodes of a material or world that really reach the output that Cycles renders.

The walk goes back from the output through what Cycles follows: links that are valid, not muted and between sockets that
are there; reroutes; the used outputs of groups, also nested ones; muted nodes by their internal links. An input that
cannot matter, because a constant factor takes nothing of it, is not followed.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import bpy

from .node_trees import output_node

MATERIAL_OUTPUT = "ShaderNodeOutputMaterial"
WORLD_OUTPUT = "ShaderNodeOutputWorld"
RENDERED = {"Surface", "Volume", "Displacement"}  # what Cycles takes of an output node

Groups = tuple[bpy.types.Node, ...]
Follow = Callable[[bpy.types.Node, bpy.types.NodeSocket], bool]
Link = tuple[bpy.types.NodeSocket, bpy.types.Node, bpy.types.NodeSocket]  # to the socket, from the node, its output

# Identifiers of the factor and of what it mixes.
MIXED = {
    "ShaderNodeMixRGB": ("Fac", "Color1", "Color2"),
    "ShaderNodeMixShader": ("Fac", "Shader", "Shader_001"),
}

# The input, by its identifier, of what is blended into the surface's normal by the input Strength.
BLENDED_NORMALS = {"ShaderNodeNormalMap": "Color", "ShaderNodeBump": "Height"}

# Inputs of the Principled BSDF, by identifiers, that do nothing while another one is zero.
WITHOUT_WEIGHT = {
    "Emission Strength": {"Emission Color"},
    "Coat Weight": {"Coat Roughness", "Coat IOR", "Coat Tint", "Coat Normal"},
    "Sheen Weight": {"Sheen Roughness", "Sheen Tint"},
    "Subsurface Weight": {"Subsurface Radius", "Subsurface Scale", "Subsurface IOR", "Subsurface Anisotropy"},
    "Anisotropic": {"Anisotropic Rotation", "Tangent"},
    "Thin Film Thickness": {"Thin Film IOR"},
}


@dataclass(frozen=True)
class Reached:
    """A node that reaches the output. outputs: identifiers of its output sockets that lead there, none for the output
    node itself; groups: the group nodes that it lies in, the outermost first, none at the top of the tree."""

    node: bpy.types.Node
    outputs: frozenset[str]
    groups: Groups = ()


@dataclass(frozen=True)
class Source:
    """What an input of a node gets its value from: an output socket of a node, or an input that has its own value.

    key: tells this socket from every other one of the material, also of the same group at another place.
    """

    node: bpy.types.Node
    socket: bpy.types.NodeSocket
    groups: Groups

    @property
    def computed(self) -> bool:
        """Whether a node computes the value."""
        return bool(self.socket.is_output)

    @property
    def key(self) -> Hashable:
        """Equal for the same socket only."""
        return *_key(self.groups, self.node), self.socket.is_output, self.socket.identifier

    @property
    def reached(self) -> Reached:
        """The node, reached by this socket."""
        return Reached(self.node, frozenset({self.socket.identifier}), self.groups)


def reached_nodes(
    tree: bpy.types.NodeTree | None, kind: str, follow: Follow | None = None, idle_lobes: bool = False
) -> list[Reached]:
    """The nodes that reach the output of `tree` that Cycles renders, from the output back; group nodes included.

    A node in a group comes once for each instance of the group through which it is reached. Reroutes, muted nodes, and
    the inputs and outputs of groups only lead on, so they are left out.
    kind: MATERIAL_OUTPUT or WORLD_OUTPUT; follow: whether to go back from an input socket of a node (default: always);
    idle_lobes: go back also from inputs of the Principled BSDF whose weight is zero.
    """
    if tree is None:
        return []
    return _Walk(follow or (lambda _node, _socket: True), idle_lobes).reached(tree, kind)


def reached_through(item: Reached, identifier: str, follow: Follow | None = None) -> list[Reached]:
    """The nodes that reach one input of a reached node, as `reached_nodes` finds them."""
    return _Walk(follow or (lambda _node, _socket: True)).through(item, identifier)


def source_of(item: Reached, identifier: str) -> Source | None:
    """What an input of a reached node gets its value from, through reroutes, muted nodes and groups, in and out.

    None where that is a shader that is not there, or an input without a value of its own.
    """
    return _Walk(lambda _node, _socket: True).source(item.groups, item.node, identifier)


def constant_of(item: Reached, identifier: str) -> float | None:
    """The number that an input of a reached node has, if nothing computes it."""
    return _Walk(lambda _node, _socket: True).constant(item.groups, item.node, identifier)


def input_of(node: bpy.types.Node, identifier: str) -> bpy.types.NodeSocket | None:
    """The input socket of a node by its identifier, which is the same in every language and version."""
    return next((socket for socket in node.inputs if socket.identifier == identifier), None)


def known_input(node: bpy.types.Node, identifier: str) -> bpy.types.NodeSocket:
    """The input socket of a node that certainly has it."""
    return next(socket for socket in node.inputs if socket.identifier == identifier)


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


def kinds_in(tree: bpy.types.NodeTree | None, seen: set[bpy.types.NodeTree] | None = None) -> set[str]:
    """The types (bl_idname) of all nodes of a tree and of the groups in it, whether they are reached or not: a fast look
    before a walk."""
    seen = set() if seen is None else seen
    if tree is None or tree in seen:
        return set()
    seen.add(tree)
    kinds = set()
    for node in tree.nodes:
        kinds.add(node.bl_idname)
        kinds |= kinds_in(getattr(node, "node_tree", None), seen)
    return kinds


_known_links: dict[int, dict[int, dict[str, Link]]] | None = None


@contextmanager
def unchanged_trees() -> Iterator[None]:
    """While nobody changes a node tree: the links of each are sorted once, and not for each question again."""
    global _known_links
    before = _known_links
    _known_links = {} if before is None else before
    try:
        yield
    finally:
        _known_links = before


class _Walk:
    """One walk through a tree: what was found, and what is still to be visited."""

    def __init__(self, follow: Follow, idle_lobes: bool = False) -> None:
        self._follow = follow
        self._idle_lobes = idle_lobes
        self._links: dict[int, dict[int, dict[str, Link]]] = {} if _known_links is None else _known_links
        self._found: dict[tuple[int, ...], tuple[Groups, bpy.types.Node, set[str]]] = {}
        self._pending: list[tuple[Groups, bpy.types.Node, bpy.types.NodeSocket]] = []
        self._seen: set[tuple[tuple[int, ...], str]] = set()

    def reached(self, tree: bpy.types.NodeTree, kind: str) -> list[Reached]:
        output = rendered_output(tree, kind)
        if output is None:
            return []
        groups, node = output
        self._found[_key(groups, node)] = groups, node, set()
        self._push_inputs(groups, node, {name for name in self._linked(node) if name not in RENDERED})
        return self._visited()

    def through(self, item: Reached, identifier: str) -> list[Reached]:
        self._push(item.groups, item.node, identifier)
        return self._visited()

    def _visited(self) -> list[Reached]:
        """Visit all that is pending; returns what was found."""
        while self._pending:
            self._visit(*self._pending.pop())
        return [Reached(node, frozenset(outputs), groups) for groups, node, outputs in self._found.values()]

    def _linked(self, node: bpy.types.Node) -> dict[str, Link]:
        """The links to a node that Cycles follows, by the identifiers of its inputs."""
        tree = node.id_data
        of_tree = self._links.get(tree.as_pointer())
        if of_tree is None:
            # Blender searches all links of the tree for those of one socket, so they are sorted once.
            of_tree = self._links[tree.as_pointer()] = {}
            for link in tree.links:
                source, target = link.from_socket, link.to_socket
                if link.is_valid and not link.is_muted and source.enabled and target.enabled:
                    of_node = of_tree.setdefault(link.to_node.as_pointer(), {})
                    of_node.setdefault(target.identifier, (target, link.from_node, source))
        return of_tree.get(node.as_pointer(), {})

    def _push_inputs(self, groups: Groups, node: bpy.types.Node, without: set[str]) -> None:
        """Visit what feeds the inputs of a node, later; `without` are the identifiers of those to leave out."""
        for identifier, (socket, source, output) in self._linked(node).items():
            if identifier not in without and self._follow(node, socket):
                self._pending.append((groups, source, output))

    def _push(self, groups: Groups, node: bpy.types.Node, identifier: str) -> None:
        """Visit what feeds one input of a node, later."""
        link = self._linked(node).get(identifier)
        if link is not None:
            self._pending.append((groups, link[1], link[2]))

    def _visit(self, groups: Groups, node: bpy.types.Node, output: bpy.types.NodeSocket) -> None:
        key, identifier = _key(groups, node), output.identifier
        if (key, identifier) in self._seen:
            return
        self._seen.add((key, identifier))
        onward = self._through(groups, node, output)
        if onward is not None:
            for place, passing, name in onward:
                self._push(place, passing, name)
            return
        is_new = key not in self._found
        self._found.setdefault(key, (groups, node, set()))[2].add(identifier)
        if getattr(node, "node_tree", None) is not None:
            inner = group_output(node.node_tree)
            if inner is not None:
                self._push((*groups, node), inner, identifier)
        elif is_new:
            self._push_inputs(groups, node, self._without_effect(groups, node))
            if (
                node.bl_idname == "GeometryNodeRepeatOutput"
            ):  # what its zone starts with, in shaders from Blender 5.0 on
                for other in node.id_data.nodes:
                    if getattr(other, "paired_output", None) == node:
                        self._push_inputs(groups, other, set())

    def _through(
        self, groups: Groups, node: bpy.types.Node, output: bpy.types.NodeSocket
    ) -> list[tuple[Groups, bpy.types.Node, str]] | None:
        """The inputs that an output only passes on, as groups, node and identifier; None if the node has an effect."""
        if node.bl_idname == "NodeReroute":
            return [(groups, node, node.inputs[0].identifier)]
        if node.mute:
            passed = [link.from_socket for link in node.internal_links if link.to_socket == output]
            return [(groups, node, socket.identifier) for socket in passed]
        if node.bl_idname == "NodeGroupInput":
            outer = input_of(groups[-1], output.identifier) if groups else None
            follows = outer is not None and self._follow(groups[-1], outer)
            return [(groups[:-1], groups[-1], output.identifier)] if follows else []
        return None

    def source(self, groups: Groups, node: bpy.types.Node, identifier: str) -> Source | None:
        """What an input gets its value from; see `source_of`."""
        while True:
            link = self._linked(node).get(identifier)
            if link is None:
                socket = input_of(node, identifier)
                has_value = node.bl_idname != "NodeReroute" and hasattr(socket, "default_value")
                return Source(node, socket, groups) if socket is not None and has_value else None
            _, node, output = link
            onward = self._through(groups, node, output)
            if onward is not None:
                if not onward:
                    return None
                groups, node, identifier = onward[0]
            elif getattr(node, "node_tree", None) is not None:
                inner = group_output(node.node_tree)
                if inner is None:
                    return None
                groups, node, identifier = (*groups, node), inner, output.identifier
            else:
                return Source(node, output, groups)

    def constant(self, groups: Groups, node: bpy.types.Node, identifier: str) -> float | None:
        """The number that an input has, if nothing computes it."""
        while True:
            link = self._linked(node).get(identifier)
            if link is None:
                socket = None if node.bl_idname == "NodeReroute" else input_of(node, identifier)
                value = getattr(socket, "default_value", None)
                return float(value) if isinstance(value, int | float) else None
            _, node, output = link
            if node.bl_idname == "ShaderNodeValue" and not node.mute:
                return float(output.default_value)
            onward = self._through(groups, node, output)
            if not onward:
                return None
            groups, node, identifier = onward[0]

    def _without_effect(self, groups: Groups, node: bpy.types.Node) -> set[str]:
        """The identifiers of inputs that a constant factor switches off."""
        linked = self._linked(node)
        if node.bl_idname == "ShaderNodeBsdfPrincipled":
            if self._idle_lobes:
                return set()
            weights = [name for name, unused in WITHOUT_WEIGHT.items() if not unused.isdisjoint(linked)]
            return {
                name
                for weight in weights
                if self.constant(groups, node, weight) == 0.0
                for name in WITHOUT_WEIGHT[weight]
            }
        if (
            node.bl_idname == "GeometryNodeMenuSwitch" and node.inputs[0].identifier not in linked
        ):  # from Blender 5.0 on
            chosen = node.inputs[0].default_value
            return {socket.identifier for socket in node.inputs if socket.name != chosen}
        if node.bl_idname in BLENDED_NORMALS and BLENDED_NORMALS[node.bl_idname] in linked:
            strength = self.constant(groups, node, "Strength")
            # Cycles takes a strength below zero for zero.
            return {BLENDED_NORMALS[node.bl_idname]} if strength is not None and strength <= 0.0 else set()
        mixed = mixed_inputs(node)
        if mixed is None or linked.keys().isdisjoint(mixed[1:]):
            return set()
        factor = self.constant(groups, node, mixed[0])
        if factor is None:
            return set()
        is_clamped = node.bl_idname != "ShaderNodeMix" or node.clamp_factor
        factor = min(max(factor, 0.0), 1.0) if is_clamped else factor
        if factor == 0.0:
            return {mixed[2]}
        has_blend = node.bl_idname == "ShaderNodeMixRGB" or getattr(node, "data_type", "") == "RGBA"
        return {mixed[1]} if factor == 1.0 and not (has_blend and node.blend_type != "MIX") else set()


def mixed_inputs(node: bpy.types.Node) -> tuple[str, str, str] | None:
    """The identifiers of the factor and of the two inputs that a node mixes, or None."""
    if node.bl_idname == "ShaderNodeMix":
        if node.data_type == "VECTOR" and node.factor_mode == "NON_UNIFORM":
            return None
        kind = {"FLOAT": "Float", "VECTOR": "Vector", "RGBA": "Color", "ROTATION": "Rotation"}[node.data_type]
        return "Factor_Float", f"A_{kind}", f"B_{kind}"
    return MIXED.get(node.bl_idname)


def group_output(tree: bpy.types.NodeTree) -> bpy.types.Node | None:
    """The Group Output that counts: the active one, else the first."""
    outputs = [node for node in tree.nodes if node.bl_idname == "NodeGroupOutput"]
    return next((node for node in outputs if node.is_active_output), outputs[0] if outputs else None)


def _key(groups: Groups, node: bpy.types.Node) -> tuple[int, ...]:
    return (*(group.as_pointer() for group in groups), node.as_pointer())
