"""Texels without a face are filled from those that have one."""

from __future__ import annotations

import numpy as np


def test_what_is_covered_stays_and_all_else_is_filled_from_near(addon) -> None:
    covered = np.zeros((64, 64), bool)
    covered[10:20, 8:30] = covered[40:50, 40:44] = True
    values = np.zeros((64, 64, 3), np.float32)
    values[10:20, 8:30] = (0.2, 0.4, 0.6)
    values[40:50, 40:44] = (0.9, 0.1, 0.3)
    filled = addon.baking.margins.fill(values, covered)
    np.testing.assert_array_equal(filled[covered], values[covered])
    np.testing.assert_allclose(filled[9, 7], (0.2, 0.4, 0.6), atol=1e-6)
    np.testing.assert_allclose(filled[6:24, 4:34].reshape(-1, 3), [(0.2, 0.4, 0.6)] * 18 * 30, atol=1e-6)
    np.testing.assert_allclose(filled[0, 0], (0.2, 0.4, 0.6), atol=1e-6)
    assert (filled.max(axis=-1) > 0.0).all()


def test_no_mip_level_of_a_constant_map_has_another_color(addon) -> None:
    covered = np.random.default_rng(0).random((128, 128)) > 0.9
    values = np.where(covered[..., None], np.float32(0.7), np.float32(0.0)).astype(np.float32).repeat(3, axis=-1)
    filled = addon.baking.margins.fill(values, covered)
    while len(filled) > 1:
        np.testing.assert_allclose(filled, 0.7, atol=1e-5)
        filled = filled.reshape(len(filled) // 2, 2, len(filled) // 2, 2, 3).mean(axis=(1, 3))


def test_nothing_to_fill_and_nothing_to_fill_from(addon) -> None:
    values = np.ones((8, 8, 3), np.float32)
    fill = addon.baking.margins.fill
    np.testing.assert_array_equal(fill(values, np.ones((8, 8), bool)), values)
    np.testing.assert_array_equal(fill(values, np.zeros((8, 8), bool)), values)
