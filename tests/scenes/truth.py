"""The mesh that a render of the artist's own scene gets, and how it looks from a camera. Nothing of PBRfit is imported.

    python tests/scenes/truth.py request.json

The request has `blend`, `object`, `views` (list of {`matrix_world`, `fov`}), `size` and `output`: an npz with `outlines`,
float32 [views, size, size], the covered share of each pixel, and `coverage`, bool [slots, 256, 256], which texels faces of
each slot cover. Row 0 is at the top.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix, Vector
from mathutils.bvhtree import BVHTree
from numpy.typing import NDArray

TEXELS = 256
RAYS = 3  # along each side of a pixel
DECIDED = 0.2  # a pixel counts if less than this, or more than the rest, is covered


@dataclass(frozen=True)
class Triangles:
    """positions: float64 [V, 3] in the world, Blender's axes; corners: int64 [T, 3]; uv: float64 [T, 3, 2]; slots: int64 [T]."""

    positions: NDArray[np.float64]
    corners: NDArray[np.int64]
    uv: NDArray[np.float64]
    slots: NDArray[np.int64]


class Reader(bpy.types.RenderEngine):  # type: ignore[misc]
    """Reads the mesh of one object from the dependency graph of a render, in place of rendering."""

    bl_idname = "TRUTH_READER"
    bl_label = "Truth"
    target: bpy.types.Object
    found: Triangles | None

    def render(self, depsgraph: bpy.types.Depsgraph) -> None:
        """Keep the triangles."""
        evaluated = Reader.target.evaluated_get(depsgraph)
        mesh = evaluated.to_mesh(preserve_all_data_layers=True, depsgraph=depsgraph)
        mesh.calc_loop_triangles()
        loops = np.array([triangle.loops[:] for triangle in mesh.loop_triangles], np.int64).reshape(-1, 3)
        matrix = np.array(evaluated.matrix_world)
        positions = np.array([vertex.co[:] for vertex in mesh.vertices]).reshape(-1, 3)
        layer = mesh.uv_layers.active
        uv = np.array([item.vector[:] for item in layer.uv]) if layer else np.zeros((len(mesh.loops), 2))
        Reader.found = Triangles(
            positions=positions @ matrix[:3, :3].T + matrix[:3, 3],
            corners=np.array([triangle.vertices[:] for triangle in mesh.loop_triangles], np.int64).reshape(-1, 3),
            uv=uv[loops],
            slots=np.array([triangle.material_index for triangle in mesh.loop_triangles], np.int64),
        )
        evaluated.to_mesh_clear()


def rendered_triangles(target: bpy.types.Object, scene: bpy.types.Scene) -> Triangles:
    """The object as a render of the scene evaluates it, shown if it is hidden. The scene's engine, size and border change, and
    it gets a camera where it has none."""
    bpy.utils.register_class(Reader)
    try:
        scene.render.engine = Reader.bl_idname
        scene.render.resolution_x = scene.render.resolution_y = 16
        scene.render.resolution_percentage, scene.render.use_border = 100, False
        if scene.camera is None:  # Blender renders nothing without one
            scene.camera = bpy.data.objects.new("Truth camera", bpy.data.cameras.new("Truth camera"))
            scene.collection.objects.link(scene.camera)
        Reader.target, Reader.found = target, None
        target.hide_render = False  # else a render does not evaluate it
        bpy.ops.render.render(scene=scene.name)
    finally:
        bpy.utils.unregister_class(Reader)
    assert Reader.found is not None
    return Reader.found


def outlines(
    positions: NDArray[Any], corners: NDArray[Any], views: Sequence[dict[str, Any]], size: int
) -> NDArray[np.float32]:
    """How much of each pixel the triangles cover, float32 [views, size, size], by ray casts.

    positions [V, 3], corners [T, 3]; views: `matrix_world` and `fov` (radians, of the width and the height) each.
    """
    tree = BVHTree.FromPolygons(positions.tolist(), corners.tolist())
    images = []
    for view in views:
        matrix = Matrix(view["matrix_world"])
        eye, turn = matrix.translation, matrix.to_3x3()
        count = size * RAYS
        places = ((np.arange(count) + 0.5) / count * 2.0 - 1.0) * np.tan(view["fov"] / 2.0)
        hits = [[tree.ray_cast(eye, turn @ Vector((x, -y, -1.0)))[0] is not None for x in places] for y in places]
        images.append(np.array(hits, np.float32).reshape(size, RAYS, size, RAYS).mean(axis=(1, 3)))
    return np.array(images, np.float32).reshape(-1, size, size)


def agreement(covered: NDArray[Any], opaque: NDArray[Any]) -> float:
    """Intersection over union of outlines, shares of pixels 0..1 [views, size, size]; 1 if nothing is covered. Pixels that
    the first ones halve do not count, since noise decides there."""
    decided = np.abs(covered - 0.5) > 0.5 - DECIDED
    one, other = covered[decided] > 0.5, opaque[decided] > 0.5
    union = (one | other).sum()
    return float((one & other).sum() / union) if union else 1.0


def coverage(triangles: Triangles) -> NDArray[np.bool_]:
    """Which texels have their center in a triangle of each slot, bool [slots, 256, 256], row 0 at the top."""
    covered = np.zeros((int(triangles.slots.max(initial=0)) + 1, TEXELS, TEXELS), bool)
    for uv, slot in zip(triangles.uv * TEXELS, triangles.slots, strict=True):
        low, high = np.floor(uv.min(0)).astype(int), np.ceil(uv.max(0)).astype(int)
        area = cross(uv[1] - uv[0], uv[2] - uv[0])
        if abs(area) < 1e-9 or (high - low).max() > 4 * TEXELS:
            continue
        y, x = np.mgrid[low[1] : high[1], low[0] : high[0]]
        points = np.stack([x, y], -1) + 0.5
        sides = [cross(uv[(i + 1) % 3] - uv[i], points - uv[i]) / area for i in range(3)]
        inside = np.min(sides, axis=0) >= 0.0
        covered[slot, TEXELS - 1 - y[inside] % TEXELS, x[inside] % TEXELS] = True
    return covered


def cross(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """The third component of the cross product of vectors in the plane, [..., 2] each."""
    result: NDArray[Any] = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    return result


def main(path: str) -> None:
    """Carry out the request."""
    request = json.loads(Path(path).read_text(encoding="utf-8"))
    bpy.ops.wm.open_mainfile(filepath=request["blend"], load_ui=False, use_scripts=False)
    name, scenes = request["object"], [bpy.context.scene, *bpy.data.scenes]
    scene = next((scene for scene in scenes if name in scene.objects), bpy.context.scene)
    # Of a local and a linked object of one name, the local one is meant.
    target = next(item for item in bpy.data.objects if item.name == name and item.library is None)
    found = rendered_triangles(target, scene)
    images = outlines(found.positions, found.corners, request["views"], request["size"])
    np.savez(request["output"], outlines=images, coverage=coverage(found))


if __name__ == "__main__":
    main(sys.argv[1])
    sys.stdout.flush()
    os._exit(0)  # some versions of Blender hang or crash when Python ends
