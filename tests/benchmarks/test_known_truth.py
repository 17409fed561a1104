"""Scenes with known maps: what is built is what is true, and known differences come out as the errors."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from collections import Counter

import numpy as np
import pytest

from backend.cli.errors import CommandError
from benchmarks import known_truth
from benchmarks.__main__ import main, parser
from benchmarks.known_truth_errors import compare, fitted_maps, picture, quantile
from benchmarks.known_truth_scenes import SCENES, KnownScene, Maps, Shape, ball, metal_maps, painted_metal_maps, srgb
from render.core.color import linear_to_srgb
from render.core.image_io import encode_image, write_image

needs_blender = [
    pytest.mark.blender,
    pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason="the Blender module bpy is not installed"),
]
SHAPES = {name: scene.shape for name, scene in SCENES.items() if scene.shape is not None}
SIZE = 64


# Shapes and maps ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_is_closed_its_front_is_outside_and_its_charts_are_not_mirrored(name):
    shape = SHAPES[name]()
    _, same = np.unique(shape.positions.round(5), axis=0, return_inverse=True)
    triangles = same.reshape(-1)[shape.triangles]
    edges = Counter((one[i], one[(i + 1) % 3]) for one in triangles.tolist() for i in range(3))
    assert all(edges[b, a] == count for (a, b), count in edges.items())
    a, b, c = (shape.positions[shape.triangles[:, i]] for i in range(3))
    assert (a * np.cross(b, c)).sum() > 0.0
    across, up = shape.uv[:, 1] - shape.uv[:, 0], shape.uv[:, 2] - shape.uv[:, 0]
    assert (across[:, 0] * up[:, 1] - across[:, 1] * up[:, 0] > 0.0).all()
    assert shape.uv.min() >= 0.0
    assert shape.uv.max() <= 1.0


def test_the_curve_of_srgb_is_that_of_the_renderer():
    import torch

    linear = np.linspace(0.0, 1.0, 101)
    np.testing.assert_allclose(srgb(linear), linear_to_srgb(torch.from_numpy(linear)).numpy(), atol=1e-6)


def test_each_roughness_has_both_metals_and_painted_metal_has_both_in_plenty():
    maps = metal_maps(SIZE)
    assert np.unique(maps.roughness).tolist() == [102, 128, 153, 179]
    for level in np.unique(maps.roughness):
        blue = maps.base_color[maps.roughness == level, 2]
        green = maps.base_color[maps.roughness == level, 1]
        assert (green > 200).any()  # gold
        assert ((green < 200) & (blue > 140)).any()  # copper
    metallic = painted_metal_maps(SIZE).metallic
    assert (metallic == 0).mean() > 0.3
    assert (metallic == 255).mean() > 0.3


# Errors -------------------------------------------------------------------------------------------------------------


def test_a_known_offset_is_the_error_where_the_surface_counts_and_nowhere_else():
    truth = painted_metal_maps(SIZE)
    area = np.ones((SIZE, SIZE))
    area[:8] = 0.0
    color, rough, metallic = (array.copy() for array in dataclasses.astuple(truth))
    color += 3
    color[:8] = 0
    rough[8:36] += 51  # 28 of 56 rows that count
    found = compare(truth, Maps(color, rough, metallic), area)
    assert found["base_color"] == pytest.approx({"mean": 3.0, "p95": 3.0, "bias": 3.0, "psnr_db": 38.588}, abs=1e-3)
    assert found["roughness"]["mean"] == pytest.approx(0.1)
    assert found["roughness"]["p95"] == pytest.approx(0.2)
    assert found["metallic"] == {"mean": 0.0, "p95": 0.0, "bias": 0.0, "psnr_db": float("inf")}
    assert found["decided"] == 1.0
    area[8:36] *= 3.0
    assert compare(truth, Maps(color, rough, metallic), area)["roughness"]["mean"] == pytest.approx(0.15)


def test_metallic_is_decided_by_share_of_area_of_what_is_pure():
    truth = painted_metal_maps(SIZE)
    area, level = np.ones((SIZE, SIZE)), np.full((SIZE, SIZE), 250, np.uint8)
    found = compare(truth, Maps(truth.base_color, truth.roughness, level), area)
    metal, paint = (truth.metallic == 255).sum(), (truth.metallic == 0).sum()
    assert found["decided"] == pytest.approx(metal / (metal + paint))
    assert compare(metal_maps(SIZE), metal_maps(SIZE), area)["decided"] is None


def test_rough_metals_have_an_error_of_each_roughness():
    truth = metal_maps(SIZE)
    wrong = truth.roughness.copy()
    wrong[truth.roughness == 153] -= 51
    found = compare(truth, Maps(truth.base_color, wrong, truth.metallic), np.ones((SIZE, SIZE)))["by_roughness"]
    assert list(found) == ["0.40", "0.50", "0.60", "0.70"]
    assert found["0.60"] == pytest.approx({"base_color": 0.0, "roughness": 0.2, "roughness_bias": -0.2})
    assert found["0.50"]["roughness"] == 0.0


def test_a_quantile_goes_by_weight():
    values, weights = np.array([3.0, 1.0, 2.0]), np.array([1.0, 8.0, 1.0])
    assert [quantile(values, weights, share) for share in (0.5, 0.85, 0.95)] == [1.0, 2.0, 3.0]


def test_maps_are_read_as_a_fit_writes_them(tmp_path):
    truth = painted_metal_maps(SIZE)
    occlusion = np.full((SIZE, SIZE), 7, np.uint8)
    (tmp_path / "kd.png").write_bytes(encode_image(".png", truth.base_color))
    surface = np.stack([occlusion, truth.roughness, truth.metallic], -1)
    (tmp_path / "orm.png").write_bytes(encode_image(".png", surface))
    found = fitted_maps(tmp_path, SIZE)
    for name, array in dataclasses.asdict(truth).items():
        np.testing.assert_array_equal(getattr(found, name), array)
    with pytest.raises(CommandError):
        fitted_maps(tmp_path, 2 * SIZE)


def test_the_picture_has_truth_fit_and_difference_and_black_where_nothing_counts():
    truth = painted_metal_maps(SIZE)
    area = np.ones((SIZE, SIZE))
    area[0] = 0.0
    rough = truth.roughness + np.uint8(2)
    drawn = picture(truth, Maps(truth.base_color, rough, truth.metallic), area)
    assert drawn.shape == (SIZE, 9 * SIZE, 3)
    assert not drawn[0].any()
    parts = np.split(drawn[1:], 9, axis=1)
    np.testing.assert_array_equal(parts[0], truth.base_color[1:])
    assert (parts[2] == 128).all()
    np.testing.assert_array_equal(parts[4][..., 0], rough[1:])
    assert (parts[5] == 144).all()


# The command --------------------------------------------------------------------------------------------------------


@pytest.fixture
def fits(monkeypatch, tmp_path):
    """The commands of fits, which find the truth, from a scene that is not built."""
    truth, commands = painted_metal_maps(SIZE), []

    def build(_scene, folder, _resolution, _hdri):
        return folder / "scene.blend", truth, np.ones((SIZE, SIZE))

    def run_program(command, threads):
        commands.append([str(word) for word in command])
        out = tmp_path / "kept" / "startup" / commands[-1][commands[-1].index("--out") + 1].rsplit("/", 1)[-1]
        out.mkdir(parents=True)
        (out / "kd.png").write_bytes(encode_image(".png", truth.base_color))
        surface = np.stack([truth.roughness, truth.roughness, truth.metallic], -1)
        (out / "orm.png").write_bytes(encode_image(".png", surface))
        report = {key: [] for key in ("verdicts", "warnings", "compared")} | {"seconds": {}, "device": "CPU"}
        (out / "report.json").write_text(json.dumps(report | {"fit": {"fit_heldout_psnr_db": 40.0}}), encoding="utf-8")

    monkeypatch.setattr(known_truth, "build", build)
    monkeypatch.setattr(known_truth, "run_program", run_program)
    write_image(tmp_path / known_truth.HDRI, np.ones((2, 4, 3), np.float32))
    return commands


def test_options_of_the_fit_are_passed_only_where_they_are_asked_for_and_a_record_goes_on(fits, tmp_path, capsys):
    record = tmp_path / "record.json"
    command = ["known_truth", "--only", "startup", "--resolution", str(SIZE), "--data", str(tmp_path)]
    command += ["--keep", str(tmp_path / "kept"), "--json", str(record)]
    assert main(command) == 0
    assert len(fits) == 1
    assert "--start gray --no-report" in " ".join(fits[0])
    assert not {"--rounds", "--reference-light", "--views"} & set(fits[0])
    assert main([*command, "--rounds", "0", "1", "--reference-light", "studio"]) == 0
    assert ["--rounds 1 --reference-light studio" in " ".join(words) for words in fits] == [False, False, True]
    assert main([*command, "--rounds", "1", "--reference-light", "studio", "scene"]) == 0
    assert len(fits) == 4  # the first of both was in the record
    keys = ["startup", *(f"startup rounds={rounds} light=studio" for rounds in (0, 1)), "startup rounds=1 light=scene"]
    assert list(json.loads(record.read_text(encoding="utf-8"))["fits"]) == keys
    assert "met" in capsys.readouterr().out
    assert main([*command, "--views", "7"]) == 2
    assert "was measured with" in capsys.readouterr().err


def test_a_scene_that_is_not_there_and_a_missing_image_are_refused(tmp_path, capsys):
    assert main(["known_truth", "--only", "nonsense"]) == 2
    assert "no scene nonsense" in capsys.readouterr().err
    assert main(["known_truth", "--data", str(tmp_path)]) == 2
    assert known_truth.HDRI in capsys.readouterr().err
    assert parser().parse_args(["known_truth"]).rounds == [None]


def test_what_is_asked_is_said_to_be_met_or_missed():
    truth, area = metal_maps(SIZE), np.ones((SIZE, SIZE))
    row = {"scene": "rough_metals", "rounds": None, "light": None, **compare(truth, truth, area)}
    assert known_truth.asked_text(row) == "met"
    off = Maps(truth.base_color - np.uint8(2), truth.roughness + np.uint8(8), truth.metallic)
    row |= compare(truth, off, area)
    assert known_truth.asked_text(row) == "misses color 1, roughness 0.02"


def test_maps_under_both_lights_are_compared_by_the_way_they_were_fitted():
    maps = ("base_color", "roughness", "metallic")
    rows = {
        known_truth.key_of(name, rounds, "studio"): {"scene": name, "rounds": rounds, "light": "studio"}
        | {one: {"psnr_db": db} for one, db in zip(maps, values, strict=True)}
        for name, rounds, values in (
            ("startup", 0, (30.0, 20.0, None)),
            ("startup_hdri", 0, (30.9, 20.0, 12.0)),
            ("startup", 1, (30.0, 20.0, 10.0)),
            ("startup_hdri", 1, (30.0, 21.5, 10.0)),
        )
    }
    assert known_truth.between_lights(rows) == [
        [0, "studio", "30.0/30.9", "20.0/20.0", "exact/12.0", "met"],
        [1, "studio", "30.0/30.0", "20.0/21.5", "10.0/10.0", "missed"],
    ]


# In Blender ---------------------------------------------------------------------------------------------------------


class TestInBlender:
    pytestmark = needs_blender

    def test_blender_reads_the_true_maps_from_the_startup_cube(self, tmp_path):
        file, maps, area = known_truth.build(SCENES["startup"], tmp_path, SIZE, tmp_path)  # raises if it reads others
        assert file.is_file()
        assert area.sum() == pytest.approx(24.0, rel=0.02)  # all of a cube of 2 x 2 x 2
        assert (area > 0.0).mean() == pytest.approx(0.375, abs=0.01)
        assert area[:, : SIZE // 8].sum() == 0.0  # its cross begins at an eighth of the width
        assert area[0, 3 * SIZE // 8 : 5 * SIZE // 8].all()
        assert maps.base_color.shape == (SIZE, SIZE, 3)

    def test_what_lies_inside_is_not_seen(self, tmp_path):
        outer = ball()
        places = np.concatenate([outer.positions, 0.5 * outer.positions])
        triangles = np.concatenate([outer.triangles, outer.triangles + len(outer.positions)])
        uv = np.concatenate([outer.uv * (0.5, 1.0), outer.uv * (0.5, 1.0) + (0.5, 0.0)])
        scene = KnownScene(metal_maps, lambda: Shape(places, triangles, uv, True), hdri=False)
        _, _, area = known_truth.build(scene, tmp_path, SIZE, tmp_path)
        assert area[:, SIZE // 2 :].sum() == 0.0
        assert area[:, : SIZE // 2].sum() == pytest.approx(4.0 * np.pi, rel=0.03)

    def test_charts_that_overlap_are_refused(self, tmp_path):
        outer = ball()
        places = np.concatenate([outer.positions, 3.0 + outer.positions])
        triangles = np.concatenate([outer.triangles, outer.triangles + len(outer.positions)])
        scene = KnownScene(metal_maps, lambda: Shape(places, triangles, np.concatenate([outer.uv, outer.uv]), True))
        with pytest.raises(CommandError, match="overlaps"):
            known_truth.build(dataclasses.replace(scene, hdri=False), tmp_path, SIZE, tmp_path)
