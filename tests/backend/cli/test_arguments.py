"""What the command line says about a call that cannot work, before it starts anything."""

import subprocess
import sys
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import pytest

from backend.cli.driving import DriveRequest, check_file
from backend.cli.errors import CommandError
from backend.cli.main import main
from backend.protocol.quality import DEFAULT_QUALITY, DEFAULT_REFERENCES, DEFAULT_RESOLUTION


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
        (("--resolution", "1024x3"), ("--resolution", "1024x3", "power of two")),
        (("--seed", "-1"), ("--seed", "-1", "from 0")),
        (("--device", "gpu"), ("--device", "gpu", "cuda")),
        (("--render-device", "gpu"), ("--render-device", "gpu", "auto", "cpu")),
        (("--views", "0"), ("--views", "'0'", "from 1")),
        (("--samples", "many"), ("--samples", "'many'", "whole number")),
        (("--view-size", "8"), ("--view-size", "'8'", "from 16")),
        (("--quality", "best"), ("--quality", "best", "draft")),
        (("--map-sets", "slot"), ("--map-sets", "slot", "material", "object")),
        (("--preset", "best"), ("--preset", "best", "draft")),
        (("--images", "beside"), ("--images", "beside", "packed", "files")),
        (("--held-out-views", "-1"), ("--held-out-views", "'-1'", "from 0")),
        (("--reference", "photographs"), ("--reference", "photographs", "cycles")),
        (("--blender", "/no/such/blender"), ("/no/such/blender", "--blender")),
    ],
)
def test_a_bad_option_is_named_with_its_value_and_what_is_allowed(capsys, blend, tmp_path, arguments, words):
    message = refuse(capsys, "optimize", blend, "--object", "Cube", "--out", tmp_path / "out", *arguments)
    for word in words:
        assert word in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("others", [(), ("b.blend", "a.blend")])
def test_a_folder_is_called_a_folder(capsys, tmp_path, others):
    for name in others:
        (tmp_path / name).touch()
    message = refuse(capsys, "optimize", tmp_path, "--object", "Cube", "--out", tmp_path / "out")
    assert f"{tmp_path} is a folder" in message
    assert ("a.blend, b.blend" if others else "Give the path") in message
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(find_spec("bpy") is None, reason="the Blender module bpy is not installed")
def test_a_file_that_is_no_blend(capsys, blend, tmp_path):
    message = refuse(capsys, "optimize", blend, "--object", "Cube", "--out", tmp_path / "out")
    assert f"{blend} is not a .blend file" in message
    assert not (tmp_path / "out").exists()


def test_a_file_that_must_not_be_read(blend, monkeypatch):
    def refuse_to_open(*_arguments: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse_to_open)
    with pytest.raises(CommandError) as error:
        check_file(blend)
    assert f"{blend} cannot be read: Permission denied" in error.value.cause
    assert "right to read" in error.value.cure


made_judged: list[bool] = []
"""Of each of them, whether a report was wanted."""


@pytest.fixture
def requests(monkeypatch) -> list[DriveRequest]:
    """What would be fitted by the commands that are run."""
    made: list[DriveRequest] = []
    made_judged.clear()

    def take(request: DriveRequest, _progress: object, judged: bool = True) -> dict[str, None]:
        made.append(request)
        made_judged.append(judged)
        return {"heldout_psnr_db": None, "relit_psnr_db": None}

    monkeypatch.setattr("backend.cli.optimize.optimize", take)
    return made


def chosen(requests: list[DriveRequest], blend: Path, *options: str) -> dict:
    assert main(["optimize", str(blend), "--object", "Cube", "--out", "out", *options]) == 0
    return requests[-1].properties


def test_what_is_not_chosen_is_as_in_the_panel(requests, blend):
    properties = chosen(requests, blend)
    assert {name: properties[name] for name in ("map_sets", "use_udim", "image_storage", "apply_world")} == {
        "map_sets": "SLOT",
        "use_udim": True,
        "image_storage": "PACKED",
        "apply_world": False,
    }
    assert (properties["resolution"], properties["quality"]) == (DEFAULT_RESOLUTION, DEFAULT_QUALITY)
    assert {name: properties[name] for name in asdict(DEFAULT_REFERENCES)} == asdict(DEFAULT_REFERENCES)
    assert not requests[-1].unwrap


def test_cycles_can_be_kept_from_the_gpu(requests, blend, tmp_path):
    assert chosen(requests, blend)["render_device"] == "AUTO"
    assert chosen(requests, blend, "--render-device", "cpu")["render_device"] == "CPU"
    assert main(["demo", "--out", str(tmp_path), "--render-device", "cpu"]) == 0
    assert requests[-1].properties["render_device"] == "CPU"


def test_the_report_can_be_left_out(requests, blend, capsys):
    chosen(requests, blend)
    assert "report.png" in capsys.readouterr().out
    chosen(requests, blend, "--no-report")
    assert "report.png" not in capsys.readouterr().out
    assert made_judged == [True, False]


def test_everything_in_the_panel_has_its_option(requests, blend):
    properties = chosen(
        requests,
        blend,
        *("--map-sets", "object", "--unwrap", "--no-udim", "--images", "files", "--held-out-views", "2"),
        *("--material-name", "{object} fit", "--learn-light", "--apply-world", "--maps", "kd,alpha"),
        *("--margin", "4"),
    )
    assert {
        "map_sets": "OBJECT",
        "use_udim": False,
        "image_storage": "FILES",
        "held_out_views": 2,
        "material_name": "{object} fit",
        "learn_light": True,
        "apply_world": True,
        "use_ks": False,
        "use_alpha": True,
        "margin_type": "WIDTH",
        "margin": 4,
    }.items() <= properties.items()
    assert requests[-1].unwrap


def test_a_preset_sets_what_is_not_given(requests, blend):
    properties = chosen(requests, blend, "--preset", "draft", "--views", "7")
    assert properties["preset"] == "DRAFT"
    assert properties["views"] == 7
    assert list(properties).index("preset") < list(properties).index("views")  # which is set after it
    assert not {"resolution", "samples", "view_size", "quality"} & set(properties)


@pytest.mark.parametrize(
    ("given", "edge", "shape", "recorded"),
    [("2048x1024", 2048, "2:1", "2048x1024"), ("64x512", 512, "1:8", "64x512"), ("512x512", 512, "1:1", 512)],
)
def test_maps_that_are_not_square(requests, blend, given, edge, shape, recorded):
    properties = chosen(requests, blend, "--preset", "draft", "--resolution", given)
    assert (properties["resolution"], properties["map_shape"]) == (edge, shape)
    assert list(properties).index("preset") < list(properties).index("resolution")
    assert requests[-1].options["resolution"] == recorded  # as in records that were made before there were shapes


def test_maps_are_square_unless_another_shape_is_given(requests, blend):
    assert chosen(requests, blend)["map_shape"] == "1:1"
    assert chosen(requests, blend, "--preset", "draft")["map_shape"] == "1:1"


def test_the_world_can_get_only_light_that_is_learned(capsys, blend):
    message = refuse(capsys, "optimize", blend, "--object", "Cube", "--out", "out", "--apply-world")
    assert "--learn-light" in message


def test_studio_light_is_not_learned(capsys, blend):
    options = ["--learn-light", "--reference-light", "studio"]
    message = refuse(capsys, "optimize", blend, "--object", "Cube", "--out", "out", *options)
    assert "nothing to learn" in message


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
