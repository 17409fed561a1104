"""Rows of the GGX prefilter: which cells of a mean pyramid the lobe around a texel reads, and with which weights.

Built with NumPy, which stays on one core: with many threads these short operations stall when other programs are busy.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from render.light.cube_geometry import FACE_AXIS, FACE_X, FACE_Y, texel_solid_angles

# A cell is split where the kernel's variation over it, times its solid angle, exceeds this part of its integral.
SPLIT_TOLERANCE = 2e-3
# Gauss points along a side of a cell whose radius, over the kernel's scale there, is below the bound.
_QUADRATURE = ((2, 0.35), (5, 1.5), (16, math.inf))
_Floats = NDArray[np.float64]
_Indices = NDArray[np.int64]


def ggx_kernel(cosine: _Floats, alpha: float) -> _Floats:
    """D(h) max(N.L, 0) for N = V = R, scaled to 1 on the axis; cosine is N.L; alpha > 0.

    With N.H^2 = (1 + N.L) / 2 the GGX distribution is (alpha^2 / ((1 - N.L) / 2 + alpha^2 (1 + N.L) / 2))^2 up to a
    constant (Walter et al. 2007; the split sum of Karis 2013).
    """
    square = alpha * alpha
    lobe = square / (0.5 * (1 + square) - (0.5 * (1 - square)) * cosine)
    return np.maximum(cosine, 0) * lobe * lobe


def pyramid_resolutions(base_resolution: int) -> list[int]:
    """Resolutions of the mean pyramid: the base's, halved while even, down to 2 at least."""
    resolutions = [base_resolution]
    while resolutions[-1] % 2 == 0 and resolutions[-1] > 2:
        resolutions.append(resolutions[-1] // 2)
    return resolutions


@dataclass(frozen=True)
class SpecularRows:
    """Sparse rows of one level for the texels of which the cube's symmetries make all others, sorted by row.

    row, cell     int32 or int64 [N]: the row, and the cell it reads (all resolutions one after another)
    weight        float32 or float64 [N]; those of `build_rows` sum to 1 in each row
    texels        int64 [rows]: the level's texel of each row, an index into [6 * R * R]; those of `build_rows` are an
                  eighth of face 0
    resolution    R, of the level
    """

    row: _Indices
    cell: _Indices
    weight: _Floats
    texels: _Indices
    resolution: int


def build_rows(base_resolution: int, resolution: int, roughness: float) -> SpecularRows:
    """Rows of one level for an eighth of face 0; roughness > 0.

    From the coarsest cells down, a cell is kept where the kernel varies little over it, else split in four.
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
    kept: list[tuple[_Indices, _Indices, _Floats]] = []
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


def eighth_of_a_face(resolution: int) -> _Indices:
    """The texels of face 0 of which the cube's symmetries make all others: index into [R * R]."""
    index = np.arange(resolution // 2, resolution)
    texel_row, texel_column = np.nonzero(index[:, None] <= index)
    return index[texel_row] * resolution + index[texel_column]


def _centres(resolution: int) -> _Floats:
    return (np.arange(resolution) * 2 + 1) / resolution - 1


def _directions_in_faces(texels: _Indices, resolution: int) -> _Floats:
    """Unit directions of texels of face 0 in the frame of every face: [N, 6, 3].

    With (p, q, s) of a face, N.L is (p x + q y + s) / sqrt(x^2 + y^2 + 1) at its point (x, y).
    """
    frames = np.array([FACE_X, FACE_Y, FACE_AXIS], dtype=np.float64)
    centres = _centres(resolution)
    on_face = np.stack([centres[texels % resolution], centres[texels // resolution], np.ones(len(texels))], axis=-1)
    direction = on_face @ frames[:, 0]
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    return np.einsum("nk,cfk->nfc", direction, frames)


def _kernel_integral(alpha: float) -> float:
    """The kernel over the hemisphere, integrated in log(alpha^2 + sin^2(theta / 2)), which follows its lobe."""
    half = alpha * alpha * ((0.5 / (alpha * alpha) + 1) ** np.linspace(0, 1, 4001) - 1)
    kernel = ggx_kernel(1 - 2 * half, alpha)
    return 4 * math.pi * float(np.sum((kernel[1:] + kernel[:-1]) * np.diff(half)) / 2)


def children_of_cells(cell: _Indices, resolution: int) -> _Indices:
    """The four cells of the next finer level in each cell, [4 N]."""
    face, y, x = cell // (resolution * resolution), cell // resolution % resolution, cell % resolution
    fine = 2 * resolution
    corner = (face * fine + 2 * y) * fine + 2 * x
    return (corner[:, None] + np.array([0, 1, fine, fine + 1])).reshape(-1)


@dataclass(frozen=True)
class _Cells:
    """Cells of one pyramid level, each with the direction of a row in the frame of the cell's face, all [N]."""

    resolution: int
    p: _Floats
    q: _Floats
    s: _Floats
    x: _Floats
    y: _Floats
    area: _Floats
    radius: _Floats

    @staticmethod
    def seen_from(row: _Indices, cell: _Indices, resolution: int, in_face: _Floats) -> "_Cells":
        face, in_one_face = np.divmod(cell, resolution * resolution)
        p, q, s = np.moveaxis(in_face, -1, 0).reshape(3, -1)[:, row * 6 + face]
        centres = _centres(resolution)
        area = texel_solid_angles(resolution, dtype=torch.float64).numpy().reshape(-1)
        y, x = np.divmod(in_one_face, resolution)
        radius = cell_radius(resolution).reshape(-1)
        return _Cells(resolution, p, q, s, centres[x], centres[y], area[in_one_face], radius[in_one_face])

    def select(self, mask: NDArray[np.bool_]) -> "_Cells":
        parts = (self.p, self.q, self.s, self.x, self.y, self.area, self.radius)
        return _Cells(self.resolution, *(part[mask] for part in parts))

    def cosine(self, x: _Floats, y: _Floats) -> _Floats:
        return (self.p * x + self.q * y + self.s) / np.sqrt(1 + x * x + y * y)

    def integrate(self, alpha: float, nearest: _Floats) -> _Floats:
        """The kernel's integral over each cell by Gauss quadrature; nearest is the smallest angle to the cell."""
        relative = self.radius / np.sqrt(4 * alpha * alpha + nearest * nearest)
        result = np.zeros_like(self.x)
        low = 0.0
        for points, high in _QUADRATURE:
            mask = (relative >= low) & (relative < high)
            if mask.any():
                result[mask] = self.select(mask)._gauss(alpha, points)
            low = high
        return result

    def _gauss(self, alpha: float, points: int) -> _Floats:
        nodes, shares = np.polynomial.legendre.leggauss(points)
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


def cell_radius(resolution: int) -> _Floats:
    """The largest angle between a texel's centre and its corners: [R, R]."""
    edges, centres = np.arange(resolution + 1) * 2 / resolution - 1, _centres(resolution)
    sides = (edges[:-1], edges[1:])
    length = 1 + centres[:, None] ** 2 + centres**2
    cosines = [
        (1 + centres[:, None] * y[:, None] + centres * x) / np.sqrt(length * (1 + y[:, None] ** 2 + x * x))
        for y in sides
        for x in sides
    ]
    return np.arccos(np.clip(np.min(cosines, axis=0), -1, 1))
