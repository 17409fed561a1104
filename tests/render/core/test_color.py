"""Transfer functions against the standard's own numbers."""

from __future__ import annotations

import math

import pytest
import torch

from render.core.color import linear_to_srgb, log_srgb, psnr, srgb_to_linear


@pytest.mark.parametrize(
    ("linear", "encoded"), [(0, 0), (0.0031308, 0.04045), (0.214041, 0.5), (0.5, 0.735357), (1, 1)]
)
def test_known_pairs_of_the_srgb_curve(linear, encoded):
    assert float(linear_to_srgb(torch.tensor(float(linear)))) == pytest.approx(encoded, abs=2e-5)
    assert float(srgb_to_linear(torch.tensor(float(encoded)))) == pytest.approx(linear, abs=2e-5)


def test_decoding_undoes_encoding_also_above_one():
    values = torch.linspace(0, 4, 400, dtype=torch.float64)
    torch.testing.assert_close(srgb_to_linear(linear_to_srgb(values)), values, rtol=1e-5, atol=1e-6)


def test_negative_radiance_encodes_to_zero_with_a_finite_gradient():
    values = torch.tensor([-1.0, 0.0, 1e-9, 0.5], requires_grad=True)
    encoded = linear_to_srgb(values)
    encoded.sum().backward()
    assert encoded[:2].tolist() == [0, 0]
    assert bool(torch.isfinite(values.grad).all())
    assert float(values.grad[2]) == pytest.approx(12.92)


def test_the_tone_curve_is_srgb_of_the_logarithm():
    values = torch.tensor([0.0, 0.01, math.e - 1, 50.0])
    torch.testing.assert_close(log_srgb(values), linear_to_srgb(torch.log(1 + values)))
    assert float(log_srgb(torch.tensor(math.e - 1))) == pytest.approx(1.0)


def test_psnr_of_a_known_error():
    reference = srgb_to_linear(torch.full((4, 4, 3), 0.5))
    assert psnr(srgb_to_linear(torch.full((4, 4, 3), 0.6)), reference) == pytest.approx(20.0, abs=1e-3)
    assert psnr(reference, reference) == math.inf


def test_psnr_ignores_what_a_screen_clips():
    reference = torch.full((4, 4, 3), 2.0)
    assert psnr(torch.full((4, 4, 3), 7.0), reference) == math.inf
