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


def test_the_first_row_is_the_top_of_the_map(addon, plane) -> None:
    top = found(addon, plane, mask_of("####", "....", "....", "...."))
    assert top.area == pytest.approx(1.0, abs=0.1)  # a quarter of 4
    centers = top.corners.reshape(-1, 3, 3).mean(axis=1)
    assert len(centers) == 2
    upper = found(addon, plane, mask_of("#...", "....", "....", "...."))
    assert upper.area == pytest.approx(0.25, abs=0.1)
    assert upper.corners.reshape(-1, 3, 3).mean(axis=1)[0, 1] > 0.0  # the one triangle in that corner


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
    # The cube's faces are in a cross: the right half of the map has only one of them, and some corners.
    part = np.zeros((64, 64), bool)
    part[24:40, 50:62] = True
    assert (
        len(found(addon, cube, part, slot=0).corners) + len(getattr(found(addon, cube, part, slot=1), "corners", ()))
        == 6
    )


def test_uvs_beyond_the_square_repeat_without_tiles_and_belong_to_theirs_with_tiles(addon, plane) -> None:
    mask = mask_of("####", "....", "....", "....")
    area = found(addon, plane, mask).area
    layer = plane.data.uv_layers[0].uv
    for corner in layer:
        corner.vector.x += 1.0
    assert found(addon, plane, mask).area == pytest.approx(area)
    assert found(addon, plane, mask, tile=1002).area == pytest.approx(area)
    assert found(addon, plane, mask, tile=1001) is None


def test_many_random_triangles_lose_no_unseen_point(addon) -> None:
    faces, random = addon.overlay.unseen_faces, np.random.default_rng(5)
    uv = (random.random((400, 1, 2)) * 3.0 - 1.0 + random.normal(size=(400, 3, 2)) * 0.2).astype(np.float32)
    mask = random.random((32, 32)) < 0.01
    shares = faces.unseen_shares(uv, mask)
    assert (shares > 0.0).sum() > 20
    assert faces.may_be_unseen(uv, mask)[shares > 0.0].all()
    assert not faces.may_be_unseen(uv, mask).all()
