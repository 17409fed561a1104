# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators that save the maps of fitted materials as files, and that keep the artist's own layouts of these files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import bpy
from bpy.props import BoolProperty, StringProperty

from ..assign import materials, memory, saved_maps
from ..common.errors import PbrFitError, report
from ..protocol.map_layouts import LAYOUTS, Layout, as_toml
from ..protocol.map_names import LONGEST_NAME, safe_name, shortened
from ..saving import layout_files
from ..session import session
from ..settings.output import AS_THEY_ARE, output_layout, output_options, own_folder, own_layouts
from ..translations.translate import tr_report
from .operators_result import fitted_targets, unassigned
from .output_panel import draw_layout

SECONDS_BETWEEN_STEPS = 0.02
MOST_NUMBERS = 6
"""How many numbers a message lists."""


class PBRFIT_OT_save_maps(bpy.types.Operator):
    """Save the maps of the selected or active objects as files, for the program that the layout names. It overwrites no file"""

    bl_idname = "pbrfit.save_maps"
    bl_label = "Save Maps"
    bl_options = {"REGISTER"}

    directory: StringProperty(name="Folder", description="Where to save the maps", subtype="DIR_PATH")
    filter_folder: BoolProperty(default=True, options={"HIDDEN"})

    _by_hand = False
    _steps: Iterator[str] | None = None
    _timer: bpy.types.Timer | None = None

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """There must be maps: of a fitted material, or of a fit whose maps could not be assigned."""
        if not fitted_targets(context) and not unassigned(session.current()):
            cls.poll_message_set("No selected or active object has a material by PBRfit")
            return False
        return True

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """Save in the folder of the settings, or ask for one."""
        self._by_hand = not bpy.app.background
        if self.directory or context.scene.pbrfit_output.folder:
            return self.execute(context)
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def draw(self, context: bpy.types.Context) -> None:
        """Beside the file browser: for which program, and under which names. It is the same choice as in the panel Output."""
        self.layout.use_property_split = True
        self.layout.use_property_decorate = False
        draw_layout(context, self.layout)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Save the maps: a script waits for that; Blender's window does not."""
        try:
            folder = folder_at(self.directory or context.scene.pbrfit_output.folder)
            layout = output_layout(context.scene.pbrfit_output)
            self._steps = saving_steps(context, folder, layout, wait=not self._by_hand)
            if not self._by_hand:
                for said in self._steps:
                    self._say(said)
                return {"FINISHED"}
            self._say(next(self._steps))  # what is refused is refused before anything runs
        except StopIteration:
            return {"FINISHED"}
        except PbrFitError as error:
            report(self, error)
            return {"CANCELLED"}
        self._timer = context.window_manager.event_timer_add(SECONDS_BETWEEN_STEPS, window=context.window)
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Go on with the work of the threads, while the artist goes on with theirs."""
        if event.type != "TIMER" or self._steps is None:
            return {"PASS_THROUGH"}
        try:
            self._say(next(self._steps))
            return {"PASS_THROUGH"}
        except StopIteration:
            self.cancel(context)
            return {"FINISHED"}
        except PbrFitError as error:
            report(self, error)
        except ReferenceError:
            self.report({"ERROR"}, "The maps were removed while they were saved. Nothing was written")
        self.cancel(context)
        return {"CANCELLED"}

    def cancel(self, context: bpy.types.Context) -> None:
        """End the timer and the threads."""
        if self._timer is not None:
            context.window_manager.event_timer_remove(self._timer)
        self._timer = self._steps = None

    def _say(self, said: str) -> None:
        if said:
            self.report({"INFO"}, said)


def folder_at(directory: str) -> Path:
    """The folder that a setting names. Raises PbrFitError if it names none, or one beside a file that is not saved yet."""
    if not directory:
        raise PbrFitError("No folder was chosen.", "Set one in the panel Output.")
    if directory.startswith("//") and not bpy.data.filepath:
        raise PbrFitError("The .blend is not saved yet, so it has no folder.", "Save it, or choose another folder.")
    return Path(bpy.path.abspath(directory))


def saving_steps(context: bpy.types.Context, folder: Path, layout: Layout | None, wait: bool) -> Iterator[str]:
    """Save the maps of the selected objects; each step is a short one if not `wait`, and the last yields what there is to say.

    The files are written when all are ready, so that nothing is left if one of them cannot be. Raises PbrFitError.
    """
    targets = fitted_targets(context)
    owners = list(dict.fromkeys(item for target in targets for item in materials.fitted_materials(target)))
    light = memory.learned_world(context.scene, targets)
    numbers = ""
    planned: list[layout_files.LayoutFile] = []
    found: dict[str, bytes] = {}
    if layout is not None:
        planned = layout_files.layout_files(owners, layout)
        for done in layout_files.encoding_steps(planned, output_options(context.scene.pbrfit_output), wait):
            if done is not None:
                found[done[0]] = done[1]
            yield ""
        numbers = numbers_text(layout_files.leftover_numbers(owners, layout))
    with saved_maps.NewFiles(folder) as new:
        layout_files.write_laid_out(planned, found, new)
        saved_maps.save_images([*(owners if layout is None else []), *([light] if light is not None else [])], new)
        for plan, result_files in unassigned(session.current()):
            saved_maps.save_results(plan, result_files, new)
    if new.written:
        count = f"{len(new.written)} map{'s' if len(new.written) > 1 else ''}"
        said = f"Saved {count} in {folder}"
    else:
        said = "There is no map to save: the materials have only numbers"
    # Each for itself: the name of the folder would take in the period and what follows.
    yield f"{tr_report(said)}. {tr_report(numbers)}" if numbers else tr_report(said)


def numbers_text(numbers: dict[str, dict[str, tuple[float, ...]]]) -> str:
    """What no map holds, for a message: of the material with the most of it, what an engine must be told."""
    told = {
        name: value
        for said in numbers.values()
        for name, value in said.items()
        if name in ("base_color", "roughness", "metallic") or not layout_files.is_neutral(name, value)
    }
    if not told or len(numbers) > 1:
        return ""
    texts = [
        f"{name.replace('_', ' ')} {', '.join(f'{part:.3g}' for part in value)}" for name, value in list(told.items())
    ]
    return f"Without a map: {'; '.join(texts[:MOST_NUMBERS])}"


class PBRFIT_OT_new_layout(bpy.types.Operator):
    """Make a layout of your own from the chosen one. It opens as a text in the Text Editor: change it and save it there"""

    bl_idname = "pbrfit.new_layout"
    bl_label = "New Layout"
    bl_options = {"REGISTER"}

    name: StringProperty(name="Name", description="Name of the new layout", default="My Layout")

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """Ask for the name."""
        shown: set[str] = context.window_manager.invoke_props_dialog(self)
        return shown

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Write the file, open it, and choose it."""
        settings = context.scene.pbrfit_output
        name = shortened(safe_name(self.name), LONGEST_NAME)
        path = own_folder() / f"{name}.toml"
        taken = {*LAYOUTS, AS_THEY_ARE, *own_layouts()}
        if path.exists() or name.casefold() in {item.casefold() for item in taken}:
            self.report({"ERROR"}, tr_report(f'There is a layout "{name}" already. Choose another name'))
            return {"CANCELLED"}
        try:
            layout = output_layout(settings) or LAYOUTS["gltf"]
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "x", encoding="utf-8") as file:
                file.write(as_toml(layout, self.name))
        except PbrFitError as error:
            report(self, error)
            return {"CANCELLED"}
        except OSError as error:
            self.report({"ERROR"}, tr_report(f"{path} cannot be written: {error.strerror}"))
            return {"CANCELLED"}
        bpy.data.texts.load(str(path))
        settings.layout = name
        settings.pattern, settings.format, settings.bits = "", "LAYOUT", "0"  # they are in the layout now
        self.report({"INFO"}, tr_report(f'Change the layout in the Text Editor, "{path.name}", and save it there'))
        return {"FINISHED"}


class PBRFIT_OT_remove_layout(bpy.types.Operator):
    """Remove the chosen layout of your own, and its file"""

    bl_idname = "pbrfit.remove_layout"
    bl_label = "Remove Layout"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """One of the artist's own must be chosen."""
        if context.scene.pbrfit_output.layout not in own_layouts():
            cls.poll_message_set("Only a layout of your own can be removed")
            return False
        return True

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Ask first."""
        asked: set[str] = context.window_manager.invoke_confirm(self, event)
        return asked

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Remove the file; a text that shows it stays."""
        settings = context.scene.pbrfit_output
        path = own_layouts()[settings.layout]
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            self.report({"ERROR"}, tr_report(f"{path} cannot be removed: {error.strerror}"))
            return {"CANCELLED"}
        settings.layout = AS_THEY_ARE
        return {"FINISHED"}


CLASSES = (PBRFIT_OT_save_maps, PBRFIT_OT_new_layout, PBRFIT_OT_remove_layout)


def register() -> None:
    """Register the operators."""
    for item in CLASSES:
        bpy.utils.register_class(item)


def unregister() -> None:
    """Unregister the operators."""
    for item in reversed(CLASSES):
        bpy.utils.unregister_class(item)
