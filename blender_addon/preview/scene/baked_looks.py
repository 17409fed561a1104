# SPDX-License-Identifier: GPL-3.0-or-later
"""What materials look like whose nodes the preview cannot read: a second Blender in the background bakes them.

A bake begins once nothing of the material has changed for a moment. Until it is there, its last one stays, or whatever the
preview can read. The file is never written for it: only the object goes to the second Blender, with what it needs.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import bpy
from bpy.app.handlers import persistent

from ...baking.process import MapBaker
from ...closures.parameters import ALL_LOBES
from ...closures.reading import Unreadable, read_material
from ...common.errors import PbrFitError
from ...common.main_thread import in_main_thread
from ...common.node_trees import images_of
from ...export import plan_json
from ...export.plan import GroupPlan, MapSet, ObjectUse, SlotUse
from .baked_textures import look_of
from .material_look import MaterialLook
from .scene import Look

RESOLUTION = 512
SETTLED_SECONDS = 0.5
POLL_SECONDS = 0.05
LOOKS_KEPT = 64
CHANGES_ALL = (bpy.types.Image, bpy.types.NodeTree)


class SlotLook(NamedTuple):
    """A look that can be wanted: of a material in a slot of an object, by their numbers (session_uid), through a UV map."""

    object_uid: int
    slot: int
    material_uid: int
    uv_map: str


@dataclass(frozen=True)
class LooksBaked:
    """The looks of all that was asked for, in that order."""

    looks: tuple[Look, ...]


class LookBaker(MapBaker):
    """Bakes one group, and makes looks of it in the thread that reads what the second Blender says."""

    def _read_entry(self, entry: dict[str, Any]) -> Iterator[Any]:
        if "baked" in entry:
            starts = [self._start(0, name) for name in entry["baked"]["starts"]]
            yield LooksBaked(tuple(look_of(f"baked/{next(_numbers)}", arrays) for arrays in starts))


_numbers = itertools.count(1)


class BakedLooks:
    """The baked looks of the open file. A timer calls `poll` in the main thread; a render asks for looks in its own.

    baked: how many bakes have been started; for measurements.
    """

    def __init__(self) -> None:
        self.baked = 0
        self._baker: LookBaker | None = None
        self._folder: Path | None = None
        self._lock = threading.RLock()
        self._forget()

    def _forget(self) -> None:
        self._known: OrderedDict[SlotLook, tuple[int, Look | None]] = OrderedDict()
        self._failures: dict[SlotLook, str] = {}
        self._wanted: dict[SlotLook, tuple[int, float]] = {}
        self._running: dict[SlotLook, int] = {}
        self._changes: Counter[int] = Counter()

    def note_changes(self, depsgraph: bpy.types.Depsgraph) -> None:
        """Take in what has changed in the file, as `depsgraph.updates` says."""
        if not (self._known or self.waiting):
            return
        trees = {item.node_tree: item for item in bpy.data.materials if item.node_tree is not None}
        with self._lock:
            for update in depsgraph.updates:
                self._note_change(update.id.original, trees, update.is_updated_geometry)

    def _note_change(
        self, changed: bpy.types.ID, trees: dict[bpy.types.NodeTree, bpy.types.Material], is_geometry: bool
    ) -> None:
        if isinstance(changed, bpy.types.Material):
            self._changes[changed.session_uid] += 1
        elif changed in trees:
            self._changes[trees[changed].session_uid] += 1
        elif isinstance(changed, CHANGES_ALL) and not changed.is_embedded_data:
            self._changes[0] += 1  # any material may use it
        elif isinstance(changed, bpy.types.Object) and is_geometry and changed.mode == "OBJECT":
            self._changes[changed.session_uid] += 1

    def look(
        self, scene_object: bpy.types.Object, slot: int, material: bpy.types.Material, found: MaterialLook
    ) -> MaterialLook:
        """How a material looks in a slot of an object, both of the file: its bake, once that is there.

        found: what the preview can read of it.
        """
        with self._lock:
            return self._look(scene_object, slot, material, found)

    def _look(
        self, scene_object: bpy.types.Object, slot: int, material: bpy.types.Material, found: MaterialLook
    ) -> MaterialLook:
        wanted = SlotLook(scene_object.session_uid, slot, material.session_uid, found.uv_map)
        state = self._state(wanted)
        known_state, look = self._known.get(wanted, (-1, None))
        others = tuple(note for note in found.notes if note not in found.unread)
        if known_state != state and wanted not in self._wanted and self._running.get(wanted) != state:
            obstacle = obstacle_of(scene_object, material, found.uv_map)
            if obstacle:
                self._keep(wanted, state, None, obstacle)
            else:
                self._wanted[wanted] = (state, time.monotonic())
        if wanted in self._wanted or wanted in self._running:
            others = (*others, f'"{material.name}" is being baked for the preview.')
        elif look is None:
            why = f"{material.name}: {self._failures[wanted]}" if self._failures.get(wanted) else ""
            return replace(found, notes=(*found.notes, *([why] if why else [])))
        if look is None:
            return replace(found, notes=others)
        self._known.move_to_end(wanted)
        return MaterialLook(look, found.uv_map, found.display, notes=others)

    @property
    def waiting(self) -> bool:
        """Whether a bake runs, or will."""
        return bool(self._wanted or self._running)

    def poll(self) -> bool:
        """Go on with what is wanted; return whether looks have come. Never waits."""
        with self._lock:
            return self._poll()

    def finish(self, stopped: Callable[[], bool]) -> bool:
        """Wait until all that is wanted is baked, or until `stopped`; for final renders. Returns whether there was anything."""
        was_wanted = self.waiting
        while self.waiting and not stopped():
            in_main_thread(self.poll)  # it writes a file
            time.sleep(POLL_SECONDS)
        return was_wanted

    def _poll(self) -> bool:
        if self._baker is None:
            self._begin()
            return False
        try:
            finished = self._baker.poll()
        except PbrFitError as error:
            for wanted, state in self._running.items():
                self._keep(wanted, state, None, error.cause.splitlines()[0])
            self._stop()
            return True
        for item in finished:
            if isinstance(item, LooksBaked):
                for (wanted, state), look in zip(self._running.items(), item.looks, strict=True):
                    self._keep(wanted, state, look)
                self._stop()
                return True
        return False

    def close(self) -> None:
        """End what runs, and forget everything."""
        self._stop()
        self._forget()

    def _state(self, wanted: SlotLook) -> int:
        """A number that grows with each change of what is baked."""
        return self._changes[0] + self._changes[wanted.object_uid] + self._changes[wanted.material_uid]

    def _keep(self, wanted: SlotLook, state: int, look: Look | None, failure: str = "") -> None:
        self._known[wanted] = (state, look)
        self._known.move_to_end(wanted)
        self._failures[wanted] = failure
        while len(self._known) > LOOKS_KEPT:
            self._failures.pop(self._known.popitem(last=False)[0], None)

    def _begin(self) -> None:
        """Start to bake what is wanted of one object, if it has not changed for a moment."""
        now = time.monotonic()
        for wanted, (state, _) in list(self._wanted.items()):
            if self._state(wanted) != state:
                self._wanted[wanted] = (self._state(wanted), now)
        settled = [wanted for wanted, (_, since) in self._wanted.items() if now - since >= SETTLED_SECONDS]
        if not settled:
            return
        first = settled[0]
        together = [item for item in settled if (item.object_uid, item.uv_map) == (first.object_uid, first.uv_map)]
        # One material in two slots, one after the other, would be two in one slot if the artist swaps them.
        slots = {item.slot: item for item in together}
        self._running = {item: self._wanted.pop(item)[0] for item in slots.values()}
        objects = {item.session_uid: item for item in bpy.data.objects}
        materials = {item.session_uid: item for item in bpy.data.materials}
        scene_object = objects.get(first.object_uid)
        chosen = {slot: materials.get(item.material_uid) for slot, item in slots.items()}
        if scene_object is None or None in chosen.values():
            self._running.clear()
            return
        try:
            self._start(scene_object, {slot: item for slot, item in chosen.items() if item is not None}, first.uv_map)
            self.baked += 1
        except (OSError, RuntimeError, PbrFitError) as error:
            for wanted, state in self._running.items():
                self._keep(wanted, state, None, f"it cannot be baked for the preview: {error}")
            self._stop()

    def _start(self, scene_object: bpy.types.Object, chosen: dict[int, bpy.types.Material], uv_map: str) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="pbrfit_look_", dir=bpy.app.tempdir or None))
        copy, uid = self._folder / "object.blend", scene_object.session_uid
        sets = tuple(MapSet(item.name, (SlotUse(uid, slot),), {uid: uv_map}) for slot, item in chosen.items())
        group = GroupPlan((ObjectUse(scene_object.name, uid),), sets)
        plan = {
            "blend": str(copy),
            "objects": [[scene_object.name, None]],
            "frame": bpy.context.scene.frame_current,
            "materials": [[0, slot, item.name] for slot, item in chosen.items()],
            "output": str(self._folder),
            "group": plan_json.to_json(group),
            "target": ALL_LOBES,
            "resolution": RESOLUTION,
            "supersampling": 1,
            "start": True,
        }
        # Only the object, with what it needs: the file may be large.
        bpy.data.libraries.write(str(copy), {scene_object, *chosen.values()}, path_remap="ABSOLUTE", fake_user=True)
        self._baker = LookBaker(plan, self._folder)

    def _stop(self) -> None:
        self._running.clear()
        if self._baker is not None:
            self._baker.stop()
            self._baker = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


def obstacle_of(scene_object: bpy.types.Object, material: bpy.types.Material, uv_map: str) -> str:
    """Why a material cannot be baked for an object; empty if it can."""
    if scene_object.library is not None or scene_object.override_library is not None:
        return "it is not baked for the preview, since the object is linked from another file."
    if not uv_map:
        return "it cannot be baked for the preview, since the object has no UV map."
    changed = next((image.name for image in images_of(material.node_tree) if image.is_dirty), "")
    if changed:
        return f'it cannot be baked for the preview while "{changed}" has changes that are not saved.'
    reading = read_material(material)
    return f"it cannot be baked for the preview: {reading.reason}." if isinstance(reading, Unreadable) else ""


_looks = BakedLooks()


def baked_looks() -> BakedLooks:
    """The baked looks of the open file."""
    return _looks


@persistent
def depsgraph_updated(_scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph) -> None:
    """After any change of the file."""
    _looks.note_changes(depsgraph)


@persistent
def file_loaded(*_arguments: object) -> None:
    """After another file was loaded: nothing of the last one is needed."""
    _looks.close()


HANDLERS = {"depsgraph_update_post": depsgraph_updated, "load_post": file_loaded}


def register() -> None:
    """Give the handlers to Blender."""
    for name, handler in HANDLERS.items():
        getattr(bpy.app.handlers, name).append(handler)


def unregister() -> None:
    """End what runs, and take the handlers back."""
    for name, handler in HANDLERS.items():
        getattr(bpy.app.handlers, name).remove(handler)
    _looks.close()
