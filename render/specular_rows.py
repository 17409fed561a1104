"""Rows of the GGX prefilter: which cells of a mean pyramid the lobe around a texel reads, and with which weights."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from render.cube_geometry import FACE_AXIS, FACE_X, FACE_Y, texel_centres, texel_solid_angles

# A cell is split where the kernel's variation over it, times its solid angle, exceeds this part of its integral.
SPLIT_TOLERANCE = 2e-3


def ggx_kernel(cosine: Tensor, alpha: float) -> Tensor:
    """D(h) max(N.L, 0) for N = V = R, scaled to 1 on the axis; cosine is N.L; alpha > 0.

    With N.H^2 = (1 + N.L) / 2 the GGX distribution is (alpha^2 / ((1 - N.L) / 2 + alpha^2 (1 + N.L) / 2))^2 up to a
    constant (Walter et al. 2007; the split sum of Karis 2013).
    """
    square = alpha * alpha
    return cosine.clamp(min=0) * (square / ((1 - cosine + square * (1 + cosine)) * 0.5)).square()


def pyramid_resolutions(base_resolution: int) -> list[int]:
    """Resolutions of the mean pyramid: the base's, halved while even, down to 2 at least."""
    resolutions = [base_resolution]
    while resolutions[-1] % 2 == 0 and resolutions[-1] > 2:
        resolutions.append(resolutions[-1] // 2)
    return resolutions


@dataclass(frozen=True)
class SpecularRows:
    """Sparse rows of one level for an eighth of face 0, in coordinate form and sorted by row.

    row, cell     int64 [N]: the row, and the cell of the pyramid (all resolutions one after another, finest first)
    weight        float64 [N]; each row's sum is 1
    texels        int64 [rows]: the level's texel of each row, an index into [6 * R * R] that lies on face 0
    resolution    R, of the level
    """

    row: Tensor
    cell: Tensor
    weight: Tensor
    texels: Tensor
    resolution: int


def build_rows(base_resolution: int, resolution: int, roughness: float) -> SpecularRows:
    """Rows of one level for an eighth of face 0; roughness > 0. Weights in float64, each row's sum is 1."""
    alpha = roughness * roughness
    index = torch.arange(resolution // 2, resolution)
    lower = index[:, None] <= index
    texel_row, texel_column = torch.where(lower)
    texels = index[texel_row] * resolution + index[texel_column]
    centres = texel_centres(resolution, dtype=torch.float64)
    axis = torch.stack([centres[texels % resolution], centres[texels // resolution], torch.ones(len(texels))], dim=-1)
    axis = torch.nn.functional.normalize(axis.double(), dim=-1)
    # The rows' directions in the frame of each face: N.L is (p x + q y + s) / sqrt(x^2 + y^2 + 1).
    frame = torch.tensor([FACE_X, FACE_Y, FACE_AXIS], dtype=torch.float64)
    in_face = torch.einsum("na,afk,cfk->nfc", axis, frame[:, :1].expand(3, 6, 3), frame)
    # The kernel's integral over the hemisphere, in the variable log(alpha^2 + sin^2(theta / 2)) that follows its lobe.
    variable = torch.linspace(0, 1, 4001, dtype=torch.float64)
    half = alpha * alpha * ((0.5 / (alpha * alpha) + 1) ** variable - 1)
    integral = 4 * math.pi * float(torch.trapezoid(ggx_kernel(1 - 2 * half, alpha), half))
    pyramid = pyramid_resolutions(base_resolution)
    starts = np.cumsum([0] + [6 * r * r for r in pyramid])
    count = 6 * pyramid[-1] ** 2
    row = torch.arange(len(texels)).repeat_interleave(count)
    cell = torch.arange(count).repeat(len(texels))
    kept: list[tuple[Tensor, Tensor, Tensor]] = []
    for depth in range(len(pyramid) - 1, -1, -1):
        r = pyramid[depth]
        cells = _Cells(row, cell, r, in_face)
        nearest, farthest = cells.angle_range()
        above = nearest < math.pi / 2
        near, far = ggx_kernel(torch.cos(nearest), alpha), ggx_kernel(torch.cos(farthest), alpha)
        split = above & ((near - far) * cells.area > SPLIT_TOLERANCE * integral)
        if depth == 0:
            split[:] = False
        keep = above & ~split
        weight = cells.select(keep).integrate(alpha, nearest[keep])
        positive = weight > 0
        kept.append((row[keep][positive], cell[keep][positive] + int(starts[depth]), weight[positive]))
        row, cell = row[split], cell[split]
        face, y, x = cell // (r * r), cell // r % r, cell % r
        fine = 2 * r
        corner = (face * fine + 2 * y) * fine + 2 * x
        cell = (corner[:, None] + torch.tensor([0, 1, fine, fine + 1])).reshape(-1)
        row = row.repeat_interleave(4)
    row, cell, weight = (torch.cat(part) for part in zip(*kept, strict=True))
    order = torch.argsort(row, stable=True)
    row, cell, weight = row[order], cell[order], weight[order]
    total = torch.zeros(len(texels), dtype=torch.float64).index_add_(0, row, weight)
    return SpecularRows(row, cell, weight / total[row], texels, resolution)


class _Cells:
    """Pairs of a row and a cell of one pyramid level, with the cell seen from the row's direction."""

    def __init__(self, row: Tensor, cell: Tensor, resolution: int, in_face: Tensor) -> None:
        self.resolution = resolution
        self.direction = in_face[row, cell // (resolution * resolution)]
        y, x = cell // resolution % resolution, cell % resolution
        centres = texel_centres(resolution, dtype=torch.float64)
        self.x, self.y = centres[x], centres[y]
        in_one_face = cell % (resolution * resolution)
        self.area = texel_solid_angles(resolution, dtype=torch.float64).reshape(-1)[in_one_face]
        self.radius = _cell_radius(resolution).reshape(-1)[in_one_face]

    def select(self, mask: Tensor) -> "_Cells":
        chosen = object.__new__(_Cells)
        chosen.resolution = self.resolution
        for name in ("direction", "x", "y", "area", "radius"):
            setattr(chosen, name, getattr(self, name)[mask])
        return chosen

    def angle_range(self) -> tuple[Tensor, Tensor]:
        """Bounds of the angle to the row's direction over the cell, in radians."""
        angle = torch.acos(self._cosine(self.x, self.y).clamp(-1, 1))
        return (angle - self.radius).clamp(min=0), (angle + self.radius).clamp(max=math.pi)

    def integrate(self, alpha: float, nearest: Tensor) -> Tensor:
        """The kernel's integral over each cell by Gauss quadrature, with more points where the cell is large for it."""
        scale = torch.sqrt(4 * alpha * alpha + nearest * nearest)
        relative = self.radius / scale
        result = torch.zeros_like(self.x)
        for points, low, high in ((2, 0.0, 0.35), (5, 0.35, 1.5), (16, 1.5, math.inf)):
            mask = (relative >= low) & (relative < high)
            if bool(mask.any()):
                result[mask] = self.select(mask)._gauss(alpha, points)
        return result

    def _gauss(self, alpha: float, points: int) -> Tensor:
        nodes, shares = np.polynomial.legendre.leggauss(points)
        total = torch.zeros_like(self.x)
        for node_y, share_y in zip(nodes, shares, strict=True):
            y = self.y + float(node_y) / self.resolution
            for node_x, share_x in zip(nodes, shares, strict=True):
                x = self.x + float(node_x) / self.resolution
                square = 1 + x * x + y * y
                kernel = ggx_kernel(self._cosine(x, y), alpha)
                total += kernel * square.pow(-1.5) * float(share_x * share_y)
        return total / self.resolution**2

    def _cosine(self, x: Tensor, y: Tensor) -> Tensor:
        p, q, s = self.direction.unbind(-1)
        return (p * x + q * y + s) / torch.sqrt(1 + x * x + y * y)


def _cell_radius(resolution: int) -> Tensor:
    """The largest angle between a texel's centre and its corners: [R, R]."""
    edges = torch.arange(resolution + 1, dtype=torch.float64) * 2 / resolution - 1
    centres = texel_centres(resolution, dtype=torch.float64)

    def unit(y: Tensor, x: Tensor) -> Tensor:
        y, x = torch.broadcast_tensors(y[:, None], x)
        return torch.nn.functional.normalize(torch.stack([x, y, torch.ones_like(x)], dim=-1), dim=-1)

    centre = unit(centres, centres)
    sides = (edges[:-1], edges[1:])
    cosine = torch.stack([(centre * unit(y, x)).sum(-1) for y in sides for x in sides])
    return torch.acos(cosine.min(dim=0).values.clamp(-1, 1))
