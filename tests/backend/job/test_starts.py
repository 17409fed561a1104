"""Jobs that know the materials: what the client sends, what becomes of it, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.fit_scenes import ENVIRONMENT, ball_dataset, checked_maps, job_inputs

from backend.job.model import JobError
from backend.job.run import run_fit_job
from backend.protocol.settings import FitSettings
from render.core.image_io import read_image

SIZE = 64
SETTINGS = FitSettings(resolution=SIZE, device="cpu", quality="draft", self_shadowing=True)


@pytest.fixture(scope="module")
def dataset():
    return ball_dataset(8, 40)


def start_arrays(base: float | None = None) -> dict[str, np.ndarray]:
    """The truth of the dataset, or one color in place of it; surely known."""
    texels = np.ones((SIZE, SIZE, 9), np.float16)
    texels[..., :8] = checked_maps(SIZE).texels.numpy()
    if base is not None:
        texels[..., :3] = base
    return {"start_0": texels, "surety_0": np.ones((SIZE, SIZE, 2), np.float16)}


def run(inputs, tmp_path, settings: FitSettings = SETTINGS) -> tuple[np.ndarray, dict]:
    result = run_fit_job(inputs, settings, lambda progress: None, lambda: False)
    (tmp_path / "kd.png").write_bytes(result.files["kd.png"])
    return read_image(tmp_path / "kd.png"), result.metrics


def with_bake(inputs, add: float = 0.0):
    """The views, each with the same image as that of the bake, and something added to both."""
    views = []
    for view in inputs.views:
        image = np.array(view.image, np.float32)
        image[..., :3] += add * image[..., 3:]
        views.append(replace(view, image=np.concatenate([image, image], axis=-1)))
    return replace(inputs, views=iter(views))


def encoded(texels: np.ndarray) -> np.ndarray:
    linear = texels[..., :3].astype(np.float64)
    code = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(code * 255)


def test_what_views_of_original_and_bake_agree_in_stays_exactly_as_it_was_known(dataset, tmp_path) -> None:
    """Though all references are much brighter than any material explains. Also what no view shows."""
    arrays = start_arrays()
    found, metrics = run(with_bake(job_inputs(dataset, **arrays), add=0.5), tmp_path)
    assert np.abs(found.astype(float) - encoded(arrays["start_0"])).max() <= 1
    assert metrics["fitted_resolution"] == SIZE


def test_a_flat_color_stays_flat(dataset, tmp_path) -> None:
    """Of a material of one color, in noisy references: the standard deviation over the map is less than 1/255."""
    arrays = start_arrays(base=0.4)
    generator = np.random.default_rng(0)
    inputs = job_inputs(dataset, **arrays)
    views = []
    for view in inputs.views:
        image = np.array(view.image, np.float32)
        image[..., :3] = np.maximum(image[..., :3] + generator.normal(0, 0.1, image[..., :3].shape), 0)
        views.append(replace(view, image=np.concatenate([image, image], axis=-1)))
    found, _ = run(replace(inputs, views=iter(views)), tmp_path)
    assert found.reshape(-1, 3).std(axis=0).max() < 1


def test_views_in_another_light_are_told_apart(dataset, tmp_path) -> None:
    """Half of the views are in a light of a third of the strength; a job that took them for one would darken the maps."""
    third = {"environment_1": (ENVIRONMENT / 3).astype(np.float32)}
    inputs = job_inputs(dataset, **third)
    views = []
    for view in inputs.views:
        light = view.index % 2 if not view.held_out else 0
        image = np.array(view.image, np.float32)
        image[..., :3] /= 3 if light else 1
        views.append(replace(view, image=image, light=light))
    _, several = run(replace(inputs, views=iter(views)), tmp_path)
    _, alone = run(replace(inputs, views=iter([replace(view, light=0) for view in views])), tmp_path)
    assert several["fit_heldout_psnr_db"] > 24 > alone["fit_heldout_psnr_db"]


def test_a_glow_that_is_known_is_not_taken_for_color(dataset, tmp_path) -> None:
    """The views are brighter than the base alone by what it emits; without being told so, a fit makes it brighter."""
    start = start_arrays()
    start["surety_0"] *= 0
    glow = np.zeros((SIZE, SIZE, 9), np.float16)
    glow[..., :3] = 0.2
    views = []
    for view in job_inputs(dataset).views:
        image = np.array(view.image, np.float32)
        image[..., :3] += 0.2 * image[..., 3:]
        views.append(replace(view, image=image))
    told, untold = (
        run(replace(job_inputs(dataset, **start, **more), views=iter(views)), tmp_path)[0].astype(float)
        for more in ({"lobes_0": glow}, {})
    )
    off = [np.abs(found - encoded(start["start_0"]))[8:56].mean() for found in (told, untold)]
    assert off[0] < 2.0
    assert off[1] > 10.0


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("start_0", np.ones((SIZE, SIZE, 9), np.float32)),
        ("start_0", np.ones((SIZE // 2, SIZE // 2, 9), np.float16)),
        ("start_0", np.full((SIZE, SIZE, 9), np.nan, np.float16)),
        ("surety_0", np.ones((SIZE, SIZE), np.float16)),
        ("lobes_0", np.ones((SIZE, SIZE, 3), np.float16)),
    ],
)
def test_a_start_of_another_kind_is_refused_with_its_cause(dataset, tmp_path, name: str, array: np.ndarray) -> None:
    with pytest.raises(JobError, match=name) as error:
        run(job_inputs(dataset, **start_arrays() | {name: array}), tmp_path)
    assert error.value.code == "start"


def test_a_view_in_a_light_that_is_missing_is_refused(dataset, tmp_path) -> None:
    inputs = job_inputs(dataset)
    views = iter([replace(view, light=1) for view in inputs.views])
    with pytest.raises(JobError, match="light"):
        run(replace(inputs, views=views), tmp_path)
