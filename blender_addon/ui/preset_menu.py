# SPDX-License-Identifier: GPL-3.0-or-later
"""The menu of presets: those of PBRfit, and the artist's own, which Blender keeps as its other presets."""

from __future__ import annotations

import ast
from functools import lru_cache
from pathlib import Path
from typing import Any

import bpy
from bl_operators.presets import AddPresetBase
from bpy.props import EnumProperty

from ..session import session
from ..settings import presets
from ..settings.properties import DERIVED, PBRFIT_FitSettings, scene_values
from ..translations.translate import tr_tip

FOLDER = "pbrfit"
SETTINGS = "settings"


def setting_names() -> list[str]:
    """The names of all settings, except what follows from the others, also of the classes that have a part of them."""
    names = (name for kind in PBRFIT_FitSettings.__mro__ for name in getattr(kind, "__annotations__", {}))
    return [name for name in dict.fromkeys(names) if name not in DERIVED]


@lru_cache(maxsize=64)
def values_in(path: str, _written: int) -> dict[str, Any]:
    """The settings that a preset file sets, by name; lines of another form are left out. _written: when, in nanoseconds."""
    found: dict[str, Any] = {}
    for line in Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition(" = ")
        if name.startswith(f"{SETTINGS}."):
            try:
                found[name.removeprefix(f"{SETTINGS}.")] = ast.literal_eval(value)
            except (ValueError, SyntaxError):
                continue
    return found


def own_presets() -> dict[str, dict[str, Any]]:
    """The artist's own presets: the settings of each by its name."""
    files = [path for folder in bpy.utils.preset_paths(FOLDER) for path in sorted(Path(folder).glob("*.py"))]
    return {
        bpy.path.display_name(path.name, title_case=False): values_in(str(path), path.stat().st_mtime_ns)
        for path in files
    }


def own_name(settings: PBRFIT_FitSettings) -> str:
    """The name of the own preset that the settings are those of, or empty."""
    now = scene_values(settings)
    for name, values in own_presets().items():
        if values and all(now.get(key) == value for key, value in values.items()):
            return name
    return ""


def shown_name(settings: PBRFIT_FitSettings) -> str:
    """What the menu shows: a preset of one's own or of PBRfit, or that the settings are those of none."""
    number = presets.shown(settings)
    built_in = presets.PRESETS[number].label if number < len(presets.PRESETS) else ""
    return own_name(settings) or built_in or presets.CUSTOM[1]


def draw_presets(context: bpy.types.Context, layout: bpy.types.UILayout) -> None:
    """The menu with what is shown, and the buttons to add and to remove a preset of one's own."""
    settings = context.scene.pbrfit
    row = layout.row(align=True)
    row.enabled = not session.running()
    row.menu(PBRFIT_MT_presets.bl_idname, text=shown_name(settings), translate=not own_name(settings))
    row.operator("pbrfit.add_preset", text="", icon="ADD")
    own = own_name(settings)
    if own:
        button = row.operator("pbrfit.add_preset", text="", icon="REMOVE")
        button.name, button.remove_name = own, True


class PBRFIT_MT_presets(bpy.types.Menu):
    """Settings that go together: PBRfit's own, and yours"""

    bl_idname = "PBRFIT_MT_presets"
    bl_label = "Presets"
    preset_subdir = FOLDER
    preset_operator = "script.execute_preset"

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the presets."""
        for preset in presets.PRESETS:
            self.layout.operator("pbrfit.use_preset", text=preset.label).preset = preset.identifier
        if own_presets():
            self.layout.separator()
            self.draw_preset(context)


class PBRFIT_OT_use_preset(bpy.types.Operator):
    """Set views, samples, resolution, quality and corrections together"""

    bl_idname = "pbrfit.use_preset"
    bl_label = "Use Preset"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    preset: EnumProperty(
        name="Preset", description="Which one", items=[(item[0], item[1], item[2]) for item in presets.PRESETS]
    )

    @classmethod
    def description(cls, _context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        """What the preset is for."""
        return tr_tip(next(item.description for item in presets.PRESETS if item.identifier == properties.preset))

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Set them."""
        context.scene.pbrfit.preset = self.preset
        return {"FINISHED"}


class PBRFIT_OT_add_preset(AddPresetBase, bpy.types.Operator):
    """Keep all settings of this tab as a preset of your own, for every file"""

    bl_idname = "pbrfit.add_preset"
    bl_label = "Add PBRfit Preset"
    preset_menu = "PBRFIT_MT_presets"
    preset_subdir = FOLDER
    preset_defines = [f"{SETTINGS} = bpy.context.scene.pbrfit"]
    preset_values = [f"{SETTINGS}.{name}" for name in setting_names()]

    @classmethod
    def description(cls, _context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        """What it does: it adds, or removes."""
        return tr_tip(f'Remove your preset "{properties.name}"' if properties.remove_name else str(cls.__doc__))


CLASSES = (PBRFIT_MT_presets, PBRFIT_OT_use_preset, PBRFIT_OT_add_preset)


def register() -> None:
    """Register the menu and its operators."""
    for item in CLASSES:
        bpy.utils.register_class(item)


def unregister() -> None:
    """Unregister them."""
    for item in reversed(CLASSES):
        bpy.utils.unregister_class(item)
