"""Silhouettes blended by their exact edges: areas, seams, folds, gradients. Against nvdiffrast: test_parity."""

from __future__ import annotations

import math

import pytest
import torch
from support.shapes import joined, plane, sphere

from render.raster.antialias import antialias, opposite_vertices
from render.raster.portable import visible_fragments


def square_clip(
    angle: float, half: float, shift: tuple[float, float] = (0.0, 0.0)
) -> tuple[torch.Tensor, torch.Tensor]:
    """A square of two triangles, turned in the picture: clip positions [4, 4], triangles [2, 3]."""
    corner = torch.tensor([[-half, -half], [half, -half], [half, half], [-half, half]], dtype=torch.float64)
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=torch.float64)
    xy = corner @ turn.T + torch.tensor(shift, dtype=torch.float64)
    clip = torch.cat([xy, torch.zeros(4, 1, dtype=torch.float64), torch.ones(4, 1, dtype=torch.float64)], dim=-1)
    return clip[None], torch.tensor([[0, 1, 2], [0, 2, 3]])


def neighbours(triangles: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
    class Corners:
        pass

    Corners.position, Corners.triangles = position, triangles
    return opposite_vertices(Corners)


def white_on_black(clip, triangles, size, device="cpu"):
    clip, triangles = clip.to(device), triangles.to(device)
    fragments = visible_fragments(clip, triangles, size)
    image = torch.zeros(len(clip) * size[0] * size[1], 1, device=device)
    image[fragments.pixel] = 1
    opposite = neighbours(triangles, clip[0, :, :3])
    image = image.reshape(len(clip), *size, 1)
    return image, antialias(image, clip, triangles, opposite, fragments)


@pytest.mark.parametrize("angle", [0.1, 0.3, 0.6, 1.0, 1.4])
def test_a_turned_square_has_its_area(angle, device):
    staircase, smooth = white_on_black(*square_clip(angle, 0.55, (0.013, -0.021)), (64, 64), device)
    exact = 0.55**2  # of the picture, which is 2 x 2
    assert abs(float(smooth.mean()) - exact) < 4e-4
    assert float((smooth - staircase).abs().max()) > 0.2
    assert float(smooth.min()) >= 0
    assert float(smooth.max()) <= 1


def test_a_moving_edge_moves_the_blend_evenly():
    """The middle row's sum follows the edge's place linearly, which a staircase does not."""
    places = torch.linspace(0, 0.2, 41, dtype=torch.float64)
    sums = []
    for place in places:
        _, smooth = white_on_black(*square_clip(0.0, 0.5, (float(place), 0.0)), (16, 16))
        sums.append(float(smooth[0, 8, 8:, 0].sum()))
    expected = (0.5 + places) * 8
    assert float((torch.tensor(sums) - expected).abs().max()) < 1e-5


def test_pixels_within_a_surface_are_untouched():
    """Triangles that go on flat across an edge, a seam of split vertices too, are no silhouette."""
    mesh = plane(1.0)
    separate = mesh.triangles.reshape(-1)
    position = mesh.position[separate]
    triangles = torch.arange(len(separate)).reshape(-1, 3)
    clip = torch.stack([position[:, 0], position[:, 2], position[:, 1], torch.ones(len(position))], -1).double()[None]
    fragments = visible_fragments(clip, triangles, (32, 32))
    image = torch.rand(1, 32, 32, 3, generator=torch.Generator().manual_seed(1))
    smooth = antialias(image, clip, triangles, neighbours(triangles, position), fragments)
    torch.testing.assert_close(smooth, image)


def test_opposite_vertices_of_closed_and_open_meshes():
    assert bool((opposite_vertices(sphere(6)) >= 0).sum() > 0)
    tetrahedron = torch.tensor([[0, 1, 2], [0, 3, 1], [1, 3, 2], [2, 3, 0]])
    position = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    opposite = neighbours(tetrahedron, position)
    assert opposite[0].tolist() == [3, 3, 3]
    single = neighbours(tetrahedron[:1], position)
    assert single.tolist() == [[-1, -1, -1]]


def test_three_triangles_on_one_side_leave_one_open():
    position = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1]])
    fan = torch.tensor([[0, 1, 2], [0, 1, 3], [0, 1, 4]])
    opposite = neighbours(fan, position)[:, 2]
    assert sorted(opposite.tolist()) == [-1, 2, 3]


def test_nothing_in_view_and_one_pixel():
    clip, triangles = square_clip(0.0, 0.5, (5.0, 0.0))
    image, smooth = white_on_black(clip, triangles, (8, 8))
    assert torch.equal(image, smooth)
    image, smooth = white_on_black(*square_clip(0.2, 2.0), (1, 1))
    assert torch.equal(image, smooth)


def test_vertices_behind_the_eye_do_no_harm():
    clip = torch.tensor([[[-1.0, -1, 0, 1], [1, -1, 0, 1], [0, 2, 0.5, -1], [0.3, 0.2, 0, 1e-12]]]).double()
    triangles = torch.tensor([[0, 1, 2], [0, 1, 3]])
    _, smooth = white_on_black(clip, triangles, (16, 16))
    assert bool(torch.isfinite(smooth).all())


def test_the_gradient_is_that_of_finite_differences():
    clip, triangles = square_clip(0.4, 0.6)
    fragments = visible_fragments(clip, triangles, (6, 7))
    opposite = neighbours(triangles, clip[0, :, :3])
    image = torch.rand(1, 6, 7, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: antialias(x, clip, triangles, opposite, fragments), (image,))


def test_views_of_a_batch_do_not_touch():
    mesh = joined(sphere(8), plane(0.5, -1.5))
    clip = torch.stack([torch.nn.functional.pad(mesh.position * s, (0, 1), value=2.0) for s in (1.0, 1.4)]).double()
    opposite = opposite_vertices(mesh)
    image = torch.rand(2, 24, 20, 3, generator=torch.Generator().manual_seed(2))
    both = antialias(image, clip, mesh.triangles, opposite, visible_fragments(clip, mesh.triangles, (24, 20)))
    for view in (0, 1):
        part = clip[view : view + 1]
        alone = antialias(
            image[view : view + 1], part, mesh.triangles, opposite, visible_fragments(part, mesh.triangles, (24, 20))
        )
        torch.testing.assert_close(both[view], alone[0])


def test_triangles_without_area_are_nobodys_neighbours():
    """At the pole of a sphere made of quads every other triangle has the pole twice, and so each side of its own twice."""
    position = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [1, 1, 0]])
    triangles = torch.tensor([[0, 2, 4], [0, 1, 2], [0, 4, 2], [0, 4, 3]])
    assert neighbours(triangles, position)[[1, 3]].tolist() == [[-1, 3, -1], [-1, -1, 1]]
