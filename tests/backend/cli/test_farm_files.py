"""What farms that stand already get: Flamenco's job type in a JavaScript engine, the template in Open Job Description's own
tools, and the lines that `--openjd` prints."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.command_line import run_python

dukpy = pytest.importorskip("dukpy", reason="dukpy is not installed: pip install '.[test]'")

FARM = Path(__file__).parents[3] / "docs" / "farm"
SUPPORT = Path(__file__).parents[2] / "support"
MAKER = SUPPORT / "batch_files.py"
TINY_FIT = """
quality = "draft"
views = 4
held-out-views = 1
view-size = 32
samples = 2
resolution = 16
rounds = 0
no-report = true
"""
# `AvailableJobSetting` of Flamenco's flamenco-openapi.yaml.
KEYS = {
    *("key", "type", "subtype", "choices", "propargs", "description", "label"),
    *("default", "eval", "evalInfo", "visible", "required", "editable"),
}
TYPES = {"string": str, "int32": int, "float": float, "bool": bool}
needs_openjd = pytest.mark.skipif(
    importlib.util.find_spec("openjd") is None, reason="openjd-cli is not installed: pip install '.[test]'"
)
ON_UNIX = pytest.mark.skipif(sys.platform == "win32", reason="it writes a shell script")


def in_flamenco(expression: str, **values: object):
    """The value of a JavaScript expression beside the job type."""
    parts = [(SUPPORT / "flamenco_manager.js").read_text(), (FARM / "pbrfit.js").read_text()]
    return dukpy.evaljs(["\n".join(parts), expression], **values)


def tasks(**given: object) -> list[dict]:
    """The tasks of a job with these settings, and the defaults of the others."""
    known = {one["key"]: one.get("default", "") for one in in_flamenco("JOB_TYPE")["settings"]}
    assert set(given) <= set(known)
    settings = {**known, "blendfile": "/p/room.flamenco.blend", "results": "/r", **given}
    return in_flamenco("compiled(dukpy['settings'])", settings=settings)


def arguments(task: dict) -> list[str]:
    (command,) = task["commands"]
    assert command["name"] == "exec"
    assert command["parameters"]["exe"] == "{pbrfit}"
    assert all(isinstance(word, str) for word in command["parameters"]["args"])
    return command["parameters"]["args"]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with a file of two boards, and a program `pbrfit`."""
    folder = tmp_path_factory.mktemp("farm files")
    run_python(MAKER, folder, "few=2")
    program = folder / "pbrfit"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m backend "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    return folder


def test_the_settings_are_what_flamenco_shows():
    job_type = in_flamenco("JOB_TYPE")
    assert set(job_type) == {"label", "description", "settings"}
    keys = [one["key"] for one in job_type["settings"]]
    assert len(set(keys)) == len(keys)
    for one in job_type["settings"]:
        assert set(one) <= KEYS, one["key"]
        assert one["description"], one["key"]
        assert one.get("visible", "visible") in ("visible", "hidden", "submission", "web")
        assert one.get("subtype", "dir_path") in ("file_path", "dir_path", "file_name", "hashed_file_path")
        if "default" in one:
            assert type(one["default"]) is TYPES[one["type"]], one["key"]
            assert one["default"] in one.get("choices", [one["default"]])
        assert "default" in one or one["required"]
        if "evalInfo" in one:
            assert set(one["evalInfo"]) == {"showLinkButton", "description"}
        if "eval" in one:
            compile(one["eval"], one["key"], "eval")


def test_the_file_is_plain_enough_for_every_flamenco():
    code = re.sub(r'"[^"]*"', "", (FARM / "pbrfit.js").read_text())
    assert not re.search(r"\b(const|let|class|async|of)\b|=>|`|\?\?|\?\.", re.sub(r"//.*", "", code))


def test_each_named_object_is_a_task():
    first, second = tasks(objects="Chair; Table ;Chair;", preset="draft", resolution="512x256")
    assert (first["name"], first["type"]) == ("optimize Chair", "blender")
    assert arguments(first) == [
        *("optimize", "/p/room.flamenco.blend", "--object=Chair", "--out", "/r/room/{object}"),
        *("--at-once", "1", "--preset", "draft", "--resolution", "512x256"),
    ]
    assert "--object=Table" in arguments(second)
    (both,) = tasks(objects="Chair; Table", objects_per_task=5, options="--map-sets object --material-name 'a b'")
    assert [word for word in arguments(both) if word.startswith("--object")] == ["--object=Chair", "--object=Table"]
    assert arguments(both)[-4:] == ["--map-sets", "object", "--material-name", "a b"]


def test_a_collection_or_a_pattern_is_shared_by_parts():
    for given in ({"collection": "Props"}, {"objects": "Chair*"}):
        found = tasks(parts=3, command="bake", **given)
        assert [arguments(task)[-2:] for task in found] == [["--part", f"{number}/3"] for number in (1, 2, 3)]
        assert not any("--preset" in arguments(task) for task in found)


def test_nothing_to_do_is_refused():
    with pytest.raises(dukpy.JSRuntimeError, match="Select mesh objects"):
        tasks(objects=" ; ")


@ON_UNIX
def test_the_tasks_of_flamenco_do_their_work(blend_files, made):
    found = tasks(
        command="bake",
        objects="Board *",
        parts=2,
        resolution="16",
        blendfile=str(made / "few.blend"),
        results=str(made),
    )
    for task in found:
        subprocess.run([made / "pbrfit", *arguments(task)], check=True, capture_output=True, timeout=200)
    for name in ("Board 1", "Board 2"):
        assert (made / "few" / name / "report.json").is_file()


def openjd(*arguments: object) -> str:
    command = [sys.executable, "-m", "openjd", *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=400)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@needs_openjd
def test_the_template_passes_its_own_check():
    assert "passes validation" in openjd("check", FARM / "pbrfit-openjd.yaml")


@ON_UNIX
@needs_openjd
def test_the_template_fits_two_objects_in_two_tasks(blend_files, made):
    job = '[[jobs]]\nblend = "few.blend"\nobject = '
    jobs = f'[defaults]\nout = "unused"\n{TINY_FIT}{job}"Board 1"\nstart = "gray"\n{job}"Board 2"\n'
    (made / "jobs.toml").write_text(jobs, encoding="utf-8")
    rule = {"source_path_format": "POSIX", "source_path": "/artist/assets", "destination_path": str(made)}
    rules = {"version": "pathmapping-1.0", "path_mapping_rules": [rule]}
    given = {"Folder": "/artist/assets", "Results": "/artist/assets/fitted", "Tasks": 2, "PBRfit": made / "pbrfit"}
    parameters = [word for name, value in given.items() for word in ("-p", f"{name}={value}")]
    template = FARM / "pbrfit-openjd.yaml"
    output = openjd("run", template, "--step", "Objects", *parameters, "--path-mapping-rules", json.dumps(rules))
    assert output.count("openjd_progress: 100") == 2, output
    assert "openjd_status: Board 1: Fitting" in output
    assert "openjd_status: Board 2: Baking" in output
    assert "openjd_fail" not in output
    for name in ("Board 1", "Board 2"):
        report = json.loads((made / "fitted" / "few" / name / "report.json").read_text(encoding="utf-8"))
        assert report["object"] == name
    assert not (made / "unused").exists()


def test_what_fails_is_said_in_one_line(made):
    command = [sys.executable, "-m", "backend", "bake", str(made / "no.blend"), "--object", "A", "--out"]
    result = subprocess.run([*command, made / "x", "--openjd"], capture_output=True, text=True, timeout=100)
    assert result.returncode == 1
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("openjd_fail: ")]
    assert "does not exist" in line
    assert "Give the path" in line
    result = subprocess.run([*command, made / "x", "--openjd", "--margin", "-5"], capture_output=True, timeout=100)
    assert result.returncode == 2
    result = subprocess.run([*command[:4], "--openjd"], capture_output=True, text=True, timeout=100)
    assert (result.returncode, result.stdout[:13]) == (2, "openjd_fail: ")
