"""Datasets of known material: their views, and Spot fitted to them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support.fit_scenes import ball_dataset, tables

from backend.fit.dilation import finish_maps, seen_texels
from backend.fit.fit_plan import FitPlan
from backend.fit.table_fit import TableFit
from backend.job.synthetic_references import dataset_around, dataset_at_random
from render.core.color import psnr, srgb_to_linear
from render.core.image_io import read_image
from render.files.obj import load_obj
from render.images.render_mesh import render_mesh
from render.light.environment import load_env
from render.material.material import KD, METALLIC, ROUGHNESS, initial_maps


def test_every_eighth_view_is_held_out_and_all_show_the_object():
    dataset = ball_dataset(16, 24)
    views = list(dataset.views())
    assert [view.index for view in views] == list(range(16))
    assert [view.index for view in views if view.held_out] == [4, 12]
    for view in views:
        assert view.image.shape == (24, 24, 4)
        assert view.image.dtype == np.float32
        assert 0.5 < (view.image[..., 3] > 0).mean() < 0.9
        np.testing.assert_array_equal(view.view, dataset.cameras[view.index].view.numpy())


def test_random_views_repeat_with_their_seed_and_see_the_object():
    ball = ball_dataset(2, 24)
    first, again, other = (
        dataset_at_random(ball.mesh, ball.material, ball.light, 3, 4.0, seed, resolution=(24, 32)) for seed in (1, 1, 2)
    )
    assert len(first) == 3
    for index, view in enumerate(first):
        assert view.image.shape == (24, 32, 4)
        assert float(view.image[..., 3].mean()) > 0.1
        torch.testing.assert_close(view.image, again[index].image)
        assert not torch.equal(view.image, other[index].image)
        torch.testing.assert_close(view.camera.position.norm(), torch.tensor(4.0), rtol=0.15, atol=0)
        if index == 2:
            break


def test_validation_goes_once_around():
    validation = ball_dataset(2, 24).validation(count=5, radius=4.0)
    eyes = torch.stack([camera.position for camera in validation.cameras])
    assert len(validation) == 5
    torch.testing.assert_close(eyes.norm(dim=-1), torch.full((5,), 4.0))
    torch.testing.assert_close(eyes[:, 1], eyes[:1, 1].expand(5))
    torch.testing.assert_close(eyes.mean(0)[[0, 2]], torch.zeros(2), rtol=0, atol=1e-5)
    together = validation.images(validation.cameras)
    torch.testing.assert_close(together[3], validation[3].image)


def test_references_may_have_samples_and_a_background():
    ball = ball_dataset(2, 24)
    white = replace(ball, background=torch.ones(3), spp=2, msaa=True)
    assert bool((white.image(0)[0, 0, :3] == 1).all())
    assert 0 < float(white.image(0)[..., 3].unique()[1]) < 1


@pytest.mark.parametrize(("roughness", "metallic", "least_psnr"), [(0.25, 0.0, 32.0), (0.2, 1.0, 31.5)])
def test_spot_is_fitted_from_few_views(data, roughness, metallic, least_psnr):
    """A lighter kind of benchmarks/dataset_fit.py: 256 maps, 20 views of 128 pixels."""
    mesh = load_obj(data / "spot" / "spot.obj")
    encoded = torch.from_numpy(read_image(data / "spot" / "spot_texture.png")[..., :3].astype(np.float32) / 255)
    truth = initial_maps(256, alpha=False)
    small = F.interpolate(encoded.permute(2, 0, 1)[None], size=(256, 256), mode="area")[0].permute(1, 2, 0)
    truth.texels[..., KD] = srgb_to_linear(small)
    truth.texels[..., ROUGHNESS], truth.texels[..., METALLIC] = roughness, metallic
    light = load_env(data / "forest_1k.hdr", resolution=128)
    with torch.no_grad():
        prefiltered = light.build_mips()
    dataset = dataset_around(mesh, truth, prefiltered, 20, resolution=(128, 128), held_out_every=10)
    train, held_out = tables(dataset)
    fit = TableFit(train, light, FitPlan(resolution=256, iterations=200, stages=3, batch=32768))
    fit.run(held_out, lambda status: None)
    maps = finish_maps(fit.maps, seen_texels(fit.steps.read_texels(), 256, fit.state.levels))
    found = []
    for index in (5, 15):
        with torch.no_grad():
            ours = render_mesh(mesh, dataset.cameras[index], maps, prefiltered, dataset.resolution)["shaded"][0]
        images = [image[..., :3] + 1 - image[..., 3:] for image in (ours, dataset.image(index))]
        found.append(psnr(*images))
    assert np.mean(found) > least_psnr, found
