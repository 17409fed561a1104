"""Texels without a face are filled from the nearest that has one, in every map and at every mip level."""

from __future__ import annotations

import bpy
import numpy as np
import pytest
from support.blender.bake_process import bake, only, pixels
from support.blender.shader_trees import Tree

SIZE, LEVELS = 128, 6
GAP = 16  # texels between islands
STEP = 1.5 / 255.0


def test_what_is_covered_stays_and_all_else_is_filled_from_near(addon) -> None:
    covered = np.zeros((64, 64), bool)
    covered[10:20, 8:30] = covered[40:50, 40:44] = True
    values = np.zeros((64, 64, 3), np.float32)
    values[10:20, 8:30] = (0.2, 0.4, 0.6)
    values[40:50, 40:44] = (0.9, 0.1, 0.3)
    filled = addon.baking.margins.Margin().fill(values, covered)
    np.testing.assert_array_equal(filled[covered], values[covered])
    np.testing.assert_array_equal(filled[0:24, 0:34].reshape(-1, 3), np.float32([(0.2, 0.4, 0.6)] * 24 * 34))
    np.testing.assert_array_equal(filled[36:56, 38:50].reshape(-1, 3), np.float32([(0.9, 0.1, 0.3)] * 20 * 12))


def test_another_mask_is_not_taken_for_the_last_one(addon) -> None:
    margin = addon.baking.margins.Margin()
    values = np.arange(64, dtype=np.float32).reshape(8, 8, 1)
    for place in ((1, 1), (6, 5), (1, 1), (2, 7), (6, 5)):
        covered = np.zeros((8, 8), bool)
        covered[place] = True
        assert (margin.fill(values, covered) == values[place]).all()


def test_no_mip_level_of_a_constant_map_has_another_color(addon) -> None:
    covered = np.random.default_rng(0).random((128, 128)) > 0.9
    values = np.where(covered[..., None], np.float32(0.7), np.float32(0.0)).astype(np.float32).repeat(3, axis=-1)
    filled = addon.baking.margins.Margin().fill(values, covered)
    while len(filled) > 1:
        np.testing.assert_allclose(filled, 0.7, atol=1e-5)
        filled = filled.reshape(len(filled) // 2, 2, len(filled) // 2, 2, 3).mean(axis=(1, 3))


def test_nothing_to_fill_and_nothing_to_fill_from(addon) -> None:
    values = np.ones((8, 8, 3), np.float32)
    fill = addon.baking.margins.Margin().fill
    np.testing.assert_array_equal(fill(values, np.ones((8, 8), bool)), values)
    np.testing.assert_array_equal(fill(values, np.zeros((8, 8), bool)), values)


def islands() -> list[tuple[slice, slice]]:
    """A plane of four squares with gaps between them in the UV map, which differ in base color, roughness, metallic, bumps and
    alpha. Returns the rows and columns of each."""
    bpy.ops.mesh.primitive_grid_add(x_subdivisions=2, y_subdivisions=2, size=2.0)
    thing = bpy.context.object
    colors = thing.data.color_attributes.new("Look", "FLOAT_COLOR", "CORNER")
    layer, places = thing.data.uv_layers.active, []
    for face, (left, low) in zip(thing.data.polygons, ((16, 16), (64, 16), (16, 64), (64, 64)), strict=True):
        color = (0.3 + left / 128.0, 0.4 + low / 200.0, 0.5, 1.0)
        for number, corner in enumerate(face.loop_indices):
            x, y = ((0, 0), (1, 0), (1, 1), (0, 1))[number]
            layer.uv[corner].vector = ((left + x * (48 - GAP)) / SIZE, (low + y * (48 - GAP)) / SIZE)
            colors.data[corner].color = color
        places.append((slice(SIZE - low - 48 + GAP, SIZE - low), slice(left, left + 48 - GAP)))
    tree = Tree()
    thing.data.materials.append(tree.material)
    look = tree.new("VertexColor")
    look.layer_name = "Look"
    split = tree.link(look, tree.new("SeparateColor"), 0)
    for name, output in (("Base Color", None), ("Roughness", 0), ("Alpha", 1), ("Metallic", 0)):
        tree.link(look if output is None else split, tree.shader, name, output=output or 0)
    raised = tree.new("NormalMap")
    tree.link(look, raised, "Color")
    tree.link(raised, tree.shader, "Normal")
    return places


def reduced(values: np.ndarray, level: int) -> np.ndarray:
    """A mip level: means of squares of texels."""
    size, count = 2**level, len(values) >> level
    return values.reshape(count, size, count, size, -1).mean(axis=(1, 3))


@pytest.mark.parametrize("name", ["kd.png", "orm.png", "normal.png"])
def test_no_background_bleeds_into_islands_at_six_mip_levels(addon, tmp_path_factory, name) -> None:
    """A level's texels hold nothing that no island has. The gap of 16 texels is 2 at level 3, the last where a bilinear look-up
    in one island reads only texels that are nearer to it than to the other: there, all of these are the island's own."""
    group, places = baked_islands(addon, tmp_path_factory)
    values = pixels(group, name)
    own = [values[place][2:-2, 2:-2].reshape(-1, values.shape[-1]).mean(axis=0) for place in places]
    assert np.ptp(own, axis=0).max() > 0.1
    for level in range(LEVELS + 1):
        small = reduced(values, level)
        assert (small >= np.min(own, axis=0) - STEP).all(), level
        assert (small <= np.max(own, axis=0) + STEP).all(), level
        for place, color in zip(places, own, strict=True):
            if level <= 3:
                rows, columns = (slice((part.start >> level) - 1, -(-part.stop >> level) + 1) for part in place)
                assert np.abs(small[rows, columns] - color).max() < STEP, level


_baked: list = []


def baked_islands(addon, folders):
    """The islands, baked once."""
    if not _baked:
        places = islands()
        group, _ = only(bake(addon, folders.mktemp("islands"), resolution=SIZE, target="CORE"))
        _baked.extend((group, places))
    return _baked


def test_a_width_ends_the_margin_with_a_new_material(addon, tmp_path) -> None:
    places = islands()
    group, _ = only(bake(addon, tmp_path, resolution=SIZE, target="CORE", margin=3))
    color, orm, normal = (pixels(group, name) for name in ("kd.png", "orm.png", "normal.png"))
    rows, columns = places[0]
    middle = (rows.start + rows.stop) // 2
    island = color[middle, columns.start + 4]
    for distance in (1, 2, 3):
        np.testing.assert_allclose(color[middle, columns.start - distance], island, atol=STEP)
    beyond = middle, columns.start - 4
    gray = 1.055 * 0.8 ** (1 / 2.4) - 0.055
    np.testing.assert_allclose(color[beyond], (gray, gray, gray, 1.0), atol=STEP)
    np.testing.assert_allclose(orm[beyond], (1.0, 0.5, 0.0), atol=STEP)
    np.testing.assert_allclose(normal[beyond], (0.5, 0.5, 1.0), atol=STEP)
