"""Textures in float64 NumPy, texel by texel: levels, trilinear lookups with repeat wrapping, and their gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Tap = tuple[int, int, int, float]
"""Level, row, column and weight of a texel that is read."""


def mean_of_four(image: Floats) -> Floats:
    """The next coarser level [H/2, W/2, C] of [H, W, C]; both sides are even."""
    return (image[::2, ::2] + image[1::2, ::2] + image[::2, 1::2] + image[1::2, 1::2]) / 4


def smooth_gradient(coarse: Floats) -> Floats:
    """nvdiffrec's gradient of `mean_of_four`: a quarter of it, enlarged bilinearly, clamped at the border."""
    height, width, channels = coarse.shape
    fine = np.zeros((2 * height, 2 * width, channels))
    for row, column in np.ndindex(2 * height, 2 * width):
        y, x = (row + 0.5) / 2 - 0.5, (column + 0.5) / 2 - 0.5
        top, left = math.floor(y), math.floor(x)
        for i, down in ((top, 1 - (y - top)), (top + 1, y - top)):
            for j, across in ((left, 1 - (x - left)), (left + 1, x - left)):
                there = coarse[min(max(i, 0), height - 1), min(max(j, 0), width - 1)]
                fine[row, column] += down * across * there / 4
    return fine


def levels_of(texture: Floats) -> list[Floats]:
    """The texture and its levels until a side is 1."""
    levels = [texture]
    while min(levels[-1].shape[:2]) > 1:
        levels.append(mean_of_four(levels[-1]))
    return levels


def taps(uv: Floats, uv_da: Floats, sizes: Sequence[tuple[int, int]]) -> list[Tap]:
    """The texels that a trilinear lookup reads: uv [2], derivatives du/dx, du/dy, dv/dx, dv/dy [4], sizes (H, W).

    The level is the base-2 logarithm of the longer half axis of the pixel's footprint in texels.
    """
    height, width = sizes[0]
    jacobian = uv_da.reshape(2, 2) * np.array([[width], [height]])
    longest = np.linalg.svd(jacobian, compute_uv=False)[0]
    level = min(max(math.log2(max(longest, 1e-30)), 0), len(sizes) - 1)
    lower = min(math.floor(level), len(sizes) - 2)
    found = []
    for number, share in ((lower, 1 - (level - lower)), (lower + 1, level - lower)):
        rows, columns = sizes[number]
        x, y = uv[0] * columns - 0.5, uv[1] * rows - 0.5
        left, top = math.floor(x), math.floor(y)
        for i, down in ((top, 1 - (y - top)), (top + 1, y - top)):
            for j, across in ((left, 1 - (x - left)), (left + 1, x - left)):
                found.append((number, i % rows, j % columns, share * down * across))
    return found


def sample(levels: Sequence[Floats], uv: Floats, uv_da: Floats) -> Floats:
    """Trilinear lookups [N, C] at uv [N, 2] with derivatives [N, 4]."""
    sizes = [level.shape[:2] for level in levels]
    result = np.zeros((len(uv), levels[0].shape[2]))
    for value, place, derivative in zip(result, uv, uv_da, strict=True):
        for number, row, column, weight in taps(place, derivative, sizes):
            value += weight * levels[number][row, column]
    return result


def sample_gradient(texture: Floats, uv: Floats, uv_da: Floats, gradient: Floats) -> Floats:
    """The gradient to the texture [H, W, C] of the sum of lookups times `gradient` [N, C], through its levels."""
    levels = levels_of(texture)
    sizes = [level.shape[:2] for level in levels]
    sums = [np.zeros_like(level) for level in levels]
    for given, place, derivative in zip(gradient, uv, uv_da, strict=True):
        for number, row, column, weight in taps(place, derivative, sizes):
            sums[number][row, column] += weight * given
    for number in range(len(levels) - 1, 0, -1):
        sums[number - 1] += smooth_gradient(sums[number])
    return sums[0]
