"""``pbrfit bake`` from the command to the saved file, small, where there is no backend; and what is left when stopped."""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from support.command_line import content_hash, processes_that_mention, run_python

from backend.cli.blender_task import addon_file
from backend.cli.driving import BAKE, DriveRequest
from backend.cli.main import main
from backend.cli.result_folder import BAKED_KEYS
from backend.protocol.quality import DEFAULT_MARGIN, DEFAULT_RESOLUTION
from render.core.image_io import read_image

# What only the backend and the report on a fit need: importing one of these fails.
ABSENT = ("torch", "triton", "zmq", "OpenImageIO", "imageio", "PIL", "render")
COMMAND = [
    *(sys.executable, "-c"),
    f"import sys; sys.modules.update(dict.fromkeys({ABSENT})); from backend.cli.main import main; sys.exit(main())",
    "bake",
]
SMALL = ["--resolution", "64", "--supersampling", "1"]
LOOK_INTO = """
import json, os, sys
import bpy
bpy.ops.wm.open_mainfile(filepath=sys.argv[1])
thing = bpy.data.objects["Board"]
material, original = thing.material_slots[0].material, bpy.data.materials["Lacquer"]
seen = {
    "material": material.name,
    "images": sorted(image.name for image in bpy.data.images if image.packed_file and "pbrfit" in image),
    "links": sorted(f"{link.from_node.type} > {link.to_socket.identifier}" for link in material.node_tree.links),
    "original_kept": original.use_fake_user,
}
open(sys.argv[2], "w").write(json.dumps(seen))
os._exit(0)
"""


SLOTS = """
import json, os, sys
import bpy
bpy.ops.wm.open_mainfile(filepath=sys.argv[1])
seen = {}
for thing in (one for one in bpy.data.objects if one.type == "MESH"):
    layers = thing.data.uv_layers
    shown = next(layer.name for layer in layers if layer.active_render)
    seen[thing.name] = [thing.material_slots[0].material.name, layers.active.name, shown]
open(sys.argv[2], "w").write(json.dumps(seen))
os._exit(0)
"""


def start(blend: Path, folder: Path, *options: str, name: str = "Board") -> subprocess.Popen[str]:
    """Bake into `folder`/out, with temporary files in `folder`/temporary."""
    temporary = folder / "temporary"
    temporary.mkdir(exist_ok=True)
    return subprocess.Popen(
        [*COMMAND, str(blend), "--object", name, "--out", str(folder / "out"), *SMALL, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
        cwd=temporary,
    )


def run(blend: Path, folder: Path, *options: str, name: str = "Board", status: int = 0) -> str:
    """Bake; returns what it said, on stderr where it fails."""
    process = start(blend, folder, *options, name=name)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == status, output + errors
    return errors if status else output


@pytest.fixture(scope="module")
def baked(blend_files, tmp_path_factory) -> dict:
    """A finished run: its folder, output, report and whether it changed the artist's file."""
    folder = tmp_path_factory.mktemp("baked")
    blend = blend_files["lacquer"]
    before = content_hash(blend)
    output = run(blend, folder)
    report = json.loads((folder / "out" / "report.json").read_text())
    return {"folder": folder, "output": output, "report": report, "unchanged": content_hash(blend) == before}


def test_it_leaves_the_promised_files_and_nothing_else(baked):
    names = {path.name for path in (baked["folder"] / "out").iterdir()}
    assert names == {"Board.blend", "kd.png", "report.json"}
    assert set(baked["report"]["files"]) == names
    assert baked["unchanged"]
    assert not list((baked["folder"] / "temporary").iterdir())
    assert not processes_that_mention(baked["folder"])


def test_the_map_is_exactly_the_image(baked):
    pixels = read_image(baked["folder"] / "out" / "kd.png")
    assert (pixels.shape, pixels.dtype) == ((64, 64, 3), np.dtype(np.uint8))
    squares = np.kron(np.indices((8, 8)).sum(axis=0) % 2, np.ones((8, 8)))
    assert np.array_equal(pixels[..., 0], 255 * squares[::-1].astype(np.uint8))


def test_the_report_says_what_became_of_each_material(baked):
    report = baked["report"]
    (material,) = report["materials"]
    assert (material["name"], material["verdict"]) == ("Lacquer", "EXACT")
    assert material["recipe"]["inputs"] == {"Base Color": {"key": "kd", "part": "color"}}
    assert material["recipe"]["constants"]["Roughness"] == pytest.approx(0.5)
    assert report["sets"] == [{"name": "Lacquer", "material": "Lacquer PBRfit", "tile": 0, "files": ["kd.png"]}]
    assert report["target"] == "CORE"
    assert report["settings"] == {
        "map_sets": "SLOT",
        "use_udim": True,
        "material_name": "{material} PBRfit",
        "image_storage": "PACKED",
        "resolution": 64,
        "map_shape": "1:1",
        "bake_target": "CORE",
        "supersampling": "1",
        "margin_type": "ALL",
        "margin": DEFAULT_MARGIN,
        "use_occlusion": False,
        "use_height": False,
        "use_curvature": False,
        "use_thickness": False,
    }
    seconds = report["seconds"]
    assert seconds["total"] == pytest.approx(
        sum(seconds[part] for part in ("blender", "export", "bake", "apply")), abs=1
    )


def test_the_terminal_shows_verdict_and_loss_and_ends_with_the_files(baked):
    lines = baked["output"].splitlines()
    (material,) = baked["report"]["materials"]
    assert material["text"] in lines
    assert [line.strip() for line in lines if "cannot keep a coat" in line] == material["lost"]
    assert any(line.startswith("Baking") for line in lines)
    assert lines[-1].startswith(f"{baked['folder'] / 'out' / 'Board.blend'}: 1 map: kd.png")


def test_the_saved_file_has_the_new_material_and_keeps_the_original(baked):
    script, answer = baked["folder"] / "look_into.py", baked["folder"] / "seen.json"
    script.write_text(LOOK_INTO)
    run_python(script, baked["folder"] / "out" / "Board.blend", answer)
    assert json.loads(answer.read_text()) == {
        "material": "Lacquer PBRfit",
        "images": ["Lacquer PBRfit Base Color"],
        "links": ["BSDF_PRINCIPLED > Surface", "TEX_IMAGE > Base Color", "UVMAP > Vector"],
        "original_kept": True,
    }


def test_another_target_replaces_the_result(blend_files, tmp_path):
    """More maps, then fewer, then more again."""
    files = []
    for target in ("gltf", "core", "principled"):
        output = run(blend_files["lacquer"], tmp_path, "--target", target)
        assert ("cannot keep" in output) == (target == "core")
        files.append({path.name for path in (tmp_path / "out").glob("*.png")})
    assert files == [{"kd.png", "coat.png"}, {"kd.png"}, {"kd.png", "coat.png"}]


def test_several_sets_a_new_uv_map_and_maps_as_files(blend_files, tmp_path):
    blend = blend_files["two_materials"]
    errors = run(blend, tmp_path, name="Tisch 机", status=2)
    assert "has no UV map" in errors
    assert "--unwrap" in errors
    output = run(blend, tmp_path, "--unwrap", "--images", "files", "--material-name", "{object}", name="Tisch 机")
    assert "no maps, since nothing varies" in output
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [(one["name"], one["files"]) for one in report["sets"]] == [("Red", []), ("Blue", [])]
    assert [one["recipe"]["constants"]["Base Color"][0] for one in report["materials"]] == pytest.approx([0.6, 0.03])


def test_an_atlas_of_three_objects(blend_files, tmp_path):
    blend = blend_files["three_boards"]
    shared = "--with", "Middle", "--with", "Right"
    assert "Give --map-sets all too." in run(blend, tmp_path, *shared, name="Left", status=2)
    assert "no object 'Top'" in run(blend, tmp_path, "--with", "Top", "--map-sets", "all", name="Left", status=2)
    lamp = run(blend, tmp_path, "--with", "Lamp", "--map-sets", "all", name="Left", status=2)
    assert '"Lamp" is not a mesh but of the type light' in lamp
    run(blend, tmp_path, *shared, "--map-sets", "all", "--pack-islands", name="Left")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    (made,) = report["sets"]
    assert (made["files"], [one["name"] for one in report["materials"]]) == (
        ["kd.png"],
        ["Gray Left", "Gray Middle", "Gray Right"],
    )
    linear = (read_image(tmp_path / "out" / "kd.png")[..., 0] / 255.0 + 0.055) / 1.055
    found, counts = np.unique(np.round(linear**2.4, 1), return_counts=True)
    common = {float(value) for value, count in zip(found, counts, strict=True) if count > 200}
    assert common == {0.2, 0.5, 0.8}
    seen = tmp_path / "seen.json"
    run_python("-c", SLOTS, tmp_path / "out" / "Left.blend", seen)
    slots = json.loads(seen.read_text())
    assert slots == {name: [made["material"], "PBRfit", "UVMap"] for name in ("Left", "Middle", "Right")}


def test_a_material_that_cannot_be_baked(blend_files, tmp_path):
    cause, cure = run(blend_files["lacquer"], tmp_path, name="Comic", status=2).splitlines()
    assert cause.startswith('pbrfit: "Matt.001" cannot be baked: the node "Toon BSDF"')
    assert cure.endswith("On the command line that is `pbrfit optimize`.")
    assert not list((tmp_path / "out").iterdir())


def wait_until_it_bakes(process: subprocess.Popen[str]) -> None:
    for line in process.stdout:
        if line.startswith("Baking"):
            return
    raise AssertionError(process.stderr.read())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_it_leaves_nothing_running_and_no_file(blend_files, tmp_path, number):
    process = start(blend_files["lacquer"], tmp_path)
    wait_until_it_bakes(process)
    assert processes_that_mention(tmp_path)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "cancelled" in errors
    assert not processes_that_mention(tmp_path)
    assert not list((tmp_path / "out").iterdir())
    assert not list((tmp_path / "temporary").iterdir())


def test_killing_it_ends_what_it_started(blend_files, tmp_path):
    process = start(blend_files["lacquer"], tmp_path)
    wait_until_it_bakes(process)
    process.kill()
    process.communicate(timeout=60)
    deadline = time.monotonic() + 20.0
    while processes_that_mention(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not processes_that_mention(tmp_path)
    assert not list((tmp_path / "out").iterdir())


# Arguments --------------------------------------------------------------------------------------------------------


@pytest.fixture
def blend(tmp_path: Path) -> Path:
    path = tmp_path / "file.blend"
    path.write_bytes(b"not looked at")
    return path


@pytest.fixture
def requests(monkeypatch) -> list[DriveRequest]:
    """What would be baked by the commands that are run."""
    made: list[DriveRequest] = []

    def take(request: DriveRequest, _progress: object) -> dict:
        made.append(request)
        return {"sets": []}

    monkeypatch.setattr("backend.cli.bake.bake", take)
    return made


def chosen(requests: list[DriveRequest], blend: Path, *options: str) -> DriveRequest:
    assert main(["bake", str(blend), "--object", "A/B", "--out", "out", *options]) == 0
    return requests[-1]


def test_what_is_not_chosen_is_as_in_the_panel(requests, blend):
    request = chosen(requests, blend)
    assert (request.button, request.name, request.unwrap, request.blender) == (BAKE, "A_B", False, None)
    assert request.properties == {
        "map_sets": "SLOT",
        "use_udim": True,
        "image_storage": "PACKED",
        "resolution": DEFAULT_RESOLUTION,
        "map_shape": "1:1",
        "bake_target": "CORE",
        "supersampling": "2",
        "use_occlusion": False,
        "use_height": False,
        "use_curvature": False,
        "use_thickness": False,
    }


def test_every_choice_has_its_option(requests, blend):
    request = chosen(
        requests,
        blend,
        *("--target", "gltf", "--resolution", "128x256", "--supersampling", "4", "--map-sets", "object", "--unwrap"),
        *("--no-udim", "--material-name", "{object}", "--images", "files", "--blender", "/blender", "--margin", "8"),
        "--occlusion",
    )
    assert (request.unwrap, request.blender) == (True, "/blender")
    assert (request.pack_islands, request.others) == (False, ())
    assert request.properties == {
        "map_sets": "OBJECT",
        "use_udim": False,
        "image_storage": "FILES",
        "material_name": "{object}",
        "resolution": 256,
        "map_shape": "1:2",
        "bake_target": "GLTF",
        "supersampling": "4",
        "margin_type": "WIDTH",
        "margin": 8,
        "use_occlusion": True,
        "use_height": False,
        "use_curvature": False,
        "use_thickness": False,
    }


def test_an_atlas_has_its_options(requests, blend):
    request = chosen(requests, blend, "--map-sets", "all", "--pack-islands", "--with", "C", "--with", "D")
    assert (request.properties["map_sets"], request.pack_islands, request.others) == ("ALL", True, ("C", "D"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--target", "unity"), ("--target", "unity", "gltf")),
        (("--supersampling", "3"), ("--supersampling", "3", "4")),
        (("--resolution", "1000"), ("--resolution", "1000", "power of two")),
        (("--resolution", "0"), ("--resolution", "0")),
        (("--resolution", "2048x128"), ("--resolution", "2048x128", "at most 8 times")),
        (("--resolution", "64x8"), ("--resolution", "64x8", "from 16")),
        (("--resolution", "2048,1024"), ("--resolution", "2048,1024", "2048x1024")),
        (("--unwrap", "--pack-islands"), ("--pack-islands", "not allowed with")),
        (("--margin", "some"), ("--margin", "some", "0 to 1024")),
        (("--learn-light",), ("--learn-light",)),
    ],
)
def test_a_bad_option_is_named(capsys, blend, tmp_path, arguments, words):
    try:
        status = main(["bake", str(blend), "--object", "Cube", "--out", str(tmp_path / "out"), *arguments])
    except SystemExit as end:  # argparse
        status = end.code
    message = capsys.readouterr().err
    assert status == 2
    assert all(word in message for word in words), message
    assert not (tmp_path / "out").exists()


def test_a_missing_file_and_one_that_is_no_blend(capsys, blend, tmp_path):
    arguments = ["--object", "Cube", "--out", str(tmp_path / "out")]
    assert main(["bake", str(tmp_path / "no.blend"), *arguments]) == 2
    assert "no.blend does not exist" in capsys.readouterr().err
    assert main(["bake", str(blend), *arguments]) == 2
    assert "is not a .blend file" in capsys.readouterr().err


def test_a_map_that_nobody_claims_is_not_overwritten(capsys, tmp_path):
    blend, out = tmp_path / "file.blend", tmp_path / "out"
    blend.write_bytes(b"BLENDER")
    (out / "0").mkdir(parents=True)
    (out / "0" / "coat_normal.exr").write_bytes(b"mine")
    assert main(["bake", str(blend), "--object", "Cube", "--out", str(out)]) == 2
    assert "0/coat_normal.exr" in capsys.readouterr().err


def test_the_names_of_maps_are_the_add_ons():
    """The backend has a list of its own, since it does not look into the add-on."""
    recipes = runpy.run_path(str(addon_file("common/material_recipe.py")))
    assert set(BAKED_KEYS) == set(recipes["MAP_LABELS"])
