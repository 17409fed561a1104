"""What a run may write into a folder: it overwrites nothing, except an earlier result of the same object of the same file."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from backend.cli.errors import CommandError
from backend.cli.main import main
from backend.cli.result_folder import Owner, replaceable

CHAIR = Owner("/files/room.blend", "Chair")
FILES = ["Chair.blend", "kd.png", "orm.png", "normal.png", "report.png", "report.json"]


def result(out: Path, owner: Owner = CHAIR, files: list[str] = FILES) -> Path:
    """A folder with an earlier result."""
    for name in files:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(b"earlier")
    (out / "report.json").write_text(json.dumps({**owner.as_json(), "files": files, "heldout_psnr_db": 30.0}))
    return out


def refused(out: Path, owner: Owner = CHAIR, name: str = "Chair") -> str:
    """The cause of a refusal, whose cure must name another folder."""
    with pytest.raises(CommandError) as error:
        replaceable(out, name, owner)
    assert f"Give --out another folder, such as {out / name}." in error.value.cure
    return error.value.cause


def test_an_empty_folder_and_one_without_such_names(tmp_path):
    assert replaceable(tmp_path / "new", "Chair", CHAIR) == []
    (tmp_path / "textures").mkdir()
    for name in ("room.blend", "wood.png", "textures/Paint Base Color.png", "2024.txt"):
        (tmp_path / name).touch()
    assert replaceable(tmp_path, "Chair", CHAIR) == []


def test_the_own_earlier_result_may_be_replaced(tmp_path):
    files = [*FILES, "0/kd.png", "environment.exr"]
    assert replaceable(result(tmp_path, files=files), "Chair", CHAIR) == files


@pytest.mark.parametrize(
    "other", [Owner("/files/room.blend", "Table"), Owner("/other/room.blend", "Chair"), Owner(None, "Chair")]
)
def test_the_result_of_another_object_or_file_stays(tmp_path, other):
    cause = refused(result(tmp_path, other))
    assert f'the result for "{other.object_name}" of {other.file or "the demo"}' in cause


@pytest.mark.parametrize(
    "name", ["Chair.blend", "kd.png", "0/kd.png", "12/normal.png", "environment.exr", "report.png", "report.json"]
)
@pytest.mark.parametrize("content", [b"[1]", b"\xff\x00"])
def test_what_nobody_claims_stays(tmp_path, name, content):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(content)
    cause = refused(tmp_path)
    assert name in cause
    assert '"Chair"' in cause


def test_a_file_between_the_own_results_stays(tmp_path):
    (result(tmp_path) / "environment.exr").touch()
    cause = refused(tmp_path)
    assert "environment.exr" in cause
    assert "kd.png" not in cause


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "precious.blend").write_bytes(b"mine")
    out = result(tmp_path / "out")
    (out / "Chair.blend").unlink()
    (out / "Chair.blend").symlink_to(tmp_path / "precious.blend")
    assert "Chair.blend" in refused(out)


def test_caches_stay_where_they_would_be_replaced(tmp_path):
    blend, out = tmp_path / "room.blend", tmp_path / "out"
    (out / "blendcache_Chair").mkdir(parents=True)
    assert replaceable(out, "Chair", Owner(str(blend), "Chair")) == []
    (tmp_path / "blendcache_room").mkdir()
    assert "blendcache_Chair" in refused(out, Owner(str(blend), "Chair"))


def test_what_is_no_folder(tmp_path):
    for name in ("textures", "0"):
        (tmp_path / name).touch()
    cause = refused(tmp_path)
    assert "textures" in cause
    assert "0" in cause


@pytest.mark.skipif(find_spec("bpy") is None, reason="the Blender module bpy is not installed")
def test_the_command_refuses_before_it_starts_blender(capsys, monkeypatch, tmp_path):
    blend, out = tmp_path / "room.blend", tmp_path / "out"
    blend.write_bytes(b"BLENDER")
    result(out, Owner(str(blend), "Table"), ["Table.blend", "kd.png"])
    monkeypatch.setattr("backend.cli.driving.run_script", None)
    before = {path: path.read_bytes() for path in out.iterdir()}
    assert main(["optimize", str(blend), "--object", "Chair", "--out", str(out)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert f'{out} has the result for "Table" of {blend}' in lines[0]
    assert lines[1].strip() == f"Give --out another folder, such as {out / 'Chair'}."
    assert {path: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.parametrize("command", [["optimize", "room.blend", "--object", "Chair"], ["demo"]])
def test_an_empty_name_is_no_folder(capsys, command):
    with pytest.raises(SystemExit) as end:
        main([*command, "--out", ""])
    assert end.value.code == 2
    assert "--out: it is empty" in capsys.readouterr().err
