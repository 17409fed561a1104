"""Save Maps in a layout: the button, its settings, its panel, and layouts of the artist's own."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from support.blender.assigning import assign, learned_light, png
from support.blender.drawn_panel import Context, Drawn, Layout, draw
from support.blender.scenes import ready_cube

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
    assert draw(files).names("property") == ["format", "bits", "dither"]
    output.format = "webp"
    assert draw(files).names("property") == ["format", "bits", "quality", "dither"]


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
