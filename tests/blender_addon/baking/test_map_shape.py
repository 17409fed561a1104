"""Bakes of maps that are not square: every texel has what the surface has in its middle, whatever the width and height."""

from __future__ import annotations

import numpy as np
import pytest
from support.blender.bake_process import bake, gradient, only, pixels

WIDE, HIGH = (64, 16), (16, 64)
"""Width and height."""


def middles(count: int) -> np.ndarray:
    return (np.arange(count) + 0.5) / count


@pytest.mark.parametrize("supersampling", [1, 2])
@pytest.mark.parametrize("size", [WIDE, HIGH], ids=["wide", "high"])
def test_gradients_rise_along_their_own_axis(addon, tree, tmp_path, size, supersampling) -> None:
    width, height = size
    tree.link(gradient(tree, 0), tree.shader, "Roughness")
    tree.link(gradient(tree, 1), tree.shader, "Metallic")
    tree.link(gradient(tree, 1), tree.shader, "Alpha")
    group, _ = only(bake(addon, tmp_path, resolution=size, supersampling=supersampling))
    found = pixels(group, "orm.png")
    assert found.shape == (height, width, 3)
    np.testing.assert_allclose(found[..., 1], np.broadcast_to(middles(width), (height, width)), atol=3e-3)
    np.testing.assert_allclose(found[..., 2], np.broadcast_to(middles(height)[::-1, None], (height, width)), atol=3e-3)
    np.testing.assert_allclose(pixels(group, "kd.png")[..., 3], found[..., 2], atol=4e-3)
