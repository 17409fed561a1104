"""Triton: the pixels of a preview, from the triangles that their samples see to colors over the background, in one kernel.

Each lane has one pixel; every step mirrors the function of the same name in `render`. A program has 8 x 8 pixels, so that
lanes that run together read the same texels; where its pixels see nothing, it only writes the background.
"""

from __future__ import annotations

import triton
import triton.language as tl

from render.core.kernels.vectors_triton import (
    columns_of_four,
    cross,
    dot,
    minus,
    plus,
    rows_of_four,
    scaled,
    times,
    where_three,
)
from render.light.kernels.light_lookup_triton import evaluate_irradiance, roughness_to_level
from render.preview.kernels.preview_lobes_triton import look_up_lobes, with_lobes
from render.preview.kernels.preview_lookups_triton import look_up, sample_atlas, wrapped
from render.raster.kernels.rasterize_triton import CAMERA, DEPTHS, EMPTY, GROUP, SAMPLE_X, SAMPLE_Y, groups_before
from render.shading.kernels.shading_triton import (
    ggx_lookup,
    lobe_of,
    lookup_fg,
    nvdiffrec_albedo,
    principled_albedo,
    safe_normalize,
    shading_normal,
)

_MIN_N_DOT_V = tl.constexpr(1e-3)
_NVDIFFREC_MIN_N_DOT_V = tl.constexpr(1e-4)
_SMALLEST_SQUARE = tl.constexpr(1e-20)
_SHORTEST = tl.constexpr(1e-12)
_NO_TRIANGLE = tl.constexpr(2**31 - 1)
_LARGEST_HALF = tl.constexpr(65504.0)


@triton.jit
def _four(values, row, valid, BLOCK: tl.constexpr):
    """Rows of four floats, as four [BLOCK]."""
    at = (values + row * 4)[:, None] + tl.arange(0, 4)[None, :]
    return columns_of_four(tl.load(at, mask=valid[:, None], other=0.0), BLOCK)


@triton.jit
def _three_blended(a, b, c, weight):
    return plus(plus(scaled(a, weight[0]), scaled(b, weight[1])), scaled(c, weight[2]))


@triton.jit
def _blended(a, b, c, weight):
    return a * weight[0] + b * weight[1] + c * weight[2]


@triton.jit
def _normalized(vector):
    length = tl.maximum(tl.sqrt(dot(vector, vector)), _SHORTEST)
    return vector[0] / length, vector[1] / length, vector[2] / length


@triton.jit
def _seen_from(corner, row_x, row_y, row_w):
    """A corner in clip space with its origin at the sample: numbers near it are small, so from here on float32 is enough."""
    x, y, z = corner[0].to(tl.float64), corner[1].to(tl.float64), corner[2].to(tl.float64)
    return (
        (row_x[0] * x + row_x[1] * y + row_x[2] * z + row_x[3]).to(tl.float32),
        (row_y[0] * x + row_y[1] * y + row_y[2] * z + row_y[3]).to(tl.float32),
        (row_w[0] * x + row_w[1] * y + row_w[2] * z + row_w[3]).to(tl.float32),
    )


@triton.jit
def _camera_row(camera, row: tl.constexpr):
    at = camera + row * 4
    return tl.load(at), tl.load(at + 1), tl.load(at + 2), tl.load(at + 3)


@triton.jit
def _shifted_row(row, row_w, position):
    return (
        row[0] - position * row_w[0],
        row[1] - position * row_w[1],
        row[2] - position * row_w[2],
        row[3] - position * row_w[3],
    )


@triton.jit
def _weights(a, b, c):
    """Barycentrics of the sample, and their slopes over device x and y, from the homogeneous corners seen from it."""
    side_a, side_b, side_c = cross(b, c), cross(c, a), cross(a, b)
    total = side_a[2] + side_b[2] + side_c[2]
    inverse = 1 / tl.where(total == 0, 1.0, total)
    weight = side_a[2] * inverse, side_b[2] * inverse, side_c[2] * inverse
    all_x, all_y = side_a[0] + side_b[0] + side_c[0], side_a[1] + side_b[1] + side_c[1]
    over_x = (
        (side_a[0] - weight[0] * all_x) * inverse,
        (side_b[0] - weight[1] * all_x) * inverse,
        (side_c[0] - weight[2] * all_x) * inverse,
    )
    over_y = (
        (side_a[1] - weight[0] * all_y) * inverse,
        (side_b[1] - weight[1] * all_y) * inverse,
        (side_c[1] - weight[2] * all_y) * inverse,
    )
    return weight, over_x, over_y


@triton.jit
def _radiance(
    kd, roughness, metallic, normal, view, table, irradiance, atlas,
    NVDIFFREC: tl.constexpr, TABLE_SIZE: tl.constexpr, PLACES: tl.constexpr, ATLAS_WIDTH: tl.constexpr, KNOWN: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """`outgoing_radiance` by the model "nvdiffrec" or "principled"."""
    seen = dot(normal, view)
    if NVDIFFREC:
        scale, bias = lookup_fg(table, roughness, tl.maximum(seen, _NVDIFFREC_MIN_N_DOT_V), TABLE_SIZE)
        diffuse, specular = nvdiffrec_albedo(kd, metallic, scale[0], bias[0])
        lobe_roughness = roughness
        reflected = minus(scaled(normal, 2 * seen), view)
        direction = where_three(dot(reflected, reflected) > _SMALLEST_SQUARE, reflected)
    else:
        seen = tl.maximum(seen, _MIN_N_DOT_V)
        near, far, _, _ = ggx_lookup(table, roughness, seen, TABLE_SIZE, BLOCK)
        terms = columns_of_four(near[0], BLOCK) + columns_of_four(far[0], BLOCK)
        diffuse, specular = principled_albedo(kd, metallic, terms)
        lean, lobe_roughness = lobe_of(kd, metallic, terms)
        reflected = minus(scaled(normal, 2 * seen), view)
        direction = plus(normal, scaled(minus(reflected, normal), lean))
    diffuse_light = _diffuse_light(normal, irradiance, NVDIFFREC)
    if len(KNOWN) > 1:
        level, _ = roughness_to_level(lobe_roughness, KNOWN)
    else:
        level = tl.zeros_like(lobe_roughness)
    lobe_light = sample_atlas(atlas, direction, level, PLACES, ATLAS_WIDTH, BLOCK)
    return plus(times(diffuse, diffuse_light), times(specular, lobe_light))


@triton.jit
def _diffuse_light(normal, irradiance, NVDIFFREC: tl.constexpr):
    if NVDIFFREC:
        normal, _ = safe_normalize(normal)
    sky = evaluate_irradiance(irradiance, normal)
    return tl.maximum(sky[0], 0.0), tl.maximum(sky[1], 0.0), tl.maximum(sky[2], 0.0)


@triton.jit
def _shade(
    triangle, column, row, valid, camera, vertices, triangles, parts, part_table, texels, alphas, openness, lobes,
    map_height, map_width, levels, table, sheen_table, irradiance, atlas, width, height,
    SPP: tl.constexpr, CHANNEL: tl.constexpr, NVDIFFREC: tl.constexpr, SEVERAL: tl.constexpr, HAS_ALPHA: tl.constexpr,
    HAS_OPENNESS: tl.constexpr, HAS_LOBES: tl.constexpr,
    TABLE_SIZE: tl.constexpr, PLACES: tl.constexpr, ATLAS_WIDTH: tl.constexpr, KNOWN: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Color (not premultiplied) and alpha of triangles at samples (column, row), each [BLOCK].

    parts, part_table, texels, alphas, openness, lobes  of `render.preview.parts`; without SEVERAL there is one material
    """
    corner = triangles + triangle.to(tl.int64) * 3
    first = tl.load(corner, mask=valid, other=0).to(tl.int64) * 3
    second = tl.load(corner + 1, mask=valid, other=0).to(tl.int64) * 3
    third = tl.load(corner + 2, mask=valid, other=0).to(tl.int64) * 3
    ax, ay, az, au = _four(vertices, first, valid, BLOCK)
    bx, by, bz, bu = _four(vertices, second, valid, BLOCK)
    cx, cy, cz, cu = _four(vertices, third, valid, BLOCK)
    a, b, c = (ax, ay, az), (bx, by, bz), (cx, cy, cz)

    # The sample in device coordinates, see `render.raster.portable`.
    device_x = (2 * (column.to(tl.float64) + SAMPLE_X) + 1) / (width * SPP).to(tl.float64) - 1
    device_y = (2 * (row.to(tl.float64) + SAMPLE_Y) + 1) / (height * SPP).to(tl.float64) - 1
    row_w = _camera_row(camera, 3)
    row_x = _shifted_row(_camera_row(camera, 0), row_w, device_x)
    row_y = _shifted_row(_camera_row(camera, 1), row_w, device_y)
    clip_a, clip_b = _seen_from(a, row_x, row_y, row_w), _seen_from(b, row_x, row_y, row_w)
    clip_c = _seen_from(c, row_x, row_y, row_w)
    weight, over_x, over_y = _weights(clip_a, clip_b, clip_c)
    position = _three_blended(a, b, c, weight)

    anx, any_, anz, av = _four(vertices, first + 1, valid, BLOCK)
    bnx, bny, bnz, bv = _four(vertices, second + 1, valid, BLOCK)
    cnx, cny, cnz, cv = _four(vertices, third + 1, valid, BLOCK)
    u, v = _blended(au, bu, cu, weight), _blended(av, bv, cv, weight)
    # The side of a pixel's footprint in uv units: derivatives are per device unit, half an image.
    area = _blended(au, bu, cu, over_x) * _blended(av, bv, cv, over_y)
    area -= _blended(au, bu, cu, over_y) * _blended(av, bv, cv, over_x)
    footprint = tl.sqrt(tl.abs(area) * (2.0 / width) * (2.0 / height))
    first_texel = tl.zeros_like(triangle)
    if SEVERAL:
        entry = part_table + tl.load(parts + triangle, mask=valid, other=0) * 4
        first_texel = tl.load(entry, mask=valid, other=0)
        map_height = tl.load(entry + 1, mask=valid, other=1)
        map_width = tl.load(entry + 2, mask=valid, other=1)
        levels = tl.load(entry + 3, mask=valid, other=1)
    edge = tl.sqrt((map_height * map_width).to(tl.float32))
    level = tl.log2(tl.maximum(footprint * edge, 1e-6))
    low, high, alpha, open_share = look_up(
        texels, alphas, openness, wrapped(u), wrapped(v), level, first_texel, map_height, map_width, levels, valid,
        HAS_ALPHA, HAS_OPENNESS, BLOCK,
    )  # fmt: skip
    kd = low[0], low[1], low[2]
    if CHANNEL == "kd":
        color = kd
    if CHANNEL == "occlusion":
        color = open_share, open_share, open_share
    if CHANNEL == "roughness":
        color = low[3], low[3], low[3]
    if CHANNEL == "metallic":
        color = high[0], high[0], high[0]
    if CHANNEL == "distance":
        axis = _camera_row(camera, 5)
        x, y, z = position[0].to(tl.float64), position[1].to(tl.float64), position[2].to(tl.float64)
        distance = (-(axis[0] * x + axis[1] * y + axis[2] * z + axis[3])).to(tl.float32)
        color = distance, distance, distance
        alpha = tl.zeros_like(distance) + 1
    if CHANNEL == "shaded" or CHANNEL == "normal" or CHANNEL == "light":
        atx, aty, atz, sign = _four(vertices, first + 2, valid, BLOCK)
        btx, bty, btz, _ = _four(vertices, second + 2, valid, BLOCK)
        ctx, cty, ctz, _ = _four(vertices, third + 2, valid, BLOCK)
        # Towards w * eye - position: a perspective camera is at a point (w 1), an orthographic one in a direction (w 0).
        eye_x, eye_y, eye_z, is_point = _camera_row(camera, 4)
        eye = eye_x.to(tl.float32), eye_y.to(tl.float32), eye_z.to(tl.float32)
        view = _normalized(minus(eye, scaled(position, is_point.to(tl.float32))))
        facing = tl.where(dot(cross(minus(b, a), minus(c, a)), view) >= 0, 1.0, -1.0)
        smooth = scaled(_normalized(_three_blended((anx, any_, anz), (bnx, bny, bnz), (cnx, cny, cnz), weight)), facing)
        tangent = scaled(_three_blended((atx, aty, atz), (btx, bty, btz), (ctx, cty, ctz), weight), facing)
        normal, _ = shading_normal((high[1], high[2], high[3]), smooth, tangent, sign * facing)
        if CHANNEL == "normal":
            color = (normal[0] + 1) * 0.5, (normal[1] + 1) * 0.5, (normal[2] + 1) * 0.5
        if CHANNEL == "light":
            color = _diffuse_light(normal, irradiance, False)
        if CHANNEL == "shaded":
            color = _radiance(
                kd, low[3], high[0], normal, view, table, irradiance, atlas,
                NVDIFFREC, TABLE_SIZE, PLACES, ATLAS_WIDTH, KNOWN, BLOCK,
            )  # fmt: skip
            if HAS_OPENNESS:
                color = scaled(color, open_share)
            if HAS_LOBES:
                coat, sheen, emission = look_up_lobes(
                    lobes, wrapped(u), wrapped(v), level, first_texel, map_height, map_width, levels, valid, BLOCK
                )
                color = with_lobes(
                    color, coat, sheen, emission, open_share, normal, smooth, view, table, sheen_table, irradiance, atlas,
                    TABLE_SIZE, PLACES, ATLAS_WIDTH, KNOWN, BLOCK,
                )  # fmt: skip
    return color, alpha


@triton.jit
def _least_above(numbers, bound):
    """The least number of each row of [BLOCK, S] above the bound [BLOCK], or _NO_TRIANGLE."""
    return tl.min(tl.where(numbers > bound[:, None], numbers, _NO_TRIANGLE), axis=1)


@triton.jit(do_not_specialize=["launches", "map_height", "map_width", "levels", "width", "height"])
def resolve(
    keys, marks, counters, launches, cameras, vertices, triangles, parts, part_table, texels, alphas, openness, lobes,
    map_height, map_width, levels, table, sheen_table, irradiance, atlas, background, image, width, height,
    SPP: tl.constexpr, CHANNEL: tl.constexpr, NVDIFFREC: tl.constexpr, SEVERAL: tl.constexpr, HAS_ALPHA: tl.constexpr,
    HAS_OPENNESS: tl.constexpr, HAS_LOBES: tl.constexpr, HAS_BACKDROP: tl.constexpr,
    LAYERS: tl.constexpr, TABLE_SIZE: tl.constexpr, PLACES: tl.constexpr, ATLAS_WIDTH: tl.constexpr, KNOWN: tl.constexpr,
):  # fmt: skip
    """Programs [ceil(width / 8), ceil(height / 8), views], of two warps, write image [N, height, width, 4].

    Samples of a pixel that see the same triangle are shaded once, at the sample nearest to the pixel's center; LAYERS of
    them are composited near to far. The kernel leaves the keys EMPTY, and the marks and counters 0, for the next frame.

    background  float64 [3], or with HAS_BACKDROP float32 [N, height, width, 3]
    """
    BLOCK: tl.constexpr = GROUP * GROUP
    lane = tl.arange(0, BLOCK)
    across, down, view = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    column, row = across * GROUP + lane % GROUP, down * GROUP + lane // GROUP
    is_pixel = (column < width) & (row < height)
    pixel = (view.to(tl.int64) * height + row) * width + column
    camera = cameras + view * CAMERA
    mark = marks + groups_before(view, width, height) + down * tl.num_programs(0) + across
    sees_anything = tl.load(mark) != 0
    if (across == 0) & (down == 0) & (view == 0):
        for launch in range(launches):
            tl.store(counters + launch, 0)

    at = background + (pixel * 3 if HAS_BACKDROP else tl.zeros_like(pixel))
    behind = (
        tl.load(at, mask=is_pixel, other=0.0).to(tl.float32),
        tl.load(at + 1, mask=is_pixel, other=0.0).to(tl.float32),
        tl.load(at + 2, mask=is_pixel, other=0.0).to(tl.float32),
    )
    red, green, blue = tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32)
    coverage = tl.zeros([BLOCK], tl.float32)
    SAMPLES: tl.constexpr = SPP * SPP
    if sees_anything:
        # No warp may read the mark after another has cleared it.
        tl.debug_barrier()
        tl.store(mark, 0)
        if CHANNEL == "depth":
            places = keys + pixel[:, None] * SAMPLES + tl.arange(0, SAMPLES)[None, :]
            key = tl.load(places, mask=is_pixel[:, None], other=EMPTY)
            is_seen = key != EMPTY
            tl.store(places, tl.zeros_like(key) + EMPTY, mask=is_seen)
            depth = (key >> 32).to(tl.float64) / DEPTHS - 1
            red = tl.sum(tl.where(is_seen, depth, 0.0), axis=1).to(tl.float32) / SAMPLES
            green, blue = red, red
            coverage = tl.sum(is_seen.to(tl.float32), axis=1) / SAMPLES
        elif SAMPLES * LAYERS == 1:
            key = tl.load(keys + pixel, mask=is_pixel, other=EMPTY)
            valid = key != EMPTY
            tl.store(keys + pixel, tl.zeros_like(key) + EMPTY, mask=valid)
            color, alpha = _shade(
                key.to(tl.int32), column, row, valid, camera, vertices, triangles, parts, part_table, texels, alphas,
                openness, lobes, map_height, map_width, levels, table, sheen_table, irradiance, atlas, width, height,
                SPP, CHANNEL, NVDIFFREC, SEVERAL, HAS_ALPHA, HAS_OPENNESS, HAS_LOBES,
                TABLE_SIZE, PLACES, ATLAS_WIDTH, KNOWN, BLOCK,
            )  # fmt: skip
            coverage = tl.where(valid, alpha, 0.0)
            red, green, blue = coverage * color[0], coverage * color[1], coverage * color[2]
        else:
            sample = tl.arange(0, SAMPLES)[None, :]
            off_center = tl.abs(2 * (sample // SPP) + 1 - SPP) + tl.abs(2 * (sample % SPP) + 1 - SPP)
            clear = tl.zeros([BLOCK, SAMPLES], tl.float32) + 1 / SAMPLES
            for layer in range(LAYERS):
                places = (
                    keys
                    + (layer * tl.num_programs(2).to(tl.int64) * height * width + pixel[:, None]) * SAMPLES
                    + sample
                )
                key = tl.load(places, mask=is_pixel[:, None], other=EMPTY)
                tl.store(places, tl.zeros_like(key) + EMPTY, mask=key != EMPTY)
                numbers = tl.where(key != EMPTY, key.to(tl.int32), _NO_TRIANGLE)
                triangle = _least_above(numbers, tl.zeros([BLOCK], tl.int32) - 1)
                while tl.min(triangle, axis=0) != _NO_TRIANGLE:
                    valid = triangle != _NO_TRIANGLE
                    is_same = valid[:, None] & (numbers == triangle[:, None])
                    share = tl.sum(tl.where(is_same, clear, 0.0), axis=1)
                    nearest = tl.min(tl.where(is_same, off_center * SAMPLES + sample, _NO_TRIANGLE), axis=1) % SAMPLES
                    color, alpha = _shade(
                        triangle, column * SPP + nearest % SPP, row * SPP + nearest // SPP, valid, camera, vertices,
                        triangles, parts, part_table, texels, alphas, openness, lobes, map_height, map_width, levels, table,
                        sheen_table, irradiance, atlas, width, height,
                        SPP, CHANNEL, NVDIFFREC, SEVERAL, HAS_ALPHA, HAS_OPENNESS, HAS_LOBES,
                        TABLE_SIZE, PLACES, ATLAS_WIDTH, KNOWN, BLOCK,
                    )  # fmt: skip
                    share *= alpha
                    red, green, blue = red + share * color[0], green + share * color[1], blue + share * color[2]
                    coverage += share
                    if LAYERS > 1:
                        clear = tl.where(is_same, clear * (1 - alpha)[:, None], clear)
                    triangle = _least_above(numbers, triangle)

    through = 1 - coverage
    result = rows_of_four(
        red + through * behind[0], green + through * behind[1], blue + through * behind[2], coverage, BLOCK
    )
    if image.dtype.element_ty == tl.float16:
        result = tl.minimum(result, _LARGEST_HALF)
    at = (image + pixel * 4)[:, None] + tl.arange(0, 4)[None, :]
    tl.store(at, result.to(image.dtype.element_ty), mask=is_pixel[:, None])
