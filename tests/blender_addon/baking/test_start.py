"""The start of a fit: the bake's values before they are rounded, and how sure they are, by hand-made mixes."""

from __future__ import annotations

import time

import bpy
import numpy as np
import pytest
from support.blender.bake_process import RISING, SIZE, TIMEOUT_S, plan_of, start_of


def inside(values: np.ndarray) -> np.ndarray:
    """Without the texels at the border of the square."""
    return values[2:-2, 2:-2]


def test_one_principled_is_sure_and_exact(addon, tree, tmp_path) -> None:
    tree.input(tree.shader, "Base Color").default_value = (0.2, 0.4, 0.6, 1.0)
    tree.input(tree.shader, "Roughness").default_value = 0.35
    tree.input(tree.shader, "Metallic").default_value = 1.0
    arrays = start_of(addon, tmp_path, target="CORE")
    assert arrays["texels"].shape == (SIZE, SIZE, 9)
    expected = [0.2, 0.4, 0.6, 0.35, 1.0, 0.0, 0.0, 1.0, 1.0]
    np.testing.assert_allclose(arrays["texels"], np.broadcast_to(expected, (SIZE, SIZE, 9)), atol=5e-4)
    np.testing.assert_array_equal(arrays["surety"], np.ones((SIZE, SIZE, 2)))


def test_a_mix_is_sure_where_one_side_shows_alone(addon, tree, tmp_path) -> None:
    """Two closures by a factor that rises from left to right, w and 1 - w: the sum of their squares."""
    mixed = tree.new("MixShader")
    separate = tree.new("SeparateXYZ")
    tree.link(tree.new("TexCoord"), separate, "Vector", output=2)
    tree.link(separate, mixed, 0)
    metal = tree.new("BsdfPrincipled", Metallic=1.0, Roughness=0.2)
    tree.link(tree.shader, mixed, 1)
    tree.link(metal, mixed, 2)
    tree.link(mixed, tree.output, "Surface")
    arrays = start_of(addon, tmp_path, target="CORE")
    expected = np.broadcast_to(RISING**2 + (1 - RISING) ** 2, (SIZE, SIZE))
    np.testing.assert_allclose(inside(arrays["surety"][..., 0]), inside(expected), atol=4e-3)
    # Neither side has a normal of its own.
    np.testing.assert_array_equal(arrays["surety"][..., 1], 1.0)


@pytest.mark.parametrize("doubt", ["coat", "view"])
def test_what_a_fit_cannot_keep_or_changes_with_the_view_makes_all_doubtful(addon, tree, tmp_path, doubt: str) -> None:
    if doubt == "coat":
        tree.input(tree.shader, "Coat Weight").default_value = 0.8
    else:
        facing = tree.new("LayerWeight")
        tree.link(facing, tree.shader, "Roughness", output=1)
    arrays = start_of(addon, tmp_path, target="CORE")
    np.testing.assert_array_equal(arrays["surety"][..., 0], 0.0)
    np.testing.assert_array_equal(arrays["surety"][..., 1], 1.0)


@pytest.mark.parametrize("target", ["CORE", "GLTF"])
def test_what_lies_over_the_base_is_told_as_the_target_has_it(addon, tree, tmp_path, target: str) -> None:
    values = {
        "Coat Weight": 0.8,
        "Coat Roughness": 0.3,
        "Sheen Weight": 0.5,
        "Sheen Roughness": 0.6,
        "Emission Strength": 2.0,
    }
    for name, value in values.items():
        tree.input(tree.shader, name).default_value = value
    tree.input(tree.shader, "Sheen Tint").default_value = (1.0, 0.5, 0.25, 1.0)
    tree.input(tree.shader, "Emission Color").default_value = (0.5, 0.25, 1.0, 1.0)
    lobes = start_of(addon, tmp_path, target=target)["lobes"]
    assert lobes.shape == (SIZE, SIZE, 9)
    kept = [0.8, 0.3, 0.5, 0.25, 0.125, 0.6]
    if target == "CORE":
        kept[0] = kept[2] = kept[3] = kept[4] = 0.0
        lobes[..., [4, 8]], kept[1], kept[5] = 0.0, 0.0, 0.0  # the roughness of what is not there
    np.testing.assert_allclose(inside(lobes), np.broadcast_to([1.0, 0.5, 2.0, *kept], inside(lobes).shape), atol=2e-3)


def test_nothing_over_the_base_is_not_told(addon, tree, tmp_path) -> None:
    tree.input(tree.shader, "Roughness").default_value = 0.35
    assert set(start_of(addon, tmp_path, target="GLTF")) == {"texels", "surety"}


def test_a_bake_by_itself_makes_no_start(addon, tree, tmp_path) -> None:
    baker = addon.baking.process.MapBaker(plan_of(addon, tmp_path, target="CORE"), tmp_path)
    try:
        deadline = time.monotonic() + TIMEOUT_S
        found = None
        while found is None:
            assert time.monotonic() < deadline
            found = next((event for event in baker.poll() if hasattr(event, "starts")), None)
            time.sleep(0.02)
        assert found.starts == ()
    finally:
        baker.stop()
    assert bpy.data.materials.get("PBRfit bake") is None
