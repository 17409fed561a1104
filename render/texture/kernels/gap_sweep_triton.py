"""Triton: one sweep of `gap_sweep`."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["values"])
def sweep_gaps(old, new, known, size, values, CHANNELS: tl.constexpr, BLOCK: tl.constexpr):
    """new = the mean of the four neighbors in `old`, [size, size, CHANNELS], of texels that are not known; others stay."""
    lane = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    valid = lane < values
    channel, texel = lane % CHANNELS, lane // CHANNELS
    gap = valid & (tl.load(known + texel, mask=valid, other=1) == 0)
    row, column = texel // size, texel % size
    above, below = (row + size - 1) % size, (row + 1) % size
    left, right = (column + size - 1) % size, (column + 1) % size
    total = tl.load(old + (above * size + column) * CHANNELS + channel, mask=gap, other=0.0)
    total += tl.load(old + (below * size + column) * CHANNELS + channel, mask=gap, other=0.0)
    total += tl.load(old + (row * size + left) * CHANNELS + channel, mask=gap, other=0.0)
    total += tl.load(old + (row * size + right) * CHANNELS + channel, mask=gap, other=0.0)
    tl.store(new + lane, total / 4, mask=gap)
