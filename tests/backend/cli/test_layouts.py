"""``pbrfit bake --layout``: files for other programs beside the result, checked by imageio; and what is refused before work."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest

from backend.cli.driving import layout_text
from backend.cli.main import main

SMALL = ["--resolution", "64", "--supersampling", "1", "--target", "principled"]


def bake(blend: Path, out: Path, *options: str) -> int:
    return main(["bake", str(blend), "--object", "Board", "--out", str(out), *SMALL, *options])


def maps_in(out: Path) -> dict[str, np.ndarray]:
    return {path.name: imageio.imread(path) for path in sorted((out / "maps").iterdir())}


@pytest.fixture(scope="module")
def baked(blend_files, tmp_path_factory) -> Path:
    """The folder of a result with maps for Unreal."""
    out = tmp_path_factory.mktemp("layouts") / "out"
    assert bake(blend_files["lacquer"], out, "--layout", "unreal") == 0
    return out


def test_the_terminal_says_where_they_are() -> None:
    files = ["maps/A.png", "maps/B.png"]
    said = layout_text({"layout": {"layout": "unreal", "files": files}}, Path("/out"))
    assert said == "2 files in the layout unreal: /out/maps"
    assert layout_text({"layout": {"layout": "gltf", "files": []}}, Path("/out")) == "0 files in the layout gltf"
    assert layout_text({"layout": None}, Path("/out")) == ""


def test_files_beside_the_result(baked) -> None:
    maps = maps_in(baked)
    assert list(maps) == ["T_Lacquer_ClearCoat.png", "T_Lacquer_D.png"]
    np.testing.assert_array_equal(maps["T_Lacquer_D.png"], imageio.imread(baked / "kd.png")[..., :3])
    coat = imageio.imread(baked / "coat.png")
    np.testing.assert_array_equal(maps["T_Lacquer_ClearCoat.png"][..., 0], coat[..., 0])
    assert (maps["T_Lacquer_ClearCoat.png"][..., 1] == round(0.03 * 255)).all()


def test_the_report_names_them_and_the_numbers_without_a_map(baked) -> None:
    report = json.loads((baked / "report.json").read_text())
    files = ["maps/T_Lacquer_D.png", "maps/T_Lacquer_ClearCoat.png"]
    assert report["layout"]["layout"] == "unreal"
    assert report["layout"]["files"] == files
    assert set(files) <= set(report["files"])
    assert report["layout"]["numbers"]["Lacquer PBRfit"]["roughness"] == [0.5]


def test_another_run_replaces_its_own_files_and_no_others(baked, blend_files, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    shutil.copytree(baked, out)
    (out / "maps" / "mine.png").write_bytes(b"mine")
    own = tmp_path / "gloss.toml"
    own.write_text(
        'pattern = "{map}-{resolution}"\n[[files]]\nmap = "Shine"\ngray = "coat"\nformat = "tiff"\nbits = 16'
    )
    assert bake(blend_files["lacquer"], out, "--layout", str(own)) == 0
    assert {path.name for path in (out / "maps").iterdir()} == {"Shine-64.tif", "mine.png"}
    shine = imageio.imread(out / "maps" / "Shine-64.tif")
    assert shine.dtype == np.uint16
    np.testing.assert_array_equal(shine, imageio.imread(out / "coat.png")[..., 0].astype(np.uint16) * 257)

    own.write_text('pattern = "mine"\n[[files]]\nmap = "Shine"\ngray = "coat"')
    assert bake(blend_files["lacquer"], out, "--layout", str(own)) == 2
    assert "all maps have the same name" in capsys.readouterr().err
    assert bake(blend_files["lacquer"], out, "--layout", "gltf", "--pattern", "{map}") == 0
    (out / "maps" / "T_Lacquer_N.png").write_bytes(b"mine")  # a bump would have this name
    assert bake(blend_files["lacquer"], out, "--layout", "unreal") == 2
    assert "would overwrite" in capsys.readouterr().err
    assert (out / "maps" / "T_Lacquer_N.png").read_bytes() == b"mine"
    assert (out / "maps" / "baseColor.png").exists()  # what was there stays where nothing was made


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--layout", "unrael"], 'no layout "unrael"'),
        (["--layout", "gone.toml"], "cannot be read"),
        (["--layout", "unity-urp", "--format", "jpeg"], "JPEG has no alpha"),
        (["--layout", "gltf", "--bits", "32"], "does not have 32 bits"),
        (["--layout", "gltf", "--pattern", "{name}"], "unknown fields"),
        (["--layout", "gltf", "--file-quality", "0"], "--file-quality cannot be 0"),
        (["--bits", "16"], "need a layout"),
        (["--layout", "gltf", "--size", "20000x8"], "cannot be 20000 x 8 pixels"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_starts(blend_files, tmp_path, capsys, options, words) -> None:
    assert bake(blend_files["lacquer"], tmp_path / "out", *options) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
