"""The report's arithmetic, on images whose error and noise are known."""

import math

import numpy as np
import pytest

from backend.cli.report import ViewError, measure_view, object_pixels, psnr_db, srgb_from_linear, summarise

SIZE = 192


def linear_from_srgb(encoded: np.ndarray) -> np.ndarray:
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def render(encoded: float, noise: float, seed: int, alpha: float = 1.0) -> np.ndarray:
    """An image of one sRGB value with normal noise of that deviation in sRGB, as a premultiplied linear render."""
    values = encoded + noise * np.random.default_rng(seed).standard_normal((SIZE, SIZE, 3))
    opaque = np.concatenate([linear_from_srgb(values), np.ones((SIZE, SIZE, 1))], axis=2)
    return (opaque * alpha).astype(np.float32)


def test_srgb_transfer_function_has_its_published_values():
    linear = np.array([-1.0, 0.0, 0.0031308, 0.214041, 1.0, 7.0])
    np.testing.assert_allclose(srgb_from_linear(linear), [0.0, 0.0, 0.04045, 0.5, 1.0, 1.0], atol=2e-5)


def test_psnr_of_known_errors():
    assert psnr_db(0.01) == pytest.approx(20.0)
    assert psnr_db(1e-4) == pytest.approx(40.0)
    assert psnr_db(0.0) == 100.0


def test_noise_is_taken_out_of_a_known_error():
    error, original_noise, fitted_noise = 0.02, 0.05, 0.03
    originals = [render(0.5, original_noise, seed) for seed in (1, 2)]
    fitted = [render(0.5 + error, fitted_noise, seed) for seed in (3, 4)]
    measured = measure_view(originals, fitted)
    noise = (original_noise**2 + fitted_noise**2) / 2.0  # of the mean of two
    assert measured.psnr_db == pytest.approx(-20.0 * math.log10(error), abs=0.4)
    assert measured.uncorrected_psnr_db == pytest.approx(-10.0 * math.log10(error**2 + noise), abs=0.05)
    assert measured.noise_floor_db == pytest.approx(-10.0 * math.log10(noise), abs=0.05)
    assert measured.pixels == SIZE * SIZE


def test_noise_shared_by_original_and_fit_is_taken_out_too():
    """Renders of the same seed share some of their noise."""
    shared = [render(0.5, 0.05, seed) for seed in (1, 2)]
    brighter = [np.concatenate([linear_from_srgb(srgb_from_linear(image[..., :3]) + 0.02), image[..., 3:]], axis=2)
                for image in shared]  # fmt: skip
    assert measure_view(shared, brighter).psnr_db == pytest.approx(-20.0 * math.log10(0.02), abs=0.01)


def test_a_perfect_fit_is_not_reported_at_the_level_of_the_noise():
    originals = [render(0.5, 0.05, seed) for seed in (1, 2)]
    fitted = [render(0.5, 0.05, seed) for seed in (3, 4)]
    measured = measure_view(originals, fitted)
    assert measured.uncorrected_psnr_db == pytest.approx(measured.noise_floor_db, abs=0.1)
    assert measured.noise_floor_db < 27.0
    # What cannot be told from noise counts as one standard error, the noise over the root of the number of pixels.
    assert 40.0 < measured.psnr_db < 60.0


def test_equal_images_without_noise():
    image = render(0.5, 0.0, 0)
    assert measure_view([image, image], [image, image]).psnr_db == 100.0


def test_only_opaque_pixels_of_the_original_count():
    original, fit = render(0.5, 0.0, 0), render(0.5, 0.0, 0)
    original[: SIZE // 2] *= 0.9  # an outline: partly background
    fit[: SIZE // 2] = 0.0
    assert measure_view([original] * 2, [fit] * 2) == ViewError(100.0, 100.0, 100.0, SIZE * SIZE // 2)
    assert measure_view([original * 0.0] * 2, [fit] * 2) is None
    assert object_pixels([original, original * 0.5]).sum() == 0


def test_colours_are_unpremultiplied():
    originals, fitted = [render(0.5, 0.0, 0, alpha=0.995)] * 2, [render(0.5, 0.0, 0)] * 2
    expected = srgb_from_linear(linear_from_srgb(np.array(0.5)) / 0.995) - 0.5
    assert measure_view(originals, fitted).psnr_db == pytest.approx(-20.0 * math.log10(expected), abs=1e-3)


def test_a_fit_that_became_transparent_is_wrong():
    originals, fitted = [render(0.5, 0.0, 0)] * 2, [render(0.5, 0.0, 0, alpha=0.25)] * 2
    expected = 0.5 - srgb_from_linear(linear_from_srgb(np.array(0.5)) * 0.25)
    assert measure_view(originals, fitted).psnr_db == pytest.approx(-20.0 * math.log10(expected), abs=1e-3)


def test_summary_has_means_over_the_views_that_show_the_object():
    summary = summarise("heldout", [ViewError(30.0, 28.0, 35.0, 9), None, ViewError(33.0, 31.0, 38.0, 7)])
    assert summary["heldout_psnr_db"] == 31.5
    assert summary["heldout_psnr_db_list"] == [30.0, None, 33.0]
    assert summary["heldout_psnr_db_uncorrected"] == 29.5
    assert summary["heldout_noise_floor_db"] == 36.5
    assert summarise("relit", [None])["relit_psnr_db"] is None
