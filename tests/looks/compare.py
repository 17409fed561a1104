"""How far the values of a baked material are from the truth: one figure for each slot and input."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

COLORS = {"Base Color", "Coat Tint", "Sheen Tint", "Specular Tint"}
"""Compared in sRGB code values too; the lower PSNR counts."""
DIRECTION = "Anisotropic Direction"
"""Across the tangent, turned by the rotation; the opposite one means the same."""
ANGLES = ("Normal", "Coat Normal", DIRECTION)
"""Compared in degrees."""
LEAST_FACING = 0.25
"""The cosine of the angle of view; flatter ones are not looked at."""
JUMP, JUMP_DEGREES = 0.12, 10.0
"""If the truth changes by more (times its largest value above 1) within REACH_TEXELS, the value of a texel is anyone's
choice. A texel's value reaches a texel and a half far, and pixels are up to a texel apart."""
REACH_TEXELS, REACH_PIXELS = 2.5, 4
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Difference:
    """The difference of one input. db: the PSNR over the points away from jumps of the truth and from borders of UV
    islands, whose share of all points is `share`; db_all: over all points; worst: the largest difference at those points.
    For ANGLES db and db_all are None, and `degrees` and `degrees_all` are mean angles. linked: whether a map gives it;
    spread: the standard deviation of the new values."""

    slot: int
    name: str
    points: int
    share: float
    worst: float
    spread: float
    linked: bool
    db: float | None = None
    db_all: float | None = None
    degrees: float | None = None
    degrees_all: float | None = None

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def psnr(errors: NDArray[Any], peak: float = 1.0) -> float:
    """In dB; 120 if there is no error, 0 if nothing was compared."""
    if not errors.size:
        return 0.0
    mean = float(np.square(errors, dtype=np.float64).mean())
    return float(min(120.0, 10.0 * np.log10(peak * peak / mean))) if mean > 0.0 else 120.0


def srgb(linear: NDArray[Any]) -> NDArray[np.float64]:
    """sRGB code values of linear ones."""
    clipped = np.clip(linear.astype(np.float64), 0.0, None)
    coded: NDArray[np.float64] = np.where(
        clipped <= 0.0031308, 12.92 * clipped, 1.055 * np.maximum(clipped, 1e-9) ** (1 / 2.4) - 0.055
    )
    return coded


def angles(first: NDArray[Any], second: NDArray[Any], name: str) -> NDArray[np.float64]:
    """Degrees between vectors [N, 3] of a kind; 180 if one has no direction."""
    first, second = first.astype(np.float64), second.astype(np.float64)
    lengths = np.sqrt(np.einsum("ij,ij->i", first, first) * np.einsum("ij,ij->i", second, second))
    cosines = np.einsum("ij,ij->i", first, second) / np.maximum(lengths, 1e-12)
    if name == DIRECTION:
        cosines = np.abs(cosines)
    degrees: NDArray[np.float64] = np.degrees(np.arccos(np.clip(cosines, -1.0, 1.0)))
    return np.where(lengths > 1e-6, degrees, 180.0)


def changes(first: NDArray[Any], second: NDArray[Any], name: str) -> NDArray[Any]:
    """How far values [N, 3] of an input are from others: degrees, or the largest of the three differences."""
    if name in ANGLES:
        return angles(first, second, name)
    apart = np.abs(first - second)
    return np.maximum(np.maximum(apart[:, 0], apart[:, 1]), apart[:, 2])


def shown(hit: NDArray[Any], facing: NDArray[Any]) -> Flags:
    """The pixels [views, H, W] that are inside the silhouette and not seen from the side or from behind."""
    on = hit > 0.5
    inside = on.copy()
    for axis in (1, 2):
        for step in (-1, 1):
            inside &= np.roll(on, step, axis)
    inside[:, (0, -1)] = inside[:, :, (0, -1)] = False
    return inside & (facing > LEAST_FACING)


def neighbors(points: Flags, uv: NDArray[Any], texels: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of points within REACH_TEXELS of a map this wide, or in the next pixel: the numbers of both.

    points: [views, H, W]; uv: [views, H, W, 2]; a point's number is its place among all points.
    """
    numbers = np.full(points.shape, -1, np.int64)
    numbers[points] = np.arange(points.sum())
    height, width = points.shape[1:]
    ones, others = [], []
    for down in range(REACH_PIXELS + 1):
        for right in range(-REACH_PIXELS, REACH_PIXELS + 1):
            if (down, right) <= (0, 0):
                continue
            here = slice(None), slice(0, height - down), slice(max(0, -right), width - max(0, right))
            there = slice(None), slice(down, height), slice(max(0, right), width - max(0, -right))
            both = points[here] & points[there]
            one, other = numbers[here][both], numbers[there][both]
            if down > 1 or abs(right) > 1:
                apart = np.abs(uv[here][both] - uv[there][both]) * texels
                near = np.maximum(apart[:, 0], apart[:, 1]) <= REACH_TEXELS
                one, other = one[near], other[near]
            ones.append(one)
            others.append(other)
    return np.concatenate(ones), np.concatenate(others)


def jumps(name: str, values: NDArray[Any], pairs: tuple[NDArray[np.int64], NDArray[np.int64]]) -> Flags:
    """The points whose value [N, 3] of an input is far from that of a neighbor."""
    one, other = pairs
    values = srgb(values) if name in COLORS else values
    limit = JUMP_DEGREES if name in ANGLES else JUMP * max(1.0, float(np.abs(values).max(initial=0.0)))
    jumping = changes(values[one], values[other], name) > limit
    found = np.zeros(len(values), bool)
    found[one[jumping]] = found[other[jumping]] = True
    return found


def leaves_island(uv: NDArray[Any], covered: Flags) -> Flags:
    """Whether one of the four texels around a point has its middle outside the faces. uv: [..., 2], v up; covered: [N, N],
    row 0 at v = 0."""
    size = covered.shape[0]
    low = np.floor(uv * size - 0.5).astype(int)
    leaving = np.zeros(uv.shape[:-1], bool)
    for up in (0, 1):
        for right in (0, 1):
            x, y = low[..., 0] + right, low[..., 1] + up
            outside = (x < 0) | (y < 0) | (x >= size) | (y >= size)
            leaving |= outside | ~covered[np.clip(y, 0, size - 1), np.clip(x, 0, size - 1)]
    return leaving


def covered_texels(triangles: NDArray[Any], size: int) -> Flags:
    """The texels of a map whose middles lie in triangles [T, 3, 2], row 0 at v = 0."""
    covered = np.zeros((size, size), bool)
    for corners in triangles * size:
        low = np.clip(np.floor(corners.min(0)).astype(int), 0, size)
        high = np.clip(np.ceil(corners.max(0)).astype(int), 0, size)
        first, second = corners[1] - corners[0], corners[2] - corners[0]
        area = first[0] * second[1] - first[1] * second[0]
        if abs(area) < 1e-9 or (high <= low).any():
            continue
        y, x = np.mgrid[low[1] : high[1], low[0] : high[0]]
        from_corner = np.stack([x, y], -1) + 0.5 - corners[0]
        along = (from_corner[..., 0] * second[1] - from_corner[..., 1] * second[0]) / area
        across = (first[0] * from_corner[..., 1] - first[1] * from_corner[..., 0]) / area
        covered[y, x] |= (along >= -1e-6) & (across >= -1e-6) & (along + across <= 1.0 + 1e-6)
    return covered


def difference(
    slot: int, name: str, truth: NDArray[Any], new: NDArray[Any], away: Flags, known: Flags, linked: bool
) -> Difference:
    """Compare values [N, 3] at the points where the truth is known, and at those that are also `away` from jumps and
    borders."""
    best = known & away
    spread = float(new[known].astype(np.float64).std(0).max()) if known.any() else 0.0
    share = float(best.sum() / max(1, known.sum()))
    apart = changes(truth, new, name)
    worst = float(apart[best].max(initial=0.0))
    common: dict[str, Any] = {"slot": slot, "name": name, "points": int(known.sum()), "share": share, "worst": worst}
    common |= {"spread": spread, "linked": linked}
    if name in ANGLES:
        mean, mean_all = (float(apart[chosen].mean()) if chosen.any() else 180.0 for chosen in (best, known))
        return Difference(**common, degrees=mean, degrees_all=mean_all)
    errors = truth.astype(np.float64) - new
    peak = float(max(1.0, np.abs(truth[known]).max(initial=0.0)))
    found, found_all = psnr(errors[best], peak), psnr(errors[known], peak)
    if name in COLORS:
        coded = srgb(truth) - srgb(new)
        found, found_all = min(found, psnr(coded[best])), min(found_all, psnr(coded[known]))
    return Difference(**common, db=found, db_all=found_all)
