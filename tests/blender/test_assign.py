"""The fitted material: a node tree a person can read, originals kept, and the way back."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from scenes import add_cube, hdri_world, paint, snapshot, use_nodes

bpy = pytest.importorskip("bpy")


def png(pixels: np.ndarray) -> bytes:
    """RGB or RGBA pixels [h, w, c] as a PNG of their bit depth."""
    order = [2, 1, 0, 3][: pixels.shape[2]]
    done, data = cv2.imencode(".png", pixels[:, :, order])
    assert done
    return data.tobytes()


def kd_pixels(channels: int = 3) -> np.ndarray:
    pixels = np.zeros((4, 4, channels), dtype=np.uint8)
    pixels[0, 0, :3] = (255, 128, 0)  # the top left pixel
    return pixels


@pytest.fixture
def files() -> dict[str, bytes]:
    return {
        "kd.png": png(kd_pixels()),
        "orm.png": png(np.full((4, 4, 3), (255, 100, 30), dtype=np.uint8)),
        "normal.png": png(np.full((4, 4, 3), (32768, 32768, 65535), dtype=np.uint16)),
    }


def source(socket) -> tuple:
    """The node and socket name that feed an input."""
    (link,) = socket.links
    return link.from_node, link.from_socket.name


def pixel(image, x: int, row_from_top: int) -> np.ndarray:
    width, height = image.size
    values = np.array(image.pixels[:], dtype=np.float64).reshape(height, width, -1)
    return values[height - 1 - row_from_top, x]


def test_node_tree(addon, files) -> None:
    scene_object = add_cube()
    original = paint(scene_object)
    done = addon.assign.assign(scene_object, (0,), "UVMap", files, {"settings": {"seed": 3}}, alpha=False)
    material = bpy.data.materials[done.material]
    assert scene_object.active_material is material
    assert material.name == "Cube PBRfit"
    assert done.originals == {0: "Paint"}
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
    assert not split.outputs["Red"].is_linked
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
    record = json.loads(material["pbrfit"])
    assert record["settings"] == {"seed": 3}
    assert record["original_materials"] == {"0": "Paint"}


def test_maps_survive_saving_and_loading(addon, files, tmp_path) -> None:
    scene_object = add_cube()
    paint(scene_object)
    addon.assign.assign(scene_object, (0,), "UVMap", files, {}, alpha=False)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "fitted.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "fitted.blend"))
    material = bpy.data.objects["Cube"].active_material
    images = {image.name: image for image in bpy.data.images if image.name.startswith(material.name)}
    assert sorted(images) == ["Cube PBRfit Base Color", "Cube PBRfit Normal", "Cube PBRfit ORM"]
    np.testing.assert_allclose(pixel(images["Cube PBRfit Base Color"], 0, 0)[:3], [1.0, 128 / 255, 0.0], atol=1e-6)
    assert images["Cube PBRfit ORM"].colorspace_settings.name == "Non-Color"
    assert bpy.data.materials["Paint"].use_fake_user


def test_alpha(addon, files) -> None:
    scene_object = add_cube()
    paint(scene_object)
    files["kd.png"] = png(np.full((4, 4, 4), (10, 20, 30, 40), dtype=np.uint8))
    addon.assign.assign(scene_object, (0,), "UVMap", files, {}, alpha=True)
    shader = scene_object.active_material.node_tree.nodes["Fitted Material"]
    node, socket = source(shader.inputs["Alpha"])
    assert (node, socket) == (source(shader.inputs["Base Color"])[0], "Alpha")
    np.testing.assert_allclose(pixel(node.image, 0, 0), np.array([10, 20, 30, 40]) / 255, atol=1e-6)


def test_only_base_colour(addon, files) -> None:
    scene_object = add_cube()
    paint(scene_object)
    addon.assign.assign(scene_object, (0,), "UVMap", {"kd.png": files["kd.png"]}, {}, alpha=False)
    shader = scene_object.active_material.node_tree.nodes["Fitted Material"]
    assert [socket.name for socket in shader.inputs if socket.is_linked] == ["Base Color"]


def test_used_slots_only_and_revert(addon, files) -> None:
    scene_object = add_cube()
    for name in ("A", "B", "C"):
        paint(scene_object, name)
    bpy.data.materials["A"].use_fake_user = True
    scene_object.data.materials.append(None)
    before = snapshot()
    addon.assign.assign(scene_object, (0, 2, 3), "UVMap", files, {}, alpha=False)
    shown = [slot.material.name for slot in scene_object.material_slots]
    assert shown == ["Cube PBRfit", "B", "Cube PBRfit", "Cube PBRfit"]
    bpy.data.materials["C"].name = "Renamed"
    bpy.ops.pbrfit.revert()
    bpy.data.materials["Renamed"].name = "C"
    fitted = bpy.data.materials["Cube PBRfit"]
    assert fitted.users == 0
    bpy.data.materials.remove(fitted)
    bpy.data.batch_remove([image for image in bpy.data.images if image.name.startswith("Cube PBRfit")])
    assert snapshot() == before
    assert not bpy.ops.pbrfit.revert.poll()


def test_other_objects_of_the_same_mesh_keep_their_look(addon, files) -> None:
    scene_object = add_cube()
    paint(scene_object)
    twin = bpy.data.objects.new("Twin", scene_object.data)
    bpy.context.scene.collection.objects.link(twin)
    before = snapshot()["slots"]
    addon.assign.assign(scene_object, (0,), "UVMap", files, {}, alpha=False)
    assert scene_object.active_material.name == "Cube PBRfit"
    assert twin.active_material.name == "Paint"
    bpy.ops.pbrfit.revert()
    assert snapshot()["slots"] == before


def test_second_fit_reverts_to_the_first(addon, files) -> None:
    scene_object = add_cube()
    paint(scene_object)
    for _ in range(2):
        addon.assign.assign(scene_object, (0,), "UVMap", files, {}, alpha=False)
    assert scene_object.active_material.name == "Cube PBRfit.001"
    bpy.ops.pbrfit.revert()
    assert scene_object.active_material.name == "Cube PBRfit"
    bpy.ops.pbrfit.revert()
    assert scene_object.active_material.name == "Paint"


def test_learned_world(addon, tmp_path) -> None:
    add_cube()
    old = hdri_world()
    image = bpy.data.images.new("Light", 4, 2, float_buffer=True)
    image.pack()
    image.filepath_raw, image.file_format = str(tmp_path / "light.exr"), "OPEN_EXR"
    image.save()
    name = addon.assign.assign_world(bpy.context.scene, "Cube", (tmp_path / "light.exr").read_bytes())
    world = bpy.context.scene.world
    assert world.name == name == "Cube PBRfit"
    assert old.use_fake_user
    use_nodes(world)
    (output,) = [node for node in world.node_tree.nodes if node.bl_idname == "ShaderNodeOutputWorld"]
    background, _ = source(output.inputs["Surface"])
    texture, _ = source(background.inputs["Color"])
    assert texture.image.colorspace_settings.name == "Linear Rec.709"
    assert texture.image.packed_file is not None
    assert tuple(texture.image.size) == (4, 2)
