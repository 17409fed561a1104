"""Rows of the GGX prefilter: which cells of a mean pyramid the lobe around a texel reads, and with which weights.

NumPy builds them, since it stays on one core: with many threads these short operations stall when other programs are busy.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from render.light.cube_geometry import FACE_AXIS, FACE_X, FACE_Y, texel_solid_angles

Floats = NDArray[np.floating[Any]]
Indices = NDArray[np.signedinteger[Any]]
# A cell is split if the kernel's variation over it, times the cell's solid angle, exceeds this part of the kernel's integral.
SPLIT_TOLERANCE = 2e-3
# Gauss points along a side of a cell, if its radius over the kernel's scale there is below the bound.
_QUADRATURE = ((2, 0.35), (5, 1.5), (16, math.inf))
_Doubles = NDArray[np.float64]
_Longs = NDArray[np.int64]


def ggx_kernel(cosine: _Doubles, alpha: float) -> _Doubles:
    """D(h) max(N.L, 0) for N = V = R, scaled to 1 on the axis; `cosine` is N.L; alpha > 0.

    With N.H^2 = (1 + N.L) / 2 the GGX distribution is (alpha^2 / ((1 - N.L) / 2 + alpha^2 (1 + N.L) / 2))^2 up to a
    constant (Walter et al. 2007; the split sum of Karis 2013).
    """
    square = alpha * alpha
    lobe = square / (0.5 * (1 + square) - (0.5 * (1 - square)) * cosine)
    kernel: _Doubles = np.maximum(cosine, 0) * lobe * lobe
    return kernel


def pyramid_resolutions(base_resolution: int) -> list[int]:
    """Resolutions of the mean pyramid: the base's, halved while it is even and above 2."""
    resolutions = [base_resolution]
    while resolutions[-1] % 2 == 0 and resolutions[-1] > 2:
        resolutions.append(resolutions[-1] // 2)
    return resolutions


@dataclass(frozen=True)
class SpecularRows:
    """Sparse rows of one level, sorted by row, for some texels; the cube's symmetries make all others from them.

    row, cell     int32 or int64 [N]: the row, and the cell that it reads (all resolutions one after another)
    weight        float32 or float64 [N]; those of `build_rows` sum to 1 in each row
    texels        int64 [rows]: the level's texel of each row, an index into [6 * R * R]; those of `build_rows` are an
                  eighth of face 0
    resolution    R of the level
    """

    row: Indices
    cell: Indices
    weight: Floats
    texels: Indices
    resolution: int


def build_rows(base_resolution: int, resolution: int, roughness: float) -> SpecularRows:
    """Rows of one level for an eighth of face 0; roughness > 0.

    Starts with the coarsest cells. Where the kernel varies little over a cell the cell is kept, else it is split in four.
    """
    alpha = roughness * roughness
    texels = eighth_of_a_face(resolution)
    in_face = _directions_in_faces(texels, resolution)
    integral = _kernel_integral(alpha)
    pyramid = pyramid_resolutions(base_resolution)
    starts = np.cumsum([0] + [6 * r * r for r in pyramid])
    count = 6 * pyramid[-1] ** 2
    row = np.repeat(np.arange(len(texels)), count)
    cell = np.tile(np.arange(count), len(texels))
    kept: list[tuple[_Longs, _Longs, _Doubles]] = []
    for depth in range(len(pyramid) - 1, -1, -1):
        r = pyramid[depth]
        cells = _Cells.seen_from(row, cell, r, in_face)
        angle = np.arccos(np.clip(cells.cosine(cells.x, cells.y), -1, 1))
        nearest = np.maximum(angle - cells.radius, 0)
        above = nearest < math.pi / 2
        split = np.zeros_like(above)
        if depth > 0:
            near = ggx_kernel(np.cos(nearest), alpha)
            far = ggx_kernel(np.cos(np.minimum(angle + cells.radius, math.pi)), alpha)
            split = above & ((near - far) * cells.area > SPLIT_TOLERANCE * integral)
        keep = above & ~split
        weight = cells.select(keep).integrate(alpha, nearest[keep])
        kept.append((row[keep], cell[keep] + starts[depth], weight))
        row, cell = np.repeat(row[split], 4), children_of_cells(cell[split], r)
    row, cell, weight = (np.concatenate(part) for part in zip(*kept, strict=True))
    order = np.argsort(row.astype(np.uint16) if len(texels) < 1 << 16 else row, kind="stable")
    order = order[weight[order] > 0]
    row, cell, weight = row[order], cell[order], weight[order]
    total = np.bincount(row, weights=weight, minlength=len(texels))
    return SpecularRows(row, cell, weight / total[row], texels, resolution)


def eighth_of_a_face(resolution: int) -> _Longs:
    """The texels of face 0 from which the cube's symmetries make all others: index into [R * R]."""
    index = np.arange(resolution // 2, resolution)
    texel_row, texel_column = np.nonzero(index[:, None] <= index)
    texels: _Longs = index[texel_row] * resolution + index[texel_column]
    return texels


def _centers(resolution: int) -> _Doubles:
    centers: _Doubles = (np.arange(resolution) * 2 + 1) / resolution - 1
    return centers


def _directions_in_faces(texels: _Longs, resolution: int) -> _Doubles:
    """Unit directions of texels of face 0 in the frame of every face: [N, 6, 3].

    With (p, q, s) of a face, N.L is (p x + q y + s) / sqrt(x^2 + y^2 + 1) at its point (x, y).
    """
    frames = np.array([FACE_X, FACE_Y, FACE_AXIS], dtype=np.float64)
    centers = _centers(resolution)
    on_face = np.stack([centers[texels % resolution], centers[texels // resolution], np.ones(len(texels))], axis=-1)
    direction = on_face @ frames[:, 0]
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    in_faces: _Doubles = np.einsum("nk,cfk->nfc", direction, frames)
    return in_faces


def _kernel_integral(alpha: float) -> float:
    """The kernel's integral over the hemisphere, in steps of log(alpha^2 + sin^2(theta / 2)), which follow its lobe."""
    half = alpha * alpha * ((0.5 / (alpha * alpha) + 1) ** np.linspace(0, 1, 4001) - 1)
    kernel = ggx_kernel(1 - 2 * half, alpha)
    return 4 * math.pi * float(np.sum((kernel[1:] + kernel[:-1]) * np.diff(half)) / 2)


def children_of_cells(cell: Indices, resolution: int) -> _Longs:
    """The four cells of the next finer level in each cell, [4 N]."""
    face, y, x = cell // (resolution * resolution), cell // resolution % resolution, cell % resolution
    fine = 2 * resolution
    corner = (face * fine + 2 * y) * fine + 2 * x
    children: _Longs = (corner[:, None] + np.array([0, 1, fine, fine + 1])).reshape(-1)
    return children


@dataclass(frozen=True)
class _Cells:
    """Cells of one pyramid level, each with the direction of a row in the frame of the cell's face, all [N]."""

    resolution: int
    p: _Doubles
    q: _Doubles
    s: _Doubles
    x: _Doubles
    y: _Doubles
    area: _Doubles
    radius: _Doubles

    @staticmethod
    def seen_from(row: _Longs, cell: _Longs, resolution: int, in_face: _Doubles) -> "_Cells":
        face, in_one_face = np.divmod(cell, resolution * resolution)
        p, q, s = np.moveaxis(in_face, -1, 0).reshape(3, -1)[:, row * 6 + face]
        centers = _centers(resolution)
        area = texel_solid_angles(resolution, dtype=torch.float64).numpy().reshape(-1)
        y, x = np.divmod(in_one_face, resolution)
        radius = cell_radius(resolution).reshape(-1)
        return _Cells(resolution, p, q, s, centers[x], centers[y], area[in_one_face], radius[in_one_face])

    def select(self, mask: NDArray[np.bool_]) -> "_Cells":
        parts = (self.p, self.q, self.s, self.x, self.y, self.area, self.radius)
        return _Cells(self.resolution, *(part[mask] for part in parts))

    def cosine(self, x: _Doubles, y: _Doubles) -> _Doubles:
        cosine: _Doubles = (self.p * x + self.q * y + self.s) / np.sqrt(1 + x * x + y * y)
        return cosine

    def integrate(self, alpha: float, nearest: _Doubles) -> _Doubles:
        """The kernel's integral over each cell by Gauss quadrature; `nearest` is the smallest angle to the cell."""
        relative = self.radius / np.sqrt(4 * alpha * alpha + nearest * nearest)
        result = np.zeros_like(self.x)
        low = 0.0
        for points, high in _QUADRATURE:
            mask = (relative >= low) & (relative < high)
            if mask.any():
                result[mask] = self.select(mask)._gauss(alpha, points)
            low = high
        return result

    def _gauss(self, alpha: float, points: int) -> _Doubles:
        nodes, shares = np.polynomial.legendre.leggauss(points)  # type: ignore[no-untyped-call]  # NumPy does not annotate it
        nodes, total = nodes / self.resolution, np.zeros_like(self.x)
        for node_y, share_y in zip(nodes, shares, strict=True):
            y = self.y + node_y
            from_y, square_y = self.q * y + self.s, 1 + y * y
            for node_x, share_x in zip(nodes, shares, strict=True):
                x = self.x + node_x
                inverse = 1 / np.sqrt(square_y + x * x)
                cosine = (self.p * x + from_y) * inverse
                total += ggx_kernel(cosine, alpha) * inverse * inverse * inverse * (share_x * share_y)
        return total / self.resolution**2


def cell_radius(resolution: int) -> _Doubles:
    """The largest angle between a texel's center and its corners: [R, R]."""
    edges, centers = np.arange(resolution + 1) * 2 / resolution - 1, _centers(resolution)
    sides = (edges[:-1], edges[1:])
    length = 1 + centers[:, None] ** 2 + centers**2
    cosines = [
        (1 + centers[:, None] * y[:, None] + centers * x) / np.sqrt(length * (1 + y[:, None] ** 2 + x * x))
        for y in sides
        for x in sides
    ]
    radius: _Doubles = np.arccos(np.clip(np.min(cosines, axis=0), -1, 1))
    return radius
