"""Triton: trilinear lookups in a mip pyramid of rows, and their transpose."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _tap(uv, sample, valid, height, width, number, ROW: tl.constexpr, COLUMN: tl.constexpr):
    """One of the four texels around a sample: its row in the pyramid, and its weight within the level."""
    rows, columns = height >> number, width >> number
    # Texels of the finer levels: 4 / 3 of how many the finest has more, as each level has a quarter of the next finer one's.
    start = (height * width - rows * columns) // 3 * 4
    x = tl.load(uv + sample * 2, mask=valid, other=0.0) * columns - 0.5
    y = tl.load(uv + sample * 2 + 1, mask=valid, other=0.0) * rows - 0.5
    left, top = tl.floor(x), tl.floor(y)
    right_share, lower_share = x - left, y - top
    column = (left.to(tl.int32) + COLUMN) % columns
    column = tl.where(column < 0, column + columns, column)
    row = (top.to(tl.int32) + ROW) % rows
    row = tl.where(row < 0, row + rows, row)
    weight = right_share if COLUMN == 1 else 1 - right_share
    weight = weight * (lower_share if ROW == 1 else 1 - lower_share)
    return start + row * columns + column, weight


@triton.jit
def _levels(level, sample, valid, LEVELS: tl.constexpr):
    """The finer of the two levels that a sample reads, and the share of the coarser one."""
    wanted = tl.load(level + sample, mask=valid, other=0.0)
    wanted = tl.minimum(tl.maximum(wanted, 0.0), LEVELS - 1.0)
    finer = tl.minimum(tl.floor(wanted), (LEVELS - 2.0) if LEVELS > 1 else 0.0)
    return finer.to(tl.int32), wanted - finer


@triton.jit
def look_up(
    texels,
    uv,
    level,
    result,
    samples,
    height,
    width,
    LEVELS: tl.constexpr,
    CHANNELS: tl.constexpr,
    LANES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """result[s, c] = the pyramid read at uv[s] and level[s]."""
    sample = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    channel = tl.arange(0, LANES)
    valid = sample < samples
    both = valid[:, None] & (channel < CHANNELS)[None, :]
    finer, coarser_share = _levels(level, sample, valid, LEVELS)
    total = tl.zeros([BLOCK, LANES], tl.float32)
    for step in tl.static_range(2 if LEVELS > 1 else 1):
        share = coarser_share if step == 1 else 1 - coarser_share
        for corner in tl.static_range(4):
            row, weight = _tap(uv, sample, valid, height, width, finer + step, corner // 2, corner % 2)
            values = tl.load(texels + row[:, None] * CHANNELS + channel[None, :], mask=both, other=0.0)
            total += (share * weight)[:, None] * values
    tl.store(result + sample[:, None] * CHANNELS + channel[None, :], total, mask=both)


@triton.jit
def spread(
    gradient,
    uv,
    level,
    texels,
    samples,
    height,
    width,
    LEVELS: tl.constexpr,
    CHANNELS: tl.constexpr,
    LANES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """texels += the transpose of `look_up` times gradient[s, c]; atomic, so the sums differ in their last digits."""
    sample = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    channel = tl.arange(0, LANES)
    valid = sample < samples
    both = valid[:, None] & (channel < CHANNELS)[None, :]
    finer, coarser_share = _levels(level, sample, valid, LEVELS)
    values = tl.load(gradient + sample[:, None] * CHANNELS + channel[None, :], mask=both, other=0.0)
    for step in tl.static_range(2 if LEVELS > 1 else 1):
        share = coarser_share if step == 1 else 1 - coarser_share
        for corner in tl.static_range(4):
            row, weight = _tap(uv, sample, valid, height, width, finer + step, corner // 2, corner % 2)
            change = (share * weight)[:, None] * values
            tl.atomic_add(texels + row[:, None] * CHANNELS + channel[None, :], change, mask=both, sem="relaxed")
