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


def names(addon) -> list[str]:
    return [item[0] for item in addon.settings.properties.device_items(bpy.context.scene.pbrfit, None)]


def test_the_menu_has_every_resolution_and_follows_the_number(addon) -> None:
    settings = bpy.context.scene.pbrfit
    sizes = [int(item.identifier) for item in settings.bl_rna.properties["resolution_choice"].enum_items]
    assert sizes == [2**power for power in range(4, 14)]
    settings.resolution_choice = "2048"
    assert settings.resolution == 2048
    settings.resolution = 500  # rounded
    assert (settings.resolution, settings.resolution_choice) == (512, "512")


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
