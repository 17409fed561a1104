"""The build for extensions.blender.org: it keeps to the platform's rules, and Bake Maps works where there is no pyzmq."""

from __future__ import annotations

import importlib.resources
import json
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import build_addon
from backend.extension import store

pytest.importorskip("bpy")
START = "import runpy, sys; del sys.argv[0]; runpy.run_path(sys.argv[0])"
WITHOUT_PYZMQ = f"import sys; sys.modules['zmq'] = None; {START}"  # as where it was never installed
USER = Path(str(importlib.resources.files("support") / "blender" / "store_user.py"))


@pytest.fixture(scope="module")
def zip_for_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_addon.build_for_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def files(zip_for_store: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(zip_for_store) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def user_of(zip_for_store: Path, folder: Path, start: str, what: str) -> dict:
    """What a user of it has seen."""
    result = subprocess.run(
        [sys.executable, "-c", start, str(USER), str(zip_for_store), what],
        env=os.environ
        | {"BLENDER_USER_RESOURCES": str(folder), "PYTHONPATH": str(USER.parents[2]), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300.0,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    found: dict = json.loads(result.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def told(zip_for_store: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What a user without pyzmq has seen, who has baked too."""
    return user_of(zip_for_store, tmp_path_factory.mktemp("user"), WITHOUT_PYZMQ, "bake")


def test_what_is_in_it(files: dict[str, bytes]) -> None:
    assert {
        "__init__.py",
        "LICENSE",
        "protocol/wire.py",
        "baking/bake_maps.py",
        "settings/own_backend_section.py",
    } <= set(files)
    folders = {name.partition("/")[0] for name in files}
    assert not folders & {"wheels", "licenses", "backend_wheel", "command_line"}
    assert not {"setup/install.py", "setup/pip_output.py", "ui/operators_setup.py"} & set(files)
    manifest = tomllib.loads(files["blender_manifest.toml"].decode())
    assert manifest["permissions"] == store.PERMISSIONS
    assert manifest["blender_version_min"] == "4.2.23"
    assert not {"wheels", "platforms", "website", "blender_version_max"} & set(manifest)
    assert store.broken_rules(files) == []


def test_a_user_without_pyzmq_is_told_what_is_lacking(told: dict) -> None:
    cause = "This Blender has no pyzmq, without which PBRfit cannot connect to its backend."
    for place in ("preferences", "panel"):
        assert cause in " ".join(told[place]), place
        assert "Set Up Backend" not in told[place]
    assert "Address" not in told["preferences"]
    assert cause in told["fit"]
    assert "Bake Maps works without it" in told["fit"]
    assert told["check"] == [cause]
    assert told["preview"] == cause
    assert {"bake_maps", "optimize", "check_backend"} <= set(told["operators"])
    assert not {"setup_backend", "cancel_setup", "remove_backend"} & set(told["operators"])


def test_a_user_with_pyzmq_is_told_how_to_get_a_backend(zip_for_store: Path, tmp_path: Path) -> None:
    if subprocess.run([sys.executable, "-c", "import zmq"], capture_output=True, check=False).returncode:
        pytest.skip("this Blender's Python has no pyzmq of its own")
    lines = user_of(zip_for_store, tmp_path, START, "look")["preferences"]
    said = " ".join(lines)
    assert "1. Install it into a Python (3.11 or newer) of yours" in said
    assert "pbrfit serve" in said
    assert "Address" in lines
    assert "no pyzmq" not in said
    assert "Set Up Backend" not in said


def test_bake_maps_works(told: dict) -> None:
    assert told["bake"]["state"] == "done"
    assert [64, 64] in told["bake"]["images"]


def test_nothing_is_fetched_and_no_program_runs_but_a_second_blender(told: dict) -> None:
    assert {event for event, _ in told["seen"]} == {"subprocess.Popen"}
    for _, command in told["seen"]:
        assert "bake_maps.py" in command
        assert not {"pip", "venv", "ensurepip"} & set(command.split())


@pytest.mark.parametrize(
    ("name", "content", "rule"),
    [
        ("a.py", "import urllib.request", "a.py: imports urllib.request"),
        ("a.py", "from urllib import request", "a.py: imports urllib.request"),
        ("a.py", "import pip", "a.py: imports pip"),
        ("a.py", "from http.client import HTTPSConnection", "a.py: imports http.client"),
        ("a.py", 'run([python, "-m", "pip", "install", "x"])', 'a.py: runs "pip"'),
        ("a.py", "import sys; sys.path.append('x')", "a.py: uses sys.path"),
        ("a.py", "exec(text)", "a.py: calls exec"),
        ("wheels/a.whl", "", "wheels/a.whl cannot be reviewed"),
        ("a.pyc", "", "a.pyc cannot be reviewed"),
        ("a/b.so", "", "a/b.so cannot be reviewed"),
    ],
)
def test_what_breaks_a_rule_is_found(files: dict[str, bytes], name: str, content: str, rule: str) -> None:
    assert store.broken_rules(files | {name: content.encode()}) == [rule]
    with pytest.raises(build_addon.BuildError, match=r"breaks rules of extensions\.blender\.org"):
        store.check_rules(files | {name: content.encode()})


@pytest.mark.parametrize(
    ("line", "changed", "rule"),
    [
        ("SPDX:GPL-3.0-or-later", "SPDX:Apache-2.0", "the license is not GPL"),
        ('name = "PBRfit"', 'name = "Blender PBRfit"', '"Blender" in it'),
        ("that you have started", "that you have started.", "ends with a mark"),
        ('copyright = ["2026 PBRfit developers"]', "copyright = []", "nobody is named"),
        ("blender_version_min", 'wheels = ["./wheels/a.whl"]\nblender_version_min', "it depends on wheels"),
    ],
)
def test_a_manifest_that_breaks_a_rule(files: dict[str, bytes], line: str, changed: str, rule: str) -> None:
    manifest = files["blender_manifest.toml"].decode()
    assert line in manifest
    (found,) = store.broken_rules(files | {"blender_manifest.toml": manifest.replace(line, changed).encode()})
    assert rule in found


def test_the_full_build_breaks_the_rules_that_this_one_keeps(tmp_path: Path) -> None:
    """So what is left out is what had to be."""
    with zipfile.ZipFile(build_addon.build(tmp_path, "none", with_manual=False)) as archive:
        found = store.broken_rules({name: archive.read(name) for name in archive.namelist()})
    assert any("backend_wheel/" in line for line in found)
    assert 'setup/install.py: runs "pip"' in found
    assert "command_line/drive.py: uses sys.path" in found
