# SPDX-License-Identifier: GPL-3.0-or-later
"""How far renders of candidates are from the original, without their noise, whether one is near enough, and which
candidate is to be kept: the bake, the fit, or the fit after a round of correction by Cycles.

Each is rendered with two seeds. The mean of (candidate 1 - original 1) (candidate 2 - original 2) is an unbiased squared
error, since the noise of the two factors is independent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

OPAQUE = 0.99
BEST_DB = 100.0
BAKE, FIT = "BAKE", "FIT"
"""Candidates. Those after a round of correction are named by `round_name`."""
Products = NDArray[np.float64]
"""Of each pixel and color, the product of the errors with both seeds: [pixels, 3]."""
BLOCK = 16  # pixels; of a block with fewer than a quarter of its pixels in the mask too little is known
WORST_BY_DB = 8.0  # how much less near than all of it together a block may be


@dataclass(frozen=True)
class Gain:
    """By how much the squared error of a candidate in one light is smaller than that of another one; doubt: the standard error
    of that."""

    gain: float
    doubt: float


@dataclass(frozen=True)
class LightScore:
    """How near each candidate is to the original in one light: dB by its name."""

    light: str
    decibels: dict[str, float]

    def to_json(self) -> dict[str, float]:
        """As JSON values."""
        return {f"{look.lower()}_db": round(value, 2) for look, value in self.decibels.items()}


@dataclass(frozen=True)
class NearScore:
    """How near a candidate is to the original in one light, in dB; worst_db: the same of its worst block of pixels that is
    certainly as bad as that."""

    decibels: float
    worst_db: float


@dataclass(frozen=True)
class Choice:
    """Which candidate for a material is kept, and why: its scores, the own light first; none where no view shows it."""

    kept: str
    scores: tuple[LightScore, ...]

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {"kept": self.kept, "scores": {score.light: score.to_json() for score in self.scores}}


def round_name(number: int) -> str:
    """The candidate after a round of correction, from 1; 0: the fit."""
    return f"ROUND_{number}" if number else FIT


def products(original: Sequence[NDArray[Any]], candidate: Sequence[NDArray[Any]], mask: NDArray[np.bool_]) -> Products:
    """Products of errors in sRGB code values over the pixels of a mask; images: one for each of the two seeds."""
    first, second = (
        encoded(other[mask][:, :3]) - encoded(own[mask][:, :3]) for own, other in zip(original, candidate, strict=True)
    )
    result: Products = first * second
    return result


def gain(first: Products, other: Products) -> Gain:
    """How much nearer the other one of two candidates is, in the same pixels."""
    found = first.mean(axis=1) - other.mean(axis=1)
    return Gain(float(found.mean()), float(found.std() / math.sqrt(found.size)))


def is_better(gains: Sequence[Gain]) -> bool:
    """Whether a candidate is worse than another one in no light, and certainly better in one."""
    return all(one.gain >= 0.0 for one in gains) and any(one.gain > one.doubt for one in gains)


def choose(found: Mapping[str, Mapping[str, Products]]) -> Choice:
    """Keep the first candidate, or one after it that is better than what is kept before. found: by candidate and light."""
    kept, *others = found
    for look in others:
        if is_better([gain(found[kept][light], found[look][light]) for light in found[look]]):
            kept = look
    lights = found[kept].keys()
    return Choice(
        kept, tuple(LightScore(light, {look: decibels(found[look][light]) for look in found}) for light in lights)
    )


def near_score(shown: Sequence[tuple[Products, NDArray[np.bool_]]]) -> NearScore:
    """How near a candidate is in one light: shown, for each view its products and the mask [H, W] of their pixels."""
    worst = BEST_DB
    for found, mask in shown:
        blocks = np.stack(np.nonzero(mask), axis=1) // BLOCK
        _, place, count = np.unique(blocks, axis=0, return_inverse=True, return_counts=True)
        for block in np.flatnonzero(count >= BLOCK * BLOCK // 4):
            own = found[place.reshape(-1) == block]
            certain = float(own.mean() - 2.0 * own.std() / math.sqrt(own.size))
            worst = min(worst, -10.0 * math.log10(max(certain, 1e-12)))
    return NearScore(decibels(np.concatenate([found for found, _ in shown])), worst)


def is_near(scores: Sequence[NearScore], wanted_db: float) -> bool:
    """Whether a candidate is near enough in all lights, as a whole and everywhere; it is where no view shows it."""
    return all(score.decibels >= wanted_db and score.worst_db >= wanted_db - WORST_BY_DB for score in scores)


def all_near(sets: Sequence[Sequence[NearScore]], wanted_db: float) -> bool:
    """Whether what all sets of maps get is near enough; nothing is known where no view shows any of them."""
    return any(sets) and all(is_near(scores, wanted_db) for scores in sets)


def decibels(found: Products) -> float:
    """The PSNR; an error that cannot be told from noise counts as its standard error."""
    error = max(float(found.mean()), float(found.std() / math.sqrt(found.size)))
    return min(BEST_DB, -10.0 * math.log10(max(error, 1e-12)))


def encoded(linear: NDArray[Any]) -> NDArray[np.float64]:
    """sRGB code values of linear ones, clipped to 0..1."""
    linear = np.clip(linear, 0.0, 1.0).astype(np.float64)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1.0 / 2.4) - 0.055)
