"""``pbrfit doctor``: what it finds, and what it says about what is missing."""

import importlib.util
import json
import shutil
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from backend.cli import doctor
from backend.cli.blender_task import addon_file
from backend.cli.main import main

LDD = """
\tlinux-vdso.so.1 (0x00007ffd5a5f2000)
\tlibX11.so.6 => not found
\tlibSM.so.6 => /lib/x86_64-linux-gnu/libSM.so.6 (0x00007f1b9b3e0000)
\tlibXi.so.6 => not found
\tlibXi.so.6 => not found
\tlibstrange.so.3 => not found
"""


def program(path: Path, script: str) -> str:
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_this_installation_is_whole(capsys):
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for subject in ("Python", "torch", "numpy", "pyzmq", "OpenImageIO", "imageio", "pillow", "Device"):
        assert any(line.startswith("ok") and subject in line for line in lines), subject


@pytest.mark.blender
@pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason="the Blender module bpy is not installed")
def test_the_blender_module_is_loaded_and_its_version_told():
    finding, cycles = doctor._blender_module()
    assert finding.level == doctor.OK
    assert finding.state[0].isdigit()
    assert cycles.level == doctor.OK
    assert cycles.state.endswith("(CPU)")


@pytest.mark.parametrize("said", ["PBRFIT 4.5.0\n", ""])
def test_a_driver_that_ends_the_search_for_devices_is_noted(said):
    finding = doctor._cycles(said)
    assert finding.level == doctor.NOTE
    assert "--render-device cpu" in finding.cure


def test_a_package_that_is_missing():
    finding = doctor._package("no-such-package", "no_such_module", "Nothing works without it.")
    assert finding.missing
    assert finding.state == "not installed. Nothing works without it."
    assert finding.cure == "pip install no-such-package"


def test_a_package_that_breaks_when_it_is_imported(tmp_path, monkeypatch):
    (tmp_path / "broken_package.py").write_text(
        "raise ImportError('libGL.so.1: cannot open shared object file: No such file or directory')"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    finding = doctor._package("broken", "broken_package", "")
    assert finding.missing
    assert "libGL.so.1" in finding.state
    assert finding.cure == "apt-get install libgl1"


@pytest.mark.parametrize(
    ("message", "cure"),
    [
        ("ImportError: DLL load failed while importing _C", "Visual C++"),
        ("ValueError: numpy.dtype size changed", "pip install --force-reinstall torch"),
    ],
)
def test_what_to_do_about_a_broken_package(message, cure):
    assert cure in doctor._import_cure("torch", message)


def test_an_environment_without_any_package(tmp_path):
    """Of a Python that has nothing but the sources, doctor itself still runs, and names each package."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    python = tmp_path / "bare" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    for room in ("backend", "render"):
        shutil.copytree(Path(doctor.__file__).parents[2] / room, tmp_path / "sources" / room)
    command = [python, "-m", "backend", "doctor", "--json", "--backend-only"]
    answer = subprocess.run(command, cwd=tmp_path / "sources", capture_output=True, text=True, check=False)
    assert answer.returncode == 1, answer.stderr
    told = json.loads(answer.stdout)
    assert told["works"] is False
    missing = {finding["subject"]: finding["cure"] for finding in told["findings"] if finding["level"] == "MISSING"}
    assert missing == {name: f"pip install {name}" for name, _, _ in doctor.PACKAGES}


def test_the_answer_for_programs(capsys):
    assert main(["doctor", "--json", "--backend-only"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["works"] is True
    assert told["python"] == sys.executable
    subjects = [finding["subject"] for finding in told["findings"]]
    assert "Device" in subjects
    assert not [subject for subject in subjects if "Blender" in subject]


def test_the_add_on_the_package_and_the_zip_have_one_version():
    manifest = tomllib.loads(addon_file("blender_manifest.toml").read_text())
    assert manifest["version"] == doctor.pbrfit_version()


def test_missing_system_libraries_become_one_line_for_apt():
    libraries = doctor.libraries_not_found(LDD)
    assert libraries == ["libX11.so.6", "libXi.so.6", "libstrange.so.3"]
    assert doctor.apt_line(libraries).splitlines() == [
        "apt-get install libx11-6 libxi6",
        "Install the system libraries libstrange.so.3.",
    ]


def test_a_blender_that_lacks_a_library_does_not_start(tmp_path):
    message = "blender: error while loading shared libraries: libEGL.so.1: cannot open shared object file: No such file"
    finding = doctor._blender_program(program(tmp_path / "blender", f"echo '{message}' >&2; exit 127"))
    assert finding.missing
    assert "libEGL.so.1" in finding.state
    assert finding.cure == "apt-get install libegl1"


@pytest.mark.parametrize(
    ("version", "level"), [("3.6.0", "MISSING"), ("4.2.22", "MISSING"), ("4.2.23", "ok"), ("5.2.3 LTS", "ok")]
)
def test_which_blenders_are_good_enough(tmp_path, version, level):
    finding = doctor._blender_program(program(tmp_path / "blender", f"echo 'Blender {version}'"))
    assert finding.level == level
    assert version.split()[0] in finding.state


def test_a_blender_that_is_not_there_is_an_exit_status_of_one(capsys):
    assert main(["doctor", "--blender", "/no/such/blender"]) == 1
    assert "MISSING" in capsys.readouterr().out
