"""Make from a cube map all that shading looks up, and take gradients back, with a dozen Triton kernels.

The plain PyTorch way is `SpecularPrefilter.apply`, `CubeAtlas.pack` and `irradiance_sh` one after another. The kernels
write each value once in each direction: rows of the prefilter go straight into the atlas, and the irradiance reads the
pyramid that the prefilter makes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from render.core.autograd import apply_function
from render.core.kernels import has_triton
from render.core.kernels.blocked_rows import BlockedRows
from render.core.kernels.launch import grid
from render.light.cube_atlas import CubeAtlas
from render.light.kernels.cube_pyramid import fill_pyramid, fold_pyramid
from render.light.prefilter import IRRADIANCE_RESOLUTION, SpecularPrefilter, irradiance_matrix

_BLOCK = 128
_EMPTY = -1


def can_prefilter(base: torch.Tensor, operator: SpecularPrefilter) -> bool:
    """Whether `LightPrefilter` can be used: float32, three channels, Triton runs, and only the first level copies the base."""
    rough = [level.roughness > 0 for level in operator.levels]
    is_plain = not rough[0] and all(rough[1:]) and len(rough) > 1
    return is_plain and base.dtype == torch.float32 and base.shape[-1] == 3 and has_triton(base.device)


@dataclass(frozen=True)
class FilteredCube:
    """pyramid: the means of the base, [cells, 3]; atlas [H, W, 3]; irradiance [9, 3]."""

    pyramid: torch.Tensor
    atlas: torch.Tensor
    irradiance: torch.Tensor


class LightPrefilter:
    """The prefilter of one resolution with its atlas; make it with `light_prefilter`, which keeps it for the process."""

    def __init__(self, operator: SpecularPrefilter, layout: CubeAtlas) -> None:
        rows = operator.rows
        self.device = rows.moved.device
        self.resolutions, self.cells = list(rows.resolutions), rows.cells
        self.layout = layout
        self._rows, self._symmetries = rows.rows, rows.symmetries
        self._pool = [weight.reshape(2 * weight.shape[0], -1).contiguous() for weight in rows.pool]
        self._moved = rows.moved
        self._forward = BlockedRows(*rows.forward, rows.columns)
        self._backward = BlockedRows(*rows.transposed, rows.rows)
        self._cell_index, self._cell_offset = rows.moved_transposed
        rows.forget_transposes()
        small = [r for r in self.resolutions if r <= IRRADIANCE_RESOLUTION]
        self._irradiance_level = self.resolutions.index(small[0]) if small else len(self.resolutions) - 1
        resolution = self.resolutions[self._irradiance_level]
        self._irradiance = irradiance_matrix(resolution, str(self.device), torch.float32)
        self._lay_out(rows.pick.cpu().numpy())

    def _lay_out(self, pick: NDArray[np.int64]) -> None:
        """Find where each texel of the atlas comes from, and where its gradient goes."""
        layout, width = self.layout, self.layout.width
        source = layout.source.cpu().numpy()
        places, texels = [], 6 * sum(place[0] ** 2 for place in layout.places)
        for resolution, top, left in layout.places:
            face, row, column = np.indices((6, resolution, resolution)).reshape(3, -1)
            places.append((top + 1 + row) * width + left + face * (resolution + 2) + 1 + column)
        place = np.concatenate(places)
        base = 6 * self.resolutions[0] ** 2
        code = np.concatenate([np.arange(base), -2 - pick, np.full(8 * layout.levels + 1, _EMPTY)])
        is_corner = (source >= texels) & (source < texels + 8 * layout.levels)
        self._fetch = self._on_device(code[source])
        corner = np.flatnonzero(is_corner)
        touching = place[layout.corners.cpu().numpy()[source[corner] - texels]]
        self._corner, self._touching = self._on_device(corner), self._on_device(touching)

        padding = np.flatnonzero(source < texels)
        padding = padding[place[source[padding]] != padding]
        owner = np.concatenate([place[source[padding]], touching.reshape(-1)])
        copy = np.concatenate([padding, np.repeat(corner, 3)])
        share = np.concatenate([np.ones(len(padding), np.float32), np.full(3 * len(corner), 1 / 3, np.float32)])
        order = np.argsort(owner, kind="stable")
        border, first = np.unique(owner[order], return_index=True)
        self._border, self._pad = self._on_device(border), self._on_device(copy[order])
        self._border_offset = self._on_device(np.append(first, len(owner)))
        self._pad_share = torch.from_numpy(share[order]).to(self.device)

        row_place = np.full(self._rows * self._symmetries, _EMPTY)
        row_place[pick] = place[base:]
        self._row_place = self._on_device(row_place)

    def _on_device(self, index: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(index, np.int32)).to(self.device)

    @property
    def nbytes(self) -> int:
        """Size of the operator, its transpose and their tables."""
        tensors = [value for value in vars(self).values() if isinstance(value, torch.Tensor)]
        return self._forward.nbytes + self._backward.nbytes + sum(tensor.nbytes for tensor in tensors)

    @property
    def product_bytes(self) -> int:
        """How much both products must read and write: their blocks once, and the rows and columns of each."""
        values = 4 * self._symmetries * 3
        return self._forward.nbytes + self._backward.nbytes + 2 * values * (self._forward.rows + self._backward.rows)

    @property
    def sum_bytes(self) -> int:
        """How much the sums over the cells' columns must read."""
        return self._cell_index.nbytes + self._cell_offset.nbytes + 12 * len(self._cell_index)

    def levels_of(self, pyramid: torch.Tensor) -> list[torch.Tensor]:
        """Views [6, R_i, R_i, 3] of a pyramid [cells, 3], finest first."""
        parts = torch.split(pyramid, [6 * r * r for r in self.resolutions])
        return [part.view(6, r, r, 3) for part, r in zip(parts, self.resolutions, strict=True)]

    def empty_pyramid(self) -> torch.Tensor:
        """Room for a pyramid or its gradient, [cells, 3]."""
        return torch.empty(self.cells, 3, device=self.device)

    def forward(self, pyramid: torch.Tensor) -> FilteredCube:
        """Prefilter a base, which lies in the first rows of `pyramid` [cells, 3]; this fills the other rows."""
        # Late: Triton is not there on every machine.
        from render.light.kernels.light_prefilter_triton import fill_atlas, fill_corners

        levels = self.levels_of(pyramid)
        fill_pyramid(levels, self._pool)
        moved = torch.index_select(pyramid, 0, self._moved).view(-1, self._symmetries * 3)
        rows = self._forward.apply(moved)
        places = self.layout.height * self.layout.width
        atlas = torch.empty(self.layout.height, self.layout.width, 3, device=self.device)
        fill_atlas[grid(places)](pyramid, rows, self._fetch, atlas, places, BLOCK=_BLOCK)
        corners = len(self._corner)
        fill_corners[grid(corners)](atlas, self._corner, self._touching, corners, BLOCK=_BLOCK)
        small = levels[self._irradiance_level]
        lines = small.reshape(self._irradiance.shape[0], small.shape[1], 3)
        return FilteredCube(pyramid, atlas, torch.bmm(self._irradiance, lines).sum(dim=0))

    def backward(self, atlas: torch.Tensor, irradiance: torch.Tensor) -> torch.Tensor:
        """The transpose: gradients of atlas and irradiance -> a pyramid [cells, 3] whose first rows are the base's gradient.

        atlas       float32 [H, W, 3], or with a fourth channel that is not read; its padding is added to its texels in place
        irradiance  float32 [9, 3]
        """
        # Late: Triton is not there on every machine.
        from render.light.kernels.light_prefilter_triton import fold_padding, gather_rows, sum_cells

        stride = atlas.shape[-1]
        borders = len(self._border)
        fold_padding[grid(borders)](
            atlas, self._border, self._border_offset, self._pad, self._pad_share, borders, STRIDE=stride, BLOCK=_BLOCK
        )
        count = self._rows * self._symmetries
        rows = torch.empty(count, 3, device=self.device)
        gather_rows[grid(count)](atlas, self._row_place, rows, count, STRIDE=stride, BLOCK=_BLOCK)
        moved = self._backward.apply(rows.view(self._rows, -1))
        gradient = self.empty_pyramid()
        resolution, top, left = self.layout.places[0]
        sum_cells[grid(self.cells)](
            moved, self._cell_index, self._cell_offset, atlas, gradient, resolution, self.cells,
            STRIDE=stride, LEFT=left, TOP=top, WIDTH=self.layout.width, BLOCK=_BLOCK,
        )  # fmt: skip
        levels = self.levels_of(gradient)
        lines = levels[self._irradiance_level].view(self._irradiance.shape[0], -1, 3)
        lines.baddbmm_(self._irradiance.transpose(1, 2), irradiance.expand(len(lines), 9, 3))
        fold_pyramid(levels, self._pool)
        return gradient


@lru_cache(maxsize=4)
def light_prefilter(operator: SpecularPrefilter, layout: CubeAtlas) -> LightPrefilter:
    """The `LightPrefilter` of an operator and its atlas."""
    return LightPrefilter(operator, layout)


class _FilterContext(Protocol):
    prefilter: LightPrefilter
    shape: torch.Size


class _Filter(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: _FilterContext, base: torch.Tensor, prefilter: LightPrefilter
    ) -> tuple[torch.Tensor, torch.Tensor]:
        ctx.prefilter, ctx.shape = prefilter, base.shape
        pyramid = prefilter.empty_pyramid()
        pyramid[: base.numel() // 3].copy_(base.reshape(-1, 3))
        filtered = prefilter.forward(pyramid)
        return filtered.irradiance, filtered.atlas

    @staticmethod
    def backward(ctx: _FilterContext, irradiance: torch.Tensor, atlas: torch.Tensor) -> tuple[torch.Tensor, None]:
        gradient = ctx.prefilter.backward(atlas.contiguous().clone(), irradiance.contiguous())
        return gradient[: ctx.shape[:3].numel()].view(ctx.shape), None


def filter_light(base: torch.Tensor, prefilter: LightPrefilter) -> tuple[torch.Tensor, torch.Tensor]:
    """Base [6, R, R, 3] -> irradiance [9, 3] and atlas [1, 3, H, W], channels innermost; differentiable in the base."""
    filtered: tuple[torch.Tensor, torch.Tensor] = apply_function(_Filter, base, prefilter)
    irradiance, atlas = filtered
    return irradiance, atlas.permute(2, 0, 1)[None]
