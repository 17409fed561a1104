# SPDX-License-Identifier: GPL-3.0-or-later
"""How the closures of a material's surface are mixed: the tree of its Mix and Add Shader nodes, without groups, reroutes,
muted nodes, and sides that a constant factor switches off."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass

import bpy

from ..common.reached_nodes import MATERIAL_OUTPUT, Reached, Source, constant_of, rendered_output, source_of
from .shaders import INVISIBLE, MIX_SHADER, PRINCIPLED

ADD_SHADER = "ShaderNodeAddShader"
TRANSPARENT = "ShaderNodeBsdfTransparent"
FACTOR, SIDES = "Fac", ("Shader", "Shader_001")


@dataclass(frozen=True)
class Leaf:
    """A closure: a node that scatters, emits or lets through light. key: equal for the same node of the same group only."""

    item: Reached
    key: Hashable

    @property
    def kind(self) -> str:
        """The type of the node (bl_idname)."""
        return str(self.item.node.bl_idname)


@dataclass(frozen=True)
class Mixed:
    """A Mix Shader node. sides: what it shows at factor 0 and at factor 1; None: nothing, which is black."""

    item: Reached
    sides: tuple[Surface, Surface]


@dataclass(frozen=True)
class Added:
    """An Add Shader node with both of its sides; None: nothing."""

    item: Reached
    sides: tuple[Surface, Surface]


Surface = Leaf | Mixed | Added | None


def surface_of(tree: bpy.types.NodeTree) -> Surface:
    """The closures of the surface that Cycles renders for a material's node tree; None: no closure reaches it."""
    found = rendered_output(tree, MATERIAL_OUTPUT)
    if found is None:
        return None
    groups, node = found
    return _read(source_of(Reached(node, frozenset(), groups), "Surface"), {})


def _read(source: Source | None, known: dict[Hashable, Surface]) -> Surface:
    if source is None or not source.computed:
        return None
    key = source.key
    if key not in known:
        known[key] = _read_node(source, known)
    return known[key]


def _read_node(source: Source, known: dict[Hashable, Surface]) -> Surface:
    item = source.reached
    kind = item.node.bl_idname
    if kind not in {MIX_SHADER, ADD_SHADER}:
        return Leaf(item, source.key)
    if kind == MIX_SHADER:
        factor = constant_of(item, FACTOR)
        if factor is not None and not 0.0 < factor < 1.0:
            return _read(source_of(item, SIDES[factor >= 1.0]), known)
    identifiers = SIDES if kind == MIX_SHADER else [socket.identifier for socket in item.node.inputs]
    first, second = (_read(source_of(item, identifier), known) for identifier in identifiers)
    return (Mixed if kind == MIX_SHADER else Added)(item, (first, second))


def leaves_of(surface: Surface) -> list[Leaf]:
    """The closures of a surface, each once."""
    found: dict[Hashable, Leaf] = {}
    for part in parts_of(surface):
        if isinstance(part, Leaf):
            found.setdefault(part.key, part)
    return list(found.values())


def parts_of(surface: Surface) -> Iterator[Leaf | Mixed | Added]:
    """All parts of a surface, each once."""
    seen: set[int] = set()
    waiting = [surface]
    while waiting:
        part = waiting.pop()
        if part is None or id(part) in seen:
            continue
        seen.add(id(part))
        yield part
        if not isinstance(part, Leaf):
            waiting += part.sides


def shows(surface: Surface) -> bool:
    """Whether any closure of a surface can be seen."""
    return any(is_shown(leaf) for leaf in leaves_of(surface))


def is_shown(leaf: Leaf) -> bool:
    """Whether a closure can be seen, wherever it is."""
    if leaf.kind == PRINCIPLED:
        return constant_of(leaf.item, "Alpha") != 0.0
    return leaf.kind not in INVISIBLE


def find(surface: Surface, matches: Callable[[Leaf | Mixed | Added], bool]) -> Leaf | Mixed | Added | None:
    """The first part of a surface that matches, if any."""
    return next((part for part in parts_of(surface) if matches(part)), None)
