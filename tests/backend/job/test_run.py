"""A whole job: what it leaves, what it says, how it fails and how it stops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.fit_scenes import ENVIRONMENT, ball_dataset, job_inputs
from support.shapes import inside_out, partly_turned

from backend.job.device import resolve_device
from backend.job.model import FitInputs, JobCancelled, JobError
from backend.job.plan import telling_resolution
from backend.job.run import run_fit_job
from backend.protocol.settings import FitSettings
from render.core.image_io import read_image
from render.geometry.mesh import Mesh

SETTINGS = FitSettings(resolution=32, device="cpu", quality="draft", self_shadowing=False)


@pytest.fixture(scope="module")
def dataset():
    return ball_dataset(8, 48)


def never() -> bool:
    return False


def run(inputs: FitInputs, settings: FitSettings = SETTINGS, report=lambda progress: None, cancelled=never):
    return run_fit_job(inputs, settings, report, cancelled)


def test_a_job_leaves_its_maps_and_what_it_measured(dataset, tmp_path):
    said = []
    result = run(job_inputs(dataset), replace(SETTINGS, self_shadowing=True), said.append)
    assert set(result.files) == {"kd.png", "orm.png", "normal.png"}
    for name, content in result.files.items():
        (tmp_path / name).write_bytes(content)
        assert read_image(tmp_path / name).shape == (32, 32, 3)
    # A ball shadows nothing of itself.
    assert read_image(tmp_path / "orm.png")[8:24, :, 0].min() > 240
    metrics = result.metrics
    assert metrics["fit_heldout_psnr_db"] > 24
    assert len(metrics["fit_heldout_psnr_db_list"]) == 1
    assert metrics["iterations"] > 50
    assert 0 <= metrics["texels_unseen"] < 0.2
    assert metrics["seconds"]["total"] >= metrics["seconds"]["fit"] > 0
    assert metrics["versions"]["torch"] == torch.__version__
    phases = list(dict.fromkeys(progress.phase for progress in said))
    assert phases == ["preparing", "references", "table", "fitting", "baking"]
    for phase in phases:
        fractions = [progress.fraction for progress in said if progress.phase == phase]
        assert fractions == sorted(fractions)
        assert 0 <= fractions[0] <= fractions[-1] <= 1


def turned_in_part(mesh: Mesh) -> Mesh:
    return partly_turned(mesh, mesh.position[mesh.triangles].mean(1)[:, 0] > 0.1)


def fitted(dataset, folder) -> tuple[np.ndarray, np.ndarray, float]:
    """The base color, 0 to 255, and the openness, 0 to 1, away from the poles of a fitted ball, and the held-out PSNR."""
    result = run(job_inputs(dataset), replace(SETTINGS, self_shadowing=True))
    for file in ("kd.png", "orm.png"):
        (folder / file).write_bytes(result.files[file])
    kd, orm = (read_image(folder / file)[8:24].astype(float) for file in ("kd.png", "orm.png"))
    return kd, orm[..., 0] / 255, result.metrics["fit_heldout_psnr_db"]


@pytest.fixture(scope="module")
def plain_ball(dataset, tmp_path_factory):
    return fitted(dataset, tmp_path_factory.mktemp("plain"))


@pytest.mark.parametrize("turn", [inside_out, turned_in_part], ids=["all faces", "some faces"])
def test_a_ball_is_fitted_alike_with_faces_turned_around(dataset, plain_ball, turn, tmp_path):
    kd, openness, psnr = fitted(replace(dataset, mesh=turn(dataset.mesh)), tmp_path)
    assert psnr > plain_ball[2] - 2
    assert np.abs(kd - plain_ball[0]).mean() < 5
    assert openness.min() > 0.8
    assert openness.mean() > 0.97


@pytest.mark.cuda
@pytest.mark.parametrize("maps", [("kd", "ks", "normal"), ("kd", "ks", "normal", "alpha")])
@pytest.mark.parametrize("self_shadowing", [False, True])
def test_a_job_on_a_gpu_is_as_good(dataset, maps, self_shadowing):
    settings = replace(SETTINGS, maps=maps, self_shadowing=self_shadowing)
    found = [
        run(job_inputs(dataset), replace(settings, device=device)).metrics["fit_heldout_psnr_db"]
        for device in ("cpu", "cuda")
    ]
    assert found[1] > found[0] - 0.5


def test_a_learned_light_comes_back_as_an_environment(dataset, tmp_path):
    inputs = job_inputs(dataset)
    del inputs.arrays["environment"]
    calls = []
    result = run(inputs, replace(SETTINGS, learn_light=True, resolution=16), calls.append)
    (tmp_path / "environment.exr").write_bytes(result.files["environment.exr"])
    environment = read_image(tmp_path / "environment.exr")
    assert environment.shape == (256, 512, 3)
    assert environment.min() >= 0
    assert environment.std() > 0.01


def test_a_light_is_learned_beside_a_known_one(dataset, tmp_path):
    """Every other view is in a blue light that the job does not know; the light that comes back is as blue."""
    tint = np.array([0.3, 0.6, 1.0], np.float32)
    inputs = job_inputs(dataset, environment_1=ENVIRONMENT)
    del inputs.arrays["environment"]
    views = []
    for view in inputs.views:
        image = np.array(view.image, np.float32)
        image[..., :3] *= 1.0 if view.index % 2 else tint
        views.append(replace(view, image=image, light=view.index % 2))
    result = run(replace(inputs, views=iter(views)), replace(SETTINGS, learn_light=True))
    (tmp_path / "environment.exr").write_bytes(result.files["environment.exr"])
    learned = read_image(tmp_path / "environment.exr").mean(axis=(0, 1))
    blue = (tint * ENVIRONMENT).mean(axis=(0, 1))
    np.testing.assert_allclose(learned / learned[2], blue / blue[2], atol=0.12)


def without_environment(inputs: FitInputs) -> None:
    del inputs.arrays["environment"]


def with_broken_environment(inputs: FitInputs) -> None:
    inputs.arrays["environment"] = ENVIRONMENT.copy()
    inputs.arrays["environment"][3, 4] = np.inf


def with_bad_mesh(inputs: FitInputs) -> None:
    inputs.arrays["triangles"] = inputs.arrays["triangles"] + 10**6


def with_object_out_of_sight(inputs: FitInputs) -> None:
    inputs.arrays["vertex_position"] = inputs.arrays["vertex_position"] + np.float32([0, 5000, 0])


def with_transparent_references(inputs: FitInputs) -> None:
    inputs.views = iter([replace(view, image=np.zeros_like(view.image)) for view in inputs.views])


def with_references_that_are_not_finite(inputs: FitInputs) -> None:
    inputs.views = iter([replace(view, image=np.full_like(view.image, np.nan)) for view in inputs.views])


@pytest.mark.parametrize(
    ("change", "code", "cause"),
    [
        (without_environment, "environment", "no environment image"),
        (with_broken_environment, "environment", "not finite"),
        (with_bad_mesh, "mesh", "indices beyond its vertices"),
        (with_object_out_of_sight, "references", "No reference view shows"),
        (with_transparent_references, "references", "No reference view shows"),
        (with_references_that_are_not_finite, "references", "Reference 0 is not a finite"),
    ],
)
def test_a_job_that_cannot_be_done_says_why_and_what_helps(dataset, change, code, cause):
    inputs = job_inputs(dataset)
    change(inputs)
    with pytest.raises(JobError) as caught:
        run(inputs)
    assert caught.value.code == code
    assert cause in caught.value.cause
    assert caught.value.cure.endswith(".")


@pytest.mark.parametrize("phase", ["preparing", "references", "table", "fitting"])
def test_cancelling_stops_the_job_in_every_phase(dataset, phase):
    reached, later = [], []

    def report(progress) -> None:
        (later if reached else []).append(progress)
        if progress.phase == phase:
            reached.append(progress)

    with pytest.raises(JobCancelled):
        run(job_inputs(dataset), replace(SETTINGS, self_shadowing=True), report, lambda: bool(reached))
    assert len(reached) == 1
    assert later == []


def test_a_device_that_is_not_there_is_refused():
    assert resolve_device("cpu") == torch.device("cpu")
    with pytest.raises(JobError, match="cuda:99") as caught:
        resolve_device("cuda:99")
    assert caught.value.code == "device"
    assert "pbrfit doctor" in caught.value.cure


@pytest.mark.parametrize(("pixels", "expected"), [(8.0, 16), (64.0, 128), (1000.0, 1024), (1e6, 1024)])
def test_maps_are_fitted_no_finer_than_two_texels_a_pixel(pixels, expected):
    assert telling_resolution(1024, torch.full((5,), 1 / pixels)) == (expected, expected)


@pytest.mark.parametrize(
    ("pixels", "expected"), [(8.0, (16, 64)), (64.0, (64, 256)), (1000.0, (512, 2048)), (2000.0, (1024, 4096))]
)
def test_of_maps_that_are_not_square_the_number_of_texels_counts(pixels, expected):
    assert telling_resolution((1024, 4096), torch.full((5,), 1 / pixels)) == expected
