"""The scene of the demo is one that needs a fit, and can be fitted."""

from __future__ import annotations

import json

import numpy as np
import pytest
from support.command_line import run_python

LOOK_INTO = """
import json, os, sys
import bpy
bpy.ops.wm.open_mainfile(filepath=sys.argv[1])
thing = bpy.context.view_layer.objects.active
mesh = thing.evaluated_get(bpy.context.evaluated_depsgraph_get()).to_mesh()
layer = mesh.uv_layers.active.data
nodes = thing.material_slots[0].material.node_tree.nodes
world = bpy.context.scene.world.node_tree.nodes
seen = {
    "name": thing.name,
    "faces": len(mesh.polygons),
    "base_faces": len(thing.data.polygons),
    "uv_faces": [[tuple(layer[loop].uv) for loop in polygon.loop_indices] for polygon in mesh.polygons],
    "surface": nodes["Material Output"].inputs["Surface"].links[0].from_node.type,
    "metallic": sorted(node.inputs["Metallic"].default_value for node in nodes if node.type == "BSDF_PRINCIPLED"),
    "linked": [
        sorted(socket.name for socket in node.inputs if socket.is_linked)
        for node in nodes if node.type == "BSDF_PRINCIPLED"
    ],
    "world": [os.path.basename(node.image.filepath) for node in world if node.type == "TEX_ENVIRONMENT"],
    "images": [node.type for node in nodes if node.type == "TEX_IMAGE"],
}
open(sys.argv[2], "w").write(json.dumps(seen))
os._exit(0)
"""


@pytest.fixture(scope="module")
def seen(demo_file, tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("look_into_demo")
    (folder / "look_into.py").write_text(LOOK_INTO)
    run_python(folder / "look_into.py", demo_file, folder / "seen.json")
    return json.loads((folder / "seen.json").read_text())


def test_the_material_cannot_be_read_off_one_node(seen):
    assert seen["surface"] == "MIX_SHADER"
    assert seen["metallic"] == [0.0, 1.0]
    assert seen["linked"] == [["Base Color", "Normal", "Roughness"]] * 2
    assert seen["images"] == []


def test_it_is_a_subdivided_suzanne_in_the_forest(seen):
    assert seen["name"] == "Suzanne"
    assert seen["faces"] > 10 * seen["base_faces"]
    assert seen["world"] == ["forest.exr"]


def texels_inside(corners: np.ndarray, width: int, height: int) -> np.ndarray:
    """bool [height, width]: the texels whose center a convex polygon [n, 2] holds."""
    rows, columns = np.mgrid[:height, :width] + 0.5
    along = np.roll(corners, -1, axis=0) - corners
    sides = np.array(
        [x * (rows - start[1]) - y * (columns - start[0]) for (x, y), start in zip(along, corners, strict=True)]
    )
    return (sides > 0).all(axis=0) | (sides < 0).all(axis=0)


def test_uvs_do_not_overlap_and_fill_the_map(seen):
    size = 512
    covered = np.zeros((size, size), np.int32)
    for corners in seen["uv_faces"]:
        corners = np.array(corners) * size
        assert corners.min() >= 0.0
        assert corners.max() <= size
        left, top = np.floor(corners.min(axis=0)).astype(int)
        right, bottom = np.ceil(corners.max(axis=0)).astype(int)
        covered[top:bottom, left:right] += texels_inside(corners - (left, top), right - left, bottom - top)
    assert (covered > 1).mean() < 0.001
    assert (covered > 0).mean() > 0.3
