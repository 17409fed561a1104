"""The bake of objects: their slots, UV maps and meshes, in a second Blender that may fail."""

from __future__ import annotations

import time

import bpy
import numpy as np
import pytest
from support.blender.bake_process import RISING, SIZE, bake, gradient, noise_image, only, pixels, plan_of
from support.blender.shader_trees import Tree


def test_an_object_that_is_hidden_in_the_viewport_is_baked(addon, plane, tree, tmp_path) -> None:
    tree.link(gradient(tree, 0), tree.shader, "Roughness")
    bpy.context.view_layer.objects.active = plane
    plane.select_set(False)
    plane.hide_set(True)
    plane.hide_select = True
    group, _ = only(bake(addon, tmp_path, resolution=SIZE, target="CORE"))
    np.testing.assert_allclose(pixels(group, "orm.png")[9, :, 1], RISING, atol=4e-3)


def test_each_slot_has_its_own_maps_and_one_that_is_not_baked_has_none(addon, plane, tree, tmp_path) -> None:
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.subdivide(number_cuts=1)
    bpy.ops.object.mode_set(mode="OBJECT")
    other = Tree()
    plane.data.materials.append(other.material)
    for index, face in enumerate(plane.data.polygons):
        face.material_index = index % 2
    tree.link(gradient(tree, 0), tree.shader, "Roughness")
    other.link(gradient(other, 1), other.shader, "Metallic")
    (group,) = bake(addon, tmp_path, resolution=SIZE, target="CORE")
    assert sorted(group.files) == ["0/orm.png", "1/orm.png"]
    assert [sorted(recipe.inputs) for recipe in group.recipes] == [["Roughness"], ["Metallic"]]
    assert [recipe.constants.get("Metallic") for recipe in group.recipes] == [0.0, None]


def test_one_set_for_an_object_holds_what_differs_between_its_materials(addon, plane, tree, tmp_path) -> None:
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.subdivide(number_cuts=1)
    bpy.ops.object.mode_set(mode="OBJECT")
    other = Tree()
    plane.data.materials.append(other.material)
    for face in plane.data.polygons:
        face.material_index = int(face.center.x > 0.0)
    other.input(other.shader, "Roughness").default_value = 0.9
    bpy.context.scene.pbrfit.map_sets = "OBJECT"
    group, recipe = only(bake(addon, tmp_path, resolution=SIZE, target="CORE"))
    found = pixels(group, "orm.png")[..., 1]
    np.testing.assert_allclose(found[:, 4], 0.5, atol=3e-3)
    np.testing.assert_allclose(found[:, -4], 0.9, atol=3e-3)
    assert recipe.constants["Base Color"] == pytest.approx((0.8, 0.8, 0.8), abs=1e-6)


def test_udim_tiles_have_a_file_each(addon, plane, tree, tmp_path) -> None:
    for corner in plane.data.uv_layers.active.uv:
        corner.vector = (corner.vector[0] * 2.0, corner.vector[1])
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.subdivide(number_cuts=1)
    bpy.ops.object.mode_set(mode="OBJECT")
    halved = tree.new("Math")
    halved.operation = "MULTIPLY"
    halved.inputs[1].default_value = 0.5
    tree.link(tree.link(gradient(tree, 0), halved, 0), tree.shader, "Roughness")
    (group,) = bake(addon, tmp_path, resolution=SIZE, target="CORE")
    assert sorted(group.files) == ["0/orm.png", "1/orm.png"]
    assert group.recipes[0] == group.recipes[1]
    for number in (0, 1):
        np.testing.assert_allclose(pixels(group, f"{number}/orm.png")[9, :, 1], (number + RISING) / 2.0, atol=4e-3)


@pytest.mark.parametrize("shift", [(1.0, 0.0), (0.5, 2.0), (-1.0, 0.0), (-1.5, -3.5)])
def test_faces_outside_of_the_square_show_the_map_that_repeats_there(addon, plane, tree, tmp_path, shift) -> None:
    bpy.context.scene.pbrfit.use_udim = False
    for corner in plane.data.uv_layers.active.uv:
        corner.vector = (corner.vector[0] + shift[0], corner.vector[1] + shift[1])
    image, values = noise_image(SIZE)
    picture = tree.new("TexImage")
    picture.image = image
    tree.link(picture, tree.shader, "Base Color")
    group, _ = only(bake(addon, tmp_path, resolution=SIZE, target="CORE"))
    assert np.abs(pixels(group, "kd.png") * 255.0 - values[..., :3]).max() < 1.01


def test_faces_where_nothing_can_be_baked_are_refused(addon, plane, tree, tmp_path) -> None:
    for corner in plane.data.uv_layers.active.uv:
        corner.vector = (corner.vector[0] * 30.0 - 1.0, corner.vector[1])
    with pytest.raises(addon.common.errors.PbrFitError, match=r'"Look" lie too far outside'):
        bake(addon, tmp_path, resolution=SIZE, target="CORE")


def test_another_uv_map_than_renders_use_changes_nothing_of_the_look(addon, plane, tree, tmp_path) -> None:
    image, values = noise_image(SIZE)
    picture = tree.new("TexImage")
    picture.image = image
    tree.link(picture, tree.shader, "Base Color")
    turned = plane.data.uv_layers.new(name="Turned")
    for corner in turned.uv:
        corner.vector = (corner.vector[1], 1.0 - corner.vector[0])
    plane.data.uv_layers.active = turned
    plane.data.uv_layers[0].active_render = True
    group, _ = only(bake(addon, tmp_path, resolution=SIZE, target="CORE"))
    assert np.abs(pixels(group, "kd.png") * 255.0 - np.rot90(values[..., :3], -1)).max() < 1.01


def test_a_material_that_two_objects_share_has_one_set(addon, plane, tree, tmp_path) -> None:
    for corner in plane.data.uv_layers.active.uv:
        corner.vector = (corner.vector[0] * 0.5, corner.vector[1])
    tree.link(gradient(tree, 0), tree.shader, "Roughness")
    bpy.ops.mesh.primitive_plane_add(size=2.0)
    second = bpy.context.object
    second.data.materials.append(tree.material)
    for corner in second.data.uv_layers.active.uv:
        corner.vector = (corner.vector[0] * 0.5 + 0.5, corner.vector[1])
    plane.select_set(True)
    group, _ = only(bake(addon, tmp_path, resolution=SIZE, target="CORE"))
    np.testing.assert_allclose(pixels(group, "orm.png")[9, :, 1], RISING, atol=4e-3)


def test_a_killed_process_is_said(addon, tree, tmp_path) -> None:
    baker = addon.baking.process.MapBaker(plan_of(addon, tmp_path, resolution=SIZE), tmp_path)
    baker._process.kill()
    baker._thread.join()
    with pytest.raises(addon.common.second_blender.BlenderDied, match="ended with status -9"):
        baker.poll()
    baker.stop()


def test_a_mesh_from_a_library_is_baked(addon, plane, tree, tmp_path) -> None:
    tree.link(gradient(tree, 0), tree.shader, "Roughness")
    library = str(tmp_path / "library.blend")
    bpy.data.libraries.write(library, {plane.data}, fake_user=True)
    bpy.data.objects.remove(plane)
    with bpy.data.libraries.load(library, link=True) as (_, wanted):
        wanted.meshes = ["Plane"]
    thing = bpy.data.objects.new("Thing", wanted.meshes[0])
    bpy.context.scene.collection.objects.link(thing)
    bpy.context.view_layer.objects.active = thing
    thing.select_set(True)
    group, _ = only(bake(addon, tmp_path, resolution=SIZE, target="CORE"))
    np.testing.assert_allclose(pixels(group, "orm.png")[9, :, 1], RISING, atol=4e-3)


def test_a_disk_without_room_is_said(addon, tmp_path, monkeypatch) -> None:
    files = addon.baking.image_files
    usage = type("Usage", (), {"free": 100})
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _path: usage)
    with pytest.raises(OSError, match="No space left"):
        files.write_image(tmp_path / "map.png", np.zeros((8, 8, 3), np.float32))


def test_nested_mixes_of_many_do_not_take_long(addon, tree, tmp_path) -> None:
    last = tree.shader
    for number in range(60):
        layer = tree.new("BsdfPrincipled", Roughness=number / 60.0, Base_Color=(number / 60.0, 0.5, 0.5, 1.0))
        mixed = tree.link(last, tree.new("MixShader", Fac=0.5), 1)
        tree.link(layer, mixed, 2)
        last = mixed
    tree.link(last, tree.output, 0)
    began = time.monotonic()
    group, recipe = only(bake(addon, tmp_path, resolution=SIZE, target="CORE"))
    assert time.monotonic() - began < 20.0
    assert group.files == {}
    assert 0.9 < recipe.constants["Base Color"][0] < 1.0
