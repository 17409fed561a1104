"""What Cycles is to render with: from the artist's preferences, which stay as they are, and after a GPU has failed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

bpy = pytest.importorskip("bpy")

GPU, OTHER_GPU = "OPTIX_GPU_0", "OPTIX_GPU_1"


def entry(kind: str, identity: str, use: bool) -> SimpleNamespace:
    return SimpleNamespace(type=kind, id=identity, name=identity, use=use)


def preferences(kind: str, *devices: SimpleNamespace) -> Any:
    """The part of Blender's preferences that says what is set up."""
    cycles = SimpleNamespace(compute_device_type=kind, devices=list(devices))
    return SimpleNamespace(addons={"cycles": SimpleNamespace(preferences=cycles)})


@pytest.fixture
def render_devices(addon) -> Any:
    return addon.common.render_devices


def test_json_round_trip(render_devices):
    wanted = render_devices.WantedDevices("OPTIX", (GPU, "CPU"))
    assert render_devices.WantedDevices.from_json(wanted.to_json()) == wanted
    for note in ("", "It is not there."):
        used = render_devices.DeviceUsed("A GPU (OptiX)", True, note)
        assert render_devices.DeviceUsed.from_json(used.to_json()) == used


@pytest.mark.parametrize(
    ("set_up", "wanted"),
    [
        (preferences("NONE"), ("AUTO", ())),
        (preferences(""), ("AUTO", ())),
        (preferences("OPTIX"), ("OPTIX", ())),
        (preferences("OPTIX", entry("CUDA", "CUDA_GPU", True)), ("OPTIX", ())),
        (preferences("OPTIX", entry("OPTIX", GPU, True), entry("CPU", "CPU", False)), ("OPTIX", (GPU,))),
        (preferences("OPTIX", entry("CPU", "CPU", True), entry("OPTIX", GPU, True)), ("OPTIX", (GPU, "CPU"))),
        (preferences("OPTIX", entry("OPTIX", GPU, False), entry("OPTIX", OTHER_GPU, True)), ("OPTIX", (OTHER_GPU,))),
        (preferences("OPTIX", entry("OPTIX", GPU, False), entry("CPU", "CPU", True)), ("CPU", ())),
        (SimpleNamespace(addons={}), ("CPU", ())),
    ],
)
def test_what_the_artist_has_set_up_is_wanted(render_devices, set_up, wanted):
    assert render_devices.wanted_devices(set_up, "AUTO") == render_devices.WantedDevices(*wanted)
    assert render_devices.wanted_devices(set_up, "CPU") == render_devices.WantedDevices("CPU")


def test_asking_changes_no_preferences(render_devices):
    cycles = bpy.context.preferences.addons["cycles"].preferences
    cycles.compute_device_type = "OPTIX" if "OPTIX" in kinds(cycles) else "NONE"
    before = cycles.compute_device_type, [(device.id, device.use) for device in cycles.devices]
    render_devices.wanted_devices(bpy.context.preferences, "AUTO")
    assert (cycles.compute_device_type, [(device.id, device.use) for device in cycles.devices]) == before


def kinds(cycles: Any) -> list[str]:
    return [item[0] for item in cycles.get_device_types(bpy.context)]


def died(addon: Any, cause: str = "Out of memory.") -> Any:
    return addon.common.second_blender.BlenderDied(cause, "Press F12.")


def test_a_gpu_that_failed_is_said_once_and_left_alone(addon, render_devices):
    device = render_devices.RenderDevice(render_devices.WantedDevices("OPTIX", (GPU,)))
    assert device.take(render_devices.DeviceUsed("A GPU (OptiX)", True)) == ()
    (note,) = device.gave_up(died(addon, "It ended with status -6. Its last words:\nlong\n"))
    assert note == "Cycles failed with A GPU (OptiX), so it went on with the CPU: It ended with status -6."
    assert device.wanted == render_devices.WantedDevices("CPU")
    assert device.take(render_devices.DeviceUsed("A Processor (CPU)", False)) == ()
    assert device.name == "A Processor (CPU)"
    assert device.gave_up(died(addon)) == ()


def test_a_death_in_the_search_for_gpus_ends_the_search(addon, render_devices):
    device = render_devices.RenderDevice(render_devices.WantedDevices("AUTO"))
    assert len(device.gave_up(died(addon))) == 1
    assert device.wanted.kind == "CPU"


def test_a_death_without_a_gpu_is_no_fault_of_one(addon, render_devices):
    device = render_devices.RenderDevice(render_devices.WantedDevices("AUTO"))
    device.take(render_devices.DeviceUsed("A Processor (CPU)", False))
    assert device.gave_up(died(addon)) == ()
    assert device.wanted.kind == "AUTO"


def test_what_is_not_there_is_said_once(render_devices):
    device = render_devices.RenderDevice(render_devices.WantedDevices("OPTIX"))
    used = render_devices.DeviceUsed("A Processor (CPU)", False, "It is not there.")
    assert device.take(used) == ("It is not there.",)
    assert device.take(used) == ()


def test_script_nodes_need_the_cpu(render_devices):
    scene = bpy.context.scene
    scene.cycles.shading_system = True
    lines: list[dict[str, Any]] = []
    plan = {"devices": render_devices.WantedDevices("OPTIX", (GPU,)).to_json()}
    assert not render_devices.use_devices(scene, plan, lines.append)
    (line,) = lines
    assert line["device"].endswith("(CPU)")
    assert "Open Shading Language" in line["note"]


def test_without_a_wish_nothing_is_said(render_devices):
    lines: list[dict[str, Any]] = []
    assert not render_devices.use_devices(bpy.context.scene, {}, lines.append)
    assert lines == []


def test_nobody_waits_for_ever_for_a_gpu(addon, render_devices, monkeypatch) -> None:
    device = render_devices.RenderDevice(render_devices.WantedDevices("AUTO"))
    assert device.stuck() is None  # no process has said anything yet
    device.take(render_devices.DeviceUsed("A card (OptiX)", on_gpu=True))
    assert device.stuck() is None
    monkeypatch.setattr(render_devices, "PATIENCE_SECONDS", 0.0)
    error = device.stuck()
    assert "rendered nothing" in error.cause
    (note,) = device.gave_up(error)
    assert "A card (OptiX)" in note
    assert device.wanted.kind == "CPU"
    device.take(render_devices.DeviceUsed("A processor (CPU)", on_gpu=False))
    assert device.stuck() is None


def test_a_gpu_that_has_rendered_may_take_its_time(addon, render_devices, monkeypatch) -> None:
    monkeypatch.setattr(render_devices, "PATIENCE_SECONDS", 0.0)
    device = render_devices.RenderDevice(render_devices.WantedDevices("AUTO"))
    device.take(render_devices.DeviceUsed("A card (CUDA)", on_gpu=True))
    device.works()
    assert device.stuck() is None
    device.take(render_devices.DeviceUsed("A card (CUDA)", on_gpu=True))  # the next process
    assert device.stuck() is None
