"""Baked occlusion against what geometry says: a floor before a wall sees the part of the sky that the wall leaves."""

from __future__ import annotations

import numpy as np
import pytest
from support.blender.bake_process import bake, only, pixels
from support.blender.scenes import corner


def test_a_wall_hides_half_of_the_sky_at_its_foot(addon, tmp_path) -> None:
    """Of the cosine-weighted sky, a long wall of height h at the distance d hides (1 - d / sqrt(d * d + h * h)) / 2."""
    corner()
    group, recipe = only(bake(addon, tmp_path, resolution=64, occlusion=True))
    assert recipe.inputs["Occlusion"] == addon.common.material_recipe.MapInput("orm", "red")
    values = pixels(group, "orm.png")
    distance = (np.arange(64) + 0.5) / 64 * 2.0
    expected = 1.0 - (1.0 - distance / np.hypot(distance, 60.0)) / 2.0
    np.testing.assert_allclose(values[..., 0].mean(axis=0), expected, atol=0.02)
    assert values[..., 0].std(axis=0).max() < 0.06
    assert values[..., 1].ravel() == pytest.approx(0.4, abs=3e-3)  # what does not vary is there too


def test_what_is_open_everywhere_gets_no_map(addon, tmp_path) -> None:
    corner(wall=False)
    group, recipe = only(bake(addon, tmp_path, resolution=64, occlusion=True))
    assert (group.files, recipe.inputs) == ({}, {})


def test_nothing_is_baked_unless_it_is_asked_for(addon, tmp_path) -> None:
    corner()
    group, recipe = only(bake(addon, tmp_path, resolution=64))
    assert (group.files, recipe.inputs) == ({}, {})


@pytest.mark.parametrize("size", [8, 16, 64])
def test_enlarging_keeps_what_is_straight(addon, size) -> None:
    ramp = np.broadcast_to((np.arange(8, dtype=np.float32) + 0.5) / 8, (8, 8))
    for height in (8, 32):
        found = addon.baking.openness.enlarged(ramp, (height, size))
        expected = np.clip((np.arange(size) + 0.5) / size, 0.5 / 8, 1 - 0.5 / 8)
        np.testing.assert_allclose(found, np.broadcast_to(expected, (height, size)), atol=1e-6)
        upright = addon.baking.openness.enlarged(ramp.T, (size, height))
        np.testing.assert_allclose(upright, found.T, atol=1e-6)
