"""Triton: which triangle each sample of some views sees, by the smallest (depth, triangle) that an atomic leaves there.

Two kernels. `set_up_triangles`, a triangle a lane, fills those of a few samples itself and notes the others in a list;
`fill_tiles` fills these, a tile of samples at a time, so that one triangle over the whole image is as evenly spread
over the machine as a thousand. Edges, their tolerance, the place of samples and the order of depths are those of
`render.rasterize`, in float64 as there.
"""

from __future__ import annotations

import triton
import triton.language as tl

from render.rasterize import _SAMPLE_X, _SAMPLE_Y

EMPTY = tl.constexpr(2**63 - 1)
# A key holds z/w + 1 in these steps, above the number of the triangle.
DEPTHS = tl.constexpr(2.0**30 - 1)
# float64 values of a camera: the matrix from world to clip space, then the eye, see `compose_cameras`.
CAMERA = tl.constexpr(20)
SAMPLE_X = tl.constexpr(_SAMPLE_X)
SAMPLE_Y = tl.constexpr(_SAMPLE_Y)
# The counter of the list: entries in the low bits, their tiles above, so that one addition draws both.
_ENTRY_BITS = tl.constexpr(30)
_ENTRIES = tl.constexpr(2**30 - 1)
_TOLERANCE = tl.constexpr(1e-9)
# A row of tiles starts at a multiple of this, where a sector of memory does.
_ALIGNED = tl.constexpr(4)


@triton.jit
def _clip_position(positions, cameras, vertex, view, vertices, valid, CLIP: tl.constexpr):
    """x, y, z, w in float64. CLIP: `positions` holds them, [N, V, 4]; else they are the world's, [V, 3]."""
    if CLIP:
        at = positions + (view.to(tl.int64) * vertices + vertex) * 4
        x = tl.load(at, mask=valid, other=0.0).to(tl.float64)
        y = tl.load(at + 1, mask=valid, other=0.0).to(tl.float64)
        z = tl.load(at + 2, mask=valid, other=0.0).to(tl.float64)
        w = tl.load(at + 3, mask=valid, other=0.0).to(tl.float64)
    else:
        at = positions + vertex * 3
        right = tl.load(at, mask=valid, other=0.0).to(tl.float64)
        up = tl.load(at + 1, mask=valid, other=0.0).to(tl.float64)
        back = tl.load(at + 2, mask=valid, other=0.0).to(tl.float64)
        row = cameras + view * CAMERA
        x = tl.load(row) * right + tl.load(row + 1) * up + tl.load(row + 2) * back + tl.load(row + 3)
        y = tl.load(row + 4) * right + tl.load(row + 5) * up + tl.load(row + 6) * back + tl.load(row + 7)
        z = tl.load(row + 8) * right + tl.load(row + 9) * up + tl.load(row + 10) * back + tl.load(row + 11)
        w = tl.load(row + 12) * right + tl.load(row + 13) * up + tl.load(row + 14) * back + tl.load(row + 15)
    return x, y, z, w


@triton.jit
def _edge(j, k, inverse, width, height):
    """The edge function of the corner opposite to j and k over (column, row): slopes and value at the first sample."""
    a = (j[1] * k[3] - j[3] * k[1]) * inverse
    b = (j[3] * k[0] - j[0] * k[3]) * inverse
    c = (j[0] * k[1] - j[1] * k[0]) * inverse
    first = c + a * ((2 * SAMPLE_X + 1) / width - 1) + b * ((2 * SAMPLE_Y + 1) / height - 1)
    return a * (2 / width), b * (2 / height), first


@triton.jit
def _reach(box, x, y, w, is_seen):
    """The box (left, right, top, bottom, whether it has no bounds) with one more point where `is_seen`."""
    left, right, top, bottom, boundless = box
    is_bounded = is_seen & (w > 0)
    inverse = 1 / tl.where(is_bounded, w, 1.0)
    x, y = x * inverse, y * inverse
    return (
        tl.where(is_bounded, tl.minimum(left, x), left),
        tl.where(is_bounded, tl.maximum(right, x), right),
        tl.where(is_bounded, tl.minimum(top, y), top),
        tl.where(is_bounded, tl.maximum(bottom, y), bottom),
        boundless | (is_seen & (w <= 0)),
    )


@triton.jit
def _reach_near_plane(box, a, b):
    """The same with the point of the side from a to b on the near plane, z = -w, where it passes that."""
    before, behind = a[2] + a[3], b[2] + b[3]
    is_cut = (before < 0) != (behind < 0)
    share = before / tl.where(is_cut, before - behind, 1.0)
    x, y, w = a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1]), a[3] + share * (b[3] - a[3])
    return _reach(box, x, y, w, is_cut)


@triton.jit
def _samples_between(low, high, size, offset):
    """First and last of `size` samples within a stretch of device coordinates; none where the first is the greater."""
    first = tl.ceil((low + 1) * (0.5 * size) - 0.5 - offset - _TOLERANCE)
    last = tl.floor((high + 1) * (0.5 * size) - 0.5 - offset + _TOLERANCE)
    first = tl.minimum(tl.maximum(first, 0.0), size)
    last = tl.minimum(tl.maximum(last, -1.0), size - 1)
    return first.to(tl.int32), last.to(tl.int32)


@triton.jit
def _set_up(
    positions, cameras, triangles, triangle, view, vertices, fine_width, fine_height, valid, CLIP: tl.constexpr
):
    """Of triangles: three edges and the plane of z/w, each (slope over columns, over rows, value at the first sample), and
    their box: first column and row, columns and rows; no columns where nothing is seen.
    """
    at = triangles + triangle.to(tl.int64) * 3
    first = tl.load(at, mask=valid, other=0)
    second = tl.load(at + 1, mask=valid, other=0)
    third = tl.load(at + 2, mask=valid, other=0)
    a = _clip_position(positions, cameras, first, view, vertices, valid, CLIP)
    b = _clip_position(positions, cameras, second, view, vertices, valid, CLIP)
    c = _clip_position(positions, cameras, third, view, vertices, valid, CLIP)
    width, height = fine_width.to(tl.float64), fine_height.to(tl.float64)
    determinant = (
        a[0] * (b[1] * c[3] - b[3] * c[1])
        + a[1] * (b[3] * c[0] - b[0] * c[3])
        + a[3] * (b[0] * c[1] - b[1] * c[0])
    )  # fmt: skip
    size = tl.abs(determinant)
    is_usable = valid & (size > 0) & (size < float("inf")) & ((a[3] > 0) | (b[3] > 0) | (c[3] > 0))
    inverse = 1 / tl.where(is_usable, determinant, 1.0)
    one, two = _edge(b, c, inverse, width, height), _edge(c, a, inverse, width, height)
    three = _edge(a, b, inverse, width, height)
    depth = (
        one[0] * a[2] + two[0] * b[2] + three[0] * c[2],
        one[1] * a[2] + two[1] * b[2] + three[1] * c[2],
        one[2] * a[2] + two[2] * b[2] + three[2] * c[2],
    )

    # What is nearer than the near plane is not seen, so the box is that of the rest: six points at most.
    zero = tl.zeros_like(determinant)
    box = zero + float("inf"), zero - float("inf"), zero + float("inf"), zero - float("inf"), zero > 0
    box = _reach(box, a[0], a[1], a[3], a[2] + a[3] >= 0)
    box = _reach(box, b[0], b[1], b[3], b[2] + b[3] >= 0)
    box = _reach(box, c[0], c[1], c[3], c[2] + c[3] >= 0)
    box = _reach_near_plane(box, a, b)
    box = _reach_near_plane(box, b, c)
    box = _reach_near_plane(box, c, a)
    boundless = box[4]
    left, right = _samples_between(tl.where(boundless, -1.0, box[0]), tl.where(boundless, 1.0, box[1]), width, SAMPLE_X)
    top, bottom = _samples_between(
        tl.where(boundless, -1.0, box[2]), tl.where(boundless, 1.0, box[3]), height, SAMPLE_Y
    )
    columns, rows = right - left + 1, bottom - top + 1
    is_seen = is_usable & (columns > 0) & (rows > 0)
    return one, two, three, depth, (left, top, tl.where(is_seen, columns, 0), tl.where(is_seen, rows, 0))


@triton.jit
def _sample_number(view, row, column, width, height, SPP: tl.constexpr):
    """Where a sample's key lies: the SPP * SPP of a pixel follow each other."""
    pixel = (view.to(tl.int64) * height + row // SPP) * width + column // SPP
    return pixel * (SPP * SPP) + (row % SPP) * SPP + column % SPP


@triton.jit
def _is_inside(edge, column, row):
    return edge[0] * column + (edge[1] * row + edge[2]) >= -_TOLERANCE * tl.abs(edge[0])


@triton.jit
def _draw(
    keys, previous, at, one, two, three, depth, triangle, column, row, valid, PEEL: tl.constexpr
):  # fmt: skip
    """Leaves in keys[at] the nearest of what is there and the triangles, where they cover the sample; with PEEL only of
    what lies behind `previous`."""
    x, y = column.to(tl.float64), row.to(tl.float64)
    z = depth[0] * x + depth[1] * y + depth[2]
    is_covered = _is_inside(one, x, y) & _is_inside(two, x, y) & _is_inside(three, x, y) & (z >= -1) & (z <= 1) & valid
    key = (((z + 1) * DEPTHS).to(tl.int64) << 32) | triangle.to(tl.int64)
    if PEEL:
        is_covered &= key > tl.load(previous + at, mask=is_covered, other=EMPTY)
    tl.atomic_min(keys + at, key, mask=is_covered, sem="relaxed")


@triton.jit(do_not_specialize=["vertices", "count", "width", "height"])
def set_up_triangles(
    positions, cameras, triangles, keys, previous, starts, owners, counter, vertices, count, width, height,
    CLIP: tl.constexpr, PEEL: tl.constexpr, SPP: tl.constexpr, SMALL: tl.constexpr, WIDE: tl.constexpr, HIGH: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Programs [ceil(count / BLOCK), views]: fills triangles whose box has at most SMALL samples, and lists the others
    with their tiles of WIDE x HIGH samples.

    keys      int64 [N * height * width * SPP^2], to begin with EMPTY
    previous  with PEEL the keys of the layer in front
    starts    int64 [N * count]: of each entry of the list, its first tile, ascending
    owners    int32 [N * count]: of each entry, view * count + triangle
    counter   int64 [1], to begin with 0: the entries of the list and their tiles, see _ENTRY_BITS
    """
    triangle = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    view = tl.program_id(1)
    valid = triangle < count
    one, two, three, depth, box = _set_up(
        positions, cameras, triangles, triangle, view, vertices, width * SPP, height * SPP, valid, CLIP
    )
    left, top, columns, rows = box
    area = columns.to(tl.int64) * rows
    is_small = area <= SMALL
    samples = tl.where(is_small, area, 0).to(tl.int32)
    across = tl.maximum(columns, 1)
    for number in range(0, tl.max(samples, axis=0)):
        down = number // across
        row, column = top + down, left + (number - down * across)
        at = _sample_number(view, row, column, width, height, SPP)
        _draw(keys, previous, at, one, two, three, depth, triangle, column, row, number < samples, PEEL)

    is_large = area > SMALL
    entries = tl.sum(is_large.to(tl.int64), axis=0)
    if entries > 0:
        columns += left % _ALIGNED
        tiles = ((columns + WIDE - 1) // WIDE).to(tl.int64) * ((rows + HIGH - 1) // HIGH)
        tiles = tl.where(is_large, tiles, 0)
        drawn = tl.atomic_add(counter, (tl.sum(tiles, axis=0) << _ENTRY_BITS) + entries, sem="relaxed")
        entry = (drawn & _ENTRIES) + tl.cumsum(is_large.to(tl.int64), axis=0) - 1
        tl.store(starts + entry, (drawn >> _ENTRY_BITS) + tl.cumsum(tiles, axis=0) - tiles, mask=is_large)
        tl.store(owners + entry, view * count + triangle, mask=is_large)


@triton.jit(do_not_specialize=["vertices", "count", "width", "height"])
def fill_tiles(
    positions, cameras, triangles, keys, previous, starts, owners, counter, vertices, count, width, height,
    CLIP: tl.constexpr, PEEL: tl.constexpr, SPP: tl.constexpr, SEARCH: tl.constexpr, WIDE: tl.constexpr, HIGH: tl.constexpr,
    ITEMS: tl.constexpr,
):  # fmt: skip
    """Any number of programs: fills the tiles of the list, ITEMS at a time; SEARCH is the number of bits of an entry."""
    noted = tl.load(counter)
    entries, tiles = noted & _ENTRIES, noted >> _ENTRY_BITS
    within = tl.arange(0, WIDE * HIGH)[None, :]
    first = tl.program_id(0).to(tl.int64) * ITEMS
    while first < tiles:
        item = first + tl.arange(0, ITEMS)
        valid = item < tiles
        # The last entry that starts at the item or before.
        entry = tl.zeros_like(item)
        for bit in range(SEARCH):
            probe = entry + (1 << (SEARCH - 1 - bit))
            start = tl.load(starts + probe, mask=valid & (probe < entries), other=EMPTY)
            entry = tl.where(start <= item, probe, entry)
        owner = tl.load(owners + entry, mask=valid, other=0)
        tile = (item - tl.load(starts + entry, mask=valid, other=0)).to(tl.int32)
        view = owner // count
        triangle = owner - view * count
        one, two, three, depth, box = _set_up(
            positions, cameras, triangles, triangle, view, vertices, width * SPP, height * SPP, valid, CLIP
        )
        left, top, columns, rows = box
        shift = left % _ALIGNED
        across = tl.maximum((columns + shift + WIDE - 1) // WIDE, 1)
        down = tile // across
        row = (top + down * HIGH)[:, None] + within // WIDE
        column = (left - shift + (tile - down * across) * WIDE)[:, None] + within % WIDE
        is_in_box = (row < (top + rows)[:, None]) & (column < (left + columns)[:, None]) & (column >= left[:, None])
        at = _sample_number(view[:, None], row, column, width, height, SPP)
        _draw(
            keys, previous, at, (one[0][:, None], one[1][:, None], one[2][:, None]),
            (two[0][:, None], two[1][:, None], two[2][:, None]),
            (three[0][:, None], three[1][:, None], three[2][:, None]),
            (depth[0][:, None], depth[1][:, None], depth[2][:, None]),
            triangle[:, None], column, row, is_in_box & valid[:, None], PEEL,
        )  # fmt: skip
        first += tl.num_programs(0).to(tl.int64) * ITEMS


@triton.jit
def compose_cameras(matrices, cameras):
    """Programs [views]: cameras [N, 20] of world-to-camera and projection matrices [N, 2, 4, 4], all float64.

    The eye is a point, (x, y, z, 1), or for an orthographic camera the unit vector towards it, (x, y, z, 0).
    """
    view = matrices + tl.program_id(0) * 32
    projection, result = view + 16, cameras + tl.program_id(0) * CAMERA
    number = tl.arange(0, 16)
    product = tl.zeros([16], tl.float64)
    for k in tl.static_range(4):
        product += tl.load(projection + number // 4 * 4 + k) * tl.load(view + k * 4 + number % 4)
    tl.store(result + number, product)

    ax, bx, cx, tx = tl.load(view), tl.load(view + 1), tl.load(view + 2), tl.load(view + 3)
    ay, by, cy, ty = tl.load(view + 4), tl.load(view + 5), tl.load(view + 6), tl.load(view + 7)
    az, bz, cz, tz = tl.load(view + 8), tl.load(view + 9), tl.load(view + 10), tl.load(view + 11)
    is_point = tl.load(projection + 15) == 0
    determinant = ax * (by * cz - bz * cy) - bx * (ay * cz - az * cy) + cx * (ay * bz - az * by)
    scale = -1 / determinant
    length = tl.sqrt(az * az + bz * bz + cz * cz)
    x = ((by * cz - cy * bz) * tx + (cx * bz - bx * cz) * ty + (bx * cy - cx * by) * tz) * scale
    y = ((cy * az - ay * cz) * tx + (ax * cz - cx * az) * ty + (cx * ay - ax * cy) * tz) * scale
    z = ((ay * bz - by * az) * tx + (bx * az - ax * bz) * ty + (ax * by - bx * ay) * tz) * scale
    tl.store(result + 16, tl.where(is_point, x, az / length))
    tl.store(result + 17, tl.where(is_point, y, bz / length))
    tl.store(result + 18, tl.where(is_point, z, cz / length))
    tl.store(result + 19, tl.where(is_point, 1.0, 0.0).to(tl.float64))
