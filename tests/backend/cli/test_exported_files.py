"""``pbrfit bake --export``: models beside the result, which a second run replaces, and no file of somebody else."""

from __future__ import annotations

import json
from pathlib import Path

from backend.cli.main import main

SMALL = ["--resolution", "64", "--supersampling", "1"]


def bake(blend: Path, out: Path, kinds: str) -> int:
    return main(["bake", str(blend), "--object", "Board", "--out", str(out), *SMALL, "--export", kinds])


def models_in(out: Path) -> set[str]:
    return {path.relative_to(out).as_posix() for path in (out / "models").rglob("*") if path.is_file()}


def test_models_beside_a_result(blend_files, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    assert bake(blend_files["lacquer"], out, "glb,mtlx-usd") == 0
    first = {"models/Board.glb", "models/Board_usd.mtlx", "models/Board_usd_textures/Lacquer_diffuseColor.png"}
    report = json.loads((out / "report.json").read_text())
    assert models_in(out) == first == set(report["exported"])
    assert first < set(report["files"])
    assert f"Exported 3 files: {out / 'models'}" in capsys.readouterr().out
    (out / "models" / "Board.obj").write_text("mine")
    assert bake(blend_files["lacquer"], out, "obj") == 2
    assert "would overwrite" in capsys.readouterr().err
    assert (out / "models" / "Board.obj").read_text() == "mine"
    # What the earlier result had and this one has not is gone; what is not the result's stays.
    assert bake(blend_files["lacquer"], out, "glb") == 0
    assert models_in(out) == {"models/Board.glb", "models/Board.obj"}
