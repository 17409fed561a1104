"""Cameras: axes, the image's top row, and cameras placed around an object."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from render.geometry.camera import (
    Camera,
    cameras_around,
    fibonacci_directions,
    look_at,
    orthographic,
    perspective,
    perspective_offcenter,
    random_cameras,
    rotating_cameras,
)


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


def test_rotating_cameras_orbit_the_y_axis_from_above():
    cameras = rotating_cameras(8, 3.0)
    eyes = torch.stack([camera.position for camera in cameras])
    torch.testing.assert_close(eyes.norm(dim=-1), torch.full((8,), 3.0))
    torch.testing.assert_close(eyes[:, 1], torch.full((8,), 3 * math.sin(0.4)))
    level = 3 * math.cos(0.4)
    torch.testing.assert_close(eyes[0, [0, 2]], torch.tensor([0.0, level]), rtol=0, atol=1e-5)
    # The object turns by a positive angle about Y, so the eye moves towards -x.
    torch.testing.assert_close(eyes[2, [0, 2]], torch.tensor([-level, 0.0]), rtol=0, atol=1e-5)
    for camera in cameras:
        ahead, above = device_coordinates(camera, (0, 0, 0), (0, 1, 0))
        torch.testing.assert_close(ahead[:2], torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-6)
        assert float(above[1]) < 0
    assert len(rotating_cameras()) == 50


def test_a_view_that_nvdiffrec_recorded_on_its_orbit_lies_on_ours(data):
    golden = np.load(data / "golden" / "image_spot.npz")
    view, eye = golden["mv"][0], golden["campos"][0]
    first = rotating_cameras(50, float(np.linalg.norm(eye)))[0].view.double().numpy()
    # Both differ by a turn about Y alone.
    turn = np.linalg.inv(first) @ view
    np.testing.assert_allclose(turn[1], [0, 1, 0, 0], atol=1e-5)
    np.testing.assert_allclose(turn[:3, 3], 0, atol=1e-5)


def test_random_cameras_are_uniform_rotations_and_small_shifts():
    cameras = random_cameras(400, 3.0, torch.Generator().manual_seed(1))
    views = torch.stack([camera.view for camera in cameras])
    rotation = views[:, :3, :3]
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3).expand(400, 3, 3), rtol=0, atol=1e-5)
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(400), rtol=0, atol=1e-5)
    # The mean of uniform rotations is zero, and each row's second moment a third: within four standard errors.
    assert float(rotation.mean(0).abs().max()) < 4 * (1 / 3 / 400) ** 0.5
    second = torch.einsum("nij,nik->ijk", rotation, rotation) / 400
    assert float((second - torch.eye(3) / 3).abs().max()) < 4 * 0.3 / 20
    shift = views[:, :3, 3] + torch.tensor([0.0, 0.0, 3.0])
    assert 0.24 < float(shift.abs().max()) <= 0.25
    assert float(shift.mean(0).abs().max()) < 0.03


def test_random_cameras_repeat_with_their_seed():
    one, two, other = (random_cameras(3, 2.0, torch.Generator().manual_seed(seed)) for seed in (5, 5, 6))
    for a, b, c in zip(one, two, other, strict=True):
        assert torch.equal(a.view, b.view)
        assert not torch.equal(a.view, c.view)
    assert random_cameras(0) == []


@pytest.mark.parametrize(("fraction", "x", "y"), [(1.0, 0.0, 0.0), (0.25, 0.5, 0.25), (0.5, 0.0, 0.5)])
def test_an_off_centre_camera_shows_a_window_of_the_whole(fraction, x, y):
    whole = perspective(0.8, 1.5, 0.5, 20.0)
    window = perspective_offcenter(0.8, fraction, x, y, 1.5, 0.5, 20.0)
    points = ((0.3, -0.2, -2.0), (-0.5, 0.4, -3.0), (0.0, 0.0, -9.0))
    all_of_it, part = (device_coordinates(Camera(torch.eye(4), p), *points) for p in (whole, window))
    # From the left and from the top, 0..1.
    expected = ((all_of_it[:, :2] + 1) / 2 - torch.tensor([x, y])) / fraction
    found = (part[:, :2] + 1) / 2
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(part[:, 2], all_of_it[:, 2])


def test_a_window_of_no_size_is_refused():
    with pytest.raises(ValueError, match="it must be positive"):
        perspective_offcenter(0.8, 0.0, 0.0, 0.0)
