"""The rasteriser against nvdiffrast's output, and against what is known of simple scenes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from render.geometry.camera import look_at, perspective
from render.raster.portable import Fragments, depth_range, visible_fragments


def clip_triangle(*corners: tuple[float, float, float]) -> torch.Tensor:
    """Corners in normalised device coordinates as clip-space positions with w = 1."""
    return torch.cat([torch.tensor(corners), torch.ones(len(corners), 1)], dim=1)


def coverage(fragments: Fragments, layer: int, resolution: tuple[int, int]) -> torch.Tensor:
    """How many fragments of a layer each pixel has, [H, W]."""
    pixel = fragments.pixel[fragments.layer == layer]
    return torch.bincount(pixel, minlength=resolution[0] * resolution[1]).reshape(resolution)


def grid_quad(cells: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A square beyond the whole view of cells x cells x 2 triangles, corners jittered and in perspective."""
    generator = torch.Generator().manual_seed(seed)
    line = torch.linspace(-1.2, 1.2, cells + 1, dtype=torch.float64)
    y, x = torch.meshgrid(line, line, indexing="ij")
    point = torch.stack([x, y], -1)
    jitter = (torch.rand(point.shape, generator=generator, dtype=torch.float64) - 0.5) * 0.6 * 2.4 / cells
    point = point + jitter
    point[[0, -1]], point[:, [0, -1]] = torch.stack([x, y], -1)[[0, -1]], torch.stack([x, y], -1)[:, [0, -1]]
    w = 2 + point[..., :1] + 0.5 * point[..., 1:]
    clip = torch.cat([point * w, 0.1 * w, w], -1).reshape(-1, 4)
    corner = torch.arange((cells + 1) ** 2).reshape(cells + 1, cells + 1)
    a, b, c, d = corner[:-1, :-1], corner[:-1, 1:], corner[1:, 1:], corner[1:, :-1]
    return clip, torch.cat([torch.stack([a, b, c], -1).reshape(-1, 3), torch.stack([a, c, d], -1).reshape(-1, 3)])


@pytest.fixture(scope="module")
def golden(data) -> dict[str, np.ndarray]:
    return dict(np.load(data / "golden" / "image_spot.npz"))


@pytest.fixture(scope="module")
def spot_fragments(golden) -> Fragments:
    position = torch.tensor(golden["v_pos"])
    clip = torch.cat([position, torch.ones(len(position), 1)], 1) @ torch.tensor(golden["mvp"][0]).T
    return visible_fragments(clip, torch.tensor(golden["t_pos_idx"].astype(np.int64)), golden["rast"].shape[1:3])


def triangle_image(fragments: Fragments, resolution: tuple[int, int]) -> np.ndarray:
    """Triangle index + 1 of layer 0, [H, W], 0 where nothing is hit."""
    image = torch.zeros(resolution[0] * resolution[1], dtype=torch.int64)
    image[fragments.pixel] = fragments.triangle + 1
    return image.reshape(resolution).numpy()


def interior(golden: dict[str, np.ndarray]) -> np.ndarray:
    """Pixels [H, W] whose eight neighbours lie on the same continuous surface: same cover, depth without a step."""
    depth, covered = golden["rast"][0, ..., 2], golden["rast"][0, ..., 3] > 0
    inside = np.zeros_like(covered)
    inside[1:-1, 1:-1] = True
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            near = np.roll(depth, (dy, dx), (0, 1))
            inside &= (np.roll(covered, (dy, dx), (0, 1)) == covered) & (abs(near - depth) < 0.01)
    return inside


def test_triangle_ids_are_those_of_nvdiffrast(golden, spot_fragments):
    theirs = golden["rast"][0, ..., 3].astype(np.int64)
    equal = triangle_image(spot_fragments, theirs.shape) == theirs
    assert equal.mean() >= 0.995
    # nvdiffrast moves vertices to multiples of 1/16 pixel: within half of that of an edge, either neighbour is right.
    slope = torch.hypot(spot_fragments.barycentric_dx, spot_fragments.barycentric_dy)
    pixels_to_edge = torch.full((theirs.size,), torch.inf)
    pixels_to_edge[spot_fragments.pixel] = (spot_fragments.barycentric / slope).amin(-1)
    inside = interior(golden) & (theirs > 0)
    away = inside & (pixels_to_edge.reshape(theirs.shape) > 1 / 32).numpy()
    assert away.sum() > 0.9 * inside.sum() > 5000
    assert equal[away].mean() >= 0.999


def test_barycentrics_and_depth_are_those_of_nvdiffrast(golden, spot_fragments):
    theirs = torch.tensor(golden["rast"]).reshape(-1, 4)[spot_fragments.pixel]
    same = theirs[:, 3].long() == spot_fragments.triangle + 1
    assert same.sum() > 5000
    torch.testing.assert_close(spot_fragments.barycentric[same][:, :2], theirs[same][:, :2], rtol=0, atol=1e-4)
    torch.testing.assert_close(spot_fragments.depth[same], theirs[same][:, 2], rtol=0, atol=1e-5)
    torch.testing.assert_close(spot_fragments.barycentric.sum(-1), torch.ones(len(same)), rtol=0, atol=1e-5)


def test_screen_derivatives_are_those_of_nvdiffrast(golden, spot_fragments):
    theirs = torch.tensor(golden["rast_db"]).reshape(-1, 4)[spot_fragments.pixel]
    same = torch.tensor(golden["rast"]).reshape(-1, 4)[spot_fragments.pixel, 3].long() == spot_fragments.triangle + 1
    dx, dy = spot_fragments.barycentric_dx, spot_fragments.barycentric_dy
    ours = torch.stack([dx[:, 0], dy[:, 0], dx[:, 1], dy[:, 1]], -1)[same]
    # A derivative that happens to be near 0 is measured against the others of its pixel.
    scale = theirs[same].abs().amax(-1, keepdim=True)
    assert float(((ours - theirs[same]).abs() / scale).max()) < 1e-3


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_shared_edges_leave_no_hole_and_no_double_cover(seed):
    clip, triangles = grid_quad(40, seed)
    resolution = (61, 83)
    fragments = visible_fragments(clip, triangles, resolution, layers=2)
    assert bool((coverage(fragments, 0, resolution) == 1).all())
    assert int(coverage(fragments, 1, resolution).sum()) == 0


def test_edges_through_pixel_centres_leave_no_hole_and_no_double_cover():
    # Cells of one pixel whose corners are pixel centres: edges and diagonals pass exactly through them.
    line = torch.linspace(-1, 1, 33, dtype=torch.float64) + 1 / 32
    y, x = torch.meshgrid(line, line, indexing="ij")
    clip = torch.stack([x, y, torch.zeros_like(x), torch.ones_like(x)], -1).reshape(-1, 4)
    corner = torch.arange(33 * 33).reshape(33, 33)
    a, b, c, d = corner[:-1, :-1], corner[:-1, 1:], corner[1:, 1:], corner[1:, :-1]
    triangles = torch.cat([torch.stack([a, b, c], -1).reshape(-1, 3), torch.stack([a, c, d], -1).reshape(-1, 3)])
    fragments = visible_fragments(clip, triangles, (32, 32), layers=2)
    assert bool((coverage(fragments, 0, (32, 32)) == 1).all())
    assert int(coverage(fragments, 1, (32, 32)).sum()) == 0


def test_row_zero_is_the_top_and_pixel_centres_count():
    # A triangle over the upper left quarter of clip space where y = -1 is the top of the picture.
    clip = clip_triangle((-1, -1, 0), (0.001, -1, 0), (-1, 0.001, 0))
    covered = coverage(visible_fragments(clip, torch.tensor([[0, 1, 2]]), (4, 4)), 0, (4, 4))
    assert covered.tolist() == [[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize("order", [[0, 1, 2], [0, 2, 1]])
def test_one_triangle_covers_everything_with_either_winding(order):
    clip = clip_triangle((-4, -1, 0.25), (4, -1, 0.25), (0, 9, 0.25))
    fragments = visible_fragments(clip, torch.tensor([order]), (17, 31))
    assert bool((coverage(fragments, 0, (17, 31)) == 1).all())
    torch.testing.assert_close(fragments.depth, torch.full_like(fragments.depth, 0.25))
    assert float(fragments.barycentric.min()) >= -1e-6


def test_barycentrics_follow_the_order_of_the_corners():
    clip = clip_triangle((-1, -1, 0), (3, -1, 0), (-1, 3, 0))
    fragments = visible_fragments(clip, torch.tensor([[2, 0, 1]]), (2, 2))
    # Pixel (0, 0) has its centre at (-0.5, -0.5): one eighth towards each far corner, three quarters at (-1, -1).
    torch.testing.assert_close(fragments.barycentric[0], torch.tensor([0.125, 0.75, 0.125]))
    torch.testing.assert_close(fragments.barycentric_dx[0], torch.tensor([0.0, -0.25, 0.25]))
    torch.testing.assert_close(fragments.barycentric_dy[0], torch.tensor([0.25, -0.25, 0.0]))


def test_peeling_lists_surfaces_from_near_to_far():
    depths = (0.5, -0.5, 0.0, 0.75)
    clip = torch.cat([clip_triangle((-4, -1, z), (4, -1, z), (0, 9, z)) for z in depths])
    fragments = visible_fragments(clip, torch.arange(12).reshape(4, 3), (3, 5), layers=3)
    by_layer = fragments.triangle.reshape(3, 15)
    assert by_layer[:, 0].tolist() == [1, 2, 0]
    assert bool((by_layer == by_layer[:, :1]).all())
    assert fragments.layer.tolist() == [0] * 15 + [1] * 15 + [2] * 15
    assert fragments.pixel.reshape(3, 15).tolist() == [list(range(15))] * 3


def test_surfaces_of_equal_depth_are_all_peeled_once():
    clip = torch.cat([clip_triangle((-4, -1, 0.1), (4, -1, 0.1), (0, 9, 0.1))] * 3)
    fragments = visible_fragments(clip, torch.arange(9).reshape(3, 3), (4, 4), layers=4)
    assert fragments.triangle.reshape(3, 16).tolist() == [[0] * 16, [1] * 16, [2] * 16]


def test_a_triangle_across_the_eye_plane_is_seen_where_it_is_in_front():
    # A floor at y = -1 from far behind the eye to far ahead of it; the eye looks along -Z at the horizon.
    position = torch.tensor([[-100.0, -1, 50], [100.0, -1, 50], [0.0, -1, -1000]])
    clip = torch.cat([position, torch.ones(3, 1)], 1) @ perspective(1.2, 1.0, 0.1, 5000).T
    fragments = visible_fragments(clip, torch.tensor([[0, 1, 2]]), (64, 64))
    covered = coverage(fragments, 0, (64, 64))
    assert int(covered[:32].sum()) == 0
    assert bool((covered[34:] == 1).all())
    point = (fragments.barycentric[..., None] * position).sum(1)
    torch.testing.assert_close(point[:, 1], -torch.ones(len(point)), rtol=0, atol=1e-3)
    assert float(point[:, 2].max()) < 0


def test_what_is_behind_the_eye_or_outside_the_depth_range_is_not_seen():
    projection = perspective(1.0, 1.0, 1.0, 10.0)
    for z, seen in ((5.0, False), (-0.5, False), (-20.0, False), (-5.0, True)):
        position = torch.tensor([[-50.0, -50, z], [50.0, -50, z], [0.0, 80, z]])
        clip = torch.cat([position, torch.ones(3, 1)], 1) @ projection.T
        assert (len(visible_fragments(clip, torch.tensor([[0, 1, 2]]), (8, 8)).pixel) > 0) is seen


def test_degenerate_triangles_give_no_fragment():
    clip = clip_triangle((0, 0, 0), (0.5, 0.5, 0), (1, 1, 0), (0, 0, 0), (-4, -1, 0.5), (4, -1, 0.5), (0, 9, 0.5))
    triangles = torch.tensor([[0, 1, 2], [0, 0, 1], [0, 3, 3], [4, 5, 6]])
    fragments = visible_fragments(clip, triangles, (16, 16), layers=3)
    assert set(fragments.triangle.tolist()) == {3}
    assert len(fragments.pixel) == 256


def test_positions_that_are_not_finite_give_no_fragment():
    clip = clip_triangle((-4, -1, 0.1), (4, -1, 0.1), (0, 9, 0.1), (float("nan"), 0, 0), (float("inf"), 0, 0))
    fragments = visible_fragments(clip, torch.tensor([[0, 1, 3], [0, 1, 4], [0, 1, 2]]), (8, 8), layers=2)
    assert set(fragments.triangle.tolist()) == {2}


def test_an_empty_view_has_no_fragments():
    aside = clip_triangle((2, 2, 0), (3, 2, 0), (2, 3, 0))
    for clip, triangles in ((aside, torch.tensor([[0, 1, 2]])), (aside, torch.zeros(0, 3, dtype=torch.int64))):
        fragments = visible_fragments(clip, triangles, (8, 8), layers=2)
        assert fragments.pixel.shape == (0,)
        assert fragments.barycentric.shape == (0, 3)


def test_depth_range_holds_the_nearest_and_farthest_surface():
    clip = torch.cat([clip_triangle((-1, -1, z), (3, -1, z), (-1, 3, z)) for z in (0.5, -0.25, 0.125)])
    clip[:, :2] = clip[:, :2] * 0.5 - 0.5
    nearest, farthest = depth_range(clip, torch.arange(9).reshape(3, 3), (4, 4))
    hit = torch.isfinite(nearest)
    assert hit.any()
    assert not hit.all()
    assert torch.equal(hit, torch.isfinite(farthest))
    torch.testing.assert_close(nearest[hit], torch.full_like(nearest[hit], -0.25))
    torch.testing.assert_close(farthest[hit], torch.full_like(farthest[hit], 0.5))
    assert bool((nearest[~hit] == torch.inf).all())
    assert bool((farthest[~hit] == -torch.inf).all())


def test_derivatives_are_those_of_a_shifted_view():
    position = torch.tensor([[-4.0, -4, 0], [4.0, -4, 0.3], [0.0, 5, -0.5]])
    transform = perspective(0.9).double() @ look_at(torch.tensor([0.4, 0.7, 2.0]), torch.zeros(3)).double()
    clip = torch.cat([position, torch.ones(3, 1)], 1).double() @ transform.T
    triangles, resolution, step = torch.tensor([[0, 1, 2]]), (24, 32), 0.05

    def shifted(right: float, down: float) -> torch.Tensor:
        """Barycentrics at all pixel centres moved by a part of a pixel: the scene moves the other way."""
        moved = clip.clone()
        moved[:, 0] -= moved[:, 3] * right * 2 / resolution[1]
        moved[:, 1] -= moved[:, 3] * down * 2 / resolution[0]
        return visible_fragments(moved, triangles, resolution).barycentric.double()

    fragments = visible_fragments(clip, triangles, resolution)
    assert len(fragments.pixel) == 24 * 32
    dx = (shifted(step, 0) - shifted(-step, 0)) / (2 * step)
    dy = (shifted(0, step) - shifted(0, -step)) / (2 * step)
    torch.testing.assert_close(fragments.barycentric_dx.double(), dx, rtol=2e-3, atol=5e-6)
    torch.testing.assert_close(fragments.barycentric_dy.double(), dy, rtol=2e-3, atol=5e-6)
