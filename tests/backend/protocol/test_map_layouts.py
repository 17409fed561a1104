"""Layouts of maps: the presets against what engines document, an artist's own files, and names that every system allows."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.protocol.map_layouts import (
    FORMATS,
    LAYOUTS,
    SIGNALS,
    Channel,
    Layout,
    LayoutError,
    MapFile,
    OutputOptions,
    as_toml,
    find_layout,
    load_layout,
    read_layout,
    with_options,
)
from backend.protocol.map_names import NameParts, PatternError, check_pattern, file_stem, same_names

OWN = """
title = "Studio"
normal = "directx"
pattern = "{object}-{material}-{map}-{resolution}"
format = "tiff"
bits = 16

[[files]]
map = "Color"
color = "base_color"
alpha = "alpha"

[[files]]
map = "Packed"
red = "1 - roughness"
green = "metallic"
blue = 1
alpha = "occlusion"
format = "png"
bits = 8
"""
ORM = (Channel("occlusion"), Channel("roughness"), Channel("metallic"))
SMOOTHNESS = Channel("roughness", inverted=True)


def file_of(key: str, name: str) -> MapFile:
    return next(item for item in LAYOUTS[key].files if item.map == name)


@pytest.mark.parametrize(
    ("key", "name", "channels", "alpha"),
    [
        ("gltf", "occlusionRoughnessMetallic", ORM, None),
        ("unreal", "ORM", ORM, None),
        ("godot", "orm", ORM, None),
        ("unity-hdrp", "MaskMap", (Channel("metallic"), Channel("occlusion"), Channel(value=1.0)), SMOOTHNESS),
        (
            "unity-urp",
            "MetallicOcclusionSmoothness",
            (Channel("metallic"), Channel("occlusion"), Channel()),
            SMOOTHNESS,
        ),
        ("blender", "Roughness", (Channel("roughness"),), None),
        ("usd", "opacity", (Channel("alpha"),), None),
    ],
)
def test_channels_of_presets(key, name, channels, alpha) -> None:
    """As docs/export.md cites them from the engines' own documents."""
    assert (file_of(key, name).channels, file_of(key, name).alpha) == (channels, alpha)
    assert not file_of(key, name).is_color


def test_normals_point_down_in_unreal_alone() -> None:
    assert {key for key, layout in LAYOUTS.items() if layout.normal == "directx"} == {"unreal"}
    assert all(any(item.whole == "normal" for item in layout.files) for layout in LAYOUTS.values())


def test_blender_keeps_all_that_a_material_can_say() -> None:
    held = {name for item in LAYOUTS["blender"].files for name in item.signals}
    assert set(SIGNALS) - held == set()


def test_the_document_knows_every_layout_property_and_format() -> None:
    text = (Path(__file__).parents[3] / "docs" / "export.md").read_text(encoding="utf-8")
    table = text[text.index("## Layouts") : text.index("What each importer wants")]
    assert re.findall(r"^\| `([a-z][a-z-]*)` \|", table, re.MULTILINE) == list(LAYOUTS)
    own = text[text.index("### A layout of your own") : text.index("## Files")]
    assert set(SIGNALS) <= set(re.findall(r"`(\w+)`", own))
    assert f"# of all files; {', '.join(FORMATS)}" in own


def test_the_example_in_the_document_is_a_layout(tmp_path) -> None:
    text = (Path(__file__).parents[3] / "docs" / "export.md").read_text(encoding="utf-8")
    example = text[text.index('    title = "Studio"') : text.index("- **color** is")]
    (tmp_path / "own.toml").write_text(textwrap.dedent(example), encoding="utf-8")
    assert [item.map for item in load_layout(tmp_path / "own.toml").files] == ["Albedo", "Mask", "Roughness"]


def test_a_layout_of_ones_own(tmp_path) -> None:
    path = tmp_path / "studio.toml"
    path.write_text(OWN)
    layout = find_layout(str(path))
    assert (layout.key, layout.title, layout.normal) == ("studio", "Studio", "directx")
    color, packed = layout.files
    assert (color.whole, color.alpha, color.format, color.bits, color.is_opacity) == (
        *("base_color", Channel("alpha"), "tiff", 16),
        True,
    )
    assert packed.channels == (SMOOTHNESS, Channel("metallic"), Channel(value=1.0))
    assert (packed.alpha, packed.format, packed.bits) == (Channel("occlusion"), "png", 8)


def test_json_says_the_same(tmp_path) -> None:
    files = [{"map": "Gloss", "gray": "1-roughness"}]
    (tmp_path / "own.json").write_text(json.dumps({"files": files}))
    assert load_layout(tmp_path / "own.json").files[0].channels == (SMOOTHNESS,)


@pytest.mark.parametrize("name", ["own.toml", "own.json"])
def test_a_layout_by_an_editor_of_windows_is_read(name, tmp_path) -> None:
    text = '{"files": [{"map": "Gloss", "gray": "roughness"}]}\r\n'
    text = text if name.endswith("json") else '[[files]]\r\nmap = "Gloss"\r\ngray = "roughness"\r\n'
    (tmp_path / name).write_bytes(text.encode("utf-8-sig"))
    assert load_layout(tmp_path / name).files[0].map == "Gloss"


@pytest.mark.parametrize("key", LAYOUTS)
def test_a_layout_as_a_file_says_the_same(key, tmp_path) -> None:
    path = tmp_path / f"{key}.toml"
    path.write_text(as_toml(LAYOUTS[key], 'My "own" Lack ä'), encoding="utf-8")
    found = load_layout(path)
    assert found.title == 'My "own" Lack ä'
    assert (found.files, found.normal, found.pattern) == (
        LAYOUTS[key].files,
        LAYOUTS[key].normal,
        LAYOUTS[key].pattern,
    )


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "no files"),
        ({"files": [{"map": "A"}]}, "no channels"),
        ({"files": [{"gray": "roughness"}]}, "no name"),
        ({"files": [{"map": "A", "gray": "roughness", "color": "normal"}]}, "gray and color|color and gray"),
        ({"files": [{"map": "A", "gray": "shininess"}]}, "'shininess'.*roughness"),
        ({"files": [{"map": "A", "gray": "base_color"}]}, "'base_color'"),
        ({"files": [{"map": "A", "color": "roughness"}]}, '"roughness".*base_color'),
        ({"files": [{"map": "A", "red": 2.0, "green": "metallic"}]}, "2.0.*between 0 and 1"),
        ({"files": [{"map": "A", "red": 1.0}]}, "nothing of the material"),
        ({"files": [{"map": "A", "gray": "metallic", "format": "tga"}]}, '"tga".*png'),
        ({"files": [{"map": "A", "gray": "metallic", "bits": 12}]}, "12 bits.*8 or 16"),
        ({"files": [{"map": "A", "gray": "metallic", "colour": 1}]}, '"colour"'),
        ({"files": [{"map": "A", "gray": "metallic"}, {"map": "a", "gray": "alpha"}]}, "two files"),
        ({"files": [{"map": "A", "gray": "metallic"}], "normal": "up"}, '"up".*directx'),
        ({"files": [{"map": "A", "gray": "metallic"}], "pattern": "{material}"}, r"\{map\}"),
        ({"files": [{"map": "A", "gray": "metallic", "alpha": "roughness", "format": "jpeg"}]}, "JPEG has no alpha"),
        ({"files": 3}, "no files"),
        ({"files": ["A"]}, "not a table"),
    ],
)
def test_what_is_wrong_with_a_layout_is_said(values, words) -> None:
    with pytest.raises(LayoutError, match=words):
        read_layout(values, "own")


def test_files_that_are_no_layouts(tmp_path) -> None:
    (tmp_path / "broken.toml").write_text("files = [")
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "latin.toml").write_bytes(b'title = "\xe9"')
    for name, words in (("broken.toml", "not TOML"), ("list.json", "list"), ("gone.toml", "cannot be read")):
        with pytest.raises(LayoutError, match=words):
            find_layout(str(tmp_path / name))
    with pytest.raises(LayoutError, match="not TOML"):
        find_layout(str(tmp_path / "latin.toml"))
    with pytest.raises(LayoutError, match=r'no layout "unrael".*unreal'):
        find_layout("unrael")


def test_options_replace_what_the_layout_says() -> None:
    def chosen(key: str, **options) -> Layout:
        return with_options(LAYOUTS[key], OutputOptions(**options))

    assert {item.bits for item in chosen("blender", bits=16, format="png").files} == {16}
    assert {(item.suffix, item.bits) for item in chosen("gltf", format="exr").files} == {(".exr", 16)}
    assert {item.bits for item in chosen("gltf", format="exr", bits=32).files} == {32}
    assert chosen("gltf", pattern="{map}").pattern == "{map}"
    assert chosen("gltf", size=[2048, 1024]).size == (2048, 1024)
    assert {item.suffix for item in chosen("gltf", format="jpeg").files} == {".jpg"}  # opaque colors need no alpha
    for options, words in (
        ({"format": "jpeg", "bits": 16}, "16 bits"),
        ({"bits": 32}, "PNG.*32 bits.*8 or 16"),
        ({"format": "gif"}, '"gif"'),
        ({"pattern": "{map:>9}_{map}"}, "unknown fields"),
        ({"size": (0, 512)}, "cannot be 0 x 512 pixels"),
    ):
        with pytest.raises(LayoutError, match=words):
            chosen("gltf", **options)
    with pytest.raises(LayoutError, match=r"WEBP has no alpha.*MaskMap"):
        chosen("unity-hdrp", format="webp")
    assert set(FORMATS) == {"png", "jpeg", "webp", "exr", "tiff"}


def parts(**values) -> NameParts:
    return NameParts(**{"object": "Cube", "material": "Paint", "map": "ORM", "tile": 0, "resolution": (8, 8)} | values)


@pytest.mark.parametrize(
    ("pattern", "values", "expected"),
    [
        ("T_{material}_{map}", {}, "T_Paint_ORM"),
        ("{object}/{material} {map}", {"material": "Lack: rot?"}, "Cube_Lack_rot_ORM"),
        ("{map}_{tile}_{resolution}", {}, "ORM_8"),
        ("{map}_{tile}", {"tile": 1002}, "ORM_1002"),
        ("{map}", {"tile": 1002}, "ORM.1002"),
        ("{map}_{resolution}", {"resolution": (8, 4)}, "ORM_8x4"),
        ("{material}.{map}", {"material": "con"}, "_con.ORM"),
        ("{material}_{map}", {"material": "é" * 200}, f"{'é' * 30}{'é' * 28}_ORM"),
        ("{map}", {"map": "..."}, "map"),
    ],
)
def test_names(pattern, values, expected) -> None:
    assert file_stem(pattern, parts(**values)) == expected


@given(st.text(), st.text(min_size=1), st.sampled_from([0, 1001]))
def test_every_name_is_one_of_a_file(material, name, tile) -> None:
    stem = file_stem("{material}_{map}", parts(material=material, map=name, tile=tile))
    assert stem
    assert 0 < len(stem.encode()) <= 120
    assert not set(stem) & set('<>:"/\\|?*\0\n')
    assert stem.strip(". ") == stem


@pytest.mark.parametrize("pattern", ["{material", "{map}{0}", "{map!r}", "{color}_{map}", "maps"])
def test_patterns_that_cannot_be_used(pattern) -> None:
    with pytest.raises(PatternError):
        check_pattern(pattern)


def test_names_that_some_system_takes_for_the_same() -> None:
    assert same_names(["a.png", "b.png", "A.PNG", "e\u0301.png", "\u00e9.png"]) == ["A.PNG", "\u00e9.png"]
