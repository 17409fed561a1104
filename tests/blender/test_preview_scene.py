"""What the preview collects of a scene: meshes once, places, looks; and nothing of the file changes."""

from __future__ import annotations

import numpy as np
import pytest
from scenes import add_cube, paint, snapshot

bpy = pytest.importorskip("bpy")


def collect(addon, collector=None):
    bpy.context.view_layer.update()
    depsgraph = bpy.context.evaluated_depsgraph_get()
    collector = collector or addon.preview_collector.PreviewCollector()
    return collector.collect(depsgraph)


def placed(part) -> np.ndarray:
    """World positions of a part, in the renderer's axes."""
    return part.arrays["vertex_position"] @ part.matrix[:3, :3].T + part.matrix[:3, 3]


def exported(addon, scene_object) -> dict:
    return addon.export_mesh.export_mesh(scene_object, bpy.context.evaluated_depsgraph_get()).arrays


def test_a_placed_part_is_what_is_exported(addon) -> None:
    cube = add_cube()
    paint(cube)
    cube.location, cube.rotation_euler, cube.scale = (1.0, 2.0, 3.0), (0.3, 0.2, 0.1), (1.0, 2.0, 0.5)
    (part,) = collect(addon).parts
    wanted = exported(addon, cube)
    np.testing.assert_allclose(placed(part), wanted["vertex_position"], atol=1e-5)
    np.testing.assert_array_equal(part.arrays["triangles"], wanted["triangles"])
    np.testing.assert_array_equal(part.arrays["vertex_uv"], wanted["vertex_uv"])
    normals = part.arrays["vertex_normal"] @ np.linalg.inv(part.matrix[:3, :3])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    np.testing.assert_allclose(normals, wanted["vertex_normal"], atol=1e-5)
    assert part.look.kd == pytest.approx((0.8, 0.3, 0.1))
    assert part.look.roughness == pytest.approx(0.4)


def test_collecting_changes_nothing(addon) -> None:
    bpy.ops.mesh.primitive_cylinder_add(vertices=12, end_fill_type="NGON")
    paint(bpy.context.object)
    before = snapshot()
    assert collect(addon).parts
    assert snapshot() == before
