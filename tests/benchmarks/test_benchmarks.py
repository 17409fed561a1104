"""The benchmarks at toy sizes: their records are whole and finite, and their figures mean what they say."""

from __future__ import annotations

import json
import math
import mmap
from itertools import pairwise, takewhile

import pytest
import torch

from benchmarks import ops, preview
from benchmarks.__main__ import main
from benchmarks.cases import HeldOut, best_scaled, kd_psnrs, load_case, subdivided, training_cameras
from benchmarks.fit import seconds_to
from benchmarks.fitting import plan_for, snapshot_iterations
from benchmarks.measure import peak_bytes, reset_peak, rounded
from benchmarks.plots import plot_quality
from benchmarks.sizes import growth
from render.material.material import KD, MaterialMaps

TINY_FIT = ["--device", "cpu", "--views", "4", "--view-size", "32", "--held-out-size", "32", "--resolution", "32"]
TINY_FIT += ["--light-resolution", "16", "--set", "iterations=12", "--set", "batch=4096"]
FIT_KEYS = {
    *("case", "light", "model", "seconds_to", "ms_per_iteration", "iterations", "kd_psnr_db", "kd_psnr_scaled_db"),
    *("held_out_psnr_db", "peak_bytes", "phases", "machine", "versions", "date", "settings", "history"),
}


@pytest.fixture(scope="module")
def case(data):
    return load_case("spot", data, resolution=64, light_resolution=16)


def numbers(value) -> list[float]:
    if isinstance(value, dict):
        return [number for item in value.values() for number in numbers(item)]
    if isinstance(value, list):
        return [number for item in value for number in numbers(item)]
    return [value] if isinstance(value, (int, float)) and not isinstance(value, bool) else []


def strictly_read(path):
    def no_such_number(text: str) -> float:
        raise ValueError(text)

    return json.loads(path.read_text(), parse_constant=no_such_number)


@pytest.mark.parametrize("light", ["known", "learned"])
def test_a_fit_is_recorded_whole(data, tmp_path, light):
    path = tmp_path / "fit.json"
    options = [*TINY_FIT, "--data", str(data), "--case", "metal", "--light", light, "--json", str(path)]
    if light == "known":
        options += ["--compare-image-space", "--image-space-seconds", "0.1", "--image-space-batch", "2"]
    assert main(["fit", *options]) == 0
    result = strictly_read(path)
    assert set(result) >= FIT_KEYS
    assert set(result["seconds_to"]) == {"30", "35", "40", "anchor"}
    assert set(result["phases"]) == {"references", "table", "fit"}
    assert all(math.isfinite(number) for number in numbers(result))
    assert result["ms_per_iteration"] > 0
    assert result["peak_bytes"] > 1e6
    assert [entry["iteration"] for entry in result["history"]][-1] == result["iterations"] == 12
    seconds = [entry["seconds"] for entry in result["history"]]
    assert seconds == sorted(seconds)
    assert result["phases"]["references"] < seconds[0]
    assert result["history"][-1]["psnr_db"] > 15
    assert (result["case"], result["light"], result["settings"]["plan"]["learn_light"]) == (
        "metal",
        light,
        light == "learned",
    )
    if light == "known":
        assert {"seconds_to_target", "ratio", "history", "fit_seconds_to_target"} <= set(result["image_space"])


def test_all_cases_are_recorded_one_after_another_and_plotted(data, tmp_path):
    pytest.importorskip("matplotlib")
    path, stem = tmp_path / "fit.json", tmp_path / "quality"
    options = [*TINY_FIT, "--set", "iterations=4", "--views", "2", "--light", "known", "--data", str(data)]
    assert main(["fit", *options, "--json", str(path), "--plot", str(stem)]) == 0
    assert [run["case"] for run in strictly_read(path)["runs"]] == ["metal", "spot", "varied"]
    assert main(["plot", str(path), "--data", str(data), "--plot", str(tmp_path / "again")]) == 0
    for name in ("quality", "again"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (tmp_path / f"{name}.svg").read_text()


def test_operations_are_timed_against_their_floor(data, tmp_path, monkeypatch):
    monkeypatch.setattr(ops, "_FRAMES", {"512": (32, 32)})
    path = tmp_path / "ops.json"
    options = ["--device", "cpu", "--data", str(data), "--bases", "16", "--view-size", "32", "--resolution", "32"]
    options += ["--light-resolution", "16", "--budget", "0.2", "--repeats", "2", "--json", str(path)]
    assert main(["ops", *options]) == 0
    result = strictly_read(path)
    timed = {row["name"]: row for row in result["operations"]}
    assert "prefilter 16 accurate forward + backward" in timed
    assert "prefilter 16 nvdiffrec forward" in timed
    assert {"iteration, light known", "iteration, light learned", "table, one view", "preview 512 spp 1"} <= set(timed)
    for row in timed.values():
        assert row["ms"] > 0
        assert row["floor_ms"] > 0
    assert result["copy_bandwidth_bytes_per_second"] > 1e8


def test_sizes_are_swept(data, tmp_path):
    path = tmp_path / "sizes.json"
    options = [
        "--device",
        "cpu",
        "--data",
        str(data),
        "--maps",
        "32",
        "64",
        "--shapes",
        "64x16",
        "--views",
        "2",
        "4",
        "--lights",
        "16",
    ]
    options += ["--subdivisions", "1", "--view-size", "32", "--resolution", "32", "--light-resolution", "16"]
    assert main(["sizes", *options, "--base-views", "2", "--json", str(path)]) == 0
    sweeps = strictly_read(path)["sweeps"]
    assert {name: [point["size"] for point in points] for name, points in sweeps.items()} == {
        "maps": [32, 64],
        "shapes": ["64x16"],
        "views": [2, 4],
        "triangles": [5856, 4 * 5856],
        "lights": [16],
    }
    assert all(point["peak_bytes"] > 0 for points in sweeps.values() for point in points)


def test_fits_at_once_are_timed_on_one_device_and_on_two(data, tmp_path):
    path = tmp_path / "devices.json"
    options = ["--devices", "cpu", "cpu,cpu", "--jobs", "2", "--resolution", "32", "--quality", "draft", "--views", "8"]
    assert main(["devices", *options, "--view-size", "32", "--data", str(data), "--json", str(path)]) == 0
    one, two = strictly_read(path)["lists"]
    assert (one["devices"], two["devices"]) == ("cpu", "cpu,cpu")
    assert one["times_sooner"] == 1.0
    for row in (one, two):
        assert row["seconds"] > row["median_fit_s"] > 0
        assert row["lowest_psnr_db"] > 10
    assert main(["devices", "--devices", "gpu", "--data", str(data)]) == 2


def test_frames_of_a_backend_are_timed(data, tmp_path, monkeypatch):
    monkeypatch.setitem(preview.SIZES, "512", (48, 64))
    path = tmp_path / "preview.json"
    options = ["--device", "cpu", "--size", "512", "--frames", "2", "--budget", "1", "--data", str(data)]
    assert main(["preview", *options, "--json", str(path)]) == 0
    result = strictly_read(path)
    assert result["size"] == [48, 64]
    assert {row["name"] for row in result["frames"]} == set(preview.KINDS)
    for row in result["frames"]:
        assert row["total_ms"] > row["render_ms"] > 0
        assert row["mib"] > 0.001
        assert row["mb_per_second"] > 0


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        (["preview", "--frames", "0"], "--frames is 0"),
        (["preview", "--data", "/nowhere"], "/nowhere/spot/spot.obj"),
        (["fit", "--data", "/nowhere"], "/nowhere/spot/spot.obj"),
        (["fit", "--views", "0"], "--views is 0"),
        (["fit", "--set", "nonsense=1"], "no 'nonsense'"),
        (["fit", "--set", "iterations=many"], "'iterations=many'"),
        (["fit", "--json", "/nowhere/fit.json"], "/nowhere/fit.json cannot be written"),
        (["fit", "--device", "cuda:99"], "cuda:99"),
        (["ops", "--bases", "4"], "--bases holds 4"),
        (["sizes", "--maps", "0"], "--maps holds 0"),
        (["sizes", "--shapes", "64"], "--shapes holds 64"),
        (["plot", "/nowhere/fit.json", "--plot", "plot"], "/nowhere/fit.json cannot be read"),
    ],
)
def test_errors_name_their_cause(capsys, arguments, cause):
    assert main(arguments) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert cause in message


def test_a_level_is_reached_at_the_first_snapshot_at_or_above_it():
    history = [
        {"iteration": 10, "seconds": 1.0, "psnr_db": 29.9},
        {"iteration": 20, "seconds": 2.0, "psnr_db": 35.0},
        {"iteration": 30, "seconds": 3.0, "psnr_db": 34.0},
        {"iteration": 40, "seconds": 4.0, "psnr_db": 41.0},
    ]
    assert seconds_to(history, 41.23) == {"30": 2.0, "35": 2.0, "40": 4.0, "anchor": None}
    assert set(seconds_to([], 41.23).values()) == {None}


def test_the_best_scale_takes_away_a_tint_and_nothing_else(case):
    known = case.maps.texels[..., KD]
    tinted = case.maps.texels.clone()
    tinted[..., KD] = known * torch.tensor([0.5, 0.8, 0.9])
    plain, scaled = kd_psnrs(case, MaterialMaps(tinted))
    assert plain < 25
    assert scaled > 100
    generator = torch.Generator().manual_seed(0)
    one, other = torch.rand(2, 500, 3, generator=generator)
    best = (best_scaled(one, other) - other).square().mean()
    for factor in (0.98, 1.02):
        assert (best_scaled(one, other) * factor - other).square().mean() > best


def test_the_known_maps_under_the_known_light_are_perfect_and_others_are_not(case):
    judge = HeldOut(case, 48)
    assert min(judge.psnr_db(case.maps, case.light.base.detach())) > 100
    assert max(judge.psnr_db(MaterialMaps(case.maps.texels * 0.8), case.light.base.detach())) < 40


def test_the_learning_rate_of_nobody_is_touched_by_changing_the_iterations():
    plan = plan_for(512, "nvdiffrec", True)
    other = plan_for(512, "nvdiffrec", True, ["iterations=7", "fit_normal=false"])
    assert (other.iterations, other.fit_normal) == (7, False)
    assert other.learning_rate == plan.learning_rate


def test_snapshots_are_further_apart_up_to_a_share_of_the_fit():
    iterations = list(takewhile(lambda iteration: iteration <= 1000, snapshot_iterations(1000)))
    steps = [later - earlier for earlier, later in pairwise(iterations)]
    assert iterations[0] == 10
    assert steps == sorted(steps)
    assert steps[-1] == 40
    assert len(iterations) < 60


def test_cutting_triangles_keeps_the_surface(case):
    fine = subdivided(case.mesh)
    assert len(fine.triangles) == 4 * len(case.mesh.triangles)

    def area(mesh):
        a, b, c = mesh.position[mesh.triangles].unbind(1)
        return torch.linalg.cross(b - a, c - a).norm(dim=-1).sum()

    assert float(area(fine)) == pytest.approx(float(area(case.mesh)), rel=1e-5)
    cosine = (fine.geometric_normal * case.mesh.geometric_normal.repeat(4, 1)).sum(-1)
    assert float(cosine.min()) > 0.99


def test_training_cameras_look_at_the_mesh_from_three_units_away():
    for kind in ("spread", "random"):
        for camera in training_cameras(5, kind, seed=1):
            assert float(camera.position.norm()) == pytest.approx(3, abs=0.5)


def test_growth_is_the_exponent_of_the_worst_step():
    points = [
        {"size": n, "input": n, "seconds": {"linear": n * 1.0, "square": n * n * 1.0, "short": 1e-6}} for n in (1, 2, 4)
    ]
    found = growth([*points, {"size": 8, "input": 8, "skipped": "out of memory"}])
    assert found["linear"] == pytest.approx(1)
    assert found["square"] == pytest.approx(2)
    assert found["short"] is None


def test_the_peak_is_that_since_it_was_reset():
    device = torch.device("cpu")
    reset_peak(device)
    before = peak_bytes(device)
    size = 1 << 26
    with mmap.mmap(-1, size) as block:
        block.write(b"1" * size)
        assert peak_bytes(device) - before > 0.9 * size


def test_records_hold_nothing_that_is_not_json():
    assert rounded({"a": [math.inf, float("nan"), 1.23456789], 1: (None, True)}) == {
        "a": [None, None, 1.234568],
        "1": [None, True],
    }


def test_a_plot_without_matplotlib_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(Exception, match=r"pbrfit\[benchmarks\]"):
        plot_quality([], {}, tmp_path / "plot")


def test_kernels_are_profiled_on_a_gpu_only(capsys):
    assert main(["kernels", "--device", "cpu"]) == 2
    assert "no kernels to profile" in capsys.readouterr().err


@pytest.mark.cuda
def test_the_kernels_of_an_iteration(tmp_path, data):
    record = tmp_path / "kernels.json"
    assert (
        main(["kernels", "--device", "cuda", "--resolution", "64", "--light-resolution", "32", "--json", str(record)])
        == 0
    )
    known, learned = json.loads(record.read_text())["iterations"]
    assert sum(kernel["us"] for kernel in known["kernels"]) < sum(kernel["us"] for kernel in learned["kernels"])
    assert "fused_samples" in {kernel["kernel"] for kernel in known["kernels"]}
