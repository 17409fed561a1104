"""The fit: its loss and priors against autograd, and small fits whose answer is known."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.fit_scenes import ball_dataset, checked_maps, studio_light, tables
from support.shapes import joined, plane

from backend.fit.dilation import sampled_texels
from backend.fit.fit_plan import FitPlan, learning_rate_at, stage_lengths
from backend.fit.objective import LEAST_BOUND, fit_loss, shade_samples, tone_slope
from backend.fit.sample_table import concatenate, sample_view
from backend.fit.table_fit import TableFit
from render.core.color import log_srgb
from render.geometry.camera import Camera, look_at, orthographic
from render.images.render_mesh import render_mesh
from render.light.environment import EnvironmentLight, create_trainable_env_rnd
from render.material.material import ALPHA, KD, METALLIC, NORMAL, ROUGHNESS, MaterialMaps, initial_maps

PLAN = FitPlan(resolution=64, iterations=120, stages=2, batch=8192)
BOUND = torch.tensor(LEAST_BOUND)


@pytest.fixture(scope="module")
def dataset():
    return ball_dataset(16, 64)


@pytest.fixture(scope="module")
def ball(dataset):
    return tables(dataset)


def run(
    table, held_out=None, light: EnvironmentLight | None = None, seed: int = 0, on_step=None, **changes
) -> TableFit:
    fit = TableFit(table, light or studio_light(), replace(PLAN, **changes), seed)
    fit.history = fit.run(held_out, on_step or (lambda status: None))
    return fit


def test_the_tone_slope_is_the_derivative_of_the_tone_curve():
    radiance = torch.cat([torch.linspace(1e-4, 0.003, 20), torch.linspace(0.004, 40, 200)]).double().requires_grad_()
    log_srgb(radiance).sum().backward()
    torch.testing.assert_close(tone_slope(radiance.detach()), radiance.grad)


def test_the_tone_slope_is_finite_for_any_radiance():
    slope = tone_slope(torch.tensor([-1.0, 0.0, 1e6]))
    assert slope[:2].tolist() == pytest.approx([12.92, 12.92])
    assert 0 < float(slope[2]) < 1e-5


def test_the_loss_is_zero_where_all_is_equal_and_grows_with_colour_and_alpha(ball):
    rows = ball[0].rows(torch.arange(50))
    equal = torch.cat([rows.color, rows.alpha[:, None]], -1)
    assert float(fit_loss(equal, rows, BOUND)) == 0
    assert float(fit_loss(equal + torch.tensor([0.1, 0, 0, 0]), rows, BOUND)) > 0
    assert float(fit_loss(equal + torch.tensor([0, 0, 0, 0.1]), rows, BOUND)) == pytest.approx(0.01, rel=1e-3)


def test_a_single_firefly_does_not_rule_the_loss(ball):
    rows = ball[0].rows(torch.arange(50))
    equal = torch.cat([rows.color, rows.alpha[:, None]], -1)
    losses = []
    for strength in (10.0, 20.0):
        color = rows.color.clone()
        color[0] += strength
        losses.append(float(fit_loss(equal, replace(rows, color=color), BOUND)))
    assert losses[1] < 2.1 * losses[0]


def test_stages_share_the_iterations_and_never_starve():
    lengths = stage_lengths(400, 4)
    assert sum(lengths) == pytest.approx(400, abs=2)
    assert lengths == sorted(lengths)
    assert min(stage_lengths(2, 4)) == 1


def test_the_learning_rate_falls_over_the_last_size():
    rates = [learning_rate_at(PLAN, iteration) for iteration in range(PLAN.iterations)]
    first = stage_lengths(PLAN.iterations, PLAN.stages)[0]
    assert set(rates[: first + 1]) == {PLAN.learning_rate}
    assert rates[first:] == sorted(rates[first:], reverse=True)
    assert learning_rate_at(PLAN, PLAN.iterations) == pytest.approx(PLAN.final_learning_rate)


def test_the_table_agrees_with_the_rendered_image_inside_the_object(dataset, ball):
    _, held_out = ball
    fit = TableFit(held_out, studio_light(256), PLAN)
    fit.maps = checked_maps()
    fit.set_resolution(64, len(held_out))
    rows = held_out
    with torch.no_grad():
        shaded = shade_samples(fit.values(rows), rows, fit.state.prefiltered(), fit.ggx, "principled")
    assert len(rows) > 1000
    for view in rows.view_index.unique().tolist():
        chosen = rows.view_index == view
        row, column = rows.pixel[chosen].unbind(-1)
        image = render_mesh(
            dataset.mesh, dataset.cameras[view], checked_maps(), dataset.light, dataset.resolution, antialiased=False
        )["shaded"][0]
        torch.testing.assert_close(shaded[chosen], image[row, column], rtol=0, atol=1e-4)


def test_a_small_fit_finds_the_texture(ball):
    fit = run(*ball)
    first, last = fit.history[0].psnr_db, fit.history[-1].psnr_db
    assert last > 34
    assert last > first + 5
    truth = checked_maps().texels[24:40]
    found = fit.maps.texels[24:40]
    assert float((found[..., KD] - truth[..., KD]).abs().mean()) < 0.04
    assert float(found[..., METALLIC].mean()) < 0.1
    assert fit.psnr_by_view(ball[1]) == pytest.approx([last] * 2, abs=6)


def test_the_same_seed_gives_the_same_maps_and_another_seed_others(ball):
    first, again, other = (run(ball[0], iterations=12, batch=2048, seed=seed).maps.texels for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_maps_that_are_not_fitted_stay_as_they_were(ball):
    start = initial_maps(64, False).texels
    no_normal = run(ball[0], iterations=16, fit_normal=False).maps.texels
    torch.testing.assert_close(no_normal[..., NORMAL], start[..., NORMAL])
    assert not torch.equal(no_normal[..., ROUGHNESS], start[..., ROUGHNESS])
    no_ks = run(ball[0], iterations=16, fit_ks=False).maps.texels
    between = slice(ROUGHNESS.start, METALLIC.stop)
    torch.testing.assert_close(no_ks[..., between], start[..., between])
    assert not torch.equal(no_ks[..., KD], start[..., KD])


def test_fitted_maps_are_a_possible_material(ball):
    texels = run(ball[0], iterations=20, learning_rate=0.5).maps.texels
    assert float(texels[..., : METALLIC.stop].min()) >= 0
    assert float(texels[..., : METALLIC.stop].max()) <= 1
    torch.testing.assert_close(texels[..., NORMAL].norm(dim=-1), torch.ones(texels.shape[:2]))


def test_the_fit_ends_early_when_it_gains_nothing_more(ball):
    """At a vanishing learning rate the held-out error cannot fall."""
    statuses = []
    fit = run(*ball, iterations=600, stages=1, learning_rate=1e-9, final_learning_rate=1e-9, on_step=statuses.append)
    assert fit.iteration < 200
    assert len(statuses) == fit.iteration
    assert statuses[-1].fraction < 0.5


def test_progress_counts_every_iteration_up_to_the_whole(ball):
    statuses = []
    run(ball[0], iterations=10, on_step=statuses.append)
    assert [status.iteration for status in statuses] == list(range(1, len(statuses) + 1))
    assert statuses[-1].fraction == pytest.approx(1)
    assert statuses[-1].seconds_left == pytest.approx(0, abs=1e-6)
    assert [status.resolution for status in statuses] == sorted(status.resolution for status in statuses)


def test_learning_the_light_lowers_the_error(ball):
    train, held_out = ball
    start = create_trainable_env_rnd(16)
    before = start.base.detach().clone()
    fixed = run(train, held_out, start.clone(), iterations=80)
    learned = run(train, held_out, start, iterations=80, learn_light=True)
    assert learned.history[-1].psnr_db > fixed.history[-1].psnr_db + 1
    assert not torch.equal(start.base, before)
    assert float(start.base.detach().min()) >= 0


def test_a_known_light_is_not_changed(ball):
    light = studio_light()
    before = light.base.detach().clone()
    run(ball[0], light=light, iterations=5)
    assert torch.equal(light.base, before)


def test_alpha_of_two_layers_is_recovered():
    """A wide sheet of alpha 0.4 over a smaller opaque one, each with its half of the texture."""
    upper, lower = plane(1.6, 0.3), plane(0.9, -0.3)
    half = torch.tensor([0.5, 1.0])
    mesh = joined(replace(upper, uv=upper.uv * half), replace(lower, uv=lower.uv * half + torch.tensor([0.5, 0.0])))
    truth = initial_maps(32, True)
    truth.texels[:, :16, KD] = torch.tensor([0.8, 0.2, 0.1])
    truth.texels[:, 16:, KD] = torch.tensor([0.1, 0.3, 0.8])
    truth.texels[:, :16, ALPHA], truth.texels[:, 16:, ALPHA] = 0.4, 1.0
    truth.texels[..., METALLIC] = 0
    light = studio_light()
    with torch.no_grad():
        prefiltered = light.build_mips()
    parts = []
    for index, (x, z) in enumerate([(0, 0.1), (1, 0.5), (-1, 0.6), (0.6, -1)]):
        eye = torch.tensor([float(x), 2.5, float(z)])
        camera = Camera(look_at(eye, torch.zeros(3)), orthographic(1.7, near=0.1, far=8))
        with torch.no_grad():
            image = render_mesh(mesh, camera, truth, prefiltered, (40, 40), layers=4, antialiased=False)["shaded"][0]
        parts.append(sample_view(mesh, camera, image, index, layers=4))
    fit = run(
        concatenate(parts), light=light, resolution=32, iterations=300, fit_alpha=True, fit_normal=False, stages=1
    )
    alpha = fit.maps.texels[8:24, :, ALPHA]
    assert float(alpha[:, 4:12].mean()) == pytest.approx(0.4, abs=0.1)
    assert float(alpha[:, 20:28].mean()) > 0.9


def test_the_loss_of_a_batch_falls_in_a_few_steps(ball):
    fit = TableFit(ball[0], studio_light(), PLAN)
    fit.set_resolution(64, len(ball[0]))
    losses = [float(fit.step(0.04)) for _ in range(12)]
    assert losses[-1] < 0.6 * losses[0]
    assert isinstance(fit.maps, MaterialMaps)


def test_texels_between_samples_are_as_smooth_as_their_neighbors():
    """What a few samples leave at its gray start would show in other views; what is known before the fit stays."""
    train, _ = tables(ball_dataset(8, 40))
    few = train.rows(torch.arange(0, len(train), 7))
    plan = FitPlan(resolution=64, iterations=60, stages=1, batch=2048)
    fit = TableFit(few, studio_light(256), plan)
    fit.run(None, lambda status: None)
    sampled = sampled_texels(few.uv, 64)
    assert 0.05 < sampled.float().mean() < 0.6
    kd = fit.maps.texels[8:56, :, KD]
    around = (kd.roll(1, 1) + kd.roll(-1, 1)) / 2
    off = (kd - around).abs().mean(-1)[~sampled[8:56]]
    assert off.mean() < 0.02
