# SPDX-License-Identifier: GPL-3.0-or-later
"""What the preview shows of Blender's scene: every visible mesh, its place, its look and the world's light."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import bpy
import numpy as np
from numpy.typing import NDArray

from ...common.axes import RENDERER_FROM_BLENDER
from ...common.node_trees import world_of
from ...protocol.scene_description import LINEAR, SRGB
from ...session import session
from ...session.session_maps import LiveSet
from .baked_looks import baked_looks
from .images import note_change
from .light import worlds
from .material_look import MaterialLook, read_look, tile_look
from .meshes import LocalParts, local_parts
from .scene import Look, PreviewPart, PreviewScene, Texture

# Looks are read from these datablocks.
LOOKED_AT = (bpy.types.Material, bpy.types.NodeTree, bpy.types.Image)
LIT_BY = (bpy.types.World, bpy.types.NodeTree, bpy.types.Image)
WAITING = "The world's light is being rendered."
READING = "A large mesh is being read."

NOT_CHOSEN = object()

LiveSets = dict[tuple[int, int], list[LiveSet]]
SlotMaterials = Mapping[tuple[int, int], bpy.types.Material | None]
"""Materials by object (its session_uid) and slot."""


@dataclass(frozen=True)
class Slot:
    """A material slot of an evaluated object: its look, and the live sets of maps of a running fit for it."""

    shown: MaterialLook
    live: list[LiveSet]

    @property
    def uv_map(self) -> str:
        """The UV map that reads its textures."""
        return self.live[0].uv_map if self.live else self.shown.uv_map

    @property
    def tiled(self) -> bool:
        """Whether its faces are split by UDIM tiles."""
        return self.shown.tiled or any(item.tile for item in self.live)

    def set_of(self, tile: int) -> LiveSet | None:
        """The live set for the faces in a tile, if there is one."""
        return next((item for item in self.live if item.tile in (0, tile)), None)


class PreviewCollector:
    """Collects the scene of one viewport or render, and reads again only what has changed. For the main thread.

    Tell it about updates in `view_update`, and collect after that.
    """

    def __init__(self, materials: SlotMaterials | None = None, bakes: bool = True) -> None:
        """materials: what slots show instead of their materials. Then only objects with such slots are collected, and no
        live maps. bakes: whether to have baked what cannot be read."""
        self._bakes = bakes
        self._materials = materials or {}
        self._only = {uid for uid, _ in self._materials}
        self._looks: dict[tuple[int, str], MaterialLook] = {}
        self._kept: list[LocalParts] = []

    def note_updates(self, depsgraph: bpy.types.Depsgraph) -> None:
        """Take in what has changed, as `depsgraph.updates` says."""
        for update in depsgraph.updates:
            changed = update.id.original
            if isinstance(changed, LOOKED_AT):
                self._looks.clear()
            if isinstance(changed, bpy.types.Image):
                note_change(changed)
            if isinstance(changed, LIT_BY):
                worlds().note_change(changed)

    def collect(self, depsgraph: bpy.types.Depsgraph, viewport: bpy.types.SpaceView3D | None = None) -> PreviewScene:
        """The scene as `depsgraph` evaluates it, and as `viewport` (with its local view and hidden kinds) shows it.

        Reads every mesh once until Blender evaluates it again; an object that moves costs microseconds. With a viewport, does
        not wait for large meshes (see `meshes.local_parts`), and tells the running fit that somebody watches its maps, for
        the next two seconds.
        """
        current = session.current()
        live: LiveSets = current.live_sets if current is not None and not self._only else {}
        parts: list[PreviewPart] = []
        kept: list[LocalParts] = []
        notes: dict[str, None] = {}
        for instance in depsgraph.object_instances:
            evaluated = instance.object
            if not isinstance(evaluated.data, bpy.types.Mesh) or not is_shown(instance, viewport):
                continue
            if self._only and evaluated.original.session_uid not in self._only:
                continue
            placed = np.array(instance.matrix_world, dtype=np.float64)
            matrix = RENDERER_FROM_BLENDER @ placed @ RENDERER_FROM_BLENDER.T
            if np.linalg.det(matrix[:3, :3]) == 0.0:
                continue  # scaled to nothing: no area, and no normals
            parts += self._parts_of(evaluated, matrix, live, kept, notes, wait=viewport is None)
        self._kept = kept
        if current is not None and viewport is not None and any(part.job is not None for part in parts):
            current.maps.watch()
        environment = worlds().environment(world_of(depsgraph.scene_eval, depsgraph.view_layer_eval))
        if worlds().waiting:
            notes[WAITING] = None
        error = worlds().error
        if error is not None:
            notes[error.cause] = None
        learned, light_job = (
            (current.maps.light, current.maps.light_job) if current is not None and live else (None, "")
        )
        return PreviewScene(tuple(parts), environment, tuple(notes), learned, light_job)

    def _parts_of(
        self,
        evaluated: bpy.types.Object,
        matrix: NDArray[np.float64],
        live_sets: LiveSets,
        kept: list[LocalParts],
        notes: dict[str, None],
        wait: bool,
    ) -> Iterator[PreviewPart]:
        count, default_uv_map = slot_count_of(evaluated), render_uv_map(evaluated.data)
        uid = evaluated.original.session_uid
        slots = [
            Slot(self._shown(evaluated, index, default_uv_map, live_sets), live_sets.get((uid, index), []))
            for index in range(count)
        ]
        for uv_map in dict.fromkeys(slot.uv_map for slot in slots):
            tiled = frozenset(index for index, slot in enumerate(slots) if slot.tiled and slot.uv_map == uv_map)
            mesh = local_parts(evaluated, uv_map, count, tiled, wait)
            if mesh is None:
                notes[READING] = None
                continue
            kept.append(mesh)
            for (index, tile), arrays in mesh.parts.items():
                slot = slots[index]
                if slot.uv_map != uv_map:
                    continue
                (look, told, own_notes), live = tile_look(slot.shown, tile), slot.set_of(tile)
                key = f"{mesh.key}/{index}.{tile}"
                shown = live_look(live) if live is not None else None
                job = (live.job, live.number) if live is not None and live.job else None
                if shown is None:
                    notes.update(dict.fromkeys(own_notes))
                else:
                    told = told or look
                yield PreviewPart(key, arrays, matrix, shown or look, job, told, f"{uid}/{index}.{tile}")

    def _shown(self, evaluated: bpy.types.Object, index: int, default_uv_map: str, live_sets: LiveSets) -> MaterialLook:
        """How the material in a slot looks, baked where it cannot be read and no live maps hide it."""
        scene_object = evaluated.original
        material = self._materials.get((scene_object.session_uid, index), NOT_CHOSEN)
        if material is NOT_CHOSEN:
            material = slot_material(evaluated, index)
        found = self._look(material, default_uv_map)
        is_hidden = any(live_look(live) is not None for live in live_sets.get((scene_object.session_uid, index), []))
        if material is None or not found.unread or not self._bakes or is_hidden:
            return found
        return baked_looks().look(scene_object, index, material.original, found)

    def _look(self, material: bpy.types.Material | None, default_uv_map: str) -> MaterialLook:
        wanted = material.original.session_uid if material is not None else 0, default_uv_map
        if wanted not in self._looks:
            self._looks[wanted] = read_look(material, default_uv_map)
        return self._looks[wanted]


def live_look(live: LiveSet) -> Look | None:
    """The look of a live set of maps; None before its first maps have come."""
    if "kd" not in live.maps or "orm" not in live.maps:
        return None

    def texture(name: str, channel: int | None, encoding: str = LINEAR) -> Texture:
        shown = live.maps[name]
        return Texture(shown.key, 0, shown.image, channel, encoding)

    return Look(
        kd=texture("kd", None, SRGB),
        alpha=texture("kd", 3, SRGB) if live.alpha else 1.0,
        roughness=texture("orm", 1),
        metallic=texture("orm", 2),
        openness=texture("orm", 0),
        normal=texture("normal", None) if "normal" in live.maps else None,
    )


def is_shown(instance: bpy.types.DepsgraphObjectInstance, viewport: bpy.types.SpaceView3D | None) -> bool:
    """Whether an instance is visible: not an instancer that hides itself, and not hidden from the camera or viewport."""
    evaluated = instance.object
    if not instance.show_self or not evaluated.visible_camera:
        return False
    return viewport is None or bool(evaluated.visible_in_viewport_get(viewport))


def slot_count_of(evaluated: bpy.types.Object) -> int:
    """How many slots the faces of an evaluated object may use, at least 1."""
    return max(1, len(evaluated.material_slots), len(evaluated.data.materials))


def slot_material(evaluated: bpy.types.Object, index: int) -> bpy.types.Material | None:
    """The material in a slot of an evaluated object or instance; it is evaluated, so it has the frame's animation."""
    slots, materials = evaluated.material_slots, evaluated.data.materials
    if index < len(slots) and slots[index].link == "OBJECT":
        return slots[index].material
    return materials[index] if index < len(materials) else None


def render_uv_map(mesh: bpy.types.Mesh) -> str:
    """The name of the UV map that renders use if the nodes name none; empty if there is none."""
    return next((layer.name for layer in mesh.uv_layers if layer.active_render), "")
