# SPDX-License-Identifier: GPL-3.0-or-later
"""The sRGB curve: between linear values and those that byte images hold."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = TypeVar("Floats", bound=np.floating[Any])


def linear_from_srgb(values: NDArray[Floats]) -> NDArray[Floats]:
    """Linear values of sRGB ones, both 0..1, of any shape; the dtype stays. Values above 1 follow the same curve."""
    linear: NDArray[Floats] = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return linear


def srgb_from_linear(linear: NDArray[Floats]) -> NDArray[Floats]:
    """sRGB values 0..1 of linear ones, of any shape; the dtype stays. Linear values outside 0..1 are clipped."""
    linear = np.clip(linear, 0.0, 1.0)
    values: NDArray[Floats] = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1.0 / 2.4) - 0.055)
    return values
