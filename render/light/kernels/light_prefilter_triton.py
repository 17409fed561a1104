"""Triton: move values between a cube map's pyramid, the rows of its prefilter and the atlas; both directions only gather."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["places"])
def fill_atlas(base, rows, fetch, atlas, places, BLOCK: tl.constexpr):
    """atlas[p] = base[fetch[p]], or rows[-2 - fetch[p]] where that is negative, or 0 where it is -1; three channels."""
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    valid = place < places
    code = tl.load(fetch + place, mask=valid, other=-1)
    is_base, is_row = code >= 0, code < -1
    for channel in tl.static_range(3):
        value = tl.load(base + code * 3 + channel, mask=is_base, other=0.0)
        value += tl.load(rows + (-2 - code) * 3 + channel, mask=is_row, other=0.0)
        tl.store(atlas + place * 3 + channel, value, mask=valid)


@triton.jit(do_not_specialize=["corners"])
def fill_corners(atlas, place, touching, corners, BLOCK: tl.constexpr):
    """atlas[place[i]] = the mean of the three texels touching[i]."""
    number = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    valid = number < corners
    to = tl.load(place + number, mask=valid, other=0)
    for channel in tl.static_range(3):
        total = tl.zeros([BLOCK], tl.float32)
        for which in tl.static_range(3):
            at = tl.load(touching + number * 3 + which, mask=valid, other=0)
            total += tl.load(atlas + at * 3 + channel, mask=valid, other=0.0)
        tl.store(atlas + to * 3 + channel, total / 3, mask=valid)


@triton.jit(do_not_specialize=["borders"])
def fold_padding(gradient, place, offset, pad, share, borders, STRIDE: tl.constexpr, BLOCK: tl.constexpr):
    """gradient[place[i]] += share[k] * gradient[pad[k]] over k in offset[i] .. offset[i + 1], its copies."""
    number = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    valid = number < borders
    first = tl.load(offset + number, mask=valid, other=0)
    count = tl.load(offset + number + 1, mask=valid, other=0) - first
    to = tl.load(place + number, mask=valid, other=0) * STRIDE
    for channel in tl.static_range(3):
        total = tl.load(gradient + to + channel, mask=valid, other=0.0)
        for step in range(0, tl.max(count, axis=0)):
            taken = step < count
            at = tl.load(pad + first + step, mask=taken, other=0) * STRIDE + channel
            total += tl.load(share + first + step, mask=taken, other=0.0) * tl.load(
                gradient + at, mask=taken, other=0.0
            )
        tl.store(gradient + to + channel, total, mask=valid)


@triton.jit(do_not_specialize=["count"])
def gather_rows(gradient, place, rows, count, STRIDE: tl.constexpr, BLOCK: tl.constexpr):
    """rows[i] = gradient[place[i]], or 0 where the place is -1; three channels."""
    number = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    valid = number < count
    at = tl.load(place + number, mask=valid, other=-1)
    for channel in tl.static_range(3):
        value = tl.load(gradient + at * STRIDE + channel, mask=valid & (at >= 0), other=0.0)
        tl.store(rows + number * 3 + channel, value, mask=valid)


@triton.jit(do_not_specialize=["cells"])
def sum_cells(
    moved, index, offset, gradient, result, resolution, cells, STRIDE: tl.constexpr, LEFT: tl.constexpr,
    TOP: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """result[c] = sum of moved[index[k]] over k in offset[c] .. offset[c + 1], plus, for texels of the base, their own gradient.

    The base has this resolution. It lies in the atlas' gradient as six padded faces; the first begins at TOP, LEFT.
    """
    cell = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    valid = cell < cells
    in_face = cell % (resolution * resolution)
    face, row, column = cell // (resolution * resolution), in_face // resolution, in_face % resolution
    is_base = valid & (face < 6)
    at = ((TOP + 1 + row) * WIDTH + LEFT + face * (resolution + 2) + 1 + column) * STRIDE
    red = tl.load(gradient + at, mask=is_base, other=0.0)
    green = tl.load(gradient + at + 1, mask=is_base, other=0.0)
    blue = tl.load(gradient + at + 2, mask=is_base, other=0.0)
    first = tl.load(offset + cell, mask=valid, other=0)
    count = tl.load(offset + cell + 1, mask=valid, other=0) - first
    for step in range(0, tl.max(count, axis=0)):
        taken = step < count
        entry = tl.load(index + first + step, mask=taken, other=0) * 3
        red += tl.load(moved + entry, mask=taken, other=0.0)
        green += tl.load(moved + entry + 1, mask=taken, other=0.0)
        blue += tl.load(moved + entry + 2, mask=taken, other=0.0)
    tl.store(result + cell * 3, red, mask=valid)
    tl.store(result + cell * 3 + 1, green, mask=valid)
    tl.store(result + cell * 3 + 2, blue, mask=valid)
