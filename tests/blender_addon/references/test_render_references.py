"""Reference renders against scenes whose pixels are known, made by the script as the add-on and the report start it."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.command_line import content_hash

SIZE = 16
FACING_THE_BOARD = [[1, 0, 0, 0], [0, 0, -1, -5], [0, 1, 0, 0], [0, 0, 0, 1]]
"""A Blender camera at (0, -5, 0) that looks along +Y, +Z up."""

BOARD_FILLS_HALF = 2.0 * np.arctan(2.0 / 5.0)
"""The field of view in which the board, 2 wide and 5 away, fills half the picture."""


def view(index: int = 0, seed: int = 0) -> dict:
    return {
        "index": index,
        "matrix_world": FACING_THE_BOARD,
        "fov": BOARD_FILLS_HALF,
        "seed": seed,
        "clip_start": 0.1,
        "clip_end": 100.0,
    }


def plan(blend: Path, output: Path, **changes: object) -> dict:
    return {
        "blend": str(blend),
        "scene": "Stage",
        "view_layer": "ViewLayer",
        "objects": [["Board", None]],
        "size": SIZE,
        "samples": 4,
        "views": [],
        "output": str(output),
        "threads": 1,
        **changes,
    }


@pytest.fixture(scope="module")
def script(installed_extension) -> Path:
    return importlib.import_module(f"{installed_extension}.references.process").SCRIPT


def run(script: Path, instructions: dict, folder: Path) -> tuple[int, list[dict]]:
    """Run a plan; returns the exit status and what was said on stdout, which may only hold lines of Blender's start else."""
    path = folder / "plan.json"
    path.write_text(json.dumps(instructions), encoding="utf-8")
    result = subprocess.run([sys.executable, script, path], capture_output=True, text=True, check=False)
    said = result.stdout[result.stdout.find("PBRFIT {") :].splitlines()
    assert all(line.startswith("PBRFIT {") for line in said), result.stdout
    return result.returncode, [json.loads(line.removeprefix("PBRFIT ")) for line in said]


@pytest.fixture(scope="module")
def board(script, blend_files, tmp_path_factory) -> dict:
    """The board's render in its white world and its world's image, and two views of a further plan."""
    folder = tmp_path_factory.mktemp("board")
    blend = blend_files["board"]
    before = content_hash(blend)
    further = plan(blend, folder / "further", views=[view(7), view(8)])
    instructions = plan(blend, folder / "first", views=[view(3)], environment=[8, 4], plans=[further])
    status, lines = run(script, instructions, folder)
    assert "error" not in lines[-1], lines[-1]
    assert status == 0
    assert content_hash(blend) == before
    return {"lines": lines, "image": np.load(folder / "first" / "view_0003.npy"), "folder": folder}


def test_it_says_what_it_finished_in_order(board):
    seconds = [line.pop("seconds") for line in board["lines"] if "seconds" in line]
    assert len(seconds) == 3
    assert min(seconds) > 0.0
    assert board["lines"] == [
        {"environment": "environment.npy"},
        {"view": 3, "file": "view_0003.npy"},
        {"view": 7, "file": "view_0007.npy", "plan": 1},
        {"view": 8, "file": "view_0008.npy", "plan": 1},
        {"done": True},
    ]


def test_only_the_object_is_seen_upright_and_premultiplied(board):
    """Row 0 is the top; the wall, the lamp, the file's render settings and the object's own hiding change nothing."""
    image = board["image"]
    assert image.dtype == np.float32
    assert image.shape == (SIZE, SIZE, 4)
    quarter, half = SIZE // 4, SIZE // 2
    outside = np.ones((SIZE, SIZE), bool)
    outside[quarter:-quarter, quarter:-quarter] = False
    np.testing.assert_array_equal(image[outside], 0.0)
    red = image[quarter:half, quarter:-quarter]
    matt = image[half:-quarter, quarter:half]
    blue = image[half:-quarter, half:-quarter]
    np.testing.assert_allclose(red, np.broadcast_to([0.5, 0.0, 0.0, 1.0], red.shape), atol=1e-6)
    # Half of all paths meet the board, the others pass: premultiplied, colour and alpha are the same share.
    np.testing.assert_allclose(blue[..., 2], blue[..., 3], atol=1e-6)
    assert blue[..., 3].mean() == pytest.approx(0.5, abs=0.1)
    np.testing.assert_array_equal(blue[..., :2], 0.0)
    # A white world of strength 1, and no lamp, makes a matt surface as bright as its albedo.
    assert matt[..., :3].mean() == pytest.approx(0.5, abs=0.005)
    np.testing.assert_array_equal(matt[..., 3], 1.0)


def test_files_appear_whole(board):
    assert not list(board["folder"].rglob("*.part"))


def test_the_seed_decides_about_the_noise(script, blend_files, tmp_path):
    views = [view(0, seed=5), view(1, seed=6), view(2, seed=5)]
    run(script, plan(blend_files["hdri"], tmp_path, views=views), tmp_path)
    first, other, again = (np.load(tmp_path / f"view_000{index}.npy") for index in range(3))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).mean() > 0.001


def test_the_world_renders_to_its_own_hdri(script, blend_files, tmp_path):
    blend = blend_files["hdri"]
    source = np.load(blend.with_name("hdri.npy"))
    height, width, _ = source.shape
    status, _ = run(script, plan(blend, tmp_path, environment=[width, height]), tmp_path)
    assert status == 0
    rendered = np.load(tmp_path / "environment.npy")
    assert rendered.shape == source.shape
    assert rendered.dtype == np.float32
    # Beside the sun, where a texel is thousands of times as bright as the next, a hundredth of a texel shows (0.99987 are
    # equal in Blender 4.2, the worst).
    assert (np.abs(rendered - source) <= 1e-3 + 5e-3 * source).mean() > 0.9998
    assert np.abs(rendered - source).max() < 0.05 * source.max()


def test_a_world_that_shows_the_camera_something_else_gives_its_light(script, blend_files, tmp_path):
    run(script, plan(blend_files["camera_ray_world"], tmp_path, environment=[8, 4]), tmp_path)
    rendered = np.load(tmp_path / "environment.npy")
    np.testing.assert_allclose(rendered, np.broadcast_to([1.0, 0.0, 0.0], rendered.shape), atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "cause", "cure"),
    [
        ({"objects": [["Bord", None]]}, 'There is no "Bord" in the scene "Stage"', "Board"),
        ({"objects": [["Board", "//lib.blend"]]}, 'There is no "Board" in the scene "Stage"', "Board"),
        ({"scene": "Scene"}, 'There is no "Scene" in the file', "Stage"),
        ({"view_layer": "Other"}, 'has no view layer "Other"', "another view layer"),
        ({"blend": "/no/such.blend"}, "/no/such.blend does not exist", ".blend"),
        ({"blend": __file__}, "cannot open", "Blender"),
    ],
)
def test_what_cannot_be_rendered_is_said_with_cause_and_cure(script, blend_files, tmp_path, changes, cause, cure):
    status, lines = run(script, {**plan(blend_files["board"], tmp_path, views=[view()]), **changes}, tmp_path)
    assert status == 1
    (line,) = lines
    assert cause in line["error"]["cause"]
    assert cure in line["error"]["cure"]
