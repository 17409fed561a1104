"""Settings that are shown as menus: the resolution, and the devices that are there."""

from __future__ import annotations

import pytest

bpy = pytest.importorskip("bpy")


@pytest.fixture
def devices(addon):
    module = addon.settings.devices
    module._told.clear()
    yield module
    module._told.clear()


EDGES = [2**power for power in range(4, 14)]


def sizes(addon) -> list[str]:
    return [item[1] for item in addon.settings.map_shape.size_items(bpy.context.scene.pbrfit, None)]


def names(addon) -> list[str]:
    return [item[0] for item in addon.settings.properties.device_items(bpy.context.scene.pbrfit, None)]


def test_the_menu_has_every_resolution_and_follows_the_number(addon) -> None:
    settings = bpy.context.scene.pbrfit
    assert sizes(addon) == [f"{edge} x {edge}" for edge in EDGES]
    items = addon.settings.map_shape.size_items(settings, None)
    assert {item[2] for item in items} == {""}  # a tooltip has what the menu says, and what the item says
    settings.resolution_choice = "2048"
    assert settings.resolution == 2048
    settings.resolution = 500  # rounded
    assert (settings.resolution, settings.resolution_choice) == (512, "512")


def test_the_menu_says_width_and_height_in_the_chosen_shape(addon) -> None:
    settings = bpy.context.scene.pbrfit
    settings.map_shape = "2:1"
    assert sizes(addon) == [f"{edge} x {edge // 2}" for edge in EDGES]
    settings.map_shape = "1:8"
    assert sizes(addon)[-1] == "1024 x 8192"
    settings.resolution_choice = "2048"  # the number stays that of the longer edge
    assert settings.resolution == 2048


@pytest.mark.parametrize(
    ("shape", "resolution", "size"),
    [("1:1", 512, (512, 512)), ("2:1", (512, 256), (256, 512)), ("1:8", (64, 512), (512, 64))],
)
def test_maps_have_the_chosen_shape(addon, shape, resolution, size) -> None:
    settings = bpy.context.scene.pbrfit
    settings.resolution, settings.map_shape = 512, shape
    fit = addon.settings.properties.fit_settings(settings)
    assert (fit.resolution, fit.map_size) == (resolution, size)
    module = addon.settings.map_shape
    assert (module.map_resolution(settings), module.texel_count(settings)) == (resolution, size[0] * size[1])


def test_every_shape_of_the_protocol_is_in_the_menu_and_is_allowed(addon) -> None:
    settings = bpy.context.scene.pbrfit
    shapes = [item.identifier for item in settings.bl_rna.properties["map_shape"].enum_items]
    assert tuple(shapes) == addon.protocol.map_shape.SHAPES
    for shape in shapes:
        settings.map_shape = shape
        assert addon.protocol.map_shape.edge_and_shape(addon.settings.map_shape.map_resolution(settings)) == (
            1024,
            shape,
        )


def test_a_shape_that_this_version_does_not_know_is_square(addon) -> None:
    """As a file of a later version may have: Blender then says that none is chosen."""
    settings = bpy.context.scene.pbrfit
    settings["map_shape"] = 77
    assert settings.map_shape == ""
    assert sizes(addon) == [f"{edge} x {edge}" for edge in EDGES]
    assert addon.settings.map_shape.map_resolution(settings) == settings.resolution


@pytest.mark.parametrize("work", ["FIT", "BAKE"])
def test_maps_that_would_be_too_narrow_are_refused_before_any_work(addon, work) -> None:
    bpy.ops.mesh.primitive_cube_add()
    settings = bpy.context.scene.pbrfit
    settings.resolution, settings.map_shape = 64, "8:1"

    def found() -> list:
        quick = addon.preflight.checks.quick_findings(bpy.context, work)
        return [item for item in quick if item.level == "ERROR" and "too narrow" in item.cause]

    (finding,) = found()
    assert "64 x 8" in finding.cause
    assert "at least 128" in finding.cure
    settings.resolution = 128
    assert found() == []


def test_devices_that_are_there(addon, devices) -> None:
    settings = bpy.context.scene.pbrfit
    assert names(addon) == ["auto", "cpu", "cuda"]  # nobody has told
    devices.note("", "")
    assert devices.has_gpu() is None
    devices.note("cuda", "NVIDIA H100")
    assert any("NVIDIA H100" in item[1] for item in devices.items("auto"))
    settings.device_choice = "cuda"
    assert (settings.device, settings.device_choice) == ("cuda", "cuda")
    devices.note("cpu", "CPU (x86_64, 2 threads)")
    assert devices.has_gpu() is False
    assert settings.device_choice == "cuda"  # what is chosen stays, also if it is not there
    settings.device_choice = "auto"
    assert names(addon) == ["auto", "cpu"]


def test_a_menu_of_one_device_is_not_shown(addon, devices) -> None:
    assert devices.is_choice("auto")
    devices.note("cpu", "")
    assert not devices.is_choice("auto")
    assert devices.is_choice("cuda:1")
    bpy.context.scene.pbrfit.device = "cuda:1"
    assert bpy.context.scene.pbrfit.device_choice == "cuda:1"


def test_menus_are_kept_in_no_record_and_no_file(addon) -> None:
    kept = addon.settings.properties.scene_values(bpy.context.scene.pbrfit)
    assert {"resolution", "device"} <= kept.keys()
    assert not kept.keys() & {"resolution_choice", "device_choice", "preset"}


def test_a_width_of_the_margin_counts_only_where_one_is_chosen(addon) -> None:
    settings = bpy.context.scene.pbrfit
    properties = addon.settings.properties
    settings.margin = 8
    assert properties.fit_settings(settings).margin is None
    settings.margin_type = "WIDTH"
    assert properties.fit_settings(settings).margin == properties.margin_of(settings) == 8
