# SPDX-License-Identifier: GPL-3.0-or-later
"""Which devices Cycles renders with: those that the artist has set up, a GPU that is found without a question, or the CPU.

The artist's Blender only says what is wanted, from its preferences as they are; they never change. The second Blender,
which does not know these preferences, looks for the devices: that can take seconds, and some drivers end the process.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import bpy

from .errors import first_line
from .second_blender import BlenderDied

AUTO, CPU = "AUTO", "CPU"
NAMES = {"CUDA": "CUDA", "HIP": "HIP", "METAL": "Metal", "ONEAPI": "oneAPI", "OPTIX": "OptiX"}
"""What Cycles computes on GPUs with, as Blender's preferences call it. Those with kernels that Blender ships for most GPUs come
first: OptiX always compiles its own the first time."""
PATIENCE_SECONDS = 150.0


@dataclass(frozen=True)
class WantedDevices:
    """What to render with.

    kind: a key of NAMES, CPU, or AUTO: what is found, and else the CPU. ids: of the devices, as Cycles calls them, perhaps
    that of the CPU besides; none: the first one of the kind, since views are small and more devices would only wait.
    """

    kind: str = CPU
    ids: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {"kind": self.kind, "ids": list(self.ids)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> WantedDevices:
        """What `to_json` gave."""
        return cls(values["kind"], tuple(values["ids"]))


@dataclass(frozen=True)
class DeviceUsed:
    """What a second Blender renders with. name: for people; note: why it is not what was wanted, a sentence or empty."""

    name: str
    on_gpu: bool
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """As the line that says so."""
        return {"device": self.name, "on_gpu": self.on_gpu} | ({"note": self.note} if self.note else {})

    @classmethod
    def from_json(cls, line: dict[str, Any]) -> DeviceUsed:
        """What a line says."""
        return cls(line["device"], line["on_gpu"], line.get("note", ""))


# In the artist's Blender -------------------------------------------------------------------------------------------


def wanted_devices(preferences: bpy.types.Preferences, choice: str) -> WantedDevices:
    """What the artist has set up under Cycles Render Devices. Looks for no device, so that it takes no time.

    choice: AUTO or CPU. With None as the kind of device there, which is the default, a GPU is looked for all the same.
    """
    cycles = cycles_preferences(preferences)
    if choice == CPU or cycles is None:
        return WantedDevices(CPU)
    kind = cycles.compute_device_type
    if kind not in NAMES:
        return WantedDevices(AUTO)
    # Blender lists the devices the first time that somebody looks at its preferences; before, all are wanted.
    listed = [device for device in cycles.devices if device.type == kind]
    used = [device.id for device in listed if device.use]
    if listed and not used:
        return WantedDevices(CPU)
    beside = [device.id for device in cycles.devices if device.type == CPU and device.use] if used else []
    return WantedDevices(kind, (*used, *beside))


class RenderDevice:
    """What all second Blenders of a session render with. A GPU that fails is left alone from then on.

    wanted: by the next process; name: of what the last one used, empty while it is not known.
    """

    def __init__(self, wanted: WantedDevices | None = None) -> None:
        self.wanted = wanted if wanted is not None else WantedDevices()
        self.name = ""
        self._on_gpu = self.wanted.kind != CPU
        self._began: float | None = None
        self._works = False
        self._said: set[str] = set()

    def take(self, used: DeviceUsed) -> tuple[str, ...]:
        """Keep what a process says; returns what the artist should know, once."""
        self.name, self._on_gpu = used.name, used.on_gpu
        if not self._works:
            self._began = time.monotonic()
        new = {used.note} - self._said - {""}
        self._said |= new
        return tuple(new)

    def works(self) -> None:
        """A render has finished with it."""
        self._works, self._began = True, None

    def stuck(self) -> BlenderDied | None:
        """What to say if a process has rendered nothing with a GPU for so long that nobody should wait: its kernels may have to
        be compiled first, which took over five minutes for one GPU (H100, OptiX, Blender 4.5)."""
        if not self._on_gpu or self._began is None or time.monotonic() - self._began < PATIENCE_SECONDS:
            return None
        self._began = None
        return BlenderDied(
            f"It rendered nothing in {PATIENCE_SECONDS:.0f} s.",
            "Render once with this device in Blender, so that its kernels are compiled, or choose the CPU in Render With.",
        )

    def gave_up(self, error: BlenderDied) -> tuple[str, ...]:
        """A process has died. If that may be the fault of a GPU, the next one uses the CPU; returns what to say about it."""
        if self.wanted.kind == CPU or not self._on_gpu:
            return ()
        where = self.name or "a GPU that it looked for"
        self.wanted, self._on_gpu, self.name = WantedDevices(CPU), False, ""
        reason = first_line(error.cause)
        return (f"Cycles failed with {where}, so it went on with the CPU: {reason}",)


# In the second Blender ---------------------------------------------------------------------------------------------


def use_devices(scene: bpy.types.Scene, plan: dict[str, Any], report: Callable[[dict[str, Any]], None]) -> bool:
    """Set this Blender's preferences to what a plan wants for a scene, and report what that is; without a wish, the CPU.

    Returns whether Cycles is to render on a GPU.
    """
    if "devices" not in plan:
        return False
    used = _use(scene, WantedDevices.from_json(plan["devices"]))
    report(used.to_json())
    return used.on_gpu


def _use(scene: bpy.types.Scene, wanted: WantedDevices) -> DeviceUsed:
    cycles = cycles_preferences(bpy.context.preferences)
    if cycles is None or wanted.kind == CPU:
        return _cpu()
    if scene.cycles.shading_system:
        note = "The scene uses Open Shading Language, so Cycles rendered on the CPU."
        return _cpu(note if wanted.kind != AUTO else "")
    for kind in NAMES if wanted.kind == AUTO else (wanted.kind,):
        name = _choose(cycles, kind, wanted.ids)
        if name:
            return DeviceUsed(name, on_gpu=True)
    if wanted.kind == AUTO:
        return _cpu()
    return _cpu(f"Cycles does not find the {NAMES[wanted.kind]} device that is set up, so it rendered on the CPU.")


def _choose(cycles: Any, kind: str, ids: tuple[str, ...]) -> str:
    """Let Cycles use devices of a kind; returns their names, or nothing if there are none."""
    try:
        cycles.compute_device_type = kind
    except TypeError:  # not on this system
        return ""
    found = [device for device in cycles.get_device_list(kind) if device[1] == kind]
    chosen = [device for device in found if device[2] in ids] if ids else found[:1]
    if not chosen:
        return ""
    wanted = {device[2] for device in chosen} | set(ids)
    for entry in cycles.devices:
        entry.use = entry.type in (kind, CPU) and entry.id in wanted
    return f"{' and '.join(device[0] for device in chosen)} ({NAMES[kind]})"


def _cpu(note: str = "") -> DeviceUsed:
    cycles = cycles_preferences(bpy.context.preferences)
    found = cycles.get_device_list(CPU) if cycles is not None else ()
    names = [device[0] for device in found if device[1] == CPU]
    return DeviceUsed(f"{names[0]} (CPU)" if names else CPU, on_gpu=False, note=note)


def cycles_preferences(preferences: bpy.types.Preferences) -> Any:
    """The preferences of Cycles; None where it is switched off."""
    addon = preferences.addons.get("cycles")
    return addon.preferences if addon is not None else None
