# SPDX-License-Identifier: GPL-3.0-or-later
"""What of Blender's scene the preview shows: every visible mesh, its place, its look and the world's light."""

from __future__ import annotations

import bpy
import numpy as np

from .axes import RENDERER_FROM_BLENDER
from .material_look import MaterialLook, read_look
from .preview_meshes import LocalParts, local_parts
from .preview_scene import PreviewPart, PreviewScene

# Datablocks that looks are read from.
LOOKED_AT = (bpy.types.Material, bpy.types.NodeTree, bpy.types.Image)

_TO_RENDERER = np.eye(4)
_TO_RENDERER[:3, :3] = RENDERER_FROM_BLENDER


class PreviewCollector:
    """Collects the scene of one viewport or render, and reads again only what has changed. For the main thread.

    Tell it of updates in `view_update`, and collect after it.
    """

    def __init__(self) -> None:
        self._looks: dict[tuple[int, str], MaterialLook] = {}
        self._image_versions: dict[int, int] = {}
        self._kept: list[LocalParts] = []

    def note_updates(self, depsgraph: bpy.types.Depsgraph) -> None:
        """Take in what `depsgraph.updates` says has changed."""
        for update in depsgraph.updates:
            if isinstance(update.id, LOOKED_AT):
                self._looks.clear()
            if isinstance(update.id, bpy.types.Image):
                uid = update.id.original.session_uid
                self._image_versions[uid] = self._image_versions.get(uid, 0) + 1

    def collect(self, depsgraph: bpy.types.Depsgraph, viewport: bpy.types.SpaceView3D | None = None) -> PreviewScene:
        """The scene as `depsgraph` evaluates it, and as `viewport` (with its local view and hidden kinds) shows it.

        Reads every mesh once until Blender evaluates it anew; an object that moves costs microseconds.
        """
        parts: list[PreviewPart] = []
        kept: list[LocalParts] = []
        notes: dict[str, None] = {}
        for instance in depsgraph.object_instances:
            evaluated = instance.object
            if not isinstance(evaluated.data, bpy.types.Mesh) or not is_shown(instance, viewport):
                continue
            matrix = _TO_RENDERER @ np.array(instance.matrix_world, dtype=np.float64) @ _TO_RENDERER.T
            if np.linalg.det(matrix[:3, :3]) == 0.0:
                continue  # scaled to nothing: no area, and no normals
            self._add(evaluated, matrix, parts, kept, notes)
        self._kept = kept
        return PreviewScene(tuple(parts), None, tuple(notes))

    def _add(
        self,
        evaluated: bpy.types.Object,
        matrix: np.ndarray,
        parts: list[PreviewPart],
        kept: list[LocalParts],
        notes: dict[str, None],
    ) -> None:
        slot_count, default_uv_map = slot_count_of(evaluated), render_uv_map(evaluated.data)
        looks = [self._look(slot_material(evaluated, index), default_uv_map) for index in range(slot_count)]
        for uv_map in dict.fromkeys(look.uv_map for look in looks):
            mesh = local_parts(evaluated, uv_map, slot_count)
            kept.append(mesh)
            for (slot, tile), arrays in mesh.parts.items():
                if looks[slot].uv_map == uv_map:
                    parts.append(PreviewPart(f"{mesh.key}/{slot}.{tile}", arrays, matrix, looks[slot].look))
                    notes.update(dict.fromkeys(looks[slot].notes))

    def _look(self, material: bpy.types.Material | None, default_uv_map: str) -> MaterialLook:
        wanted = material.session_uid if material is not None else 0, default_uv_map
        if wanted not in self._looks:
            self._looks[wanted] = read_look(material, default_uv_map, self._image_version)
        return self._looks[wanted]

    def _image_version(self, image: bpy.types.Image) -> int:
        return self._image_versions.get(image.session_uid, 0)


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
    """The material (of the file) that a slot of an evaluated object or instance shows."""
    slots, materials = evaluated.material_slots, evaluated.data.materials
    if index < len(slots) and slots[index].link == "OBJECT":
        found = slots[index].material
    else:
        found = materials[index] if index < len(materials) else None
    return found.original if found is not None else None


def render_uv_map(mesh: bpy.types.Mesh) -> str:
    """The name of the UV map that renders use where nodes name none; empty where there is none."""
    return next((layer.name for layer in mesh.uv_layers if layer.active_render), "")
