"""The Studio lights: what they promise to whoever fits in them, and the worlds that show them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")
BRIGHTNESS = 0.7


@pytest.fixture
def lights(addon) -> np.ndarray:
    return addon.references.studio_lights.studio_lights(BRIGHTNESS)


def directions(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit directions of pixels, [H * W, 3], any one frame, and their solid angles [H * W]."""
    polar = (np.arange(height) + 0.5)[:, None] / height * np.pi
    around = (np.arange(width) + 0.5)[None] / width * 2 * np.pi
    found = np.stack(
        [np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar) + 0 * around], axis=-1
    )
    areas = np.broadcast_to(np.sin(polar), (height, width)) * 2 * np.pi**2 / (height * width)
    return found.reshape(-1, 3), areas.ravel()


def test_each_light_is_finite_and_as_bright_as_asked_in_each_color(addon, lights) -> None:
    module = addon.references.studio_lights
    assert lights.shape == (module.LIGHTS, 128, 256, 3)
    assert lights.dtype == np.float32
    assert np.isfinite(lights).all()
    assert lights.min() >= 0.0
    _, areas = directions(128, 256)
    means = np.einsum("lpc,p->lc", lights.reshape(len(lights), -1, 3), areas) / areas.sum()
    np.testing.assert_allclose(means, BRIGHTNESS, rtol=1e-3)


def test_no_side_is_dark_in_any_color(lights) -> None:
    """A side that a light hardly reaches would be fitted from the other lights alone."""
    toward, areas = directions(128, 256)
    sides = directions(6, 12)[0]
    cosine = np.clip(sides @ toward.T, 0, None) * areas
    irradiance = np.einsum("sp,lpc->lsc", cosine, lights.reshape(len(lights), -1, 3))
    assert (irradiance > 0.15 * np.pi * BRIGHTNESS).all()


@pytest.mark.parametrize("alone", [False, True])
def test_a_world_shows_each_light_and_the_first_is_the_scenes_own(addon, lights, alone) -> None:
    own = bpy.data.worlds.new("Own")
    stage = SimpleNamespace(scene=SimpleNamespace(world=own))
    module = addon.references.studio_lights
    staged = module.StudioLights(stage, alone)
    lights = lights * (module.BRIGHTNESS / BRIGHTNESS)
    np.testing.assert_allclose(staged.make(), lights, rtol=1e-5)
    for number, light in enumerate(lights):
        staged.use(number + (0 if alone else 1))
        image = next(
            node.image for node in stage.scene.world.node_tree.nodes if node.bl_idname == "ShaderNodeTexEnvironment"
        )
        pixels = np.array(image.pixels[:], np.float32).reshape(128, 256, 4)
        np.testing.assert_allclose(pixels[::-1, :, :3], light, rtol=1e-5)
    staged.use(0)
    assert (stage.scene.world == own) is not alone
