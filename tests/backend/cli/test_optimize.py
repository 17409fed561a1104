"""``pbrfit optimize`` from the command to the report on the demo's scene, small; and what is left when stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from support.command_line import content_hash, processes_that_mention, run_python

from render.core.image_io import read_image

COMMAND = [sys.executable, "-m", "backend", "optimize"]
SMALL = [
    "--quality",
    "draft",
    "--views",
    "10",
    "--view-size",
    "96",
    "--samples",
    "8",
    "--resolution",
    "128",
    "--rounds",
    "0",
]
LOOK_INTO = """
import json, os, sys
import bpy
bpy.ops.wm.open_mainfile(filepath=sys.argv[1])
thing = bpy.data.objects["Suzanne"]
original = bpy.data.materials["Chipped paint"]
seen = {
    "material": thing.material_slots[0].material.name,
    "images": sorted(image.name for image in bpy.data.images if image.packed_file),
    "original_users": original.users,
    "original_kept": original.use_fake_user,
    "modifiers": [modifier.type for modifier in thing.modifiers],
}
open(sys.argv[2], "w").write(json.dumps(seen))
os._exit(0)
"""


def start(blend: Path, out: Path, temporary: Path, *options: str) -> subprocess.Popen:
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary)}
    return subprocess.Popen(
        [*COMMAND, str(blend), "--object", "Suzanne", "--out", str(out), *SMALL, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=temporary,
    )


@pytest.fixture(scope="module")
def optimized(demo_file, tmp_path_factory) -> dict:
    """A finished run: its folder, output, report and whether it changed the artist's file."""
    folder = tmp_path_factory.mktemp("optimized")
    before = content_hash(demo_file)
    process = start(demo_file, folder / "out", folder / "temporary")
    output, errors = process.communicate(timeout=600)
    assert process.returncode == 0, output + errors
    report = json.loads((folder / "out" / "report.json").read_text())
    unchanged = content_hash(demo_file) == before
    return {"folder": folder, "out": folder / "out", "output": output, "report": report, "unchanged": unchanged}


def test_it_leaves_the_promised_files_and_nothing_else(optimized):
    names = {path.name for path in optimized["out"].iterdir()}
    assert names == {"Suzanne.blend", "kd.png", "orm.png", "normal.png", "report.json", "report.png"}
    assert set(optimized["report"]["files"]) == names
    assert optimized["unchanged"]
    assert not list((optimized["folder"] / "temporary").iterdir())
    assert not processes_that_mention(optimized["folder"])


def test_the_maps_are_what_they_are_called(optimized):
    maps = {name: read_image(optimized["out"] / f"{name}.png") for name in ("kd", "orm")}
    assert {name: (image.shape, image.dtype) for name, image in maps.items()} == {
        name: ((128, 128, 3), np.dtype(np.uint8)) for name in maps
    }
    normal = read_image(optimized["out"] / "normal.png")
    assert normal.dtype == np.uint16
    assert (normal[..., 2] > 40000).mean() > 0.9  # blue, the way out of the surface
    metallic = maps["orm"][..., 2]
    assert metallic.std() > 20  # paint and metal are told apart


def test_the_report_measures_what_came_out(optimized):
    report = optimized["report"]
    for light in ("heldout", "relit"):
        listed = report[f"{light}_psnr_db_list"]
        assert len(listed) == 4
        assert report[f"{light}_psnr_db"] == pytest.approx(np.mean(listed), abs=1e-3)
        assert report[f"{light}_psnr_db"] > 20.0
        assert report[f"{light}_psnr_db"] >= report[f"{light}_psnr_db_uncorrected"]
    seconds = report["seconds"]
    parts = set(seconds) - {"total"}
    # The backend may be there ("start") before the bake is done.
    assert parts - {"start"} == {"blender", "export", "bake", "render", "fit", "compare", "apply", "report"}
    assert seconds["total"] == pytest.approx(sum(seconds[part] for part in parts), abs=1.0)
    (choice,) = report["compared"]
    assert {"bake_db", "fit_db"} == set(choice["scores"]["own"]) == set(choice["scores"]["unseen"])
    (verdict,) = report["verdicts"]
    assert verdict.startswith(f"Bake {choice['scores']['own']['bake_db']:.1f}, fit ")
    assert report["iterations"] > 0
    assert report["device"]
    assert report["render_device"].endswith(")")
    assert {"pbrfit", "blender", "torch", "python", "numpy"} <= set(report["versions"])
    assert read_image(optimized["out"] / "report.png").shape[0] > 500


def test_the_terminal_shows_the_way_and_ends_with_file_and_psnr(optimized):
    lines = optimized["output"].splitlines()
    for phase in ("Rendering references", "Fitting", "Rendering the report"):
        assert any(line.startswith(phase) for line in lines), phase
    assert str(optimized["out"] / "Suzanne.blend") in lines[-1]
    assert f"{optimized['report']['heldout_psnr_db']:.1f} dB" in lines[-1]


def test_the_saved_file_has_the_fitted_material_and_keeps_the_original(optimized):
    answer = optimized["folder"] / "seen.json"
    script = optimized["folder"] / "look_into.py"
    script.write_text(LOOK_INTO)
    run_python(script, optimized["out"] / "Suzanne.blend", answer)
    seen = json.loads(answer.read_text())
    assert seen["material"] == optimized["report"]["material"] != "Chipped paint"
    assert len(seen["images"]) == 3
    assert seen["original_kept"]
    assert seen["modifiers"] == ["SUBSURF"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_it_leaves_nothing_running_and_no_file(demo_file, tmp_path, number):
    process = start(demo_file, tmp_path / "out", tmp_path / "temporary")
    for line in process.stdout:
        if line.startswith("Rendering references"):
            break
    assert processes_that_mention(tmp_path)
    process.send_signal(number)
    began = time.monotonic()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert time.monotonic() - began < 15.0
    assert "cancelled" in errors
    assert not processes_that_mention(tmp_path)
    assert not list((tmp_path / "out").iterdir())
    assert not list((tmp_path / "temporary").iterdir())


def test_a_fit_whose_backend_is_killed_goes_on_with_another(demo_file, tmp_path):
    process = start(demo_file, tmp_path / "out", tmp_path / "temporary", "--no-report")
    for line in process.stdout:
        if line.startswith("Fitting"):
            break
    (backend,) = (
        pid for pid in processes_under(process.pid) if b"\0serve\0" in Path(f"/proc/{pid}/cmdline").read_bytes()
    )
    os.kill(backend, signal.SIGKILL)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, output + errors
    assert (tmp_path / "out" / "Suzanne.blend").exists()
    assert not processes_that_mention(tmp_path)


def processes_under(pid: int) -> list[int]:
    """The processes that a process and those below it have started."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *processes_under(child)]
    return found


def test_killing_it_ends_what_it_started(demo_file, tmp_path):
    process = start(demo_file, tmp_path / "out", tmp_path / "temporary")
    for line in process.stdout:
        if line.startswith("Rendering references"):
            break
    process.kill()
    process.communicate(timeout=60)
    deadline = time.monotonic() + 20.0
    while processes_that_mention(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not processes_that_mention(tmp_path)


def test_an_object_that_is_not_in_the_file(demo_file, tmp_path):
    result = subprocess.run(
        [*COMMAND, str(demo_file), "--object", "Suzana", "--out", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert "no object 'Suzana'" in result.stderr
    assert "Suzanne" in result.stderr


LOOK_INTO_BOTH = """
import json, os, sys
import bpy
seen = []
for path in sys.argv[1:3]:
    bpy.ops.wm.open_mainfile(filepath=path)
    thing, window = bpy.data.objects["Tisch 机"], bpy.context.window_manager.windows[0]
    maps = [image for image in bpy.data.images if "pbrfit" in image]
    seen.append({
        "uv_maps": [layer.name for layer in thing.data.uv_layers],
        "materials": [slot.material.name for slot in thing.material_slots],
        "maps": {image.name: [image.packed_file is not None, bpy.path.abspath(image.filepath)] for image in maps},
        "opens_in": [window.scene.name, window.view_layer.name, window.view_layer.objects.active.name],
    })
open(sys.argv[3], "w").write(json.dumps(seen))
os._exit(0)
"""


ARTISTS = "Tisch_机_Red_Base_Color.png"
"""A file that the artist has under the name that a map would have."""


@pytest.fixture(scope="module")
def two_sets(blend_files, tmp_path_factory) -> dict:
    """A finished run on an object of two materials, without a UV map, in a scene that is not the active one."""
    out = tmp_path_factory.mktemp("two") / "out"
    (out / "textures").mkdir(parents=True)
    (out / "textures" / ARTISTS).write_bytes(b"mine")
    blend = blend_files["two_materials"]
    # From gray: with so few views a bake may well be kept, which needs no maps.
    options = ["--unwrap", "--images", "files", "--material-name", "{object} {material}", "--start", "gray"]
    result = subprocess.run(
        [*COMMAND, str(blend), "--object", "Tisch 机", "--out", str(out), *SMALL, *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    script, answer = out.parent / "look_into.py", out.parent / "seen.json"
    script.write_text(LOOK_INTO_BOTH, encoding="utf-8")
    run_python(script, blend, out / "Tisch 机.blend", answer)
    before, after = json.loads(answer.read_text())
    return {"out": out, "report": json.loads((out / "report.json").read_text()), "before": before, "after": after}


def test_each_material_has_a_set_of_maps_that_the_report_names(two_sets):
    sets = two_sets["report"]["sets"]
    assert [(one["name"], one["material"]) for one in sets] == [("Red", "Tisch 机 Red"), ("Blue", "Tisch 机 Blue")]
    for number, one in enumerate(sets):
        assert one["files"] == [f"{number}/{name}.png" for name in ("kd", "normal", "orm")]
    colors = [read_image(two_sets["out"] / f"{number}/kd.png").mean(axis=(0, 1)) for number in range(2)]
    assert colors[0][0] > colors[0][2] + 50
    assert colors[1][2] > colors[1][0] + 50
    assert two_sets["report"]["heldout_psnr_db"] > 20.0


def test_the_result_has_the_new_uv_map_and_its_files_beside_it(two_sets):
    assert (two_sets["before"]["uv_maps"], two_sets["after"]["uv_maps"]) == ([], ["PBRfit"])
    assert two_sets["after"]["materials"] == ["Tisch 机 Red", "Tisch 机 Blue"]
    assert len(two_sets["after"]["maps"]) == 6
    for packed, path in two_sets["after"]["maps"].values():
        assert not packed
        assert Path(path).parent == two_sets["out"] / "textures"
        assert Path(path).is_file()
        assert Path(path).relative_to(two_sets["out"]).as_posix() in two_sets["report"]["files"]
    paths = {Path(path).name for _, path in two_sets["after"]["maps"].values()}
    assert "Tisch_机_Red_Base_Color_001.png" in paths
    assert (two_sets["out"] / "textures" / ARTISTS).read_bytes() == b"mine"


def test_another_object_does_not_replace_the_result(blend_files, two_sets):
    """It is refused before anything starts."""
    before = {path: path.read_bytes() for path in two_sets["out"].rglob("*") if path.is_file()}
    command = [*COMMAND, str(blend_files["two_materials"]), "--object", "Other", "--out", str(two_sets["out"])]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert 'has the result for "Tisch 机"' in result.stderr
    assert {path: path.read_bytes() for path in two_sets["out"].rglob("*") if path.is_file()} == before


def test_what_the_button_refuses_has_its_cause_and_cure_on_lines_of_their_own(blend_files, tmp_path):
    command = [*COMMAND, str(blend_files["two_materials"]), "--object", "Tisch 机", "--out", str(tmp_path / "out")]
    result = subprocess.run([*command, "--material-name", " "], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    cause, cure = result.stderr.splitlines()[-2:]
    assert cause.startswith("pbrfit: ")
    assert cause.endswith(".")
    assert cure.startswith("  ")


def test_the_result_opens_where_the_file_did(two_sets):
    assert two_sets["after"]["opens_in"] == two_sets["before"]["opens_in"] == ["Stage", "ViewLayer", "Other"]
    assert two_sets["report"]["scene"] == "Tables"
