"""Bands of a texture: whose rows are whose, and what the owners tell each other."""

from __future__ import annotations

import pytest
import torch

from render.texture.bands import Band, joined, row_numbers, rows_of
from render.texture.fixed_lookup import mip_count, trilinear_taps
from render.texture.map_size import Size, map_size


def bands(resolution: Size, count: int, whole: int = 8) -> list[Band]:
    return [Band(resolution, mip_count(resolution), number, count, whole) for number in range(count)]


def test_one_process_owns_everything():
    band = Band(1024, mip_count(1024))
    assert band.whole == 0
    assert band.rows(0) == band.rows_and_edges(0) == (0, 1024)


@pytest.mark.parametrize(("resolution", "count"), [(64, 2), (64, 3), (128, 5), (32, 4), ((32, 128), 3), ((128, 16), 4)])
def test_each_row_has_one_owner_and_the_bands_are_about_as_high(resolution, count):
    for level in range(bands(resolution, count)[0].whole):
        own = [band.own_rows(level) for band in bands(resolution, count)]
        assert [first for first, _ in own] == [0, *(end for _, end in own[:-1])]
        assert own[-1][1] == map_size(resolution).height >> level
        heights = [end - first for first, end in own]
        assert max(heights) - min(heights) <= 1 << bands(resolution, count)[0].whole - level


def test_a_small_texture_has_no_bands():
    band = Band(256, mip_count(256), 1, 2)
    assert band.whole == 0
    assert band.rows(0) == (0, 256)
    assert len(band.told_values(torch.device("cpu"))[0]) == 0
    assert sum(end - first for first, end in band.told_gradients()) == sum(
        (256 >> level) ** 2 for level in range(band.levels)
    )


@pytest.mark.parametrize(("resolution", "count"), [((64, 64), 2), ((64, 64), 3), ((32, 128), 2), ((128, 32), 3)])
def test_what_a_sample_reads_is_its_owners_or_told(resolution, count):
    """The lookup says which rows a sample reads: of fine levels the owner has its band, and the edges that all are told."""
    levels = mip_count(resolution)
    g = torch.Generator().manual_seed(0)
    uv = torch.rand(20000, 2, generator=g) * 3 - 1
    uv[:9, 1] = torch.tensor([0.0, 1.0, 0.5, 0.49999, 0.50001, 1e-7, -1e-7, 1 / 3, 2 / 3])
    taps = trilinear_taps(uv, torch.rand(20000, generator=g) * levels, resolution, levels)
    owner = bands(resolution, count)[0].number_of(uv[:, 1])
    assert owner.unique().tolist() == list(range(count))
    for band in bands(resolution, count):
        own = torch.zeros(taps.rows, dtype=torch.bool)
        start = 0
        for level in range(levels):
            size = map_size(resolution).halved(level)
            first, end = band.rows(level)
            own[start + first * size.width : start + end * size.width] = True
            start += size.texels
        known = own.clone()
        known[row_numbers(band.told_values(own.device)[0], own.device)] = True
        added = own.clone()
        added[row_numbers(band.told_gradients(), own.device)] = True
        cleared = torch.zeros_like(own)
        cleared[row_numbers(band.added_to(), own.device)] = True
        assert cleared[added].all()
        assert int(cleared.sum()) < 0.8 * len(cleared)
        read = taps.index.reshape(20000, -1)[owner == band.number]
        used = taps.weight.reshape(20000, -1)[owner == band.number] > 0
        assert known[read[used]].all()
        assert added[read[used]].all()
        assert not own[read[used]].all()  # the edges matter


@pytest.mark.parametrize(("resolution", "count"), [(64, 3), (16, 8), ((64, 16), 3)])
def test_every_told_value_has_one_owner(resolution, count):
    """Also where bands are as low as a row."""
    told = [band.told_values(torch.device("cpu")) for band in bands(resolution, count)]
    assert all(parts == told[0][0] for parts, _ in told)
    assert torch.stack([mine for _, mine in told]).sum(0).unique().tolist() == [1]
    numbers = row_numbers(told[0][0], torch.device("cpu"))
    assert len(numbers) == len(numbers.unique()) == len(told[0][1])


def test_rows_in_parts_are_the_rows_of_their_numbers():
    parts = joined([(7, 9), (0, 2), (1, 3), (9, 10)])
    assert parts == [(0, 3), (7, 10)]
    tensor = torch.arange(24).view(12, 2)
    assert torch.equal(rows_of(tensor, parts), tensor[row_numbers(parts, tensor.device)])
