"""The GGX prefilter of a cube map as a constant sparse linear operator.

A row is the GGX kernel around one texel's direction. Near the lobe's axis it reads texels of the base, in its tail the
means of larger and larger cells (a pyramid of the base's means, weighted by solid angle). Kernel, texels and cells are
symmetric under the 48 rotations and reflections of the cube. So rows are built and stored for one eighth of one face
only. Each symmetry permutes the base instead, and one short sparse product, 48 colors wide, gives all texels.
"""

from collections.abc import Sequence
from functools import cached_property, lru_cache
from itertools import permutations, product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from render.core.kernels.row_sums import RowSums
from render.light.cube_geometry import FACE_AXIS, FACE_X, FACE_Y, texel_solid_angles
from render.light.specular_rows import Indices, SpecularRows, pyramid_resolutions

SYMMETRIES = 48


def _pool_weights(resolution: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Shares of four texels in the mean of their cell, by solid angle: [R / 2, 2, R / 2, 2, 1]."""
    area = texel_solid_angles(resolution, dtype=torch.float64).view(resolution // 2, 2, resolution // 2, 2, 1)
    return (area / area.sum(dim=(1, 3), keepdim=True)).to(device, dtype)


@lru_cache(maxsize=32)
def _kept_pool_weights(resolution: int, device: str, dtype: torch.dtype) -> Tensor:
    return _pool_weights(resolution, torch.device(device), dtype)


def mean_of_fours(cube: Tensor) -> Tensor:
    """Cube map [6, R, R, C], R even -> the means of 2 x 2 texels, weighted by solid angle: [6, R / 2, R / 2, C]."""
    resolution, channels = cube.shape[1], cube.shape[-1]
    half = resolution // 2
    weight = _kept_pool_weights(resolution, str(cube.device), cube.dtype)
    return (cube.reshape(6, half, 2, half, 2, channels) * weight).sum(dim=(2, 4))


class SymmetricRows:
    """A sparse linear operator from cells to texels that is the same under the cube's 48 symmetries.

    resolutions  of the cube maps that the cells belong to, one after another: [6 * R * R] each
    levels       the rows of each level for one eighth of face 0, or, with 8 symmetries, for the octant of positive axes
    symmetries   48, or 8 for the reflections alone

    Attributes: ``weights``, how many weights are stored, and ``rows``, how many rows; a full matrix has 48 times as
    many. Memory: 8 bytes a weight in float32, twice that after the first use of the transpose.
    """

    def __init__(
        self,
        resolutions: Sequence[int],
        levels: Sequence[SpecularRows],
        device: torch.device,
        dtype: torch.dtype,
        symmetries: int = SYMMETRIES,
    ) -> None:
        self.symmetries = symmetries
        self.resolutions = list(resolutions)
        self.cells = sum(6 * r * r for r in self.resolutions)
        levels = [_along_a_curve(level) for level in levels]
        counts = [len(level.texels) for level in levels]
        starts = np.cumsum([0, *counts])
        self.rows = int(starts[-1])
        rows = (level.row + level.row.dtype.type(start) for level, start in zip(levels, starts, strict=False))
        row = np.concatenate([np.zeros(0, np.int32), *rows])
        cell = np.concatenate([np.zeros(0, np.int32), *(level.cell for level in levels)])
        weight = np.concatenate([np.zeros(0, np.float32), *(level.weight for level in levels)])
        used = np.flatnonzero(np.bincount(cell, minlength=self.cells))
        used = used[np.argsort(self._curve(used), kind="stable")]
        columns = np.zeros(self.cells, np.int32)
        columns[used] = np.arange(len(used), dtype=np.int32)
        column = columns[cell]
        self.weights = len(row)
        self._columns = len(used)
        self._row = torch.from_numpy(row.astype(np.int32, copy=False)).to(device)
        self._sums = RowSums(
            torch.from_numpy(column).to(device),
            _offsets(row, self.rows).to(device),
            torch.from_numpy(weight).to(device, dtype),
        )
        # The cell to which each symmetry moves a column's cell: [columns, symmetries].
        moved, start = np.zeros((len(used), symmetries), np.int32), 0
        for resolution in self.resolutions:
            end = start + 6 * resolution * resolution
            within = (used >= start) & (used < end)
            moved[within] = _move_texels(used[within] - start, resolution, symmetries) + np.int32(start)
            start = end
        self._moved = torch.from_numpy(moved.reshape(-1)).to(device)
        # Which (row, symmetry) gives each texel of the levels, in order. Some texels have several, which are all equal.
        picks = [np.zeros(0, np.int64)]
        for level, first in zip(levels, starts, strict=False):
            target = _move_texels(level.texels, level.resolution, symmetries).reshape(-1)
            pick = np.empty(6 * level.resolution**2, np.int64)
            pick[target] = np.arange(len(target)) + first * symmetries
            picks.append(pick)
        self._pick = torch.from_numpy(np.concatenate(picks)).to(device)
        self.texels = len(self._pick)

    @property
    def columns(self) -> int:
        """How many cells the stored rows read; the symmetries are not counted."""
        return self._columns

    @property
    def moved(self) -> Tensor:
        """The cell of each column under each symmetry, int32 [columns * symmetries]."""
        return self._moved

    @property
    def pick(self) -> Tensor:
        """Which (row, symmetry) gives each texel of the levels, int64 [T]: row * symmetries + symmetry."""
        return self._pick

    @property
    def forward(self) -> tuple[Tensor, Tensor, Tensor]:
        """The sparse matrix of rows by columns: column, where each row begins, and weight."""
        return _parts_of(self._sums)

    @property
    def transposed(self) -> tuple[Tensor, Tensor, Tensor]:
        """Its transpose: row, where each column begins, and weight."""
        return _parts_of(self._transposed_sums)

    @property
    def moved_transposed(self) -> tuple[Tensor, Tensor]:
        """The places in `moved` that name each cell, int32 [K], and where each cell's begin and end, int32 [cells + 1]."""
        end = torch.tensor([len(self._moved)], dtype=torch.int32, device=self._moved.device)
        return self._moved_sums.index, torch.cat([self._moved_sums.offset, end])

    def forget_transposes(self) -> None:
        """Free the memory of the transposes; they are made again when they are needed."""
        self.__dict__.pop("_transposed_sums", None)
        self.__dict__.pop("_moved_sums", None)

    def multiply(self, pyramid: Tensor) -> Tensor:
        """Pyramid [cells, C] -> texels of all levels [T, C]."""
        channels = pyramid.shape[1]
        moved = torch.index_select(pyramid, 0, self._moved).view(self._columns, self.symmetries * channels)
        rows = self._sums.apply(moved)
        return torch.index_select(rows.view(-1, channels), 0, self._pick)

    def multiply_transposed(self, gradient: Tensor) -> Tensor:
        """Texels of all levels [T, C] -> pyramid [cells, C]."""
        channels = gradient.shape[1]
        rows = gradient.new_zeros(self.rows * self.symmetries, channels).index_copy_(0, self._pick, gradient)
        moved = self._transposed_sums.apply(rows.view(self.rows, -1))
        return self._moved_sums.apply(moved.view(-1, channels))

    def _curve(self, cell: Indices) -> NDArray[np.int64]:
        """Keys that sort cells [N] by resolution, face, and place along a curve: the same rows read neighboring cells."""
        starts = np.cumsum([0, *(6 * r * r for r in self.resolutions)])
        depth = np.searchsorted(starts, cell, side="right") - 1
        resolution = np.array(self.resolutions)[depth]
        face, in_face = np.divmod(cell - starts[depth], resolution * resolution)
        keys: NDArray[np.int64] = (depth * 6 + face << 40) | _morton(*np.divmod(in_face, resolution))
        return keys

    @cached_property
    def _transposed_sums(self) -> RowSums:
        index, _, weight = self.forward
        column = index.cpu().numpy()
        order = torch.from_numpy(np.argsort(column, kind="stable")).to(self._row.device)
        offsets = _offsets(column, self._columns).to(self._row.device)
        return RowSums(self._row[order], offsets, weight[order])

    @cached_property
    def _moved_sums(self) -> RowSums:
        moved = self._moved.cpu().numpy()
        order = torch.from_numpy(np.argsort(moved, kind="stable").astype(np.int32))
        return RowSums(order.to(self._moved.device), _offsets(moved, self.cells).to(self._moved.device))


class SparseRows(SymmetricRows):
    """`SymmetricRows` for the cells of a pyramid of the base's means."""

    def __init__(
        self, base_resolution: int, levels: Sequence[SpecularRows], device: torch.device, dtype: torch.dtype
    ) -> None:
        super().__init__(pyramid_resolutions(base_resolution), levels, device, dtype)
        self.base_resolution = base_resolution
        self.pool = [_pool_weights(r, device, dtype) for r in self.resolutions[:-1]]

    def pyramid(self, base: Tensor) -> Tensor:
        """Base [6, R, R, C] -> the means of all cells, finest first: [cells, C]."""
        level, channels = base, base.shape[-1]
        parts = [level.reshape(-1, channels)]
        for weight in self.pool:
            half = level.shape[1] // 2
            level = (level.reshape(6, half, 2, half, 2, channels) * weight).sum(dim=(2, 4))
            parts.append(level.reshape(-1, channels))
        return torch.cat(parts)

    def pyramid_transposed(self, gradient: Tensor) -> Tensor:
        """The transpose of `pyramid`: [cells, C] -> [6, R, R, C]."""
        channels = gradient.shape[1]
        parts = torch.split(gradient, [6 * r * r for r in self.resolutions])
        total = parts[-1].view(6, self.resolutions[-1], self.resolutions[-1], channels)
        for part, weight, resolution in zip(parts[-2::-1], self.pool[::-1], self.resolutions[-2::-1], strict=True):
            half = resolution // 2
            spread = total.view(6, half, 1, half, 1, channels) * weight
            total = part.view(6, resolution, resolution, channels) + spread.reshape(6, resolution, resolution, channels)
        return total


def _parts_of(sums: RowSums) -> tuple[Tensor, Tensor, Tensor]:
    """Index, offset and weight of sums that have weights."""
    assert sums.weight is not None
    return sums.index, sums.offset, sums.weight


def _morton(row: Indices, column: Indices) -> NDArray[np.int64]:
    """The place of texels along Morton's curve, int64 [N]: up to 20 bits of row and column, alternating."""
    place = np.zeros(len(row), np.int64)
    for bit in range(20):
        place |= ((row >> bit) & 1).astype(np.int64) << (2 * bit + 1) | ((column >> bit) & 1).astype(
            np.int64
        ) << 2 * bit
    return place


def _along_a_curve(level: SpecularRows) -> SpecularRows:
    """The level with its rows in the order of their texels along a curve, so that neighboring rows read the same cells."""
    face, in_face = np.divmod(level.texels, level.resolution**2)
    order = np.argsort((face << 40) | _morton(*np.divmod(in_face, level.resolution)), kind="stable")
    rank = np.empty(len(order), level.row.dtype)
    rank[order] = np.arange(len(order))
    row = rank[level.row]
    by_row = np.argsort(row, kind="stable")
    return SpecularRows(row[by_row], level.cell[by_row], level.weight[by_row], level.texels[order], level.resolution)


def _offsets(index: Indices, size: int) -> Tensor:
    """Where each of ``size`` values begins in the sorted index, as embedding_bag needs it: int32 [size]."""
    counts = np.bincount(index, minlength=size)
    return torch.from_numpy((np.cumsum(counts) - counts).astype(np.int32))


@lru_cache(maxsize=1)
def _symmetry_tables() -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """For face and symmetry: the face it becomes [6, 48], and how (x, y) turn, [6, 48, 2, 2] of -1, 0, 1; int32.

    The first eight are the reflections of the axes.
    """
    in_x, in_y, axis = (np.array(table) for table in (FACE_X, FACE_Y, FACE_AXIS))
    faces = np.empty((6, SYMMETRIES), np.int32)
    turns = np.empty((6, SYMMETRIES, 2, 2), np.int32)
    matrices = [
        np.eye(3, dtype=np.int32)[list(order)] * np.array(signs)[:, None]
        for order in permutations(range(3))
        for signs in product((1, -1), repeat=3)
    ]
    for symmetry, matrix in enumerate(matrices):
        for face in range(6):
            target = int(np.argmax(axis @ matrix @ axis[face]))
            faces[face, symmetry] = target
            plane = np.stack([in_x[target], in_y[target]])
            turns[face, symmetry] = plane @ matrix @ np.stack([in_x[face], in_y[face]], axis=1)
    return faces, turns


def _move_texels(texel: Indices, resolution: int, symmetries: int) -> NDArray[np.int32]:
    """The texels to which the first symmetries move the texels [N] of a cube [6 * R * R]: int32 [N, symmetries]."""
    faces, turns = (table[:, :symmetries] for table in _symmetry_tables())
    face, in_face = np.divmod(texel, resolution * resolution)
    y, x = (part[:, None].astype(np.int32) * 2 + 1 - resolution for part in np.divmod(in_face, resolution))
    turn = turns[face]
    column = (turn[:, :, 0, 0] * x + turn[:, :, 0, 1] * y + resolution - 1) // 2
    row = (turn[:, :, 1, 0] * x + turn[:, :, 1, 1] * y + resolution - 1) // 2
    moved: NDArray[np.int32] = (faces[face] * resolution + row) * resolution + column
    return moved
