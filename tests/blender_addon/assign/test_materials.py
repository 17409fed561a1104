"""The fitted materials: node trees that a person can read, originals that stay, and the way back."""

from __future__ import annotations

import json

import numpy as np
import pytest
from support.blender.assigning import assign, of_sets, pixel, png, several_slots, source, two_cubes_of_one_material
from support.blender.scenes import add_cube, paint, snapshot

bpy = pytest.importorskip("bpy")


def test_node_tree(addon, files) -> None:
    scene_object = add_cube()
    original = paint(scene_object)
    done = assign(addon, files, {"settings": {"seed": 3}}, scene_settings={"views": 7})
    material = bpy.data.materials[done.material]
    assert scene_object.active_material is material
    assert material.name == "Paint PBRfit"
    assert done.materials == ("Paint PBRfit",)
    assert done.originals == {0: "Paint"}
    assert done.notes == ()
    assert original.use_fake_user

    tree = material.node_tree
    (output,) = [node for node in tree.nodes if node.bl_idname == "ShaderNodeOutputMaterial"]
    shader, _ = source(output.inputs["Surface"])
    assert shader.bl_idname == "ShaderNodeBsdfPrincipled"
    assert shader.distribution == "MULTI_GGX"
    assert shader.inputs["IOR"].default_value == pytest.approx(1.5)
    assert not shader.inputs["Alpha"].is_linked
    colour, _ = source(shader.inputs["Base Color"])
    split, green = source(shader.inputs["Roughness"])
    also_split, blue = source(shader.inputs["Metallic"])
    assert (split.bl_idname, green, blue) == ("ShaderNodeSeparateColor", "Green", "Blue")
    assert split == also_split
    assert "Openness" in split.label
    (further,) = [link.to_node for link in split.outputs["Red"].links]
    assert further.node_tree.name == "glTF Material Output"
    assert not further.outputs
    orm, _ = source(split.inputs["Color"])
    normal_map, _ = source(shader.inputs["Normal"])
    assert (normal_map.bl_idname, normal_map.space, normal_map.uv_map) == ("ShaderNodeNormalMap", "TANGENT", "UVMap")
    normal, _ = source(normal_map.inputs["Color"])
    for node in (colour, orm, normal):
        coordinates, _ = source(node.inputs["Vector"])
        assert (coordinates.bl_idname, coordinates.uv_map) == ("ShaderNodeUVMap", "UVMap")
        assert node.parent.bl_idname == "NodeFrame"
    images = [node.image for node in (colour, orm, normal)]
    assert [image.colorspace_settings.name for image in images] == ["sRGB", "Non-Color", "Non-Color"]
    assert [tuple(image.size) for image in images] == [(4, 4)] * 3
    assert all(image.packed_file is not None and image.source == "FILE" and not image.is_dirty for image in images)
    np.testing.assert_allclose(pixel(colour.image, 0, 0)[:3], [1.0, 128 / 255, 0.0], atol=1e-6)
    np.testing.assert_allclose(pixel(orm.image, 2, 2)[:3], np.array([255, 100, 30]) / 255, atol=1e-6)
    np.testing.assert_allclose(pixel(normal.image, 2, 2)[:3], np.array([32768, 32768, 65535]) / 65535, atol=1e-5)
    places = [tuple(node.location) for node in tree.nodes if node.bl_idname != "NodeFrame"]
    assert len(set(places)) == len(places)
    record = addon.common.records.record_of(material)
    assert record["settings"] == {"seed": 3}
    assert record["scene_settings"] == {"views": 7}
    assert (record["set"], record["uv_map"], record["objects"]) == ("Paint", "UVMap", ["Cube"])
    assert json.loads(material["pbrfit"]) == record


def test_maps_survive_saving_and_loading(addon, files, tmp_path) -> None:
    paint(add_cube())
    assign(addon, files)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "fitted.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "fitted.blend"))
    material = bpy.data.objects["Cube"].active_material
    images = {image.name: image for image in bpy.data.images if image.name.startswith(material.name)}
    assert sorted(images) == ["Paint PBRfit Base Color", "Paint PBRfit Normal", "Paint PBRfit ORM"]
    np.testing.assert_allclose(pixel(images["Paint PBRfit Base Color"], 0, 0)[:3], [1.0, 128 / 255, 0.0], atol=1e-6)
    assert images["Paint PBRfit ORM"].colorspace_settings.name == "Non-Color"
    assert bpy.data.materials["Paint"].use_fake_user
    addon.assign.memory.revert(bpy.context.scene, bpy.data.objects[:])
    assert bpy.data.objects["Cube"].active_material.name == "Paint"
    assert list(bpy.data.images) == []


def test_alpha(addon, files) -> None:
    scene_object = add_cube()
    paint(scene_object)
    files["kd.png"] = png(np.full((4, 4, 4), (10, 20, 30, 40), dtype=np.uint8))
    assign(addon, files, alpha=True)
    shader = scene_object.active_material.node_tree.nodes["Fitted Material"]
    node, socket = source(shader.inputs["Alpha"])
    assert (node, socket) == (source(shader.inputs["Base Color"])[0], "Alpha")
    np.testing.assert_allclose(pixel(node.image, 0, 0), np.array([10, 20, 30, 40]) / 255, atol=1e-6)


def test_only_base_color(addon, files) -> None:
    scene_object = add_cube()
    paint(scene_object)
    assign(addon, {"kd.png": files["kd.png"]})
    shader = scene_object.active_material.node_tree.nodes["Fitted Material"]
    assert [socket.name for socket in shader.inputs if socket.is_linked] == ["Base Color"]


def test_a_material_for_each_set_and_revert(addon, files) -> None:
    scene_object = several_slots()
    before = snapshot()
    done = assign(addon, of_sets(files, 2))
    assert [slot.material and slot.material.name for slot in scene_object.material_slots] == [
        "A PBRfit",
        "B",
        "C PBRfit",
        None,
    ]
    assert done.materials == ("A PBRfit", "C PBRfit")
    assert done.originals == {0: "A", 2: "C"}
    assert pixel(bpy.data.images["C PBRfit Base Color"], 0, 0)[0] == pytest.approx(40 / 255)
    bpy.data.materials["C"].name = "Renamed"
    assert addon.assign.memory.revert(bpy.context.scene, [scene_object]) == ["A PBRfit", "C PBRfit"]
    bpy.data.materials["Renamed"].name = "C"
    assert snapshot() == before
    assert addon.assign.memory.revert(bpy.context.scene, [scene_object]) == []


def test_one_material_for_the_whole_object(addon, files) -> None:
    scene_object = several_slots()
    before = snapshot()
    bpy.context.scene.pbrfit.map_sets = "OBJECT"
    assign(addon, files, material_name="{object}: {material}")
    assert [slot.material.name for slot in scene_object.material_slots] == [
        "Cube: Cube",
        "B",
        "Cube: Cube",
        "Cube: Cube",
    ]
    addon.assign.memory.revert(bpy.context.scene, [scene_object])
    assert snapshot() == before


def test_other_objects_of_the_same_mesh_keep_their_look(addon, files) -> None:
    scene_object = add_cube()
    paint(scene_object)
    twin = bpy.data.objects.new("Twin", scene_object.data)
    bpy.context.scene.collection.objects.link(twin)
    slot = scene_object.material_slots[0]
    slot.link = "OBJECT"
    slot.material = bpy.data.materials.new("Hidden")
    slot.link = "DATA"
    before = snapshot()
    assign(addon, files)
    assert scene_object.active_material.name == "Paint PBRfit"
    assert twin.active_material.name == "Paint"
    addon.assign.memory.show(bpy.context.scene, [scene_object], fitted=False)
    assert snapshot()["slots"] == before["slots"]
    addon.assign.memory.show(bpy.context.scene, [scene_object], fitted=True)
    assert scene_object.active_material.name == "Paint PBRfit"
    assert twin.active_material.name == "Paint"
    addon.assign.memory.revert(bpy.context.scene, [scene_object])
    assert snapshot() == before
    slot.link = "OBJECT"
    assert slot.material.name == "Hidden"


def test_objects_that_share_a_material_share_the_fitted_one(addon, files) -> None:
    first, second = two_cubes_of_one_material()
    before = snapshot()
    done = assign(addon, of_sets(files, 2))
    assert done.materials == ("Paint PBRfit", "Trim PBRfit")
    assert first.material_slots[0].material == second.material_slots[0].material == bpy.data.materials["Paint PBRfit"]
    addon.assign.memory.revert(bpy.context.scene, [second])
    assert second.active_material.name == "Paint"
    assert bpy.data.materials["Paint"].use_fake_user  # the first object still needs it
    assert first.material_slots[0].material.name == "Paint PBRfit"
    addon.assign.memory.revert(bpy.context.scene, [first])
    assert snapshot() == before


def test_uv_maps_of_other_names_get_a_material_each(addon, files) -> None:
    first, second = two_cubes_of_one_material()
    second.data.uv_layers.active.name = "Other"
    done = assign(addon, of_sets(files, 2))
    assert len(done.materials) == 3
    for scene_object, uv_map in ((first, "UVMap"), (second, "Other")):
        tree = scene_object.material_slots[0].material.node_tree
        assert [node.uv_map for node in tree.nodes if node.bl_idname == "ShaderNodeUVMap"] == [uv_map]
    images = [
        {
            node.image
            for node in item.material_slots[0].material.node_tree.nodes
            if node.bl_idname == "ShaderNodeTexImage"
        }
        for item in (first, second)
    ]
    assert images[0] == images[1]


def test_udim_tiles_become_one_image(addon, files, tmp_path) -> None:
    scene_object = add_cube()
    paint(scene_object)
    for index, entry in enumerate(scene_object.data.uv_layers.active.uv):
        entry.vector.x += 2.0 if index < 4 else 1.0
    before = snapshot()
    assign(addon, of_sets(files, 2))
    image = bpy.data.images["Paint PBRfit Base Color"]
    assert (image.source, [tile.number for tile in image.tiles]) == ("TILED", [1002, 1003])
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "fitted.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "fitted.blend"))
    image = bpy.data.images["Paint PBRfit Base Color"]
    assert image.colorspace_settings.name == "sRGB"
    found = {entry.tile_number: entry.packed_file.data for entry in image.packed_files}
    assert found == {1002: of_sets(files, 2)["0/kd.png"], 1003: of_sets(files, 2)["1/kd.png"]}
    assert sorted(tmp_path.iterdir()) == [tmp_path / "fitted.blend"]
    addon.assign.memory.revert(bpy.context.scene, bpy.data.objects[:])
    assert snapshot()["datablocks"] == before["datablocks"]


def test_fitting_twice_and_reverting_twice(addon, files) -> None:
    scene_object = add_cube()
    paint(scene_object)
    before = snapshot()
    for _ in range(2):
        assign(addon, files)
    assert scene_object.active_material.name == "Paint PBRfit.001"
    addon.assign.memory.revert(bpy.context.scene, [scene_object])
    assert scene_object.active_material.name == "Paint PBRfit"
    addon.assign.memory.revert(bpy.context.scene, [scene_object])
    assert snapshot() == before


def test_fitting_again_while_the_original_is_shown_takes_the_place_of_the_first(addon, files) -> None:
    scene_object = add_cube()
    paint(scene_object)
    before = snapshot()
    assign(addon, files)
    addon.assign.memory.show(bpy.context.scene, [scene_object], fitted=False)
    assert scene_object.active_material.name == "Paint"
    assign(addon, files)
    assert [item.name for item in bpy.data.materials] == ["Paint", "Paint PBRfit.001"]
    assert len(bpy.data.images) == 3
    addon.assign.memory.revert(bpy.context.scene, [scene_object])
    assert snapshot() == before


def test_what_the_artist_assigned_since_stays(addon, files) -> None:
    scene_object = add_cube()
    paint(scene_object)
    assign(addon, files)
    scene_object.material_slots[0].material = bpy.data.materials.new("Mine")
    assert list(addon.assign.memory.remembered(scene_object)) == []
    addon.assign.memory.show(bpy.context.scene, [scene_object], fitted=True)
    addon.assign.memory.revert(bpy.context.scene, [scene_object])
    assert scene_object.active_material.name == "Mine"


def test_slots_that_were_moved_are_found(addon, files) -> None:
    scene_object = add_cube()
    paint(scene_object)
    assign(addon, files)
    paint(scene_object, "New")
    scene_object.active_material_index = 1
    bpy.ops.object.material_slot_move(direction="UP")
    addon.assign.memory.revert(bpy.context.scene, [scene_object])
    assert [slot.material.name for slot in scene_object.material_slots] == ["New", "Paint"]
