"""What the command line says about a call that cannot work, before it starts anything."""

import subprocess
import sys
from pathlib import Path

import pytest

from backend.cli.main import main


@pytest.fixture
def blend(tmp_path: Path) -> Path:
    path = tmp_path / "file.blend"
    path.write_bytes(b"not looked at")
    return path


def refuse(capsys: pytest.CaptureFixture, *arguments: object) -> str:
    """Run a command that must end with status 2; returns what it wrote to stderr."""
    try:
        status = main([str(argument) for argument in arguments])
    except SystemExit as end:  # argparse
        status = end.code
    output = capsys.readouterr()
    assert status == 2
    return output.err


def test_the_command_line_starts_without_torch_zmq_or_blender():
    late = ("torch", "OpenImageIO", "imageio", "PIL", "bpy", "zmq")
    code = f"import sys, backend.cli.main; sys.exit(any(name in sys.modules for name in {late}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_missing_file(capsys, tmp_path):
    message = refuse(capsys, "optimize", tmp_path / "no.blend", "--object", "Cube", "--out", tmp_path / "out")
    assert "no.blend does not exist" in message
    assert "Give the path" in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--maps", "ks,normal"), ("--maps", "ks,normal", "kd")),
        (("--maps", "kd,colour"), ("--maps", "kd,colour", "alpha")),
        (("--resolution", "1000"), ("--resolution", "1000", "power of two")),
        (("--seed", "-1"), ("--seed", "-1", "from 0")),
        (("--device", "gpu"), ("--device", "gpu", "cuda")),
        (("--views", "0"), ("--views", "'0'", "from 1")),
        (("--samples", "many"), ("--samples", "'many'", "whole number")),
        (("--view-size", "8"), ("--view-size", "'8'", "from 16")),
        (("--quality", "best"), ("--quality", "best", "draft")),
        (("--reference", "photographs"), ("--reference", "photographs", "cycles")),
        (("--blender", "/no/such/blender"), ("/no/such/blender", "--blender")),
    ],
)
def test_a_bad_option_is_named_with_its_value_and_what_is_allowed(capsys, blend, tmp_path, arguments, words):
    message = refuse(capsys, "optimize", blend, "--object", "Cube", "--out", tmp_path / "out", *arguments)
    for word in words:
        assert word in message
    assert not (tmp_path / "out").exists()


def test_the_device_of_the_demo_is_checked_too(capsys, tmp_path):
    assert "gpu" in refuse(capsys, "demo", "--out", tmp_path / "out", "--device", "gpu")


def test_options_that_must_be_given(capsys, blend):
    assert "--object" in refuse(capsys, "optimize", blend, "--out", "out")
    assert "--out" in refuse(capsys, "optimize", blend, "--object", "Cube")
    assert "COMMAND" in refuse(capsys)


def test_the_artists_file_is_not_overwritten(capsys, blend):
    message = refuse(capsys, "optimize", blend, "--object", "file", "--out", blend.parent)
    assert "overwrite" in message
    assert "another folder" in message
    assert blend.read_bytes() == b"not looked at"


def test_an_output_folder_that_cannot_be_made(capsys, blend, tmp_path):
    (tmp_path / "taken").write_text("a file")
    message = refuse(capsys, "optimize", blend, "--object", "Cube", "--out", tmp_path / "taken")
    assert "cannot be written to" in message


def test_an_address_that_cannot_be_listened_at(capsys):
    assert "pbrfit: " in refuse(capsys, "serve", "--address", "nonsense")
