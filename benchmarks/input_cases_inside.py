"""The truth of an input case, from a Blender of its own: `python input_cases_inside.py request.json`.

The mesh is the one that a render of the artist's own scene gets: a render engine that only reads is asked to render. The
request has `blend`, `object`, `views` (of a plan for references), `size` and `output`: an npz with `outlines`, bool
[views, size, size], the mesh alone from each view by ray casts, and `coverage`, bool [slots, 256, 256], which texels faces
of each slot cover. Row 0 is at the top. Nothing of PBRfit is imported.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix, Vector
from mathutils.bvhtree import BVHTree
from numpy.typing import NDArray

TEXELS = 256


class Reader(bpy.types.RenderEngine):  # type: ignore[misc]
    """Reads the mesh of one object from the depsgraph of a render."""

    bl_idname = "PBRFIT_CASE_READER"
    bl_label = "PBRfit case reader"
    target: bpy.types.Object
    found: dict[str, Any]

    def render(self, depsgraph: bpy.types.Depsgraph) -> None:
        """Keep positions in the world, triangles, their UVs and slots."""
        evaluated = Reader.target.evaluated_get(depsgraph)
        mesh = evaluated.to_mesh(preserve_all_data_layers=True, depsgraph=depsgraph)
        mesh.calc_loop_triangles()
        corners = np.array([triangle.loops[:] for triangle in mesh.loop_triangles], int).reshape(-1, 3)
        matrix = np.array(evaluated.matrix_world)
        positions = np.array([vertex.co[:] for vertex in mesh.vertices]).reshape(-1, 3)
        layer = mesh.uv_layers.active
        uv = np.array([item.vector[:] for item in layer.uv]) if layer else np.zeros((len(mesh.loops), 2))
        Reader.found = {
            "positions": positions @ matrix[:3, :3].T + matrix[:3, 3],
            "triangles": np.array([triangle.vertices[:] for triangle in mesh.loop_triangles], int).reshape(-1, 3),
            "uv": uv[corners],
            "slots": np.array([triangle.material_index for triangle in mesh.loop_triangles], int),
        }
        evaluated.to_mesh_clear()


def render_mesh(target: bpy.types.Object, scene: bpy.types.Scene) -> dict[str, Any]:
    """The object as a render of the scene evaluates it."""
    bpy.utils.register_class(Reader)
    scene.render.engine = Reader.bl_idname
    scene.render.resolution_x = scene.render.resolution_y = 16
    if scene.camera is None:  # Blender renders nothing without one
        scene.camera = bpy.data.objects.new("Case camera", bpy.data.cameras.new("Case camera"))
        scene.collection.objects.link(scene.camera)
    Reader.target = target
    bpy.ops.render.render(scene=scene.name)
    return Reader.found


def outline(found: dict[str, Any], view: dict[str, Any], size: int) -> NDArray[np.bool_]:
    """Whether the ray through each pixel's center meets the mesh, bool [size, size]."""
    tree = BVHTree.FromPolygons(found["positions"].tolist(), found["triangles"].tolist())
    matrix = Matrix(view["matrix_world"])
    eye, turn = matrix.translation, matrix.to_3x3()
    reach = np.tan(view["fov"] / 2.0)
    centers = ((np.arange(size) + 0.5) / size * 2.0 - 1.0) * reach
    hits = [[tree.ray_cast(eye, turn @ Vector((x, -y, -1.0)))[0] is not None for x in centers] for y in centers]
    return np.array(hits)


def coverage(found: dict[str, Any]) -> NDArray[np.bool_]:
    """Which texels have their center in a triangle of each slot, bool [slots, 256, 256]."""
    covered = np.zeros((int(found["slots"].max(initial=0)) + 1, TEXELS, TEXELS), bool)
    for corners, slot in zip(found["uv"] * TEXELS, found["slots"], strict=True):
        low = np.floor(corners.min(0)).astype(int)
        high = np.ceil(corners.max(0)).astype(int)
        area = np.cross(corners[1] - corners[0], corners[2] - corners[0])
        if abs(area) < 1e-9 or (high - low).max() > 4 * TEXELS:
            continue
        y, x = np.mgrid[low[1] : high[1], low[0] : high[0]]
        points = np.stack([x, y], -1) + 0.5
        sides = [np.cross(corners[(i + 1) % 3] - corners[i], points - corners[i]) / area for i in range(3)]
        inside = np.min(sides, axis=0) >= 0.0
        covered[slot, TEXELS - 1 - y[inside] % TEXELS, x[inside] % TEXELS] = True
    return covered


def main(path: str) -> None:
    """Carry out the request."""
    request = json.loads(Path(path).read_text(encoding="utf-8"))
    bpy.ops.wm.open_mainfile(filepath=request["blend"], load_ui=False, use_scripts=False)
    name, scenes = request["object"], [bpy.context.scene, *bpy.data.scenes]
    scene = next((scene for scene in scenes if name in scene.objects), bpy.context.scene)
    # Of a local and a linked object of one name, the local one is meant.
    target = next(item for item in bpy.data.objects if item.name == name and item.library is None)
    found = render_mesh(target, scene)
    outlines = [outline(found, view, request["size"]) for view in request["views"]]
    np.savez(request["output"], outlines=np.array(outlines), coverage=coverage(found))


if __name__ == "__main__":
    main(sys.argv[1])
    sys.stdout.flush()
    os._exit(0)  # some versions of Blender hang or crash when Python ends
