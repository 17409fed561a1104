"""The preview's colors in any color configuration: what a node says is what F12's file says."""

from __future__ import annotations

import numpy as np
import pytest
from support.blender.assigning import png
from support.blender.exr_passes import read_passes, write_passes
from support.blender.panorama import DATA, LINEAR_REC709, SRGB, image_world, panorama, space
from support.blender.scenes import paint, use_nodes

bpy = pytest.importorskip("bpy")

COLOR = (0.6, 0.25, 0.3)  # within Rec.709 in every working space: no light is negative there
SIZE = (24, 16)


@pytest.fixture
def material(colors):
    """The material of a plane in the lower half of the picture, in front of a world of one color."""
    scene = bpy.context.scene
    bpy.ops.mesh.primitive_plane_add(size=20.0, location=(0.0, 0.0, -10.0), rotation=(1.5708, 0.0, 0.0))
    material = paint(bpy.context.object)
    world = bpy.data.worlds.new("Even")
    use_nodes(world)
    world.node_tree.nodes["Background"].inputs["Color"].default_value = (*COLOR, 1.0)
    scene.world = world
    bpy.ops.object.camera_add(location=(0.0, -7.0, 0.0), rotation=(1.5708, 0.0, 0.0))
    scene.camera = bpy.context.object
    scene.render.engine = "PBRFIT_PREVIEW"
    scene.render.resolution_x, scene.render.resolution_y = SIZE
    bpy.context.view_layer.pbrfit_preview.use_kd = True
    return material


def image_of(kind: str) -> bpy.types.Image:
    """An image of one color: bytes or floats, in a color space."""
    number, names = {"data": (8, DATA), "srgb": (8, SRGB), "wide": (16, LINEAR_REC709)}[kind]
    rgb = np.array([0.75, 0.25, 0.125])
    depth = {8: np.uint8, 16: np.uint16}[number]
    data = png(np.broadcast_to((rgb * np.iinfo(depth).max).astype(depth), (4, 8, 3)))
    image = bpy.data.images.new(kind, 1, 1)
    image.pack(data=data, data_len=len(data))
    image.source = "FILE"
    image.colorspace_settings.name = space(names)
    return image


@pytest.mark.parametrize("draw_with", ["GPU", "BACKEND"])
@pytest.mark.parametrize("kind", ["socket", "data", "srgb", "wide"])
def test_colors_of_a_render(colors, material, tmp_path, kind, draw_with) -> None:
    scene_linear = colors.common.color_spaces.scene_linear_space()
    expected = np.array(COLOR)
    if kind == "socket":
        material.node_tree.nodes["Principled BSDF"].inputs["Base Color"].default_value = (*COLOR, 1.0)
    else:
        node = material.node_tree.nodes.new("ShaderNodeTexImage")
        node.image = image_of(kind)
        material.node_tree.links.new(node.outputs[0], material.node_tree.nodes["Principled BSDF"].inputs["Base Color"])
        expected = panorama(image_world(node.image), 8, 4, scene_linear)[1, 1]
    bpy.context.scene.pbrfit_preview.draw_with = draw_with
    write_passes(tmp_path / "image.exr")
    assert bpy.ops.render.render(write_still=True) == {"FINISHED"}
    passes = read_passes(tmp_path / "image.exr")
    np.testing.assert_allclose(passes["kd"][SIZE[1] - 3, 12, :3], expected, atol=6e-3)
    np.testing.assert_allclose(passes["Combined"][2, 12, :3], COLOR, atol=6e-3)


def test_the_viewports_display_color(colors, material) -> None:
    material.diffuse_color = (*COLOR, 1.0)
    read_look = colors.preview.scene.material_look.read_look
    shader = material.node_tree.nodes["Principled BSDF"]
    noise = material.node_tree.nodes.new("ShaderNodeTexNoise")
    material.node_tree.links.new(noise.outputs["Color"], shader.inputs["Base Color"])
    shown = read_look(material, "UVMap").look.kd
    np.testing.assert_allclose(colors.common.color_spaces.to_scene_linear(np.array(shown)), COLOR, atol=1e-3)


def test_a_channel_of_a_colored_image_is_said_where_it_is_a_mixture(colors, material) -> None:
    split = material.node_tree.nodes.new("ShaderNodeSeparateColor")
    node = material.node_tree.nodes.new("ShaderNodeTexImage")
    material.node_tree.links.new(node.outputs[0], split.inputs[0])
    material.node_tree.links.new(
        split.outputs["Green"], material.node_tree.nodes["Principled BSDF"].inputs["Roughness"]
    )
    read_look = colors.preview.scene.material_look.read_look
    node.image = image_of("data")
    assert read_look(material, "UVMap").notes == ()
    node.image = image_of("srgb")
    assert (read_look(material, "UVMap").notes == ()) == colors.common.color_spaces.is_rec709()
