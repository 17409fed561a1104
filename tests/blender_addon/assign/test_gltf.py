"""Fitted materials in GLB files by Blender's own exporter, read as plain JSON: occlusion, and nothing to warn of."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from support.blender.assigning import assign, png
from support.blender.scenes import add_cube, paint, ready_cube

bpy = pytest.importorskip("bpy")
GROUP = "glTF Material Output"
# Blender's exporter says this of any image that several inputs read: it counts inputs, not nodes.
SEVERAL_INPUTS = "More than one shader node tex image used for a texture."
ORM = np.random.default_rng(3).integers(0, 256, (8, 8, 3)).astype(np.uint8)
FILES = {
    "kd.png": png(np.full((8, 8, 3), (10, 200, 30), np.uint8)),
    "orm.png": png(ORM),
    "normal.png": png(np.full((8, 8, 3), (32768, 32768, 65535), np.uint16)),
}


def exported(path: Path) -> tuple[dict, bytes]:
    """The JSON of a GLB of the selection, and its other bytes."""
    assert bpy.ops.export_scene.gltf(filepath=str(path), export_format="GLB", use_selection=True) == {"FINISHED"}
    data = path.read_bytes()
    magic, version, length = struct.unpack("<4sII", data[:12])
    assert (magic, version, length) == (b"glTF", 2, len(data))
    (size,) = struct.unpack("<I", data[12:16])
    return json.loads(data[20 : 20 + size]), data[20 + size + 8 :]


def image_bytes(content: dict, binary: bytes, texture: int) -> bytes:
    view = content["bufferViews"][content["images"][content["textures"][texture]["source"]]["bufferView"]]
    start = view.get("byteOffset", 0)
    return binary[start : start + view["byteLength"]]


def test_occlusion_shares_the_map_of_roughness_and_metallic(addon, tmp_path, caplog) -> None:
    ready_cube()
    assign(addon, FILES)
    content, binary = exported(tmp_path / "cube.glb")
    (material,) = content["materials"]
    occlusion = material["occlusionTexture"]["index"]
    assert material["pbrMetallicRoughness"]["metallicRoughnessTexture"]["index"] == occlusion
    assert material["occlusionTexture"].get("strength", 1.0) == 1.0
    assert len(content["images"]) == 3
    (tmp_path / "orm.png").write_bytes(image_bytes(content, binary, occlusion))
    image = bpy.data.images.load(str(tmp_path / "orm.png"))
    image.colorspace_settings.name = "Non-Color"
    pixels = np.array(image.pixels[:]).reshape(8, 8, 4)[::-1, :, :3]
    np.testing.assert_array_equal(np.rint(pixels * 255), ORM)
    warnings = {record.getMessage() for record in caplog.records if record.levelname == "WARNING"}
    assert all(text.startswith(SEVERAL_INPUTS) for text in warnings), warnings


def test_without_occlusion_there_is_none(addon, tmp_path) -> None:
    ready_cube()
    assign(addon, {"kd.png": FILES["kd.png"]})
    content, _ = exported(tmp_path / "cube.glb")
    assert "occlusionTexture" not in content["materials"][0]
    assert GROUP not in bpy.data.node_groups


def test_all_materials_share_one_group_which_goes_with_the_last(addon) -> None:
    first = ready_cube()
    assign(addon, FILES)
    first.select_set(False)
    second = add_cube()
    paint(second, "Varnish")
    assign(addon, FILES)
    groups = {thing.active_material.node_tree.nodes[GROUP].node_tree for thing in (first, second)}
    assert groups == set(bpy.data.node_groups)
    assert len(groups) == 1
    bpy.ops.pbrfit.revert()
    assert [group.name for group in bpy.data.node_groups] == [GROUP]
    second.select_set(False)
    first.select_set(True)
    bpy.context.view_layer.objects.active = first
    bpy.ops.pbrfit.revert()
    assert not bpy.data.node_groups


def test_the_artists_own_group_is_used_and_stays(addon, tmp_path) -> None:
    own = bpy.data.node_groups.new(GROUP, "ShaderNodeTree")
    own.interface.new_socket("Occlusion", in_out="INPUT", socket_type="NodeSocketFloat")
    own.interface.new_socket("Mine", in_out="INPUT", socket_type="NodeSocketFloat")
    cube = ready_cube()
    assign(addon, FILES)
    assert cube.active_material.node_tree.nodes[GROUP].node_tree == own
    content, _ = exported(tmp_path / "cube.glb")
    assert "occlusionTexture" in content["materials"][0]
    bpy.ops.pbrfit.revert()
    assert [group.name for group in bpy.data.node_groups] == [GROUP]


def test_another_group_of_that_name_is_left_alone(addon, tmp_path) -> None:
    bpy.data.node_groups.new(GROUP, "ShaderNodeTree").use_fake_user = True
    ready_cube()
    assign(addon, FILES)
    content, _ = exported(tmp_path / "cube.glb")
    assert "occlusionTexture" in content["materials"][0]
    assert sorted(group.name for group in bpy.data.node_groups) == [GROUP, f"{GROUP}.001"]


@pytest.mark.parametrize("kind", ["output", "panel", "vector", "geometry"])
def test_a_group_of_that_name_without_that_input_is_no_trap(addon, tmp_path, kind) -> None:
    tree = "GeometryNodeTree" if kind == "geometry" else "ShaderNodeTree"
    theirs = bpy.data.node_groups.new(GROUP, tree)
    theirs.use_fake_user = True
    if kind == "panel":
        theirs.interface.new_panel("Occlusion")
    else:
        socket_type = "NodeSocketVector" if kind == "vector" else "NodeSocketFloat"
        theirs.interface.new_socket(
            "Occlusion", in_out="OUTPUT" if kind == "output" else "INPUT", socket_type=socket_type
        )
    cube = ready_cube()
    assign(addon, FILES)
    assert cube.active_material.node_tree.nodes[GROUP].node_tree != theirs
    content, _ = exported(tmp_path / "cube.glb")
    assert "occlusionTexture" in content["materials"][0]
    bpy.ops.pbrfit.revert()
    assert list(bpy.data.node_groups) == [theirs]
    assert len(theirs.interface.items_tree) == 1


def test_the_group_has_what_blenders_own_importer_expects_of_it(addon, tmp_path) -> None:
    """It takes any group of this name in the file; also one by an earlier version, which had fewer inputs."""
    cube = ready_cube()
    old = bpy.data.node_groups.new(GROUP, "ShaderNodeTree")
    old[addon.common.names.RECORD] = ""
    old.interface.new_socket("Occlusion", in_out="INPUT", socket_type="NodeSocketFloat")
    assign(addon, FILES)
    assert [group for group in bpy.data.node_groups if group.name.startswith(GROUP)] == [old]
    try:
        from io_scene_gltf2.blender.com.material_helpers import create_settings_group
    except ImportError:  # Blender 4.2
        from io_scene_gltf2.blender.com.gltf2_blender_material_helpers import create_settings_group
    blenders = create_settings_group("Blender's")
    expected = {item.name: item.default_value for item in blenders.interface.items_tree}
    made = {item.name: item.default_value for item in old.interface.items_tree}
    assert expected.items() <= made.items()
    bpy.data.node_groups.remove(blenders)
    exported(tmp_path / "cube.glb")
    assert bpy.ops.import_scene.gltf(filepath=str(tmp_path / "cube.glb")) == {"FINISHED"}
    again = bpy.context.object
    assert again != cube
    assert any(node.bl_idname == "ShaderNodeGroup" for node in again.active_material.node_tree.nodes)
