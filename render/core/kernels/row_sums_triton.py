"""Triton: sums of weighted rows: wide rows in pieces of equal length, narrow rows with one segment a lane."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def wide_pieces(
    source,
    index,
    weight,
    piece_start,
    piece_end,
    result,
    width,
    UNROLL: tl.constexpr,
    LANES: tl.constexpr,
):
    """result[p] = sum of weight[k] * source[index[k]] over k in piece p; one program a piece."""
    piece = tl.program_id(0)
    lane = tl.arange(0, LANES)
    inside = lane < width
    first, end = tl.load(piece_start + piece), tl.load(piece_end + piece)
    total = tl.zeros([LANES], tl.float32)
    for k in range(first, end, UNROLL):
        for step in tl.static_range(UNROLL):
            valid = k + step < end
            row = tl.load(index + k + step, mask=valid, other=0)
            share = tl.load(weight + k + step, mask=valid, other=0.0)
            total += share * tl.load(source + row.to(tl.int64) * width + lane, mask=inside & valid, other=0.0)
    tl.store(result + piece.to(tl.int64) * width + lane, total, mask=inside)


@triton.jit
def wide_totals(pieces, first_piece, result, width, LANES: tl.constexpr):
    """result[s] = sum of the pieces first_piece[s] .. first_piece[s + 1]; one program a segment."""
    segment = tl.program_id(0)
    lane = tl.arange(0, LANES)
    inside = lane < width
    total = tl.zeros([LANES], tl.float32)
    for piece in range(tl.load(first_piece + segment), tl.load(first_piece + segment + 1)):
        total += tl.load(pieces + piece * width + lane, mask=inside, other=0.0)
    tl.store(result + segment.to(tl.int64) * width + lane, total, mask=inside)


@triton.jit
def narrow_sums(source, index, offset, result, segments, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """result[s] = sum of source[index[k]] over k in offset[s] .. offset[s + 1]; WIDTH values a row, one segment a lane."""
    segment = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    valid = segment < segments
    first = tl.load(offset + segment, mask=valid, other=0)
    count = tl.load(offset + segment + 1, mask=valid, other=0) - first
    longest = tl.max(count, axis=0)
    for channel in tl.static_range(WIDTH):
        total = tl.zeros([BLOCK], tl.float32)
        for step in range(0, longest):
            taken = step < count
            row = tl.load(index + first + step, mask=taken, other=0)
            total += tl.load(source + row.to(tl.int64) * WIDTH + channel, mask=taken, other=0.0)
        tl.store(result + segment.to(tl.int64) * WIDTH + channel, total, mask=valid)
