"""The nearest covered texel, against the distances to all of them."""

from __future__ import annotations

import numpy as np
import pytest

from backend.protocol.nearest_texel import nearest_texels, way_to_nearest


def masks(kind: str, height: int, width: int) -> np.ndarray:
    generator = np.random.default_rng(len(kind) + height)
    covered = np.zeros((height, width), bool)
    if kind == "one":
        covered[height // 3, -1] = True
    elif kind == "dots":
        covered[generator.random((height, width)) > 0.99] = True
    elif kind == "boxes":
        for _ in range(6):
            row, column = generator.integers(0, height), generator.integers(0, width)
            covered[row : row + generator.integers(2, 12), column : column + generator.integers(2, 12)] = True
    else:
        covered[np.arange(height), (np.arange(height) * 7) % width] = True
    return covered


def true_distances(covered: np.ndarray) -> np.ndarray:
    """The distance of each texel to the nearest covered one on a map that repeats, from those to all of them."""
    height, width = covered.shape
    rows, columns = np.nonzero(covered)
    down = np.abs(np.arange(height)[:, None, None] - rows)
    right = np.abs(np.arange(width)[None, :, None] - columns)
    down, right = np.minimum(down, height - down), np.minimum(right, width - right)
    return np.sqrt((down**2 + right**2).min(axis=-1))


@pytest.mark.parametrize("kind", ["one", "dots", "boxes", "steps"])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 96), (48, 80)])
def test_no_covered_texel_is_nearer(kind, height, width):
    covered = masks(kind, height, width)
    assert covered.any()
    number, distance = nearest_texels(covered)
    np.testing.assert_allclose(distance, true_distances(covered), atol=1e-4)
    assert covered.ravel()[number].all()
    rows, columns = np.divmod(number, width)
    down, right = np.abs(np.arange(height)[:, None] - rows), np.abs(np.arange(width)[None, :] - columns)
    there = np.hypot(np.minimum(down, height - down), np.minimum(right, width - right))
    np.testing.assert_allclose(there, distance, atol=1e-4)


def test_covered_texels_are_their_own():
    covered = masks("boxes", 64, 64)
    rows, columns = way_to_nearest(covered)
    assert not rows[covered].any()
    assert not columns[covered].any()
    assert (rows[~covered] ** 2 + columns[~covered] ** 2 > 0).all()
