"""Maps of fitted materials in layouts, read back by OpenImageIO: channels, bits, colors, normals and names."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from support.blender.assigning import assign, of_sets, png
from support.blender.scenes import add_cube, paint, ready_cube

bpy = pytest.importorskip("bpy")
oiio = pytest.importorskip("OpenImageIO")
SIZE = 6


def levels(channels: int, dtype=np.uint8, seed: int = 0) -> np.ndarray:
    largest = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, largest + 1, (SIZE, SIZE, channels)).astype(dtype)


KD, ORM, NORMAL = levels(4), levels(3, seed=1), levels(3, np.uint16, seed=2)
FILES = {"kd.png": png(KD), "orm.png": png(ORM), "normal.png": png(NORMAL)}


@pytest.fixture
def saved(addon, tmp_path):
    """Saves the active object's maps in a layout, and reads the files back: values and OpenImageIO's spec by name."""

    def save(key: str, **options) -> dict[str, tuple[np.ndarray, oiio.ImageSpec]]:
        files = encoded(addon, key, bpy.context.object, **options)
        found = {}
        for name, data in files.items():
            path = tmp_path / name
            path.write_bytes(data)
            config = oiio.ImageSpec()
            config.attribute("oiio:UnassociatedAlpha", 1)
            source = oiio.ImageInput.open(str(path), config)
            spec = source.spec()
            values = np.asarray(source.read_image(str(spec.format)))
            found[name] = values.reshape(spec.height, spec.width, spec.nchannels), spec
        return found

    return save


def encoded(addon, key: str, target, **options) -> dict[str, bytes]:
    layouts, saving = addon.protocol.map_layouts, addon.saving.layout_files
    chosen = layouts.OutputOptions(**options)
    layout = layouts.with_options(layouts.find_layout(key), chosen)
    planned = saving.layout_files(addon.assign.materials.fitted_materials(target), layout)
    return saving.encoded_files(planned, chosen)


@pytest.fixture
def fitted(addon):
    """A cube with the maps of a fit, with alpha."""
    cube = ready_cube()
    assign(addon, FILES, alpha=True)
    return cube


def test_gltf(fitted, saved) -> None:
    files = saved("gltf")
    assert set(files) == {
        "Paint_baseColor.png",
        "Paint_occlusionRoughnessMetallic.png",
        "Paint_normal.png",
    }
    color, spec = files["Paint_baseColor.png"]
    np.testing.assert_array_equal(color, KD)
    assert spec.getattribute("oiio:ColorSpace") in ("sRGB", "srgb_rec709_scene")
    orm, spec = files["Paint_occlusionRoughnessMetallic.png"]
    np.testing.assert_array_equal(orm, ORM)
    normal, spec = files["Paint_normal.png"]
    assert normal.dtype == np.uint8
    np.testing.assert_array_equal(normal, np.rint(NORMAL / 65535 * 255).astype(np.uint8))


def own_files(addon) -> dict[str, bytes]:
    """The maps as PBRfit itself encodes them."""
    made = addon.protocol.png.png
    normal = (NORMAL >> 8).astype(np.uint8)
    return {"kd.png": made(KD, True), "orm.png": made(ORM, False), "normal.png": made(normal, False)}


def test_an_image_that_is_as_the_file_is_to_be_is_copied(addon, tmp_path) -> None:
    """Byte for byte; whatever else is wanted of it is encoded, with the same pixels."""
    cube = ready_cube()
    own = own_files(addon)
    assign(addon, own, alpha=True)
    found = encoded(addon, "gltf", cube)
    assert found["Paint_baseColor.png"] == own["kd.png"]
    assert found["Paint_occlusionRoughnessMetallic.png"] == own["orm.png"]
    assert found["Paint_normal.png"] == own["normal.png"]
    others = [
        encoded(addon, "gltf", cube, bits=16)["Paint_baseColor.png"],
        encoded(addon, "unreal", cube)["T_Paint_N.png"],
        encoded(addon, "gltf", cube, size=(SIZE, 2 * SIZE))["Paint_occlusionRoughnessMetallic.png"],
        encoded(addon, "unity-hdrp", cube)["Paint_MaskMap.png"],
    ]
    assert not set(others) & set(own.values())
    wide = encoded(addon, "gltf", cube, bits=16)["Paint_baseColor.png"]
    place = tmp_path / "wide.png"
    place.write_bytes(wide)
    np.testing.assert_array_equal(oiio_values(place), KD.astype(np.uint16) * 257)


def test_what_an_artist_painted_is_saved(addon, tmp_path) -> None:
    cube = ready_cube()
    own = own_files(addon)
    assign(addon, own, alpha=True)
    image = next(image for image in bpy.data.images if image.name.endswith("Base Color"))
    image.pixels[:4] = (0.0, 0.0, 0.0, 1.0)
    image.update()
    if bpy.app.version >= (
        4,
        5,
    ):  # an earlier Blender cannot save them without changing the image: `image_files` says so
        color = encoded(addon, "gltf", cube)["Paint_baseColor.png"]
        assert color != own["kd.png"]
        place = tmp_path / "painted.png"
        place.write_bytes(color)
        np.testing.assert_array_equal(oiio_values(place)[-1, 0], [0, 0, 0, 255])


def chunk_of(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def with_chunk(data: bytes, name: bytes, content: bytes) -> bytes:
    """A PNG with a further chunk behind its head."""
    return data[:33] + chunk_of(name, content) + data[33:]


@pytest.mark.parametrize(
    "change",
    [
        lambda data: with_chunk(data, b"gAMA", bytes(4)),
        lambda data: with_chunk(data, b"iCCP", bytes(4)),
        lambda data: data[:-12],  # cut off
        lambda data: data[:8] + chunk_of(b"IHDR", data[16:28] + b"\1") + data[33:],  # interlaced
        lambda data: data[:8] + chunk_of(b"IHDR", data[16:20]) + data[33:],  # a head that is none
        lambda data: data[:-20] + bytes([data[-20] ^ 1]) + data[-19:],  # damaged
        lambda data: b"GIF89a" + data,
        lambda data: b"",
    ],
)
def test_a_png_that_may_mean_something_else_is_not_copied(addon, change) -> None:
    made, same = addon.protocol.png.png(KD, True), addon.saving.unchanged_files.same_png
    assert same(made, 4, 8, True, (0, 0)) == same(made, 4, 8, True, (SIZE, SIZE)) == made
    assert same(change(made), 4, 8, True, (0, 0)) is None
    assert same(made, 3, 8, True, (0, 0)) is same(made, 4, 16, True, (0, 0)) is same(made, 4, 8, True, (8, 8)) is None


def test_what_only_pictures_say_is_left_out(addon) -> None:
    png = addon.protocol.png
    made, numbers = png.png(ORM, True), png.png(ORM, False)
    said = made[:33] + png.chunk(b"pHYs", bytes(9)) + made[33:-12] + png.chunk(b"tEXt", b"Date") + made[-12:]
    assert addon.saving.unchanged_files.same_png(said, 3, 8, True, (0, 0)) == made
    assert addon.saving.unchanged_files.same_png(said, 3, 8, False, (0, 0)) == numbers


def test_maps_of_a_bake_are_copied_too(addon, tmp_path) -> None:
    """Blender has written them: their pixels stay compressed as they are."""
    cube = ready_cube()
    assign(addon, FILES | {"orm.png": written_by_blender(tmp_path, ORM)})
    data = encoded(addon, "gltf", cube)["Paint_occlusionRoughnessMetallic.png"]
    image = next(image for image in bpy.data.images if image.name.endswith("ORM"))
    pixels = image.packed_file.data
    start = pixels.index(b"IDAT")
    assert pixels[start : start + 40] in data
    assert b"pHYs" in pixels
    assert b"pHYs" not in data
    place = tmp_path / "orm_again.png"
    place.write_bytes(data)
    np.testing.assert_array_equal(oiio_values(place), ORM)


def written_by_blender(folder, pixels: np.ndarray) -> bytes:
    """A PNG of RGB pixels as Blender writes it."""
    image = bpy.data.images.new("Written", SIZE, SIZE, alpha=False, is_data=True)
    values = np.concatenate([pixels[::-1] / 255, np.ones((SIZE, SIZE, 1))], axis=-1).astype(np.float32)
    image.pixels.foreach_set(values.ravel())
    image.filepath_raw, image.file_format = str(folder / "written.png"), "PNG"
    image.save()
    bpy.data.images.remove(image)
    return (folder / "written.png").read_bytes()


def oiio_values(path) -> np.ndarray:
    config = oiio.ImageSpec()
    config.attribute("oiio:UnassociatedAlpha", 1)
    source = oiio.ImageInput.open(str(path), config)
    spec = source.spec()
    return np.asarray(source.read_image(str(spec.format))).reshape(spec.height, spec.width, spec.nchannels)


def test_unreal_turns_green_around(fitted, saved) -> None:
    normal = saved("unreal", bits=16)["T_Paint_N.png"][0]
    expected = NORMAL.copy()
    expected[..., 1] = 65535 - NORMAL[..., 1]
    np.testing.assert_array_equal(normal, expected)


def test_unity(fitted, saved) -> None:
    mask = saved("unity-hdrp")["Paint_MaskMap.png"][0]
    np.testing.assert_array_equal(mask[..., 0], ORM[..., 2])
    np.testing.assert_array_equal(mask[..., 1], ORM[..., 0])
    assert set(mask[..., 2].ravel()) == {255}
    np.testing.assert_array_equal(mask[..., 3], 255 - ORM[..., 1])
    packed = saved("unity-urp", format="tiff", bits=16)["Paint_MetallicOcclusionSmoothness.tif"][0]
    assert packed.dtype == np.uint16
    np.testing.assert_array_equal(packed[..., 3], (255 - ORM[..., 1].astype(np.uint16)) * 257)
    assert set(packed[..., 2].ravel()) == {0}


def test_metals_are_kept_where_nothing_is_smooth(addon, saved) -> None:
    """Blender's own writing would divide red by an alpha of zero."""
    orm = ORM.copy()
    orm[..., 1] = 255
    ready_cube()
    assign(addon, FILES | {"orm.png": png(orm)})
    mask = saved("unity-hdrp")["Paint_MaskMap.png"][0]
    assert set(mask[..., 3].ravel()) == {0}
    np.testing.assert_array_equal(mask[..., 0], orm[..., 2])


def test_separate_maps_of_blender(fitted, saved) -> None:
    files = saved("blender")
    assert {name: values.shape[-1] for name, (values, _) in files.items()} == {
        "Paint_Base_Color.png": 4,
        "Paint_Occlusion.png": 1,
        "Paint_Roughness.png": 1,
        "Paint_Metallic.png": 1,
        "Paint_Normal.png": 3,
    }
    for place, name in enumerate(("Occlusion", "Roughness", "Metallic")):
        np.testing.assert_array_equal(files[f"Paint_{name}.png"][0][..., 0], ORM[..., place])
    np.testing.assert_array_equal(files["Paint_Normal.png"][0], NORMAL)


def test_files_of_another_size_than_the_maps(fitted, saved) -> None:
    """Half as wide, and as high: colors are mixed as light, numbers as they are, and normals keep their length."""
    files = saved("gltf", size=[3, 6], pattern="{map}_{resolution}")
    pairs = (KD[:, 0::2, :3], KD[:, 1::2, :3])
    color, spec = files["baseColor_3x6.png"]
    assert (spec.width, spec.height) == (3, 6)
    mixed = sum(linear(part) for part in pairs) / 2
    np.testing.assert_allclose(linear(color[..., :3]), mixed, atol=0.008)
    orm = files["occlusionRoughnessMetallic_3x6.png"][0].astype(float)
    np.testing.assert_allclose(orm, (ORM[:, 0::2].astype(float) + ORM[:, 1::2]) / 2, atol=0.51)
    vectors = files["normal_3x6.png"][0] / 255 * 2 - 1
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=-1), 1.0, atol=0.01)


def linear(values: np.ndarray) -> np.ndarray:
    shares = values / 255
    return np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize(("bits", "error"), [(16, 5e-4), (32, 1e-6)])
def test_exr_is_linear_and_multiplied_by_opacity(fitted, saved, bits, error) -> None:
    files = saved("usd", format="exr", bits=bits)
    color, spec = files["Paint_diffuseColor.exr"]
    assert spec.format == ("half" if bits == 16 else "float")
    np.testing.assert_allclose(color.astype(float), linear(KD[..., :3]), atol=error)
    np.testing.assert_allclose(files["Paint_roughness.exr"][0][..., 0].astype(float), ORM[..., 1] / 255, atol=error)
    whole = saved("gltf", format="exr", bits=bits)["Paint_baseColor.exr"][0].astype(float)
    np.testing.assert_allclose(whole[..., :3], linear(KD[..., :3]) * KD[..., 3:] / 255, atol=error)


def test_opaque_colors_have_no_alpha_and_then_fit_into_jpeg(addon, saved) -> None:
    ready_cube()
    assign(addon, FILES)  # whose alpha is not connected
    np.testing.assert_array_equal(saved("gltf")["Paint_baseColor.png"][0], KD[..., :3])
    assert saved("gltf", format="jpeg")["Paint_baseColor.jpg"][0].shape[-1] == 3


def test_jpeg_is_refused_where_it_would_lose_alpha(addon, fitted) -> None:
    with pytest.raises(addon.common.errors.PbrFitError, match=r"JPEG has no alpha.*not opaque"):
        encoded(addon, "gltf", fitted, format="jpeg")


def test_dithering_keeps_levels_and_the_mean_of_what_lies_between(addon, saved) -> None:
    ready_cube()
    normal = np.full((64, 64, 3), 32768 + 40, np.uint16)  # 127.65 of 255
    assign(addon, FILES | {"normal.png": png(normal)})
    assert set(saved("gltf")["Paint_normal.png"][0].ravel()) == {128}
    files = saved("gltf", dither=True)
    dithered = files["Paint_normal.png"][0]
    assert set(dithered.ravel()) == {127, 128}
    assert dithered.mean() == pytest.approx(normal[0, 0, 0] / 257, abs=0.02)
    np.testing.assert_array_equal(files["Paint_occlusionRoughnessMetallic.png"][0], ORM)


def test_only_what_varies_gets_a_file_and_the_rest_is_told(addon, saved) -> None:
    cube = ready_cube()
    assign(addon, {"kd.png": png(KD[..., :3])})
    assert set(saved("unity-hdrp")) == {"Paint_BaseMap.png"}
    saving, layouts = addon.saving.layout_files, addon.protocol.map_layouts
    materials = list(addon.assign.materials.fitted_materials(cube))
    numbers = saving.leftover_numbers(materials, layouts.LAYOUTS["unity-hdrp"])["Paint PBRfit"]
    assert numbers["roughness"] == pytest.approx((0.5,))
    assert numbers["emission"] == (0.0, 0.0, 0.0)
    assert "base_color" not in numbers


def test_tiles_and_names(addon, saved) -> None:
    cube = ready_cube()
    for corner in range(8):
        cube.data.uv_layers.active.uv[corner].vector.x += 1.0
    assign(addon, of_sets({"orm.png": FILES["orm.png"]}, 2))
    assert {"Paint_baseColor.1001.png", "Paint_baseColor.1002.png"} <= set(saved("gltf"))
    files = saved("gltf", pattern="{object} {map}_{tile}_{resolution}")
    assert "Cube_baseColor_1002_4.png" in files
    np.testing.assert_array_equal(files["Cube_baseColor_1002_4.png"][0][0, 0], (40, 0, 0))
    assert "Cube_occlusionRoughnessMetallic_1001_6.png" in files


def test_two_files_of_one_name_are_refused_before_any_is_made(addon) -> None:
    cube = add_cube()
    for name in ("Wood", "Steel"):
        paint(cube, name)
    for polygon in cube.data.polygons:
        polygon.material_index = polygon.index % 2
    assign(addon, of_sets(FILES, 2))
    assert len(encoded(addon, "gltf", cube)) == 6
    with pytest.raises(addon.common.errors.PbrFitError, match=r'"Wood PBRfit" and "Steel PBRfit".*Cube_baseColor.png'):
        encoded(addon, "gltf", cube, pattern="{object}_{map}")


def test_a_material_that_somebody_changed_is_not_misread(addon, fitted) -> None:
    tree = fitted.active_material.node_tree
    noise = tree.nodes.new("ShaderNodeTexNoise")
    tree.links.new(noise.outputs[0], tree.nodes["Fitted Material"].inputs["Roughness"])
    with pytest.raises(addon.common.errors.PbrFitError, match=r'no map: "Noise Texture" at Roughness.*As They Are'):
        encoded(addon, "gltf", fitted)


def test_openness_of_materials_by_earlier_versions(addon, fitted, saved) -> None:
    tree = fitted.active_material.node_tree
    tree.nodes.remove(tree.nodes["glTF Material Output"])
    np.testing.assert_array_equal(saved("blender")["Paint_Occlusion.png"][0][..., 0], ORM[..., 0])


def test_two_maps_of_one_name_are_refused_with_a_pattern_that_tells_them_apart(addon) -> None:
    """Two materials of one object: {object} alone would not help."""
    cube = ready_cube()
    paint(cube, "Varnish")
    for polygon in cube.data.polygons:
        polygon.material_index = polygon.index % 2
    assign(addon, of_sets(FILES, 2))
    with pytest.raises(addon.common.errors.PbrFitError, match=r"Put \{object\}_\{material\} into the pattern"):
        encoded(addon, "gltf", cube, pattern="{map}")
    with pytest.raises(addon.common.errors.PbrFitError, match=r"Put \{material\} into the pattern"):
        encoded(addon, "gltf", cube, pattern="{object}_{map}")
    assert len(encoded(addon, "gltf", cube, pattern="{object}_{material}_{map}")) == 6
