# SPDX-License-Identifier: GPL-3.0-or-later
"""Make several closures one: base color and metallic from how much light they scatter and reflect.

With metallic m, base color b and F0 = 0.04 a Principled BSDF scatters d = (1 - m) b and, seen from straight ahead, reflects
f = 0.04 (1 - m) + m b. From d and f follow both in closed form: with x = 1 - m, 0.04 x^2 - (d + f) x + d = 0, and b = d + f -
0.04 x. What it gets wrong: reflections at grazing angles, and lobes of different sharpness.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
DIELECTRIC = 0.04  # reflectance seen from straight ahead at IOR 1.5
TINY = np.float32(1e-6)


def one_closure(scattered: Array, reflected: Array, metallic: Array) -> tuple[Array, Array]:
    """Base color [..., 3] and metallic [...] of sums over closures: scattered and reflected light [..., 3].

    metallic: the mean over the closures [...]; of two solutions, the one that is nearer to it counts.
    """
    d, f = scattered.mean(axis=-1), reflected.mean(axis=-1)
    inside = (d + f) ** 2 - 4.0 * DIELECTRIC * d
    root = np.sqrt(np.maximum(inside, 0.0))
    likely = 1.0 - metallic
    low, high = (d + f - root) / (2.0 * DIELECTRIC), (d + f + root) / (2.0 * DIELECTRIC)
    nearest = np.where(np.abs(low - likely) <= np.abs(high - likely), low, high)
    x = np.clip(np.where(inside >= 0.0, nearest, likely), 0.0, 1.0)
    # Less reflection than any Principled BSDF has without metallic: what scatters light is no metal.
    x = np.where((f < DIELECTRIC) & (d >= f), 1.0, x)
    base = scattered + np.maximum(reflected - DIELECTRIC * x[..., None], 0.0)
    return np.clip(base, 0.0, 1.0).astype(np.float32), (1.0 - x).astype(np.float32)


def roughness_of(shine: Array, reflected: Array) -> Array:
    """Roughness [...]: the mean over closures, weighted by the light that each reflects; sums of which are [..., 3]."""
    total = reflected.mean(axis=-1)
    mean: Array = np.divide(shine.mean(axis=-1), total, out=np.ones_like(total), where=total > TINY)
    return mean


def specular_level_of(reflected: Array, metallic: Array) -> Array:
    """Specular IOR Level [...] of reflected light [..., 3] and metallic [...]: less than 0.5 where even less is reflected than
    a Principled BSDF without metallic does."""
    level = np.clip(reflected.mean(axis=-1) / (2.0 * DIELECTRIC), 0.0, 0.5)
    result: Array = np.where(metallic > 0.0, np.float32(0.5), level).astype(np.float32)
    return result
