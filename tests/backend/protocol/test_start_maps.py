"""Maps of other origins: what names, layouts and glTF say, and what is refused before any work."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backend.protocol.find_start_maps import find_maps
from backend.protocol.map_words import name_says
from backend.protocol.start_maps import StartMapsError, start_entry


def write(folder: Path, *names: str, size: tuple[int, int] = (8, 8), mode: str = "RGB") -> None:
    """Images of these names, in the formats that their endings say."""
    for name in names:
        Image.new(mode, size, 100 if mode == "L" else (100,) * len(mode)).save(folder / name)


def table(folder: Path, *rest: str) -> list[str]:
    return find_maps(str(folder), *rest).words()


@pytest.mark.parametrize(
    ("stem", "family", "signals", "directx"),
    [
        ("rusty_metal_02_diff_1k", "rusty_metal_02", ["base_color", "alpha"], False),  # Poly Haven
        ("rusty_metal_02_nor_gl_1k", "rusty_metal_02", ["normal"], False),
        ("rusty_metal_02_nor_dx_1k", "rusty_metal_02", ["normal"], True),
        ("rusty_metal_02_arm_1k", "rusty_metal_02", ["occlusion", "roughness", "metallic"], False),
        ("Bricks076C_1K-JPG_Color", "Bricks076C_1K-JPG", ["base_color", "alpha"], False),  # ambientCG
        ("Bricks076C_1K-JPG_NormalDX", "Bricks076C_1K-JPG", ["normal"], True),
        ("T_Chair_D", "T_Chair", ["base_color", "alpha"], False),  # Unreal
        ("T_Chair_ORM", "T_Chair", ["occlusion", "roughness", "metallic"], False),
        ("Chair_MaskMap", "Chair", ["metallic", "occlusion", "roughness"], False),  # Unity
        ("Chair_MetallicSmoothness", "Chair", ["metallic", "roughness"], False),
        ("Chair_BumpMap", "Chair", ["normal"], False),
        ("Default_metalRoughness", "Default", ["roughness", "metallic"], False),  # glTF samples
        ("wood-glossiness", "wood", ["roughness"], False),
        ("Metal plate Ambient Occlusion", "Metal plate", ["occlusion"], False),
        ("albedo", "", ["base_color", "alpha"], False),
        ("kd", "", ["base_color", "alpha"], False),
    ],
)
def test_names_of_the_usual_sources(stem: str, family: str, signals: list[str], directx: bool) -> None:
    said = name_says(stem)
    assert said is not None
    assert said.item is not None
    assert (said.family, said.item.signals, said.directx) == (family, signals, directx)


@pytest.mark.parametrize("stem", ["chair", "IMG_2041", "readme", "d", "Studio"])
def test_names_that_say_nothing(stem: str) -> None:
    assert name_says(stem) is None


def test_tiles_and_maps_that_no_fit_begins_with() -> None:
    for stem in ("skin_roughness.1002", "skin_roughness_1002", "skin_roughness_4k.1002"):
        assert name_says(stem).tile == 1002
    assert name_says("wood_height").item is None


def test_the_table_says_what_is_taken_as_what(tmp_path) -> None:
    write(
        tmp_path,
        "wood_albedo.jpg",
        "wood_gloss.png",
        "wood_NormalGL.png",
        "wood_NormalDX.png",
        "wood_height.png",
        "a.png",
    )
    lines = table(tmp_path)
    assert "Base Color: wood_albedo.jpg (8 x 8)" in lines
    assert "Roughness: 1 - wood_gloss.png, red (8 x 8)" in lines
    assert "Normal: wood_NormalGL.png, +Y (OpenGL) (8 x 8)" in lines
    assert "Metallic: no map, begins as in a new material" in lines
    assert "wood_NormalDX.png: not taken, the same normals with +Y are there too" in lines
    assert "wood_height.png: not taken, no map that a fit begins with" in lines
    assert "a.png: not taken, its name does not say what it holds" in lines
    assert not any(line.startswith("Alpha") for line in lines)  # a JPEG has none


def test_a_map_of_its_own_comes_before_a_packed_one(tmp_path) -> None:
    write(tmp_path, "wood_orm.png", "wood_roughness.png")
    lines = table(tmp_path)
    assert "Roughness: wood_roughness.png, red (8 x 8)" in lines
    assert "Metallic: wood_orm.png, blue (8 x 8)" in lines


def test_directx_normals_by_choice(tmp_path) -> None:
    write(tmp_path, "wood_normal.png")
    assert "Normal: wood_normal.png, -Y (DirectX) (8 x 8)" in table(tmp_path, "", "directx")


def test_maps_of_several_materials_are_told_by_name(tmp_path) -> None:
    write(tmp_path, "Wood_albedo.png", "Wood_roughness.png", "Steel_albedo.png", "Steel_roughness.png")
    found = find_maps(str(tmp_path))
    taken = start_entry(found.family_for(["Steel"]), 0)["maps"]
    assert {item["image"]["name"] for item in taken} == {"Steel_albedo.png", "Steel_roughness.png"}
    with pytest.raises(StartMapsError, match=r'several materials \("Steel", "Wood"\).*"Glass"'):
        found.family_for(["Glass"])


def test_different_prefixes_that_complete_each_other_are_one(tmp_path) -> None:
    write(tmp_path, "T_Chair_D.png", "Chair_roughness.png")
    assert len(find_maps(str(tmp_path)).families) == 1


def test_a_missing_tile_is_named(tmp_path) -> None:
    write(tmp_path, "skin_albedo.1001.png", "skin_albedo.1002.png")
    (family,) = find_maps(str(tmp_path)).families
    assert start_entry(family, 1002)["maps"][0]["image"]["name"] == "skin_albedo.1002.png"
    with pytest.raises(StartMapsError, match="no maps for the UDIM tile 1003, only for 1001, 1002"):
        start_entry(family, 1003)


def test_what_is_refused(tmp_path) -> None:
    def refused(match: str, *rest: str) -> None:
        with pytest.raises(StartMapsError, match=match):
            find_maps(str(tmp_path), *rest)

    refused("has no images whose names say")
    write(tmp_path, "wood_rough.png", "wood_gloss.png")
    refused("wood_gloss.png and wood_rough.png are both taken as Roughness")
    (tmp_path / "wood_gloss.png").write_bytes(b"no image")
    refused("wood_gloss.png is no image that can be read")
    whole = (tmp_path / "wood_rough.png").read_bytes()
    (tmp_path / "wood_gloss.png").unlink()
    (tmp_path / "wood_rough.png").write_bytes(whole[:-20])
    refused("wood_rough.png is no image that can be read, or its end is missing")
    (tmp_path / "wood_rough.png").write_bytes(whole)
    write(tmp_path, "wood_albedo.png", size=(16, 8))
    refused(r"wood_albedo.png is 16 x 8, and wood_rough.png 8 x 8: they have different shapes")
    (tmp_path / "wood_albedo.png").unlink()
    write(tmp_path, "wood_MaskMap.png")
    refused("wood_MaskMap.png has no alpha, where Roughness is expected")
    refused('that the layout "gltf" names', "gltf")
    refused('There is no layout "maya"', "maya")
    with pytest.raises(StartMapsError, match="that does not exist"):
        find_maps(str(tmp_path / "nowhere"))


def glb(folder: Path, material: dict, **further: object) -> Path:
    """A .glb with one material, whose textures 0 and 1 are images of 4 x 4."""
    files = []
    for value in ((10, 20, 30, 40), (200, 100, 50, 255)):
        path = folder / "part.png"
        Image.new("RGBA", (4, 4), value).save(path)
        files.append(path.read_bytes())
        path.unlink()
    starts = np.cumsum([0, *(len(data) for data in files)])
    content = {
        "asset": {"version": "2.0"},
        "materials": [{"name": "Paint", **material}],
        "textures": [{"source": 0}, {"source": 1}],
        "images": [{"bufferView": number, "name": f"picture{number}", "mimeType": "image/png"} for number in (0, 1)],
        "bufferViews": [
            {"buffer": 0, "byteOffset": int(starts[number]), "byteLength": len(files[number])} for number in (0, 1)
        ],
        "buffers": [{"byteLength": int(starts[-1])}],
        **further,
    }
    text = json.dumps(content).encode()
    text += b" " * (-len(text) % 4)
    binary = b"".join(files)
    binary += b"\0" * (-len(binary) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(binary), 0x004E4942) + binary
    path = folder / "chair.glb"
    path.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)
    return path


def test_the_materials_of_a_glb(tmp_path) -> None:
    base = {
        "baseColorTexture": {"index": 0},
        "baseColorFactor": [0.5, 1.0, 1.0, 0.75],
        "metallicRoughnessTexture": {"index": 1},
        "roughnessFactor": 0.5,
    }
    material = {"pbrMetallicRoughness": base, "alphaMode": "BLEND", "normalTexture": {"index": 1, "scale": 0.5}}
    found = find_maps(str(glb(tmp_path, material)))
    assert found.words() == [
        "Base Color: picture0 times 0.5, 1, 1 (4 x 4)",
        "Alpha: picture0, alpha times 0.75 (4 x 4)",
        "Roughness: picture1, green times 0.5 (4 x 4)",
        "Metallic: picture1, blue (4 x 4)",
        "Normal: picture1, +Y (OpenGL) times 0.5, 0.5, 1 (4 x 4)",
    ]
    image = found.families[0].tiles[0][0].image
    assert image.read().startswith(b"\x89PNG")
    assert image.read().endswith(b"IEND\xaeB`\x82")


def test_numbers_of_a_glb_and_what_is_left(tmp_path) -> None:
    material = {
        "pbrMetallicRoughness": {"baseColorFactor": [0.1, 0.2, 0.3, 1.0], "metallicFactor": 0.0},
        "extensions": {"KHR_materials_clearcoat": {}},
    }
    lines = find_maps(str(glb(tmp_path, material))).words()
    assert "Base Color: no map, 0.1, 0.2, 0.3" in lines
    assert "Roughness: no map, 1" in lines
    assert "Metallic: no map, 0" in lines
    assert "Paint: KHR_materials_clearcoat: not taken, no map that a fit begins with" in lines


def test_a_gltf_that_cannot_be_used(tmp_path) -> None:
    moved = {"index": 0, "extensions": {"KHR_texture_transform": {"scale": [2, 2]}}}
    with pytest.raises(StartMapsError, match="moves its textures"):
        find_maps(str(glb(tmp_path, {"pbrMetallicRoughness": {"baseColorTexture": moved}})))
    path = tmp_path / "broken.gltf"
    for text in ("{", "[]", '{"materials": []}', '{"materials": [{"normalTexture": {"index": 4}}]}'):
        path.write_text(text)
        with pytest.raises(StartMapsError, match=r"no glTF|no materials"):
            find_maps(str(path))
    whole = glb(tmp_path, {}).read_bytes()
    path.with_suffix(".glb").write_bytes(whole[:-40])
    with pytest.raises(StartMapsError, match="its end is missing"):
        find_maps(str(path.with_suffix(".glb")))
