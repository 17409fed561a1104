"""The world as its nodes say, compared with the same world as Cycles renders it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from support.blender.panorama import image_world, panorama, pixels_of
from support.blender.scenes import add_cube, hdri_world, paint, snapshot, use_nodes

bpy = pytest.importorskip("bpy")


def psnr(found: np.ndarray, expected: np.ndarray) -> float:
    """PSNR in dB of images clamped to 0..1, with a gamma of 2.2."""
    encoded = [np.clip(image, 0.0, 1.0) ** (1.0 / 2.2) for image in (found, expected)]
    return -10.0 * math.log10(max(1e-12, float(np.mean((encoded[0] - encoded[1]) ** 2))))


@pytest.mark.parametrize(
    ("rotation", "vector_type", "least_psnr"),
    [
        ((0.0, 0.0, math.radians(90.0)), "POINT", 60.0),
        ((0.0, 0.0, math.radians(-33.3)), "POINT", 45.0),
        ((0.0, 0.0, math.radians(45.0)), "TEXTURE", 60.0),
        ((0.3, -0.7, 2.0), "TEXTURE", 38.0),
    ],
)
def test_read_world_is_the_rendered_world(addon, rotation, vector_type, least_psnr) -> None:
    paint(add_cube())
    hdri_world(rotation, strength=0.5, vector_type=vector_type)
    found = addon.export.world.export_world(bpy.context.scene.world)
    assert found.shape == (512, 1024, 3)
    assert found.dtype == np.float32
    assert found.flags["C_CONTIGUOUS"]
    expected = panorama(bpy.context.scene.world, 1024, 512)
    assert psnr(found, expected) > least_psnr
    # the total light, without the part that the clamp hides
    assert found.mean() == pytest.approx(expected.mean(), rel=0.02)


def test_reading_changes_nothing(addon) -> None:
    paint(add_cube())
    hdri_world((0.1, 0.2, 0.3))
    before = snapshot()
    assert addon.export.world.export_world(bpy.context.scene.world) is not None
    assert snapshot() == before


def test_byte_image_is_made_linear(addon, tmp_path) -> None:
    world = hdri_world()
    image = bpy.data.images.new("Flat", 4, 2)
    image.pixels.foreach_set(np.tile(np.array([0.5, 0.0, 1.0, 1.0], dtype=np.float32), 8))
    image.filepath_raw = str(tmp_path / "flat.png")
    image.save()
    world.node_tree.nodes["Environment Texture"].image = bpy.data.images.load(str(tmp_path / "flat.png"))
    found = addon.export.world.export_world(bpy.context.scene.world)
    np.testing.assert_allclose(found, np.broadcast_to([0.2158, 0.0, 1.0], found.shape), atol=2e-3)


def test_large_images_are_averaged_down(addon) -> None:
    rng = np.random.default_rng(1)
    radiance = rng.random((4, 8, 3), dtype=np.float32)
    small = addon.export.world.shrink(radiance, 4)
    assert small.shape == (2, 4, 3)
    np.testing.assert_allclose(small[0, 0], radiance[:2, :2].mean(axis=(0, 1)), rtol=1e-6)


def sky(tree):
    return tree.nodes.new("ShaderNodeTexSky").outputs["Color"]


def gradient(tree):
    return tree.nodes.new("ShaderNodeTexGradient").outputs["Color"]


def tinted_image(tree):
    mix = tree.nodes.new("ShaderNodeMix")
    mix.data_type = "RGBA"
    tree.links.new(tree.nodes["Environment Texture"].outputs["Color"], mix.inputs["A"])
    return mix.outputs["Result"]


@pytest.mark.parametrize("colour", [sky, gradient, tinted_image])
def test_other_worlds_are_left_to_the_renderer(addon, colour) -> None:
    tree = hdri_world().node_tree
    tree.links.new(colour(tree), tree.nodes["Background"].inputs["Color"])
    assert addon.export.world.export_world(bpy.context.scene.world) is None


def scaled_mapping(world) -> None:
    world.node_tree.nodes["Mapping"].inputs["Scale"].default_value = (1.0, 1.0, 2.0)


def moved_mapping(world) -> None:
    world.node_tree.nodes["Mapping"].inputs["Location"].default_value = (0.0, 0.0, 0.5)


def mirror_ball(world) -> None:
    world.node_tree.nodes["Environment Texture"].projection = "MIRROR_BALL"


def other_coordinates(world) -> None:
    tree = world.node_tree
    window = tree.nodes["Texture Coordinate"].outputs["Window"]
    tree.links.new(window, tree.nodes["Mapping"].inputs["Vector"])


@pytest.mark.parametrize("change", [scaled_mapping, moved_mapping, mirror_ball, other_coordinates])
def test_images_shown_otherwise_are_left_to_the_renderer(addon, change) -> None:
    world = hdri_world((0.0, 0.0, 1.0))
    assert addon.export.world.export_world(bpy.context.scene.world) is not None
    change(world)
    assert addon.export.world.export_world(bpy.context.scene.world) is None


def test_world_without_nodes_is_left_to_the_renderer(addon) -> None:
    world = bpy.data.worlds.new("Plain")
    bpy.context.scene.world = world
    assert addon.export.world.export_world(bpy.context.scene.world) is None


def test_muted_nodes_are_passed_by(addon) -> None:
    """Blender passes the input of a muted Mapping through."""
    world = hdri_world((0.0, 0.0, 1.0))
    use_nodes(world)
    world.node_tree.nodes["Mapping"].mute = True
    assert addon.export.world.export_world(bpy.context.scene.world) is None


# Images that Cycles does not show as they are stored -------------------------------------------------------------------


def image_file(directory, kind: str) -> str:
    """The path of an image of 8 x 4 texels whose alpha is 0.1 to 1."""
    values = np.random.default_rng(3).uniform(0.1, 1.0, (4, 8, 4)).astype(np.float32)
    image = bpy.data.images.new("Source", 8, 4, alpha=True, float_buffer=kind == "exr")
    image.alpha_mode = "CHANNEL_PACKED"  # written as they are
    image.pixels.foreach_set(values.ravel())
    image.filepath_raw = str(directory / f"alpha.{kind}")
    image.file_format = {"png": "PNG", "exr": "OPEN_EXR"}[kind]
    image.save()
    bpy.data.images.remove(image)
    return str(directory / f"alpha.{kind}")


@pytest.mark.any_blender
@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize("mode", ["STRAIGHT", "PREMUL", "CHANNEL_PACKED", "NONE"])
@pytest.mark.parametrize(("kind", "color_space"), [("png", "sRGB"), ("exr", "Linear Rec.709"), ("exr", "sRGB")])
def test_an_image_with_alpha_is_read_as_cycles_shows_it(addon, tmp_path, kind, color_space, mode, is_packed) -> None:
    image = bpy.data.images.load(image_file(tmp_path, kind))
    image.colorspace_settings.name = color_space
    image.alpha_mode = mode
    if is_packed:
        image.pack()
    world = image_world(image)
    found = addon.export.world.export_world(world)
    if mode in {"CHANNEL_PACKED", "NONE"} or (kind, color_space, mode) == ("exr", "Linear Rec.709", "PREMUL"):
        expected = panorama(world, 8, 4)
        np.testing.assert_allclose(found, expected, atol=2e-3 * max(1.0, expected.max()))
    else:
        assert found is None
    # Without transparency every mode shows the same.
    pixels = pixels_of(image)[::-1].copy()
    pixels[..., 3] = 1.0
    opaque = bpy.data.images.new("Opaque", 8, 4, alpha=True, float_buffer=kind == "exr")
    opaque.pixels.foreach_set(pixels.ravel())
    opaque.alpha_mode = mode
    world = image_world(opaque)
    expected = panorama(world, 8, 4)
    np.testing.assert_allclose(addon.export.world.export_world(world), expected, atol=2e-3 * max(1.0, expected.max()))


def test_values_that_are_no_numbers_are_left_to_the_renderer(addon) -> None:
    image = bpy.data.images.new("Broken", 8, 4, float_buffer=True)
    assert addon.export.world.export_world(image_world(image)) is not None
    image.pixels[5] = math.nan
    assert addon.export.world.export_world(image_world(image)) is None


@pytest.mark.parametrize("interpolation", ["Closest", "Cubic", "Smart"])
def test_texels_drawn_in_another_way_are_left_to_the_renderer(addon, interpolation) -> None:
    world = image_world(bpy.data.images.new("Image", 8, 4))
    assert addon.export.world.export_world(world) is not None
    world.node_tree.nodes["Environment Texture"].interpolation = interpolation
    assert addon.export.world.export_world(world) is None


# Worlds that are more than one light for all ----------------------------------------------------------------------------


def lit_by_path(world, output: str) -> None:
    tree = world.node_tree
    path = tree.nodes.new("ShaderNodeLightPath")
    tree.links.new(path.outputs[output], tree.nodes["Background"].inputs["Strength"])


def mixed_by_path(world) -> None:
    tree = world.node_tree
    path, mix = tree.nodes.new("ShaderNodeLightPath"), tree.nodes.new("ShaderNodeMixShader")
    tree.links.new(path.outputs["Is Diffuse Ray"], mix.inputs[0])
    tree.links.new(tree.nodes["Background"].outputs[0], mix.inputs[1])
    tree.links.new(mix.outputs[0], tree.nodes["World Output"].inputs["Surface"])


def in_a_group(world) -> None:
    tree = world.node_tree
    inside = bpy.data.node_groups.new("Light", "ShaderNodeTree")
    inside.interface.new_socket("Light", in_out="OUTPUT", socket_type="NodeSocketShader")
    background, end = inside.nodes.new("ShaderNodeBackground"), inside.nodes.new("NodeGroupOutput")
    inside.links.new(background.outputs[0], end.inputs[0])
    group = tree.nodes.new("ShaderNodeGroup")
    group.node_tree = inside
    tree.links.new(group.outputs[0], tree.nodes["World Output"].inputs["Surface"])


def with_volume(world) -> None:
    tree = world.node_tree
    fog = tree.nodes.new("ShaderNodeVolumeScatter")
    tree.links.new(fog.outputs[0], tree.nodes["World Output"].inputs["Volume"])


CHANGES = {
    "strength for diffuse rays": lambda world: lit_by_path(world, "Is Diffuse Ray"),
    "strength for glossy rays": lambda world: lit_by_path(world, "Is Glossy Ray"),
    "mixed by path": mixed_by_path,
    "group": in_a_group,
    "volume": with_volume,
    "no diffuse rays": lambda world: setattr(world.cycles_visibility, "diffuse", False),
    "no glossy rays": lambda world: setattr(world.cycles_visibility, "glossy", False),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("kind", ["image", "constant"])
def test_worlds_that_differ_by_ray_are_left_to_the_renderer(addon, kind, change) -> None:
    world = image_world(bpy.data.images.new("Image", 8, 4))
    if kind == "constant":
        world.node_tree.nodes.remove(world.node_tree.nodes["Environment Texture"])
    read = {"image": addon.export.world.simple_world, "constant": addon.export.world.constant_world}[kind]
    path = world.node_tree.nodes.new("ShaderNodeLightPath")  # nothing that is reached
    world.node_tree.links.new(path.outputs[0], world.node_tree.nodes.new("ShaderNodeEmission").inputs["Strength"])
    world.cycles_visibility.camera = False
    assert read(world) is not None
    change(world)
    assert read(world) is None


@pytest.mark.any_blender
def test_a_view_layers_own_world_is_what_lights_it(addon) -> None:
    if not hasattr(bpy.types.ViewLayer, "world_override"):
        pytest.skip("this Blender's view layers have no world of their own")
    lights = addon.preview.scene.light.worlds()
    lights.close()
    scene = bpy.context.scene
    for name, gray in (("Scene", 0.2), ("Layer", 0.7)):
        world = bpy.data.worlds.new(name)
        use_nodes(world)
        world.node_tree.nodes["Background"].inputs["Color"].default_value = (gray, gray, gray, 1.0)
    scene.world = bpy.data.worlds["Scene"]
    collect = addon.preview.scene.collector.PreviewCollector().collect
    assert collect(bpy.context.evaluated_depsgraph_get()).environment.radiance.max() == pytest.approx(0.2)
    bpy.context.view_layer.world_override = bpy.data.worlds["Layer"]
    assert collect(bpy.context.evaluated_depsgraph_get()).environment.radiance.max() == pytest.approx(0.7)
