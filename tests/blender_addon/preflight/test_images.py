"""Only an image that is rendered can stop a fit, and only by a file that Cycles would read."""

from __future__ import annotations

import os

import numpy as np
import pytest
from support.blender.preflight_findings import full, with_text
from support.blender.scenes import paint, ready_cube, show_image

bpy = pytest.importorskip("bpy")


def gone(folder, name: str = "gone"):
    """An image whose file does not exist."""
    image = bpy.data.images.new(name, 4, 4)
    image.source, image.filepath = "FILE", str(folder / f"{name}.png")
    return image


def write(path, value: float = 0.5) -> None:
    image = bpy.data.images.new("written", 4, 4)
    image.pixels.foreach_set(np.tile(np.array([value, 0.0, 0.0, 1.0], np.float32), 16))
    image.filepath_raw, image.file_format = str(path), "PNG"
    image.save()
    bpy.data.images.remove(image)


def tiled(folder, pattern: str, present: tuple[int, ...], tiles: tuple[int, ...], names: dict[int, str]):
    """A tiled image, some of whose files exist."""
    for number in present:
        write(folder / names[number])
    first = folder / names[present[0]]
    image = bpy.data.images.load(str(first))
    image.source, image.filepath = "TILED", str(folder / pattern)
    for number in tiles:
        if number not in {tile.number for tile in image.tiles}:
            image.tiles.new(number)
    return image


def move_face(cube, face: int, x: float, y: float) -> None:
    """Move a face's UVs by whole tiles."""
    from mathutils import Vector

    for corner in cube.data.polygons[face].loop_indices:
        cube.data.uv_layers.active.uv[corner].vector += Vector((x, y))


def test_a_missing_image_that_is_shown(addon, tmp_path) -> None:
    show_image(ready_cube().active_material, gone(tmp_path))
    assert with_text(full(addon), 'The image "gone" of the material "Paint" has no file').level == "ERROR"


def test_an_image_without_a_path(addon, tmp_path) -> None:
    image = gone(tmp_path)
    image.filepath = ""
    show_image(ready_cube().active_material, image)
    assert "has no file: its path is empty." in with_text(full(addon), "has no file").cause


def test_a_node_that_is_linked_to_nothing(addon, tmp_path) -> None:
    tree = ready_cube().active_material.node_tree
    tree.nodes.new("ShaderNodeTexImage").image = gone(tmp_path)
    bpy.context.scene.world.node_tree.nodes.new("ShaderNodeTexEnvironment").image = gone(tmp_path, "sky")
    assert full(addon) == []


def test_a_muted_node(addon, tmp_path) -> None:
    show_image(ready_cube().active_material, gone(tmp_path)).mute = True
    assert full(addon) == []


def test_a_node_that_only_eevee_shows(addon, tmp_path) -> None:
    material = ready_cube().active_material
    tree = material.node_tree
    shown = tree.nodes["Principled BSDF"]
    for node in tree.nodes:
        if node.bl_idname == "ShaderNodeOutputMaterial":
            node.target = "EEVEE"
    show_image(material, gone(tmp_path))
    output, other = tree.nodes.new("ShaderNodeOutputMaterial"), tree.nodes.new("ShaderNodeBsdfDiffuse")
    output.target = "CYCLES"
    tree.links.new(other.outputs[0], output.inputs["Surface"])
    assert shown.outputs[0].is_linked
    assert full(addon) == []


def test_a_slot_that_no_face_uses(addon, tmp_path) -> None:
    cube = ready_cube()
    show_image(paint(cube, "Unused"), gone(tmp_path))
    assert full(addon) == []
    cube.data.polygons[0].material_index = 1
    with_text(full(addon), 'The image "gone" of the material "Unused" has no file')


def test_changes_of_an_image_that_is_not_shown(addon) -> None:
    image = bpy.data.images.new("Sketch", 4, 4)
    ready_cube().active_material.node_tree.nodes.new("ShaderNodeTexImage").image = image
    image.pixels[0] = 0.5
    assert image.is_dirty
    assert full(addon) == []


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("wood.<UDIM>.png", {1001: "wood.1001.png", 1002: "wood.1002.png", 1012: "wood.1012.png"}),
        ("wood_<UVTILE>.png", {1001: "wood_u1_v1.png", 1002: "wood_u2_v1.png", 1012: "wood_u2_v2.png"}),
    ],
)
def test_tiles(addon, tmp_path, pattern, names) -> None:
    cube = ready_cube()
    node = show_image(cube.active_material, tiled(tmp_path, pattern, (1001, 1002), (1002, 1012), names))
    move_face(cube, 0, 1.0, 0.0)
    assert full(addon) == []  # no face is in tile 1012
    move_face(cube, 1, 1.0, 1.0)
    assert names[1012] in with_text(full(addon), "has no file").cause
    # From here on the check cannot tell which tiles the faces read.
    mapping, tree = cube.active_material.node_tree.nodes.new("ShaderNodeMapping"), cube.active_material.node_tree
    move_face(cube, 1, -1.0, -1.0)
    assert full(addon) == []
    tree.links.new(mapping.outputs[0], node.inputs["Vector"])
    assert names[1012] in with_text(full(addon), "has no file").cause


def test_a_face_over_two_tiles(addon, tmp_path) -> None:
    cube = ready_cube()
    names = {1001: "wood.1001.png", 1002: "wood.1002.png"}
    show_image(cube.active_material, tiled(tmp_path, "wood.<UDIM>.png", (1001,), (1002,), names))
    move_face(cube, 0, 1.0 - cube.data.uv_layers.active.uv[0].vector.x, 0.0)
    move_face(cube, 0, -0.1, 0.0)
    assert "wood.1002.png" in with_text(full(addon), "has no file").cause


def test_tiles_by_another_uv_map(addon, tmp_path) -> None:
    cube = ready_cube()
    names = {1001: "wood.1001.png", 1002: "wood.1002.png"}
    node = show_image(cube.active_material, tiled(tmp_path, "wood.<UDIM>.png", (1001,), (1002,), names))
    tree = cube.active_material.node_tree
    second = cube.data.uv_layers.new(name="Second")
    move = np.array([1.0, 0.0], np.float32)
    values = np.empty(len(cube.data.loops) * 2, np.float32)
    second.uv.foreach_get("vector", values)
    second.uv.foreach_set("vector", (values.reshape(-1, 2) + move).ravel())
    assert full(addon) == []
    uv_map = tree.nodes.new("ShaderNodeUVMap")
    uv_map.uv_map = "Second"
    tree.links.new(uv_map.outputs[0], node.inputs["Vector"])
    with_text(full(addon), "has no file")
    uv_map.uv_map = "UVMap"
    assert full(addon) == []


def test_packed_tiles(addon, tmp_path) -> None:
    cube = ready_cube()
    names = {1001: "wood.1001.png", 1002: "wood.1002.png"}
    image = tiled(tmp_path, "wood.<UDIM>.png", (1001, 1002), (1002,), names)
    show_image(cube.active_material, image)
    move_face(cube, 0, 1.0, 0.0)
    image.pack()
    for name in names.values():
        os.remove(tmp_path / name)
    assert full(addon) == []
    image.tiles.new(1003)
    move_face(cube, 0, 1.0, 0.0)
    assert "wood.1003.png" in with_text(full(addon), "has no file").cause


@pytest.fixture
def sequence(addon, tmp_path):
    """A cube that shows a sequence of three files, 0010 to 0012, with red 0.10 to 0.12; returns its node."""
    for number in (10, 11, 12):
        write(tmp_path / f"seq_{number:04d}.png", number / 100.0)
    node = show_image(ready_cube().active_material, bpy.data.images.load(str(tmp_path / "seq_0010.png")))
    node.image.source = "SEQUENCE"
    node.image.filepath = str(tmp_path / "seq_0001.png")
    node.image_user.frame_start, node.image_user.frame_offset, node.image_user.frame_duration = 1, 9, 3
    return node


def test_a_sequence_needs_the_file_of_its_frame(addon, sequence, tmp_path) -> None:
    for frame in (1, 3, 100):
        bpy.context.scene.frame_set(frame)
        assert full(addon) == []
    os.remove(tmp_path / "seq_0011.png")
    assert full(addon) == []
    bpy.context.scene.frame_set(2)
    assert "seq_0011.png does not exist" in with_text(full(addon), "has no file").cause


@pytest.mark.parametrize(
    ("values", "frame", "number"),
    [
        ((1, 9, 3, False), 1, 10),
        ((1, 9, 3, False), 9, 12),
        ((3, 9, 3, False), 1, 9),  # before its start: the file before the first one
        ((3, 10, 2, True), 1, 11),
        ((3, 10, 2, True), 4, 12),
        ((5, 8, 4, False), 7, 11),
    ],
)
def test_the_file_of_a_sequence_is_the_one_that_cycles_reads(addon, sequence, tmp_path, values, frame, number) -> None:
    user, scene = sequence.image_user, bpy.context.scene
    user.frame_start, user.frame_offset, user.frame_duration, user.use_cyclic = values
    write(tmp_path / "seq_0009.png", 0.09)
    scene.frame_set(frame)
    assert addon.preflight.images.sequence_frame(user, frame) == number
    assert rendered_red(scene, sequence, tmp_path) == pytest.approx(number / 100.0, abs=0.006)


def rendered_red(scene, node, folder) -> float:
    """The red of an image as Cycles shows it, in sRGB."""
    tree = node.id_data
    shader = tree.nodes.new("ShaderNodeEmission")
    tree.links.new(node.outputs["Color"], shader.inputs["Color"])
    output = next(item for item in tree.nodes if item.bl_idname == "ShaderNodeOutputMaterial")
    tree.links.new(shader.outputs[0], output.inputs["Surface"])
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    camera.location.z = 4.0
    scene.collection.objects.link(camera)
    scene.camera, scene.render.engine, scene.cycles.samples = camera, "CYCLES", 1
    scene.cycles.use_denoising, scene.view_settings.view_transform = False, "Standard"
    scene.render.resolution_x = scene.render.resolution_y = 8
    scene.render.filepath = str(folder / "render.png")
    bpy.ops.render.render(write_still=True)
    return float(np.array(bpy.data.images.load(scene.render.filepath).pixels[:]).reshape(8, 8, 4)[4, 4, 0])


@pytest.mark.parametrize(
    ("path", "file"),
    [
        ("/a/seq_0001.png", "/a/seq_0042.png"),
        ("/a7/take2_v03.0001.exr", "/a7/take2_v03.0042.exr"),
        ("/a/1shot.png", "/a/42shot.png"),
        ("/a/plain.png", "/a/plain42.png"),
    ],
)
def test_names_in_a_sequence(addon, path, file) -> None:
    assert addon.preflight.images.sequence_file(path, 42) == file
