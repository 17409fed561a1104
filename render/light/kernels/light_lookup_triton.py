"""Triton: look up a prefiltered light, and its gradient. Each function does what the one of the same name in `render` does."""

from __future__ import annotations

import triton
import triton.language as tl

from render.core.kernels.vectors_triton import dot, minus, plus, rows_of_four, scaled

# As in `render.light.prefilter.spherical_harmonics`: sqrt(1 / 4 pi), sqrt(3 / 4 pi), sqrt(15 / 4 pi), sqrt(5 / 16 pi).
_CONSTANT = tl.constexpr(0.28209479177387814)
_LINEAR = tl.constexpr(0.4886025119029199)
_QUADRATIC = tl.constexpr(1.0925484305920792)
_POLAR = tl.constexpr(0.31539156525252005)
_SMALLEST_AXIS = tl.constexpr(1e-20)


@triton.jit
def roughness_to_level(roughness, KNOWN: tl.constexpr):
    """The level and its slope over the roughness; KNOWN are the roughnesses of the levels, two or more."""
    LAST: tl.constexpr = len(KNOWN) - 1
    clamped = tl.minimum(tl.maximum(roughness, KNOWN[0]), KNOWN[LAST])
    lower = tl.zeros_like(roughness)
    start = lower + KNOWN[0]
    slope = lower + 1 / (KNOWN[1] - KNOWN[0])
    for number in tl.static_range(1, LAST):
        above = clamped >= KNOWN[number]
        lower = tl.where(above, number * 1.0, lower)
        start = tl.where(above, KNOWN[number], start)
        slope = tl.where(above, 1 / (KNOWN[number + 1] - KNOWN[number]), slope)
    fraction = (clamped - start) * slope
    if KNOWN[0] == 0:
        slope = tl.where(lower == 0, 2 * fraction * slope, slope)
        fraction = tl.where(lower == 0, fraction * fraction, fraction)
    level = lower + fraction
    inside = (roughness >= KNOWN[0]) & (roughness <= KNOWN[LAST]) & (level <= LAST)
    return tl.minimum(level, LAST * 1.0), tl.where(inside, slope, 0.0)


@triton.jit
def dir_to_cube(direction):
    """Face, x and y."""
    dx, dy, dz = direction
    ax, ay, az = tl.abs(dx), tl.abs(dy), tl.abs(dz)
    is_x = (ax >= ay) & (ax >= az)
    is_y = (~is_x) & (ay >= az)
    major = tl.where(is_x, dx, tl.where(is_y, dy, dz))
    sign = tl.where(major < 0, -1.0, 1.0)
    scale = 1 / tl.maximum(tl.abs(major), _SMALLEST_AXIS)
    x = tl.where(is_x, -sign * dz, tl.where(is_y, dx, sign * dx)) * scale
    y = tl.where(is_y, sign * dz, -dy) * scale
    face = tl.where(is_x, 0, tl.where(is_y, 2, 4)) + tl.where(major < 0, 1, 0)
    return face, x, y


@triton.jit
def dir_to_cube_transposed(direction, to_x, to_y):
    """The gradient of the direction from the gradients of x and y."""
    dx, dy, dz = direction
    ax, ay, az = tl.abs(dx), tl.abs(dy), tl.abs(dz)
    is_x = (ax >= ay) & (ax >= az)
    is_y = (~is_x) & (ay >= az)
    is_z = (~is_x) & (~is_y)
    major = tl.where(is_x, dx, tl.where(is_y, dy, dz))
    sign = tl.where(major < 0, -1.0, 1.0)
    scale = 1 / tl.maximum(tl.abs(major), _SMALLEST_AXIS)
    x = tl.where(is_x, -sign * dz, tl.where(is_y, dx, sign * dx)) * scale
    y = tl.where(is_y, sign * dz, -dy) * scale
    along_x, along_y = to_x * scale, to_y * scale
    along_major = tl.where(tl.abs(major) >= _SMALLEST_AXIS, -sign * (along_x * x + along_y * y), 0.0)
    to_dx = tl.where(is_x, along_major, tl.where(is_y, along_x, sign * along_x))
    to_dy = tl.where(is_y, along_major, -along_y)
    to_dz = tl.where(is_z, along_major, tl.where(is_x, -sign * along_x, sign * along_y))
    return to_dx, to_dy, to_dz


@triton.jit
def atlas_taps(face, x, y, level, PLACES: tl.constexpr, WIDTH: tl.constexpr):
    """Where a lookup reads a level: its first texel, the shares of the right and lower texels, and texels per unit of x.

    It computes within the padded face, where float32 has digits to spare; `grid_sample` computes across the whole image.
    """
    resolution = tl.zeros_like(level) + PLACES[0][0]
    top = tl.zeros_like(level) + PLACES[0][1]
    left = tl.zeros_like(level) + PLACES[0][2]
    for number in tl.static_range(1, len(PLACES)):
        is_level = level == number
        resolution = tl.where(is_level, PLACES[number][0], resolution)
        top = tl.where(is_level, PLACES[number][1], top)
        left = tl.where(is_level, PLACES[number][2], left)
    half = resolution.to(tl.float32) * 0.5
    # The bounds only stop values that are not finite: with x in -1..1 the taps lie within the padding.
    column = tl.minimum(tl.maximum(x * half + (half + 0.5), 0.0), 2 * half + 0.5)
    row = tl.minimum(tl.maximum(y * half + (half + 0.5), 0.0), 2 * half + 0.5)
    whole_column, whole_row = tl.floor(column), tl.floor(row)
    at = (top + whole_row.to(tl.int32)) * WIDTH + left + face * (resolution + 2) + whole_column.to(tl.int32)
    return at, column - whole_column, row - whole_row, half


@triton.jit
def _corner(taps, corner, WIDTH: tl.constexpr):
    """Texel number `corner` of the four: its place, its share along the row, and along the column, with their signs."""
    at, right, below, _ = taps
    is_right, is_below = corner % 2, corner // 2
    along_x = tl.where(is_right == 1, right, 1 - right)
    along_y = tl.where(is_below == 1, below, 1 - below)
    return at + is_below * WIDTH + is_right, along_x, along_y, is_right * 2.0 - 1.0, is_below * 2.0 - 1.0


@triton.jit
def _lower_level(level, PLACES: tl.constexpr):
    """The finer of the two levels to look up, and the share of the other."""
    lower = tl.minimum(tl.floor(level), max(len(PLACES) - 2.0, 0.0))
    return lower.to(tl.int32), level - lower


@triton.jit
def sample_atlas(atlas, direction, level, PLACES: tl.constexpr, WIDTH: tl.constexpr):
    """`CubeAtlas.sample`: radiance, and its slopes over the cube's x and y and over the level, each of three channels.

    It loops over the texels: unrolled, the compiler's work would grow with the square of their number.
    """
    face, x, y = dir_to_cube(direction)
    lower, share = _lower_level(level, PLACES)
    zero = tl.zeros_like(level)
    black = (zero, zero, zero)
    radiance, over_x, over_y, over_level = black, black, black, black
    for step in range(min(len(PLACES), 2)):
        taps = atlas_taps(face, x, y, lower + step, PLACES, WIDTH)
        level_share = tl.where(step == 1, share, 1 - share)
        slope = level_share * taps[3]
        for corner in range(4):
            at, along_x, along_y, sign_x, sign_y = _corner(taps, corner, WIDTH)
            texel = tl.load(atlas + at * 3), tl.load(atlas + at * 3 + 1), tl.load(atlas + at * 3 + 2)
            weight = along_x * along_y
            radiance = plus(radiance, scaled(texel, level_share * weight))
            over_x = plus(over_x, scaled(texel, slope * along_y * sign_x))
            over_y = plus(over_y, scaled(texel, slope * along_x * sign_y))
            over_level = plus(over_level, scaled(texel, weight * (step * 2.0 - 1.0)))
    return radiance, over_x, over_y, over_level


@triton.jit
def spread_atlas(
    atlas, direction, level, gradient, valid, PLACES: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr
):
    """atlas += the transpose of `sample_atlas` times the gradient of the radiance; atomic.

    Texels of this atlas have a fourth channel, which stays 0: one instruction adds four floats if they are aligned.
    """
    channel = tl.arange(0, 4)
    gradient = rows_of_four(gradient[0], gradient[1], gradient[2], tl.zeros_like(level), BLOCK)
    face, x, y = dir_to_cube(direction)
    lower, share = _lower_level(level, PLACES)
    for step in range(min(len(PLACES), 2)):
        taps = atlas_taps(face, x, y, lower + step, PLACES, WIDTH)
        level_share = tl.where(step == 1, share, 1 - share)
        for corner in range(4):
            at, along_x, along_y, _, _ = _corner(taps, corner, WIDTH)
            weight = level_share * along_x * along_y
            mask = (valid & (weight != 0))[:, None] & (channel < 4)[None, :]
            change = gradient * weight[:, None]
            tl.atomic_add(atlas + (at * 4)[:, None] + channel[None, :], change, mask=mask, sem="relaxed")


@triton.jit
def spherical_harmonics(direction):
    """Nine values."""
    x, y, z = direction
    return (
        tl.zeros_like(x) + _CONSTANT,
        y * _LINEAR,
        z * _LINEAR,
        x * _LINEAR,
        x * y * _QUADRATIC,
        y * z * _QUADRATIC,
        (3 * z * z - 1) * _POLAR,
        x * z * _QUADRATIC,
        (x * x - y * y) * (0.5 * _QUADRATIC),
    )


@triton.jit
def _coefficient(sh, number: tl.constexpr):
    return tl.load(sh + number * 3), tl.load(sh + number * 3 + 1), tl.load(sh + number * 3 + 2)


@triton.jit
def evaluate_irradiance(sh, direction):
    """The irradiance from coefficients [9, 3]; it may be negative."""
    basis = spherical_harmonics(direction)
    total = scaled(_coefficient(sh, 0), basis[0])
    for number in tl.static_range(1, 9):
        total = plus(total, scaled(_coefficient(sh, number), basis[number]))
    return total


@triton.jit
def evaluate_sheen(sh, normal, view, along_normal, along_view, nn, nv, vv):
    """The mean radiance over the lobe of sheen with the terms of `SheenTerms`; it may be negative."""
    aside = minus(view, scaled(normal, dot(normal, view)))
    mean = plus(scaled(normal, along_normal), scaled(aside, along_view))
    a = plus(scaled(normal, nn), scaled(aside, nv))
    b = plus(scaled(normal, nv), scaled(aside, vv))
    xx, yy = normal[0] * a[0] + aside[0] * b[0], normal[1] * a[1] + aside[1] * b[1]
    zz, xy = normal[2] * a[2] + aside[2] * b[2], normal[0] * a[1] + aside[0] * b[1]
    yz, xz = normal[1] * a[2] + aside[1] * b[2], normal[0] * a[2] + aside[0] * b[2]
    total = scaled(_coefficient(sh, 0), _CONSTANT)
    total = plus(total, scaled(_coefficient(sh, 1), mean[1] * (1.5 * _LINEAR)))
    total = plus(total, scaled(_coefficient(sh, 2), mean[2] * (1.5 * _LINEAR)))
    total = plus(total, scaled(_coefficient(sh, 3), mean[0] * (1.5 * _LINEAR)))
    total = plus(total, scaled(_coefficient(sh, 4), xy * (4 * _QUADRATIC)))
    total = plus(total, scaled(_coefficient(sh, 5), yz * (4 * _QUADRATIC)))
    total = plus(total, scaled(_coefficient(sh, 6), (2 * zz - xx - yy) * (4 * _POLAR)))
    total = plus(total, scaled(_coefficient(sh, 7), xz * (4 * _QUADRATIC)))
    return plus(total, scaled(_coefficient(sh, 8), (xx - yy) * (2 * _QUADRATIC)))


@triton.jit
def irradiance_to_direction(sh, direction, gradient):
    """The gradient of the direction from the gradient of the irradiance."""
    x, y, z = direction
    along_y = dot(_coefficient(sh, 1), gradient) * _LINEAR
    along_z = dot(_coefficient(sh, 2), gradient) * _LINEAR
    along_x = dot(_coefficient(sh, 3), gradient) * _LINEAR
    xy = dot(_coefficient(sh, 4), gradient) * _QUADRATIC
    yz = dot(_coefficient(sh, 5), gradient) * _QUADRATIC
    zz = dot(_coefficient(sh, 6), gradient) * (6 * _POLAR)
    xz = dot(_coefficient(sh, 7), gradient) * _QUADRATIC
    xx = dot(_coefficient(sh, 8), gradient) * _QUADRATIC
    return (
        along_x + xy * y + xz * z + xx * x,
        along_y + xy * x + yz * z - xx * y,
        along_z + yz * y + zz * z + xz * x,
    )


@triton.jit
def _store_sums(result, first, second, third, fourth, BLOCK: tl.constexpr):
    tl.store(result + tl.arange(0, 4), tl.sum(rows_of_four(first, second, third, fourth, BLOCK), axis=0))


@triton.jit
def store_sums(result, loss, direction, gradient, BLOCK: tl.constexpr):
    """result[0] = the sum of the loss over the block, result[1 + 3 k + c] that of harmonic k times channel c of the gradient."""
    red, green, blue = gradient
    basis = spherical_harmonics(direction)
    _store_sums(result, loss, basis[0] * red, basis[0] * green, basis[0] * blue, BLOCK)
    _store_sums(result + 4, basis[1] * red, basis[1] * green, basis[1] * blue, basis[2] * red, BLOCK)
    _store_sums(result + 8, basis[2] * green, basis[2] * blue, basis[3] * red, basis[3] * green, BLOCK)
    _store_sums(result + 12, basis[3] * blue, basis[4] * red, basis[4] * green, basis[4] * blue, BLOCK)
    _store_sums(result + 16, basis[5] * red, basis[5] * green, basis[5] * blue, basis[6] * red, BLOCK)
    _store_sums(result + 20, basis[6] * green, basis[6] * blue, basis[7] * red, basis[7] * green, BLOCK)
    _store_sums(result + 24, basis[7] * blue, basis[8] * red, basis[8] * green, basis[8] * blue, BLOCK)
