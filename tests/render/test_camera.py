"""Cameras: axes, the image's top row, and cameras placed around an object."""

from __future__ import annotations

import math

import pytest
import torch

from render.camera import Camera, cameras_around, fibonacci_directions, look_at, orthographic, perspective


def device_coordinates(camera: Camera, *points: tuple[float, float, float]) -> torch.Tensor:
    clip = camera.to_clip(torch.tensor(points))
    return clip[:, :3] / clip[:, 3:]


def test_a_camera_looks_along_minus_z_with_the_top_at_minus_one():
    camera = Camera(torch.eye(4), perspective(math.pi / 2, 2.0, 1.0, 9.0))
    ahead, up, right = device_coordinates(camera, (0, 0, -2), (0, 2, -2), (4, 0, -2))
    torch.testing.assert_close(ahead[:2], torch.zeros(2, dtype=torch.float64))
    torch.testing.assert_close(up[:2], torch.tensor([0.0, -1.0], dtype=torch.float64), rtol=0, atol=1e-6)
    torch.testing.assert_close(right[:2], torch.tensor([1.0, 0.0], dtype=torch.float64), rtol=0, atol=1e-6)


@pytest.mark.parametrize("projection", [perspective(0.7, 1.5, 0.5, 20), orthographic(2.0, 1.5, 0.5, 20)])
def test_near_and_far_map_to_minus_one_and_one(projection):
    near, far = device_coordinates(Camera(torch.eye(4), projection), (0, 0, -0.5), (0, 0, -20.0))
    assert float(near[2]) == pytest.approx(-1, abs=1e-5)
    assert float(far[2]) == pytest.approx(1, abs=1e-5)


def test_an_orthographic_camera_shows_its_half_height_and_sees_in_parallel():
    camera = Camera(look_at(torch.tensor([0.0, 0, 5]), torch.zeros(3)), orthographic(2.0, 1.5))
    corner = device_coordinates(camera, (3, 2, 0))[0]
    torch.testing.assert_close(corner[:2], torch.tensor([1.0, -1.0], dtype=torch.float64), rtol=0, atol=1e-6)
    assert not camera.is_perspective
    directions = camera.view_direction(torch.tensor([[0.0, 0, 0], [3.0, 2, 1]]))
    torch.testing.assert_close(directions, torch.tensor([[0.0, 0, 1], [0.0, 0, 1]]))


def test_look_at_puts_the_target_ahead_and_the_eye_at_the_origin():
    eye, target = torch.tensor([3.0, -2.0, 1.0]), torch.tensor([0.5, 1.0, -1.0])
    view = look_at(eye, target)
    camera = Camera(view, perspective(1.0))
    torch.testing.assert_close(view[:3] @ torch.cat([eye, torch.ones(1)]), torch.zeros(3), rtol=0, atol=1e-5)
    ahead = view[:3] @ torch.cat([target, torch.ones(1)])
    torch.testing.assert_close(ahead, torch.tensor([0, 0, -float((eye - target).norm())]), rtol=0, atol=1e-5)
    torch.testing.assert_close(view[:3, :3] @ view[:3, :3].T, torch.eye(3), rtol=0, atol=1e-6)
    assert float(torch.linalg.det(view[:3, :3])) == pytest.approx(1.0, abs=1e-5)
    assert float(view[1, 1]) > 0
    torch.testing.assert_close(camera.position, eye, rtol=0, atol=1e-5)
    torch.testing.assert_close(camera.view_direction(target), (eye - target) / (eye - target).norm())


@pytest.mark.parametrize("height", [4.0, -4.0])
def test_look_at_works_straight_up_and_down(height):
    view = look_at(torch.tensor([0.0, height, 0.0]), torch.zeros(3))
    torch.testing.assert_close(view[:3, :3] @ view[:3, :3].T, torch.eye(3), rtol=0, atol=1e-6)


def test_fibonacci_directions_are_spread_evenly():
    directions = fibonacci_directions(200)
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones(200))
    assert float(directions.mean(0).norm()) < 0.01
    second_moment = directions.T @ directions / 200
    torch.testing.assert_close(second_moment, torch.eye(3) / 3, rtol=0, atol=0.01)
    cosine = directions @ directions.T - 2 * torch.eye(200)
    nearest = torch.acos(cosine.amax(-1))
    # 200 even cells have a radius of 8.1 degrees: neighbours are 11 to 18 apart.
    assert math.degrees(float(nearest.min())) > 10
    assert math.degrees(float(nearest.max())) < 18


def test_cameras_around_see_the_whole_sphere():
    center, radius = torch.tensor([1.0, 2.0, -3.0]), 0.7
    surface = center + radius * fibonacci_directions(500)
    cameras = cameras_around(center, radius, 7)
    assert len(cameras) == 7
    for camera in cameras:
        clip = camera.to_clip(surface)
        assert bool((clip[:, :3].abs() <= clip[:, 3:]).all())
        assert float((clip[:, :2] / clip[:, 3:]).abs().max()) > 0.85
