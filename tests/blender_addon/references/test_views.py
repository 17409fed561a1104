"""The cameras: how they spread and frame, and that both Blenders and the renderer mean the same camera."""

from __future__ import annotations

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")
mathutils = pytest.importorskip("mathutils")
CENTRE = np.array([1.0, -2.0, 0.5])
RADIUS = 1.5


@pytest.fixture
def views(addon):
    return addon.references.views.plan_views(CENTRE, RADIUS, training=24, held_out=4, seed=3)


def to_renderer(points: np.ndarray) -> np.ndarray:
    """Blender's (X, Y, Z) is the renderer's (-Y, Z, -X), written out a second time."""
    return np.stack([-points[:, 1], points[:, 2], -points[:, 0]], axis=1)


def clip(view, points: np.ndarray) -> np.ndarray:
    """Normalized device coordinates [N, 3] of world points (Blender's axes)."""
    camera = view.for_renderer()
    homogeneous = np.concatenate([to_renderer(points), np.ones((len(points), 1))], axis=1)
    projected = homogeneous @ np.array(camera["view"]).T @ np.array(camera["projection"]).T
    return projected[:, :3] / projected[:, 3:]


def sphere_points(count: int = 500) -> np.ndarray:
    points = np.random.default_rng(0).normal(size=(count, 3))
    return CENTRE + RADIUS * points / np.linalg.norm(points, axis=1, keepdims=True)


@pytest.mark.parametrize("lights", [0, 1, 2])
def test_each_light_has_as_many_training_views(addon, lights: int) -> None:
    views = addon.references.views.plan_views(CENTRE, RADIUS, training=24, held_out=4, seed=3, lights=lights)
    assert {view.light for view in views if view.held_out} == {0}
    for begun in (12, 24):  # the first half of the views too
        found = [view.light for view in views if not view.held_out and view.rank < begun]
        assert [found.count(number) for number in range(lights + 1)] == [begun // (lights + 1)] * (lights + 1)


def test_counts_and_order(views) -> None:
    assert [view.index for view in views] == list(range(28))
    held_out = [view.index for view in views if view.held_out]
    assert len(held_out) == 4
    assert np.diff(held_out).tolist() == [7, 7, 7]
    assert len({view.seed for view in views}) == 28


def test_held_out_may_be_none(addon) -> None:
    views = addon.references.views.plan_views(CENTRE, RADIUS, training=3, held_out=0, seed=0)
    assert [view.held_out for view in views] == [False] * 3


def test_cameras_are_well_spread(views) -> None:
    positions = np.array([view.matrix_world[:3, 3] for view in views]) - CENTRE
    directions = positions / np.linalg.norm(positions, axis=1, keepdims=True)
    cosines = directions @ directions.T - 2.0 * np.eye(len(views))
    nearest = np.degrees(np.arccos(cosines.max(axis=1)))
    # 28 equal caps have a radius of 21.8 degrees, so neighbors are at best about 40 apart
    assert nearest.min() > 25.0
    gaps = sphere_points(2000) - CENTRE
    farthest = np.degrees(np.arccos((gaps / RADIUS @ directions.T).max(axis=1))).max()
    assert farthest < 40.0


def test_every_view_sees_the_whole_sphere(views) -> None:
    for view in views:
        seen = clip(view, sphere_points())
        assert np.abs(seen).max() < 1.0
        assert np.abs(seen[:, :2]).max() > 0.85  # and fills the image with it


def test_renderer_and_blender_mean_the_same_camera(addon, views) -> None:
    """Blender's own projection: x to the right, y upwards, 0..1, against ours: -1..1, row 0 at the top."""
    from bpy_extras.object_utils import world_to_camera_view

    scene = bpy.context.scene
    scene.render.resolution_x = scene.render.resolution_y = 256
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    scene.collection.objects.link(camera)
    points = sphere_points(20)
    for view in views:
        camera.matrix_world = mathutils.Matrix(view.for_blender()["matrix_world"])
        camera.data.angle = view.for_blender()["fov"]
        bpy.context.view_layer.update()
        expected = [world_to_camera_view(scene, camera, mathutils.Vector(point))[:2] for point in points]
        found = clip(view, points)
        np.testing.assert_allclose(found[:, 0] * 0.5 + 0.5, np.array(expected)[:, 0], atol=1e-4)
        np.testing.assert_allclose(0.5 - found[:, 1] * 0.5, np.array(expected)[:, 1], atol=1e-4)


def test_cameras_are_rotations_also_at_the_poles(addon) -> None:
    for position in [(1.0, -2.0, 5.0), (1.0, -2.0, -5.0), (4.0, 1.0, 0.0)]:
        matrix = addon.references.views.look_at(np.array(position), CENTRE)
        np.testing.assert_allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-12)
        assert np.linalg.det(matrix[:3, :3]) == pytest.approx(1.0)
        towards = CENTRE - np.array(position)
        np.testing.assert_allclose(-matrix[:3, 2], towards / np.linalg.norm(towards), atol=1e-12)


def test_the_same_seed_gives_the_same_plan(addon, views) -> None:
    again = addon.references.views.plan_views(CENTRE, RADIUS, training=24, held_out=4, seed=3)
    assert [view.for_blender() for view in again] == [view.for_blender() for view in views]
