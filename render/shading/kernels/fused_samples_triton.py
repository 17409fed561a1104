"""Triton: the loss of samples of opaque surfaces and its gradients, from texels to residuals and back in one kernel.

Each lane has one sample. Between the way forward and the way back all values stay in registers; see
`render.shading.kernels.fused_samples` for what the kernel computes.
"""

from __future__ import annotations

import triton
import triton.language as tl

from render.core.kernels.vectors_triton import (
    columns_of_four,
    dot,
    load_three,
    minus,
    plus,
    rows_of_four,
    scaled,
    times,
    where_three,
)
from render.light.kernels.light_lookup_triton import (
    dir_to_cube_transposed,
    evaluate_irradiance,
    irradiance_to_direction,
    roughness_to_level,
    sample_atlas,
    spread_atlas,
    store_sums,
)
from render.shading.kernels.shading_triton import (
    clipped_srgb,
    ggx_lookup,
    huber,
    lobe_of,
    lobe_of_transposed,
    lookup_fg,
    nvdiffrec_albedo,
    nvdiffrec_albedo_transposed,
    principled_albedo,
    principled_albedo_transposed,
    safe_normalize,
    shading_normal,
    shading_normal_transposed,
    shadow_specular_at,
)

_MIN_N_DOT_V = tl.constexpr(1e-3)
_NVDIFFREC_MIN_N_DOT_V = tl.constexpr(1e-4)
_SMALLEST_SQUARE = tl.constexpr(1e-20)


@triton.jit
def _wrapped(coordinate):
    # Infinity and NaN count as 0.
    finite = tl.where(tl.abs(coordinate) < 1e30, coordinate, 0.0)
    return finite - tl.floor(finite)


@triton.jit
def _level_taps(u, v, height, width, number):
    """Where a lookup at u, v in 0..1 reads a level: its first row in the pyramid, its rows, its columns, left and top texel."""
    rows, columns = height >> number, width >> number
    # Texels of the finer levels: 4 / 3 of how many the finest has more, as each level has a quarter of the next finer one's.
    start = (height * width - rows * columns) // 3 * 4
    return start, rows, columns, u * columns - 0.5, v * rows - 0.5


@triton.jit
def _corner(taps, corner):
    """Row in the pyramid, and weight within its level, of texel number `corner` of the four."""
    start, rows, columns, x, y = taps
    is_right, is_below = corner % 2, corner // 2
    left, top = tl.floor(x), tl.floor(y)
    column, row = left.to(tl.int32) + is_right, top.to(tl.int32) + is_below
    column = tl.where(column < 0, columns - 1, tl.where(column >= columns, 0, column))
    row = tl.where(row < 0, rows - 1, tl.where(row >= rows, 0, row))
    along_x = tl.where(is_right == 1, x - left, 1 - (x - left))
    along_y = tl.where(is_below == 1, y - top, 1 - (y - top))
    return start + row * columns + column, along_x * along_y


@triton.jit
def _look_up(texels, u, v, finer, coarser_share, height, width, valid, BLOCK: tl.constexpr):
    """The pyramid's eight channels, twice [BLOCK, 4]."""
    channel = tl.arange(0, 4)
    low = tl.zeros([BLOCK, 4], tl.float32)
    high = tl.zeros([BLOCK, 4], tl.float32)
    for step in range(2):
        share = tl.where(step == 1, coarser_share, 1 - coarser_share)
        # A level with share 0 is not read: there may be no coarser level.
        mask = (valid & (share != 0))[:, None] & (channel < 4)[None, :]
        taps = _level_taps(u, v, height, width, finer + step)
        for corner in range(4):
            row, weight = _corner(taps, corner)
            at = texels + (row * 8)[:, None] + channel[None, :]
            weight = (share * weight)[:, None]
            low += weight * tl.load(at, mask=mask, other=0.0)
            high += weight * tl.load(at + 4, mask=mask, other=0.0)
    return low, high


@triton.jit
def _spread(texels, u, v, finer, coarser_share, height, width, low, high, valid, BLOCK: tl.constexpr):
    """texels += the transpose of `_look_up` times the gradients low and high [BLOCK, 4], by atomics."""
    channel = tl.arange(0, 4)
    for step in range(2):
        share = tl.where(step == 1, coarser_share, 1 - coarser_share)
        mask = (valid & (share != 0))[:, None] & (channel < 4)[None, :]
        taps = _level_taps(u, v, height, width, finer + step)
        for corner in range(4):
            row, weight = _corner(taps, corner)
            at = texels + (row * 8)[:, None] + channel[None, :]
            weight = (share * weight)[:, None]
            tl.atomic_add(at, weight * low, mask=mask, sem="relaxed")
            tl.atomic_add(at + 4, weight * high, mask=mask, sem="relaxed")


@triton.jit(do_not_specialize=["samples", "total", "height", "width", "levels"])
def fused_samples(
    texels, texel_gradient, uv, level, height, width, levels,
    normals, tangents, signs, views, colors, alphas, shadow_diffuse, shadow_specular, first, samples, total,
    table, irradiance, atlas, atlas_gradient, partial, delta,
    NVDIFFREC: tl.constexpr, SHADOWED: tl.constexpr, OFFSET: tl.constexpr, LEARN_LIGHT: tl.constexpr, MEASURE: tl.constexpr,
    TABLE_SIZE: tl.constexpr, SHADOW_NODES: tl.constexpr,
    ATLAS_WIDTH: tl.constexpr, PLACES: tl.constexpr, KNOWN: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """partial[p, 0] = program p's part of the loss; with LEARN_LIGHT partial[p, 1:] = its part of the irradiance's gradient.

    It adds to texel_gradient and, with LEARN_LIGHT, to atlas_gradient. With MEASURE it only writes to partial[p] its part of
    the mean squared error of the clipped sRGB values. With OFFSET the samples begin at row `first` of their columns. Means are
    those of `total` samples, of which these are some. KNOWN and PLACES are the levels' roughnesses and their
    (resolution, top, left) in the atlas.
    """
    row = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    valid = row < samples
    if OFFSET:
        row += tl.load(first).to(tl.int32)

    u = _wrapped(tl.load(uv + row * 2, mask=valid, other=0.0))
    v = _wrapped(tl.load(uv + row * 2 + 1, mask=valid, other=0.0))
    wanted = tl.minimum(tl.maximum(tl.load(level + row, mask=valid, other=0.0), 0.0), levels - 1.0)
    whole = tl.minimum(tl.floor(wanted), tl.maximum(levels - 2.0, 0.0))
    finer, coarser_share = whole.to(tl.int32), wanted - whole
    low, high = _look_up(texels, u, v, finer, coarser_share, height, width, valid, BLOCK)
    kd_red, kd_green, kd_blue, roughness = columns_of_four(low, BLOCK)
    metallic, map_x, map_y, map_z = columns_of_four(high, BLOCK)
    kd = kd_red, kd_green, kd_blue

    smooth, tangent = load_three(normals, row, valid), load_three(tangents, row, valid)
    sign, view = tl.load(signs + row, mask=valid, other=0.0), load_three(views, row, valid)
    normal, length = shading_normal((map_x, map_y, map_z), smooth, tangent, sign)
    seen = dot(normal, view)

    if NVDIFFREC:
        n_dot_v = seen
        scale, bias = lookup_fg(table, roughness, tl.maximum(seen, _NVDIFFREC_MIN_N_DOT_V), TABLE_SIZE)
        diffuse, specular = nvdiffrec_albedo(kd, metallic, scale[0], bias[0])
        lobe_roughness = roughness
        reflected = minus(scaled(normal, 2 * n_dot_v), view)
        # Its length does not matter to a lookup, except where it is 0.
        is_long = dot(reflected, reflected) > _SMALLEST_SQUARE
        direction = where_three(is_long, reflected)
    else:
        n_dot_v = tl.maximum(seen, _MIN_N_DOT_V)
        near, far, slope_roughness, slope_n_dot_v = ggx_lookup(table, roughness, n_dot_v, TABLE_SIZE, BLOCK)
        terms = columns_of_four(near[0], BLOCK) + columns_of_four(far[0], BLOCK)
        diffuse, specular = principled_albedo(kd, metallic, terms)
        lean, lobe_roughness = lobe_of(kd, metallic, terms)
        reflected = minus(scaled(normal, 2 * n_dot_v), view)
        direction = plus(normal, scaled(minus(reflected, normal), lean))

    # nvdiffrec's formula normalizes the normal once more, except where shadows bring their own irradiance.
    if NVDIFFREC and not SHADOWED:
        upward, upward_scale = safe_normalize(normal)
    else:
        upward = normal
    sky = evaluate_irradiance(irradiance, upward)
    diffuse_light = tl.maximum(sky[0], 0.0), tl.maximum(sky[1], 0.0), tl.maximum(sky[2], 0.0)
    if len(KNOWN) > 1:
        atlas_level, level_slope = roughness_to_level(lobe_roughness, KNOWN)
    else:
        atlas_level, level_slope = tl.zeros_like(lobe_roughness), tl.zeros_like(lobe_roughness)
    lobe_light, light_x, light_y, light_level = sample_atlas(atlas, direction, atlas_level, PLACES, ATLAS_WIDTH)
    if SHADOWED:
        open_diffuse = load_three(shadow_diffuse, row, valid)
        open_specular = shadow_specular_at(shadow_specular, row, roughness, valid, SHADOW_NODES)
        diffuse_light, lobe_light = times(diffuse_light, open_diffuse), times(lobe_light, open_specular)
    prediction = plus(times(diffuse, diffuse_light), times(specular, lobe_light))

    reference, alpha = load_three(colors, row, valid), tl.load(alphas + row, mask=valid, other=1.0)
    if MEASURE:
        red = clipped_srgb(prediction[0]) - clipped_srgb(reference[0])
        green = clipped_srgb(prediction[1]) - clipped_srgb(reference[1])
        blue = clipped_srgb(prediction[2]) - clipped_srgb(reference[2])
        error = tl.where(valid, red * red + green * green + blue * blue, 0.0) / (total * 3.0)
        tl.store(partial + tl.program_id(0), tl.sum(error, axis=0))
    else:
        bound = tl.load(delta)
        red, to_red = huber(prediction[0], reference[0], bound)
        green, to_green = huber(prediction[1], reference[1], bound)
        blue, to_blue = huber(prediction[2], reference[2], bound)
        share = 1 / (total * 3.0)
        missing = 1 - alpha
        loss = tl.where(valid, (red + green + blue + 3 * missing * missing) * share, 0.0)

        # The way back.
        to_color = where_three(valid, (to_red * share, to_green * share, to_blue * share))
        to_diffuse, to_specular = times(to_color, diffuse_light), times(to_color, lobe_light)
        to_sky, to_light = times(to_color, diffuse), times(to_color, specular)
        if SHADOWED:
            to_sky, to_light = times(to_sky, open_diffuse), times(to_light, open_specular)
        to_sky = (
            tl.where(sky[0] >= 0, to_sky[0], 0.0),
            tl.where(sky[1] >= 0, to_sky[1], 0.0),
            tl.where(sky[2] >= 0, to_sky[2], 0.0),
        )
        to_normal = irradiance_to_direction(irradiance, upward, to_sky)
        if NVDIFFREC and not SHADOWED:
            to_normal = scaled(minus(to_normal, scaled(upward, dot(upward, to_normal))), upward_scale)
        if LEARN_LIGHT:
            store_sums(partial + tl.program_id(0) * 28, loss, upward, to_sky, BLOCK)
            spread_atlas(atlas_gradient, direction, atlas_level, to_light, valid, PLACES, ATLAS_WIDTH, BLOCK)
        else:
            tl.store(partial + tl.program_id(0), tl.sum(loss, axis=0))
        to_lobe_roughness = dot(to_light, light_level) * level_slope
        to_direction = dir_to_cube_transposed(direction, dot(to_light, light_x), dot(to_light, light_y))

        if NVDIFFREC:
            to_kd, to_metallic, to_scale, to_bias = nvdiffrec_albedo_transposed(
                kd, metallic, scale[0], to_diffuse, to_specular
            )
            to_roughness = to_lobe_roughness + to_scale * scale[1] + to_bias * bias[1]
            to_reflected = where_three(is_long, to_direction)
            to_looked_up = to_scale * scale[2] + to_bias * bias[2]
            to_seen = tl.where(seen >= _NVDIFFREC_MIN_N_DOT_V, to_looked_up, 0.0) + 2 * dot(to_reflected, normal)
        else:
            to_kd, to_metallic, to_scale, to_bias, to_dielectric, to_mean = principled_albedo_transposed(
                kd, metallic, terms, to_diffuse, to_specular
            )
            to_lean = dot(to_direction, minus(reflected, normal))
            to_gray, more_metallic, more_scale, more_bias, dielectric_share = lobe_of_transposed(
                kd, metallic, terms, to_lean, to_lobe_roughness
            )
            to_kd = to_kd[0] + to_gray, to_kd[1] + to_gray, to_kd[2] + to_gray
            to_metallic += more_metallic
            to_near = rows_of_four(
                to_scale + more_scale, to_bias + more_bias, to_dielectric, to_lean * (1 - dielectric_share), BLOCK
            )
            to_far = rows_of_four(
                to_lobe_roughness * (1 - dielectric_share),
                to_mean,
                to_lean * dielectric_share,
                to_lobe_roughness * dielectric_share,
                BLOCK,
            )
            to_roughness = tl.sum(to_near * near[1] + to_far * far[1], axis=1) * slope_roughness
            to_looked_up = tl.sum(to_near * near[2] + to_far * far[2], axis=1) * slope_n_dot_v
            to_reflected = scaled(to_direction, lean)
            to_normal = plus(to_normal, scaled(to_direction, 1 - lean))
            to_seen = tl.where(seen >= _MIN_N_DOT_V, to_looked_up + 2 * dot(to_reflected, normal), 0.0)

        to_normal = plus(to_normal, plus(scaled(to_reflected, 2 * n_dot_v), scaled(view, to_seen)))
        to_map = shading_normal_transposed(normal, length, smooth, tangent, sign, to_normal)
        to_low = rows_of_four(to_kd[0], to_kd[1], to_kd[2], to_roughness, BLOCK)
        to_high = rows_of_four(to_metallic, to_map[0], to_map[1], to_map[2], BLOCK)
        _spread(texel_gradient, u, v, finer, coarser_share, height, width, to_low, to_high, valid, BLOCK)
