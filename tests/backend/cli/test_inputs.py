"""What a result was made of, and what counts as a change of it."""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from backend.cli.batch_arguments import one_object
from backend.cli.driving import BAKE, DriveRequest
from backend.cli.file_stamps import is_same, stamp
from backend.cli.fit_requests import bake_request
from backend.cli.inputs import Inputs, used_files, why_again
from backend.cli.main import argument_parser


@pytest.fixture
def request_(tmp_path) -> DriveRequest:
    blend = tmp_path / "a.blend"
    blend.write_bytes(b"BLENDER")
    (tmp_path / "out").mkdir()
    for name in ("Cube.blend", "kd.png"):
        (tmp_path / "out" / name).touch()
    return DriveRequest(blend, "Cube", tmp_path / "out", "Cube", button=BAKE, options={"size": 1, "maps": ["kd"]})


def note(request: DriveRequest, links: tuple[Path, ...]) -> None:
    """Write the report of a result that was made just now; what is linked is older."""
    time.sleep(0.05)
    inputs = Inputs(request)
    report = {
        **request.owner.as_json(),
        "files": ["Cube.blend", "kd.png", "report.json"],
        "inputs": inputs.record(map(str, links)),
    }
    (request.out / "report.json").write_text(json.dumps(report))


def test_what_nothing_changed_of_is_up_to_date(request_, tmp_path):
    assert why_again(request_) == ["new"]
    (tmp_path / "wood.png").write_bytes(b"wood")
    note(request_, (tmp_path / "wood.png", tmp_path / "missing.png"))
    assert why_again(request_) == []
    # Where the computation runs is no option of the result, and another object has another result.
    assert why_again(replace(request_, properties={"device": "cpu"})) == []
    assert why_again(replace(request_, object_name="Ball")) == ["new"]


def test_each_change_is_named(request_, tmp_path):
    (tmp_path / "wood.png").write_bytes(b"wood")
    note(request_, (tmp_path / "wood.png", tmp_path / "missing.png"))
    other = replace(request_, options={"size": 2, "maps": ["kd", "ks"], "new": True}, blender=__file__)
    assert why_again(other) == ["another Blender", "maps kd,ks, was kd", "new true, was not given", "size 2, was 1"]
    assert why_again(replace(request_, button="optimize")) == ["was made by bake_maps"]
    (tmp_path / "wood.png").write_bytes(b"cork")
    (tmp_path / "missing.png").touch()
    (tmp_path / "out" / "kd.png").unlink()
    reasons = why_again(request_)
    assert sorted(reason.split("/")[-1] for reason in reasons) == [
        "kd.png is gone",
        "missing.png changed",
        "wood.png changed",
    ]
    request_.blend.unlink()
    assert f"{request_.blend} changed" in why_again(request_)


def test_the_same_bytes_at_another_time_are_the_same(tmp_path):
    path = tmp_path / "wood.png"
    path.write_bytes(b"wood")
    known = stamp(path)
    os.utime(path, ns=(1, 1))
    assert is_same(known)
    path.write_bytes(b"cork")
    assert not is_same(known)


def test_what_changes_while_it_is_read_counts_as_changed(request_, tmp_path):
    (tmp_path / "wood.png").write_bytes(b"wood")
    inputs = Inputs(request_)
    later = time.time_ns() + 10**9
    os.utime(tmp_path / "wood.png", ns=(later, later))
    record = inputs.record([str(tmp_path / "wood.png")])
    assert [is_same(one) for one in record["files"]] == [True, False]


def test_tiles_and_caches_are_files_too(tmp_path):
    blend = tmp_path / "a.blend"
    for name in ("wood.1001.png", "wood.1002.png", "wood.x.png", "oak.u1_v1.png", "oak.u12_v1.png"):
        (tmp_path / name).touch()
    (tmp_path / "blendcache_a").mkdir()
    (tmp_path / "blendcache_a" / "one.bphys").write_bytes(b"1")
    links = [str(tmp_path / name) for name in ("wood.<UDIM>.png", "oak.<UVTILE>.png", "no.<UDIM>.png")]
    assert [path.name for path in used_files(blend, links)] == [
        *("blendcache_a", "no.<UDIM>.png", "oak.u12_v1.png", "oak.u1_v1.png"),
        *("wood.1001.png", "wood.1002.png"),
    ]
    known = stamp(tmp_path / "blendcache_a")
    assert is_same(known)
    (tmp_path / "blendcache_a" / "two.bphys").write_bytes(b"2")
    assert not is_same(known)


def test_another_content_or_place_of_the_layout_is_a_change(request_, tmp_path):
    studio = tmp_path / "studio.toml"
    studio.write_text('[[files]]\nmap = "A"\ngray = "roughness"\n')

    def bake(layout: str) -> DriveRequest:
        arguments = ["bake", str(request_.blend), "--object", "Cube", "--out", str(request_.out), "--layout", layout]
        return bake_request(one_object(argument_parser().parse_args(arguments)))

    note(bake(str(studio)), ())
    assert why_again(bake(str(studio))) == []
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "studio.toml").write_bytes(studio.read_bytes())
    with contextlib.chdir(tmp_path):
        assert why_again(bake("studio.toml")) == []
    with contextlib.chdir(tmp_path / "elsewhere"):
        (reason,) = why_again(bake("studio.toml"))
    assert reason.startswith("layout ")
    studio.write_text('[[files]]\nmap = "A"\ngray = "metallic"\n')
    assert why_again(bake(str(studio))) == [f"{studio} changed"]
    note(bake("unreal"), ())
    assert why_again(bake("unreal")) == []


@pytest.mark.parametrize(
    "changed",
    [
        {"files": 5},
        {"files": [1, None], "inputs": {"files": [5]}},
        {"inputs": {"files": 5}},
        {"inputs": {"options": 5}},
    ],
)
def test_a_report_that_somebody_has_changed_is_a_reason(request_, changed):
    note(request_, ())
    report = json.loads((request_.out / "report.json").read_text())
    (request_.out / "report.json").write_text(json.dumps(report | changed))
    assert why_again(request_)
