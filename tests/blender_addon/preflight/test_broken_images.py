"""An image that Cycles would show magenta stops a fit: its file is no image, or its node has none."""

from __future__ import annotations

import numpy as np
import pytest
from support.blender.preflight_findings import full, quick, with_text
from support.blender.scenes import ready_cube, show_image

bpy = pytest.importorskip("bpy")


def written(path, kind: str = "PNG"):
    """A noisy image, saved to a file; another image with that file, which is not loaded yet."""
    made = bpy.data.images.new("made", 16, 16, float_buffer=kind == "OPEN_EXR")
    made.pixels.foreach_set(np.random.default_rng(0).random(16 * 16 * 4).astype(np.float32))
    made.filepath_raw, made.file_format = str(path), kind
    made.save()
    bpy.data.images.remove(made)
    return bpy.data.images.load(str(path))


def cut(path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


@pytest.mark.parametrize(
    ("name", "kind", "spoil", "words"),
    [
        ("wood.png", "PNG", lambda path: path.write_bytes(b""), "is empty"),
        (
            "wood.png",
            "PNG",
            lambda path: path.write_text("<html>404 not found</html>"),
            "is no image, or a damaged one",
        ),
        ("wood.png", "PNG", cut, "is no image, or a damaged one"),
        ("wood.exr", "OPEN_EXR", lambda path: path.write_text("version https://git-lfs"), "is no image, or a damaged"),
        ("wood.exr", "OPEN_EXR", cut, "is no image, or a damaged one"),
    ],
)
def test_a_file_that_is_no_image(addon, tmp_path, name, kind, spoil, words) -> None:
    path = tmp_path / name
    show_image(ready_cube().active_material, written(path, kind))
    good = path.read_bytes()
    spoil(path)
    assert quick(addon) == []  # which reads no files
    finding = with_text(full(addon), f'The image "{name}" of the material "Paint" cannot be read')
    assert (finding.level, f"{path} {words}" in finding.cause) == ("ERROR", True)
    path.write_bytes(good)
    assert full(addon) == []


def test_the_worlds_file_that_is_no_image(addon, tmp_path) -> None:
    ready_cube()
    path = tmp_path / "sky.exr"
    tree = bpy.context.scene.world.node_tree
    node = next(node for node in tree.nodes if node.bl_idname == "ShaderNodeTexEnvironment")
    node.image = written(path, "OPEN_EXR")
    path.write_text("version https://git-lfs")
    with_text(full(addon), 'The image "sky.exr" of the world "Forest" cannot be read')


def test_a_tile_that_is_no_image(addon, tmp_path) -> None:
    cube = ready_cube()
    for number in (1001, 1002):
        image = written(tmp_path / f"wood.{number}.png")
    image.source, image.filepath = "TILED", str(tmp_path / "wood.<UDIM>.png")
    tiles = {tile.number for tile in image.tiles}
    for number in {1001, 1002} - tiles:
        image.tiles.new(number)
    show_image(cube.active_material, image)
    assert full(addon) == []
    (tmp_path / "wood.1002.png").write_text("no image")
    assert full(addon) == []  # no face reads it
    for corner in cube.data.polygons[0].loop_indices:
        cube.data.uv_layers.active.uv[corner].vector.x += 1.0
    assert "wood.1002.png is no image" in with_text(full(addon), "cannot be read").cause


def test_a_packed_file_that_is_no_image(addon, tmp_path) -> None:
    node = show_image(ready_cube().active_material, written(tmp_path / "wood.png"))
    node.image.pack()
    (tmp_path / "wood.png").unlink()
    assert full(addon) == []
    node.image = bpy.data.images.new("spoilt", 4, 4)
    node.image.pack(data=b"no image at all", data_len=15)
    node.image.source = "FILE"
    assert "its packed file is no image" in with_text(full(addon), "cannot be read").cause


def test_layers_in_a_file_are_no_damage(addon, tmp_path) -> None:
    node = show_image(ready_cube().active_material, None)
    scene = bpy.context.scene
    settings = scene.render.image_settings
    if hasattr(settings, "media_type"):
        settings.media_type = "MULTI_LAYER_IMAGE"
    settings.file_format = "OPEN_EXR_MULTILAYER"
    scene.camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    scene.collection.objects.link(scene.camera)
    scene.render.engine, scene.cycles.samples, scene.render.resolution_percentage = "CYCLES", 1, 1
    scene.render.filepath = str(tmp_path / "layers.exr")
    bpy.ops.render.render(write_still=True)
    node.image = bpy.data.images.load(scene.render.filepath)
    assert full(addon) == []


@pytest.mark.parametrize("kind", ["ShaderNodeTexImage", "ShaderNodeTexEnvironment"])
def test_a_node_without_an_image(addon, kind) -> None:
    tree = ready_cube().active_material.node_tree
    node = tree.nodes.new(kind)
    assert full(addon) == []
    tree.links.new(node.outputs["Color"], tree.nodes["Principled BSDF"].inputs["Base Color"])
    finding = with_text(full(addon), f'The node "{node.name}" of the material "Paint" has no image')
    assert finding.level == "ERROR"


def test_the_alpha_of_no_image_is_one(addon) -> None:
    tree = ready_cube().active_material.node_tree
    node = tree.nodes.new("ShaderNodeTexImage")
    tree.links.new(node.outputs["Alpha"], tree.nodes["Principled BSDF"].inputs["Alpha"])
    assert full(addon) == []


def test_tiles_that_were_never_saved(addon) -> None:
    image = bpy.data.images.new("Sketch", 16, 16, tiled=True)
    show_image(ready_cube().active_material, image)
    assert with_text(full(addon), 'The tiles of the image "Sketch" of the material "Paint" were never saved').fix == ""
    image.pixels[0] = 0.5
    finding = with_text(full(addon), 'The image "Sketch" of the material "Paint" has changes that are not saved')
    assert (finding.level, finding.fix) == ("ERROR", "pbrfit.pack_images")
    assert bpy.ops.pbrfit.pack_images() == {"FINISHED"}
    assert full(addon) == []


def test_faces_in_a_tile_that_the_image_lacks(addon, tmp_path) -> None:
    cube = ready_cube()
    image = written(tmp_path / "wood.1001.png")
    image.source, image.filepath = "TILED", str(tmp_path / "wood.<UDIM>.png")
    show_image(cube.active_material, image)
    assert full(addon) == []
    for corner in cube.data.polygons[0].loop_indices:
        cube.data.uv_layers.active.uv[corner].vector.x += 2.0
    finding = with_text(full(addon), "Cycles shows them magenta")
    assert (finding.level, 'the UDIM tile 1003, which the image "wood.1001.png" of' in finding.cause) == (
        "WARNING",
        True,
    )
