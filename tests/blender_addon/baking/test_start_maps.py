"""Maps of other origins as the start of a fit: what layouts wrote is read back as it was, in any size."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
import pytest
from support.blender.assigning import assign, png
from support.blender.scenes import ready_cube

SIZE = 16
STEP = 0.501 / 255.0  # half of one of 8 bits


def levels(low: int, high: int, channels: int, dtype=np.uint8) -> np.ndarray:
    return np.random.default_rng(low).integers(low, high, (SIZE, SIZE, channels)).astype(dtype)


def bumps() -> np.ndarray:
    """Unit normals, float64 [SIZE, SIZE, 3]."""
    vectors = np.concatenate(
        [np.random.default_rng(5).uniform(-0.6, 0.6, (SIZE, SIZE, 2)), np.ones((SIZE, SIZE, 1))], -1
    )
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


KD, ORM, NORMAL = levels(1, 255, 4), levels(2, 254, 3), bumps()
FILES = {
    "kd.png": png(KD),
    "orm.png": png(ORM),
    "normal.png": png(np.round((NORMAL * 0.5 + 0.5) * 65535).astype(np.uint16)),
}


@pytest.fixture
def written(addon, tmp_path):
    """Writes the maps of a material in a layout; returns the folder."""

    def write(key: str, **options) -> Path:
        ready_cube()
        assign(addon, FILES, alpha=True)
        layouts, saving = addon.protocol.map_layouts, addon.saving.layout_files
        chosen = layouts.OutputOptions(**options)
        layout = layouts.with_options(layouts.find_layout(key), chosen)
        planned = saving.layout_files(addon.assign.materials.fitted_materials(bpy.context.object), layout)
        for name, data in saving.encoded_files(planned, chosen).items():
            (tmp_path / name).write_bytes(data)
        return tmp_path

    return write


def texels_of(addon, source: Path, layout: str = "", normals: str = "", size: tuple[int, int] = (SIZE, SIZE)):
    """The texels that a fit begins with, and the inputs that they are made of."""
    found = addon.protocol.find_start_maps.find_maps(str(source), layout, normals)
    entry = addon.protocol.start_maps.start_entry(found.families[0], 0)
    reader = addon.baking.start_maps
    inputs = reader.inputs_from(entry, "CORE", size, reader.Decoder())
    return addon.baking.start.texels_of(inputs, 0, size), inputs


def srgb(linear: np.ndarray) -> np.ndarray:
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


def check(texels: np.ndarray, alpha: bool = True) -> None:
    np.testing.assert_allclose(srgb(texels[..., :3]), KD[..., :3] / 255, atol=STEP)
    np.testing.assert_allclose(texels[..., 3:5], ORM[..., 1:] / 255, atol=STEP)
    # Half a step of each component, seen from the middle of the sphere.
    np.testing.assert_allclose(texels[..., 5:8], NORMAL, atol=2.5 / 255)
    np.testing.assert_allclose(texels[..., 8], KD[..., 3] / 255 if alpha else 1.0, atol=STEP)


@pytest.mark.parametrize("named", [False, True], ids=["by layout", "by names"])
@pytest.mark.parametrize(
    "key", ["gltf", "unity-hdrp", "unity-urp", "unreal", "godot", "blender", "usd", "standard-surface", "openpbr"]
)
def test_each_layout_is_read_back(addon, written, key: str, named: bool) -> None:
    """Of Unreal's files no name says that their normals have -Y: this must be said."""
    folder = written(key)
    normals = "directx" if named and key == "unreal" else ""
    texels, inputs = texels_of(addon, folder, "" if named else key, normals)
    check(texels)
    occlusion = inputs.fields[addon.common.material_recipe.OCCLUSION][0]
    np.testing.assert_allclose(occlusion, ORM[..., 0] / 255, atol=STEP)


@pytest.mark.parametrize(
    "options", [{"format": "exr", "bits": 32}, {"format": "tiff", "bits": 16}, {"format": "webp", "quality": 100}]
)
def test_other_types_of_files(addon, written, options) -> None:
    check(texels_of(addon, written("usd", **options), "usd")[0])


def test_colors_in_exr_are_multiplied_by_opacity(addon, written) -> None:
    check(texels_of(addon, written("gltf", format="exr", bits=32), "gltf")[0])


def test_other_sizes_become_those_of_the_fit(addon, tmp_path) -> None:
    """Means of whole texels; a map of another shape fills the square; between texels lies what is between them."""
    wide = np.zeros((8, 32, 3), np.uint8)
    wide[:, 0::2], wide[:, 1::2] = 50, 150
    (tmp_path / "a_roughness.png").write_bytes(png(wide))
    texels, _ = texels_of(addon, tmp_path)
    np.testing.assert_allclose(texels[..., 3], 100 / 255, atol=1e-5)
    (tmp_path / "a_roughness.png").write_bytes(png(np.repeat(np.array([[[0] * 3, [255] * 3]], np.uint8), 2, axis=0)))
    texels, _ = texels_of(addon, tmp_path)
    expected = np.clip((np.arange(SIZE) + 0.5) / 8 - 0.5, 0, 1)
    np.testing.assert_allclose(texels[..., 3], np.broadcast_to(expected, (SIZE, SIZE)), atol=1e-5)


def test_a_square_map_begins_a_fit_of_another_shape(addon, tmp_path) -> None:
    rising = np.repeat(np.arange(0, 256, 16, dtype=np.uint8)[:, None, None], 16, axis=1).repeat(3, axis=-1)
    (tmp_path / "a_roughness.png").write_bytes(png(rising))
    texels, _ = texels_of(addon, tmp_path, size=(8, 32))
    expected = (np.arange(8) * 32 + 8) / 255
    np.testing.assert_allclose(texels[..., 3], np.broadcast_to(expected[:, None], (8, 32)), atol=1e-5)


def test_what_no_map_says_is_as_in_a_new_material(addon, tmp_path) -> None:
    (tmp_path / "a_metallic.png").write_bytes(png(np.full((4, 4, 3), 255, np.uint8)))
    texels, inputs = texels_of(addon, tmp_path)
    np.testing.assert_allclose(texels[3, 3], [0.8, 0.8, 0.8, 0.5, 1.0, 0.0, 0.0, 1.0, 1.0], atol=1e-6)
    assert set(inputs.fields) == {"Metallic"}


def test_an_opaque_alpha_is_none(addon, tmp_path) -> None:
    (tmp_path / "a_albedo.png").write_bytes(png(np.full((4, 4, 4), 255, np.uint8)))
    assert set(texels_of(addon, tmp_path)[1].fields) == {"Base Color"}


def test_what_a_glb_says_is_what_blender_exported(addon, written, tmp_path) -> None:
    written("gltf")
    path = tmp_path / "cube.glb"
    bpy.ops.export_scene.gltf(filepath=str(path), export_format="GLB", use_selection=True)
    texels, _ = texels_of(addon, path)
    check(texels)


def test_a_damaged_file_is_named(addon, tmp_path) -> None:
    whole = png(KD)
    (tmp_path / "a_albedo.png").write_bytes(whole[:60] + b"\0" * 40 + whole[100:])
    with pytest.raises(addon.common.errors.PbrFitError, match=r"a_albedo.png is damaged"):
        texels_of(addon, tmp_path)
