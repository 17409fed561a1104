"""Colors where Blender's scene linear is not Rec.709: in a studio's OCIO configuration, in a file with a working space.

Each test holds in any configuration, and says what is right by Cycles' renders or by how OCIO converts an image. The last
test runs them all, and those of the preview, again in other configurations, in a process of their own: Blender takes its
configuration when it starts.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.blender.assigning import assign, png
from support.blender.panorama import DATA, LINEAR_REC709, SRGB, image_world, panorama, pixels_of, space
from support.blender.scenes import add_cube, paint, use_nodes

bpy = pytest.importorskip("bpy")

# OCIO's own, and the first Blender whose OCIO has them.
CONFIGURATIONS = {
    "ocio://studio-config-v2.1.0_aces-v1.3_ocio-v2.3": (4, 2, 0),
    "ocio://studio-config-v4.0.0_aces-v2.0_ocio-v2.5": (5, 2, 0),
}
WIDTH, HEIGHT = 8, 4


def stored() -> np.ndarray:
    """Some bytes, [h, w, 3], as an image stores them."""
    return np.random.default_rng(5).integers(20, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)


def image_of(data: bytes, color_space: str) -> bpy.types.Image:
    """A packed image with the bytes of a file."""
    image = bpy.data.images.new("Image", 1, 1)
    image.pack(data=data, data_len=len(data))
    image.source = "FILE"
    image.colorspace_settings.name = color_space
    return image


def float_image(values: np.ndarray, color_space: str) -> bpy.types.Image:
    """An image of floats [h, w, 3], which Blender stores as they are."""
    image = bpy.data.images.new("Floats", values.shape[1], values.shape[0], float_buffer=True)
    image.colorspace_settings.name = color_space
    rgba = np.concatenate([values, np.ones_like(values[..., :1])], axis=-1)
    image.pixels.foreach_set(np.ascontiguousarray(rgba[::-1], np.float32).ravel())
    return image


def decoded(values: np.ndarray) -> np.ndarray:
    """Linear values of sRGB ones."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def hdr(rows: list[list[tuple[int, int, int, int]]]) -> bytes:
    """A Radiance file, narrow enough for no compression; a pixel's fourth byte is the exponent of the others."""
    pixels = b"".join(bytes(pixel) for row in rows for pixel in row)
    return b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y %d +X %d\n" % (len(rows), len(rows[0])) + pixels


def test_roles(colors) -> None:
    spaces = colors.common.color_spaces
    before = len(bpy.data.images)
    names = spaces.data_space(), spaces.srgb_space(), spaces.linear_rec709_space(), spaces.scene_linear_space()
    assert len(bpy.data.images) == before
    assert names[:3] == (space(DATA), space(SRGB), space(LINEAR_REC709))
    # Half of each primary, then gray; OCIO makes it scene linear.
    primaries = hdr([[(128, 0, 0, 128), (0, 128, 0, 128), (0, 0, 128, 128), (128, 128, 128, 128)]])
    half = np.concatenate([0.5 * np.eye(3), np.full((1, 3), 0.5)])
    linear = pixels_of(image_of(primaries, names[2]))[0, :, :3]
    np.testing.assert_allclose(spaces.to_rec709(linear), half, atol=2e-4)
    np.testing.assert_allclose(spaces.to_scene_linear(half), linear, atol=2e-4)
    np.testing.assert_allclose(pixels_of(image_of(primaries, names[3]))[0, :, :3], half, atol=1e-6)
    encoded = pixels_of(image_of(primaries, names[1]))[0, :, :3]
    np.testing.assert_allclose(spaces.to_rec709(encoded), decoded(half), atol=2e-4)
    assert spaces.is_rec709() == np.allclose(linear, half, atol=1e-3)


@pytest.mark.parametrize("names", [SRGB, LINEAR_REC709, DATA, ("Linear Rec.2020",), ("ACEScg",)])
@pytest.mark.parametrize("kind", ["bytes", "hdr"])
def test_a_worlds_image_is_read_as_cycles_shows_it(colors, names, kind) -> None:
    color_space = space(names)
    if kind == "bytes":
        image = image_of(png(stored()), color_space)
    else:
        image = image_of(hdr([[(*pixel, 129) for pixel in row] for row in stored()[:, :7].tolist()]), color_space)
    world = image_world(image)
    found = colors.export.world.export_world(world)
    spaces = colors.common.color_spaces
    known = {*SRGB, *LINEAR_REC709, *DATA, spaces.scene_linear_space()}
    if kind == "bytes" and color_space not in known:
        assert found is None
        return
    expected = panorama(world, *image.size)
    # Cycles keeps converted bytes as sRGB bytes.
    np.testing.assert_allclose(found, expected, atol=8e-3 if kind == "bytes" else 2e-3 * expected.max())


def test_a_constant_world_is_what_cycles_shows(colors) -> None:
    world = bpy.data.worlds.new("Even")
    world.color = (0.9, 0.1, 0.3)
    if bpy.app.version < (5, 0, 0):
        np.testing.assert_allclose(
            colors.export.world.constant_world(world), panorama(world, 4, 2)[1, 1], rtol=1e-3, atol=1e-4
        )
    use_nodes(world)
    background = world.node_tree.nodes["Background"]
    background.inputs["Color"].default_value = (0.9, 0.1, 0.3, 1.0)
    background.inputs["Strength"].default_value = 2.0
    found = colors.export.world.constant_world(world)
    np.testing.assert_allclose(found, panorama(world, 4, 2)[1, 1], rtol=1e-3, atol=1e-4)


def test_a_world_that_the_second_blender_renders_is_what_cycles_shows(colors) -> None:
    world = image_world(image_of(png(stored()), space(SRGB)))
    world.node_tree.nodes["Environment Texture"].interpolation = "Closest"
    assert colors.export.world.export_world(world) is None
    lights = colors.preview.scene.light.WorldLights()
    try:
        found = lights.finish(world).radiance
    finally:
        lights.close()
    rows, columns = found.shape[0] // HEIGHT, found.shape[1] // WIDTH
    middles = found[rows // 2 :: rows, columns // 2 :: columns]
    np.testing.assert_allclose(middles, panorama(world, WIDTH, HEIGHT), atol=2e-3)
    np.testing.assert_allclose(middles, decoded(stored() / 255), atol=8e-3)


def learned_light(colors, path: Path, radiance: np.ndarray) -> bytes:
    """The bytes of a file of radiance [h, w, 3], as a backend writes it: EXR, linear Rec.709, whatever Blender's is."""
    image = float_image(radiance, space(DATA))
    image.pack()
    data = bytes(image.packed_file.data)
    bpy.data.images.remove(image)
    return data


@pytest.mark.parametrize("known", [True, False])
def test_assigned_maps_show_what_was_fitted(colors, tmp_path, monkeypatch, known) -> None:
    """Also where the configuration names its spaces as nobody does."""
    if not known:
        monkeypatch.setattr(colors.assign.color_files, "srgb_space", lambda: None)
        monkeypatch.setattr(colors.assign.color_files, "linear_rec709_space", lambda: None)
    paint(add_cube())
    bytes_of_maps = {name: stored()[::order] for name, order in (("kd", 1), ("orm", -1), ("normal", -1))}
    files = {f"{name}.png": png(pixels) for name, pixels in bytes_of_maps.items()}
    radiance = np.random.default_rng(6).uniform(0.0, 3.0, (HEIGHT, WIDTH, 3)).astype(np.float32)
    files["environment.exr"] = learned_light(colors, tmp_path, radiance)
    assigned = assign(colors, files, world_scene_uid=bpy.context.scene.session_uid)
    world = bpy.data.worlds[assigned.world]
    np.testing.assert_allclose(panorama(world, WIDTH, HEIGHT), radiance, atol=6e-3)
    images = {image.name.rsplit(" ", 1)[-1]: image for image in bpy.data.images if image.name.startswith("Paint")}
    shown = panorama(image_world(images["Color"]), WIDTH, HEIGHT)
    np.testing.assert_allclose(shown, decoded(bytes_of_maps["kd"] / 255), atol=8e-3)
    for name, label in (("orm", "ORM"), ("normal", "Normal")):
        shown = panorama(image_world(images[label]), WIDTH, HEIGHT, colors.common.color_spaces.scene_linear_space())
        np.testing.assert_allclose(shown, bytes_of_maps[name] / 255, atol=2e-3)
    assert {image.colorspace_settings.is_data for image in images.values()} == {True, False}


def test_alpha_survives_where_no_color_space_is_srgb(colors, monkeypatch) -> None:
    monkeypatch.setattr(colors.assign.color_files, "srgb_space", lambda: None)
    paint(add_cube())
    pixels = np.concatenate([stored(), stored()[::-1, :, :1]], axis=-1)
    assign(colors, {"kd.png": png(pixels)}, alpha=True)
    (image,) = [image for image in bpy.data.images if image.name.startswith("Paint")]
    found, alpha = pixels_of(image), pixels[..., 3:] / 255
    np.testing.assert_allclose(found[..., 3:], alpha, atol=1e-3)
    straight = colors.common.color_spaces.to_rec709(found[..., :3]) / alpha
    np.testing.assert_allclose(straight, decoded(pixels[..., :3] / 255), atol=5e-3)


def test_other_programs_find_a_configuration_by_a_relative_path(addon, tmp_path, monkeypatch) -> None:
    (tmp_path / "studio.ocio").touch()
    monkeypatch.chdir(tmp_path)
    clean_environment = addon.common.processes.clean_environment
    for said, expected in (("studio.ocio", str(tmp_path / "studio.ocio")), ("ocio://default", "ocio://default")):
        monkeypatch.setenv("OCIO", said)
        assert clean_environment(tmp_path / "elsewhere")["OCIO"] == expected


@pytest.mark.any_blender  # it is all of this file in another process
@pytest.mark.skipif("OCIO" in os.environ, reason="this is such a process")
@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_all_of_this_in_another_configuration(configuration, extension_zip) -> None:
    if bpy.app.version < CONFIGURATIONS[configuration]:
        pytest.skip("this Blender's OCIO lacks it")
    environment = {**os.environ, "OCIO": configuration, "PBRFIT_EXTENSION_ZIP": str(extension_zip)}
    preview = Path(__file__).parents[1] / "preview" / "engine" / "test_colors.py"
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", __file__, str(preview)]
    done = subprocess.run(command, env=environment, text=True, capture_output=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
