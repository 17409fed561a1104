"""What the preview bakes because it cannot read it, in a second Blender."""

from __future__ import annotations

import time

import numpy as np
import pytest
from support.blender.scenes import TIMEOUT_S, add_cube, use_nodes

bpy = pytest.importorskip("bpy")


@pytest.fixture
def looks(addon):
    """Baked looks, before any is known; the handler of changes sees what the test does."""
    found = addon.preview.scene.baked_looks.baked_looks()
    found.close()
    yield found
    found.close()


def painted_cube(color=(0.8, 0.2, 0.1, 1.0)):
    """A cube whose Base Color is an image through Hue/Saturation, which makes it brighter by half; returns it and the node."""
    cube = add_cube()
    material = bpy.data.materials.new("Paint")
    use_nodes(material)
    tree = material.node_tree
    image = bpy.data.images.new("Paint", 8, 8)
    image.pixels.foreach_set(np.tile(np.array(color, np.float32), 64))
    image.pack()
    texture, changed = tree.nodes.new("ShaderNodeTexImage"), tree.nodes.new("ShaderNodeHueSaturation")
    texture.image = image
    changed.inputs["Value"].default_value = 0.5
    tree.links.new(texture.outputs["Color"], changed.inputs["Color"])
    tree.links.new(changed.outputs["Color"], tree.nodes["Principled BSDF"].inputs["Base Color"])
    cube.data.materials.clear()
    cube.data.materials.append(material)
    return cube, changed


def collected(addon, collector=None):
    collector = collector or addon.preview.scene.collector.PreviewCollector()
    return collector.collect(bpy.context.evaluated_depsgraph_get())


def poll_until_baked(looks) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not looks.poll():
        assert looks.waiting
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_node_after_a_map_is_baked(addon, looks) -> None:
    painted_cube()
    found = collected(addon)
    (part,) = found.parts
    assert part.look.kd.image_uid == bpy.data.images["Paint"].session_uid  # meanwhile the image as it is
    assert any("is being baked" in note for note in found.notes)
    poll_until_baked(looks)
    found = collected(addon)
    (part,) = found.parts
    assert found.notes == ()
    stored = np.array((0.8, 0.2, 0.1))
    linear = np.where(stored <= 0.04045, stored / 12.92, ((stored + 0.055) / 1.055) ** 2.4)
    np.testing.assert_allclose(part.look.kd, 0.5 * linear, atol=0.01)
    assert not looks.waiting


def test_it_is_baked_again_when_a_node_changes_and_only_then(addon, looks) -> None:
    _, node = painted_cube()
    collected(addon)
    poll_until_baked(looks)
    first = collected(addon).parts[0].look.kd
    assert not looks.waiting
    node.inputs["Value"].default_value = 1.0
    bpy.context.view_layer.update()
    assert collected(addon).parts[0].look.kd == first  # until the new one is there
    assert looks.waiting
    poll_until_baked(looks)
    np.testing.assert_allclose(collected(addon).parts[0].look.kd, 2.0 * np.array(first), rtol=0.02)


def test_a_pattern_becomes_maps_and_the_file_stays_as_it_was(addon, looks) -> None:
    cube, _ = painted_cube()
    tree = cube.data.materials[0].node_tree
    shader, checker = tree.nodes["Principled BSDF"], tree.nodes.new("ShaderNodeTexChecker")
    coordinates = tree.nodes.new("ShaderNodeTexCoord")
    tree.links.new(coordinates.outputs["UV"], checker.inputs["Vector"])
    tree.links.new(checker.outputs["Fac"], shader.inputs["Roughness"])
    shader.inputs["Coat Weight"].default_value = 0.5
    before = {name: len(getattr(bpy.data, name)) for name in ("images", "materials", "objects", "scenes", "meshes")}
    collected(addon)
    poll_until_baked(looks)
    look = collected(addon).parts[0].look
    rough = look.roughness.pixels[..., look.roughness.channel]
    assert np.mean(rough == 0) > 0.2
    assert np.mean(rough == 255) > 0.2  # and between the islands of the UV map, what is filled in
    assert look.metallic == 0.0
    assert look.normal is None
    np.testing.assert_allclose(look.coat.pixels[..., 0], 0.5, atol=1e-3)
    assert {name: len(getattr(bpy.data, name)) for name in before} == before


def test_what_cannot_be_baked_says_why(addon, looks) -> None:
    cube, _ = painted_cube()
    tree = cube.data.materials[0].node_tree
    toon = tree.nodes.new("ShaderNodeBsdfToon")
    output = next(node for node in tree.nodes if node.bl_idname == "ShaderNodeOutputMaterial")
    tree.links.new(toon.outputs[0], output.inputs["Surface"])
    found = collected(addon)
    assert not looks.waiting
    assert any("Toon" in note for note in found.notes)


def test_a_painted_image_that_is_not_saved_is_shown_as_it_is(addon, looks) -> None:
    """A second Blender would see what was saved."""
    painted_cube()
    image = bpy.data.images["Paint"]
    image.pixels.foreach_set(np.ones(256, np.float32))
    found = collected(addon)
    assert image.is_dirty
    assert not looks.waiting
    assert any("not saved" in note for note in found.notes)
    assert found.parts[0].look.kd.image_uid == image.session_uid


def test_other_materials_can_be_shown_in_slots(addon, looks) -> None:
    """What a comparison shows of the original, while the slot has the new material."""
    cube, _ = painted_cube()
    add_cube().location.x = 5.0
    new = bpy.data.materials.new("New")
    original = cube.data.materials[0]
    cube.data.materials[0] = new
    collector = addon.preview.scene.collector.PreviewCollector({(cube.session_uid, 0): original})
    assert len(collected(addon, collector).parts) == 1  # the other cube is not compared
    poll_until_baked(looks)
    (part,) = collected(addon, collector).parts
    assert isinstance(part.look.kd, tuple)
    assert cube.data.materials[0] == new
