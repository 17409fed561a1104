"""Triton: one sweep of `gap_sweep`."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["values"])
def sweep_gaps(old, new, known, height, width, values, CHANNELS: tl.constexpr, BLOCK: tl.constexpr):
    """new = the mean of the four neighbors in `old`, [height, width, CHANNELS], of texels that are not known; others stay."""
    lane = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    valid = lane < values
    channel, texel = lane % CHANNELS, lane // CHANNELS
    gap = valid & (tl.load(known + texel, mask=valid, other=1) == 0)
    row, column = texel // width, texel % width
    above, below = (row + height - 1) % height, (row + 1) % height
    left, right = (column + width - 1) % width, (column + 1) % width
    total = tl.load(old + (above * width + column) * CHANNELS + channel, mask=gap, other=0.0)
    total += tl.load(old + (below * width + column) * CHANNELS + channel, mask=gap, other=0.0)
    total += tl.load(old + (row * width + left) * CHANNELS + channel, mask=gap, other=0.0)
    total += tl.load(old + (row * width + right) * CHANNELS + channel, mask=gap, other=0.0)
    tl.store(new + lane, total / 4, mask=gap)
