"""Image losses against their formulas in numpy and by hand, and their gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from render.images.losses import LOSSES, TONEMAPPERS, image_loss

EVERY = [(loss, curve) for loss in LOSSES for curve in TONEMAPPERS]


def encoded(x: np.ndarray) -> np.ndarray:
    """The sRGB standard's curve of log(1 + x)."""
    logarithm = np.log(np.clip(x, 0, 65535) + 1)
    return np.where(logarithm > 0.0031308, 1.055 * np.maximum(logarithm, 1e-9) ** (1 / 2.4) - 0.055, 12.92 * logarithm)


FORMULAS = {
    "l1": lambda x, y: np.abs(x - y),
    "mse": lambda x, y: (x - y) ** 2,
    "smape": lambda x, y: np.abs(x - y) / (np.abs(x) + np.abs(y) + 0.01),
    "relmse": lambda x, y: (x - y) ** 2 / (x * x + y * y + 0.1),
}


def radiance(seed: int, shape: tuple[int, ...] = (2, 7, 5, 3)) -> torch.Tensor:
    """Values over many orders of magnitude."""
    generator = torch.Generator().manual_seed(seed)
    return 10 ** (torch.rand(shape, generator=generator, dtype=torch.float64) * 7 - 3)


@pytest.mark.parametrize(("loss", "curve"), EVERY)
def test_the_value_is_the_mean_of_the_formula(loss, curve, device):
    image, target = radiance(0), radiance(1)
    x, y = image.numpy(), target.numpy()
    if curve == "log_srgb":
        x, y = encoded(x), encoded(y)
    value = image_loss(image.to(device), target.to(device), loss, curve)
    assert value.shape == ()
    assert value.item() == pytest.approx(FORMULAS[loss](x, y).mean(), rel=1e-9)
    single = image_loss(image.float().to(device), target.float().to(device), loss, curve)
    assert single.dtype == torch.float32
    assert single.item() == pytest.approx(value.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("loss", "expected"), [("l1", 2.0), ("mse", 4.0), ("smape", 2 / 4.01), ("relmse", 4 / (9 + 1 + 0.1))]
)
def test_values_by_hand(loss, expected):
    assert image_loss(torch.tensor([3.0]), torch.tensor([1.0]), loss).item() == pytest.approx(expected)


def test_the_tone_curve_by_hand():
    # log(1 + e - 1) = 1, whose code is 1; the code of log(1 + 0) is 0.
    value = image_loss(torch.tensor([math.e - 1]), torch.tensor([0.0]), "l1", "log_srgb")
    assert value.item() == pytest.approx(1.0)


@pytest.mark.parametrize(("loss", "curve"), EVERY)
def test_gradients_are_those_of_finite_differences(loss, curve):
    # Roots have a narrower range: finite differences lose digits in a sum of very different values.
    image, target = (radiance(seed, (2, 3, 3)).sqrt().requires_grad_() for seed in (2, 3))
    assert torch.autograd.gradcheck(lambda x, y: image_loss(x, y, loss, curve), (image, target), rtol=1e-4)


@pytest.mark.parametrize(("loss", "curve"), EVERY)
def test_values_outside_the_range_count_as_its_ends_without_a_gradient(loss, curve):
    outside = torch.tensor([-math.inf, -2.0, 7e4, math.inf], dtype=torch.float64, requires_grad=True)
    ends = torch.tensor([0.0, 0.0, 65535.0, 65535.0], dtype=torch.float64)
    target = torch.tensor([0.5, 2.0, 3.0, 0.0], dtype=torch.float64, requires_grad=True)
    value = image_loss(outside, target, loss, curve)
    value.backward()
    assert value.item() == pytest.approx(image_loss(ends, target.detach(), loss, curve).item())
    assert outside.grad.tolist() == [0, 0, 0, 0]
    assert bool(torch.isfinite(target.grad).all())


@pytest.mark.parametrize(("loss", "curve"), EVERY)
def test_a_black_pixel_that_should_be_bright_has_a_gradient(loss, curve):
    """nvdiffrec's kernels give it no gradient, and it stays black."""
    image = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    image_loss(image, torch.full_like(image, 0.5), loss, curve).backward()
    assert bool((image.grad < 0).all())


@pytest.mark.parametrize(("loss", "curve"), EVERY)
def test_no_input_but_nan_makes_a_nan(loss, curve):
    values = torch.tensor([-math.inf, -1.0, -0.0, 0.0, 1e-45, 1e-8, 0.0031308, 1.0, 65535.0, 5e5, 3e38, math.inf])
    image, target = (part.clone().requires_grad_() for part in torch.meshgrid(values, values, indexing="ij"))
    value = image_loss(image, target, loss, curve)
    value.backward()
    assert bool(torch.isfinite(value))
    assert bool(torch.isfinite(image.grad).all())
    assert bool(torch.isfinite(target.grad).all())


@pytest.mark.parametrize(("loss", "curve"), EVERY)
def test_half_floats_are_compared_in_single_precision(loss, curve):
    image, target = (radiance(seed).half().requires_grad_() for seed in (0, 1))
    value = image_loss(image, target, loss, curve)
    value.backward()
    assert value.item() == pytest.approx(
        image_loss(image.detach().float(), target.detach().float(), loss, curve).item()
    )
    assert bool(torch.isfinite(image.grad).all())


def test_nan_is_not_hidden():
    assert math.isnan(image_loss(torch.tensor([math.nan, 1.0]), torch.zeros(2)).item())


@pytest.mark.parametrize(("loss", "curve"), EVERY)
def test_equal_images_have_no_loss_and_no_gradient(loss, curve):
    image = radiance(4).requires_grad_()
    value = image_loss(image, image.detach().clone(), loss, curve)
    value.backward()
    assert value.item() == 0
    assert not image.grad.any()


def test_an_image_without_pixels_has_loss_zero():
    image = torch.zeros(0, 4, 3, requires_grad=True)
    value = image_loss(image, torch.zeros(0, 4, 3))
    value.backward()
    assert value.item() == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(2, 3), torch.zeros(2, 1)), r"image \[2, 3\] and target \[2, 1\] must be of one shape"),
        ((torch.zeros(2), torch.zeros(2), "l2"), "no loss 'l2': use one of l1, mse"),
        ((torch.zeros(2), torch.zeros(2), "l1", "aces"), "no tone curve 'aces': use one of none, log_srgb"),
        ((torch.zeros(2, dtype=torch.uint8), torch.zeros(2)), "linear floats, not torch.uint8"),
    ],
)
def test_wrong_arguments_say_what_is_right(arguments, message):
    with pytest.raises(ValueError, match=message):
        image_loss(*arguments)
