"""Maps that are not square, by the commands, read back by others; and that another shape is another bake."""

from __future__ import annotations

import json

import imageio.v3 as imageio
import numpy as np
import OpenImageIO as oiio

from backend.cli.main import main


def test_maps_that_are_not_square(blend_files, tmp_path, capsys):
    blend, out = blend_files["lacquer"], tmp_path / "out"
    layout = ("--layout", "unreal", "--pattern", "{map}-{resolution}")
    command = ["bake", str(blend), "--object", "Board", "--out", str(out), "--supersampling", "1", *layout]
    assert main([*command, "--resolution", "64x32"]) == 0
    capsys.readouterr()
    fields = np.indices((8, 8)).sum(axis=0)[::-1] % 2
    expected = 255 * np.kron(fields, np.ones((4, 8))).astype(np.uint8)
    for path in (out / "kd.png", next((out / "maps").glob("*-64x32.png"))):
        spec = oiio.ImageBuf(str(path)).spec()
        assert (spec.width, spec.height) == (64, 32)
        np.testing.assert_array_equal(imageio.imread(path)[..., 0], expected)
    report = json.loads((out / "report.json").read_text())
    assert (report["settings"]["resolution"], report["settings"]["map_shape"]) == (64, "2:1")
    assert report["inputs"]["options"]["resolution"] == "64x32"

    def planned(resolution: str) -> str:
        assert main([*command, "--resolution", resolution, "--dry-run"]) == 0
        return capsys.readouterr().out

    assert "up to date" in planned("64x32")
    for other in ("32x64", "64"):
        assert f"resolution {other}, was 64x32" in planned(other)


def test_a_fit_of_maps_that_are_not_square_finds_the_material(blend_files, tmp_path):
    """From gray, with a round of correction: each quarter of the maps has the color that its quarter of the board has."""
    out = tmp_path / "out"
    views = ("--quality", "draft", "--views", "12", "--held-out-views", "1", "--view-size", "32", "--samples", "4")
    command = ["optimize", str(blend_files["quarters"]), "--object", "Board", "--out", str(out), "--no-report"]
    chosen = ("--maps", "kd", "--start", "gray", "--resolution", "64x32", "--rounds", "1")
    assert main([*command, *views, *chosen]) == 0
    maps = {name: imageio.imread(out / f"{name}.png") for name in ("kd", "orm")}
    assert {name: image.shape for name, image in maps.items()} == dict.fromkeys(maps, (32, 64, 3))
    for rows, columns, color in (
        (16, 0, (0.8, 0.2, 0.2)),
        (16, 32, (0.2, 0.7, 0.2)),
        (0, 0, (0.2, 0.3, 0.8)),
        (0, 32, (0.8, 0.8, 0.8)),
    ):
        inside = maps["kd"][rows + 4 : rows + 12, columns + 8 : columns + 24]
        found = np.median(inside, axis=(0, 1)) / 255.0
        np.testing.assert_allclose(found, color, atol=0.06)
    report = json.loads((out / "report.json").read_text())
    assert (report["settings"]["resolution"], report["settings"]["map_shape"]) == (64, "2:1")
