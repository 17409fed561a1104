# SPDX-License-Identifier: GPL-3.0-or-later
"""The tab "PBRfit" in the 3D view's sidebar."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import bpy

from ..assign import memory
from ..assign.images import FILES
from ..common.light_names import AUTOMATIC, BOTH, STUDIO
from ..common.node_trees import world_of
from ..export.plan import target_objects
from ..export.reference_light import reference_light, what_a_world_lacks
from ..preflight import checks as preflight
from ..preflight.checks import Finding
from ..session import session
from ..session.session import SessionStatus
from . import thumbnails
from .bake_verdicts import draw_bake, draw_verdicts, needs_no_fit
from .estimates import Estimate, estimate
from .operators_result import fitted_targets, is_baked, last_material, unassigned
from .operators_unseen import draw_unseen
from .operators_verdict import draw_verdicts_of_results
from .paragraphs import draw_text

ICONS = {preflight.ERROR: "CANCEL", preflight.WARNING: "ERROR"}
MOST_NAMES = 4
MOST_THUMBNAIL_SETS = 4
MAP_LABELS = {"kd": "Base Color", "orm": "ORM", "normal": "Normal"}


def duration(seconds: float) -> str:
    """Seconds as people say them: "45 s" or "3:05 min"."""
    whole = max(0, round(seconds))
    return f"{whole} s" if whole < 60 else f"{whole // 60}:{whole % 60:02d} min"


def progress_text(status: SessionStatus) -> str:
    """The part done, the time left and the PSNR of a running fit, as far as they are known."""
    parts = [f"{status.fraction:.0%}"]
    if status.paused:
        parts.append("paused")
    elif status.seconds_left is not None:
        parts.append(f"{duration(status.seconds_left)} left")
    if status.psnr_db is not None:
        parts.append(f"{status.psnr_db:.1f} dB")
    return ", ".join(parts)


def triangle_count(scene_object: bpy.types.Object, layer: bpy.types.ViewLayer) -> int:
    """The triangles of a mesh as the viewport shows it; evaluates nothing."""
    mesh = scene_object.data
    if scene_object.mode == "OBJECT" and layer.depsgraph is not None:
        evaluated = scene_object.evaluated_get(layer.depsgraph).data
        mesh = evaluated if isinstance(evaluated, bpy.types.Mesh) else mesh
    return max(0, len(mesh.loops) - 2 * len(mesh.polygons))


def estimate_for(context: bpy.types.Context) -> Estimate | None:
    """What it takes to fit the targets: the time of all fits, the memory of the largest; None without a mesh."""
    settings = context.scene.pbrfit
    targets = [item for item in target_objects(context) if item.type == "MESH"]
    if not targets:
        return None
    triangles = sum(triangle_count(item, context.view_layer) for item in targets)
    materials = {slot.material for item in targets for slot in item.material_slots} - {None}
    sets = max(1, len(targets) if settings.map_sets == "OBJECT" else len(materials))
    found = estimate(settings, triangles, sets, on_gpu=bool(gpu_known(context)))
    groups = len(targets) if settings.map_sets == "OBJECT" else len(grouped(targets))
    return replace(found, seconds=found.seconds * groups)


def gpu_known(context: bpy.types.Context) -> bool | None:
    """Whether the next fit runs on a GPU, from the settings or from the last backend; None if unknown."""
    device: str = context.scene.pbrfit.device
    device = session.backend_device() if device == "auto" else device
    return device.lower().startswith("cuda") if device else None


def grouped(targets: list[bpy.types.Object]) -> list[set[Any]]:
    """The materials of the objects, in groups that share one. There will be about as many fits."""
    groups: list[set[Any]] = []
    for item in targets:
        mine = {slot.material for slot in item.material_slots} - {None}
        joined = [group for group in groups if group & mine]
        groups = [group for group in groups if not group & mine] + [mine.union(*joined)]
    return groups


class SidebarPanel:
    """Where the panels are."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "PBRfit"


class PBRFIT_PT_fit(SidebarPanel, bpy.types.Panel):
    """The state, what will be fitted or baked, and the buttons."""

    bl_idname = "PBRFIT_PT_fit"
    bl_label = "PBRfit"

    def draw(self, context: bpy.types.Context) -> None:
        """Draw what applies: what runs, or what can be started and the outcome of the last time."""
        current = session.current()
        if current is not None and session.running():
            self.draw_running(context, current)
            return
        self.draw_ready(context)
        if current is not None:
            self.draw_outcome(context, current)
        # Last, so that Compare, which changes the materials that are shown, moves no button.
        draw_verdicts(context, self.layout)

    def draw_running(self, context: bpy.types.Context, current: session.AnySession) -> None:
        """The progress, the live maps, and the buttons for what runs."""
        layout, status = self.layout, current.status
        if not current.plans:  # the export runs, and nothing can interrupt it
            draw_text(context, layout, status.message)
            return
        if status.fits > 1:
            name = current.plans[status.fit - 1].objects[0].name
            layout.label(text=f"{current.noun.capitalize()} {status.fit} of {status.fits}: {name}")
        draw_text(context, layout, status.message)
        layout.progress(factor=status.fraction, type="BAR", text=progress_text(status))
        column = layout.column(align=True)
        row = column.row(align=True)
        if isinstance(current, session.OptimizeSession):
            paused = status.paused
            row.operator("pbrfit.pause", text="Resume" if paused else "Pause", icon="PLAY" if paused else "PAUSE")
            column.operator("pbrfit.apply_now", icon="CHECKMARK")
        row.operator("pbrfit.cancel", icon="X")
        draw_unseen(context, column)
        if len(status.curve) > 1:
            row = layout.row()
            key = (status.fit, len(status.curve), status.curve[-1])
            row.template_icon(thumbnails.icon("curve", key, thumbnails.curve_picture(status.curve)), scale=5.0)
            column = row.column(align=True)
            column.label(text=f"{status.psnr_db:.1f} dB" if status.psnr_db is not None else "")
            column.label(text=f"{status.curve[0][1]:.1f} dB at first")
            column.label(text=f"Iteration {status.iteration}")
        self.draw_thumbnails(current)

    def draw_thumbnails(self, current: session.AnySession) -> None:
        """The live maps of the first sets of the running fit."""
        sets = current.plans[current.status.fit - 1].sets
        for number in sorted({number for number, _ in current.maps.images})[:MOST_THUMBNAIL_SETS]:
            if len(sets) > 1:
                tile = f", tile {sets[number].tile}" if sets[number].tile else ""
                self.layout.label(text=f"{sets[number].name}{tile}", icon="MATERIAL")
            row = self.layout.row(align=True)
            for name, label in MAP_LABELS.items():
                pixels = current.maps.images.get((number, name))
                if pixels is not None:
                    column = row.column(align=True)
                    version = (current.status.fit, current.maps.version)
                    column.template_icon(thumbnails.icon(f"{number} {name}", version, pixels), scale=4.0)
                    column.label(text=label)

    def draw_ready(self, context: bpy.types.Context) -> None:
        """What will be fitted, what it takes, what prevents it, and the buttons."""
        layout = self.layout
        targets = target_objects(context)
        findings = preflight.quick_findings(context)
        self.draw_targets(context, [item for item in targets if item.type == "MESH"])
        for finding in preflight.with_checked(context, findings):
            self.draw_finding(context, finding)
        layout.row(align=True).prop(context.scene.pbrfit, "preset", expand=True)
        column = layout.column(align=True)
        row = column.row(align=True)
        row.scale_y = 1.5
        row.enabled = not preflight.errors_of(findings)
        row.operator("pbrfit.optimize", icon="MATERIAL")
        column.operator("pbrfit.check", icon="VIEWZOOM")
        draw_bake(context, layout)
        self.draw_result_buttons(context)

    def draw_targets(self, context: bpy.types.Context, targets: list[bpy.types.Object]) -> None:
        """The objects with their slots and UV maps, the light, the device, and what the fit takes."""
        layer = context.view_layer
        column = self.layout.column(align=True)
        for item in targets[:MOST_NAMES]:
            column.label(text=f"{item.name}: {triangle_count(item, layer):,} triangles", icon="OBJECT_DATA")
            names = [slot.material.name if slot.material is not None else "none" for slot in item.material_slots]
            if names:
                more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
                column.label(text=", ".join(names[:MOST_NAMES]) + more, icon="MATERIAL")
            if item.data.uv_layers.active is not None:
                column.label(text=item.data.uv_layers.active.name, icon="UV")
        if len(targets) > MOST_NAMES:
            column.label(text=f"and {len(targets) - MOST_NAMES} more objects", icon="BLANK1")
        if targets:
            column.label(text=light_text(context), icon="WORLD")
        found = estimate_for(context)
        if found is not None and needs_no_fit(context):
            column.label(text="A bake says all of it: seconds", icon="TIME")
        elif found is not None:
            place = {True: ", on the GPU", False: ", without a GPU", None: ""}[gpu_known(context)]
            column.label(text=found.text() + place, icon="TIME")

    def draw_finding(self, context: bpy.types.Context, finding: Finding) -> None:
        """Show a finding, with the button that fixes it."""
        column = self.layout.column(align=True)
        draw_text(context, column, str(finding), ICONS[finding.level])
        if finding.fix:
            row = column.row()
            row.label(text="", icon="BLANK1")
            button = row.operator(finding.fix)
            if finding.fix.startswith("pbrfit."):
                button.target = finding.target

    def draw_result_buttons(self, context: bpy.types.Context) -> None:
        """The buttons for a result."""
        targets = fitted_targets(context)
        if not targets and not unassigned(session.current()):
            return
        draw_verdicts_of_results(context, self.layout)
        column = self.layout.column(align=True)
        if targets:
            last = last_material(targets)
            done, again = ("baked", "Bake Again") if last is not None and is_baked(last) else ("fitted", "Fit Again")
            shown = done if memory.shown(targets) == "FITTED" else "original"
            column.label(text=f"Shown: {shown}", icon="HIDE_OFF")
            text = f"Show {done.title()}" if shown == "original" else "Show Original"
            column.operator("pbrfit.compare", text=text, icon="UV_SYNC_SELECT")
            row = column.row(align=True)
            row.operator("pbrfit.revert", icon="LOOP_BACK")
            row.operator("pbrfit.fit_again", text=again, icon="FILE_REFRESH")
        draw_unseen(context, column)
        column.operator("pbrfit.save_maps", icon="EXPORT")

    def draw_outcome(self, context: bpy.types.Context, current: session.AnySession) -> None:
        """How the last fit or bake ended."""
        status = current.status
        if status.state == session.DONE and not current.failures:
            return  # the materials say themselves how good they are
        box = self.layout.box()
        if status.error is not None:
            draw_text(context, box, status.error.cause, "CANCEL")
            draw_text(context, box, status.error.cure)
            if status.can_resume:
                box.operator("pbrfit.resume", icon="PLAY")
        elif status.state == session.DONE:
            for line in current.failures:
                draw_text(context, box, line, "CANCEL")
        else:
            draw_text(context, box, status.message)
        box.operator("pbrfit.dismiss", icon="X")


class SettingsPanel(SidebarPanel):
    """Settings of the next fit or bake, disabled while one runs. A panel says by `draw_settings` which."""

    bl_options = {"DEFAULT_CLOSED"}
    layout: bpy.types.UILayout  # from `bpy.types.Panel`

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the scene's settings."""
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.enabled = not session.running()
        self.draw_settings(context, layout)

    def draw_settings(self, context: bpy.types.Context, layout: bpy.types.UILayout) -> None:
        """Draw the settings of this panel."""
        raise NotImplementedError


def light_text(context: bpy.types.Context) -> str:
    """What will light the references, and why not the scene's world."""
    chosen, world = context.scene.pbrfit, world_of(context.scene, context.view_layer)
    light = reference_light(chosen.reference_light, chosen.learn_light, world)
    name = world.name if world is not None else "No world"
    if light != STUDIO:
        return f"{name} and Studio light" if light == BOTH else name
    lack = what_a_world_lacks(world) if chosen.reference_light == AUTOMATIC else ""
    return f"Studio light: {lack}" if lack else "Studio light"


class PBRFIT_PT_settings(SettingsPanel, bpy.types.Panel):
    """Settings of the next fit or bake."""

    bl_idname = "PBRFIT_PT_settings"
    bl_label = "Settings"
    bl_parent_id = "PBRFIT_PT_fit"

    def draw_settings(self, context: bpy.types.Context, layout: bpy.types.UILayout) -> None:
        """Quality, size of the maps, references, light and device."""
        settings = context.scene.pbrfit
        for name in ("start", "quality", "rounds", "resolution", "supersampling"):
            layout.prop(settings, name)
        references = layout.column(align=True)
        for name in ("reference", "views", "held_out_views", "view_size", "samples"):
            references.prop(settings, name)
        light = layout.column(align=True)
        light.prop(settings, "reference_light")
        learning = light.column(align=True)
        learning.enabled = settings.reference_light != STUDIO
        learning.prop(settings, "learn_light")
        row = learning.row()
        row.enabled = settings.learn_light
        row.prop(settings, "apply_world")
        layout.prop(settings, "device")
        layout.prop(settings, "render_device")
        layout.prop(settings, "seed")


class PBRFIT_PT_maps(SettingsPanel, bpy.types.Panel):
    """Which maps there will be, their names, and where they are kept."""

    bl_idname = "PBRFIT_PT_maps"
    bl_label = "Maps"
    bl_parent_id = "PBRFIT_PT_fit"

    def draw_settings(self, context: bpy.types.Context, layout: bpy.types.UILayout) -> None:
        """The maps and where they go."""
        settings = context.scene.pbrfit
        maps = layout.column(heading="Maps", align=True)
        for name in ("use_kd", "use_ks", "use_normal", "use_alpha"):
            maps.prop(settings, name)
        for name in ("map_sets", "use_udim", "material_name", "image_storage"):
            layout.prop(settings, name)
        if settings.image_storage == FILES and not bpy.data.filepath:
            draw_text(context, layout, "The .blend is not saved yet: the maps will be packed.", "INFO")


CLASSES = (PBRFIT_PT_fit, PBRFIT_PT_settings, PBRFIT_PT_maps)


def register() -> None:
    """Register the panels and their pictures."""
    thumbnails.register()
    for item in CLASSES:
        bpy.utils.register_class(item)


def unregister() -> None:
    """Unregister the panels and free their pictures."""
    for item in reversed(CLASSES):
        bpy.utils.unregister_class(item)
    thumbnails.unregister()
