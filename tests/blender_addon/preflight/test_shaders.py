"""What the shaders of a material show: no surface, a volume, two colors that change with the view, other objects."""

from __future__ import annotations

import pytest
from support.blender.preflight_findings import full, quick
from support.blender.scenes import ready_cube

bpy = pytest.importorskip("bpy")


class Shaders:
    """The node tree of the cube's material, whose output is bare."""

    def __init__(self, tree) -> None:
        self.nodes, self.link = tree.nodes, tree.links.new
        self.output = next(node for node in tree.nodes if node.bl_idname == "ShaderNodeOutputMaterial")
        self.principled = tree.nodes["Principled BSDF"]
        tree.links.clear()

    def add(self, kind: str, **values):
        node = self.nodes.new(f"ShaderNode{kind}")
        for name, value in values.items():
            setattr(node, name, value)
        return node

    def show(self, node, socket: str = "Surface") -> None:
        self.link(node.outputs[0], self.output.inputs[socket])

    def mix(self, factor, first, second):
        """Show a mix of two shaders; returns its node."""
        node = self.add("MixShader")
        self.link(factor, node.inputs[0])
        self.link(first.outputs[0], node.inputs[1])
        self.link(second.outputs[0], node.inputs[2])
        self.show(node)
        return node


@pytest.fixture
def shaders(addon) -> Shaders:
    return Shaders(ready_cube().active_material.node_tree)


def found(addon) -> list[tuple[str, str]]:
    """Level and cause of the findings, which the quick check and the full one must share; without what Core cannot keep
    (see test_losses.py)."""
    findings = [(finding.level, finding.cause) for finding in quick(addon)]
    assert [(finding.level, finding.cause) for finding in full(addon)] == findings
    return [(level, cause) for level, cause in findings if not cause.endswith("which Core cannot keep.")]


NO_SURFACE = 'The material "Paint" has no surface in Cycles: '


# Surface and volume -------------------------------------------------------------------------------------------------


def test_no_surface_at_all(addon, shaders) -> None:
    assert found(addon) == [("ERROR", NO_SURFACE + "no shader reaches the Surface of its output node.")]


def test_only_a_volume(addon, shaders) -> None:
    shaders.show(shaders.add("VolumePrincipled"), "Volume")
    assert found(addon) == [("ERROR", NO_SURFACE + 'it is only the volume of the node "Principled Volume".')]


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("BsdfTransparent", "Transparent BSDF"),
        ("Holdout", "Holdout"),
        ("VolumeScatter", "Volume Scatter"),
    ],
)
def test_a_surface_that_shows_nothing(addon, shaders, kind, name) -> None:
    shaders.show(shaders.add(kind))
    assert found(addon) == [("ERROR", f'{NO_SURFACE}the node "{name}" shows nothing of it.')]


def test_an_alpha_of_zero(addon, shaders) -> None:
    shaders.show(shaders.principled)
    shaders.principled.inputs["Alpha"].default_value = 0.0
    assert found(addon) == [("ERROR", NO_SURFACE + 'the node "Principled BSDF" shows nothing of it.')]
    shaders.link(shaders.add("TexNoise").outputs[0], shaders.principled.inputs["Alpha"])
    assert found(addon) == []


def test_a_mask_between_transparent_and_a_color(addon, shaders) -> None:
    shaders.mix(shaders.add("TexNoise").outputs[0], shaders.add("BsdfTransparent"), shaders.principled)
    assert found(addon) == []
    shaders.nodes["Mix Shader"].inputs[0].default_value = 0.0
    shaders.nodes["Mix Shader"].id_data.links.remove(shaders.nodes["Mix Shader"].inputs[0].links[0])
    assert found(addon) == [("ERROR", NO_SURFACE + 'the node "Transparent BSDF" shows nothing of it.')]


def test_a_color_that_is_the_surface(addon, shaders) -> None:
    shaders.show(shaders.add("RGB"))
    assert found(addon) == []


def test_a_surface_in_a_group(addon, shaders) -> None:
    inside = bpy.data.node_groups.new("Inside", "ShaderNodeTree")
    inside.interface.new_socket("Shader", in_out="OUTPUT", socket_type="NodeSocketShader")
    end, glass = inside.nodes.new("NodeGroupOutput"), inside.nodes.new("ShaderNodeBsdfTransparent")
    group = shaders.add("Group", node_tree=inside)
    shaders.show(group)
    assert found(addon)[0][0] == "ERROR"
    inside.links.new(glass.outputs[0], end.inputs[0])
    assert found(addon) == [("ERROR", NO_SURFACE + 'the node "Transparent BSDF" shows nothing of it.')]
    inside.links.new(inside.nodes.new("ShaderNodeBsdfPrincipled").outputs[0], end.inputs[0])
    assert found(addon) == []


def test_a_volume_in_a_surface(addon, shaders) -> None:
    shaders.show(shaders.principled)
    shaders.show(shaders.add("VolumeAbsorption"), "Volume")
    assert found(addon) == [("WARNING", 'The material "Paint" has a volume by the node "Volume Absorption".')]


def test_no_output_node(addon, shaders) -> None:
    shaders.nodes.remove(shaders.output)
    assert found(addon) == [("ERROR", 'The material "Paint" has no output node, so Cycles shows nothing.')]


def test_glass(addon, shaders) -> None:
    shaders.show(shaders.principled)
    weight = shaders.principled.inputs["Transmission Weight"]
    weight.default_value = 0.7
    words = 'The material "Paint" is see-through like glass by the node "{}".'
    assert found(addon) == [("WARNING", words.format("Principled BSDF"))]
    weight.default_value = 0.0
    assert found(addon) == []
    shaders.link(shaders.add("TexNoise").outputs[0], weight)
    assert found(addon) == [("WARNING", words.format("Principled BSDF"))]
    shaders.show(shaders.add("BsdfGlass"))
    assert found(addon) == [("WARNING", words.format("Glass BSDF"))]


# The view -----------------------------------------------------------------------------------------------------------


def facing(shaders: Shaders):
    return shaders.add("LayerWeight").outputs["Facing"]


BY_FACING = [("WARNING", 'The material "Paint" changes with the view: the node "Layer Weight".')]


@pytest.mark.parametrize(
    "kind", ["BsdfDiffuse", "BsdfPrincipled", "Emission", "SubsurfaceScattering", "BsdfTranslucent", "BsdfSheen"]
)
def test_the_angle_between_two_colors(addon, shaders, kind) -> None:
    other = shaders.add(kind)
    other.inputs[0].default_value = (0.0, 0.1, 0.9, 1.0)
    shaders.mix(facing(shaders), shaders.principled, other)
    assert found(addon) == BY_FACING


@pytest.mark.parametrize("kind", ["BsdfAnisotropic", "BsdfTransparent", "BsdfGlass", "BsdfRefraction"])
def test_the_angle_between_a_color_and_a_reflection(addon, shaders, kind) -> None:
    shaders.mix(facing(shaders), shaders.principled, shaders.add(kind))
    assert found(addon) == []


def test_the_angle_between_a_color_and_a_principled_glass(addon, shaders) -> None:
    glass = shaders.add("BsdfPrincipled")
    glass.inputs["Transmission Weight"].default_value = 1.0
    shaders.mix(facing(shaders), shaders.principled, glass)
    assert found(addon) == []


def test_the_angle_between_two_shaders_of_one_color(addon, shaders) -> None:
    color, other = shaders.add("RGB"), shaders.add("BsdfDiffuse")
    for node in (shaders.principled, other):
        shaders.link(color.outputs[0], node.inputs[0])
    shaders.mix(facing(shaders), shaders.principled, other)
    assert found(addon) == []


def test_colors_that_a_group_is_given(addon, shaders) -> None:
    """The group's Mix Shader mixes two of its inputs."""
    inside = bpy.data.node_groups.new("Blend", "ShaderNodeTree")
    inside.interface.new_socket("Shader", in_out="OUTPUT", socket_type="NodeSocketShader")
    for name in "AB":
        inside.interface.new_socket(name, in_out="INPUT", socket_type="NodeSocketShader")
    start, end = inside.nodes.new("NodeGroupInput"), inside.nodes.new("NodeGroupOutput")
    mixer = inside.nodes.new("ShaderNodeMixShader")
    inside.links.new(inside.nodes.new("ShaderNodeLayerWeight").outputs["Facing"], mixer.inputs[0])
    inside.links.new(start.outputs["A"], mixer.inputs[1])
    inside.links.new(start.outputs["B"], mixer.inputs[2])
    inside.links.new(mixer.outputs[0], end.inputs[0])
    group = shaders.add("Group", node_tree=inside)
    shaders.show(group)
    shaders.link(shaders.principled.outputs[0], group.inputs["A"])
    shaders.link(shaders.add("BsdfGlass").outputs[0], group.inputs["B"])
    assert found(addon) == []
    shaders.link(shaders.add("BsdfDiffuse").outputs[0], group.inputs["B"])
    assert found(addon) == BY_FACING


@pytest.mark.parametrize(
    ("one", "other", "count"),
    [
        ("WORLD", "CAMERA", 1),
        ("CAMERA", "OBJECT", 1),
        ("WORLD", "OBJECT", 0),
        ("CAMERA", "CAMERA", 0),
    ],
)
def test_vectors_of_the_camera(addon, shaders, one, other, count) -> None:
    node = shaders.add("VectorTransform", convert_from=one, convert_to=other)
    shaders.link(node.outputs[0], shaders.principled.inputs["Base Color"])
    shaders.show(shaders.principled)
    words = 'The material "Paint" changes with the view: the node "Vector Transform" (Camera).'
    assert found(addon) == [("WARNING", words)] * count


# Other objects ------------------------------------------------------------------------------------------------------


def test_occlusion_by_other_objects(addon, shaders) -> None:
    cube = bpy.context.object
    node = shaders.add("AmbientOcclusion")
    shaders.link(node.outputs["Color"], shaders.principled.inputs["Base Color"])
    shaders.show(shaders.principled)
    bpy.context.scene.collection.objects.link(bpy.data.objects.new("Pivot", None))
    assert found(addon) == []
    bpy.ops.mesh.primitive_plane_add()
    floor = bpy.context.object
    floor.select_set(False)
    bpy.context.view_layer.objects.active = cube
    cube.select_set(True)
    words = 'The material "Paint" reads the objects around it by the node "Ambient Occlusion".'
    assert found(addon) == [("WARNING", words)]
    floor.hide_render = True
    assert found(addon) == []
    floor.hide_render, node.only_local = False, True
    assert found(addon) == []
