# SPDX-License-Identifier: GPL-3.0-or-later
"""One comparison in a 3D view: what is compared, in which light and from where, until it ends.

A timer calls `tick`, which takes in what other processes have made and asks for redraws; `drawing` draws. Nothing of the
file changes, and the view is put back as it was, however the comparison ends.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import bpy
import numpy as np
from mathutils import Vector

from ..assign import memory
from ..common.errors import PbrFitError
from ..common.records import is_baked
from ..preview.engine.hub import hub
from ..preview.gl.display import Table
from ..preview.scene.baked_looks import baked_looks
from ..preview.scene.collector import LOOKED_AT, PreviewCollector, SlotMaterials
from ..preview.scene.light import ShownLight, environment_of, worlds
from ..preview.scene.scene import Environment, PreviewScene
from ..session.fit_queue import RenderedReference
from ..settings.wipe import NEW, ORIGINAL
from .display_table import FEWEST_STOPS, MOST_STOPS, display_key, display_table
from .original_render import OriginalRender, camera_view
from .reference_views import camera_of, references_of
from .view_before import Camera, FoundView, ViewBefore, clear_of_sides, find_view

NO_REFERENCES = "There are no reference renders: they are kept from a fit until it is dismissed or the next one begins"


@dataclass
class Steps:
    """The references that can be stepped through.

    number: of the one that is shown, None: the artist's own view; placed: how the view was after it was put there, and its
    size, None until it is drawn; resized: whether it has another size now; errors: of the new material, by number, as far
    as they are measured; to_worst: whether to go to the largest once all are.
    """

    references: list[RenderedReference] = field(default_factory=list)
    number: int | None = None
    placed: tuple[Hashable, tuple[int, int]] | None = None
    resized: bool = False
    errors: dict[int, float] = field(default_factory=dict)
    to_worst: bool = False

    @property
    def shown(self) -> RenderedReference | None:
        """The reference that is shown."""
        return self.references[self.number] if self.number is not None else None

    @property
    def unmeasured(self) -> int | None:
        """The number of the next reference whose error has to be measured."""
        if not self.to_worst:
            return None
        return next((number for number in range(len(self.references)) if number not in self.errors), None)


class Comparison:
    """See above. For Blender's main thread."""

    def __init__(self, view: FoundView, targets: list[bpy.types.Object]) -> None:
        """Begin to compare what objects show and showed, in a view."""
        self.space_pointer, self.region_pointer = view.space.as_pointer(), view.region.as_pointer()
        self.divider = first_divider(view, targets)
        self.scenes: dict[str, PreviewScene] = {}
        self.light: ShownLight | None = None
        self.lacks_light = False
        self.table: Table | None = None
        self.more = True  # whether there is more to draw
        self.steps = Steps()
        self.render: OriginalRender | None = None
        self.rendered_from: Hashable = None
        self.error = ""
        self._targets = {target.session_uid for target in targets}
        self._mode = mode_of(view.window)
        self._materials = self._materials_of(view.window)
        originals, new = slot_materials(targets)
        self._slots = originals
        self._collectors = {ORIGINAL: PreviewCollector(originals), NEW: PreviewCollector(new)}
        self.of_bake = bool(new) and all(item is None or is_baked(item) for item in new.values())
        self._is_current = False
        self._lights: tuple[Any, Environment] | None = None
        self._bright = ("", False)
        self._said: list[str] = []
        self._displayed: Hashable = None
        self.before = ViewBefore.of(view)
        self.before.hide()

    # The timer --------------------------------------------------------------------------------------------------

    def tick(self) -> bool:
        """Take in what has come, and ask for a redraw if there is something new; False once it must end."""
        view = find_view(self.space_pointer, self.region_pointer)
        if view is None or mode_of(view.window) != self._mode or self._materials_of(view.window) != self._materials:
            return False
        hub().used()
        if hub().connections.can_try_again:
            hub().connect_again()
        hub().poll()
        came = worlds().poll() | baked_looks().poll()
        if came or not self._is_current:
            self._collect(view)
            self.more = True
        else:  # so that no call takes long
            self._take_table(view.window.scene)
        self._take_light()
        if self.render is not None and self.render.poll():
            self.error = self.render.error.cause.splitlines()[0] if self.render.error is not None else ""
            self.more = True
        steps = self.steps
        if steps.to_worst and steps.unmeasured is None and steps.references:
            steps.to_worst = False
            self.step_to(view, max(steps.errors, key=lambda number: steps.errors[number]))
        if steps.resized and steps.number is not None:
            self.step_to(view, steps.number)
        before, self._said = self._said, self.lack_of_light
        if self.more or steps.to_worst or self._said != before:
            view.region.tag_redraw()
        return True

    def note_updates(self, depsgraph: bpy.types.Depsgraph) -> None:
        """Take in that something in the file has changed."""
        for collector in self._collectors.values():
            collector.note_updates(depsgraph)
        self._is_current = False
        if any(update.is_updated_geometry or update.is_updated_transform for update in depsgraph.updates) or any(
            isinstance(update.id, (*LOOKED_AT, bpy.types.World)) for update in depsgraph.updates
        ):
            self.rendered_from = None  # the render is of what was there

    def _materials_of(self, window: bpy.types.Window) -> Hashable:
        """What is compared, by number; something else once an object is gone, reverted or fitted again."""
        present = [item for item in window.view_layer.objects if item.session_uid in self._targets]
        return len(present), *(numbers_of(found) for found in slot_materials(present))

    def _collect(self, view: FoundView) -> None:
        with bpy.context.temp_override(window=view.window, area=view.area, region=view.region):
            depsgraph = bpy.context.evaluated_depsgraph_get()
            self.scenes = {
                name: collector.collect(depsgraph, view.space) for name, collector in self._collectors.items()
            }
        self._is_current = True
        self.steps.errors.clear()

    def _take_light(self) -> None:
        environment = self.environment
        light = None
        if environment is not None and self._gives_light(environment):
            light = hub().light(PreviewScene((), environment))
        self.lacks_light = light is None
        if light is not self.light:
            self.light, self.more = light, True
            self.steps.errors.clear()

    @property
    def awaits_light(self) -> bool:
        """Whether a light may come still: from the world, or from a backend that prepares it."""
        environment = self.environment
        return environment is None or (self._gives_light(environment) and hub().can_stream)

    @property
    def lack_of_light(self) -> list[str]:
        """Why it is compared in an even light for now, in sentences; none where the light is there."""
        if not self.lacks_light:
            return []
        environment = self.environment
        if environment is None:
            return ["The world's light is being rendered."]
        return hub().lack_of_light() if self._gives_light(environment) else ["The world gives no light."]

    def _gives_light(self, environment: Environment) -> bool:
        if self._bright[0] != environment.key:
            self._bright = (environment.key, bool(environment.radiance.max() > 0.0))
        return self._bright[1]

    @property
    def environment(self) -> Environment | None:
        """The light to compare in: the world's, or that of the reference that is shown."""
        reference = self.steps.shown
        if reference is None or reference.radiance is None:
            return self.scenes[NEW].environment if self.scenes else None
        if self._lights is None or self._lights[0] is not reference.radiance:
            self._lights = (reference.radiance, environment_of(reference.radiance))
        return self._lights[1]

    def _take_table(self, scene: bpy.types.Scene) -> None:
        key = display_key(scene)
        if key != self._displayed:
            self._displayed = key
            self.table = Table(display_table(scene), FEWEST_STOPS, MOST_STOPS)
            self.more = True

    # What the artist asks for -----------------------------------------------------------------------------------

    def step(self, view: FoundView, by: int) -> None:
        """Go to the next (1) or previous (-1) reference, or from the artist's own view to the first or last one.

        Raises PbrFitError if there is none.
        """
        count = self._find_references()
        number = self.steps.number
        self.step_to(view, (number + by) % count if number is not None else (0 if by > 0 else count - 1))

    def step_to_worst(self) -> None:
        """Measure the errors in all references, and then go to the one with the largest. Raises PbrFitError if there is none."""
        self._find_references()
        self.error = ""
        self.steps.to_worst = self.more = True

    def stop_measuring(self, why: str) -> None:
        """Stay where the view is, and say why the errors are not measured."""
        self.steps.to_worst = False
        self.error, self.more = why, True

    def step_to(self, view: FoundView, number: int) -> None:
        """Put the view's camera where that of a reference was."""
        if self.before.camera is None:
            self.before.camera = Camera.of(view)
        self.steps.number, self.steps.placed, self.steps.resized, self.more = number, None, False, True
        reference = self.steps.references[number]
        camera_of(reference.view, (view.region.width, view.region.height)).put(view.space, view.region.data)
        view.region.tag_redraw()

    def go_home(self, view: FoundView) -> None:
        """Leave the references: put the artist's own view back."""
        self.steps.number, self.more = None, True
        if self.before.camera is not None:
            self.before.camera.put(view.space, view.region.data)
            self.before.camera = None
        view.region.tag_redraw()

    def view_left(self) -> None:
        """The artist has turned the view away from the reference that is shown: it stays where it is now."""
        self.steps.number, self.before.camera = None, None
        self.more = True

    def _find_references(self) -> int:
        found = references_of(self._targets)
        if not found:
            raise PbrFitError(f"{NO_REFERENCES}.", "Fit the object, or compare in your own view.")
        if [reference.path for reference in found] != [reference.path for reference in self.steps.references]:
            self.steps = Steps(found)
        return len(found)

    def render_original(self, context: bpy.types.Context, view: FoundView, seen_from: Hashable) -> None:
        """Render the originals with Cycles from where the view is. Raises PbrFitError if that cannot start."""
        self.stop_render()
        objects = [item for item in view.window.view_layer.objects if item.session_uid in self._targets]
        places = {item.session_uid: place for place, item in enumerate(objects)}
        plan = {
            "objects": [[item.name, item.library.filepath if item.library is not None else None] for item in objects],
            "materials": [
                [places[uid], slot, material.name if material is not None else None]
                for (uid, slot), material in self._slots.items()
            ],
        }
        data, size = view.region.data, (view.region.width, view.region.height)
        camera = camera_view(np.array(data.view_matrix), np.array(data.window_matrix), size)
        self.render = OriginalRender(context, plan, camera)
        self.rendered_from, self.more, self.error = seen_from, True, ""

    def stop_render(self) -> None:
        """End a render of the originals."""
        if self.render is not None:
            self.render.stop()
            self.render = None

    def end(self) -> None:
        """End what runs, and put the view back as it was."""
        self.stop_render()
        self.before.put_back()


def first_divider(view: FoundView, targets: list[bpy.types.Object]) -> float:
    """Where the divider is at first, as a share of the view's width: in the middle of the objects, but not near toolbar or
    sidebar."""
    left, right = clear_of_sides(view.area, view.region)
    width = max(1, view.region.width)
    corners = [item.matrix_world @ Vector(corner) for item in targets for corner in item.bound_box]
    data = view.region.data or view.space.region_3d  # without a window a region has none
    clip = data.perspective_matrix @ (sum(corners, Vector()) / len(corners)).to_4d()
    middle = (0.5 + 0.5 * clip.x / clip.w) * width if clip.w > 0.0 else 0.5 * (left + right)
    edge = 0.2 * (right - left)
    return float(min(max(middle, left + edge), right - edge) / width)


def mode_of(window: bpy.types.Window) -> str:
    """The mode of a window's active object."""
    active = window.view_layer.objects.active
    return str(active.mode) if active is not None else "OBJECT"


def slot_materials(targets: list[bpy.types.Object]) -> tuple[SlotMaterials, SlotMaterials]:
    """The original and the new materials of objects, by object (its session_uid) and slot."""
    originals: dict[tuple[int, int], bpy.types.Material | None] = {}
    new: dict[tuple[int, int], bpy.types.Material | None] = {}
    for target in targets:
        for item in memory.remembered(target):
            place = target.session_uid, item.slot.slot_index
            originals[place], new[place] = item.entry.get("original"), item.entry.get("fitted")
    return originals, new


def numbers_of(materials: SlotMaterials) -> frozenset[tuple[tuple[int, int], int]]:
    """Materials by their numbers (session_uid), 0 for none."""
    return frozenset((place, item.session_uid if item is not None else 0) for place, item in materials.items())
