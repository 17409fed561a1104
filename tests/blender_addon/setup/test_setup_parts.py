"""Parts of the setup: find a Python, choose a torch, and read the output of pip."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

bpy = pytest.importorskip("bpy")

RAW = """\
Looking in indexes: https://example.org/simple
Collecting torch
  Downloading torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl.metadata (30 kB)
Collecting numpy>=1.26 (from pbrfit==0.1.0)
Downloading torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl (191.8 MB)
Progress 0 of 191794682
Progress 95897341 of 191794682
Progress 191794682 of 191794682
Downloading numpy-1.26.4-cp311-cp311-manylinux_2_17_x86_64.whl (18.3 MB)
Progress 9000000 of 18300000
Installing collected packages: numpy, torch
Successfully installed numpy-1.26.4 torch-2.13.0+cpu
"""


def script(path: Path, text: str) -> Path:
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


def test_progress_by_bytes(addon) -> None:
    progress = addon.setup.pip_output.PipProgress(counts_bytes=True)
    seen = []
    for line in RAW.splitlines():
        kept = progress.take(line)
        assert kept != line.startswith("Progress")
        seen.append((progress.message, round(progress.megabytes)))
    messages = list(dict.fromkeys(message for message, _ in seen))
    assert messages == [
        "",
        "Looking for torch",
        "Downloading torch (30 kB)",
        "Looking for numpy",
        "Downloading torch (191.8 MB)",
        "Downloading torch: 0 of 192 MB",
        "Downloading torch: 96 of 192 MB",
        "Downloading torch: 192 of 192 MB",
        "Downloading numpy (18.3 MB)",
        "Downloading numpy: 9 of 18 MB",
        "Installing torch and 1 more",
    ]
    assert [megabytes for _, megabytes in seen] == [0, 0, 0, 0, 0, 0, 96, 192, 192, 201, 201, 201]
    assert progress.installing


def test_progress_by_files(addon) -> None:
    """An older pip does not count bytes: a file counts when it starts."""
    progress = addon.setup.pip_output.PipProgress(counts_bytes=False)
    for line in RAW.splitlines():
        if not line.startswith("Progress"):
            progress.take(line)
    assert progress.megabytes == pytest.approx(191.8 + 18.3 + 0.03)


@pytest.mark.parametrize(
    ("said", "cause", "cure"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk", "room"),
        (
            "WARNING: Retrying (Retry(total=0)) after connection broken by 'NameResolutionError(...)'\n"
            "ERROR: No matching distribution found for torch",
            "not reached",
            "network",
        ),
        ("ERROR: No matching distribution found for torch", "no torch for this Python", "another Python"),
        ("ERROR: HTTP error 403 while getting https://example.org/torch.whl", "refused to answer", "own index"),
        (
            "Additionally, some packages in these conflicts have no matching distributions available for your "
            "environment:\n    torch\n\nERROR: ResolutionImpossible: for help visit",
            "no torch for this Python",
            "another Python",
        ),
        (
            "ERROR: No matching distribution found for torchvision",
            "not have all packages that PBRfit needs",
            "another Python",
        ),
        ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]", "not trusted", "PIP_CERT"),
        (
            "HINT: This error might have occurred since this system does not have Windows Long Path support",
            "long",
            "long",
        ),
        (
            "ERROR: Could not install: [WinError 5] Access is denied: 'torch_cpu.dll'",
            "another program",
            "other Blenders",
        ),
        ("ERROR: ResolutionImpossible: for help visit", "constraint", "log"),
        ("ERROR: Something new.\nmore", "it said: Something new.", "log"),
        ("", "it said: nothing.", "log"),
    ],
)
def test_what_pip_means(addon, said, cause, cure) -> None:
    error = addon.setup.pip_output.pip_trouble(said.splitlines())
    assert cause in error.cause
    assert cure in error.cure


@pytest.mark.parametrize(
    ("choice", "platform", "nvidia", "name", "index"),
    [
        ("AUTO", "linux", False, "CPU", "https://download.pytorch.org/whl/cpu"),
        ("AUTO", "linux", True, "CUDA", ""),
        ("AUTO", "win32", False, "CPU", ""),
        ("AUTO", "win32", True, "CUDA", "https://download.pytorch.org/whl/cu128"),
        ("CUDA", "darwin", False, "CPU", ""),
        ("CONFIGURED", "linux", True, "CONFIGURED", ""),
    ],
)
def test_which_torch(addon, choice, platform, nvidia, name, index) -> None:
    build = addon.setup.torch_builds.torch_build(choice, platform, nvidia)
    assert (build.name, build.index) == (name, index)
    assert build.download_megabytes < build.disk_megabytes
    assert build.sizes.startswith("downloads about ")


def test_blenders_own_python_can_make_environments(addon, tmp_path) -> None:
    """The last choice, if the system has no Python: it must have venv and ensurepip."""
    own = addon.setup.system_python.probe(sys.executable, tmp_path)
    assert not isinstance(own, str), own
    assert own.version == sys.version_info[:3]


def test_a_python_is_found(addon, tmp_path) -> None:
    found = addon.setup.system_python.find_python("", tmp_path)
    assert found.version >= (3, 11)
    assert os.access(found.path, os.X_OK)


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins are shell scripts")
def test_what_is_no_python_is_passed_over(addon, monkeypatch, tmp_path) -> None:
    """A shim of a version that is not installed, and two unusable Pythons, before a good one."""
    script(tmp_path / "python3.12", "echo 'python3.12: command not found' >&2; exit 127\n")
    script(tmp_path / "python3.13", """echo '{"version": [3, 10, 1], "bits": 64, "venv": true}'\n""")
    script(tmp_path / "python3.11", """echo '{"version": [3, 11, 9], "bits": 64, "venv": false}'\n""")
    good = script(tmp_path / "python3.14", """echo '{"version": [3, 14, 0], "bits": 64, "venv": true}'\n""")
    monkeypatch.setattr(addon.setup.system_python, "_places", lambda: map(str, sorted(tmp_path.iterdir())))
    assert addon.setup.system_python.find_python("", tmp_path).path == str(good)
    good.unlink()
    # Nothing of the system's: Blender's own.
    assert addon.setup.system_python.find_python("", tmp_path).path == sys.executable
    for name, reason in (("3.12", "is no Python"), ("3.13", "3.11 or newer is needed"), ("3.11", "python3-venv")):
        with pytest.raises(addon.common.errors.PbrFitError, match=reason):
            addon.setup.system_python.find_python(str(tmp_path / f"python{name}"), tmp_path)


def test_a_new_backend_keeps_the_logs_of_those_before(addon, tmp_path) -> None:
    process = addon.setup.backend_process
    log = tmp_path / "backend.log"
    for number in range(6):
        process._keep_earlier(log)
        log.write_text(str(number))
    kept = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert kept == {"backend.log": "5", "backend.1.log": "4", "backend.2.log": "3", "backend.3.log": "2"}
