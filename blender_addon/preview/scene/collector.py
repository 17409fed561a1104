# SPDX-License-Identifier: GPL-3.0-or-later
"""What of Blender's scene the preview shows: every visible mesh, its place, its look and the world's light."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import bpy
import numpy as np

from ...common.axes import RENDERER_FROM_BLENDER
from ...protocol.scene_description import LINEAR, SRGB
from ...session import session
from ...session.session_maps import SetInTheMaking
from .images import note_change
from .light import worlds
from .material_look import MaterialLook, read_look, tile_look
from .meshes import LocalParts, local_parts
from .scene import Look, PreviewPart, PreviewScene, Texture

# Datablocks that looks are read from.
LOOKED_AT = (bpy.types.Material, bpy.types.NodeTree, bpy.types.Image)
LIT_BY = (bpy.types.World, bpy.types.NodeTree, bpy.types.Image)
WAITING = "The world's light is being rendered."

Making = dict[tuple[int, int], list[SetInTheMaking]]


@dataclass(frozen=True)
class Slot:
    """A material slot of an evaluated object: its look, and the sets of maps that are being made for it."""

    shown: MaterialLook
    making: list[SetInTheMaking]

    @property
    def uv_map(self) -> str:
        """The UV map that it is seen through."""
        return self.making[0].uv_map if self.making else self.shown.uv_map

    @property
    def tiled(self) -> bool:
        """Whether its faces are parted by UDIM tiles."""
        return self.shown.tiled or any(item.tile for item in self.making)

    def set_of(self, tile: int) -> SetInTheMaking | None:
        """The set that is made for the faces in a tile, if there is one."""
        return next((item for item in self.making if item.tile in (0, tile)), None)


class PreviewCollector:
    """Collects the scene of one viewport or render, and reads again only what has changed. For the main thread.

    Tell it of updates in `view_update`, and collect after it.
    """

    def __init__(self) -> None:
        self._looks: dict[tuple[int, str], MaterialLook] = {}
        self._kept: list[LocalParts] = []

    def note_updates(self, depsgraph: bpy.types.Depsgraph) -> None:
        """Take in what `depsgraph.updates` says has changed."""
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

        Reads every mesh once until Blender evaluates it anew; an object that moves costs microseconds. With a viewport,
        the running fit is told that its maps are watched, for the two seconds to come.
        """
        current = session.current()
        making: Making = current.maps_in_the_making if current is not None else {}
        parts: list[PreviewPart] = []
        kept: list[LocalParts] = []
        notes: dict[str, None] = {}
        for instance in depsgraph.object_instances:
            evaluated = instance.object
            if not isinstance(evaluated.data, bpy.types.Mesh) or not is_shown(instance, viewport):
                continue
            placed = np.array(instance.matrix_world, dtype=np.float64)
            matrix = RENDERER_FROM_BLENDER @ placed @ RENDERER_FROM_BLENDER.T
            if np.linalg.det(matrix[:3, :3]) == 0.0:
                continue  # scaled to nothing: no area, and no normals
            parts += self._parts_of(evaluated, matrix, making, kept, notes)
        self._kept = kept
        if viewport is not None and any(part.job is not None for part in parts):
            current.maps.watch()
        environment = worlds().environment(depsgraph.scene_eval)
        if worlds().waiting:
            notes[WAITING] = None
        if worlds().error is not None:
            notes[worlds().error.cause] = None
        learned, light_job = (current.maps.light, current.maps.light_job) if making else (None, "")
        return PreviewScene(tuple(parts), environment, tuple(notes), learned, light_job)

    def _parts_of(
        self,
        evaluated: bpy.types.Object,
        matrix: np.ndarray,
        making: Making,
        kept: list[LocalParts],
        notes: dict[str, None],
    ) -> Iterator[PreviewPart]:
        count, default_uv_map = slot_count_of(evaluated), render_uv_map(evaluated.data)
        uid = evaluated.original.session_uid
        slots = [
            Slot(self._look(slot_material(evaluated, index), default_uv_map), making.get((uid, index), []))
            for index in range(count)
        ]
        for uv_map in dict.fromkeys(slot.uv_map for slot in slots):
            tiled = frozenset(index for index, slot in enumerate(slots) if slot.tiled and slot.uv_map == uv_map)
            mesh = local_parts(evaluated, uv_map, count, tiled)
            kept.append(mesh)
            for (index, tile), arrays in mesh.parts.items():
                slot = slots[index]
                if slot.uv_map != uv_map:
                    continue
                (look, told, own_notes), made = tile_look(slot.shown, tile), slot.set_of(tile)
                key = f"{mesh.key}/{index}.{tile}"
                grown = look_in_the_making(made) if made is not None else None
                job = (made.job, made.number) if made is not None and made.job else None
                if grown is None:
                    notes.update(dict.fromkeys(own_notes))
                else:
                    told = told or look
                yield PreviewPart(key, arrays, matrix, grown or look, job, told)

    def _look(self, material: bpy.types.Material | None, default_uv_map: str) -> MaterialLook:
        wanted = material.original.session_uid if material is not None else 0, default_uv_map
        if wanted not in self._looks:
            self._looks[wanted] = read_look(material, default_uv_map)
        return self._looks[wanted]


def look_in_the_making(made: SetInTheMaking) -> Look | None:
    """The look of a set of maps as far as it has come; None where it has not come at all."""
    if "kd" not in made.maps or "orm" not in made.maps:
        return None

    def texture(name: str, channel: int | None, encoding: str = LINEAR) -> Texture:
        shown = made.maps[name]
        return Texture(shown.key, 0, shown.image, channel, encoding)

    return Look(
        kd=texture("kd", None, SRGB),
        alpha=texture("kd", 3, SRGB) if made.alpha else 1.0,
        roughness=texture("orm", 1),
        metallic=texture("orm", 2),
        openness=texture("orm", 0),
        normal=texture("normal", None) if "normal" in made.maps else None,
    )


def is_shown(instance: bpy.types.DepsgraphObjectInstance, viewport: bpy.types.SpaceView3D | None) -> bool:
    """Whether an instance is to be seen: not an instancer that hides itself, not hidden from the camera or viewport."""
    evaluated = instance.object
    if not instance.show_self or not evaluated.visible_camera:
        return False
    return viewport is None or evaluated.visible_in_viewport_get(viewport)


def slot_count_of(evaluated: bpy.types.Object) -> int:
    """How many slots the faces of an evaluated object may use, at least 1."""
    return max(1, len(evaluated.material_slots), len(evaluated.data.materials))


def slot_material(evaluated: bpy.types.Object, index: int) -> bpy.types.Material | None:
    """The material that a slot of an evaluated object or instance shows: evaluated, so with the frame's animation."""
    slots, materials = evaluated.material_slots, evaluated.data.materials
    if index < len(slots) and slots[index].link == "OBJECT":
        return slots[index].material
    return materials[index] if index < len(materials) else None


def render_uv_map(mesh: bpy.types.Mesh) -> str:
    """The name of the UV map that renders use where nodes name none; empty where there is none."""
    return next((layer.name for layer in mesh.uv_layers if layer.active_render), "")
