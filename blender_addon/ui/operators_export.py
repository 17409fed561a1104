# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators that export objects with their new materials: as a model, as a turntable, as a contact sheet."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
from bpy.props import BoolProperty, EnumProperty, IntProperty, StringProperty

from ..assign.materials import fitted_materials
from ..closures.verdict import LOBES
from ..common.errors import PbrFitError, report
from ..common.paragraphs import draw_text
from ..common.redraw import redraw_views
from ..models import running
from ..models.limits import left_out
from ..preflight.losses import listed
from ..protocol.map_names import safe_name
from ..protocol.model_kinds import GLTF, KINDS
from ..translations.translate import tr, tr_report
from .operators_result import fitted_targets

SECONDS_BETWEEN_POLLS = 0.1
SUFFIXES = tuple(kind.suffix for kind in KINDS.values())


class ExportingOperator:
    """An operator that asks for a file, lets a second Blender write it, and says when it is there. A script waits for that."""

    # From `bpy.types.Operator`.
    poll_message_set: Callable[[str], None]
    report: Callable[[set[str], str], None]
    filepath: StringProperty(
        name="File Path", description="The file to write", subtype="FILE_PATH", options={"SKIP_SAVE"}
    )
    check_existing: BoolProperty(
        name="Check Existing",
        description="Ask before a file is overwritten; in a script: overwrite none",
        default=True,
        options={"HIDDEN", "SKIP_SAVE"},
    )
    filter_glob: StringProperty(default="*", options={"HIDDEN", "SKIP_SAVE"})

    _by_hand = False
    _running: running.RunningExport | None = None
    _timer: bpy.types.Timer | None = None

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """There must be a new material, and no other export."""
        if running.current() is not None:
            cls.poll_message_set("An export is running")
            return False
        if not fitted_targets(context):
            cls.poll_message_set("No selected object has a material by PBRfit")
            return False
        return True

    @property
    def suffix(self) -> str:
        """The ending of the file."""
        raise NotImplementedError

    def wanted(self, targets: list[bpy.types.Object]) -> dict[str, Any]:
        """What to write, as models/write_models.py takes it."""
        raise NotImplementedError

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """Ask for the file; the folder of the settings and the object's name are there already."""
        self._by_hand = not bpy.app.background
        if not self.filepath:
            folder = bpy.path.abspath(context.scene.pbrfit_output.folder or "//")
            self.filepath = str(Path(folder, safe_name(fitted_targets(context)[0].name) + self.suffix))
        self.filter_glob = f"*{self.suffix}"
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def check(self, _context: bpy.types.Context) -> bool:
        """Give the name the ending of what is chosen; returns whether that changed anything."""
        path = with_suffix(self.filepath, self.suffix)
        changed: bool = path != self.filepath or self.filter_glob != f"*{self.suffix}"
        self.filepath, self.filter_glob = path, f"*{self.suffix}"
        return changed

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Start, and wait if a script did it."""
        path = Path(bpy.path.abspath(with_suffix(self.filepath, self.suffix)))
        targets = fitted_targets(context)
        try:
            if not path.stem:
                raise PbrFitError("No file was chosen.", "Give it a name.")
            exists = path.exists()
            if exists and self.check_existing and not self._by_hand:
                raise PbrFitError(f"{path} exists already.", "Choose another name or folder.")
            # Blender's file browser has asked by now.
            self._running = running.begin(context, targets, path, self.wanted(targets) | {"replace": exists})
        except PbrFitError as error:
            report(self, error)
            return {"CANCELLED"}
        if not self._by_hand:
            while not self._running.done:
                self._running.poll()
                time.sleep(SECONDS_BETWEEN_POLLS)
            return self._finish(context)
        self._timer = context.window_manager.event_timer_add(SECONDS_BETWEEN_POLLS, window=context.window)
        context.window_manager.modal_handler_add(self)
        redraw_views()
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Look what the second Blender has done, while the artist goes on with their work."""
        if event.type != "TIMER" or self._running is None:
            return {"PASS_THROUGH"}
        if self._running.poll():
            redraw_views()
        return self._finish(context) if self._running.done else {"PASS_THROUGH"}

    def cancel(self, context: bpy.types.Context) -> None:
        """End the timer and the second Blender."""
        if self._running is not None:
            self._running.cancel()
        self._end_timer(context)

    def _end_timer(self, context: bpy.types.Context) -> None:
        if self._timer is not None:
            context.window_manager.event_timer_remove(self._timer)
            self._timer = None

    def _finish(self, context: bpy.types.Context) -> set[str]:
        self._end_timer(context)
        redraw_views()
        done = self._running
        if done is None or (done.error is None and not done.files):
            self.report({"INFO"}, "The export was cancelled")
            return {"CANCELLED"}
        if done.error is not None:
            report(self, done.error)
            return {"CANCELLED"}
        more = len(done.files) - 1
        beside = f" and {more} file{'s' if more > 1 else ''} beside it" if more else ""
        self.report({"INFO"}, tr_report(f"Exported {done.files[0]}{beside}"))
        return {"FINISHED"}


def with_suffix(path: str, suffix: str) -> str:
    """A path with an ending in place of that of another kind of file."""
    stem = next((path[: -len(other)] for other in (*SUFFIXES, ".mp4", ".png") if path.lower().endswith(other)), path)
    return stem + suffix if Path(stem).name else path


class PBRFIT_OT_export_model(ExportingOperator, bpy.types.Operator):
    """Export the selected objects with their new materials and maps, as renders show them. Nothing of this file changes"""

    bl_idname = "pbrfit.export_model"
    bl_label = "Export"
    bl_options = {"REGISTER"}

    kind: EnumProperty(
        name="Format",
        description="Type of the file",
        items=[
            ("glb", "glTF Binary (.glb)", "One file with everything, for the web and most engines"),
            ("gltf", "glTF Separate (.gltf)", "A text, a file of the mesh, and images"),
            ("usd", "USD (.usdc)", "With a USD Preview Surface, and maps beside it"),
            ("usdz", "USD Package (.usdz)", "USD in one file, for phones and viewers"),
            ("obj", "Wavefront (.obj)", "With an MTL file that has PBR extensions, and maps beside it"),
            (
                "mtlx-standard-surface",
                "MaterialX Standard Surface (.mtlx)",
                "Materials without a mesh, and maps beside them",
            ),
            ("mtlx-openpbr", "MaterialX OpenPBR (.mtlx)", "Materials without a mesh, and maps beside them"),
            ("mtlx-usd", "MaterialX USD Preview (.mtlx)", "Materials without a mesh, and maps beside them"),
        ],
        default="glb",
    )

    @property
    def suffix(self) -> str:
        """The ending of the kind."""
        return KINDS[self.kind].suffix

    def wanted(self, _targets: list[bpy.types.Object]) -> dict[str, Any]:
        """A model."""
        return {"what": "model", "kind": self.kind}

    def draw(self, context: bpy.types.Context) -> None:
        """The settings in the file browser, and what the format does not carry of the new materials."""
        self.layout.use_property_split = True
        self.layout.prop(self, "kind")
        for number, sentence in enumerate(limits_of(self.kind, fitted_targets(context))):
            draw_text(context, self.layout, sentence, "BLANK1" if number else "INFO")


def limits_of(key: str, targets: list[bpy.types.Object]) -> list[str]:
    """What a kind of file does not carry of the new materials of objects, in sentences; none if it carries all."""
    kind = KINDS[key]
    inputs = left_out(kind, dict.fromkeys(item for target in targets for item in fitted_materials(target)))
    words = [LOBES[name] for name in inputs if name in LOBES]
    if not words:
        return []
    lost = listed(words)
    if kind.writer != GLTF:
        return [f"This format does not carry {lost}."]
    return [
        f"glTF has no word for {lost}.",
        "Other programs show that nearly or not at all.",
        "Imported where PBRfit is enabled, all of it is there.",
    ]


class PBRFIT_OT_export_turntable(ExportingOperator, bpy.types.Operator):
    """Render the selected objects with their new materials while they turn once, in the light of this scene's world"""

    bl_idname = "pbrfit.export_turntable"
    bl_label = "Turntable"
    bl_options = {"REGISTER"}

    form: EnumProperty(
        name="Format",
        description="Type of the files",
        items=[
            ("MP4", "MP4", "A film (H.264), before a dark gray"),
            ("PNG", "PNG", "A picture of each frame, with alpha"),
        ],
        default="MP4",
    )
    frames: IntProperty(name="Frames", description="In one turn", default=72, min=2, soft_max=360)
    fps: IntProperty(name="Frame Rate", description="Frames per second of the film", default=24, min=1, max=240)
    size: IntProperty(
        name="Resolution", description="Width and height", default=512, min=16, soft_max=4096, subtype="PIXEL"
    )
    engine: EnumProperty(
        name="Render Engine",
        description="What renders the frames",
        items=[
            ("CYCLES", "Cycles", "With the device that PBRfit renders with"),
            ("EEVEE", "EEVEE", "Faster where there is a GPU"),
        ],
        default="CYCLES",
    )
    samples: IntProperty(
        name="Samples", description="For each pixel; Cycles denoises", default=32, min=1, soft_max=1024
    )

    @property
    def suffix(self) -> str:
        """That of the film, or of each frame."""
        return ".mp4" if self.form == "MP4" else ".png"

    def wanted(self, _targets: list[bpy.types.Object]) -> dict[str, Any]:
        """A turntable."""
        names = ("form", "frames", "fps", "engine", "samples")
        return {"what": "turntable", "size": [self.size, self.size]} | {name: getattr(self, name) for name in names}

    def draw(self, _context: bpy.types.Context) -> None:
        """The settings in the file browser."""
        layout = self.layout
        layout.use_property_split = True
        for name in ("form", "frames", "size", "engine", "samples"):
            layout.prop(self, name)
        if self.form == "MP4":
            layout.prop(self, "fps")


class PBRFIT_OT_export_sheet(ExportingOperator, bpy.types.Operator):
    """Render the selected objects from four sides and all their new maps into one picture"""

    bl_idname = "pbrfit.export_sheet"
    bl_label = "Contact Sheet"
    bl_options = {"REGISTER"}

    size: IntProperty(
        name="Resolution", description="Of each picture in it", default=384, min=32, soft_max=2048, subtype="PIXEL"
    )
    samples: IntProperty(
        name="Samples", description="For each pixel; Cycles denoises", default=32, min=1, soft_max=1024
    )

    @property
    def suffix(self) -> str:
        """A PNG."""
        return ".png"

    def wanted(self, targets: list[bpy.types.Object]) -> dict[str, Any]:
        """A contact sheet with the objects' names on it."""
        title = ", ".join(target.name for target in targets)
        return {"what": "sheet", "size": self.size, "samples": self.samples, "title": title}

    def draw(self, _context: bpy.types.Context) -> None:
        """The settings in the file browser."""
        self.layout.use_property_split = True
        self.layout.prop(self, "size")
        self.layout.prop(self, "samples")


class PBRFIT_OT_cancel_export(bpy.types.Operator):
    """End the export that runs. No file of it is left"""

    bl_idname = "pbrfit.cancel_export"
    bl_label = "Cancel Export"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """One must run."""
        return running.current() is not None

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """End it; the operator that began it says so."""
        running.end()
        return {"FINISHED"}


def draw_export(layout: bpy.types.UILayout) -> None:
    """The button of a model, or how far the export is that runs."""
    now = running.current()
    if now is None:
        layout.operator("pbrfit.export_model", text="Export...", icon="FILE_3D")
        return
    row = layout.row(align=True)
    row.progress(factor=now.fraction or 0.0, type="BAR", text=tr(f"Exporting {now.path.name}"))
    row.operator("pbrfit.cancel_export", text="", icon="X")


def draw_pictures(layout: bpy.types.UILayout) -> None:
    """The buttons of what is rendered."""
    row = layout.row(align=True)
    row.operator("pbrfit.export_turntable", text="Turntable...", icon="RENDER_ANIMATION")
    row.operator("pbrfit.export_sheet", text="Contact Sheet...", icon="IMAGE_DATA")


CLASSES = (PBRFIT_OT_export_model, PBRFIT_OT_export_turntable, PBRFIT_OT_export_sheet, PBRFIT_OT_cancel_export)


def register() -> None:
    """Register the operators."""
    for item in CLASSES:
        bpy.utils.register_class(item)


def unregister() -> None:
    """End what runs, and unregister the operators."""
    running.end()
    for item in reversed(CLASSES):
        bpy.utils.unregister_class(item)
