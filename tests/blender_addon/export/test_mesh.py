"""The exported mesh agrees with Blender and with plain geometry."""

from __future__ import annotations

import numpy as np
import pytest
from support.blender.scenes import add_cube, paint, snapshot

bpy = pytest.importorskip("bpy")
bmesh = pytest.importorskip("bmesh")


def export(addon, scene_object):
    bpy.context.view_layer.update()
    return addon.export.mesh.export_mesh(scene_object, bpy.context.evaluated_depsgraph_get())


def to_renderer(vector) -> np.ndarray:
    """Blender's (X, Y, Z) is the renderer's (-Y, Z, -X), written out a second time."""
    x, y, z = vector
    return np.array([-y, z, -x])


def uv_derivatives(arrays: dict) -> tuple[np.ndarray, np.ndarray]:
    """For each triangle, the world directions [T, 3] in which u and v grow."""
    corners = arrays["vertex_position"][arrays["triangles"]].astype(np.float64)
    uv = arrays["vertex_uv"][arrays["triangles"]].astype(np.float64)
    edges = corners[:, 1:] - corners[:, :1]
    uv_edges = uv[:, 1:] - uv[:, :1]
    directions = np.linalg.solve(uv_edges, edges)
    return directions[:, 0], directions[:, 1]


def check_frames(arrays: dict, flat: bool) -> None:
    """Check winding, normals and tangents of a mesh: front faces, unit lengths, handedness from the UVs."""
    position, triangles = arrays["vertex_position"], arrays["triangles"]
    normal, tangent = arrays["vertex_normal"], arrays["vertex_tangent"]
    a, b, c = (position[triangles[:, corner]] for corner in range(3))
    face_normal = np.cross(b - a, c - a)
    for corner in range(3):
        assert ((face_normal * normal[triangles[:, corner]]).sum(axis=1) > 0).all()
    np.testing.assert_allclose(np.linalg.norm(normal, axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(tangent[:, :3], axis=1), 1.0, atol=1e-5)
    assert set(np.unique(tangent[:, 3])) <= {-1.0, 1.0}
    if flat:
        np.testing.assert_allclose((normal * tangent[:, :3]).sum(axis=1), 0.0, atol=1e-5)
    along_u, along_v = uv_derivatives(arrays)
    for corner in range(3):
        index = triangles[:, corner]
        bitangent = tangent[index, 3:] * np.cross(normal[index], tangent[index, :3])
        assert ((along_u * tangent[index, :3]).sum(axis=1) > 0).all()
        assert ((along_v * bitangent).sum(axis=1) > 0).all()


def mirror_uvs(scene_object, faces: slice) -> None:
    """Mirror the UVs of some faces about u = 0.5."""
    layer = scene_object.data.uv_layers.active
    for polygon in scene_object.data.polygons[faces]:
        for loop in polygon.loop_indices:
            layer.uv[loop].vector.x = 1.0 - layer.uv[loop].vector.x


def test_cube_has_one_vertex_for_each_corner_of_each_face(addon) -> None:
    scene_object = add_cube()
    scene_object.location, scene_object.rotation_euler = (1.0, 2.0, 3.0), (0.3, 0.2, 0.1)
    exported = export(addon, scene_object)
    arrays = exported.arrays
    assert {name: (array.dtype.name, array.shape) for name, array in arrays.items()} == {
        "vertex_position": ("float32", (24, 3)),
        "vertex_normal": ("float32", (24, 3)),
        "vertex_tangent": ("float32", (24, 4)),
        "vertex_uv": ("float32", (24, 2)),
        "triangles": ("int32", (12, 3)),
        "triangle_material": ("int32", (12,)),
    }
    assert all(array.flags["C_CONTIGUOUS"] for array in arrays.values())
    world = [scene_object.matrix_world @ vertex.co for vertex in scene_object.data.vertices]
    expected = {tuple(np.round(to_renderer(vector), 4)) for vector in world}
    assert {tuple(row) for row in np.round(arrays["vertex_position"].astype(float), 4)} == expected
    assert exported.uv_map == "UVMap"
    assert exported.used_slots == (0,)
    check_frames(arrays, flat=True)


@pytest.mark.parametrize("scale", [(1, 1, 1), (-1, 1, 1), (2, 2, 2), (-1, -1, -1), (1, 3, 0.5), (-1, 2, 0.5)])
def test_frames_under_every_kind_of_scale(addon, scale) -> None:
    scene_object = add_cube()
    scene_object.rotation_euler = (0.4, -0.3, 1.1)
    scene_object.scale = scale
    mirror_uvs(scene_object, slice(0, 3))
    arrays = export(addon, scene_object).arrays
    check_frames(arrays, flat=True)
    assert set(np.unique(arrays["vertex_tangent"][:, 3])) == {-1.0, 1.0}


def test_smooth_vertices_are_shared(addon) -> None:
    bpy.ops.mesh.primitive_uv_sphere_add(segments=32, ring_count=16)
    bpy.ops.object.shade_smooth()
    scene_object = bpy.context.object
    arrays = export(addon, scene_object).arrays
    # 33 columns (one seam) of 15 inner rings, and one vertex for each triangle at the poles
    assert len(arrays["vertex_position"]) == 33 * 15 + 2 * 32
    np.testing.assert_allclose(arrays["vertex_normal"], arrays["vertex_position"], atol=0.02)
    check_frames(arrays, flat=False)


def test_modifiers_and_shape_keys_are_applied(addon) -> None:
    scene_object = add_cube()
    scene_object.modifiers.new("Subdivision", "SUBSURF").levels = 1
    scene_object.shape_key_add(name="Basis")
    key = scene_object.shape_key_add(name="Taller")
    for point in key.data:
        point.co.z *= 3.0
    key.value = 1.0
    arrays = export(addon, scene_object).arrays
    assert len(arrays["triangles"]) == 48
    extent = np.ptp(arrays["vertex_position"], axis=0)
    assert extent[1] == pytest.approx(3.0 * extent[0], rel=1e-4)


def test_ngons_are_triangulated_on_a_copy(addon) -> None:
    bpy.ops.mesh.primitive_cylinder_add(vertices=12, end_fill_type="NGON")
    scene_object = bpy.context.object
    paint(scene_object)
    before = snapshot()
    arrays = export(addon, scene_object).arrays
    assert snapshot() == before
    assert len(arrays["triangles"]) == 2 * 10 + 2 * 12
    check_frames(arrays, flat=True)


def test_tangents_of_ngon_meshes_are_those_of_triangulated_ones(addon) -> None:
    bpy.ops.mesh.primitive_cylinder_add(vertices=12, end_fill_type="NGON")
    scene_object = bpy.context.object
    copied = export(addon, scene_object).arrays
    mesh = bmesh.new()
    mesh.from_mesh(scene_object.data)
    bmesh.ops.triangulate(mesh, faces=mesh.faces)
    mesh.to_mesh(scene_object.data)
    mesh.free()
    direct = export(addon, scene_object).arrays
    frames = [
        {tuple(row) for row in np.round(np.concatenate([a["vertex_position"], a["vertex_tangent"]], axis=1), 2) + 0.0}
        for a in (copied, direct)
    ]
    assert frames[0] == frames[1]


def test_custom_normals_are_exported(addon) -> None:
    scene_object = add_cube()
    wanted = np.array([1.0, 2.0, 2.0]) / 3.0
    scene_object.data.normals_split_custom_set([tuple(wanted)] * 24)
    arrays = export(addon, scene_object).arrays
    upper = arrays["vertex_normal"] @ to_renderer(wanted)
    np.testing.assert_allclose(upper, 1.0, atol=1e-3)


def test_material_slots(addon) -> None:
    scene_object = add_cube()
    for name in ("A", "B", "C"):
        paint(scene_object, name)
    for index, slot in enumerate([0, 2, 2, 7, 0, 0]):
        scene_object.data.attributes.new("material_index", "INT", "FACE") if index == 0 else None
        scene_object.data.attributes["material_index"].data[index].value = slot
    exported = export(addon, scene_object)
    assert exported.used_slots == (0, 2)
    assert np.bincount(exported.arrays["triangle_material"]).tolist() == [6, 0, 6]


def test_active_uv_map(addon) -> None:
    scene_object = add_cube()
    other = scene_object.data.uv_layers.new(name="Packed")
    for entry in other.uv:
        entry.vector = entry.vector * 0.5
    scene_object.data.uv_layers.active = other
    exported = export(addon, scene_object)
    assert exported.uv_map == "Packed"
    assert exported.arrays["vertex_uv"].max() == pytest.approx(0.5, abs=0.01)


def test_export_changes_nothing(addon) -> None:
    scene_object = add_cube()
    paint(scene_object)
    scene_object.modifiers.new("Subdivision", "SUBSURF")
    bpy.ops.mesh.primitive_cylinder_add(location=(5.0, 0.0, 0.0))
    before = snapshot()
    export(addon, scene_object)
    assert snapshot() == before


def test_different_rows_with_one_hash_stay_apart(addon, monkeypatch) -> None:
    """If two rows share a hash, the rows themselves must be sorted."""
    rows = np.array([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], dtype=np.float32)
    monkeypatch.setattr(addon.export.mesh, "row_hashes", lambda bits: np.zeros(len(bits), dtype=np.uint64))
    first, inverse = addon.export.mesh.unique_rows(rows)
    assert len(first) == 3
    np.testing.assert_array_equal(rows[first[inverse]], rows)


@pytest.mark.parametrize("kinds", [1, 3, 40])
def test_equal_corners_are_those_of_one_vertex_with_the_same_bits(addon, kinds) -> None:
    """Comparing finds few distinct corners at a vertex, sorting finds many; both agree with plain Python."""
    generator = np.random.default_rng(kinds)
    vertices = generator.integers(0, 50, 3000).astype(np.int32)
    normals = generator.integers(0, kinds, (3000, 1)).astype(np.float32) * np.ones((1, 3), dtype=np.float32)
    uv = np.tile(generator.integers(0, 2, (3000, 1)).astype(np.float32), 2)
    found, inverse = addon.export.mesh.equal_corners(vertices, (normals, uv))
    seen = {}
    expected = [
        seen.setdefault((vertex, *normal, *place), number)
        for number, (vertex, normal, place) in enumerate(zip(vertices, normals, uv, strict=True))
    ]
    assert found.tolist() == sorted(set(expected))
    assert found[inverse].tolist() == expected


def test_a_large_mesh_stays_deduplicated(addon) -> None:
    bpy.ops.mesh.primitive_grid_add(x_subdivisions=300, y_subdivisions=300)
    arrays = export(addon, bpy.context.object).arrays
    assert len(arrays["triangles"]) == 2 * 300 * 300
    # MikkTSpace's sums differ a little at some vertices, which then count twice
    assert 301 * 301 <= len(arrays["vertex_position"]) < 1.05 * 301 * 301
