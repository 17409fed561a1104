"""Jobs whose maps are not square: they are found as square ones are, and each texel lies where it belongs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.fit_scenes import BALL_COLORS, ball_dataset, checked_maps, job_inputs, two_balls

from backend.job.model import FitInputs, FitResult, JobError
from backend.job.run import run_fit_job
from backend.protocol.settings import FitSettings
from render.core.color import srgb_to_linear
from render.core.image_io import read_image
from render.material.material import KD

WIDTH, HEIGHT = 64, 32
SETTINGS = FitSettings(resolution=(WIDTH, HEIGHT), device="cpu", quality="draft", self_shadowing=False)


@pytest.fixture(scope="module")
def dataset():
    return ball_dataset(10, 64)


def run(inputs: FitInputs, settings: FitSettings = SETTINGS) -> FitResult:
    return run_fit_job(inputs, settings, lambda _progress: None, lambda: False)


def image(result: FitResult, name: str, folder) -> np.ndarray:
    path = folder / name.replace("/", "_")
    path.write_bytes(result.files[name])
    return read_image(path)


def color_error(result: FitResult, folder) -> float:
    """The mean distance of the base color from the truth, which a formula tells, away from the poles of the ball."""
    found = srgb_to_linear(torch.from_numpy(image(result, "kd.png", folder).astype(np.float32) / 255))
    truth = checked_maps(found.shape[:2]).texels[..., KD]
    rows = slice(found.shape[0] // 4, 3 * found.shape[0] // 4)
    return float((found - truth)[rows].abs().mean())


@pytest.mark.parametrize("size", [(64, 32), (32, 64), (128, 32)])
def test_a_fit_finds_a_texture_of_its_shape(tmp_path, size):
    """In a short fit; with 1000 iterations the error of the color is 0.002 to 0.003, as that of a square texture."""
    found = run(job_inputs(ball_dataset(10, 64, checked_maps(size[::-1]))), replace(SETTINGS, resolution=size))
    for name in ("kd.png", "orm.png", "normal.png"):
        assert image(found, name, tmp_path).shape[:2] == size[::-1]
    assert color_error(found, tmp_path) < 0.03
    assert found.metrics["fit_heldout_psnr_db"] > 32
    assert found.metrics["fitted_resolution"] == list(size)


def starts(value: float | None = None) -> dict[str, np.ndarray]:
    texels = np.ones((HEIGHT, WIDTH, 9), np.float16)
    texels[..., :8] = checked_maps((HEIGHT, WIDTH)).texels.numpy()
    if value is not None:
        texels[..., :3] = value
    return {"start_0": texels, "surety_0": np.ones((HEIGHT, WIDTH, 2), np.float16)}


def test_what_is_known_and_agrees_with_its_bake_stays_texel_by_texel(dataset, tmp_path):
    arrays = starts()
    inputs = job_inputs(dataset, **arrays)
    views = [replace(view, image=np.concatenate([view.image, view.image], axis=-1)) for view in inputs.views]
    found = image(run(replace(inputs, views=iter(views))), "kd.png", tmp_path)
    linear = arrays["start_0"][..., :3].astype(np.float64)
    code = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.abs(found - np.round(code * 255)).max() <= 1


def test_a_start_of_the_other_shape_is_refused_with_its_cause(dataset):
    turned = {name: np.ascontiguousarray(array.transpose(1, 0, 2)) for name, array in starts().items()}
    with pytest.raises(JobError) as caught:
        run(job_inputs(dataset, **turned))
    assert caught.value.code == "start"
    assert f"[{HEIGHT}, {WIDTH}, 9]" in str(caught.value)


@pytest.mark.parametrize("known", [False, True])
def test_two_sets_learn_their_light_in_an_atlas_of_their_shape(tmp_path, known):
    inputs = two_balls(views=4)
    del inputs.arrays["environment"]
    if known:
        for number, array in starts(0.4).items():
            inputs.arrays[number] = array
    result = run(inputs, replace(SETTINGS, learn_light=True, self_shadowing=True))
    for number, color in enumerate(BALL_COLORS):
        kd = image(result, f"{number}/kd.png", tmp_path)
        assert kd.shape == (HEIGHT, WIDTH, 3)
        assert np.median(kd[8:24], axis=(0, 1)).argmax() == np.argmax(color)


@pytest.mark.cuda
@pytest.mark.parametrize("learn_light", [False, True])
@pytest.mark.parametrize("maps", [("kd", "ks", "normal"), ("kd", "ks", "normal", "alpha")])
def test_a_fit_on_a_gpu_is_as_good(dataset, maps, learn_light):
    settings = replace(SETTINGS, maps=maps, learn_light=learn_light)
    found = [
        run(job_inputs(dataset), replace(settings, device=device)).metrics["fit_heldout_psnr_db"]
        for device in ("cpu", "cuda")
    ]
    assert found[1] > found[0] - 0.5
