"""How far the fitted object is from the original, measured in Cycles renders of both, without their noise.

Two renders of each with independent seeds, original O1, O2 and fitted F1, F2, give an unbiased squared error:
mean((F1 - O1) (F2 - O2)), since the noise of the two factors is independent. Otherwise the error of a perfect fit would be
that of the noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

OPAQUE = 0.99
"""A pixel with an alpha above this counts as the object's: pixels on its outline would measure the background."""

LARGEST_PSNR_DB = 100.0
"""Reported where there is no error at all, for which there is no PSNR and no JSON number."""


@dataclass(frozen=True)
class ViewError:
    """One view's error over the object's pixels, sRGB-encoded values 0..1, as peak signal-to-noise ratios in dB.

    psnr_db: without noise. uncorrected_psnr_db: of the means of the two seeds, with their noise. noise_floor_db: what the
    noise alone would give: the uncorrected PSNR of a perfect fit. pixels: how many were compared.
    """

    psnr_db: float
    uncorrected_psnr_db: float
    noise_floor_db: float
    pixels: int


def srgb_from_linear(linear: NDArray[Any]) -> NDArray[np.float64]:
    """The sRGB transfer function of linear values; clipped to 0..1, same shape, float64."""
    linear = np.clip(linear, 0.0, 1.0).astype(np.float64)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1.0 / 2.4) - 0.055)


def object_pixels(originals: Sequence[NDArray[Any]]) -> NDArray[np.bool_]:
    """Where every original render [h, w, 4] is opaque, bool [h, w]."""
    opaque: NDArray[np.bool_] = np.all([image[..., 3] > OPAQUE for image in originals], axis=0)
    return opaque


def measure_view(originals: Sequence[NDArray[Any]], fitted: Sequence[NDArray[Any]]) -> ViewError | None:
    """Compare one view; None where it shows no pixel of the object.

    originals, fitted: two renders each, with independent seeds, float [h, w, 4], linear, premultiplied alpha. Both are
    divided by the original's alpha, so a fit that turned an opaque place transparent counts as wrong. An error that cannot
    be told from noise counts as its standard error, so that the PSNR is finite and not too good.
    """
    inside = object_pixels(originals)
    if not inside.any():
        return None
    first, second = (
        srgb_from_linear(fit[inside][:, :3] / original[inside][:, 3:])
        - srgb_from_linear(original[inside][:, :3] / original[inside][:, 3:])
        for fit, original in zip(fitted, originals, strict=True)
    )
    products = (first * second).mean(axis=1)
    standard_error = products.std() / math.sqrt(products.size)
    noise = np.square(first - second).mean() / 4.0
    return ViewError(
        psnr_db=psnr_db(max(products.mean(), standard_error)),
        uncorrected_psnr_db=psnr_db(np.square(0.5 * (first + second)).mean()),
        noise_floor_db=psnr_db(noise),
        pixels=int(inside.sum()),
    )


def psnr_db(mean_squared_error: float) -> float:
    """PSNR of values 0..1 in dB, at most 100."""
    if mean_squared_error <= 10.0 ** (-LARGEST_PSNR_DB / 10.0):
        return LARGEST_PSNR_DB
    return float(-10.0 * math.log10(mean_squared_error))


def summarise(name: str, errors: Sequence[ViewError | None]) -> dict[str, Any]:
    """The entries of report.json for one set of views: means over the views that show the object, and the lists.

    ``<name>_psnr_db`` and ``<name>_psnr_db_list``; the same with ``_uncorrected`` and ``_noise_floor``.
    """
    values = {
        f"{name}_psnr_db": [None if error is None else error.psnr_db for error in errors],
        f"{name}_psnr_db_uncorrected": [None if error is None else error.uncorrected_psnr_db for error in errors],
        f"{name}_noise_floor_db": [None if error is None else error.noise_floor_db for error in errors],
    }
    summary: dict[str, Any] = {}
    for key, listed in values.items():
        seen = [value for value in listed if value is not None]
        summary[key] = round(sum(seen) / len(seen), 3) if seen else None
        summary[f"{key}_list"] = [value if value is None else round(value, 3) for value in listed]
    return summary
