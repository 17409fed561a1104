"""The environment light: files, prefiltering, and what a learned light needs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.shapes import studio

from render.core.image_io import ImageError, read_image, write_image
from render.geometry.camera import fibonacci_directions
from render.light.environment import (
    EnvironmentLight,
    create_trainable_env_rnd,
    env_from_latlong,
    load_env,
    save_env_map,
)


@pytest.mark.parametrize("suffix", [".hdr", ".exr"])
def test_an_environment_survives_saving_and_loading(tmp_path, suffix):
    image = studio(64)
    write_image(tmp_path / f"in{suffix}", image)
    light = load_env(tmp_path / f"in{suffix}", resolution=64)
    save_env_map(tmp_path / f"out{suffix}", light, (64, 128))
    back = read_image(tmp_path / f"out{suffix}")
    assert back.shape == image.shape
    assert np.linalg.norm(back - image) / np.linalg.norm(image) < 0.01


def test_loading_scales_radiance_and_drops_negative_values(tmp_path):
    write_image(tmp_path / "sky.exr", np.full((8, 16, 3), (-1.0, 0.5, 2.0), np.float32))
    light = load_env(tmp_path / "sky.exr", scale=3.0, resolution=8)
    torch.testing.assert_close(light.base.detach(), torch.tensor([0.0, 1.5, 6.0]).expand(6, 8, 8, 3))


def test_an_alpha_channel_is_left_out(tmp_path):
    write_image(tmp_path / "sky.exr", np.ones((8, 16, 4), np.float32))
    assert load_env(tmp_path / "sky.exr", resolution=8).base.shape == (6, 8, 8, 3)


def test_a_missing_environment_is_named_with_a_cure(tmp_path):
    with pytest.raises(ImageError, match=r"no image file .*sky\.hdr: check the path"):
        load_env(tmp_path / "sky.hdr")


def test_a_broken_environment_is_named_with_a_cure(tmp_path):
    (tmp_path / "sky.hdr").write_bytes(b"#?RADIANCE\nbroken")
    with pytest.raises(ImageError, match=r"sky\.hdr is not an image this can read: use PNG, HDR or EXR"):
        load_env(tmp_path / "sky.hdr")


def test_what_is_not_a_cube_map_is_refused_with_a_cure():
    with pytest.raises(ValueError, match=r"not \[32, 64, 3\]: use latlong_to_cubemap"):
        EnvironmentLight(torch.ones(32, 64, 3))


def test_the_top_row_of_the_image_is_the_light_from_above():
    image = torch.zeros(32, 64, 3)
    image[:8] = 1.0
    with torch.no_grad():
        light = env_from_latlong(image, 32).build_mips()
    up = torch.tensor([[0.0, 1, 0], [0.0, -1, 0]])
    mirror = light.specular(up, torch.zeros(2))
    torch.testing.assert_close(mirror, torch.tensor([[1.0] * 3, [0.0] * 3]))
    diffuse = light.diffuse(up)
    assert float(diffuse[0, 0]) > 10 * float(diffuse[1, 0])


def test_an_even_light_looks_the_same_at_every_roughness():
    light = EnvironmentLight(torch.tensor([0.5, 1.0, 2.0]).expand(6, 32, 32, 3)).build_mips()
    directions = fibonacci_directions(100)
    expected = torch.tensor([0.5, 1.0, 2.0]).expand(100, 3)
    torch.testing.assert_close(light.diffuse(directions), expected, rtol=1e-3, atol=0)
    for roughness in (0.0, 0.1, 0.37, 1.0):
        found = light.specular(directions, torch.full((100,), roughness))
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=0)


def test_irradiance_is_never_negative():
    base = torch.zeros(6, 32, 32, 3)
    base[0, 15:17, 15:17] = 1000.0
    with torch.no_grad():
        light = EnvironmentLight(base).build_mips()
    assert float(light.diffuse(fibonacci_directions(500)).min()) == 0


def test_prefiltering_is_linear_and_its_gradient_reaches_the_base():
    light = create_trainable_env_rnd(16, seed=3)
    directions = fibonacci_directions(50)
    weight = torch.randn(2, 50, 3, generator=torch.Generator().manual_seed(0))

    def measured(candidate: EnvironmentLight) -> torch.Tensor:
        mips = candidate.build_mips()
        rough = mips.specular(directions, torch.linspace(0.05, 1, 50))
        return (weight[0] * mips.diffuse(directions) + weight[1] * rough).sum()

    value = measured(light)
    value.backward()
    # A linear function through 0 is its own gradient times its argument.
    assert float((light.base.grad * light.base).detach().sum()) == pytest.approx(float(value.detach()), rel=1e-3)
    changed = light.clone()
    step = torch.rand(light.base.shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        changed.base += step
    difference = float((measured(changed) - value).detach())
    assert float((light.base.grad * step).sum()) == pytest.approx(difference, rel=1e-3)


def test_a_clone_goes_its_own_way():
    light = create_trainable_env_rnd(8)
    twin = light.clone()
    assert torch.equal(twin.base, light.base)
    with torch.no_grad():
        twin.base += 1
    assert not torch.equal(twin.base, light.base)
    assert twin.base.requires_grad


def test_clamping_acts_in_place_on_both_ends():
    light = EnvironmentLight(torch.linspace(-1, 3, 6 * 4 * 4 * 3).reshape(6, 4, 4, 3))
    light.clamp_(0.0)
    assert float(light.base.detach().min()) == 0
    assert float(light.base.detach().max()) == 3
    light.clamp_(0.5, 2.0)
    assert (float(light.base.detach().min()), float(light.base.detach().max())) == (0.5, 2.0)


def test_the_regularizer_measures_colour_and_not_brightness():
    gray = EnvironmentLight(torch.rand(6, 4, 4, 1).expand(6, 4, 4, 3))
    assert float(gray.regularizer().detach()) < 1e-7
    red = EnvironmentLight(torch.tensor([3.0, 0, 0]).expand(6, 4, 4, 3))
    assert float(red.regularizer().detach()) == pytest.approx(4 / 3)


def test_the_regularizer_is_nvdiffrecs(data):
    golden = np.load(data / "golden" / "light_a.npz")
    light = EnvironmentLight(torch.tensor(golden["base"]))
    assert float(light.regularizer().detach()) == pytest.approx(float(golden["regularizer"]), rel=1e-5)


def test_a_random_light_lies_between_its_bounds_and_follows_its_seed():
    light = create_trainable_env_rnd(8, scale=0.5, bias=0.25, seed=7)
    values = light.base.detach()
    assert 0.25 <= float(values.min()) < 0.27
    assert 0.73 < float(values.max()) <= 0.75
    assert torch.equal(values, create_trainable_env_rnd(8, seed=7).base)
    assert not torch.equal(values, create_trainable_env_rnd(8, seed=8).base)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 2, 3), (2, 1, 3), (5, 7, 3), (64, 32, 3), (37, 111, 3)])
def test_an_equirectangular_image_of_any_size_is_loaded(tmp_path, shape):
    image = np.random.default_rng(0).random(shape, np.float32) + 0.5
    write_image(tmp_path / "sky.exr", image)
    for resolution in (1, 3, 16):
        base = load_env(tmp_path / "sky.exr", resolution=resolution).base.detach()
        assert base.shape == (6, resolution, resolution, 3)
        assert image.min() - 1e-4 <= float(base.min()) <= float(base.max()) <= image.max() + 1e-4


def test_a_grey_image_lights_in_all_channels(tmp_path):
    write_image(tmp_path / "sky.exr", np.full((8, 16, 1), 0.5, np.float32))
    torch.testing.assert_close(
        load_env(tmp_path / "sky.exr", resolution=4).base.detach(), torch.full((6, 4, 4, 3), 0.5)
    )


def test_broken_pixels_do_not_spoil_the_light(tmp_path):
    image = np.ones((16, 32, 3), np.float32)
    image[3, 4], image[5, 6], image[7, 8] = np.nan, np.inf, -np.inf
    write_image(tmp_path / "sky.exr", image)
    base = load_env(tmp_path / "sky.exr", resolution=8).base.detach()
    assert bool(base.isfinite().all())
    assert float(base.min()) >= 0


def test_what_cannot_be_an_environment_is_named_with_a_cure(tmp_path):
    write_image(tmp_path / "sky.png", np.zeros((8, 16, 3), np.uint8))
    with pytest.raises(ImageError, match=r"sky\.png cannot be an environment: use a linear \.hdr or \.exr"):
        load_env(tmp_path / "sky.png")
    write_image(tmp_path / "sky.exr", np.ones((8, 16, 3), np.float32))
    with pytest.raises(ValueError, match="not -1"):
        load_env(tmp_path / "sky.exr", scale=-1.0)
    with pytest.raises(ValueError, match="positive resolution, not 0"):
        load_env(tmp_path / "sky.exr", resolution=0)
    with pytest.raises(ImageError):
        save_env_map(tmp_path / "sky.png", create_trainable_env_rnd(4))


@pytest.mark.parametrize("resolution", [1, 2, 3, 5, 16, 18])
def test_a_base_of_any_resolution_is_prefiltered(resolution, device):
    light = create_trainable_env_rnd(resolution, device=device)
    mips = light.build_mips()
    directions = fibonacci_directions(64).to(device)
    value = mips.diffuse(directions) + mips.specular(directions, torch.linspace(0, 1, 64, device=device))
    value.sum().backward()
    assert bool(value.isfinite().all())
    assert bool(light.base.grad.isfinite().all())
    assert float(value.detach().min()) >= 0.5
    assert float(value.detach().max()) <= 1.5 + 1e-4


@pytest.mark.parametrize("brightness", [0.0, 5e5])
def test_black_lights_and_suns_stay_finite(brightness):
    base = torch.zeros(6, 32, 32, 3)
    base[2, 3, 31] = brightness
    light = EnvironmentLight(base)
    mips = light.build_mips()
    directions = fibonacci_directions(300)
    value = mips.diffuse(directions) + mips.specular(directions, torch.linspace(0, 1, 300))
    value.sum().backward()
    assert bool(value.isfinite().all())
    assert float(value.detach().min()) >= 0
    assert bool(light.base.grad.isfinite().all())


def test_a_clone_keeps_the_rotation():
    light = create_trainable_env_rnd(8)
    light.xfm(torch.diag(torch.tensor([-1.0, 1, -1, 1])))
    directions = fibonacci_directions(20)
    with torch.no_grad():
        plain, turned = light.build_mips(), light.clone().build_mips()
        torch.testing.assert_close(turned.diffuse(directions), plain.diffuse(directions))
        light.xfm(None)
        expected = light.build_mips().diffuse(directions * torch.tensor([-1.0, 1, -1]))
        torch.testing.assert_close(turned.diffuse(directions), expected)


def test_a_light_of_doubles_is_prefiltered_in_doubles():
    light = EnvironmentLight(torch.rand(6, 8, 8, 3, dtype=torch.float64))
    for prefilter in ("accurate", "nvdiffrec"):
        mips = light.build_mips(prefilter)
        assert mips.atlas.dtype == torch.float64
        direction = fibonacci_directions(4).double()
        assert mips.specular(direction, torch.rand(4, dtype=torch.float64)).dtype == torch.float64
