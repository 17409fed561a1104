"""Whether the middles of texels say all there is."""

from __future__ import annotations

import numpy as np
import pytest


def texels(addon, function, size: int):
    """Values of a function of u and v at the middles of texels, all covered."""
    place = (np.arange(size) + 0.5) / size
    values = function(*np.meshgrid(place, place)).astype(np.float32)[..., None].repeat(3, axis=-1)
    return addon.baking.cycles_bake.Texels(values, np.ones((size, size), bool))


def resolved(addon, function) -> bool:
    size = 256
    middles = texels(addon, function, size)
    module = addon.baking.resolved
    between = texels(addon, function, size * addon.baking.pass_baker.BETWEEN // 64)
    inside = middles.covered
    return module.is_smooth(middles, inside) and module.agrees(middles, between, inside)


@pytest.mark.parametrize("period", [0.5, 0.2, 0.125])
def test_a_smooth_function_is_resolved(addon, period: float) -> None:
    assert resolved(addon, lambda u, v: 0.5 + 0.4 * np.sin(2.0 * np.pi * u / period) * np.cos(np.pi * v))


def test_an_edge_is_not(addon) -> None:
    assert not resolved(addon, lambda u, v: (u + 0.3 * v > 0.6).astype(float))


@pytest.mark.parametrize("texels_per_period", [0.5, 0.98, 1.0, 1.02, 2.0, 3.0])
def test_detail_finer_than_texels_is_not_even_if_it_looks_smooth(addon, texels_per_period: float) -> None:
    frequency = 256 / texels_per_period
    assert not resolved(addon, lambda u, v: 0.5 + 0.4 * np.sin(2.0 * np.pi * u * frequency + 0.4))


def test_what_lies_apart_on_the_surface_does_not_count(addon) -> None:
    module, islands = addon.baking.resolved, texels(addon, lambda u, v: u, 64)
    islands.values[20:40, 20:40] += 5.0
    positions = texels(addon, lambda u, v: u, 64)
    positions.values[..., 1] = positions.values[..., 0].T
    positions.values[20:40, 20:40] += 7.0
    inside = module.joined(positions)
    assert inside[5, 5]
    assert inside[30, 30]
    assert not inside[19:21, 25].any()
    assert not inside[0].any()
    assert not module.is_smooth(islands, islands.covered)
    assert module.is_smooth(islands, inside)
    other = texels(addon, lambda u, v: u, 19)
    other.values[6:12, 6:12] += 5.0
    assert module.agrees(islands, other, inside)
