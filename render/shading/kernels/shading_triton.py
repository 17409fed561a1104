"""Triton: the shading models and their gradients; each function mirrors the function of the same name in `render`.

What a function and its `_transposed` both need is written in both: the compiler computes it once where that is faster.
"""

from __future__ import annotations

import triton
import triton.language as tl

from render.core.kernels.vectors_triton import cross, dot, minus, plus, scaled

_SHORTEST_NORMAL = tl.constexpr(1e-12)
_SMALLEST_SQUARE = tl.constexpr(1e-20)
_DIELECTRIC_F0 = tl.constexpr(0.04)
_DIELECTRIC_MEAN_FRESNEL = tl.constexpr(0.5 / (4.08567 + 1.00071 * 1.5))
_SMALLEST_TABLE_INPUT = tl.constexpr(1e-4)


@triton.jit
def shading_normal(normal_map, normal, tangent, sign):
    """The unit normal, and its length before."""
    bitangent = scaled(cross(normal, tangent), sign)
    world = plus(plus(scaled(tangent, normal_map[0]), scaled(bitangent, normal_map[1])), scaled(normal, normal_map[2]))
    length = tl.sqrt(dot(world, world))
    divisor = tl.maximum(length, _SHORTEST_NORMAL)
    return (world[0] / divisor, world[1] / divisor, world[2] / divisor), length


@triton.jit
def shading_normal_transposed(unit, length, normal, tangent, sign, gradient):
    """Gradient to the normal map."""
    along = tl.where(length >= _SHORTEST_NORMAL, dot(unit, gradient), 0.0)
    flat = minus(gradient, scaled(unit, along))
    divisor = tl.maximum(length, _SHORTEST_NORMAL)
    flat = flat[0] / divisor, flat[1] / divisor, flat[2] / divisor
    bitangent = scaled(cross(normal, tangent), sign)
    return dot(flat, tangent), dot(flat, bitangent), dot(flat, normal)


@triton.jit
def safe_normalize(vector):
    """The unit vector and the factor that made it; both 0 for a vector that is too short."""
    square = dot(vector, vector)
    is_long = square > _SMALLEST_SQUARE
    inverse = tl.where(is_long, 1 / tl.sqrt(tl.where(is_long, square, 1.0)), 0.0)
    return scaled(vector, inverse), inverse


@triton.jit
def _ggx_four(at, right, below, SIZE: tl.constexpr, BLOCK: tl.constexpr):
    """Four terms and their slopes over rows and columns."""
    at = at[:, None] + tl.arange(0, 4)[None, :]
    value = tl.zeros([BLOCK, 4], tl.float32)
    over_row, over_column = value, value
    for corner in range(4):
        is_right, is_below = corner % 2, corner // 2
        along_x = tl.where(is_right == 1, right, 1 - right)
        along_y = tl.where(is_below == 1, below, 1 - below)
        terms = tl.load(at + (is_below * SIZE + is_right) * 8)
        value += (along_x * along_y)[:, None] * terms
        over_row += (along_x * (is_below * 2.0 - 1.0))[:, None] * terms
        over_column += (along_y * (is_right * 2.0 - 1.0))[:, None] * terms
    return value, over_row, over_column


@triton.jit
def ggx_lookup(table, roughness, n_dot_v, SIZE: tl.constexpr, BLOCK: tl.constexpr):
    """`GgxTable.lookup` in a table [SIZE * SIZE, 8]: twice four terms with their slopes, then the slopes of row and column.

    Rows run over the roughness, columns over N.V. Slopes are 0 exactly at the border, as those of `grid_sample`.
    """
    root_x = tl.sqrt(tl.minimum(tl.maximum(n_dot_v, _SMALLEST_TABLE_INPUT), 1.0))
    root_y = tl.sqrt(tl.minimum(tl.maximum(roughness, _SMALLEST_TABLE_INPUT), 1.0))
    x, y = root_x * (SIZE - 1), root_y * (SIZE - 1)
    left, top = tl.minimum(tl.floor(x), SIZE - 2.0), tl.minimum(tl.floor(y), SIZE - 2.0)
    at = table + (top.to(tl.int32) * SIZE + left.to(tl.int32)) * 8
    # The slope of x over N.V is (SIZE - 1) / (2 sqrt(N.V)).
    in_x = (n_dot_v >= _SMALLEST_TABLE_INPUT) & (n_dot_v <= 1) & (x < SIZE - 1)
    in_y = (roughness >= _SMALLEST_TABLE_INPUT) & (roughness <= 1) & (y < SIZE - 1)
    slope_x = tl.where(in_x, (SIZE - 1) * 0.5 / root_x, 0.0)
    slope_y = tl.where(in_y, (SIZE - 1) * 0.5 / root_y, 0.0)
    near = _ggx_four(at, x - left, y - top, SIZE, BLOCK)
    return near, _ggx_four(at + 4, x - left, y - top, SIZE, BLOCK), slope_y, slope_x


@triton.jit
def _fg_channel(lut, at, right, below, slope_x, slope_y, SIZE: tl.constexpr):
    a, b = tl.load(lut + at), tl.load(lut + at + 2)
    c, d = tl.load(lut + at + 2 * SIZE), tl.load(lut + at + 2 * SIZE + 2)
    upper, lower = a + right * (b - a), c + right * (d - c)
    over_x = ((b - a) + below * ((d - c) - (b - a))) * slope_x
    return upper + below * (lower - upper), (lower - upper) * slope_y, over_x


@triton.jit
def lookup_fg(lut, roughness, n_dot_v, SIZE: tl.constexpr):
    """Look up scale and bias in a table [SIZE, SIZE, 2], each with its slopes over roughness and N.V."""
    x, y = n_dot_v * SIZE - 0.5, roughness * SIZE - 0.5
    slope_x = tl.where((x > 0) & (x < SIZE - 1), SIZE * 1.0, 0.0)
    slope_y = tl.where((y > 0) & (y < SIZE - 1), SIZE * 1.0, 0.0)
    x = tl.minimum(tl.maximum(x, 0.0), SIZE - 1.0)
    y = tl.minimum(tl.maximum(y, 0.0), SIZE - 1.0)
    left, top = tl.minimum(tl.floor(x), SIZE - 2.0), tl.minimum(tl.floor(y), SIZE - 2.0)
    at = (top.to(tl.int32) * SIZE + left.to(tl.int32)) * 2
    scale = _fg_channel(lut, at, x - left, y - top, slope_x, slope_y, SIZE)
    return scale, _fg_channel(lut, at + 1, x - left, y - top, slope_x, slope_y, SIZE)


@triton.jit
def _multiple_bounces(mean_fresnel, mean_albedo):
    """The factor on light that bounces more than once, and its slopes over both arguments."""
    divisor = 1 - mean_fresnel * (1 - mean_albedo)
    square = divisor * divisor
    value = mean_fresnel * mean_albedo / divisor
    return value, mean_albedo / square, mean_fresnel * (1 - mean_fresnel) / square


@triton.jit
def _mean_fresnel(kd):
    return kd * (20 / 21) + 1 / 21


@triton.jit
def principled_albedo(kd, metallic, terms):
    """Factors [3] on the diffuse light and the lobe's: `surface_energy` ("multi"), as `outgoing_radiance` applies it."""
    scale, bias, dielectric, mean = terms[0], terms[1], terms[2], terms[5]
    missing = (1 - (scale + bias)) / (scale + bias)
    bounced, _, _ = _multiple_bounces(tl.zeros_like(mean) + _DIELECTRIC_MEAN_FRESNEL, mean)
    coat = dielectric * (1 + missing * bounced)
    red, _, _ = _multiple_bounces(_mean_fresnel(kd[0]), mean)
    green, _, _ = _multiple_bounces(_mean_fresnel(kd[1]), mean)
    blue, _, _ = _multiple_bounces(_mean_fresnel(kd[2]), mean)
    specular = (
        metallic * ((kd[0] * scale + bias) * (1 + missing * red)) + (1 - metallic) * coat,
        metallic * ((kd[1] * scale + bias) * (1 + missing * green)) + (1 - metallic) * coat,
        metallic * ((kd[2] * scale + bias) * (1 + missing * blue)) + (1 - metallic) * coat,
    )
    return scaled(kd, (1 - metallic) * (1 - coat)), specular


@triton.jit
def _metal_transposed(kd, metallic, scale, bias, mean, missing, to_specular):
    """For one channel of the metal: gradients to kd, metallic, scale, bias, mean and missing."""
    bounced, over_fresnel, over_mean = _multiple_bounces(_mean_fresnel(kd), mean)
    base, gain = kd * scale + bias, 1 + missing * bounced
    to_base, to_gain = to_specular * metallic * gain, to_specular * metallic * base
    to_bounced = to_gain * missing
    return (
        to_base * scale + to_bounced * over_fresnel * (20 / 21),
        to_specular * base * gain,
        to_base * kd,
        to_base,
        to_bounced * over_mean,
        to_gain * bounced,
    )


@triton.jit
def principled_albedo_transposed(kd, metallic, terms, to_diffuse, to_specular):
    """Gradients to kd [3], metallic, and the terms scale, bias, dielectric and mean albedo."""
    scale, bias, dielectric, mean = terms[0], terms[1], terms[2], terms[5]
    albedo = scale + bias
    missing = (1 - albedo) / albedo
    bounced, _, over_mean = _multiple_bounces(tl.zeros_like(mean) + _DIELECTRIC_MEAN_FRESNEL, mean)
    gain = 1 + missing * bounced
    coat = dielectric * gain
    red = _metal_transposed(kd[0], metallic, scale, bias, mean, missing, to_specular[0])
    green = _metal_transposed(kd[1], metallic, scale, bias, mean, missing, to_specular[1])
    blue = _metal_transposed(kd[2], metallic, scale, bias, mean, missing, to_specular[2])
    any_specular = to_specular[0] + to_specular[1] + to_specular[2]
    any_diffuse = dot(to_diffuse, kd)
    to_kd = plus((red[0], green[0], blue[0]), scaled(to_diffuse, (1 - metallic) * (1 - coat)))
    to_metallic = red[1] + green[1] + blue[1] - any_specular * coat - any_diffuse * (1 - coat)
    to_coat = (1 - metallic) * (any_specular - any_diffuse)
    to_gain = to_coat * dielectric
    to_missing = red[5] + green[5] + blue[5] + to_gain * bounced
    to_mean = red[4] + green[4] + blue[4] + to_gain * missing * over_mean
    to_albedo = -to_missing / (albedo * albedo)
    to_scale = red[2] + green[2] + blue[2] + to_albedo
    to_bias = red[3] + green[3] + blue[3] + to_albedo
    return to_kd, to_metallic, to_scale, to_bias, to_coat * gain, to_mean


@triton.jit
def _above_dielectric(kd):
    return (kd[0] + kd[1] + kd[2]) / 3 - _DIELECTRIC_F0


@triton.jit
def lobe_of(kd, metallic, terms):
    """Lean and roughness of the lobe: `LobeTerms.lobe_of` at the mean color's f0."""
    f0 = tl.maximum(_above_dielectric(kd), 0.0) * metallic + _DIELECTRIC_F0
    whole = f0 * terms[0] + terms[1]
    dielectric = terms[0] * _DIELECTRIC_F0 + terms[1]
    share = (1 - f0) * dielectric / (whole * (1 - _DIELECTRIC_F0))
    return terms[3] + share * (terms[6] - terms[3]), terms[4] + share * (terms[7] - terms[4])


@triton.jit
def lobe_of_transposed(kd, metallic, terms, to_lean, to_roughness):
    """Gradients to kd (the same for each channel), metallic, scale, bias; and the share of the dielectric's lobe."""
    above = _above_dielectric(kd)
    f0 = tl.maximum(above, 0.0) * metallic + _DIELECTRIC_F0
    whole = f0 * terms[0] + terms[1]
    dielectric = terms[0] * _DIELECTRIC_F0 + terms[1]
    share = (1 - f0) * dielectric / (whole * (1 - _DIELECTRIC_F0))
    to_share = to_lean * (terms[6] - terms[3]) + to_roughness * (terms[7] - terms[4])
    to_whole = -to_share * share / whole
    over = to_share / (whole * (1 - _DIELECTRIC_F0))
    to_dielectric = over * (1 - f0)
    to_f0 = to_whole * terms[0] - over * dielectric
    to_kd = tl.where(above >= 0, to_f0 * metallic, 0.0) / 3
    to_scale = to_whole * f0 + to_dielectric * _DIELECTRIC_F0
    return to_kd, to_f0 * tl.maximum(above, 0.0), to_scale, to_whole + to_dielectric, share


@triton.jit
def nvdiffrec_albedo(kd, metallic, scale, bias):
    """Factors [3] on the diffuse light and the lobe's, of `nvdiffrec_radiance`."""
    fixed = (1 - metallic) * _DIELECTRIC_F0
    specular = (
        (fixed + kd[0] * metallic) * scale + bias,
        (fixed + kd[1] * metallic) * scale + bias,
        (fixed + kd[2] * metallic) * scale + bias,
    )
    return scaled(kd, 1 - metallic), specular


@triton.jit
def nvdiffrec_albedo_transposed(kd, metallic, scale, to_diffuse, to_specular):
    """Gradients to kd [3], metallic, scale and bias."""
    any_specular = to_specular[0] + to_specular[1] + to_specular[2]
    tinted = dot(to_specular, kd)
    to_kd = plus(scaled(to_specular, metallic * scale), scaled(to_diffuse, 1 - metallic))
    to_metallic = scale * (tinted - any_specular * _DIELECTRIC_F0) - dot(to_diffuse, kd)
    to_scale = (1 - metallic) * _DIELECTRIC_F0 * any_specular + metallic * tinted
    return to_kd, to_metallic, to_scale, any_specular


@triton.jit
def _between_nodes(at, first, second, valid):
    low = tl.load(at, mask=valid, other=0.0)
    middle = tl.load(at + 3, mask=valid, other=0.0)
    high = tl.load(at + 6, mask=valid, other=0.0)
    lower = low + first * (middle - low)
    return lower + second * (high - lower)


@triton.jit
def shadow_specular_at(specular, row, roughness, valid, NODES: tl.constexpr):
    """`ShadowFactors.specular_at` of rows [3 nodes, 3]; NODES are their roughnesses."""
    first = tl.minimum(tl.maximum((roughness - NODES[0]) / (NODES[1] - NODES[0]), 0.0), 1.0)
    second = tl.minimum(tl.maximum((roughness - NODES[1]) / (NODES[2] - NODES[1]), 0.0), 1.0)
    at = specular + row * 9
    red = _between_nodes(at, first, second, valid)
    green = _between_nodes(at + 1, first, second, valid)
    return red, green, _between_nodes(at + 2, first, second, valid)


@triton.jit
def _log1p(x):
    # Where 1 + x has lost digits of x, its logarithm has lost as many: the quotient of x and what is left of it corrects this.
    one_more = 1 + x
    lost = one_more - 1
    return tl.where(lost == 0, x, tl.log(one_more) * (x / tl.where(lost == 0, 1.0, lost)))


@triton.jit
def tone_slope(radiance):
    """Derivative of sRGB(log(1 + x)), the weight of a residual."""
    x = tl.maximum(radiance, 0.0)
    y = _log1p(x)
    curve = tl.exp2(tl.log2(tl.maximum(y, 0.0031308)) * (1 / 2.4 - 1)) * (1.055 / 2.4)
    return tl.where(y <= 0.0031308, 12.92, curve) / (1 + x)


@triton.jit
def huber(prediction, target, delta):
    """The loss of one weighted residual, and its gradient to the prediction."""
    weight = tone_slope(prediction)
    residual = weight * (prediction - target)
    size = tl.abs(residual)
    loss = tl.where(size < delta, 0.5 * residual * residual, delta * (size - 0.5 * delta))
    return loss, weight * tl.minimum(tl.maximum(residual, -delta), delta)


@triton.jit
def clipped_srgb(linear):
    """The sRGB encoding of a value, clipped to 0..1."""
    low = tl.minimum(tl.maximum(linear, 0.0), 1.0)
    high = 1.055 * tl.exp(tl.log(tl.maximum(low, 0.0031308)) * (1 / 2.4)) - 0.055
    return tl.where(low <= 0.0031308, low * 12.92, high)
