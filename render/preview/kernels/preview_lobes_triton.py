"""Triton: coat, sheen and emission of previews, without gradients; each function mirrors the one of its name in `render`."""

from __future__ import annotations

import triton
import triton.language as tl

from render.core.kernels.vectors_triton import columns_of_four, dot, minus, plus, scaled, times
from render.light.kernels.light_lookup_triton import evaluate_sheen, roughness_to_level
from render.preview.kernels.preview_lookups_triton import sample_atlas, texel_of
from render.shading.kernels.shading_triton import ggx_lookup, safe_normalize

_MIN_N_DOT_V = tl.constexpr(1e-3)


@triton.jit
def look_up_lobes(lobes, u, v, level, first, height, width, levels, valid, BLOCK: tl.constexpr):
    """Rows of twelve, see `MapRows`, as three tuples of four; the arguments are those of `look_up`."""
    channel = tl.arange(0, 4)[None, :]
    coat = tl.zeros([BLOCK, 4], tl.float32)
    sheen, emission = tl.zeros([BLOCK, 4], tl.float32), tl.zeros([BLOCK, 4], tl.float32)
    wanted = tl.minimum(tl.maximum(level, 0.0), levels - 1.0)
    whole = tl.minimum(tl.floor(wanted), tl.maximum(levels - 2.0, 0.0))
    finer, coarser_share = whole.to(tl.int32), wanted - whole
    for step in range(2):
        share = tl.where(step == 1, coarser_share, 1 - coarser_share)
        needed = (valid & (share != 0))[:, None]
        rows, columns = height >> (finer + step), width >> (finer + step)
        start = (height * width - rows * columns) // 3 * 4
        for corner in range(4):
            row, weight = texel_of(u, v, rows, columns, corner)
            weight = (weight * share)[:, None]
            at = (lobes + (first + start + row).to(tl.int64) * 12)[:, None] + channel
            coat += weight * tl.load(at, mask=needed, other=0.0)
            sheen += weight * tl.load(at + 4, mask=needed, other=0.0)
            emission += weight * tl.load(at + 8, mask=needed, other=0.0)
    return columns_of_four(coat, BLOCK), columns_of_four(sheen, BLOCK), columns_of_four(emission, BLOCK)


@triton.jit
def with_lobes(
    base, coat, sheen, emission, openness, normal, coat_normal, view, table, sheen_table, irradiance, atlas,
    TABLE_SIZE: tl.constexpr, PLACES: tl.constexpr, ATLAS_WIDTH: tl.constexpr, KNOWN: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """`with_lobes` of `render.shading.lobes`, of the rows that `look_up_lobes` gives."""
    weight, roughness = coat[0], coat[1]
    sheen_normal, _ = safe_normalize(plus(normal, scaled(minus(coat_normal, normal), weight)))
    seen = tl.maximum(dot(sheen_normal, view), _MIN_N_DOT_V)
    near, far, _, _ = ggx_lookup(sheen_table, coat[2], seen, TABLE_SIZE, BLOCK)
    albedo, along_normal, along_view, nn = columns_of_four(near[0], BLOCK)
    nv, vv, _, _ = columns_of_four(far[0], BLOCK)
    color = scaled((sheen[0], sheen[1], sheen[2]), albedo)
    sky = evaluate_sheen(irradiance, sheen_normal, view, along_normal, along_view, nn, nv, vv)
    sky = tl.maximum(sky[0], 0.0), tl.maximum(sky[1], 0.0), tl.maximum(sky[2], 0.0)
    radiance = times(color, sky)
    below = tl.maximum(1 - tl.maximum(tl.maximum(color[0], color[1]), color[2]), 0.0)

    seen = tl.maximum(dot(coat_normal, view), _MIN_N_DOT_V)
    near, far, _, _ = ggx_lookup(table, roughness, seen, TABLE_SIZE, BLOCK)
    _, _, dielectric, _ = columns_of_four(near[0], BLOCK)
    _, _, lean, lobe_roughness = columns_of_four(far[0], BLOCK)
    reflected = minus(scaled(coat_normal, 2 * seen), view)
    direction = plus(coat_normal, scaled(minus(reflected, coat_normal), lean))
    if len(KNOWN) > 1:
        level, _ = roughness_to_level(lobe_roughness, KNOWN)
    else:
        level = tl.zeros_like(lobe_roughness)
    coat_sky = sample_atlas(atlas, direction, level, PLACES, ATLAS_WIDTH, BLOCK)
    radiance = plus(radiance, scaled(coat_sky, below * weight * dielectric))
    below *= 1 - weight * dielectric
    shown = plus(base, (emission[0], emission[1], emission[2]))
    return plus(scaled(radiance, openness), scaled(shown, below))
