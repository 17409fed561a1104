"""Triton: lookups of previews, without gradients: the texels of maps and of a light's atlas, four channels at a time."""

from __future__ import annotations

import triton
import triton.language as tl

from render.core.kernels.vectors_triton import columns_of_four
from render.light.kernels.light_lookup_triton import atlas_taps, dir_to_cube


@triton.jit
def wrapped(coordinate):
    # Infinity and NaN count as 0.
    finite = tl.where(tl.abs(coordinate) < 1e30, coordinate, 0.0)
    return finite - tl.floor(finite)


@triton.jit
def texel_of(u, v, rows, columns, corner):
    """Row within its level, and weight, of texel number `corner` of the four that a lookup at u, v in 0..1 reads."""
    is_right, is_below = corner % 2, corner // 2
    x, y = u * columns - 0.5, v * rows - 0.5
    left, top = tl.floor(x), tl.floor(y)
    column, row = left.to(tl.int32) + is_right, top.to(tl.int32) + is_below
    column = tl.where(column < 0, columns - 1, tl.where(column >= columns, 0, column))
    row = tl.where(row < 0, rows - 1, tl.where(row >= rows, 0, row))
    along_x = tl.where(is_right == 1, x - left, 1 - (x - left))
    along_y = tl.where(is_below == 1, y - top, 1 - (y - top))
    return row * columns + column, along_x * along_y


@triton.jit
def look_up(
    texels, alphas, openness, u, v, level, first, height, width, levels, valid,
    HAS_ALPHA: tl.constexpr, HAS_OPENNESS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The eight channels of `MaterialMaps` as two tuples of four, alpha or 1, and openness or 1.

    first, height, width, levels  of the maps, one number for all lanes or one for each
    """
    channel = tl.arange(0, 4)[None, :]
    low, high = tl.zeros([BLOCK, 4], tl.float32), tl.zeros([BLOCK, 4], tl.float32)
    alpha, open_share = tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32)
    wanted = tl.minimum(tl.maximum(level, 0.0), levels - 1.0)
    whole = tl.minimum(tl.floor(wanted), tl.maximum(levels - 2.0, 0.0))
    finer, coarser_share = whole.to(tl.int32), wanted - whole
    for step in range(2):
        share = tl.where(step == 1, coarser_share, 1 - coarser_share)
        # A level with share 0 is not read: there may be no coarser level.
        needed = valid & (share != 0)
        rows, columns = height >> (finer + step), width >> (finer + step)
        # Texels of the finer levels: 4 / 3 of how many the finest has more, as each level has a quarter of the next finer one's.
        start = (height * width - rows * columns) // 3 * 4
        for corner in range(4):
            row, weight = texel_of(u, v, rows, columns, corner)
            weight *= share
            row = (first + start + row).to(tl.int64)
            at = (texels + row * 8)[:, None] + channel
            low += weight[:, None] * tl.load(at, mask=needed[:, None], other=0.0)
            high += weight[:, None] * tl.load(at + 4, mask=needed[:, None], other=0.0)
            if HAS_ALPHA:
                alpha += weight * tl.load(alphas + row, mask=needed, other=0.0)
            if HAS_OPENNESS:
                open_share += weight * tl.load(openness + row, mask=needed, other=0.0)
    if not HAS_ALPHA:
        alpha += 1.0
    if not HAS_OPENNESS:
        open_share += 1.0
    return columns_of_four(low, BLOCK), columns_of_four(high, BLOCK), alpha, open_share


@triton.jit
def sample_atlas(atlas, direction, level, PLACES: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """`CubeAtlas.sample` of an atlas whose texels have a fourth channel, so that one load reads a texel."""
    face, x, y = dir_to_cube(direction)
    lower = tl.minimum(tl.floor(level), max(len(PLACES) - 2.0, 0.0))
    share = level - lower
    radiance = tl.zeros([BLOCK, 4], tl.float32)
    for step in range(min(len(PLACES), 2)):
        at, right, below, _ = atlas_taps(face, x, y, lower.to(tl.int32) + step, PLACES, WIDTH)
        level_share = tl.where(step == 1, share, 1 - share)
        for corner in range(4):
            is_right, is_below = corner % 2, corner // 2
            weight = tl.where(is_right == 1, right, 1 - right) * tl.where(is_below == 1, below, 1 - below)
            texel = (atlas + (at + is_below * WIDTH + is_right) * 4)[:, None] + tl.arange(0, 4)[None, :]
            radiance += (level_share * weight)[:, None] * tl.load(texel)
    red, green, blue, _ = columns_of_four(radiance, BLOCK)
    return red, green, blue
