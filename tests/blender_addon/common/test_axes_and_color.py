"""The add-on's one rotation and its one sRGB curve."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("bpy")


def test_axes_are_turned_and_turned_back_exactly(addon) -> None:
    axes = addon.common.axes
    vectors = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    turned = axes.rotate_to_renderer(vectors)
    assert turned.tolist() == [[-y, z, -x] for x, y, z in vectors.tolist()]
    assert np.array_equal(axes.rotate_to_blender(turned), vectors)
    assert np.allclose(turned, vectors @ axes.RENDERER_FROM_BLENDER[:3, :3].T)


def test_both_ways_to_the_renderers_view_agree(addon) -> None:
    matrix = addon.references.views.look_at(np.array([1.0, -2.0, 0.5]), np.zeros(3))
    assert addon.common.axes.renderer_view(np.linalg.inv(matrix)) == pytest.approx(
        addon.common.axes.view_matrix(matrix)
    )


def test_projection_has_the_top_row_first(addon) -> None:
    axes = addon.common.axes
    projection = axes.projection_matrix(0.7, 1.5, 0.1, 10.0)
    above = projection @ (0.0, 1.0, -2.0, 1.0)
    assert above[1] < 0.0
    assert (axes.TOP_ROW_FIRST @ above)[1] == -above[1]


@pytest.mark.parametrize(("linear", "srgb"), [(0.0, 0.0), (0.002, 0.02584), (0.214041, 0.5), (1.0, 1.0)])
def test_srgb_curve(addon, linear: float, srgb: float) -> None:
    color = addon.common.color
    assert color.srgb_from_linear(np.array(linear)) == pytest.approx(srgb, abs=1e-5)
    assert color.linear_from_srgb(np.array(srgb)) == pytest.approx(linear, abs=1e-5)


def test_srgb_curve_keeps_the_type_and_clips(addon) -> None:
    color = addon.common.color
    assert color.srgb_from_linear(np.array([-1.0, 2.0], np.float32)) == pytest.approx([0.0, 1.0])
    assert color.srgb_from_linear(np.ones(2, np.float32)).dtype == np.float32
    assert color.linear_from_srgb(np.ones(2, np.float32)).dtype == np.float32
