"""Which triangles the overlay shows: those with unseen texels of their own maps."""

from __future__ import annotations

import numpy as np
import pytest
from support.blender.scenes import add_cube, paint

bpy = pytest.importorskip("bpy")


@pytest.fixture
def plane(addon):
    """A plane of 2 by 2 whose UV map is the whole square, seen from above as +X right, +Y up."""
    bpy.ops.mesh.primitive_plane_add()
    paint(bpy.context.object)
    return bpy.context.object


def mask_of(*rows: str) -> np.ndarray:
    """A mask; "#": unseen."""
    return np.array([[character == "#" for character in row] for row in rows])


def found(addon, item, mask, slot=0, tile=0):
    readings = addon.export.mesh_reading.Readings(bpy.context.evaluated_depsgraph_get())
    uv_map = item.data.uv_layers[0].name
    faces = addon.overlay.unseen_faces
    part = faces.UnseenPart(slot, uv_map, tile, mask)
    return faces.unseen_faces(readings.of(item, uv_map), max(1, len(item.material_slots)), part)


def test_the_first_row_is_the_top_of_the_map(addon) -> None:
    bpy.ops.mesh.primitive_grid_add(x_subdivisions=4, y_subdivisions=4)
    paint(bpy.context.object)
    faces = found(addon, bpy.context.object, mask_of(".###", "....", "....", "...."))
    assert faces.area == pytest.approx(3 * 0.25, rel=0.01)
    centers = faces.corners.reshape(-1, 3, 3).mean(axis=1)
    assert len(centers) >= 3 * 2
    assert centers[:, 1].min() > 0.0  # those of the row below only touch it


def test_what_views_saw_gives_no_triangles(addon, plane) -> None:
    assert found(addon, plane, np.zeros((4, 4), bool)) is None
    assert found(addon, plane, np.ones((4, 4), bool), slot=1) is None


def test_only_triangles_of_the_slot_and_near_unseen_texels_are_kept(addon) -> None:
    cube = add_cube()
    paint(cube)
    paint(cube, "Other")
    for polygon in list(cube.data.polygons)[:2]:
        polygon.material_index = 1
    everywhere = np.ones((16, 16), bool)
    assert len(found(addon, cube, everywhere, slot=1).corners) == 2 * 2 * 3
    assert found(addon, cube, everywhere, slot=0).area == pytest.approx(4 * 4.0)
    # One texel in the middle of a face.
    face = cube.data.polygons[0]
    uv = cube.data.uv_layers[0].uv
    u, v = np.mean([uv[corner].vector for corner in face.loop_indices], axis=0)
    part = np.zeros((64, 64), bool)
    part[63 - int(v * 64), int(u * 64)] = True
    corners = found(addon, cube, part, slot=1).corners
    assert len(corners) <= 2 * 3
    assert {tuple(corner) for corner in corners} <= {tuple(cube.data.vertices[index].co) for index in face.vertices}
    assert found(addon, cube, part, slot=0) is None


def test_uvs_beyond_the_square_repeat_without_tiles_and_belong_to_theirs_with_tiles(addon, plane) -> None:
    mask = mask_of("####", "....", "....", "....")
    area = found(addon, plane, mask).area
    layer = plane.data.uv_layers[0].uv
    for corner in layer:
        corner.vector.x += 1.0
    assert found(addon, plane, mask).area == pytest.approx(area)
    assert found(addon, plane, mask, tile=1002).area == pytest.approx(area)
    assert found(addon, plane, mask, tile=1001) is None


def test_many_random_triangles_lose_no_unseen_point(addon, monkeypatch) -> None:
    faces, random = addon.overlay.unseen_faces, np.random.default_rng(5)
    uv = (random.random((400, 1, 2)) * 3.0 - 1.0 + random.normal(size=(400, 3, 2)) * 0.2).astype(np.float32)
    mask = random.random((32, 32)) < 0.01
    shares = faces.unseen_shares(uv, mask)
    monkeypatch.setattr(faces, "POINTS", 1)
    assert abs(faces.unseen_shares(uv, mask) - shares).max() < 0.3
    assert (shares > 0.0).sum() > 20
    assert faces.may_be_unseen(uv, mask)[shares > 0.0].all()
    assert not faces.may_be_unseen(uv, mask).all()
