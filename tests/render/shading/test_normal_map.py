"""nvdiffrec's shading normal: each of its cases, gradients, and inputs without length."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from render.shading.normal_map import prepare_shading_normal, shading_normal

UP, RIGHT = torch.tensor([[0.0, 0, 1]]), torch.tensor([[1.0, 0, 0]])
ORIGIN, EYE = torch.zeros(1, 3), torch.tensor([[0.5, 0.0, 3]])


def directions(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, 3, generator=generator, dtype=torch.float64), dim=-1)


def test_an_even_map_leaves_the_smooth_normal():
    smooth = F.normalize(torch.tensor([[0.1, 0.2, 1.0]]), dim=-1)
    for flat in (None, torch.tensor([[0.0, 0, 1]]), torch.tensor([[0.0, 0, 0.2]])):
        found = prepare_shading_normal(ORIGIN, EYE, flat, smooth * 3, RIGHT, UP)
        torch.testing.assert_close(found, smooth)


def test_green_points_up_in_opengl_and_down_in_directx():
    tilted = F.normalize(torch.tensor([[0.0, 0.5, 1.0]]), dim=-1)
    up = prepare_shading_normal(ORIGIN, EYE, tilted, UP, RIGHT, UP)
    torch.testing.assert_close(up, tilted)
    down = prepare_shading_normal(ORIGIN, EYE, tilted, UP, RIGHT, UP, opengl=False)
    torch.testing.assert_close(down, tilted * torch.tensor([1.0, -1, 1]))
    # It is the same as MikkTSpace's where the sign is positive; on mirrored uv nvdiffrec turns green over.
    torch.testing.assert_close(up, shading_normal(tilted, UP, RIGHT, torch.ones(1, 1)))
    assert not torch.allclose(up, shading_normal(tilted, UP, RIGHT, -torch.ones(1, 1)))


def test_a_map_cannot_point_inwards():
    found = prepare_shading_normal(ORIGIN, EYE, torch.tensor([[0.6, 0.0, -0.8]]), UP, RIGHT, UP, two_sided=False)
    flat = prepare_shading_normal(ORIGIN, EYE, torch.tensor([[0.6, 0.0, 0.0]]), UP, RIGHT, UP, two_sided=False)
    torch.testing.assert_close(found, flat)


def test_a_normal_that_looks_away_becomes_the_faces():
    smooth = F.normalize(torch.tensor([[-1.0, 0, 0.1], [-1.0, 0, 0.3], [-0.5, 0, 1]]), dim=-1)
    eye = torch.tensor([[1.0, 0, 0.2]])
    view = F.normalize(eye, dim=-1)
    found = prepare_shading_normal(ORIGIN, eye, None, smooth, RIGHT, UP)
    torch.testing.assert_close(found[0], UP[0])
    grazing = F.normalize(torch.tensor([[-1.0, 0, 5.3]]), dim=-1)
    share = float((grazing * view).sum()) / 0.1
    assert 0 < share < 1
    found = prepare_shading_normal(ORIGIN, eye, None, grazing, RIGHT, UP)
    torch.testing.assert_close(found, UP * (1 - share) + grazing * share)


def test_a_face_seen_from_behind_is_turned_only_when_two_sided():
    below = torch.tensor([[0.0, 0, -3]])
    torch.testing.assert_close(prepare_shading_normal(ORIGIN, below, None, UP, RIGHT, UP), -UP)
    torch.testing.assert_close(prepare_shading_normal(ORIGIN, below, None, UP, RIGHT, UP, two_sided=False), UP)


def test_everything_broadcasts(device: str):
    given = [torch.randn(2, 4, 5, 3, device=device) for _ in range(4)]
    eye = torch.tensor([[[[0.0, 0, 9]]]], device=device)
    found = prepare_shading_normal(given[0], eye, None, given[1], given[2], given[3])
    assert found.shape == (2, 4, 5, 3)
    perturbed = torch.rand(2, 1, 1, 3, device=device)
    assert prepare_shading_normal(given[0], eye, perturbed, given[1], given[2], given[3]).shape == (2, 4, 5, 3)
    empty = prepare_shading_normal(*[torch.zeros(0, 3, device=device)] * 6)
    assert empty.shape == (0, 3)


@pytest.mark.parametrize("two_sided", [False, True])
def test_gradients(two_sided: bool):
    # These points keep away from the kinks: N.V of 0 and 0.1, map z of 0.
    given = [directions(12, seed) for seed in range(5)]
    given[1] = given[0] + 3 * directions(12, 9)
    given[2][:, 2] = given[2][:, 2].abs() + 0.05
    given = [value.requires_grad_() for value in given]

    def shaded(position, view, perturbed, smooth, tangent):
        return prepare_shading_normal(position, view, perturbed, smooth, tangent, directions(12, 7), two_sided)

    assert torch.autograd.gradcheck(shaded, given)


@pytest.mark.parametrize("zeroed", range(6))
def test_inputs_without_length_give_no_nan(zeroed: int, device: str):
    given = [directions(6, seed).float().to(device) for seed in range(6)]
    given[zeroed] = torch.zeros_like(given[zeroed])
    if zeroed == 1:
        given[1] = given[0].clone()
    given = [value.requires_grad_() for value in given]
    found = prepare_shading_normal(*given)
    found.sum().backward()
    assert bool(found.isfinite().all())
    assert all(bool(value.grad.isfinite().all()) for value in given)
