"""The tree of closures that a material's nodes make."""

from __future__ import annotations

import bpy
import pytest
from support.blender.shader_trees import Tree


@pytest.fixture
def tree(addon) -> Tree:
    return Tree()


def said(surface) -> object:
    """A surface as names in nested tuples."""
    if surface is None:
        return None
    kind = type(surface).__name__
    if kind == "Leaf":
        return surface.item.node.name
    return kind, *(said(side) for side in surface.sides)


def test_one_closure_is_a_leaf(addon, tree) -> None:
    assert said(addon.closures.mixing.surface_of(tree.nodes)) == "Principled BSDF"


def test_mixes_and_additions_are_read_through_reroutes_and_muted_nodes(addon, tree) -> None:
    glow, clear = tree.new("Emission"), tree.new("BsdfTransparent")
    added = tree.link(tree.shader, tree.new("AddShader"), 0)
    tree.link(glow, added, 1)
    mixed = tree.link(clear, tree.new("MixShader", Fac=0.5), 1)
    bend = tree.nodes.nodes.new("NodeReroute")
    tree.links.new(added.outputs[0], bend.inputs[0])
    tree.links.new(bend.outputs[0], mixed.inputs[2])
    muted = tree.link(mixed, tree.new("MixShader", Fac=1.0), 1)
    muted.mute = True
    tree.link(muted, tree.output, 0)
    expected = ("Mixed", "Transparent BSDF", ("Added", "Principled BSDF", "Emission"))
    assert said(addon.closures.mixing.surface_of(tree.nodes)) == expected


@pytest.mark.parametrize(
    ("factor", "expected"), [(0.0, "Principled BSDF"), (1.0, "Diffuse BSDF"), (-2.0, "Principled BSDF")]
)
def test_a_constant_factor_switches_a_side_off(addon, tree, factor: float, expected: str) -> None:
    value = tree.new("Value")
    value.outputs[0].default_value = factor
    mixed = tree.link(tree.shader, tree.new("MixShader"), 1)
    tree.link(value, mixed, 0)
    tree.link(tree.new("BsdfDiffuse"), mixed, 2)
    tree.link(mixed, tree.output, 0)
    assert said(addon.closures.mixing.surface_of(tree.nodes)) == expected


def test_a_group_used_twice_gives_two_closures(addon, tree) -> None:
    group = tree.group("Layer", lambda inside: inside.new("BsdfDiffuse"))
    first, second = tree.use(group), tree.use(group)
    mixed = tree.link(first, tree.new("MixShader", Fac=0.3), 1)
    tree.link(second, mixed, 2)
    tree.link(mixed, tree.output, 0)
    surface = addon.closures.mixing.surface_of(tree.nodes)
    assert said(surface) == ("Mixed", "Diffuse BSDF", "Diffuse BSDF")
    assert len(addon.closures.mixing.leaves_of(surface)) == 2


def test_nothing_linked_is_no_surface(addon, tree) -> None:
    for link in list(tree.links):
        tree.links.remove(link)
    assert addon.closures.mixing.surface_of(tree.nodes) is None
    assert isinstance(addon.closures.reading.read_material(tree.material), addon.closures.reading.Unreadable)


def test_a_side_that_is_missing_is_nothing(addon, tree) -> None:
    mixed = tree.link(tree.shader, tree.new("MixShader", Fac=0.5), 2)
    tree.link(mixed, tree.output, 0)
    assert said(addon.closures.mixing.surface_of(tree.nodes)) == ("Mixed", None, "Principled BSDF")
    reading = addon.closures.reading.read_material(tree.material)
    assert (reading.way, reading.exact) == ("ENERGY", False)
    assert bpy.data.materials  # reading makes no copies
    assert len(bpy.data.materials) == 1
