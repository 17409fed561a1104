# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict on fitted and baked materials: how it is drawn, its numbers under the mouse, and what one click does about it."""

from __future__ import annotations

from collections.abc import Iterator

import bpy
from bpy.props import EnumProperty, StringProperty

from ..assign import materials
from ..common.names import RECORD
from ..common.paragraphs import draw_text
from ..common.records import is_baked
from ..session.result_verdict import (
    FAIR,
    FAIR_DB,
    FIT_IT,
    GOOD,
    GOOD_DB,
    KEEP_BAKE,
    ORDER,
    POOR,
    REMEDIES,
    UNKNOWN,
    ResultVerdict,
    changed_settings,
    verdict_of_record,
)
from ..translations.translate import tr
from .operators_result import ResultOperator, fitted_targets, last_settings, start_again

ICONS = {GOOD: "STRIP_COLOR_04", FAIR: "STRIP_COLOR_03", POOR: "STRIP_COLOR_01", UNKNOWN: "QUESTION"}
MOST_MATERIALS = 4


def verdict_of(material: bpy.types.Material) -> ResultVerdict:
    """The verdict on a fitted or baked material, from the record that it keeps."""
    return verdict_of_record(str(material.get(RECORD, "")))


def judged(targets: list[bpy.types.Object]) -> list[tuple[bpy.types.Material, ResultVerdict]]:
    """The fitted materials of objects, shown or not, with their verdicts; the worst first."""
    found = dict.fromkeys(item for target in targets for item in materials.fitted_materials(target))
    verdicts = [(material, verdict_of(material)) for material in found]
    return sorted(verdicts, key=lambda pair: ORDER.index(pair[1].grade))


def draw_verdicts_of_results(context: bpy.types.Context, layout: bpy.types.UILayout) -> None:
    """A line for each fitted material of the selection; of the worst one the cause, and the remedy."""
    found = judged(fitted_targets(context))
    if not found:
        return
    column = layout.column(align=True)
    for material, verdict in found[:MOST_MATERIALS]:
        row = column.split(factor=0.4, align=True)
        row.alert = verdict.grade == POOR
        button = row.operator("pbrfit.show_verdict", text=verdict.label, icon=ICONS[verdict.grade])
        button.material = material.name_full
        row.label(text=material.name, translate=False)
    if len(found) > MOST_MATERIALS:
        column.label(text=tr(f"and {len(found) - MOST_MATERIALS} more materials"), icon="BLANK1")
    _, worst = found[0]
    draw_text(context, column, f"{tr(worst.cause)}.", "BLANK1")
    if worst.remedy:
        column.operator("pbrfit.remedy", text=REMEDIES[worst.remedy], icon="TOOL_SETTINGS").remedy = worst.remedy


def lines_of(material: bpy.types.Material) -> list[str]:
    """All that is known of how good a material is, one line each, the numbers included."""
    verdict = verdict_of(material)
    details = list(verdict.details)
    if any(" dB" in line for line in details):
        details.append(f"{GOOD_DB:.0f} dB and more is good, {FAIR_DB:.0f} is fair")
    return [f"{tr(verdict.label)}: {tr(verdict.cause)}.", *map(tr, details)]


def material_named(name: str) -> bpy.types.Material | None:
    """The fitted material with this full name."""
    return next((item for item in bpy.data.materials if item.name_full == name and RECORD in item), None)


class PBRFIT_OT_show_verdict(bpy.types.Operator):
    """How near this material is to the original, in numbers"""

    bl_idname = "pbrfit.show_verdict"
    bl_label = "Verdict"
    bl_options = {"INTERNAL"}

    material: StringProperty(name="Material", description="Which material", options={"HIDDEN", "SKIP_SAVE"})

    @classmethod
    def description(cls, _context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        """The numbers, under the mouse."""
        material = material_named(properties.material)
        return "\n".join(lines_of(material)) if material is not None else ""

    def execute(self, context: bpy.types.Context) -> set[str]:
        """The same as a pop-up, to read longer."""
        if not bpy.app.background:
            context.window_manager.popup_menu(self._draw, title=self.material)
        return {"FINISHED"}

    def _draw(self, menu: bpy.types.Menu, _context: bpy.types.Context) -> None:
        material = material_named(self.material)
        for line in lines_of(material) if material is not None else ():
            menu.layout.label(text=line, translate=False)


def remedy_items() -> Iterator[tuple[str, str, str]]:
    """The remedies as Blender's enum items."""
    for name, label in REMEDIES.items():
        yield name, label, "Start from the originals again, with the settings of the last time and this change"


class PBRFIT_OT_remedy(ResultOperator, bpy.types.Operator):
    """Do what the verdict proposes: start from the originals again, with the settings of the last time and one change"""

    bl_idname = "pbrfit.remedy"
    bl_label = "Remedy"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    remedy: EnumProperty(name="Remedy", description="What to change", items=list(remedy_items()))

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only one fit at a time, and there must be a fitted material."""
        return cls.poll_idle() and super().poll(context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Start again."""
        targets = fitted_targets(context)
        material, last = last_settings(self, targets)
        if material is None:
            return {"CANCELLED"}
        settings = {**last, **changed_settings(self.remedy, last)}
        baked = self.remedy == KEEP_BAKE or (is_baked(material) and self.remedy != FIT_IT)
        return start_again(self, context, targets, settings, baked)


CLASSES = (PBRFIT_OT_show_verdict, PBRFIT_OT_remedy)


def register() -> None:
    """Register the operators."""
    for item in CLASSES:
        bpy.utils.register_class(item)


def unregister() -> None:
    """Unregister the operators."""
    for item in reversed(CLASSES):
        bpy.utils.unregister_class(item)
