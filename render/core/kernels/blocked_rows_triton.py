"""Triton: a sparse matrix of dense blocks times wide rows."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def blocked_pieces(
    source, column, weight, piece_start, piece_end, piece_slot, result, width,
    TILE: tl.constexpr, STEP: tl.constexpr, BIG: tl.constexpr, REST: tl.constexpr,
):  # fmt: skip
    """Lines slot * TILE .. of the result = weight[k, line] * source[column[k]] summed over k in the piece; one program a piece.

    A row is BIG lanes and REST more, both powers of two, because the sides of a block must be.
    """
    piece = tl.program_id(0)
    first, last = tl.load(piece_start + piece), tl.load(piece_end + piece)
    line, big, rest = tl.arange(0, TILE), tl.arange(0, BIG), BIG + tl.arange(0, REST)
    is_big, is_rest = (big < width)[None, :], (rest < width)[None, :]
    most = tl.zeros([TILE, BIG], tl.float32)
    others = tl.zeros([TILE, REST], tl.float32)
    for start in range(first, last, STEP):
        k = start + tl.arange(0, STEP)
        row = source + (tl.load(column + k).to(tl.int64) * width)[:, None]
        share = tl.load(weight + (k.to(tl.int64) * TILE)[None, :] + line[:, None])
        read = tl.load(row + big[None, :], mask=is_big, other=0.0)
        most = tl.dot(share, read, most, input_precision="ieee")
        read = tl.load(row + rest[None, :], mask=is_rest, other=0.0)
        others = tl.dot(share, read, others, input_precision="ieee")
    to = result + ((tl.load(piece_slot + piece).to(tl.int64) * TILE + line) * width)[:, None]
    tl.store(to + big[None, :], most, mask=is_big)
    tl.store(to + rest[None, :], others, mask=is_rest)


@triton.jit
def add_pieces(result, tile, first_slot, last_slot, width, TILE: tl.constexpr, LANES: tl.constexpr):
    """Add up the slots of the tiles that have several: the first slot is the tile's own, the others follow one another.

    Program (i, line) does one line of the i-th such tile.
    """
    number, line = tl.program_id(0), tl.program_id(1)
    lane = tl.arange(0, LANES)
    inside = lane < width
    to = result + (tl.load(tile + number).to(tl.int64) * TILE + line) * width + lane
    total = tl.load(to, mask=inside, other=0.0)
    for slot in range(tl.load(first_slot + number), tl.load(last_slot + number)):
        total += tl.load(result + (slot * TILE + line) * width + lane, mask=inside, other=0.0)
    tl.store(to, total, mask=inside)
