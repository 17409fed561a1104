"""Several sets of maps in one job: each is fitted to its own triangles, under one light."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.fit_scenes import (
    BALL_COLORS,
    ENVIRONMENT,
    ball_dataset,
    checked_maps,
    job_inputs,
    two_balls,
)
from support.shapes import joined, plane, sphere, wire_arrays

from backend.fit.baked_start import BakedStart
from backend.fit.dilation import uv_charts
from backend.fit.sample_table import concatenate, sample_view
from backend.job.atlas import atlas_for
from backend.job.map_sets import map_sets
from backend.job.model import FitInputs, JobError
from backend.job.run import run_fit_job
from backend.protocol.settings import FitSettings
from backend.protocol.unseen import unseen_mask
from render.core.image_io import read_image
from render.geometry.mesh import Mesh
from render.material.material import ALPHA, KD, MaterialMaps, initial_maps
from render.texture.fixed_lookup import lookup, pyramid, trilinear_taps
from render.texture.map_size import map_size

SETTINGS = FitSettings(resolution=32, device="cpu", quality="draft", self_shadowing=False)


def run(inputs: FitInputs, settings: FitSettings = SETTINGS, report=lambda progress: None):
    return run_fit_job(inputs, settings, report, lambda: False)


def image(result, name: str, folder) -> np.ndarray:
    path = folder / name.replace("/", "_")
    path.write_bytes(result.files[name])
    return read_image(path)


@pytest.fixture(scope="module")
def two_ball_result():
    said = []
    return run(two_balls(), report=said.append), said


def test_each_set_gets_its_own_maps(two_ball_result, tmp_path):
    result, _ = two_ball_result
    assert set(result.files) == {f"{number}/{name}.png" for number in (0, 1) for name in ("kd", "orm", "normal")}
    for number, color in enumerate(BALL_COLORS):
        kd = np.median(image(result, f"{number}/kd.png", tmp_path)[8:24], axis=(0, 1))
        assert kd.argmax() == np.argmax(color)
        assert kd.max() > kd[1] + 50
    assert result.metrics["fit_heldout_psnr_db"] > 25


def test_what_is_measured_of_each_set_adds_up(two_ball_result):
    metrics = two_ball_result[0].metrics
    assert [part["samples"] > 500 for part in metrics["sets"]] == [True, True]
    assert metrics["samples"] == sum(part["samples"] for part in metrics["sets"])
    assert metrics["iterations"] == sum(part["iterations"] for part in metrics["sets"])
    assert metrics["resumed_at_iteration"] == 0
    assert all(0 <= part["texels_unseen"] < 0.3 for part in metrics["sets"])
    for part in metrics["sets"]:  # a mask has all texels of these small maps
        mask = unseen_mask(part["unseen"])
        missed = 0 if mask is None else int(mask.sum())
        covered = int(uv_charts(sphere(16), 32).covered.sum())
        assert missed / covered == pytest.approx(part["texels_unseen"], abs=0.02)


def test_one_bar_runs_over_all_sets(two_ball_result):
    fitting = [progress for progress in two_ball_result[1] if progress.phase == "fitting"]
    fractions = [progress.fraction for progress in fitting]
    assert fractions == sorted(fractions)
    assert fractions[-1] <= 1
    iterations = [progress.iteration for progress in fitting]
    assert iterations == sorted(set(iterations))
    assert "set 1 of 2" in fitting[0].message
    assert "set 2 of 2" in fitting[-1].message


def test_triangles_of_no_set_block_sight_but_are_not_fitted():
    blocked, free = two_balls(blocked=True), two_balls(blocked=True)
    kept = free.arrays["triangle_set"] >= 0
    for name in ("triangles", "triangle_material", "triangle_set"):
        free.arrays[name] = free.arrays[name][kept]
    found, without = run(blocked).metrics, run(free).metrics
    assert len(found["sets"]) == 2
    assert found["samples"] < 0.95 * without["samples"]
    assert found["fit_heldout_psnr_db"] > 25


def test_triangles_of_no_set_shadow(tmp_path):
    result = run(two_balls(blocked=True, views=4), replace(SETTINGS, self_shadowing=True))
    openness = image(result, "0/orm.png", tmp_path)[..., 0] / 255
    assert openness[2:6].mean() > 0.9  # the upper side
    assert openness[-6:-2].mean() < 0.6  # the side above the plane


def test_a_learned_light_is_one_for_all_sets():
    inputs = two_balls()
    del inputs.arrays["environment"]
    result = run(inputs, replace(SETTINGS, learn_light=True))
    assert [name for name in result.files if "environment" in name] == ["environment.exr"]
    assert result.metrics["fit_heldout_psnr_db"] > 28  # 21 where the larger set alone tells of the light


def test_what_is_known_of_the_sets_tells_the_colors_of_a_learned_light(tmp_path):
    """Without it a brighter light and darker maps show the same."""
    starts = {}
    for number, color in enumerate(BALL_COLORS):
        texels = np.ones((32, 32, 9), np.float16)
        texels[..., :8] = [*color, 0.5, 0.0, 0.0, 0.0, 1.0]
        starts |= {f"start_{number}": texels, f"surety_{number}": np.ones((32, 32, 2), np.float16)}
    off = []
    for known in (starts, {}):
        inputs = two_balls()
        del inputs.arrays["environment"]
        inputs.arrays.update(known)
        result = run(inputs, replace(SETTINGS, learn_light=True))
        colors = [image(result, f"{number}/kd.png", tmp_path)[8:24].astype(float) / 255 for number in (0, 1)]
        linear = [((found + 0.055) / 1.055) ** 2.4 for found in colors]
        off.append(np.mean([np.abs(a - color).mean() for a, color in zip(linear, BALL_COLORS, strict=True)]))
        assert result.metrics["fit_heldout_psnr_db"] > 28
    assert off[0] < 0.03
    assert off[0] < 0.3 * off[1]


def test_the_light_is_learned_with_all_sets_together_while_all_are_shown():
    inputs = two_balls(views=4)
    del inputs.arrays["environment"]
    shown, said = [], []
    inputs.control.show = lambda index, images: shown.append(index)
    run(inputs, replace(SETTINGS, learn_light=True, resolution=16), said.append)
    together = [progress for progress in said if "to learn the light" in progress.message]
    alone = [progress for progress in said if "of set" in progress.message]
    assert said.index(together[-1]) < said.index(alone[0])
    assert 0.3 < together[-1].fraction < 0.8
    assert set(shown) == {0, 1}


def test_finish_while_the_light_is_learned_gives_all_sets_their_maps():
    inputs = two_balls()
    del inputs.arrays["environment"]

    def finish_soon(progress):
        if progress.iteration > 40:
            inputs.control.finish()

    result = run(inputs, replace(SETTINGS, learn_light=True, quality="high"), finish_soon)
    assert len(result.files) == 7
    assert [part["iterations"] for part in result.metrics["sets"]] == [10, 10]
    assert result.metrics["fit_heldout_psnr_db"] > 14


def test_a_tile_of_the_atlas_is_the_texture_of_its_set():
    mesh, triangle_set = half_and_half()
    sets = map_sets(wire_arrays(mesh) | {"triangle_set": triangle_set})
    dataset = ball_dataset(4, 32)
    view = next(dataset.views())
    table = sample_view(sets.mesh, dataset.cameras[0], torch.from_numpy(view.image), 0)
    atlas = atlas_for(2, 64)
    placed = atlas.table(sets, table)
    assert (atlas.grid, atlas.tile, len(placed)) == (2, (64, 64), len(table))
    own = [checked_maps(64), checked_maps(64)]
    own[1].texels[..., KD] = 1 - own[1].texels[..., KD]
    maps = initial_maps(atlas.resolution, alpha=False)
    for number in (0, 1):
        maps.texels[:64, 64 * number : 64 * number + 64] = own[number].texels
        torch.testing.assert_close(atlas.part(maps, number).texels, own[number].texels)
    known = {
        number: BakedStart(part.texels, torch.full_like(part.texels, 0.5)).at(32) for number, part in enumerate(own)
    }
    start = atlas_for(2, 32).start(known, torch.device("cpu"), alpha=False)
    for number in (0, 1):
        torch.testing.assert_close(
            atlas_for(2, 32).part(MaterialMaps(start.texels), number).texels, known[number].texels
        )
    assert (start.stiffness[:32] == 0.5).all()
    assert (start.stiffness[32:] == 0.0).all()
    assert start.lobes is None
    number = sets.vertex_set[table.corner[:, 0, 0].long()]
    inside = ((table.uv - table.uv.floor() - 0.5).abs() < 0.45).all(-1)[:, 0]
    read = [
        lookup_finest(one.texels, rows.uv[:, 0]) for one, rows in ((own[0], table), (own[1], table), (maps, placed))
    ]
    expected = torch.where((number == 0)[:, None], read[0], read[1])
    torch.testing.assert_close(read[2][inside], expected[inside], atol=1e-4, rtol=0)
    torch.testing.assert_close(placed.footprint * 2, table.footprint)


def lookup_finest(texels, uv):
    level = torch.zeros(len(uv))
    return lookup(pyramid(texels, 1), trilinear_taps(uv, level, texels.shape[0], 1))


@pytest.mark.parametrize(
    ("count", "resolution", "grid", "tile"),
    [(1, 512, 1, 512), (2, 2048, 2, 512), (5, 64, 4, 64), (256, 4096, 16, 64), (2, (2048, 512), 2, (1024, 256))],
)
def test_an_atlas_holds_every_set_and_is_no_larger_than_it_must_be(count, resolution, grid, tile):
    atlas = atlas_for(count, resolution)
    assert (atlas.grid, atlas.tile) == (grid, map_size(tile))


@pytest.mark.cuda
@pytest.mark.parametrize("learn_light", [False, True])
def test_several_sets_on_a_gpu_are_as_good(learn_light):
    settings = replace(SETTINGS, learn_light=learn_light, self_shadowing=True)
    found = [
        run(two_balls(), replace(settings, device=device)).metrics["fit_heldout_psnr_db"] for device in ("cpu", "cuda")
    ]
    assert found[1] > found[0] - 0.5


def test_one_set_that_is_named_is_as_one_that_is_not():
    dataset = ball_dataset(4, 32)
    plain = run(job_inputs(dataset))
    named = run(job_inputs(dataset, triangle_set=np.zeros(len(dataset.mesh.triangles), np.int32)))
    assert plain.files == named.files


def test_charts_smaller_than_the_maps_give_the_same_openness(monkeypatch, tmp_path):
    """As they are where maps are larger than is worth laying the mesh out in."""
    settings = replace(SETTINGS, resolution=64, self_shadowing=True)
    large = run(two_balls(blocked=True, views=4), settings)
    monkeypatch.setattr("backend.job.set_fits.LARGEST_CHARTS", 32)
    small = run(two_balls(blocked=True, views=4), settings)
    openness = [image(result, "0/orm.png", tmp_path)[..., 0].astype(float) for result in (large, small)]
    assert openness[0].shape == openness[1].shape == (64, 64)
    assert np.abs(openness[0] - openness[1]).mean() < 3
    unseen = [result.metrics["texels_unseen"] for result in (large, small)]
    assert abs(unseen[0] - unseen[1]) < 0.02
    assert large.files["0/kd.png"] == small.files["0/kd.png"]


@pytest.mark.parametrize("resolution", [32, (64, 32)])
def test_a_set_that_no_view_sees_gets_neutral_maps(tmp_path, resolution):
    inside = sphere(4, radius=0.3)
    dataset = ball_dataset(4, 32)
    mesh = joined(dataset.mesh, inside)
    triangle_set = np.repeat([0, 1], [len(dataset.mesh.triangles), len(inside.triangles)])
    inputs = FitInputs(wire_arrays(mesh, ENVIRONMENT) | {"triangle_set": triangle_set}, dataset.views(), 4)
    result = run(inputs, replace(SETTINGS, resolution=resolution))
    assert result.metrics["sets"][1]["samples"] == 0
    assert result.metrics["fitted_resolution"] == (32 if resolution == 32 else [64, 32])
    assert result.metrics["sets"][1]["texels_unseen"] == 1.0
    mask = unseen_mask(result.metrics["sets"][1]["unseen"])
    assert mask is not None
    assert (mask == uv_charts(inside, 32).covered.numpy()).mean() > (0.97 if resolution != 32 else 0.999999)
    assert image(result, "1/kd.png", tmp_path).shape == (32, 32 if resolution == 32 else 64, 3)


def half_and_half(rings: int = 8) -> tuple[Mesh, np.ndarray]:
    """A ball whose upper and lower halves are of two sets that share vertices."""
    mesh = sphere(rings)
    height = mesh.position[mesh.triangles][..., 1].mean(1)
    return mesh, (height > 0).numpy().astype(np.int32)


def test_vertices_of_two_sets_are_doubled_and_nothing_moves():
    mesh, triangle_set = half_and_half()
    sets = map_sets(wire_arrays(mesh) | {"triangle_set": triangle_set})
    shared = 2 * 8 + 1
    assert len(sets.mesh.position) == len(mesh.position) + shared
    torch.testing.assert_close(sets.mesh.position[sets.mesh.triangles], mesh.position[mesh.triangles])
    torch.testing.assert_close(sets.mesh.uv[sets.mesh.triangles], mesh.uv[mesh.triangles])
    assert (sets.vertex_set[sets.mesh.triangles] == sets.triangle_set[:, None]).all()
    assert [len(sets.part(number).triangles) for number in (0, 1)] == np.bincount(triangle_set).tolist()


def test_every_row_belongs_to_the_set_of_its_triangle():
    mesh, triangle_set = half_and_half()
    sets = map_sets(wire_arrays(mesh) | {"triangle_set": triangle_set})
    dataset = ball_dataset(4, 32)
    table = concatenate([
        sample_view(sets.mesh, dataset.cameras[view.index], torch.from_numpy(view.image), view.index)
        for view in dataset.views()
    ])  # fmt: skip
    upper = sets.rows(table, 1)
    assert (upper.position[:, 0, 1] > -1e-4).all()
    assert len(upper) == int((table.position[:, 0, 1] > 0).sum())
    assert len(upper) + len(sets.rows(table, 0)) == len(table)
    assert sets.row_counts(table) == [len(table) - len(upper), len(upper)]


def layered_rows(alpha: float):
    """Rows of a ball (set 0) that stands before a wall (set 1), in layers; reference alpha of the ball before nothing."""
    mesh = joined(sphere(12, 0.5), plane(1.0, height=-1.5, up=1.0))
    balls = len(sphere(12, 0.5).triangles)
    sets = map_sets(wire_arrays(mesh) | {"triangle_set": np.repeat([0, 1], [balls, len(mesh.triangles) - balls])})
    dataset = ball_dataset(8, 48)
    tables = []
    for camera in dataset.cameras:
        picture = torch.ones(48, 48, 4)
        rows = sample_view(sets.mesh, camera, picture, 0, layers=4)
        alone = sets.vertex_set[rows.corner[..., 0].long()] == 0
        before_nothing = (alone | ~rows.valid).all(1)
        tables.append(replace(rows, alpha=torch.where(before_nothing, alpha, 1.0)))
    return sets, concatenate(tables)


def test_what_lies_behind_an_opaque_set_is_cut_off():
    sets, table = layered_rows(alpha=1.0)
    rows = sets.rows(table, 0)
    assert sets.row_counts(table) == [len(rows), len(sets.rows(table, 1))]
    assert len(rows) == int((sets.vertex_set[table.corner[:, 0, 0].long()] == 0).sum())
    assert (sets.vertex_set[rows.corner[..., 0].long()][rows.valid] == 0).all()


def test_what_lies_behind_a_set_that_lets_light_through_tells_nothing_of_it():
    sets, table = layered_rows(alpha=0.5)
    rows = sets.rows(table, 0)
    assert 0 < len(rows) < int((sets.vertex_set[table.corner[:, 0, 0].long()] == 0).sum())
    assert (rows.alpha == 0.5).all()


def test_alpha_is_fitted_in_each_set():
    inputs = two_balls(views=4)
    result = run(inputs, replace(SETTINGS, maps=("kd", "ks", "alpha"), resolution=16))
    assert result.metrics["fit_heldout_psnr_db"] > 20
    assert ALPHA.stop == 9


@pytest.mark.parametrize(
    ("triangle_set", "cause"),
    [
        (np.zeros(3, np.int32), "where whole numbers"),
        (np.zeros((8, 1), np.int32), "where whole numbers"),
        (None, "where whole numbers"),
        (np.full(8, -1, np.int32), "from 0 without gaps"),
        (np.full(8, 1, np.int32), "from 0 without gaps"),
        (np.array([0, 2] * 4, np.int32), "from 0 without gaps"),
        (np.array([0, -2] * 4, np.int32), "from 0 without gaps"),
        (np.arange(8, dtype=np.uint8), None),
    ],
)
def test_sets_that_make_no_sense_are_refused(triangle_set, cause):
    arrays = wire_arrays(plane(cells=2))
    arrays["triangle_set"] = np.zeros(8, np.float32) if triangle_set is None else triangle_set
    if cause is None:
        assert map_sets(arrays).count == 8
        return
    with pytest.raises(JobError, match=cause) as caught:
        map_sets(arrays)
    assert caught.value.code == "mesh"


def test_a_broken_mesh_with_sets_is_refused_like_one_without():
    arrays = wire_arrays(plane(cells=2)) | {"triangle_set": np.array([0, 1] * 4)}
    arrays["triangles"] = arrays["triangles"] + 1000
    with pytest.raises(JobError, match="beyond its vertices"):
        map_sets(arrays)
