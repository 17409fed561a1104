"""Triton: what a loss says of the priors' gradients; `render.material.priors.prior_gains` is the plain way."""

from __future__ import annotations

import triton
import triton.language as tl

from render.material.kernels.texel_steps_triton import change_of, enlarged, smooth_slope


@triton.jit(do_not_specialize=["end", "smooth_share", "share", "epsilon"])
def sum_gains(
    texels, gradient, coarse_gradient, second, start, stiffness, sums,
    smooth_share, share, epsilon, height, width, first_texel, end,
    HAS_COARSE: tl.constexpr, HAS_START: tl.constexpr, CHANNELS: tl.constexpr, LANES: tl.constexpr,
    INVERSE_EDGE: tl.constexpr, METALLIC: tl.constexpr, TURNS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """sums [programs, 3 kinds, 2, LANES] = the products of both gradients, and their squares, over TURNS * BLOCK texels each.

    The loss's gradient is that of the finest level; the kernel adds the coarser levels'. It is divided by the root of `second`,
    Adam's mean of its squares. start, stiffness as the texels, read with HAS_START.
    """
    channel = tl.arange(0, LANES)[None, :]
    smooth, smooth_squares = tl.zeros([LANES], tl.float32), tl.zeros([LANES], tl.float32)
    pull, pull_squares = tl.zeros([LANES], tl.float32), tl.zeros([LANES], tl.float32)
    two_valued, two_valued_squares = tl.zeros([LANES], tl.float32), tl.zeros([LANES], tl.float32)
    for turn in range(TURNS):
        texel = first_texel + (tl.program_id(0) * TURNS + turn) * BLOCK + tl.arange(0, BLOCK)
        row, column = (texel // width)[:, None], (texel % width)[:, None]
        valid = (texel < end)[:, None] & (channel < CHANNELS)
        at = texel[:, None] * CHANNELS + channel
        value = tl.load(texels + at, mask=valid, other=0.0)
        stepped = tl.load(gradient + at, mask=valid, other=0.0)
        if HAS_COARSE:
            stepped += enlarged(coarse_gradient, row, column, channel, height // 2, width // 2, CHANNELS, valid)
        stepped = stepped / (tl.sqrt(tl.load(second + at, mask=valid, other=0.0)) + epsilon)
        change = value
        if HAS_START:
            change = value - tl.load(start + at, mask=valid, other=0.0)
            gain = stepped * tl.load(stiffness + at, mask=valid, other=0.0) * change * share
            pull += tl.sum(gain, axis=0)
            pull_squares += tl.sum(gain * gain, axis=0)
        right = change_of(texels, start, at + CHANNELS, valid & (column < width - 1), HAS_START)
        uneven = -tl.where(column < width - 1, smooth_slope(right - change, smooth_share, INVERSE_EDGE), 0.0)
        below = change_of(texels, start, at + width * CHANNELS, valid & (row < height - 1), HAS_START)
        uneven -= tl.where(row < height - 1, smooth_slope(below - change, smooth_share, INVERSE_EDGE), 0.0)
        left = change_of(texels, start, at - CHANNELS, valid & (column > 0), HAS_START)
        uneven += tl.where(column > 0, smooth_slope(change - left, smooth_share, INVERSE_EDGE), 0.0)
        above = change_of(texels, start, at - width * CHANNELS, valid & (row > 0), HAS_START)
        uneven += tl.where(row > 0, smooth_slope(change - above, smooth_share, INVERSE_EDGE), 0.0)
        gain = tl.where(valid, stepped * uneven, 0.0)
        smooth += tl.sum(gain, axis=0)
        smooth_squares += tl.sum(gain * gain, axis=0)
        gain = tl.where(valid & (channel == METALLIC), stepped * (1 - 2 * value) * share, 0.0)
        two_valued += tl.sum(gain, axis=0)
        two_valued_squares += tl.sum(gain * gain, axis=0)
    lane = tl.arange(0, LANES)
    own = sums + tl.program_id(0) * 6 * LANES + lane
    tl.store(own, two_valued)
    tl.store(own + LANES, two_valued_squares)
    tl.store(own + 2 * LANES, smooth)
    tl.store(own + 3 * LANES, smooth_squares)
    tl.store(own + 4 * LANES, pull)
    tl.store(own + 5 * LANES, pull_squares)
