"""How far fitted maps are from the true ones, in the figures of known_truth.py, and the pictures of both.

All means are over the surface: a texel counts as much as the area that it covers, and not at all where no face has its center
or no view sees it. Maps are 8-bit codes, row 0 at the top.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
from numpy.typing import NDArray

from backend.cli.errors import CommandError
from benchmarks.known_truth_scenes import Codes, Floats, Maps

METAL, PAINT = 0.8, 0.2
"""Metallic above the first is decided for metal, below the second against it."""
_AMPLIFIED = 8.0
_FEW_LEVELS = 8


def fitted_maps(folder: Path, resolution: int) -> Maps:
    """The maps that a fit left in a folder, read by imageio. Raises CommandError where they are not 8-bit of that size."""
    color, surface = (imageio.imread(folder / name) for name in ("kd.png", "orm.png"))
    for image in (color, surface):
        if image.dtype != np.uint8 or image.shape[:2] != (resolution, resolution):
            raise CommandError(f"{folder} has maps of {image.shape}, {image.dtype}.", "They should be as the truth is.")
    return Maps(color[..., :3], surface[..., 1], surface[..., 2])  # glTF: green is roughness, blue is metallic


def compare(truth: Maps, fitted: Maps, area: Floats) -> dict[str, Any]:
    """Errors of a fit. area: float64 [R, R], of the surface in each texel that counts, else 0.

    base_color: `mean` and `p95` of the absolute differences in sRGB codes, all channels alike, and their `bias`, above 0 if
    the fit is too bright; roughness, metallic: the same in 0..1; each with `psnr_db`. decided: the share of the area of pure
    metal and pure paint where metallic says which; None where the truth has not both. by_roughness: mean errors where the
    truth has one of few values, and its bias.
    """
    found: dict[str, Any] = {
        "base_color": _errors(truth.base_color, fitted.base_color, area, 1.0),
        "roughness": _errors(truth.roughness[..., None], fitted.roughness[..., None], area, 255.0),
        "metallic": _errors(truth.metallic[..., None], fitted.metallic[..., None], area, 255.0),
        "decided": decided(truth.metallic, fitted.metallic, area),
        "by_roughness": {},
    }
    levels = np.unique(truth.roughness[area > 0.0])
    for level in levels if 1 < len(levels) <= _FEW_LEVELS else ():
        part = np.where(truth.roughness == level, area, 0.0)
        color = _errors(truth.base_color, fitted.base_color, part, 1.0)
        rough = _errors(truth.roughness[..., None], fitted.roughness[..., None], part, 255.0)
        found["by_roughness"][f"{level / 255.0:.2f}"] = {
            "base_color": color["mean"],
            "roughness": rough["mean"],
            "roughness_bias": rough["bias"],
        }
    return found


def _errors(truth: Codes, fitted: Codes, area: Floats, unit: float) -> dict[str, float]:
    """Differences of codes [R, R, C] in steps of `unit`."""
    counted = area > 0.0
    difference = (fitted[counted].astype(np.float64) - truth[counted]) / unit
    weights = np.broadcast_to(area[counted][:, None], difference.shape)
    squared = float(np.average((difference * unit / 255.0) ** 2, weights=weights))
    return {
        "mean": float(np.average(np.abs(difference), weights=weights)),
        "p95": quantile(np.abs(difference), weights, 0.95),
        "bias": float(np.average(difference, weights=weights)),
        "psnr_db": float("inf") if squared == 0.0 else -10.0 * float(np.log10(squared)),
    }


def quantile(values: Floats, weights: Floats, share: float) -> float:
    """The least value that so large a share of the weight does not exceed."""
    order = np.argsort(values, axis=None)
    total = np.cumsum(weights.ravel()[order])
    return float(values.ravel()[order][np.searchsorted(total, share * total[-1])])


def decided(truth: Codes, fitted: Codes, area: Floats) -> float | None:
    """The share of the area, where the true metallic is 0 or 1, in which the fitted one is on that side."""
    metal, paint = (np.where(truth == code, area, 0.0) for code in (255, 0))
    if not metal.any() or not paint.any():
        return None
    level = fitted / 255.0
    right = metal[level > METAL].sum() + paint[level < PAINT].sum()
    return float(right / (metal.sum() + paint.sum()))


def picture(truth: Maps, fitted: Maps, area: Floats) -> Codes:
    """Base color, roughness and metallic from left to right, each as truth, fit, and 8 times the difference around gray,
    uint8 [R, 9 R, 3]. What does not count is black."""
    parts: list[NDArray[Any]] = []
    for name in ("base_color", "roughness", "metallic"):
        right, found = (np.atleast_3d(getattr(maps, name)).astype(np.float64) for maps in (truth, fitted))
        parts += [
            np.broadcast_to(part, (*area.shape, 3)) for part in (right, found, 128.0 + _AMPLIFIED * (found - right))
        ]
    sheet = np.concatenate([np.where(area[..., None] > 0.0, part, 0.0) for part in parts], axis=1)
    drawn: Codes = np.clip(sheet, 0.0, 255.0).astype(np.uint8)
    return drawn
