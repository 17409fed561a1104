"""The sample table: which pixels it keeps, what it knows of them, and how shadows are shared."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from support.fit_scenes import ball_dataset
from support.shapes import bowl, inside_out, joined, plane, sphere

from backend.fit.sample_table import (
    blocker_radiance,
    concatenate,
    layers_for,
    sample_view,
    sample_views,
    seen_from_behind,
    with_self_shadowing,
)
from render.bsdf.ggx import ggx_table
from render.geometry.camera import Camera, cameras_around, look_at, orthographic
from render.raster.portable import visible_fragments
from render.shading.shadow_maps import sky_visibility
from render.shading.visibility import LightCells, shadow_directions


@pytest.fixture(scope="module")
def dataset():
    return ball_dataset(8, 48)


@pytest.fixture(scope="module")
def rows(dataset):
    return sample_view(dataset.mesh, dataset.cameras[2], dataset.image(2), 2)


@pytest.fixture(scope="module")
def above() -> Camera:
    return Camera(look_at(torch.tensor([0.0, 3, 0]), torch.zeros(3)), orthographic(2.0, near=0.1, far=10))


def white(size: int, alpha: float = 1.0) -> torch.Tensor:
    return torch.full((size, size, 4), alpha)


def test_rows_are_the_pixels_inside_the_object(dataset, rows):
    image = dataset.image(2)
    covered = image[..., 3] > 0
    kept = torch.zeros_like(covered)
    kept[rows.pixel[:, 0], rows.pixel[:, 1]] = True
    assert 0.5 * covered.sum() < len(rows) < covered.sum()
    # All eight neighbours of a kept pixel are covered.
    near = torch.nn.functional.max_pool2d((~covered)[None, None].float(), 3, 1, 1)[0, 0] > 0
    assert not (kept & near).any()


def test_rows_hold_the_references_colours_and_the_surface(dataset, rows):
    image = dataset.image(2)
    torch.testing.assert_close(rows.color, image[rows.pixel[:, 0], rows.pixel[:, 1], :3])
    assert set(rows.view_index.tolist()) == {2}
    assert bool(rows.valid.all())
    # On the unit ball the normal is the position, and the view looks from the front.
    torch.testing.assert_close(rows.normal, rows.position, rtol=0, atol=0.02)
    assert float((rows.normal * rows.view).sum(-1).min()) > 0
    blended = (dataset.mesh.position[rows.corner] * rows.barycentric[..., None]).sum(-2)
    torch.testing.assert_close(blended, rows.position)


def test_pixels_at_an_edge_between_near_and_far_are_left_out(above):
    mesh = joined(plane(3.0, 0.0), plane(1.0, 1.0))
    table = sample_view(mesh, above, white(40), 0)
    kept = torch.zeros(40, 40, dtype=torch.bool)
    kept[table.pixel[:, 0], table.pixel[:, 1]] = True
    # The near square covers pixels 10..29: its outline, on both sides, and the rim of the picture are left out.
    assert not kept[9:11, 9:31].any()
    assert not kept[29:31, 9:31].any()
    assert kept[12:28, 12:28].all()
    assert kept[2:8, 2:38].all()


def test_pixels_that_are_not_opaque_in_the_reference_are_left_out(above):
    image = white(20)
    image[:, :10] *= 0.5
    table = sample_view(plane(3.0), above, image, 0)
    assert len(table) > 0
    assert int(table.pixel[:, 1].min()) == 10


def test_layers_behind_are_kept_where_alpha_is_fitted(above):
    mesh = joined(plane(3.0, 0.0), plane(3.0, 1.0), plane(1.0, -0.5))
    table = sample_view(mesh, above, white(20, 0.5), 0, layers=4)
    assert table.valid.shape[1] == 4
    assert set(table.valid.sum(1).tolist()) == {2, 3}
    torch.testing.assert_close(table.position[:, 0, 1], torch.ones(len(table)))
    torch.testing.assert_close(table.position[:, 1, 1], torch.zeros(len(table)), rtol=0, atol=1e-5)
    assert (layers_for(("kd", "alpha")), layers_for(("kd", "ks"))) == (4, 1)


def test_a_view_of_nothing_has_no_rows(dataset):
    away = Camera(look_at(torch.tensor([0.0, 9, 0]), torch.tensor([0.0, 20, 0])), orthographic(1.0))
    table = sample_view(dataset.mesh, away, white(8), 0)
    assert len(table) == 0
    assert len(concatenate([table, table])) == 0


def test_tables_are_joined_and_taken_apart(dataset, rows):
    other = sample_view(dataset.mesh, dataset.cameras[3], dataset.image(3), 3)
    both = concatenate([rows, other])
    assert len(both) == len(rows) + len(other)
    back = both.rows(torch.arange(len(rows), len(both)))
    assert torch.equal(back.color, other.color)
    assert torch.equal(back.uv, other.uv)
    assert both.bytes == rows.bytes + other.bytes


def test_footprints_are_a_pixels_share_of_the_texture(above):
    table = sample_view(plane(3.0), above, white(40), 0)
    # A pixel is 4 / 40 units wide, the texture lies over 6 units.
    torch.testing.assert_close(table.footprint, torch.full_like(table.footprint, 0.1 / 6))


def test_what_blocks_is_the_colour_of_what_faces_it(rows):
    direction = torch.tensor([[0.0, 1, 0], [0.0, -1, 0]])
    from_above = rows.normal[:, 0, 1:2].clamp(min=0)
    expected = (from_above * rows.color).sum(0) / from_above.sum()
    # What travels down ends on what faces up.
    torch.testing.assert_close(blocker_radiance(rows, direction)[1], expected, rtol=1e-4, atol=1e-5)


def test_shadow_factors_follow_the_visibility_of_the_vertices(dataset, rows):
    direction = shadow_directions(64)
    cells = LightCells(direction, torch.full((64,), 12.566 / 64), torch.ones(64, 3))
    blocker, traced = torch.zeros(64, 3), sky_visibility(dataset.mesh, direction)
    for visible, expected in ((255, 1.0), (0, 0.0), (51, 0.2)):
        sky = replace(traced, vertices=torch.full_like(traced.vertices, visible))
        shadow = with_self_shadowing(rows, sky, cells, blocker, ggx_table()).shadow
        assert shadow.diffuse.shape == (len(rows), 1, 3)
        torch.testing.assert_close(shadow.diffuse, torch.full_like(shadow.diffuse, expected), rtol=0, atol=1e-4)


def test_shadows_are_shared_by_blocks_of_two_by_two_pixels(dataset, rows):
    direction = shadow_directions(64)
    cells = LightCells(direction, torch.full((64,), 12.566 / 64), torch.ones(64, 3))
    generator = torch.Generator().manual_seed(0)
    traced = sky_visibility(dataset.mesh, direction)
    sky = replace(traced, vertices=torch.randint(0, 256, traced.vertices.shape, generator=generator, dtype=torch.uint8))
    shadow = with_self_shadowing(rows, sky, cells, torch.zeros(64, 3), ggx_table()).shadow
    block = (rows.pixel[:, 0] // 2) * 64 + rows.pixel[:, 1] // 2
    for value in block.unique()[:20]:
        assert len(shadow.diffuse[block == value].reshape(-1, 3).unique(dim=0)) == 1
    assert len(shadow.diffuse.reshape(-1, 3).unique(dim=0)) > len(block.unique()) / 2


def shadows_in_even_light(mesh, blocked: float, views: int = 8):
    """Rows of views from all around a mesh, and the factor on their diffuse light, [P]."""
    cameras, direction = cameras_around(*mesh.bounding_sphere(), views), shadow_directions(256)
    table = sample_views(mesh, cameras, torch.ones(views, 48, 48, 4))
    cells = LightCells(direction, torch.full((256,), 4 * math.pi / 256), torch.ones(256, 3))
    blocker = torch.full((256, 3), blocked)
    shadow = with_self_shadowing(table, sky_visibility(mesh, direction), cells, blocker, ggx_table()).shadow
    return table, shadow.diffuse[:, 0, 0]


def test_both_sides_of_a_bowl_have_their_own_shadows():
    # Each point inside half of a ball sees the missing half, which is half of its sky; outside it sees all of it.
    for mesh in (bowl(), inside_out(bowl())):
        table, diffuse = shadows_in_even_light(mesh, 0.2)
        height = table.position[:, 0, 1]
        inside = (table.view[:, 0] * table.position[:, 0]).sum(-1) < 0
        assert torch.equal(inside, seen_from_behind(table, mesh)[:, 0] ^ bool(mesh.normal[0] @ mesh.position[0] < 0))
        away = height < -0.15  # where no shadow map mixes both sides of the rim
        assert (inside & away).sum() > 500
        assert (~inside & away).sum() > 500
        assert float((diffuse[inside & away] - 0.6).abs().mean()) < 0.02
        assert float((diffuse[inside & away] - 0.6).abs().max()) < 0.1
        assert float(diffuse[~inside & away].min()) > 0.97


def test_a_ball_with_normals_that_point_inwards_is_shadowed_like_any_other():
    plain, flipped = (shadows_in_even_light(mesh, 0.0)[1] for mesh in (sphere(16), inside_out(sphere(16))))
    assert float(plain.min()) > 0.97
    assert float(flipped.min()) > 0.97


def test_pixels_that_show_different_sides_share_no_shadow():
    mesh = joined(plane(3.0, 0.0), inside_out(plane(1.0, 0.01)))
    view = Camera(look_at(torch.tensor([0.0, 3, 0]), torch.zeros(3)), orthographic(2.0, near=0.1, far=10))
    table = sample_view(mesh, view, white(42), 0)
    behind = seen_from_behind(table, mesh)[:, 0]
    direction = shadow_directions(64)
    sky = replace(sky_visibility(mesh, direction), vertices=torch.zeros(len(mesh.position), 64, dtype=torch.uint8))
    cells = LightCells(direction, torch.full((64,), 12.566 / 64), torch.ones(64, 3))
    diffuse = with_self_shadowing(table, sky, cells, torch.zeros(64, 3), ggx_table()).shadow.diffuse[:, 0, 0]
    assert 100 < int(behind.sum()) < len(table) - 100
    assert float(diffuse[behind].min()) > 0.97
    assert float(diffuse[~behind].max()) == 0


def test_the_nearest_layer_is_the_rasterisers(dataset, rows):
    fragments = visible_fragments(
        dataset.cameras[2].to_clip(dataset.mesh.position), dataset.mesh.triangles, dataset.resolution
    )
    image = torch.full((48 * 48,), -1)
    image[fragments.pixel] = fragments.triangle
    corners = dataset.mesh.triangles[image[rows.pixel[:, 0] * 48 + rows.pixel[:, 1]]]
    assert torch.equal(rows.corner[:, 0], corners)
