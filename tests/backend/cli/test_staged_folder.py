"""A result comes into its folder when it is whole: instead of an earlier one, beside what else is there, or not at all."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from backend.cli.driving import BAKE, DriveRequest
from backend.cli.errors import CommandError
from backend.cli.result_folder import MADE, as_made
from backend.cli.staged_folder import StagedFolder


@pytest.fixture
def request_(tmp_path) -> DriveRequest:
    blend = tmp_path / "a.blend"
    blend.write_bytes(b"BLENDER")
    return DriveRequest(blend, "Cube", tmp_path / "out", "Cube", button=BAKE)


def make(request: DriveRequest, files: dict[str, str], links: tuple[Path, ...] = ()) -> None:
    """Make a result of these files, as a bake would."""
    with StagedFolder(request) as staged:
        folder = staged.request.out
        names = [*files, "report.json"]
        inputs = {"files": [{"path": str(path)} for path in (request.blend, *links)]}
        report = {**request.owner.as_json(), "files": names, "inputs": inputs}
        for name, content in files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            with open(folder / name, "x") as file:
                file.write(content)
        report[MADE] = as_made(folder, names)
        (folder / "report.json").write_text(json.dumps(report))
        assert not (request.out / "report.json").exists() or files["Cube.blend"] == "second"
        staged.publish(report)


def content(folder: Path) -> dict[str, str]:
    """What a folder has, except reports."""
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "report.json"
    }


def test_a_new_result_is_there_at_once(request_):
    make(request_, {"Cube.blend": "first", "kd.png": "1"})
    assert content(request_.out) == {"Cube.blend": "first", "kd.png": "1"}
    assert sorted(path.name for path in request_.out.parent.iterdir()) == ["a.blend", "out"]


@pytest.mark.parametrize("name", ["[1] x", 120 * "ä"])
def test_a_folder_of_any_name_can_have_a_result(request_, name):
    request = replace(request_, out=request_.out.with_name(name))
    make(request, {"Cube.blend": "first"})
    make(request, {"Cube.blend": "second"})
    assert content(request.out) == {"Cube.blend": "second"}
    assert sorted(path.name for path in request.out.parent.iterdir()) == sorted(["a.blend", name])


def test_it_replaces_the_earlier_one_and_nothing_else(request_):
    make(request_, {"Cube.blend": "first", "kd.png": "1", "orm.png": "1", "textures/map.png": "1"})
    (request_.out / "mine.txt").write_text("mine")
    # A name in textures that is taken could not be used in the folder itself either.
    with pytest.raises(FileExistsError):
        make(request_, {"Cube.blend": "second", "textures/map.png": "2"})
    assert content(request_.out)["Cube.blend"] == "first"
    make(request_, {"Cube.blend": "second", "0/kd.png": "2", "textures/map_001.png": "2"})
    assert content(request_.out) == {
        "Cube.blend": "second",
        "0/kd.png": "2",
        "textures/map.png": "1",
        "textures/map_001.png": "2",
        "mine.txt": "mine",
    }


def interrupted(request: DriveRequest, error: BaseException) -> None:
    """Make half a result."""
    with StagedFolder(request) as staged:
        (staged.request.out / "kd.png").write_text("half")
        raise error


@pytest.mark.parametrize("error", [CommandError("cause", "cure"), KeyboardInterrupt()])
def test_an_error_leaves_nothing_new(request_, error):
    with pytest.raises(type(error)):
        interrupted(request_, error)
    assert sorted(path.name for path in request_.out.parent.iterdir()) == ["a.blend"]


def test_what_came_there_meanwhile_is_not_overwritten(request_):
    with StagedFolder(request_) as staged:
        (request_.out / "kd.png").write_text("mine")
        with pytest.raises(CommandError, match=r"kd\.png"):
            staged.publish({"files": ["kd.png"]})
    assert content(request_.out) == {"kd.png": "mine"}


def test_a_file_of_any_name_that_no_earlier_result_wrote_is_not_overwritten(request_):
    make(request_, {"Cube.blend": "first"})
    (request_.out / "maps").mkdir()
    (request_.out / "maps" / "wood.png").write_text("mine")
    with pytest.raises(CommandError, match=r"wood\.png is there"):
        make(request_, {"Cube.blend": "second", "maps/wood.png": "2"})
    assert content(request_.out) == {"Cube.blend": "first", "maps/wood.png": "mine"}


def test_a_file_that_the_blend_uses_is_not_overwritten(request_):
    make(request_, {"Cube.blend": "first", "kd.png": "1"})
    with pytest.raises(CommandError, match="uses"):
        make(request_, {"Cube.blend": "second", "kd.png": "2"}, (request_.out / "kd.png",))
    assert content(request_.out) == {"Cube.blend": "first", "kd.png": "1"}


@pytest.mark.skipif(sys.platform == "win32", reason="there nobody can ask whether a process lives")
def test_what_a_killed_run_left_is_removed_and_what_a_living_one_makes_is_not(request_):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as living:
        left, other = (request_.out.parent / f".out.unfinished-{platform.node()}-{one.pid}" for one in (ended, living))
        for folder in (left, other):
            folder.mkdir()
            (folder / "kd.png").touch()
        make(request_, {"Cube.blend": "first"})
        assert (left.exists(), other.exists()) == (False, True)
        living.communicate(b"\n")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(request_):
    request_.out.mkdir()
    request_.out.parent.chmod(0o500)
    try:
        with pytest.raises(CommandError, match="cannot be made"), StagedFolder(request_):
            pass
    finally:
        request_.out.parent.chmod(0o700)


def test_what_an_artist_has_done_to_a_result_is_not_overwritten(request_):
    make(request_, {"Cube.blend": "first", "kd.png": "1", "textures/map.png": "1"})
    (request_.out / "kd.png").write_text("painted")
    with pytest.raises(CommandError, match=r"kd\.png was changed after PBRfit made it"):
        make(request_, {"Cube.blend": "second", "kd.png": "2"})
    # Maps that the new result has not are removed: painted ones too would be.
    with pytest.raises(CommandError, match=r"kd\.png was changed"):
        make(request_, {"Cube.blend": "second"})
    assert content(request_.out) == {"Cube.blend": "first", "kd.png": "painted", "textures/map.png": "1"}
    (request_.out / "kd.png").rename(request_.out / "mine.png")
    make(request_, {"Cube.blend": "second", "kd.png": "2"})
    assert content(request_.out)["mine.png"] == "painted"


def test_the_same_files_copied_elsewhere_are_not_changed(request_):
    make(request_, {"Cube.blend": "first"})
    later = time.time_ns() + 10**9
    os.utime(request_.out / "Cube.blend", ns=(later, later))
    make(request_, {"Cube.blend": "second"})
    assert content(request_.out) == {"Cube.blend": "second"}


FULL_DISK = """
import resource, sys
from pathlib import Path
from backend.cli.driving import BAKE, DriveRequest
from backend.cli.errors import CommandError
from backend.cli.staged_folder import StagedFolder
folder = Path(sys.argv[1])
request = DriveRequest(folder / "a.blend", "Cube", folder / "out", "Cube", button=BAKE)
with StagedFolder(request) as staged:
    (staged.request.out / "Cube.blend").write_text("second")
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))  # no file may become larger: a disk with hardly any room
    try:
        staged.publish({"files": ["Cube.blend", "report.json"]})
    except CommandError as error:
        print(error.cause)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a limit of the size of files is POSIX's")
def test_a_full_disk_leaves_the_earlier_result_and_its_report(request_):
    make(request_, {"Cube.blend": "first"})
    report = (request_.out / "report.json").read_bytes()
    command = [sys.executable, "-c", FULL_DISK, str(request_.out.parent)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "cannot be written to" in said
    assert (request_.out / "report.json").read_bytes() == report
    make(request_, {"Cube.blend": "second"})  # it may still be replaced
    assert content(request_.out) == {"Cube.blend": "second"}


def test_a_report_cannot_name_files_beyond_its_folder(request_, tmp_path):
    """It may come from somebody else, with the folder."""
    make(request_, {"Cube.blend": "first", "kd.png": "1"})
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "work.blend").write_text("mine")
    report = json.loads((request_.out / "report.json").read_text())
    report["files"] += ["../mine/work.blend", str(mine), "..\\mine", "0/../../mine", "", 5]
    (request_.out / "report.json").write_text(json.dumps(report))
    make(request_, {"Cube.blend": "second"})
    assert content(request_.out) == {"Cube.blend": "second"}
    assert (mine / "work.blend").read_text() == "mine"
