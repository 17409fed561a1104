"""The preview on Blender's own GPU (here by software), against the backend's frames of the same scenes (gl_truth.py).

Within `RenderEngine.render` of an engine with a GPU context, or after `gpu.init()` where Blender has it: the two ways to
draw without a window.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support.blender.gpu_work import on_the_gpu

TRUTH = Path(__file__).parents[3] / "support" / "blender" / "gl_truth.py"
ENOUGH_DB = 40.0
# Of the truth; the tests assert nothing about pixels this near to an edge.
EDGE_PIXELS = 2


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Scenes, light and frames of the backend."""
    path = tmp_path_factory.mktemp("truth") / "truth.npz"
    python = os.environ.get("PBRFIT_BACKEND_PYTHON") or sys.executable
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    answer = subprocess.run(
        [python, str(TRUTH), str(path)], env=environment, capture_output=True, text=True, check=False
    )
    if answer.returncode != 0 and "No module named 'torch'" in answer.stderr:
        pytest.skip("the backend's Python has no torch to draw the truth with")
    assert answer.returncode == 0, answer.stderr
    with np.load(path) as stored:
        arrays = dict(stored)
    information = json.loads(arrays.pop("information").tobytes())
    found = SimpleNamespace(**information)
    for group in ("array", "frame", "depth"):
        values = {name.split("/", 1)[1]: value for name, value in arrays.items() if name.startswith(f"{group}/")}
        setattr(found, f"{group}s", values)
    found.light = SimpleNamespace(
        key="studio",
        atlas=arrays["light/atlas"],
        irradiance=arrays["light/irradiance"],
        places=tuple(map(tuple, arrays["light/places"].tolist())),
        roughnesses=tuple(arrays["light/roughnesses"].tolist()),
    )
    return found


def blender_image(name: str, pixels: np.ndarray, encoding: str):
    """An image of the file with these pixels, uint8 [h, w, 4], row 0 at the top."""
    import bpy

    image = bpy.data.images.new(name, pixels.shape[1], pixels.shape[0], alpha=True)
    image.colorspace_settings.name = "sRGB" if encoding == "srgb" else "Non-Color"
    image.pixels.foreach_set((pixels[::-1].astype(np.float32) / 255).ravel())
    image.update()
    return image


def bpy_image(name: str, side: int):
    import bpy

    return bpy.data.images.new(name, side, side)


class Scenes:
    """The truth's scenes in the add-on's form, with textures as images of the file or as pixels."""

    def __init__(self, addon, truth: SimpleNamespace, as_images: bool) -> None:
        self.types, self.truth, self.as_images = addon.preview.scene.scene, truth, as_images
        self.images: dict[str, Any] = {}

    def texture(self, value: Any) -> Any:
        if not isinstance(value, dict):
            return tuple(value) if isinstance(value, list) else value
        name, pixels, uid = value["array"], self.truth.arrays[value["array"]], 0
        if self.as_images:
            if name not in self.images:
                self.images[name] = blender_image(name, pixels, value["encoding"])
            pixels, uid = None, self.images[name].session_uid
        return self.types.Texture(name, uid, pixels, value["channel"], value["encoding"])

    def scene(self, name: str) -> Any:
        """The scene of this name."""
        parts = []
        for part in self.truth.descriptions[name]["parts"]:
            arrays = {key: self.truth.arrays[array] for key, array in part["mesh"].items()}
            look = self.types.Look(**{key: self.texture(value) for key, value in part["look"].items()})
            key = part["mesh"]["vertex_position"]
            parts.append(self.types.PreviewPart(key, arrays, np.array(part["matrix"]), look))
        return self.types.PreviewScene(tuple(parts), None)


def drawn(preview, scene: Any, truth: SimpleNamespace, case: dict, **changes: Any) -> np.ndarray:
    view, projection = (np.array(matrix) for matrix in truth.cameras[case["camera"]])
    settings = {
        "channel": case["channel"],
        "spp": case["spp"],
        "background": case["background"],
        "light": truth.light,
        "size": tuple(truth.size),
    } | changes
    return preview.read(preview.draw(scene, settings.pop("light"), view, projection, **settings))


def near_edges(depth: np.ndarray) -> np.ndarray:
    """Which pixels are nearer than EDGE_PIXELS to a jump in depth."""
    jump = np.zeros(depth.shape, dtype=bool)
    for axis in (0, 1):
        step = np.abs(np.diff(depth, axis=axis)) > 0.15
        before, after = [slice(None)] * 2, [slice(None)] * 2
        before[axis], after[axis] = slice(0, -1), slice(1, None)
        jump[tuple(before)] |= step
        jump[tuple(after)] |= step
    wide = jump.copy()
    for down in range(-EDGE_PIXELS, EDGE_PIXELS + 1):
        for across in range(-EDGE_PIXELS, EDGE_PIXELS + 1):
            wide |= np.roll(jump, (down, across), (0, 1))
    return wide


def encoded(linear: np.ndarray) -> np.ndarray:
    """As a screen shows it."""
    low = np.clip(linear, 0, 1)
    return np.where(low <= 0.0031308, low * 12.92, 1.055 * np.maximum(low, 0.0031308) ** (1 / 2.4) - 0.055)


def psnr(image: np.ndarray, expected: np.ndarray, where: np.ndarray) -> float:
    """The PSNR of encoded colors and alpha, in dB."""
    difference = [encoded(image[..., :3]) - encoded(expected[..., :3]), image[..., 3:] - expected[..., 3:]]
    error = np.mean(np.square(np.concatenate(difference, axis=-1)[where]))
    return float(-10 * np.log10(max(error, 1e-12)))


def compare(name: str, image: np.ndarray, truth: SimpleNamespace) -> None:
    """Assert that an image matches that of a case; prints how near it is."""
    expected, case = truth.frames[name], truth.cases[name]
    assert image.shape == expected.shape
    depth = expected[..., 0] if case["channel"] == "depth" else truth.depths[name]
    inner = ~near_edges(depth)
    assert (inner & (depth < 1e9)).mean() > 0.1  # something is compared
    if case["channel"] == "depth":
        np.testing.assert_array_equal((image[..., 0] < 1e9)[inner], (depth < 1e9)[inner])
        seen = inner & (depth < 1e9)
        np.testing.assert_allclose(image[..., 0][seen], depth[seen], rtol=1e-4)
        assert (image[..., :3][inner & ~seen] == np.float32(1e10)).all()
        assert (image[..., 3] == (image[..., 0] < 1e9)).all()
        return
    found = psnr(image, expected, inner)
    print(f"{name}: {found:.1f} dB")
    assert found >= ENOUGH_DB


@pytest.mark.parametrize("as_images", [True, False], ids=["images of the file", "maps in the making"])
def test_the_picture_is_the_backends(addon, truth, as_images):
    scenes = Scenes(addon, truth, as_images)
    prepared = {name: scenes.scene(name) for name in truth.descriptions}

    def work() -> dict[str, np.ndarray]:
        preview = addon.preview.gl.renderer.GlPreview()
        images = {name: drawn(preview, prepared[case["scene"]], truth, case) for name, case in truth.cases.items()}
        preview.free()
        return images

    for name, image in on_the_gpu(work).items():
        compare(name, image, truth)


def test_a_frame_in_tiles_is_the_whole_frame(addon, truth, monkeypatch):
    scene, case = Scenes(addon, truth, False).scene("several"), truth.cases["behind"] | {"spp": 3}

    def work() -> tuple[np.ndarray, np.ndarray]:
        preview = addon.preview.gl.renderer.GlPreview()
        whole = drawn(preview, scene, truth, case)
        monkeypatch.setattr(addon.preview.gl.renderer, "LARGEST_SCRATCH", 100)
        tiles = drawn(preview, scene, truth, case)
        preview.free()
        return whole, tiles

    whole, tiles = on_the_gpu(work)
    assert whole[..., :3].max() > 0.5
    # The quads of pixels that give derivatives are placed differently in a tile.
    assert np.abs(whole - tiles).mean() < 2e-4


def test_what_changes_is_drawn_anew_and_what_is_unused_is_given_up(addon, truth):
    scenes = Scenes(addon, truth, True)
    first, other, case = scenes.scene("textured"), scenes.scene("constant"), truth.cases["textured_kd"]
    image = scenes.images["kd"]

    def pixels(value: int) -> np.ndarray:
        return np.full((16, 16, 4), (value, value, value, 255), dtype=np.uint8)

    def live_scene(key: str, value: int) -> Any:
        texture = scenes.types.Texture(key, 0, pixels(value), None, "linear")
        part = first.parts[0]
        return replace(first, parts=(replace(part, look=replace(part.look, kd=texture)),))

    def work() -> list[np.ndarray]:
        preview = addon.preview.gl.renderer.GlPreview()
        images = [drawn(preview, first, truth, case)]
        image.pixels.foreach_set(np.full(image.size[0] * image.size[1] * 4, 0.5, dtype=np.float32))
        image.update()
        images.append(drawn(preview, first, truth, case))
        images += [drawn(preview, live_scene(key, value), truth, case) for key, value in (("a", 51), ("b", 204))]
        assert len(preview._looks._strips) == 2
        for _ in range(addon.preview.gl.renderer.FRAMES_KEPT + 1):
            preview.draw(replace(other, parts=()), truth.light, np.eye(4), np.eye(4), (8, 8))
        assert not len(preview._looks._strips)
        assert not len(preview._meshes)
        preview.free()
        return images

    def middle(found: np.ndarray) -> float:
        return float(found[truth.size[1] // 2, truth.size[0] // 2, 1])

    before, changed, dark, bright = on_the_gpu(work)
    assert np.abs(before - changed).max() > 0.1
    assert middle(changed) == pytest.approx(((0.502 + 0.055) / 1.055) ** 2.4, abs=2e-3)
    assert [middle(dark), middle(bright)] == pytest.approx([0.2, 0.8], abs=2e-3)


def test_pixels_that_are_read_look_like_blenders_textures(addon, truth):
    """Without a GPU: there Blender takes a second to make a texture."""
    scenes, case = Scenes(addon, truth, True), truth.cases["textured_kd"]
    scene, module, images = scenes.scene("textured"), addon.preview.gl.renderer, addon.preview.scene.images
    read: list[str] = []

    def pixels_of(image) -> np.ndarray | None:
        read.append(image.name)
        return images.small_pixels(image)

    def work() -> list[np.ndarray]:
        found = []
        for preview in (module.GlPreview(), module.GlPreview(pixels_of)):
            found += [drawn(preview, scene, truth, case) for _ in range(3)]
            preview.free()
        return found

    by_blender, *_, read_once, read_again, _ = on_the_gpu(work)
    assert psnr(read_once, by_blender, by_blender[..., 3] > 0.5) > ENOUGH_DB
    np.testing.assert_array_equal(read_once, read_again)
    assert sorted(read) == sorted(set(read))  # each of them once
    assert images.small_pixels(bpy_image("large", 2048)) is None


def test_what_is_new_comes_with_several_frames_where_one_must_not_take_long(addon, truth):
    scene, case = Scenes(addon, truth, True).scene("textured"), truth.cases["textured_shaded"]
    values = np.random.default_rng(0).integers(0, 255, (64, 64, 4), dtype=np.uint8)

    def work() -> SimpleNamespace:
        module, (part,) = addon.preview.gl.renderer, scene.parts
        whole = module.GlPreview()
        wanted = drawn(whole, scene, truth, case)
        whole.free()
        preview, frames = module.GlPreview(), []
        while not frames or not preview.is_complete:
            assert len(frames) < 30
            frames.append(drawn(preview, scene, truth, case, patience=1e-9))
        texture = type(part.look.kd)("new", 0, values, None, "linear")
        newer = replace(scene, parts=(replace(part, look=replace(part.look, kd=texture)),))
        first = drawn(preview, newer, truth, case, patience=0.0)
        first_is_complete = preview.is_complete
        after = drawn(preview, newer, truth, case)
        preview.free()
        return SimpleNamespace(**locals())

    found = on_the_gpu(work)
    assert len(found.frames) > 3  # the mesh, each texture, the shader
    assert np.abs(found.frames[-2] - found.wanted).max() > 0.05  # gray
    np.testing.assert_array_equal(found.frames[-1], found.wanted)
    assert not found.first_is_complete
    np.testing.assert_array_equal(found.first, found.wanted)  # as it was
    assert np.abs(found.after - found.wanted).max() > 0.05


def test_bright_light_stays_finite_and_no_light_is_even(addon, truth):
    scene, case = Scenes(addon, truth, False).scene("several"), truth.cases["several"]
    sun = SimpleNamespace(**vars(truth.light))
    sun.key, sun.irradiance = "sun", truth.light.irradiance * 1e5
    sun.atlas = np.where(truth.light.atlas > 0.5, np.inf, truth.light.atlas)  # a sun as half floats have it

    def work() -> tuple[np.ndarray, np.ndarray]:
        preview = addon.preview.gl.renderer.GlPreview()
        images = [drawn(preview, scene, truth, case, light=light, spp=2, background="light") for light in (sun, None)]
        preview.free()
        return tuple(images)

    bright, even = on_the_gpu(work)
    assert np.isfinite(bright).all()
    assert bright[..., :3].max() == 65504
    inside = even[..., 3] == 1
    assert 0.05 < inside.mean() < 0.95  # nothing is behind
    assert 0.05 < even[inside][:, 0].mean() < 1.0


def test_a_texture_that_is_not_there_is_pink_and_an_unknown_channel_is_refused(addon, truth):
    scenes = Scenes(addon, truth, False)
    gone = scenes.types.Texture("gone", 2**31 - 7, None, None, "srgb")
    part = scenes.scene("constant").parts[0]
    scene = scenes.types.PreviewScene((replace(part, look=replace(part.look, kd=gone)),), None)

    def work() -> np.ndarray:
        preview = addon.preview.gl.renderer.GlPreview()
        image = drawn(preview, scene, truth, truth.cases["textured_kd"])
        with pytest.raises(ValueError, match="no channel 'heat'"):
            drawn(preview, scene, truth, truth.cases["textured_kd"], channel="heat")
        preview.free()
        return image

    image = on_the_gpu(work)
    assert image[truth.size[1] // 2, truth.size[0] // 2].tolist() == [1.0, 0.0, 1.0, 1.0]


def test_an_image_is_given_to_blender_in_its_own_primaries(addon, monkeypatch):
    module = addon.preview.gl.renderer
    pixels = np.random.default_rng(2).uniform(0.0, 4.0, (5, 7, 4)).astype(np.float32)
    matrix = np.array([[0.6, 0.3, 0.1], [0.0, 0.9, 0.1], [-0.2, 0.1, 1.1]])

    def work() -> tuple[np.ndarray, bool]:
        preview = module.GlPreview()
        texture = addon.preview.gl.targets.texture_of_frame(pixels)
        same = preview.in_scene_linear(texture) is texture
        monkeypatch.setattr(module, "is_rec709", lambda: False)
        monkeypatch.setattr(module, "scene_linear_from_rec709", lambda: matrix)
        image = addon.preview.gl.targets.KeptImage((7, 5))
        image.take(preview.in_scene_linear(texture))
        values = image.texture.read()
        values.dimensions = 7 * 5 * 4
        found = np.array(values, dtype=np.float32).reshape(5, 7, 4)[::-1]
        preview.free()
        return found, same

    found, same = on_the_gpu(work)
    assert same
    np.testing.assert_allclose(found[..., :3], pixels[..., :3] @ matrix.T, rtol=4e-3, atol=4e-3)  # half floats
    np.testing.assert_allclose(found[..., 3], pixels[..., 3], rtol=4e-3, atol=4e-3)
