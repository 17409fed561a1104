"""What the comparison shows of linear pictures, against what Blender itself makes of them for the display."""

from __future__ import annotations

import numpy as np
import pytest
from support.blender.gpu_work import on_the_gpu

bpy = pytest.importorskip("bpy")

SIZE = 32
TRANSFORMS = ("Standard", "Filmic", "AgX")


def random_colors() -> np.ndarray:
    """Linear colors from dark to bright, of all hues, float32 [h, w, 4], opaque."""
    random = np.random.default_rng(1)
    levels = 10.0 ** random.uniform(-2.5, 1.0, (SIZE, SIZE, 1))
    colors = levels * random.uniform(0.05, 1.0, (SIZE, SIZE, 3))
    return np.concatenate([colors, np.ones((SIZE, SIZE, 1))], axis=-1).astype(np.float32)


def shown(addon, table, pixels, second=None, gain=1.0, place=None, background=(0.0, 0.0, 0.0)) -> np.ndarray:
    """What the display shows, float32 [h, w, 4], row 0 at the top."""
    gl = addon.preview.gl

    def draw() -> np.ndarray:
        display, image = gl.display.GlDisplay(table), gl.image.GlImage(SIZE, SIZE, "RGBA16F")
        textures = [None if part is None else gl.targets.texture_of_frame(part) for part in (pixels, second)]
        display.show(image, place or (0, 0, SIZE, SIZE), background, *textures, gain)
        return image.read()

    return on_the_gpu(draw)


def table_of(addon, transform: str = "Standard"):
    bpy.context.scene.view_settings.view_transform = transform
    made = addon.wipe.display_table
    return addon.preview.gl.display.Table(made.display_table(bpy.context.scene), made.FEWEST_STOPS, made.MOST_STOPS)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_colors_are_those_of_the_view_transform(colors, transform: str) -> None:
    addon, pixels = colors, random_colors()
    table = table_of(addon, transform)
    linear = np.concatenate([addon.common.color_spaces.to_scene_linear(pixels[..., :3]), pixels[..., 3:]], axis=-1)
    expected = addon.wipe.display_table.displayed(linear, bpy.context.scene)
    apart = 255.0 * np.abs(shown(addon, table, pixels)[..., :3] - expected[..., :3])
    assert apart.max() < 6.0
    assert apart.mean() < 0.5


def test_the_table_leaves_nothing_in_the_file(addon) -> None:
    kinds = ("images", "scenes", "worlds", "linestyles")
    before = {name: len(getattr(bpy.data, name)) for name in kinds}
    addon.wipe.display_table.display_table(bpy.context.scene)
    assert {name: len(getattr(bpy.data, name)) for name in kinds} == before
    assert addon.wipe.display_table.display_key(bpy.context.scene) == addon.wipe.display_table.display_key(
        bpy.context.scene
    )
    one = addon.wipe.display_table.display_key(bpy.context.scene)
    bpy.context.scene.view_settings.exposure = 1.0
    assert addon.wipe.display_table.display_key(bpy.context.scene) != one


def test_an_error_grows_from_black_to_white_with_its_gain(addon) -> None:
    table, gray = table_of(addon), np.full((SIZE, SIZE, 4), 0.5, np.float32)
    gray[..., 3] = 1.0
    other = gray.copy()
    other[..., 0] = 0.6
    assert shown(addon, table, gray, gray)[..., :3].max() < 0.01
    brightness = [shown(addon, table, gray, other, gain)[0, 0, :3].mean() for gain in (1.0, 4.0, 64.0)]
    assert brightness[0] < brightness[1] < brightness[2]
    assert brightness[2] == pytest.approx(1.0, abs=0.01)


def test_around_the_picture_and_behind_it_is_the_background(addon) -> None:
    """A reference is square, in the middle of the view; its lower half is transparent."""
    table, picture = table_of(addon), np.ones((8, 8, 4), np.float32)
    picture[4:] = 0.0
    image = shown(addon, table, picture, place=(8, 0, 16, 16), background=(0.1, 0.2, 0.3))
    np.testing.assert_allclose(image[0, 0, :3], (0.1, 0.2, 0.3), atol=0.01)
    np.testing.assert_allclose(image[20, 16, :3], 1.0, atol=0.01)
    np.testing.assert_allclose(image[28, 16, :3], (0.1, 0.2, 0.3), atol=0.01)


def test_what_is_drawn_over_a_view_is_made_for_what_blender_does_with_it(addon) -> None:
    """Blender decodes sRGB there, and encodes with an exponent of 2.2; the window test sees the result."""
    table, gl, picture = table_of(addon), addon.preview.gl, random_colors()

    def draw() -> np.ndarray:
        display, image = gl.display.GlDisplay(table), gl.image.GlImage(SIZE, SIZE, "RGBA16F")
        display.show(image, (0, 0, SIZE, SIZE), (0.0,) * 3, gl.targets.texture_of_frame(picture), over_view=True)
        return image.read()[..., :3]

    drawn, wanted = on_the_gpu(draw), shown(addon, table, picture)[..., :3]
    np.testing.assert_allclose(addon.common.color.linear_from_srgb(drawn) ** (1 / 2.2), wanted, atol=0.003)
