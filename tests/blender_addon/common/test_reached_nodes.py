"""The nodes that reach the output: right is what Cycles renders, so each tree's color is asked of Cycles too."""

from __future__ import annotations

import numpy as np
import pytest
from support.blender.scenes import use_nodes

bpy = pytest.importorskip("bpy")

RED, GREEN, BLUE = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)


class Tree:
    """A material's empty node tree, or one of a group."""

    def __init__(self, tree) -> None:
        self.tree = tree
        self.link = tree.links.new

    def add(self, kind: str, **values):
        node = self.tree.nodes.new(kind)
        for name, value in values.items():
            setattr(node, name, value)
        return node

    def color(self, color, name: str):
        node = self.add("ShaderNodeRGB", name=name)
        node.outputs[0].default_value = (*color, 1.0)
        return node.outputs[0]

    def emit(self, socket, output=None):
        """Show a color; returns the output node."""
        shader = self.add("ShaderNodeEmission", name="Shader")
        output = output or self.add("ShaderNodeOutputMaterial", name="Output")
        self.link(socket, shader.inputs["Color"])
        self.link(shader.outputs[0], output.inputs["Surface"])
        return output


@pytest.fixture
def material(addon):
    bpy.ops.mesh.primitive_plane_add(size=10.0)
    found = bpy.data.materials.new("Paint")
    use_nodes(found)
    found.node_tree.nodes.clear()
    bpy.context.object.data.materials.append(found)
    return found


@pytest.fixture
def tree(material):
    return Tree(material.node_tree)


def new_group(name: str = "Group", inputs: str = "", outputs: str = "S") -> Tree:
    tree = bpy.data.node_groups.new(name, "ShaderNodeTree")
    for in_out, letters in (("INPUT", inputs), ("OUTPUT", outputs)):
        for letter in letters:
            tree.interface.new_socket(letter, in_out=in_out, socket_type="NodeSocketColor")
    return Tree(tree)


def colors(addon, tree) -> set[str]:
    """The names of the reached colors."""
    found = addon.common.reached_nodes.reached_nodes(tree.tree, "ShaderNodeOutputMaterial")
    return {item.node.name for item in found if item.node.bl_idname == "ShaderNodeRGB"}


def rendered(tmp_path) -> tuple:
    """The color in the middle of the plane, as Cycles renders it."""
    scene = bpy.context.scene
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    camera.location.z = 3.0
    scene.collection.objects.link(camera)
    scene.camera, scene.render.engine, scene.cycles.samples = camera, "CYCLES", 1
    scene.cycles.use_denoising = False
    scene.render.resolution_x = scene.render.resolution_y = 8
    scene.view_settings.view_transform = "Standard"
    scene.render.filepath = str(tmp_path / "render.png")
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(scene.render.filepath)
    pixels = np.array(image.pixels[:]).reshape(8, 8, 4)
    return tuple(pixels[4, 4, :3].round(2).tolist())


def check(addon, tree, tmp_path, names: set[str], color: tuple) -> None:
    assert colors(addon, tree) == names
    assert rendered(tmp_path) == color


def test_what_is_linked_to_nothing_is_not_reached(addon, tree, tmp_path) -> None:
    tree.emit(tree.color(RED, "Red"))
    tree.emit(tree.color(BLUE, "Blue"), tree.add("ShaderNodeOutputMaterial", target="EEVEE"))
    tree.color(GREEN, "Green")
    check(addon, tree, tmp_path, {"Red"}, RED)


def test_outputs_are_named(addon, tree) -> None:
    texture = tree.add("ShaderNodeTexImage")
    tree.emit(texture.outputs["Color"])
    found = addon.common.reached_nodes.reached_nodes(tree.tree, "ShaderNodeOutputMaterial")
    assert [(item.node.bl_idname, item.outputs, item.groups) for item in found] == [
        ("ShaderNodeOutputMaterial", frozenset(), ()),
        ("ShaderNodeEmission", frozenset({"Emission"}), ()),
        ("ShaderNodeTexImage", frozenset({"Color"}), ()),
    ]


def test_the_active_output_counts(addon, tree, tmp_path) -> None:
    tree.emit(tree.color(RED, "Red"))
    tree.emit(tree.color(BLUE, "Blue")).is_active_output = True
    check(addon, tree, tmp_path, {"Blue"}, BLUE)


@pytest.mark.parametrize("muted", [False, True])
def test_a_muted_link(addon, tree, tmp_path, muted) -> None:
    output = tree.emit(tree.color(RED, "Red"))
    output.inputs["Surface"].links[0].from_node.inputs["Color"].default_value = (0.0, 0.0, 1.0, 1.0)
    next(link for link in tree.tree.links if link.from_node.name == "Red").is_muted = muted
    check(addon, tree, tmp_path, set() if muted else {"Red"}, BLUE if muted else RED)


def test_reroutes(addon, tree, tmp_path) -> None:
    first, second = tree.add("NodeReroute"), tree.add("NodeReroute")
    tree.link(tree.color(RED, "Red"), first.inputs[0])
    tree.link(first.outputs[0], second.inputs[0])
    tree.emit(second.outputs[0])
    check(addon, tree, tmp_path, {"Red"}, RED)


def mix(tree, factor=0.5, **values):
    node = tree.add("ShaderNodeMix", data_type="RGBA", name="Mix", **values)
    if factor is not None:
        node.inputs[0].default_value = factor
    tree.link(tree.color(RED, "Red"), node.inputs[6])
    tree.link(tree.color(BLUE, "Blue"), node.inputs[7])
    return node


@pytest.mark.parametrize(
    ("factor", "names", "color"),
    [(0.0, {"Red"}, RED), (1.0, {"Blue"}, BLUE), (0.5, {"Red", "Blue"}, (0.74, 0.0, 0.74))],
)
def test_a_constant_factor(addon, tree, tmp_path, factor, names, color) -> None:
    tree.emit(mix(tree, factor).outputs[2])
    check(addon, tree, tmp_path, names, color)


def test_a_constant_factor_by_a_node(addon, tree, tmp_path) -> None:
    value = tree.add("ShaderNodeValue")
    value.outputs[0].default_value = 1.0
    node = mix(tree)
    tree.link(value.outputs[0], node.inputs[0])
    tree.emit(node.outputs[2])
    check(addon, tree, tmp_path, {"Blue"}, BLUE)


def test_a_factor_of_one_needs_both_where_colors_are_multiplied(addon, tree, tmp_path) -> None:
    tree.emit(mix(tree, 1.0, blend_type="MULTIPLY").outputs[2])
    check(addon, tree, tmp_path, {"Red", "Blue"}, (0.0, 0.0, 0.0))


def test_a_muted_node_passes_what_blender_says(addon, tree, tmp_path) -> None:
    tree.emit(mix(tree, 1.0, mute=True).outputs[2])
    check(addon, tree, tmp_path, {"Red"}, RED)


def test_a_factor_between_shaders(addon, tree, tmp_path) -> None:
    output, node = tree.add("ShaderNodeOutputMaterial"), tree.add("ShaderNodeMixShader")
    for place, color, name in ((1, RED, "Red"), (2, BLUE, "Blue")):
        shader = tree.add("ShaderNodeEmission")
        tree.link(tree.color(color, name), shader.inputs["Color"])
        tree.link(shader.outputs[0], node.inputs[place])
    node.inputs[0].default_value = 0.0
    tree.link(node.outputs[0], output.inputs["Surface"])
    check(addon, tree, tmp_path, {"Red"}, RED)


def test_only_the_used_output_of_a_group(addon, tree, tmp_path) -> None:
    group = new_group(outputs="AB")
    end = group.add("NodeGroupOutput")
    group.link(group.color(RED, "Red"), end.inputs[0])
    group.link(group.color(BLUE, "Blue"), end.inputs[1])
    node = tree.add("ShaderNodeGroup", node_tree=group.tree)
    tree.emit(node.outputs[1])
    check(addon, tree, tmp_path, {"Blue"}, BLUE)


def test_the_active_output_of_a_group(addon, tree, tmp_path) -> None:
    group = new_group()
    for color, name in ((RED, "Red"), (BLUE, "Blue")):
        end = group.add("NodeGroupOutput")
        group.link(group.color(color, name), end.inputs[0])
    end.is_active_output = True
    tree.emit(tree.add("ShaderNodeGroup", node_tree=group.tree).outputs[0])
    check(addon, tree, tmp_path, {"Blue"}, BLUE)


def test_two_instances_of_a_group_reach_what_each_of_them_is_given(addon, tree, tmp_path) -> None:
    """One uses what its first input gets, the other what its second input gets; the rest is not reached."""
    group = new_group(inputs="AB", outputs="AB")
    start, end = group.add("NodeGroupInput"), group.add("NodeGroupOutput")
    group.link(start.outputs[0], end.inputs[0])
    group.link(start.outputs[1], end.inputs[1])
    outer = new_group("Outer", outputs="S")
    both = outer.add("ShaderNodeMix", data_type="RGBA", blend_type="ADD")
    both.inputs[0].default_value = 1.0
    for place, wanted, other in ((0, RED, GREEN), (1, BLUE, GREEN)):
        node = outer.add("ShaderNodeGroup", node_tree=group.tree)
        outer.link(outer.color(wanted, f"Wanted{place}"), node.inputs[place])
        outer.link(outer.color(other, f"Other{place}"), node.inputs[1 - place])
        outer.link(node.outputs[place], both.inputs[6 + place])
    outer.link(both.outputs[2], outer.add("NodeGroupOutput").inputs[0])
    tree.emit(tree.add("ShaderNodeGroup", node_tree=outer.tree).outputs[0])
    check(addon, tree, tmp_path, {"Wanted0", "Wanted1"}, (1.0, 0.0, 1.0))


def test_a_factor_that_each_instance_is_given(addon, tree) -> None:
    group = new_group(outputs="S")
    group.tree.interface.new_socket("Factor", in_out="INPUT", socket_type="NodeSocketFloat")
    node = mix(group)
    group.link(group.add("NodeGroupInput").outputs[0], node.inputs[0])
    group.link(node.outputs[2], group.add("NodeGroupOutput").inputs[0])
    one = tree.add("ShaderNodeGroup", node_tree=group.tree)
    one.inputs[0].default_value = 0.0
    tree.emit(one.outputs[0])
    assert colors(addon, tree) == {"Red"}
    two = tree.add("ShaderNodeGroup", node_tree=group.tree)
    two.inputs[0].default_value = 1.0
    both = tree.add("ShaderNodeMix", data_type="RGBA")
    both.inputs[0].default_value = 0.5
    tree.link(one.outputs[0], both.inputs[6])
    tree.link(two.outputs[0], both.inputs[7])
    tree.emit(both.outputs[2], next(node for node in tree.tree.nodes if node.name == "Output"))
    found = addon.common.reached_nodes.reached_nodes(tree.tree, "ShaderNodeOutputMaterial")
    in_groups = [(item.node.name, item.groups) for item in found if item.node.bl_idname == "ShaderNodeRGB"]
    assert sorted(in_groups, key=str) == sorted([("Red", (one,)), ("Blue", (two,))], key=str)


def test_an_output_in_a_group(addon, tree, tmp_path) -> None:
    group = new_group(outputs="")
    group.emit(group.color(RED, "Red"))
    tree.add("ShaderNodeGroup", node_tree=group.tree)
    check(addon, tree, tmp_path, {"Red"}, RED)


def test_a_color_without_strength(addon, tree, tmp_path) -> None:
    shader, output = tree.add("ShaderNodeBsdfPrincipled"), tree.add("ShaderNodeOutputMaterial")
    tree.link(tree.color(RED, "Red"), shader.inputs["Emission Color"])
    tree.link(shader.outputs[0], output.inputs["Surface"])
    shader.inputs["Emission Strength"].default_value = 0.0
    check(addon, tree, tmp_path, set(), (0.0, 0.0, 0.0))
    shader.inputs["Emission Strength"].default_value = 1.0
    assert colors(addon, tree) == {"Red"}


def test_a_large_tree_is_walked_fast(addon, tree) -> None:
    """The panel does it often."""
    import time

    last = tree.color(RED, "Red")
    for _ in range(1000):
        node = tree.add("ShaderNodeHueSaturation")
        tree.link(last, node.inputs["Color"])
        last = node.outputs[0]
    tree.emit(last)
    began = time.process_time()
    assert colors(addon, tree) == {"Red"}
    assert time.process_time() - began < 0.2  # 0.02 s if nothing else runs


@pytest.mark.parametrize(("kind", "socket"), [("ShaderNodeNormalMap", "Color"), ("ShaderNodeBump", "Height")])
def test_a_strength_of_zero_takes_nothing_of_a_normal(addon, tree, tmp_path, kind, socket) -> None:
    node = tree.add(kind)
    tree.link(tree.color(GREEN, "Green"), node.inputs[socket])
    tree.emit(node.outputs["Normal"])
    assert colors(addon, tree) == {"Green"}
    node.inputs["Strength"].default_value = 0.0
    check(addon, tree, tmp_path, set(), BLUE)  # the plane's own normal is up
