"""Triton: halve and enlarge cube maps, and the transposes of both; a lane does a texel. Cube maps: [6, R, R, 3], contiguous."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _place(texel, resolution):
    """Face, row and column of a texel."""
    in_face = texel % (resolution * resolution)
    return texel // (resolution * resolution), in_face // resolution, in_face % resolution


@triton.jit
def _texel(face, row, column, resolution):
    return (face * resolution + row) * resolution + column


@triton.jit
def _mean_of_four(source, weight, face, row, column, resolution, channel, valid):
    """One channel of the texel (row, column) of the map of half the resolution."""
    total = tl.zeros(row.shape, tl.float32)
    for corner in tl.static_range(4):
        fine_row, fine_column = 2 * row + corner // 2, 2 * column + corner % 2
        share = tl.load(weight + fine_row * resolution + fine_column, mask=valid, other=0.0)
        at = _texel(face, fine_row, fine_column, resolution) * 3 + channel
        total += share * tl.load(source + at, mask=valid, other=0.0)
    return total


@triton.jit(do_not_specialize=["texels"])
def halve(
    source, weight, result, further_weight, further, resolution, texels, TWICE: tl.constexpr, BLOCK: tl.constexpr
):
    """result = the means of 2 x 2 texels of the source; with TWICE, further = the means of the result too.

    `resolution` is the source's. A lane does a texel of the last map, which has `texels` of them.
    """
    lane = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    valid = lane < texels
    half = resolution // 2
    for channel in tl.static_range(3):
        if TWICE:
            face, row, column = _place(lane, half // 2)
            total = tl.zeros([BLOCK], tl.float32)
            for corner in tl.static_range(4):
                half_row, half_column = 2 * row + corner // 2, 2 * column + corner % 2
                mean = _mean_of_four(source, weight, face, half_row, half_column, resolution, channel, valid)
                tl.store(result + _texel(face, half_row, half_column, half) * 3 + channel, mean, mask=valid)
                total += mean * tl.load(further_weight + half_row * half + half_column, mask=valid, other=0.0)
            tl.store(further + lane * 3 + channel, total, mask=valid)
        else:
            face, row, column = _place(lane, half)
            mean = _mean_of_four(source, weight, face, row, column, resolution, channel, valid)
            tl.store(result + lane * 3 + channel, mean, mask=valid)


@triton.jit(do_not_specialize=["texels"])
def halve_transposed(
    fine, weight, half, further_weight, quarter, resolution, texels, TWICE: tl.constexpr, BLOCK: tl.constexpr
):
    """fine += the transpose of `halve` times the gradients half (and quarter); a lane does one of the fine `texels`."""
    lane = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    valid = lane < texels
    face, row, column = _place(lane, resolution)
    share = tl.load(weight + row * resolution + column, mask=valid, other=0.0)
    at_half = _texel(face, row // 2, column // 2, resolution // 2) * 3
    if TWICE:
        further_share = tl.load(further_weight + (row // 2) * (resolution // 2) + column // 2, mask=valid, other=0.0)
        at_quarter = _texel(face, row // 4, column // 4, resolution // 4) * 3
    for channel in tl.static_range(3):
        gradient = tl.load(half + at_half + channel, mask=valid, other=0.0)
        if TWICE:
            gradient += further_share * tl.load(quarter + at_quarter + channel, mask=valid, other=0.0)
        own = tl.load(fine + lane * 3 + channel, mask=valid, other=0.0)
        tl.store(fine + lane * 3 + channel, own + share * gradient, mask=valid)


@triton.jit
def _neighbor(index, size):
    """For a texel of a map twice as large, the second coarse texel that it mixes, with share 1/4; it stays within the map."""
    other = index // 2 + tl.where(index % 2 == 1, 1, -1)
    return tl.where(other < 0, 0, tl.where(other >= size, size - 1, other))


@triton.jit(do_not_specialize=["texels"])
def enlarge_and_add(coarse, level, result, resolution, texels, brightest, EXP: tl.constexpr, BLOCK: tl.constexpr):
    """result = the coarse map enlarged bilinearly to twice its size, face by face, plus the level; a lane does a texel of it.

    `resolution` is the result's. With EXP, result = the exponential of that, at most `brightest`.
    """
    lane = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    valid = lane < texels
    face, row, column = _place(lane, resolution)
    size = resolution // 2
    other_row, other_column = _neighbor(row, size), _neighbor(column, size)
    here, beside = _texel(face, row // 2, column // 2, size) * 3, _texel(face, row // 2, other_column, size) * 3
    below, across = _texel(face, other_row, column // 2, size) * 3, _texel(face, other_row, other_column, size) * 3
    for channel in tl.static_range(3):
        total = 0.5625 * tl.load(coarse + here + channel, mask=valid, other=0.0)
        total += 0.1875 * tl.load(coarse + beside + channel, mask=valid, other=0.0)
        total += 0.1875 * tl.load(coarse + below + channel, mask=valid, other=0.0)
        total += 0.0625 * tl.load(coarse + across + channel, mask=valid, other=0.0)
        total += tl.load(level + lane * 3 + channel, mask=valid, other=0.0)
        if EXP:
            total = tl.minimum(tl.exp(total), brightest)
        tl.store(result + lane * 3 + channel, total, mask=valid)


@triton.jit
def _share(step, index, size):
    """The share of fine texel 2 index - 1 + step in the gradient of coarse texel `index`; 0 beyond the map's edge."""
    share = tl.where((step == 0) | (step == 3), 0.25, 0.75)
    # At the edge the coarse neighbor is the texel itself.
    share += tl.where(((index == 0) & (step == 1)) | ((index == size - 1) & (step == 2)), 0.25, 0.0)
    fine = 2 * index - 1 + step
    return tl.where((fine >= 0) & (fine < 2 * size), share, 0.0)


@triton.jit(do_not_specialize=["texels"])
def enlarge_transposed(fine, coarse, resolution, texels, BLOCK: tl.constexpr):
    """coarse = the transpose of the enlargement times the gradient fine; a lane does a coarse texel, `resolution` is coarse's."""
    lane = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    valid = lane < texels
    face, row, column = _place(lane, resolution)
    red, green, blue = tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32)
    for step in range(16):
        share = _share(step // 4, row, resolution) * _share(step % 4, column, resolution)
        at = _texel(face, 2 * row - 1 + step // 4, 2 * column - 1 + step % 4, 2 * resolution) * 3
        taken = valid & (share > 0)
        red += share * tl.load(fine + at, mask=taken, other=0.0)
        green += share * tl.load(fine + at + 1, mask=taken, other=0.0)
        blue += share * tl.load(fine + at + 2, mask=taken, other=0.0)
    tl.store(coarse + lane * 3, red, mask=valid)
    tl.store(coarse + lane * 3 + 1, green, mask=valid)
    tl.store(coarse + lane * 3 + 2, blue, mask=valid)


@triton.jit(do_not_specialize=["texels", "balance"])
def to_logarithm(gradient, radiance, texels, balance, brightest, BLOCK: tl.constexpr):
    """Turn the gradient of texels' radiance into that of its logarithm, in place; 0 where the radiance is limited to `brightest`.

    First adds the float at `balance` times the gradient of each texel's sum of absolute deviations from its mean over the
    channels.
    """
    lane = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    valid = lane < texels
    at = lane * 3
    red = tl.load(radiance + at, mask=valid, other=0.0)
    green = tl.load(radiance + at + 1, mask=valid, other=0.0)
    blue = tl.load(radiance + at + 2, mask=valid, other=0.0)
    gray = (red + green + blue) / 3
    sign_red, sign_green, sign_blue = _sign(red - gray), _sign(green - gray), _sign(blue - gray)
    mean = (sign_red + sign_green + sign_blue) / 3
    for channel in tl.static_range(3):
        value = red if channel == 0 else (green if channel == 1 else blue)
        sign = sign_red if channel == 0 else (sign_green if channel == 1 else sign_blue)
        own = tl.load(gradient + at + channel, mask=valid, other=0.0) + tl.load(balance) * (sign - mean)
        tl.store(gradient + at + channel, tl.where(value < brightest, own * value, 0.0), mask=valid)


@triton.jit
def _sign(value):
    return tl.where(value > 0, 1.0, tl.where(value < 0, -1.0, 0.0))
