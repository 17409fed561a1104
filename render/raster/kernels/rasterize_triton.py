"""Triton: the triangle that each sample of some views sees; an atomic minimum keeps the smallest (depth, triangle).

Two kernels. `set_up_triangles`, one triangle a lane, fills triangles of few samples itself and lists the others.
`fill_tiles` fills the listed ones, a tile of samples at a time. Each of its programs has equally many tiles, so the work for
one triangle over the whole image is spread over the machine as evenly as that for a thousand. Edges, their tolerance, the
place of samples and the order of depths are those of `render.raster.portable`, in float64 as there.
"""

from __future__ import annotations

import triton
import triton.language as tl

from render.raster.portable import _SAMPLE_X, _SAMPLE_Y

EMPTY = tl.constexpr(2**63 - 1)
# A key holds z/w + 1 in these steps in its high bits, and the number of the triangle in its low bits.
DEPTHS = tl.constexpr(2.0**30 - 1)
# The number of float64 values of a camera: the matrix from world to clip space, the eye and the axis, see `compose_cameras`.
CAMERA = tl.constexpr(24)
SAMPLE_X = tl.constexpr(_SAMPLE_X)
SAMPLE_Y = tl.constexpr(_SAMPLE_Y)
# Pixels along a side of a group; a group that sees anything is marked.
GROUP = tl.constexpr(8)
# The number of float64 values of an entry of the list, see `set_up_triangles`.
RECORD = tl.constexpr(16)
# The counter of the list: entries in the low bits, their tiles in the high bits, so that one addition counts both.
_ENTRY_BITS = tl.constexpr(30)
_ENTRIES = tl.constexpr(2**30 - 1)
_ROW_BITS = tl.constexpr(16)
_COLUMNS = tl.constexpr(2**16 - 1)
_TOLERANCE = tl.constexpr(1e-9)
# A row of tiles starts at a multiple of this, as a sector of memory does.
_ALIGNED = tl.constexpr(4)


@triton.jit
def _clip_position(positions, cameras, vertex, view, vertices, valid, CLIP: tl.constexpr):
    """x, y, z, w in float64. With CLIP, `positions` [N, V, 4] holds them; else it holds world positions [V, 3]."""
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
    """The edge function of the corner opposite j and k over (column, row): slopes, and the value at the first sample."""
    a = (j[1] * k[3] - j[3] * k[1]) * inverse
    b = (j[3] * k[0] - j[0] * k[3]) * inverse
    c = (j[0] * k[1] - j[1] * k[0]) * inverse
    first = c + a * ((2 * SAMPLE_X + 1) / width - 1) + b * ((2 * SAMPLE_Y + 1) / height - 1)
    return a * (2 / width), b * (2 / height), first


@triton.jit
def _with_tolerance(edge):
    return edge[0], edge[1], edge[2] + _TOLERANCE * tl.abs(edge[0])


@triton.jit
def _reach(box, x, y, w, is_seen):
    """The box (left, right, top, bottom, whether it has no bounds), enlarged by one more point where `is_seen`."""
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
    """The same, enlarged by the point where the side from a to b crosses the near plane, z = -w, if it does."""
    before, behind = a[2] + a[3], b[2] + b[3]
    is_cut = (before < 0) != (behind < 0)
    share = before / tl.where(is_cut, before - behind, 1.0)
    x, y, w = a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1]), a[3] + share * (b[3] - a[3])
    return _reach(box, x, y, w, is_cut)


@triton.jit
def _samples_between(low, high, size, offset):
    """First and last of `size` samples within a range of device coordinates; there are none if the first is greater."""
    first = tl.ceil((low + 1) * (0.5 * size) - 0.5 - offset - _TOLERANCE)
    last = tl.floor((high + 1) * (0.5 * size) - 0.5 - offset + _TOLERANCE)
    first = tl.minimum(tl.maximum(first, 0.0), size)
    last = tl.minimum(tl.maximum(last, -1.0), size - 1)
    return first.to(tl.int32), last.to(tl.int32)


@triton.jit
def _set_up(
    positions, cameras, triangles, triangle, view, vertices, fine_width, fine_height, valid, CLIP: tl.constexpr
):
    """For triangles: three edges, at least 0 inside, and the plane of z/w, each (slope over columns, over rows, value at the
    first sample); and their box: first column and row, number of columns and rows; 0 columns for an invisible triangle.
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

    # The part before the near plane is not visible, so the box is that of the rest: six points at most.
    zero = tl.zeros_like(determinant)
    box = zero + float("inf"), zero - float("inf"), zero + float("inf"), zero - float("inf"), zero > 0
    box = _reach(box, a[0], a[1], a[3], a[2] + a[3] >= 0)
    box = _reach(box, b[0], b[1], b[3], b[2] + b[3] >= 0)
    box = _reach(box, c[0], c[1], c[3], c[2] + c[3] >= 0)
    low_x, high_x, low_y, high_y, boundless = box
    is_near = (a[2] + a[3] < 0) | (b[2] + b[3] < 0) | (c[2] + c[3] < 0)
    if tl.max(is_near.to(tl.int32), axis=0) > 0:
        box = _reach_near_plane(box, a, b)
        box = _reach_near_plane(box, b, c)
        low_x, high_x, low_y, high_y, boundless = _reach_near_plane(box, c, a)
    left, right = _samples_between(tl.where(boundless, -1.0, low_x), tl.where(boundless, 1.0, high_x), width, SAMPLE_X)
    top, bottom = _samples_between(tl.where(boundless, -1.0, low_y), tl.where(boundless, 1.0, high_y), height, SAMPLE_Y)
    columns, rows = right - left + 1, bottom - top + 1
    is_seen = is_usable & (columns > 0) & (rows > 0)
    one, two, three = _with_tolerance(one), _with_tolerance(two), _with_tolerance(three)
    return one, two, three, depth, (left, top, tl.where(is_seen, columns, 0), tl.where(is_seen, rows, 0))


@triton.jit
def _sample_number(row, column, width, SPP: tl.constexpr):
    """The place of a sample's key within its view: the SPP * SPP samples of a pixel follow each other."""
    return (row // SPP * width + column // SPP) * (SPP * SPP) + row % SPP * SPP + column % SPP


@triton.jit
def _is_inside(edge, column, row):
    return edge[0] * column + (edge[1] * row + edge[2]) >= 0


@triton.jit
def _draw(
    keys, previous, marks, one, two, three, depth, triangle, column, row, width, valid,
    PEEL: tl.constexpr, SPP: tl.constexpr,
):  # fmt: skip
    """Where the triangles cover the sample, keep the nearer of them and the view's key there, and mark the pixel's group.

    With PEEL, only surfaces behind `previous` count.
    """
    x, y = column.to(tl.float64), row.to(tl.float64)
    z = depth[0] * x + (depth[1] * y + depth[2])
    is_covered = _is_inside(one, x, y) & _is_inside(two, x, y) & _is_inside(three, x, y) & (z >= -1) & (z <= 1) & valid
    key = (((z + 1) * DEPTHS).to(tl.int64) << 32) | triangle.to(tl.int64)
    at = _sample_number(row, column, width, SPP)
    if PEEL:
        is_covered &= key > tl.load(previous + at, mask=is_covered, other=EMPTY)
    tl.atomic_min(keys + at, key, mask=is_covered, sem="relaxed")
    group = row // (GROUP * SPP) * ((width + GROUP - 1) // GROUP) + column // (GROUP * SPP)
    tl.store(marks + group, is_covered.to(tl.int8), mask=is_covered)


@triton.jit
def groups_before(view, width, height):
    """The number of groups in the views before this one."""
    return view.to(tl.int64) * ((height + GROUP - 1) // GROUP) * ((width + GROUP - 1) // GROUP)


@triton.jit(do_not_specialize=["vertices", "first", "last", "first_view", "width", "height"])
def set_up_triangles(
    positions, cameras, triangles, keys, previous, marks, starts, records, counter,
    vertices, first, last, first_view, width, height,
    CLIP: tl.constexpr, PEEL: tl.constexpr, SPP: tl.constexpr, SMALL: tl.constexpr, WIDE: tl.constexpr,
    HIGH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Programs [ceil((last - first) / BLOCK), views]: fill triangles whose box has at most SMALL samples, and list the
    others with their tiles of WIDE x HIGH samples.

    keys      int64 [N * height * width * SPP^2], EMPTY at first
    previous  with PEEL, the keys of the layer in front
    marks     int8 [N * ceil(height / 8) * ceil(width / 8)], 0 at first: becomes 1 for each group of pixels that sees something
    starts    int64 [entries]: for each entry of the list its first tile, ascending
    records   float64 [entries, 16]: three edges and the plane of z/w, the box's row and column, its tiles in a row, the
              view and the triangle
    counter   int64 [1], 0 at first: the entries of the list and their tiles, see _ENTRY_BITS
    """
    triangle = first + tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    view = first_view + tl.program_id(1)
    valid = triangle < last
    one, two, three, depth, box = _set_up(
        positions, cameras, triangles, triangle, view, vertices, width * SPP, height * SPP, valid, CLIP
    )
    left, top, columns, rows = box
    area = columns.to(tl.int64) * rows
    is_large = area > SMALL
    samples = tl.where(is_large, 0, area).to(tl.int32)
    across = tl.maximum(columns, 1)
    seen = view.to(tl.int64) * height * width * (SPP * SPP)
    marks += groups_before(view, width, height)
    for number in range(0, tl.max(samples, axis=0)):
        down = number // across
        row, column = top + down, left + (number - down * across)
        _draw(
            keys + seen, previous + seen, marks, one, two, three, depth, triangle, column, row, width, number < samples,
            PEEL, SPP,
        )  # fmt: skip

    entries = tl.sum(is_large.to(tl.int64), axis=0)
    if entries > 0:
        shift = left % _ALIGNED
        across = (columns + shift + WIDE - 1) // WIDE
        tiles = tl.where(is_large, across.to(tl.int64) * ((rows + HIGH - 1) // HIGH), 0)
        drawn = tl.atomic_add(counter, (tl.sum(tiles, axis=0) << _ENTRY_BITS) + entries, sem="relaxed")
        entry = (drawn & _ENTRIES) + tl.cumsum(is_large.to(tl.int64), axis=0) - 1
        tl.store(starts + entry, (drawn >> _ENTRY_BITS) + tl.cumsum(tiles, axis=0) - tiles, mask=is_large)
        record = records + entry * RECORD
        for part in tl.static_range(3):
            tl.store(record + part, one[part], mask=is_large)
            tl.store(record + 3 + part, two[part], mask=is_large)
            tl.store(record + 6 + part, three[part], mask=is_large)
            tl.store(record + 9 + part, depth[part], mask=is_large)
        # These are whole numbers that float64 holds exactly.
        tl.store(record + 12, ((top << _ROW_BITS) + (left - shift)).to(tl.float64), mask=is_large)
        tl.store(record + 13, across.to(tl.float64), mask=is_large)
        tl.store(record + 14, (across * 0 + view).to(tl.float64), mask=is_large)
        tl.store(record + 15, triangle.to(tl.float64), mask=is_large)


@triton.jit
def _entry_of(starts, entries, item, SEARCH: tl.constexpr):
    """The last entry that starts at the item or before; the search finds its SEARCH digits of base 32 one by one."""
    entry = item * 0
    digit = tl.arange(0, 32)
    for place in range(SEARCH):
        shift = 5 * (SEARCH - 1 - place)
        probe = entry + (digit << shift)
        start = tl.load(starts + probe, mask=probe < entries, other=EMPTY)
        entry += (tl.sum((start <= item).to(tl.int64), axis=0) - 1) << shift
    return entry


@triton.jit
def _plane(record):
    return tl.load(record), tl.load(record + 1), tl.load(record + 2)


@triton.jit(do_not_specialize=["width", "height"])
def fill_tiles(
    keys, previous, marks, starts, records, counter, width, height,
    PEEL: tl.constexpr, SPP: tl.constexpr, SEARCH: tl.constexpr, WIDE: tl.constexpr, HIGH: tl.constexpr,
):  # fmt: skip
    """Any number of programs: each fills its share of the tiles of the list; arguments as for `set_up_triangles`."""
    noted = tl.load(counter)
    entries, tiles = noted & _ENTRIES, noted >> _ENTRY_BITS
    share = (tiles + tl.num_programs(0) - 1) // tl.num_programs(0)
    item = tl.program_id(0) * share
    last = tl.minimum(item + share, tiles)
    if item < last:
        entry = _entry_of(starts, entries, item, SEARCH)
        within = tl.arange(0, WIDE * HIGH)
        while item < last:
            record = records + entry * RECORD
            corner, across = tl.load(record + 12).to(tl.int64), tl.load(record + 13).to(tl.int32)
            view = tl.load(record + 14).to(tl.int64)
            seen = view * height * width * (SPP * SPP)
            tile = (item - tl.load(starts + entry)).to(tl.int32)
            down = tile // across
            row = (corner >> _ROW_BITS).to(tl.int32) + down * HIGH + within // WIDE
            column = (corner & _COLUMNS).to(tl.int32) + (tile - down * across) * WIDE + within % WIDE
            _draw(
                keys + seen, previous + seen, marks + groups_before(view, width, height),
                _plane(record), _plane(record + 3), _plane(record + 6), _plane(record + 9),
                tl.load(record + 15).to(tl.int64), column, row, width, (row < height * SPP) & (column < width * SPP),
                PEEL, SPP,
            )  # fmt: skip
            item += 1
            following = tl.load(starts + entry + 1, mask=entry + 1 < entries, other=EMPTY)
            entry += (following <= item).to(tl.int64)


@triton.jit
def compose_cameras(matrices, cameras):
    """Programs [views]: cameras [N, 24] of world-to-camera and projection matrices [N, 2, 4, 4], all float64.

    The eye is a point, (x, y, z, 1), or for an orthographic camera the unit vector towards it, (x, y, z, 0). The last four
    values are the row of the first matrix that gives z in the camera's axes.
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
    tl.store(result + 20, az)
    tl.store(result + 21, bz)
    tl.store(result + 22, cz)
    tl.store(result + 23, tz)
