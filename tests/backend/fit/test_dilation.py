"""From texels to files: charts, what was seen, holes filled, and the bytes of the maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.shapes import plane

from backend.fit.dilation import fill_gaps, fill_unknown, finish_maps, sampled_texels, seen_texels, uv_charts
from backend.fit.map_files import encode_maps
from render.core.color import srgb_to_linear
from render.core.image_io import read_image
from render.material.material import ALPHA, KD, METALLIC, NORMAL, ROUGHNESS, initial_maps
from render.texture.fixed_lookup import trilinear_taps


def shrunken_plane(scale: float, shift: float):
    mesh = plane(1.0, 0.0, 4)
    return type(mesh)(**{**vars(mesh), "uv": mesh.uv * scale + shift})


def test_charts_cover_what_the_uv_map_covers():
    charts = uv_charts(shrunken_plane(0.5, 0.25), 16)
    expected = torch.zeros(16, 16, dtype=torch.bool)
    expected[4:12, 4:12] = True
    assert torch.equal(charts.covered, expected)


def test_charts_of_a_wide_texture_cover_the_same_places():
    charts = uv_charts(shrunken_plane(0.5, 0.25), (16, 64))
    expected = torch.zeros(16, 64, dtype=torch.bool)
    expected[4:12, 16:48] = True
    assert torch.equal(charts.covered, expected)
    position = charts.bake(shrunken_plane(0.5, 0.25).position[:, [0, 2]])
    torch.testing.assert_close(position[7, 16:48, 0], (((torch.arange(64) + 0.5) / 64 - 0.25) * 4 - 1)[16:48])


@pytest.mark.parametrize("tile", [-3.0, 2.0])
def test_charts_in_other_tiles_are_moved_to_the_first(tile):
    here, there = (uv_charts(shrunken_plane(0.5, 0.25 + shift), 16) for shift in (0.0, tile))
    assert torch.equal(here.covered, there.covered)


def test_an_attribute_is_baked_where_it_lies():
    mesh = shrunken_plane(0.5, 0.25)
    baked = uv_charts(mesh, 16).bake(mesh.position[:, [0, 2]])
    centre = (torch.arange(16) + 0.5) / 16
    expected = ((centre - 0.25) * 2 * 2 - 1)[4:12]
    torch.testing.assert_close(baked[7, 4:12, 0], expected)
    torch.testing.assert_close(baked[4:12, 7, 1], expected)
    assert not baked[:4].any()


def rows_read(uv: torch.Tensor, level: float) -> torch.Tensor:
    taps = trilinear_taps(uv, torch.full((1,), level), 8, 2)
    read = torch.zeros(taps.rows, dtype=torch.bool)
    read[taps.touched] = True
    return read


def test_seen_texels_are_those_read_at_any_level():
    uv = torch.tensor([[0.5 / 8, 0.5 / 8]])
    fine = seen_texels(rows_read(uv, 0.0), 8, 2)
    assert bool(fine[0, 0])
    coarse = seen_texels(rows_read(torch.tensor([[3 / 8, 3 / 8]]), 1.0), 8, 2)
    assert coarse[2:4, 2:4].all()
    assert not coarse[6:, 6:].any()


def test_seen_texels_of_a_wide_texture_lie_where_they_are_read():
    uv = torch.tensor([[13.0 / 16, 3 / 8]])  # between the columns 5 and 6, rows 0 and 1 of the coarser level
    taps = trilinear_taps(uv, torch.ones(1), (8, 16), 2)
    read = torch.zeros(taps.rows, dtype=torch.bool)
    read[taps.touched] = True
    expected = torch.zeros(8, 16, dtype=torch.bool)
    expected[2:4, 12:14] = True
    seen = seen_texels(read, (8, 16), 2)
    assert seen[expected].all()
    assert seen[:6, 10:16].sum() == seen.sum()


def test_holes_are_filled_and_what_is_known_stays():
    texture = torch.rand(16, 16, 3, generator=torch.Generator().manual_seed(0))
    known = torch.zeros(16, 16, dtype=torch.bool)
    known[2:5, 3:9] = True
    filled = fill_unknown(texture, known)
    torch.testing.assert_close(filled[known], texture[known])
    low, high = texture[known].amin(0), texture[known].amax(0)
    assert bool((filled >= low - 1e-5).all())
    assert bool((filled <= high + 1e-5).all())


def test_holes_take_the_colour_of_the_nearer_side():
    texture, known = torch.zeros(16, 16, 1), torch.zeros(16, 16, dtype=torch.bool)
    texture[:, 12:] = 1.0
    known[:, :4], known[:, 12:] = True, True
    filled = fill_unknown(texture, known)[8, :, 0]
    assert float(filled[5]) < 0.3
    assert float(filled[10]) > 0.7
    assert bool((filled[1:] >= filled[:-1] - 1e-5).all())


def test_odd_sizes_are_filled_too():
    known = torch.zeros(13, 13, dtype=torch.bool)
    known[0, 0] = True
    filled = fill_unknown(torch.full((13, 13, 2), 0.7), known)
    torch.testing.assert_close(filled, torch.full((13, 13, 2), 0.7))


def test_finished_maps_have_unit_normals_everywhere():
    maps = initial_maps(16, False)
    maps.texels[:8, :, NORMAL] = torch.tensor([0.6, 0.0, 0.8])
    maps.texels[8:, :, NORMAL] = torch.tensor([-0.6, 0.0, 0.8])
    seen = torch.zeros(16, 16, dtype=torch.bool)
    seen[:4], seen[12:] = True, True
    finished = finish_maps(maps, seen).texels
    torch.testing.assert_close(finished[..., NORMAL].norm(dim=-1), torch.ones(16, 16))
    torch.testing.assert_close(finished[seen], maps.texels[seen])


def test_maps_that_no_view_saw_stay_as_they_are():
    maps = initial_maps(8, False)
    assert finish_maps(maps, torch.zeros(8, 8, dtype=torch.bool)) is maps


@pytest.mark.parametrize("alpha", [False, True])
def test_files_hold_the_maps_to_a_rounding(tmp_path, alpha):
    generator = torch.Generator().manual_seed(0)
    maps = initial_maps(8, alpha)
    maps.texels[..., : METALLIC.stop] = torch.rand(8, 8, 5, generator=generator)
    maps.texels[..., NORMAL] = torch.tensor([0.48, -0.6, 0.64])
    openness = torch.rand(8, 8, generator=generator)
    images = {}
    for name, content in encode_maps(maps, openness).items():
        (tmp_path / name).write_bytes(content)
        images[name] = read_image(tmp_path / name)
    assert images["kd.png"].dtype == images["orm.png"].dtype == np.uint8
    assert images["normal.png"].dtype == np.uint16
    assert images["kd.png"].shape == (8, 8, 4 if alpha else 3)
    kd = srgb_to_linear(torch.from_numpy(images["kd.png"][..., :3] / 255.0).float())
    torch.testing.assert_close(kd, maps.texels[..., KD], rtol=0, atol=0.006)
    orm = torch.from_numpy(images["orm.png"] / 255.0).float()
    torch.testing.assert_close(orm[..., 0], openness, rtol=0, atol=0.51 / 255)
    torch.testing.assert_close(orm[..., 1:2], maps.texels[..., ROUGHNESS], rtol=0, atol=0.51 / 255)
    torch.testing.assert_close(orm[..., 2:3], maps.texels[..., METALLIC], rtol=0, atol=0.51 / 255)
    normal = torch.from_numpy(images["normal.png"].astype(np.float64) / 65535 * 2 - 1).float()
    torch.testing.assert_close(normal, maps.texels[..., NORMAL], rtol=0, atol=2e-5)
    if alpha:
        found = torch.from_numpy(images["kd.png"][..., 3:] / 255.0).float()
        torch.testing.assert_close(found, maps.texels[..., ALPHA], rtol=0, atol=0.51 / 255)


def test_gaps_are_filled_as_smoothly_as_their_neighbors_allow():
    """Between two known columns, the solution of Laplace's equation is a ramp; the known texels stay."""
    ramp = torch.linspace(0, 1, 9).expand(16, 9)
    texture = torch.full((16, 16, 2), 0.5)
    texture[:, :9, 0], texture[:, :9, 1] = ramp, 1 - ramp
    known = torch.zeros(16, 16, dtype=torch.bool)
    known[:, [0, 8]] = True
    known[:, 9:] = True
    garbage = texture.clone()
    garbage[:, 1:8] = torch.rand(16, 7, 2, generator=torch.Generator().manual_seed(0))
    filled = fill_gaps(garbage, known)
    torch.testing.assert_close(filled[:, :9], texture[:, :9], atol=0.06, rtol=0)  # sweeps end before that is exact
    assert torch.equal(filled[known], garbage[known])
    for all_or_nothing in (torch.ones_like(known), torch.zeros_like(known)):
        assert fill_gaps(garbage, all_or_nothing) is garbage


def test_texels_are_sampled_where_a_sample_falls():
    uv = torch.tensor([[0.1, 0.9], [1.1, -0.1], [0.999999, 0.5]])
    found = sampled_texels(uv, 4)
    assert found.nonzero().tolist() == [[2, 3], [3, 0]]
