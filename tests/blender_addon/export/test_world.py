"""The world as its nodes say, compared with the same world as Cycles renders it."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from support.blender.scenes import add_cube, hdri_world, paint, snapshot, use_nodes

bpy = pytest.importorskip("bpy")


def rendered_world(addon, directory, size: tuple[int, int]) -> np.ndarray:
    """The scene's world as the second Blender renders it."""
    copy = directory / "copy.blend"
    addon.references.process.save_copy(copy)
    plan = {
        "blend": str(copy),
        "scene": bpy.context.scene.name,
        "objects": ["Cube"],
        "output": str(directory),
        "environment": list(size),
        "views": [],
    }
    renderer = addon.references.process.ReferenceRenderer(plan, directory)
    try:
        deadline = time.monotonic() + 120.0
        while time.monotonic() < deadline:
            for finished in renderer.poll():
                return finished.radiance
            time.sleep(0.05)
        pytest.fail("the second Blender did not render the world")
    finally:
        renderer.stop()


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
def test_read_world_is_the_rendered_world(addon, tmp_path, rotation, vector_type, least_psnr) -> None:
    paint(add_cube())
    hdri_world(rotation, strength=0.5, vector_type=vector_type)
    found = addon.export.world.export_world(bpy.context.scene)
    assert found.shape == (512, 1024, 3)
    assert found.dtype == np.float32
    assert found.flags["C_CONTIGUOUS"]
    expected = rendered_world(addon, tmp_path, (1024, 512))
    assert psnr(found, expected) > least_psnr
    # the total light, without the part that the clamp hides
    assert found.mean() == pytest.approx(expected.mean(), rel=0.02)


def test_reading_changes_nothing(addon) -> None:
    paint(add_cube())
    hdri_world((0.1, 0.2, 0.3))
    before = snapshot()
    assert addon.export.world.export_world(bpy.context.scene) is not None
    assert snapshot() == before


def test_byte_image_is_made_linear(addon, tmp_path) -> None:
    world = hdri_world()
    image = bpy.data.images.new("Flat", 4, 2)
    image.pixels.foreach_set(np.tile(np.array([0.5, 0.0, 1.0, 1.0], dtype=np.float32), 8))
    image.filepath_raw = str(tmp_path / "flat.png")
    image.save()
    world.node_tree.nodes["Environment Texture"].image = bpy.data.images.load(str(tmp_path / "flat.png"))
    found = addon.export.world.export_world(bpy.context.scene)
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
    assert addon.export.world.export_world(bpy.context.scene) is None


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
    assert addon.export.world.export_world(bpy.context.scene) is not None
    change(world)
    assert addon.export.world.export_world(bpy.context.scene) is None


def test_world_without_nodes_is_left_to_the_renderer(addon) -> None:
    world = bpy.data.worlds.new("Plain")
    bpy.context.scene.world = world
    assert addon.export.world.export_world(bpy.context.scene) is None


def test_muted_nodes_are_passed_by(addon) -> None:
    """Blender passes the input of a muted Mapping through."""
    world = hdri_world((0.0, 0.0, 1.0))
    use_nodes(world)
    world.node_tree.nodes["Mapping"].mute = True
    assert addon.export.world.export_world(bpy.context.scene) is None
