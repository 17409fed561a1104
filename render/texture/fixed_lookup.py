"""Texture lookup at fixed positions: the taps of a trilinear lookup, known in advance, as a sparse linear operator.

While geometry and cameras do not change, the texels that a sample reads and their weights do not change either. A
lookup is then a constant sparse matrix times the texels, and its gradient the transposed matrix: no atomics, no
rasterizer, and both directions are `embedding_bag`, the fastest gather-and-sum of PyTorch on a CPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F

from render.core.autograd import apply_function
from render.texture.map_size import MapSize, Size, map_size, size_of
from render.texture.sampling import linear_taps


def mip_count(resolution: Size, smallest: int = 4) -> int:
    """Number of levels of a texture, halving while both edges are even and the halves no shorter than `smallest`."""
    levels, size = 1, map_size(resolution)
    while size.is_even and size.shorter // 2 >= smallest:
        size = size.halved()
        levels += 1
    return levels


def mip_offsets(resolution: MapSize, levels: int) -> list[int]:
    """The first row of each level in a pyramid's rows, and behind the last one their number."""
    offsets = [0]
    for level in range(levels):
        offsets.append(offsets[-1] + resolution.halved(level).texels)
    return offsets


class _PyramidShape(Protocol):
    """What `_Pyramid` keeps for its gradient."""

    resolution: MapSize
    levels: int


class _Pyramid(torch.autograd.Function):
    """All mip levels of a texture [H, W, C] as rows [texels of all levels, C].

    The gradient of a coarse texel spreads over the finer level bilinearly (nvdiffrec's smooth mip gradient). The exact
    transpose of the 2x2 mean would leave 2x2 blocks in the texture.
    """

    @staticmethod
    def forward(ctx: _PyramidShape, texture: torch.Tensor, levels: int) -> torch.Tensor:
        ctx.resolution, ctx.levels = size_of(texture), levels
        rows, current = [texture.reshape(-1, texture.shape[-1])], texture
        for _ in range(levels - 1):
            top = current[0::2] + current[1::2]
            current = (top[:, 0::2] + top[:, 1::2]) * 0.25
            rows.append(current.reshape(-1, texture.shape[-1]))
        return torch.cat(rows)

    @staticmethod
    def backward(ctx: _PyramidShape, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        offsets = mip_offsets(ctx.resolution, ctx.levels)
        sizes = [ctx.resolution.halved(level) for level in range(ctx.levels)]
        own = [gradient[offsets[k] : offsets[k + 1]].reshape(*size, -1) for k, size in enumerate(sizes)]
        total = own.pop()
        while own:
            wide = F.interpolate(total.permute(2, 0, 1)[None], scale_factor=2, mode="bilinear", align_corners=False)
            total = own.pop() + 0.25 * wide[0].permute(1, 2, 0)
        return total, None


def pyramid(texture: torch.Tensor, levels: int) -> torch.Tensor:
    """Mip levels of [H, W, C] (both divisible by 2^(levels-1)) stacked as rows [sum of texels, C]; smooth gradient."""
    rows: torch.Tensor = apply_function(_Pyramid, texture, levels)
    return rows


@dataclass(frozen=True)
class Taps:
    """The constant sparse matrix of a set of lookups, and its transpose.

    index, weight   int32, float32 [S, 8] (4 where there is one level): the texel rows of each sample
    touched         int64 [U]: the texel rows that any sample reads
    transposed_index, transposed_weight, transposed_offset: for each touched row, the samples that read it (int32)
    rows            the number of texel rows in the pyramid
    """

    index: torch.Tensor
    weight: torch.Tensor
    touched: torch.Tensor
    transposed_index: torch.Tensor
    transposed_weight: torch.Tensor
    transposed_offset: torch.Tensor
    rows: int


def trilinear_taps(uv: torch.Tensor, level: torch.Tensor, resolution: Size, levels: int) -> Taps:
    """Taps of trilinear lookups with repeat wrapping.

    uv     float [S, 2], v pointing down; the center of texel (row i, column j) is at ((j + 0.5) / W, (i + 0.5) / H)
    level  float [S], level of detail, clamped to 0 .. levels - 1
    """
    size = map_size(resolution)
    sizes = [size.halved(number) for number in range(levels)]
    index, weight = linear_taps(uv, level, sizes)
    return _with_transpose(index, weight.float(), mip_offsets(size, levels)[-1])


def _with_transpose(index: torch.Tensor, weight: torch.Tensor, rows: int) -> Taps:
    index = index.int()  # taps are most of what a fit without a GPU holds in memory
    flat = index.reshape(-1)
    order = torch.argsort(flat)
    touched, count = torch.unique_consecutive(flat[order], return_counts=True)
    offset = (torch.cumsum(count, 0) - count).int()
    samples = (order // index.shape[1]).int()
    return Taps(index, weight, touched.long(), samples, weight.reshape(-1)[order], offset, rows)


class _ContextWithTaps(Protocol):
    """What `_Lookup` keeps for its gradient."""

    taps: Taps


class _Lookup(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _ContextWithTaps, texels: torch.Tensor, taps: Taps) -> torch.Tensor:
        ctx.taps = taps
        return F.embedding_bag(taps.index, texels, per_sample_weights=taps.weight.to(texels.dtype), mode="sum")

    @staticmethod
    def backward(ctx: _ContextWithTaps, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        taps = ctx.taps
        summed = F.embedding_bag(
            taps.transposed_index,
            gradient.contiguous(),
            taps.transposed_offset,
            per_sample_weights=taps.transposed_weight.to(gradient.dtype),
            mode="sum",
        )
        texels = gradient.new_zeros(taps.rows, gradient.shape[1])
        texels[taps.touched] = summed
        return texels, None


def lookup(texels: torch.Tensor, taps: Taps) -> torch.Tensor:
    """Texel rows [rows, C] read through the taps -> [S, C]; differentiable in the texels."""
    samples: torch.Tensor = apply_function(_Lookup, texels, taps)
    return samples
