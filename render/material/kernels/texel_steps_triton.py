"""Triton: everything that a fit's iteration does with the maps except sampling; maps are [H, W, C], contiguous."""

from __future__ import annotations

import triton
import triton.language as tl

from render.core.kernels.adam_triton import adam_change


@triton.jit
def _quarter_of(source, row, column, channel, width, CHANNELS: tl.constexpr, valid):
    """One channel of the mean of 2 x 2 texels of a map `width` texels wide, at (row, column) of the one half as wide."""
    at = ((2 * row) * width + 2 * column) * CHANNELS + channel
    total = tl.load(source + at, mask=valid, other=0.0) + tl.load(source + at + CHANNELS, mask=valid, other=0.0)
    at += width * CHANNELS
    total += tl.load(source + at, mask=valid, other=0.0) + tl.load(source + at + CHANNELS, mask=valid, other=0.0)
    return total * 0.25


@triton.jit(do_not_specialize=["end"])
def halve_texels(
    source, half, quarter, copy, width, first, end,
    TWICE: tl.constexpr, COPY: tl.constexpr, CHANNELS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """half = the means of 2 x 2 texels of the source, `width` wide; with TWICE, quarter = the means of half.

    With COPY, copy = the source. A lane does one of the values from `first` to before `end` of the last level.
    """
    lane = first + tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    valid = lane < end
    channel, texel = lane % CHANNELS, lane // CHANNELS
    columns = width // 4 if TWICE else width // 2
    row, column = texel // columns, texel % columns
    steps: tl.constexpr = 4 if TWICE else 1
    total = tl.zeros([BLOCK], tl.float32)
    for corner in tl.static_range(steps):
        half_row = 2 * row + corner // 2 if TWICE else row
        half_column = 2 * column + corner % 2 if TWICE else column
        mean = _quarter_of(source, half_row, half_column, channel, width, CHANNELS, valid)
        tl.store(half + (half_row * (width // 2) + half_column) * CHANNELS + channel, mean, mask=valid)
        total += mean
        if COPY:
            for part in tl.static_range(4):
                at = ((2 * half_row + part // 2) * width + 2 * half_column + part % 2) * CHANNELS + channel
                tl.store(copy + at, tl.load(source + at, mask=valid, other=0.0), mask=valid)
    if TWICE:
        tl.store(quarter + lane, total * 0.25, mask=valid)


@triton.jit
def _clamped(index, size):
    return tl.where(index < 0, 0, tl.where(index >= size, size - 1, index))


@triton.jit
def enlarged(coarse, row, column, channel, height, width, CHANNELS: tl.constexpr, valid):
    """A quarter of a map [height, width], bilinearly enlarged to twice its size, at (row, column) of the enlarged map."""
    other_row = _clamped(row // 2 + tl.where(row % 2 == 1, 1, -1), height)
    other_column = _clamped(column // 2 + tl.where(column % 2 == 1, 1, -1), width)
    near, far = (row // 2) * width, other_row * width
    total = 0.5625 * tl.load(coarse + (near + column // 2) * CHANNELS + channel, mask=valid, other=0.0)
    total += 0.1875 * tl.load(coarse + (near + other_column) * CHANNELS + channel, mask=valid, other=0.0)
    total += 0.1875 * tl.load(coarse + (far + column // 2) * CHANNELS + channel, mask=valid, other=0.0)
    total += 0.0625 * tl.load(coarse + (far + other_column) * CHANNELS + channel, mask=valid, other=0.0)
    return 0.25 * total


@triton.jit(do_not_specialize=["end"])
def fold_level(fine, coarse, height, width, first, end, CHANNELS: tl.constexpr, BLOCK: tl.constexpr):
    """fine += the smooth gradient of its means: a quarter of `coarse`, [height, width], enlarged; a lane does one of the values
    of `fine` from `first` to before `end`."""
    lane = first + tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    valid = lane < end
    channel, texel = lane % CHANNELS, lane // CHANNELS
    row, column = texel // (2 * width), texel % (2 * width)
    own = tl.load(fine + lane, mask=valid, other=0.0)
    tl.store(fine + lane, own + enlarged(coarse, row, column, channel, height, width, CHANNELS, valid), mask=valid)


@triton.jit
def smooth_slope(step, weight, inverse_edge):
    """The derivative of the smoothness of a step between neighbors, which is weighed (`render.material.priors.unevenness`)."""
    scaled = step * inverse_edge
    return step * weight / tl.sqrt(1 + scaled * scaled)


@triton.jit
def change_of(old, start, at, valid, HAS_START: tl.constexpr):
    """A texel of the maps, less its start where it has one."""
    value = tl.load(old + at, mask=valid, other=0.0)
    if HAS_START:
        value -= tl.load(start + at, mask=valid, other=0.0)
    return value


@triton.jit(do_not_specialize=["end", "smooth_share", "share", "epsilon"])
def step_texels(
    old, new, gradient, coarse_gradient, first, second, start, stiffness, rate, count, smooth, pull, two_valued, fitted,
    smooth_share, share, epsilon, height, width, first_texel, end,
    HAS_COARSE: tl.constexpr, HAS_START: tl.constexpr, CHANNELS: tl.constexpr, LANES: tl.constexpr,
    INVERSE_EDGE: tl.constexpr, ROUGHNESS: tl.constexpr, METALLIC: tl.constexpr, NORMAL: tl.constexpr,
    MIN_ROUGHNESS: tl.constexpr, MIN_UP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """new = the texels `old` after a step of Adam and the projection to valid materials; changes the moments in place.

    The gradient is that of the finest level; the kernel adds the coarser levels' gradient and the priors' gradients.
    smooth, pull [CHANNELS], two_valued [1]  weights of the priors; smooth_share, share: what a texel has of them
    start, stiffness  as the texels, read with HAS_START; fitted [CHANNELS], 0 for channels that do not change
    Only the texels from `first_texel` to before `end` take a step.
    """
    texel = first_texel + tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    channel = tl.arange(0, LANES)[None, :]
    row, column = (texel // width)[:, None], (texel % width)[:, None]
    valid = (texel < end)[:, None] & (channel < CHANNELS)
    at = texel[:, None] * CHANNELS + channel
    value = tl.load(old + at, mask=valid, other=0.0)
    slope = tl.load(gradient + at, mask=valid, other=0.0)
    if HAS_COARSE:
        slope += enlarged(coarse_gradient, row, column, channel, height // 2, width // 2, CHANNELS, valid)

    weight = tl.load(smooth + channel, mask=channel < CHANNELS, other=0.0) * smooth_share
    change = value
    if HAS_START:
        change = value - tl.load(start + at, mask=valid, other=0.0)
        firm = tl.load(pull + channel, mask=channel < CHANNELS, other=0.0) * share
        slope += firm * tl.load(stiffness + at, mask=valid, other=0.0) * change
    right = change_of(old, start, at + CHANNELS, valid & (column < width - 1), HAS_START)
    slope -= tl.where(column < width - 1, smooth_slope(right - change, weight, INVERSE_EDGE), 0.0)
    below = change_of(old, start, at + width * CHANNELS, valid & (row < height - 1), HAS_START)
    slope -= tl.where(row < height - 1, smooth_slope(below - change, weight, INVERSE_EDGE), 0.0)
    left = change_of(old, start, at - CHANNELS, valid & (column > 0), HAS_START)
    slope += tl.where(column > 0, smooth_slope(change - left, weight, INVERSE_EDGE), 0.0)
    above = change_of(old, start, at - width * CHANNELS, valid & (row > 0), HAS_START)
    slope += tl.where(row > 0, smooth_slope(change - above, weight, INVERSE_EDGE), 0.0)
    slope += tl.where(channel == METALLIC, tl.load(two_valued) * share * (1 - 2 * value), 0.0)
    slope *= tl.load(fitted + channel, mask=channel < CHANNELS, other=0.0)

    change, new_first, new_second = adam_change(
        slope,
        tl.load(first + at, mask=valid, other=0.0),
        tl.load(second + at, mask=valid, other=0.0),
        tl.load(rate),
        tl.load(count),
        epsilon,
    )
    tl.store(first + at, new_first, mask=valid)
    tl.store(second + at, new_second, mask=valid)
    value -= change
    lowest = tl.where(channel == ROUGHNESS, MIN_ROUGHNESS, 0.0)
    lowest = tl.where(channel == NORMAL + 2, MIN_UP, lowest)
    is_bound = (channel <= METALLIC) | (channel > NORMAL + 1)
    is_normal = (channel >= NORMAL) & (channel <= NORMAL + 2)
    value = tl.where(is_bound, tl.maximum(value, lowest), value)
    value = tl.where(is_bound & (~is_normal), tl.minimum(value, 1.0), value)
    length = tl.sqrt(tl.sum(tl.where(is_normal, value * value, 0.0), axis=1))[:, None]
    value = tl.where(is_normal, value / length, value)
    tl.store(new + at, value, mask=valid)
