"""Save Maps in a layout: the button, its settings, its panel, and layouts of the artist's own."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from support.blender.assigning import assign, learned_light, of_sets, png
from support.blender.drawn_panel import Context, Drawn, Layout, draw
from support.blender.scenes import ready_cube

try:
    import resource
except ImportError:  # on Windows
    resource = None  # type: ignore[assignment]

bpy = pytest.importorskip("bpy")
ORM = np.random.default_rng(3).integers(0, 256, (8, 8, 3)).astype(np.uint8)
FILES = {"kd.png": png(np.full((8, 8, 3), (10, 200, 30), np.uint8)), "orm.png": png(ORM)}


@pytest.fixture
def output(addon):
    """The settings of Save Maps, with a fitted cube selected; the artist's own layouts are gone afterwards."""
    ready_cube()
    assign(addon, FILES)
    yield bpy.context.scene.pbrfit_output
    for path in addon.settings.output.own_layouts().values():
        path.unlink()


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_layout_in_the_folder_of_the_settings(addon, output, tmp_path) -> None:
    output.layout_choice = "unity-hdrp"
    output.folder = str(tmp_path / "maps")
    for _ in range(2):
        assert bpy.ops.pbrfit.save_maps() == {"FINISHED"}
    assert names(tmp_path / "maps") == [
        "Paint_BaseMap.png",
        "Paint_BaseMap_001.png",
        "Paint_MaskMap.png",
        "Paint_MaskMap_001.png",
    ]
    image = bpy.data.images.load(str(tmp_path / "maps" / "Paint_MaskMap.png"))
    image.colorspace_settings.name, image.alpha_mode = "Non-Color", "CHANNEL_PACKED"
    pixels = np.rint(np.array(image.pixels[:]).reshape(8, 8, 4)[::-1] * 255)
    np.testing.assert_array_equal(pixels[..., 0], ORM[..., 2])
    np.testing.assert_array_equal(pixels[..., 3], 255 - ORM[..., 1])


def test_the_file_browser_has_the_layout(addon, output) -> None:
    output.layout = "unity-hdrp"
    drawn = Drawn()
    addon.ui.operators_save.PBRFIT_OT_save_maps.draw(SimpleNamespace(layout=Layout(drawn)), Context())
    assert drawn.names("property") == ["layout_choice", "pattern"]
    output.layout = "AS_THEY_ARE"
    drawn = Drawn()
    addon.ui.operators_save.PBRFIT_OT_save_maps.draw(SimpleNamespace(layout=Layout(drawn)), Context())
    assert drawn.names("property") == ["layout_choice"]


def test_the_steps_wait_for_nothing_in_a_window(addon, output, tmp_path) -> None:
    """As the modal operator takes them: threads work meanwhile, and no file is there before all are ready."""
    output.layout = "gltf"
    layout = addon.settings.output.output_layout(output)
    steps = addon.ui.operators_save.saving_steps(bpy.context, tmp_path / "maps", layout, wait=False)
    said = ""
    while not said:
        assert not (tmp_path / "maps").exists()
        said = next(steps)
    assert said.startswith("Saved 2 maps in")
    assert len(names(tmp_path / "maps")) == 2


def test_numbers_without_a_map_are_said(addon, tmp_path) -> None:
    ready_cube()
    assign(addon, {"kd.png": FILES["kd.png"]})
    layout = addon.protocol.map_layouts.LAYOUTS["unreal"]
    (said,) = [text for text in addon.ui.operators_save.saving_steps(bpy.context, tmp_path, layout, wait=True) if text]
    assert said.endswith("Without a map: roughness 0.5; metallic 0")


def test_the_learned_light_is_saved_as_it_is(addon, tmp_path) -> None:
    ready_cube()
    light = {"environment.exr": learned_light(tmp_path / "light.exr")}
    assign(addon, FILES | light, world_scene_uid=bpy.context.scene.session_uid)
    bpy.context.scene.pbrfit_output.layout = "godot"
    bpy.ops.pbrfit.save_maps(directory=str(tmp_path / "maps"))
    assert names(tmp_path / "maps") == ["Cube_PBRfit_Environment.exr", "Paint_albedo.png", "Paint_orm.png"]


def test_what_is_refused_leaves_no_file(addon, output, tmp_path) -> None:
    output.layout, output.format, output.bits = "gltf", "jpeg", "16"
    with pytest.raises(RuntimeError, match="does not have 16 bits"):
        bpy.ops.pbrfit.save_maps(directory=str(tmp_path / "maps"))
    output.format, output.bits, output.pattern = "png", "0", "{material}"
    with pytest.raises(RuntimeError, match="all maps have the same name"):
        bpy.ops.pbrfit.save_maps(directory=str(tmp_path / "maps"))
    output.pattern = ""
    with pytest.raises(RuntimeError, match="No folder was chosen"):
        bpy.ops.pbrfit.save_maps()
    output.folder = "//maps"
    with pytest.raises(RuntimeError, match="not saved yet"):
        bpy.ops.pbrfit.save_maps()
    assert not (tmp_path / "maps").exists()


def test_a_layout_of_ones_own(addon, output, tmp_path) -> None:
    output.layout = "unreal"
    output.format, output.bits = "tiff", "16"
    assert bpy.ops.pbrfit.new_layout(name="Our Engine") == {"FINISHED"}
    assert (output.layout, output.format, output.bits) == ("Our_Engine", "LAYOUT", "0")
    text = bpy.data.texts["Our_Engine.toml"]
    assert 'map = "ORM"' in text.as_string()
    path = addon.settings.output.own_layouts()["Our_Engine"]
    path.write_text('pattern = "{map}"\n[[files]]\nmap = "Gloss"\ngray = "1 - roughness"\n')
    bpy.ops.pbrfit.save_maps(directory=str(tmp_path / "maps"))
    assert names(tmp_path / "maps") == ["Gloss.png"]
    with pytest.raises(RuntimeError, match='There is a layout "Our_Engine" already'):
        bpy.ops.pbrfit.new_layout(name="Our Engine")
    path.write_text("[[files]]\n")
    drawn = draw(addon.ui.output_panel.PBRFIT_PT_output)
    assert "a file has no name" in " ".join(drawn.lines)
    assert bpy.ops.pbrfit.remove_layout() == {"FINISHED"}
    assert not path.exists()
    assert output.layout == "AS_THEY_ARE"
    assert not bpy.ops.pbrfit.remove_layout.poll()


def test_a_layout_whose_file_is_gone_is_still_shown(addon, output) -> None:
    output.layout = "Theirs"
    assert output.layout_choice == "Theirs"
    with pytest.raises(RuntimeError, match='There is no layout "Theirs"'):
        bpy.ops.pbrfit.save_maps(directory="/nowhere")


def test_the_panel_shows_what_applies(addon, output) -> None:
    panel, files = addon.ui.output_panel.PBRFIT_PT_output, addon.ui.output_panel.PBRFIT_PT_output_files
    assert draw(panel).names("property") == ["layout_choice", "folder"]
    assert not files.poll(bpy.context)
    output.layout = "gltf"
    assert draw(panel).names("property") == ["layout_choice", "folder", "pattern"]
    assert draw(files).names("property") == ["format", "bits", "dither", "size"]
    output.format = "webp"
    assert draw(files).names("property") == ["format", "bits", "quality", "dither", "size"]


def test_formats_and_bits_are_those_of_the_layouts(addon) -> None:
    known = addon.protocol.map_layouts.FORMATS
    properties = addon.settings.output.PBRFIT_OutputSettings.bl_rna.properties
    assert {item.identifier for item in properties["format"].enum_items} == {"LAYOUT", *known}
    bits = {str(bits) for found in known.values() for bits in found.bits}
    assert {item.identifier for item in properties["bits"].enum_items} == {"0", *bits}


@pytest.mark.parametrize(("name", "suffix"), [("webp", "webp"), ("tiff", "tif")])
def test_other_formats_read_by_blender(addon, output, tmp_path, name, suffix) -> None:
    output.layout, output.format, output.quality = "godot", name, 100
    bpy.ops.pbrfit.save_maps(directory=str(tmp_path / "maps"))
    image = bpy.data.images.load(str(tmp_path / "maps" / f"Paint_orm.{suffix}"))
    image.colorspace_settings.name = "Non-Color"
    pixels = np.rint(np.array(image.pixels[:]).reshape(8, 8, 4)[::-1, :, :3] * 255)
    np.testing.assert_array_equal(pixels, ORM)


# What goes wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.skipif(resource is None, reason="a limit of the size of files is POSIX's")
@pytest.mark.parametrize("layout", ["gltf", "AS_THEY_ARE"])
def test_a_full_disk_leaves_no_half_of_a_set(addon, tmp_path, layout) -> None:
    ready_cube()
    noise = png(np.random.default_rng(4).integers(0, 256, (64, 64, 3)).astype(np.uint8))
    assign(addon, FILES | {"orm.png": noise})  # the second file, and the only one that is large
    bpy.context.scene.pbrfit_output.layout = layout
    (tmp_path / "mine.txt").write_text("mine")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        for folder in (tmp_path, tmp_path / "new" / "maps"):
            with pytest.raises(RuntimeError, match=r"PBRfit cannot write to .*: File too large"):
                bpy.ops.pbrfit.save_maps(directory=str(folder))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert names(tmp_path) == ["mine.txt"]


@pytest.mark.parametrize(
    ("layout", "pattern", "again"),
    [
        ("godot", "", "Paint_albedo_001.{tile}.png"),
        ("godot", "{map}_{tile}_x", "albedo_001_{tile}_x.png"),
        ("AS_THEY_ARE", "", "Paint_PBRfit_Base_Color_001.{tile}.png"),
    ],
)
def test_tiles_that_are_saved_again_stay_tiles(addon, tmp_path, layout, pattern, again) -> None:
    cube = ready_cube()
    for polygon in cube.data.polygons:
        for loop in polygon.loop_indices:
            cube.data.uv_layers[0].data[loop].uv = (0.5 + polygon.index % 2, 0.5)
    assign(addon, of_sets(FILES, 2))
    output = bpy.context.scene.pbrfit_output
    output.layout, output.pattern = layout, pattern
    bpy.ops.pbrfit.save_maps(directory=str(tmp_path))
    first = set(names(tmp_path))
    assert len(first) == 4
    next(tmp_path.glob("*1002*")).unlink()  # one tile of a map is gone: no other set's may take its place
    first = set(names(tmp_path))
    bpy.ops.pbrfit.save_maps(directory=str(tmp_path))
    assert {again.format(tile=tile) for tile in (1001, 1002)} <= set(names(tmp_path)) - first
    assert len(names(tmp_path)) == 7


def test_a_map_that_is_only_painted_is_saved(addon, output, tmp_path) -> None:
    """An image of the artist's own in place of a map: made in Blender, never saved, with and without strokes."""
    output.layout = "gltf"
    nodes = bpy.context.object.active_material.node_tree.nodes
    node = next(node for node in nodes if node.type == "TEX_IMAGE")
    node.image = image = bpy.data.images.new("Painted", 4, 4)
    if "save_copy" not in image.bl_rna.functions["save"].parameters:  # in Blender 4.2
        with pytest.raises(RuntimeError, match=r"changes that are not saved\. Pack it"):
            bpy.ops.pbrfit.save_maps(directory=str(tmp_path))
        return
    for value in (0.0, 1.0):
        if value:
            image.pixels.foreach_set(np.full(64, value, np.float32))
        bpy.ops.pbrfit.save_maps(directory=str(tmp_path / str(value)))
        found = bpy.data.images.load(str(tmp_path / str(value) / "Paint_baseColor.png"))
        assert set(found.pixels[:4]) == {value, 1.0}
        assert (image.source, image.filepath) == ("GENERATED", "")


def test_pixels_that_are_no_numbers_are_refused(addon, output, tmp_path) -> None:
    output.layout = "gltf"
    image = bpy.data.images.new("Broken", 4, 4, float_buffer=True, is_data=True)
    pixels = np.full(64, 0.5, np.float32)
    pixels[0] = np.nan
    image.pixels.foreach_set(pixels)
    image.filepath_raw, image.file_format = str(tmp_path / "broken.exr"), "OPEN_EXR"
    image.save()
    nodes = bpy.context.object.active_material.node_tree.nodes
    next(node for node in nodes if node.type == "TEX_IMAGE").image = image
    for format_name in ("png", "exr", "jpeg"):
        output.format = format_name
        with pytest.raises(RuntimeError, match=r"map baseColor has pixels that are no numbers \(NaN\)"):
            bpy.ops.pbrfit.save_maps(directory=str(tmp_path / "maps"))
    assert not (tmp_path / "maps").exists()


@pytest.mark.parametrize("record", [None, "5", '{"objects": 5, "set": []}'])
def test_a_material_whose_record_was_removed_or_changed_is_saved(addon, output, tmp_path, record) -> None:
    material = bpy.context.object.active_material
    if record is None:
        del material["pbrfit"]
    else:
        material["pbrfit"] = record
    output.layout = "gltf"
    bpy.ops.pbrfit.save_maps(directory=str(tmp_path))
    assert len(names(tmp_path)) == 2
    assert addon.ui.operators_verdict.lines_of(material)[0].startswith("Not Measured: ")


def test_names_of_layouts_that_cannot_be(addon, output) -> None:
    output.layout = "gltf"
    for name in ("AS_THEY_ARE", "GLTF", "Unreal"):
        with pytest.raises(RuntimeError, match="There is a layout"):
            bpy.ops.pbrfit.new_layout(name=name)
    assert bpy.ops.pbrfit.new_layout(name=300 * "ä") == {"FINISHED"}
    assert len(output.layout.encode()) <= 120
    own = addon.settings.output.own_folder()
    (own / "a folder.toml").mkdir()
    assert list(addon.settings.output.own_layouts()) == [output.layout]
    (own / "a folder.toml").rmdir()


def test_the_maps_of_a_linked_object_are_those_of_its_own_file(addon, tmp_path) -> None:
    """Their paths are relative to that file, and this one has other files of the same names beside it."""
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
        bpy.ops.wm.read_homefile(use_empty=True)
        ready_cube()
        bpy.ops.wm.save_as_mainfile(filepath=str(folder / "cube.blend"))
        level = 40 if folder == here else 200
        assign(addon, {"kd.png": png(np.full((4, 4, 3), level, np.uint8))}, image_storage="FILES")
        bpy.ops.wm.save_mainfile()
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.wm.save_as_mainfile(filepath=str(here / "scene.blend"))
    with bpy.data.libraries.load(str(there / "cube.blend"), link=True, relative=True) as (_, wanted):
        wanted.objects = ["Cube"]
    linked = wanted.objects[0]
    bpy.context.scene.collection.objects.link(linked)
    bpy.context.view_layer.update()
    linked.select_set(True)
    bpy.context.view_layer.objects.active = linked
    for layout in ("gltf", "AS_THEY_ARE"):
        bpy.context.scene.pbrfit_output.layout = layout
        bpy.ops.pbrfit.save_maps(directory=str(tmp_path / layout))
        (path,) = (tmp_path / layout).iterdir()
        found = bpy.data.images.load(str(path))
        assert round(found.pixels[0] * 255) == 200
