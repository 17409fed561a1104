"""The world's light for the preview: read, or rendered by a second Blender; and prepared lights kept on disk."""

from __future__ import annotations

import math
import os
import time

import numpy as np
import pytest
from support.blender.file_fingerprint import differences, fingerprint
from support.blender.scenes import TIMEOUT_S, add_cube, hdri_world, use_nodes

bpy = pytest.importorskip("bpy")


@pytest.fixture
def worlds(addon):
    """The lights of worlds, before any is known."""
    found = addon.preview.scene.light.worlds()
    found.close()
    yield found
    found.close()


def environment(worlds):
    return worlds.environment(bpy.context.scene.world)


def gradient_world() -> bpy.types.Node:
    """A new world whose color depends on the direction; returns its Background."""
    world = bpy.data.worlds.new("Gradient")
    use_nodes(world)
    tree = world.node_tree
    coordinates = tree.nodes.new("ShaderNodeTexCoord")
    background = tree.nodes["Background"]
    tree.links.new(coordinates.outputs["Generated"], background.inputs["Color"])
    bpy.context.scene.world = world
    return background


def poll_until_lit(worlds) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not worlds.poll():
        assert worlds.waiting
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_constant_worlds(addon, worlds) -> None:
    bpy.context.scene.world = None
    assert environment(worlds).radiance.max() == 0.0
    world = bpy.data.worlds.new("Even")
    bpy.context.scene.world = world
    use_nodes(world)
    background = world.node_tree.nodes["Background"]
    background.inputs["Color"].default_value = (0.1, 0.2, 0.3, 1.0)
    background.inputs["Strength"].default_value = 2.0
    first = environment(worlds)
    np.testing.assert_allclose(first.radiance[5, 7], (0.2, 0.4, 0.6), rtol=1e-6)
    assert first.key == addon.preview.scene.light.content_hash(first.radiance)
    assert not worlds.waiting


def test_an_image_is_read_once_and_again_when_the_world_turns(addon, worlds, monkeypatch) -> None:
    reads = []
    original = addon.export.world.read_image
    monkeypatch.setattr(addon.export.world, "read_image", lambda image: reads.append(1) or original(image))
    hdri_world(rotation=(0.0, 0.0, 0.0))
    first = environment(worlds)
    np.testing.assert_array_equal(first.radiance, addon.export.world.export_world(bpy.context.scene.world))
    reads.clear()
    assert environment(worlds) is first
    assert reads == []
    mapping = next(node for node in bpy.context.scene.world.node_tree.nodes if node.type == "MAPPING")
    mapping.inputs["Rotation"].default_value[2] = math.pi / 2
    turned = environment(worlds)
    assert len(reads) == 1
    assert turned.key != first.key
    np.testing.assert_allclose(turned.radiance, np.roll(first.radiance, 256, axis=1), atol=1e-4)
    worlds.note_change(bpy.context.scene.world)
    assert environment(worlds) is turned


@pytest.mark.any_blender
def test_a_procedural_world_is_rendered_in_the_background(addon, worlds) -> None:
    add_cube()
    background = gradient_world()
    bpy.context.view_layer.update()
    before = fingerprint()
    scene = addon.preview.scene.collector.PreviewCollector().collect(bpy.context.evaluated_depsgraph_get())
    assert scene.environment is None
    assert addon.preview.scene.collector.WAITING in scene.notes
    assert not worlds.poll()  # not before the world has settled
    assert worlds._renderer is None
    poll_until_lit(worlds)
    folder = worlds._folder
    first = environment(worlds)
    assert first.radiance.shape == (512, 1024, 3)
    # Blender's up is blue there; its directions are colors.
    np.testing.assert_allclose(first.radiance[0].mean(axis=0), (0.0, 0.0, 1.0), atol=0.02)
    assert not worlds.waiting
    assert folder is None
    assert differences(before, fingerprint()) == []
    background.inputs["Strength"].default_value = 2.0
    worlds.note_change(bpy.context.scene.world.node_tree)
    assert environment(worlds) is first  # the last light stays until then
    assert worlds.waiting
    brighter = worlds.finish(bpy.context.scene.world)
    np.testing.assert_allclose(brighter.radiance, 2.0 * first.radiance, atol=1e-3)


@pytest.mark.any_blender
def test_a_second_blender_that_fails_is_said_and_not_tried_again(addon, worlds, monkeypatch) -> None:
    gradient_world()
    monkeypatch.setattr(addon.common.second_blender, "second_blender_command", lambda _script, _plan: ["/bin/false"])
    with pytest.raises(addon.common.errors.PbrFitError, match="ended with status 1"):
        worlds.finish(bpy.context.scene.world)
    assert environment(worlds) is None
    assert not worlds.waiting
    scene = addon.preview.scene.collector.PreviewCollector().collect(bpy.context.evaluated_depsgraph_get())
    assert "ended with status 1" in scene.notes[0]


def prepared(addon, key: str):
    return addon.preview.scene.light.PreparedLight(
        key=key,
        atlas=np.random.default_rng(1).random((20, 108, 4)).astype(np.float16),
        irradiance=np.arange(27, dtype=np.float32).reshape(9, 3),
        places=((16, 0, 0), (8, 0, 54)),
        roughnesses=(0.1, 1.0),
    )


@pytest.fixture
def folder(addon, monkeypatch, tmp_path):
    monkeypatch.setattr(addon.preview.scene.light, "lights_folder", lambda create=False: tmp_path)
    return tmp_path


def test_prepared_lights_come_back_from_disk(addon, folder) -> None:
    light = prepared(addon, "abc")
    assert addon.preview.scene.light.kept_light("abc") is None
    addon.preview.scene.light.keep_light(light)
    found = addon.preview.scene.light.kept_light("abc")
    np.testing.assert_array_equal(found.atlas, light.atlas)
    assert found.atlas.dtype == np.float16
    np.testing.assert_array_equal(found.irradiance, light.irradiance)
    assert (found.key, found.places, found.roughnesses) == (light.key, light.places, light.roughnesses)
    assert [path.name for path in folder.iterdir()] == ["abc.npz"]


def test_sixteen_lights_stay_those_used_last(addon, folder) -> None:
    for number in range(16):
        addon.preview.scene.light.keep_light(prepared(addon, str(number)))
        os.utime(folder / f"{number}.npz", (number, number))
    addon.preview.scene.light.kept_light("0")
    addon.preview.scene.light.keep_light(prepared(addon, "new"))
    assert {path.stem for path in folder.iterdir()} == {"0", "new", *map(str, range(2, 16))}


@pytest.mark.parametrize("damage", [lambda data: data[:100], lambda data: b"", lambda data: data[:-200] + bytes(200)])
def test_a_damaged_file_is_removed(addon, folder, damage) -> None:
    addon.preview.scene.light.keep_light(prepared(addon, "abc"))
    path = folder / "abc.npz"
    path.write_bytes(damage(path.read_bytes()))
    assert addon.preview.scene.light.kept_light("abc") is None
    assert not path.exists()


def test_lights_are_kept_in_the_folder_of_the_extension(addon) -> None:
    folder = addon.preview.scene.light.lights_folder(create=True)
    assert folder.is_dir()
    assert folder.name == "lights-1"
    assert "pbrfit" in str(folder.parent)
