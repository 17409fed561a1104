"""Check the backend: what each kind of problem is called, and what to do about it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

bpy = pytest.importorskip("bpy")
# By far most of the time goes to pip and to the backend, which are not Blender's.
pytestmark = pytest.mark.any_blender

TIMEOUT_S = 120.0


def backend_python() -> str:
    return os.environ.get("PBRFIT_BACKEND_PYTHON") or sys.executable


def check(addon):
    """Press the button and poll as the timer does; return the report."""
    state = addon.setup.state
    assert bpy.ops.pbrfit.check_backend() == {"FINISHED"}
    deadline = time.monotonic() + TIMEOUT_S
    while state.poll():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return state.report()


@pytest.fixture
def server(addon, tmp_path):
    """A backend that serves on this machine and knows this Blender; yield its address and public key."""
    address_file = tmp_path / "address.json"
    keys = tmp_path / "authorized_keys"
    keys.write_text(addon.setup.state.public_key() + "\n")
    command = [backend_python(), "-m", "backend", "serve", "--address-file", str(address_file)]
    command += ["--authorized-keys", str(keys), "--key-file", str(tmp_path / "own.json")]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + TIMEOUT_S
    while not address_file.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    told = json.loads(address_file.read_text())
    yield told["address"], told["public_key"]
    process.terminate()
    process.wait(TIMEOUT_S)


def test_a_backend_that_works(addon) -> None:
    began = time.monotonic()
    bpy.ops.pbrfit.check_backend()
    assert time.monotonic() - began < 0.5, "Blender waited"
    assert addon.setup.state.report() is None
    assert not bpy.ops.pbrfit.check_backend.poll()
    while addon.setup.state.poll():
        time.sleep(0.02)
    report = addon.setup.state.report()
    assert report.works, report
    assert report.where == f"The chosen Python, {backend_python()}"
    subjects = [line.text.split(":")[0] for line in report.lines]
    assert {"Python", "PBRfit", "torch", "pyzmq", "OpenImageIO", "Device"} <= set(subjects)


def test_a_python_that_is_not_there(addon) -> None:
    addon.preferences.backend_python = "/no/such/python"
    report = check(addon)
    assert not report.works
    assert '"/no/such/python" does not exist or cannot be run' in report.error.cause
    assert "Set Up Backend" in report.error.cure


def test_nothing_set_up_and_nothing_on_the_search_path(addon, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    addon.preferences.backend_python = ""
    report = check(addon)
    assert report.error.cause == "No backend is set up yet."


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory) -> Path:
    """A Python without any package."""
    folder = tmp_path_factory.mktemp("bare") / "venv"
    subprocess.run([backend_python(), "-m", "venv", "--without-pip", str(folder)], check=True)
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def test_a_python_without_pbrfit(addon, bare_python) -> None:
    addon.preferences.backend_python = str(bare_python)
    report = check(addon)
    assert report.error.cause == f'The Python "{bare_python}" has no PBRfit.'
    assert "Set Up Backend" in report.error.cure


def test_a_python_with_pbrfit_and_without_its_packages(addon, bare_python, extension_zip, tmp_path) -> None:
    """PBRfit alone is installed: the report names each missing package, with the command for that Python."""
    (wheel,) = (addon.common.package.shipped_file("backend_wheel")).glob("*.whl")
    folder = tmp_path / "venv"
    subprocess.run([backend_python(), "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / bare_python.relative_to(bare_python.parents[1])
    (site,) = folder.glob("[Ll]ib/**/site-packages")
    subprocess.run([sys.executable, "-m", "zipfile", "-e", str(wheel), str(site)], check=True)
    addon.preferences.backend_python = str(python)
    report = check(addon)
    bad = {line.text.split(":")[0]: line.cure for line in report.lines if line.level == "BAD"}
    assert set(bad) == {"torch", "numpy", "pyzmq", "OpenImageIO", "imageio", "pillow"}
    assert bad["torch"] == f'In a terminal: "{python}" -m pip install torch'


def test_a_program_that_is_something_else(addon, monkeypatch, tmp_path) -> None:
    program = tmp_path / "pbrfit"
    program.write_text("#!/bin/sh\necho 'a lamp for oil'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    addon.preferences.backend_python = ""
    report = check(addon)
    assert report.error.cause == f'"{program}" is not a backend, or it does not run. It said: a lamp for oil'


@pytest.mark.parametrize(
    ("output", "cause"),
    [
        ("pbrfit: error: unrecognized arguments: --json --backend-only", "is older than this add-on"),
        ('{"version": "0.0.1", "findings": []}', "The backend is PBRfit 0.0.1, this add-on is 0.1.0."),
        ('{"version": "0.1.0", "findings": [{"level": "odd"}]}', "is not a backend, or it does not run"),
        ("", "is not a backend, or it does not run"),
    ],
)
def test_answers_of_other_versions(addon, output, cause) -> None:
    report = addon.setup.backend_check.doctor_report("It", ["/opt/bin/pbrfit"], output, "0.1.0")
    assert cause in report.error.cause


def test_a_warning_before_the_answer_does_no_harm(addon) -> None:
    output = 'warning: something\n{"version": "0.1.0", "findings": []}\n'
    assert addon.setup.backend_check.doctor_report("It", ["python"], output, "0.1.0").works


def test_closing_ends_a_check_that_runs(addon, monkeypatch, tmp_path) -> None:
    program = tmp_path / "pbrfit"
    program.write_text("#!/bin/sh\nsleep 100 & wait\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    addon.preferences.backend_python = ""
    bpy.ops.pbrfit.check_backend()
    running = addon.setup.state.check()
    began = time.monotonic()
    addon.setup.state.close()
    assert time.monotonic() - began < 2.0
    assert not running._thread.is_alive()
    assert addon.setup.state.report() is None


def test_a_backend_at_an_address(addon, server) -> None:
    addon.preferences.backend_address, addon.preferences.backend_key = server
    report = check(addon)
    assert report.works, report
    assert report.where == f"The backend at {server[0]}"


def test_a_backend_at_an_address_by_a_wrong_key(addon, server) -> None:
    addon.preferences.backend_address = server[0]
    addon.preferences.backend_key = addon.setup.state.public_key()
    report = check(addon)
    assert not report.works
    assert "key" in report.error.cause.lower()


def test_a_backend_on_another_machine_needs_online_access(addon) -> None:
    assert not bpy.app.online_access
    addon.preferences.backend_address = "tcp://192.0.2.7:5555"
    report = check(addon)
    assert "may not go online" in report.error.cause
    assert "Allow Online Access" in report.error.cure


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("tcp://127.0.0.1:5555", True),
        ("tcp://localhost:5555", True),
        ("tcp://[::1]:5555", True),
        ("tcp://192.168.1.20:5555", False),
        ("tcp://127.example.org:5555", False),
        ("tcp://render.example.org:5555", False),
    ],
)
def test_what_is_this_machine(addon, address, local) -> None:
    assert addon.setup.state.is_loopback(address) is local


def test_this_blenders_public_key(addon) -> None:
    key = addon.setup.state.public_key()
    assert key == addon.setup.backend_process.client_keys().public
    assert len(key) == 40
    assert bpy.ops.pbrfit.copy_public_key() == {"FINISHED"}
