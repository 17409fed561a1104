"""The report's renders against scenes whose pixels are known: the object as its own scene shows it, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.command_line import content_hash

from backend.cli.blender_task import addon_file
from backend.cli.judging import is_black, measure
from render.core.image_io import write_image

SIZE = 16
FACING_THE_BOARD = [[1, 0, 0, 0], [0, 0, -1, -5], [0, 1, 0, 0], [0, 0, 0, 1]]
"""A Blender camera at (0, -5, 0) that looks along +Y, +Z up."""

FOUR_WIDE = 2.0 * np.arctan(2.0 / 5.0)
"""The field of view that shows x and z from -2 to 2 in the plane y = 0: four pixels a unit."""


def plan(blend: Path, output: Path, **changes: object) -> dict:
    view = {"index": 3, "matrix_world": FACING_THE_BOARD, "fov": FOUR_WIDE, "clip_start": 0.01, "clip_end": 100.0}
    standard = {
        "blend": str(blend),
        "scene": "Stage",
        "view_layer": "ViewLayer",
        "object": "Board",
        "size": SIZE,
        "samples": 4,
        "threads": 1,
        "lights": {"own": None},
        "seeds": [7],
        "views": [view],
    }
    return {**standard, "output": str(output), **changes}


def run(instructions: dict, folder: Path) -> tuple[int, list[dict]]:
    """Run a plan; returns the exit status and what was said on stdout, which must hold nothing else."""
    path = folder / "plan.json"
    path.write_text(json.dumps(instructions), encoding="utf-8")
    script = addon_file("command_line/judge.py")
    result = subprocess.run([sys.executable, script, path], capture_output=True, text=True, check=False)
    lines = result.stdout.splitlines()
    assert all(line.startswith("PBRFIT {") for line in lines), result.stdout + result.stderr
    return result.returncode, [json.loads(line.removeprefix("PBRFIT ")) for line in lines]


def judged(blend: Path, folder: Path, **changes: object) -> np.ndarray:
    """The only render of a plan; the file must stay as it was."""
    before = content_hash(blend)
    status, lines = run(plan(blend, folder, **changes), folder)
    assert status == 0, lines
    assert content_hash(blend) == before
    (path,) = folder.glob("*.npy")
    image = np.load(path)
    assert image.dtype == np.float32
    assert image.shape == (SIZE, SIZE, 4)
    return image


def block(left: int, right: int, bottom: int, top: int, color: tuple[float, ...]) -> np.ndarray:
    """A picture of one opaque block, its edges in units of the plane y = 0 from -2 to 2."""
    image = np.zeros((SIZE, SIZE, 4), np.float32)
    image[4 * (2 - top) : 4 * (2 - bottom), 4 * (left + 2) : 4 * (right + 2)] = (*color, 1.0)
    return image


def test_a_property_of_the_scene_is_that_of_its_view_layer(blend_files, tmp_path):
    image = judged(blend_files["scene_property"], tmp_path, view_layer="Second")
    np.testing.assert_allclose(image, block(-1, 1, -1, 1, (0.1, 0.25, 0.5)), atol=1e-5)


def test_the_scene_keeps_its_time(blend_files, tmp_path):
    """Two seconds make the board twice as wide."""
    np.testing.assert_array_equal(judged(blend_files["scene_time"], tmp_path), 1.0)


def test_the_scene_keeps_its_camera(blend_files, tmp_path):
    image = judged(blend_files["active_camera"], tmp_path)
    moved = np.zeros((SIZE, SIZE, 4), np.float32)
    moved[2:10, 4:12] = 1.0  # z from -0.5 to 1.5
    np.testing.assert_array_equal(image, moved)


@pytest.mark.parametrize("name", ["subdivided", "simplified"])
def test_the_object_is_rendered_as_a_render_has_it(blend_files, tmp_path, name):
    """The corners of the cube are rounded off."""
    image = judged(blend_files[name], tmp_path, object="Cube")
    assert image[SIZE // 2, SIZE // 2, 3] == 1.0
    assert image[3:5, 3:5, 3].max() == 0.0  # of the front, that would reach from pixel 3 to 13


def test_hair_is_seen(blend_files, tmp_path):
    image = judged(blend_files["hairy"], tmp_path)
    above = image[4:8, 6:10]
    assert above[..., 3].mean() > 0.2
    np.testing.assert_allclose(above[..., 1], above[..., 3], atol=1e-5)  # all of it shines in green
    np.testing.assert_array_equal(above[..., [0, 2]], 0.0)


def test_instances_are_seen_and_their_source_is_not(blend_files, tmp_path):
    """The source stands where its instance stands; without the instance nothing would be there."""
    image = judged(blend_files["instancing"], tmp_path)
    expected = block(-1, 1, -1, 1, (1.0, 0.0, 0.0)) + block(1, 2, -1, 1, (0.0, 1.0, 0.0))
    np.testing.assert_array_equal(image, expected)
    (tmp_path / "alone").mkdir()
    alone = judged(blend_files["instancing"], tmp_path / "alone", object="Source")
    np.testing.assert_array_equal(alone, block(1, 2, -1, 1, (0.0, 1.0, 0.0)))


def test_what_its_parents_show_as_instances_is_seen_in_its_own_place(blend_files, tmp_path):
    image = judged(blend_files["instanced_by_ancestors"], tmp_path)
    np.testing.assert_array_equal(image, block(-1, 1, -1, 1, (1.0, 0.0, 0.0)))


def test_particles_stay_where_they_were_played_to(blend_files, tmp_path):
    """One particle that has moved by 2, from -1.5 to 0.5: at the start it would cover -2 to -1."""
    image = judged(blend_files["played_particles"], tmp_path)
    green = image[..., 1] * image[..., 3]
    assert green[SIZE // 2, : SIZE // 4].max() == 0.0
    assert green[SIZE // 2, SIZE // 2 : 3 * SIZE // 4].min() > 0.99


@pytest.mark.parametrize("name", ["board", "obstructed"])
def test_nothing_comes_between(blend_files, tmp_path, name):
    """Neither the wall before the board, the lamp, hiding, holdouts nor the file's render settings, animated or not."""
    image = judged(blend_files[name], tmp_path, samples=64)
    quarter, half = SIZE // 4, SIZE // 2
    outside = np.ones((SIZE, SIZE), bool)
    outside[quarter:-quarter, quarter:-quarter] = False
    np.testing.assert_array_equal(image[outside], 0.0)
    red, matt = image[quarter:half, quarter:-quarter], image[half:-quarter, quarter:half]
    blue = image[half:-quarter, half:-quarter]
    np.testing.assert_allclose(red, np.broadcast_to([0.5, 0.0, 0.0, 1.0], red.shape), atol=1e-6)
    assert blue[..., 3].mean() == pytest.approx(0.5, abs=0.05)
    assert matt[..., :3].mean() == pytest.approx(0.5, abs=0.005)


def test_each_light_has_each_seed(blend_files, tmp_path):
    red = tmp_path / "red.hdr"
    write_image(red, np.full((4, 8, 3), (0.5, 0.0, 0.0), np.float32))
    lights = {"own": None, "relit": str(red)}
    further = plan(blend_files["board"], tmp_path / "further")
    instructions = plan(blend_files["board"], tmp_path, lights=lights, seeds=[5, 6], plans=[further])
    status, lines = run(instructions, tmp_path)
    assert status == 0
    names = [f"{light}_{seed}_0003.npy" for light in lights for seed in (5, 6)]
    assert lines == [{"file": name} for name in [*names, "own_7_0003.npy"]] + [{"done": True}]
    images = {name: np.load(tmp_path / name) for name in names}
    matt = (slice(SIZE // 2, -SIZE // 4), slice(SIZE // 4, SIZE // 2))
    np.testing.assert_allclose(images[names[0]][matt][..., :3].mean(axis=(0, 1)), 0.5, atol=0.02)
    np.testing.assert_allclose(images[names[2]][matt][..., :3].mean(axis=(0, 1)), [0.25, 0.0, 0.0], atol=0.02)


def test_the_seed_decides_about_the_noise(blend_files, tmp_path):
    run(plan(blend_files["hdri"], tmp_path, seeds=[5, 6]), tmp_path)
    first, other = (np.load(tmp_path / f"own_{seed}_0003.npy") for seed in (5, 6))
    assert np.abs(first - other).mean() > 0.001


def test_a_wrong_color_is_seen(blend_files, tmp_path):
    """The same board with another color instead of the scene's is far from it, as a fit to a wrong reference would be."""
    renders: dict[str, list[list[np.ndarray]]] = {}
    for which, layer in (("original", "Second"), ("fitted", "ViewLayer")):
        run(plan(blend_files["scene_property"], tmp_path / which, view_layer=layer, seeds=[1, 2]), tmp_path)
        renders[which] = [[np.load(tmp_path / which / f"own_{seed}_0003.npy")] for seed in (1, 2)]
    (wrong,) = measure(renders)
    (right,) = measure({"original": renders["original"], "fitted": renders["original"]})
    assert wrong.psnr_db < 10.0
    assert right.psnr_db > 60.0


def test_an_object_without_light_is_black():
    """Whatever its material is: so this must be said, and only this."""
    black, gray = np.zeros((4, 4, 4), np.float32), np.full((4, 4, 4), 0.01, np.float32)
    black[..., 3] = 1.0
    assert is_black({"original": [[black, black]], "fitted": [[gray, gray]]})
    assert not is_black({"original": [[black, gray]], "fitted": [[black, black]]})
    assert measure({"original": [[black, black]] * 2, "fitted": [[black, black]] * 2}) == [None, None]


@pytest.mark.parametrize("changes", [{"object": "Bord"}, {"scene": "Scene"}, {"view_layer": "First"}])
def test_what_is_gone_is_said(blend_files, tmp_path, changes):
    status, lines = run(plan(blend_files["board"], tmp_path, **changes), tmp_path)
    assert status == 1
    (line,) = lines
    assert str(next(iter(changes.values()))) in line["error"]["cause"]
    assert line["error"]["cure"]
