"""``pbrfit bake`` of maps that are not square, read back by others; and that another shape is another bake."""

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
