"""The cameras of a comparison: a view, a reference, and Cycles see the same."""

from __future__ import annotations

import math

import numpy as np
import pytest
from support.blender.reference_process import deliver, plan_of
from support.blender.scenes import hdri_world, light_quickly, paint, ready_cube

bpy = pytest.importorskip("bpy")
mathutils = pytest.importorskip("mathutils")  # which bpy brings

REGION = (90, 60)


def window_matrix(lens: float, region: tuple[int, int], near: float, far: float) -> np.ndarray:
    """What a 3D view has: its lens is for the wider side."""
    half = 36.0 / lens
    wide, high = (
        (half, half * region[1] / region[0]) if region[0] >= region[1] else (half * region[0] / region[1], half)
    )
    return np.array(
        [
            [1.0 / wide, 0.0, 0.0, 0.0],
            [0.0, 1.0 / high, 0.0, 0.0],
            [0.0, 0.0, -(far + near) / (far - near), -2.0 * far * near / (far - near)],
            [0.0, 0.0, -1.0, 0.0],
        ]
    )


def seen(point, view: np.ndarray, projection: np.ndarray) -> np.ndarray:
    """Where a point is in a picture, from -1 to 1."""
    clip = projection @ view @ np.array([*point, 1.0])
    return clip[:2] / clip[3]


@pytest.mark.parametrize("region", [(300, 200), (200, 300)])
def test_a_view_sees_in_its_middle_what_a_reference_sees(addon, region: tuple[int, int]) -> None:
    (view, *_) = addon.references.views.plan_views(np.array([1.0, 2.0, 3.0]), 1.5, 5, 0, 0)
    camera = addon.wipe.reference_views.camera_of(view, region)
    eye = camera.location + camera.rotation @ mathutils.Vector((0.0, 0.0, camera.distance))
    matrix = mathutils.Matrix.Translation(eye) @ camera.rotation.to_matrix().to_4x4()
    projection = window_matrix(camera.lens, region, view.clip_start, view.clip_end)
    square = 1.0 / math.tan(0.5 * view.fov)
    own = np.diag([square, square, 1.0, 1.0])
    own[3, 2:] = -1.0, 0.0
    for point in ((1.0, 2.0, 3.0), (1.3, 1.1, 3.9), (0.2, 2.4, 2.5)):
        there = seen(point, np.linalg.inv(np.array(matrix)), projection) * np.array(region) / min(region)
        np.testing.assert_allclose(there, seen(point, np.linalg.inv(view.matrix_world), own), atol=1e-5)


def silhouette_box(image: np.ndarray) -> tuple[float, float, float, float]:
    """Left, bottom, right and top of what shows, from -1 to 1."""
    rows, columns = np.nonzero(image[..., 3] > 0.5)
    height, width = image.shape[:2]
    return (
        2.0 * columns.min() / width - 1.0,
        1.0 - 2.0 * (rows.max() + 1) / height,
        2.0 * (columns.max() + 1) / width - 1.0,
        1.0 - 2.0 * rows.min() / height,
    )


def orthographic(width: float) -> np.ndarray:
    high = width * REGION[1] / REGION[0]
    matrix = np.diag([2.0 / width, 2.0 / high, -0.02, 1.0])  # from 50 behind the eye to 50 before it
    matrix[0, 3], matrix[1, 3] = 0.1, -0.2
    return matrix


def perspective() -> np.ndarray:
    matrix = window_matrix(50.0, REGION, 0.1, 100.0)
    matrix[0, 2], matrix[1, 2] = 0.15, -0.1  # as of a camera with shift
    return matrix


@pytest.mark.parametrize("projection", [perspective(), orthographic(8.0)], ids=["perspective", "orthographic"])
def test_cycles_renders_what_a_view_sees(addon, tmp_path, projection: np.ndarray) -> None:
    light_quickly(hdri_world())
    cube = ready_cube()
    cube.location = (0.5, 0.3, -0.2)
    bpy.context.view_layer.update()
    view = np.linalg.inv(addon.references.views.look_at(np.array([6.0, -5.0, 4.0]), np.array(cube.location)))
    if projection[3, 3] != 0.0:
        # An eye within the object: a view without perspective sees what is behind it too.
        view = np.linalg.inv(addon.references.views.look_at(np.array([0.6, 0.2, 0.0]), np.array(cube.location)))
    camera = addon.wipe.original_render.camera_view(view, projection, REGION)
    plan = plan_of(addon, tmp_path, views=[], samples=1)
    plan = {name: value for name, value in plan.items() if name not in ("mesh", "cameras")}
    plan["views"] = [camera | {"index": 0, "samples": 16}]
    image = deliver(addon, plan, tmp_path).images[0]
    assert image.shape == (REGION[1], REGION[0], 4)
    corners = np.array([cube.matrix_world @ mathutils.Vector(corner) for corner in cube.bound_box])
    places = np.array([seen(corner, view, projection) for corner in corners])
    expected = (*places.min(axis=0), *places.max(axis=0))
    np.testing.assert_allclose(silhouette_box(image), np.clip(expected, -1.0, 1.0), atol=2.5 / REGION[1])


def test_other_materials_are_rendered_where_the_plan_says_so(addon, tmp_path) -> None:
    """The original, while the slot of the open file has the new material."""
    light_quickly(hdri_world())
    cube = ready_cube()
    red = paint(cube, "Red")
    red.node_tree.nodes["Principled BSDF"].inputs["Base Color"].default_value = (0.8, 0.0, 0.0, 1.0)
    cube.data.materials[0].node_tree.nodes["Principled BSDF"].inputs["Base Color"].default_value = (0.0, 0.0, 0.8, 1.0)
    red.use_fake_user = True
    camera = addon.wipe.original_render.camera_view(
        np.linalg.inv(addon.references.views.look_at(np.array([6.0, -5.0, 4.0]), np.zeros(3))), perspective(), REGION
    )
    plan = plan_of(addon, tmp_path, views=[], samples=1)
    plan = {name: value for name, value in plan.items() if name not in ("mesh", "cameras")}
    plan |= {"views": [camera | {"index": 0, "samples": 16}], "materials": [[0, 0, "Red"]]}
    image = deliver(addon, plan, tmp_path).images[0]
    color = image[image[..., 3] > 0.9][:, :3].mean(axis=0)
    assert color[0] > 2.0 * color[2]


def test_errors_are_measured_where_something_shows(addon) -> None:
    views = addon.wipe.reference_views
    image = np.zeros((8, 8, 4), np.float32)
    image[:4] = (0.5, 0.5, 0.5, 1.0)
    assert views.error_between(image, image) == 0.0
    assert views.error_between(np.zeros_like(image), np.zeros_like(image)) == 0.0
    other = image.copy()
    other[:4, :, 0] = 1.0
    wanted = math.sqrt((1.0 - (1.055 * 0.5 ** (1 / 2.4) - 0.055)) ** 2 / 3.0)
    assert views.error_between(image, other) == pytest.approx(wanted, abs=1e-4)
    assert views.smaller(np.zeros((300, 300, 4), np.float32), 96).shape == (75, 75, 4)


def test_noise_does_not_make_a_view_the_worst_one(addon) -> None:
    views, random = addon.wipe.reference_views, np.random.default_rng(2)
    image = np.full((96, 96, 4), (0.5, 0.5, 0.5, 1.0), np.float32)
    noisy, wrong = image.copy(), image.copy()
    noisy[..., :3] += random.normal(0.0, 0.1, (96, 96, 3))
    wrong[..., :3] += 0.02
    assert views.error_between(image, wrong) > 3.0 * views.error_between(image, noisy)
    both = wrong.copy()
    both[..., :3] += random.normal(0.0, 0.1, (96, 96, 3))
    assert views.error_between(image, both) == pytest.approx(views.error_between(image, wrong), rel=0.25)
