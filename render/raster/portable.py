"""Visibility: the triangle that each pixel's center sees, by a span rasterizer in plain PyTorch.

This is the portable provider of visibility; `render.raster.kernels.triton_provider` and `render.raster.nvdiffrast` are the
others. A provider is a `Rasterizer`.

Conventions are those of clip space after `camera.perspective`, which flips y: pixel (row 0, column 0) has its center at
normalized device coordinates (-1 + 1/W, -1 + 1/H), and row 0 is the top of the picture. Triangles are two-sided.

Method: 2D homogeneous rasterization (Olano and Greer, "Triangle Scan Conversion using 2D Homogeneous Coordinates",
1997). For a triangle with clip-space vertices (x_i, y_i, w_i) the rows of the inverse of [[x, y, w]] give three edge
functions E_i(x, y) = A_i x + B_i y + C_i with perspective-correct barycentrics b_i = E_i / (E_0 + E_1 + E_2). So no
triangle needs clipping, and the screen derivatives have the closed form db_i/dx = (A_i - b_i sum A) / sum E. Edges are
evaluated in float64, so that neighbors agree on shared edges to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

# The place of a pixel's sample, in pixels from its center. In aligned scenes, edges pass exactly through centers, and both
# triangles along an edge would cover those: a second surface where alpha is fitted. The steps are much larger than the
# tolerance of spans. The step in x is much larger than that in y, because nvdiffrast gives centers on an edge to the triangle
# on one side: of 47 such centers in the recorded view of Spot, equal steps give 6 to another triangle, these steps 3.
_SAMPLE_X, _SAMPLE_Y = 1e-6, 2e-8

_NO_FRAGMENT = torch.iinfo(torch.int64).max
# The number of triangles, of all views, that are set up at a time: about 400 bytes each.
_TRIANGLES_AT_A_TIME = 1 << 21


@dataclass(frozen=True)
class Fragments:
    """Visible surface points of some views, one row for each (pixel, depth layer), ordered by layer, then pixel.

    view         int64 [F], the number of the view
    pixel        int64 [F], (view * height + row) * width + column
    layer        int64 [F], 0 is the nearest surface
    triangle     int64 [F], row of the triangle array
    barycentric  float32 [F, 3], perspective-correct, sums to 1
    depth        float32 [F], z/w in -1..1
    barycentric_dx, barycentric_dy  float32 [F, 3], derivatives per pixel step to the right and down
    """

    view: torch.Tensor
    pixel: torch.Tensor
    layer: torch.Tensor
    triangle: torch.Tensor
    barycentric: torch.Tensor
    depth: torch.Tensor
    barycentric_dx: torch.Tensor
    barycentric_dy: torch.Tensor

    def rows(self, index: torch.Tensor | slice) -> Fragments:
        """Some of the fragments, by index int64 [N], mask bool [F] or slice."""
        return Fragments(*(getattr(self, name)[index] for name in self.__dataclass_fields__))


# (position_clip [N, V, 4], triangles [T, 3], (height, width), layers) -> Fragments; the same as `visible_fragments`.
Rasterizer = Callable[[torch.Tensor, torch.Tensor, tuple[int, int], int], Fragments]


def visible_fragments(
    position_clip: torch.Tensor,
    triangles: torch.Tensor,
    resolution: tuple[int, int],
    layers: int = 1,
    subpixels: int | None = None,
) -> Fragments:
    """Rasterize views of one mesh and keep the `layers` nearest surfaces of every pixel.

    position_clip  float [V, 4] or, for N views at once, [N, V, 4]; clip space
    triangles      int [T, 3], indices into the vertices
    resolution     (height, width) in pixels
    subpixels      16 decides pixels as nvdiffrast does, with vertices rounded to 1/16 pixel; None with exact vertices
    Degenerate triangles and triangles behind the eye give no fragment. The triangle index orders surfaces of equal depth,
    so peeling neither loses nor repeats a surface. Memory: about 100 bytes for each covered (triangle, pixel) pair,
    including hidden ones.
    """
    height, width = resolution
    clip = position_clip.detach().double()
    clip = clip[None] if clip.ndim == 2 else clip
    views_at_a_time = max(1, _TRIANGLES_AT_A_TIME // max(1, len(triangles)))
    found = []
    for first in range(0, len(clip), views_at_a_time):
        part = clip[first : first + views_at_a_time]
        if subpixels is not None:
            part = _snapped(part, resolution, subpixels)
        stacked = _stacked_triangles(triangles, len(part), part.shape[1])
        pixel, triangle, depth = _covered_pixels(part, stacked, resolution)
        chosen, layer = _nearest(pixel, triangle, depth, len(part) * height * width, layers)
        pixel = pixel[chosen] + first * height * width
        found.append(torch.stack([pixel, layer, triangle[chosen] % max(1, len(triangles))]))
    pixel, layer, triangle = torch.cat(found, dim=1) if found else triangles.new_zeros(3, 0, dtype=torch.int64)
    if len(found) > 1:
        order = torch.argsort(layer, stable=True)
        pixel, layer, triangle = pixel[order], layer[order], triangle[order]
    return fragments_of_triangles(clip, triangles, resolution, pixel, layer, triangle)


def fragments_of_triangles(
    position_clip: torch.Tensor,
    triangles: torch.Tensor,
    resolution: tuple[int, int],
    pixel: torch.Tensor,
    layer: torch.Tensor,
    triangle: torch.Tensor,
) -> Fragments:
    """The fragments of known triangles, in closed form, for any provider: it only has to find each pixel's triangle.

    position_clip  float64 [N, V, 4]; pixel, layer, triangle  int64 [F], as in `Fragments`
    """
    height, width = resolution
    view, in_view = pixel // (height * width), pixel % (height * width)
    is_few = len(position_clip) * len(triangles) <= len(triangle)  # then compute each triangle once
    corners = (
        position_clip[:, triangles.long()].reshape(-1, 3, 4)
        if is_few
        else position_clip[view[:, None], triangles[triangle].long()]
    )
    edge, depth_plane, _ = _edge_functions(corners)
    planes = torch.cat([edge, depth_plane[:, None]], dim=1)
    if is_few:
        planes = planes.index_select(0, view * len(triangles) + triangle)
    x, y = _device_x(in_view % width, width), _device_y(in_view // width, height)
    point = torch.stack([x, y, torch.ones_like(x)], dim=-1)
    value = torch.bmm(planes, point[..., None])[..., 0]
    inverse = 1 / value[:, :3].sum(-1, keepdim=True)
    barycentric = value[:, :3] * inverse
    over_x, over_y = (
        (planes[:, :3, axis] - barycentric * planes[:, :3, axis].sum(1, keepdim=True)) * inverse for axis in (0, 1)
    )
    return Fragments(
        view=view,
        pixel=pixel,
        layer=layer,
        triangle=triangle,
        barycentric=barycentric.float(),
        depth=value[:, 3].float(),
        barycentric_dx=(over_x * (2 / width)).float(),
        barycentric_dy=(over_y * (2 / height)).float(),
    )


def depth_range(
    position_clip: torch.Tensor, triangles: torch.Tensor, resolution: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Nearest and farthest z/w of each pixel, two float64 [H, W]; +inf and -inf where the pixel sees nothing.

    Arguments as for `visible_fragments`. With an orthographic camera these are the shadow maps of two opposite
    directions at the cost of one.
    """
    height, width = resolution
    pixel, _, depth = _covered_pixels(position_clip.detach().double()[None], triangles.long(), resolution)
    nearest = torch.full((height * width,), torch.inf, dtype=depth.dtype, device=depth.device)
    farthest = torch.full_like(nearest, -torch.inf)
    nearest.scatter_reduce_(0, pixel, depth, "amin")
    farthest.scatter_reduce_(0, pixel, depth, "amax")
    return nearest.reshape(height, width), farthest.reshape(height, width)


def _snapped(clip: torch.Tensor, resolution: tuple[int, int], subpixels: int) -> torch.Tensor:
    """Clip positions [N, V, 4] rounded so that pixel coordinates are multiples of 1 / subpixels; those behind the eye stay."""
    w = clip[..., 3:]
    in_front = w > 0
    safe_w = torch.where(in_front, w, torch.ones_like(w))
    steps = torch.tensor([resolution[1], resolution[0]], device=clip.device) * (0.5 * subpixels)
    snapped = (clip[..., :2] / safe_w * steps).round() / steps * safe_w
    return torch.cat([torch.where(in_front, snapped, clip[..., :2]), clip[..., 2:]], dim=-1)


def _stacked_triangles(triangles: torch.Tensor, views: int, vertices: int) -> torch.Tensor:
    """The triangles of each view one after another, int64 [N * T, 3], as indices into the vertices of all views."""
    start = torch.arange(views, device=triangles.device)[:, None, None] * vertices
    return (triangles.long() + start).reshape(-1, 3)


def _covered_pixels(
    clip: torch.Tensor, triangles: torch.Tensor, resolution: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Every pair of a pixel and a triangle that covers its center: pixel, triangle and z/w, each [P].

    clip  float64 [N, V, 4]; triangles  int64 [N * T, 3], see `_stacked_triangles`; pixel numbers run over all views.
    """
    height, width = resolution
    corners = clip.reshape(-1, 4)[triangles]
    edges, depth_plane, kept = _edge_functions(corners)
    span_triangle, span_row, first, last = _spans(corners, edges, kept, resolution)
    count = last - first + 1
    span = torch.repeat_interleave(torch.arange(len(count), device=clip.device), count)
    start = torch.cumsum(count, 0) - count
    column = first[span] + torch.arange(len(span), device=clip.device) - start[span]
    row = span_row[span]
    triangle = span_triangle[span]

    plane = depth_plane[triangle]
    depth = plane[:, 0] * _device_x(column, width) + plane[:, 1] * _device_y(row, height) + plane[:, 2]
    inside = (depth >= -1) & (depth <= 1)
    view = triangle // max(1, len(triangles) // max(1, len(clip)))
    pixel = (view * height + row) * width + column
    if bool(inside.all()):
        return pixel, triangle, depth
    kept = inside.nonzero()[:, 0]
    return pixel[kept], triangle[kept], depth[kept]


def _device_x(column: torch.Tensor, width: int) -> torch.Tensor:
    return (2 * (column.double() + _SAMPLE_X) + 1) / width - 1


def _device_y(row: torch.Tensor, height: int) -> torch.Tensor:
    return (2 * (row.double() + _SAMPLE_Y) + 1) / height - 1


def _edge_functions(corners: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """For triangles with corners [T, 3, 4]: edge coefficients [T, 3, 3] (scaled so that their sum is 1/w), the plane of
    z/w [T, 3], and whether a triangle is usable [T].
    """
    x, y, z, w = corners.unbind(-1)
    homogeneous = torch.stack([x, y, w], dim=-1)
    cofactor = torch.stack(
        [torch.linalg.cross(homogeneous[:, (i + 1) % 3], homogeneous[:, (i + 2) % 3]) for i in range(3)], dim=1
    )
    determinant = (homogeneous[:, 0] * cofactor[:, 0]).sum(-1)
    kept = torch.isfinite(determinant) & (determinant.abs() > 0) & (w > 0).any(-1)
    edges = cofactor / torch.where(kept, determinant, torch.ones_like(determinant))[:, None, None]
    return edges, (edges * z[..., None]).sum(1), kept


def _spans(
    corners: torch.Tensor, edges: torch.Tensor, kept: torch.Tensor, resolution: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Runs of pixel centers inside a triangle: triangle, row, first and last column, each int64 [S]."""
    height, width = resolution
    w = corners[..., 3]
    crosses_eye = (w <= 0).any(-1)
    safe_w = torch.where(w > 0, w, torch.ones_like(w))
    row = (corners[..., 1] / safe_w + 1) * (0.5 * height) - 0.5 - _SAMPLE_Y
    top = torch.where(crosses_eye, torch.zeros_like(row[:, 0]), row.amin(-1)).clamp(-1, height + 1)
    bottom = torch.where(crosses_eye, torch.full_like(row[:, 0], height), row.amax(-1)).clamp(-2, height)
    top = torch.ceil(torch.nan_to_num(top) - 1e-9).long().clamp(min=0)
    bottom = torch.floor(torch.nan_to_num(bottom) + 1e-9).long().clamp(max=height - 1)
    rows = torch.where(kept, (bottom - top + 1).clamp(min=0), torch.zeros_like(top))

    triangle = torch.repeat_interleave(torch.arange(len(corners), device=corners.device), rows)
    start = torch.cumsum(rows, 0) - rows
    row_index = top[triangle] + torch.arange(len(triangle), device=corners.device) - start[triangle]

    y = _device_y(row_index, height)
    edge = edges[triangle]
    slope = edge[..., 0]
    offset = edge[..., 1] * y[:, None] + edge[..., 2]
    crossing = -offset / torch.where(slope == 0, torch.ones_like(slope), slope)
    infinity = torch.full_like(crossing, torch.inf)
    left = torch.where(slope > 0, crossing, -infinity).amax(-1)
    right = torch.where(slope < 0, crossing, infinity).amin(-1)
    outside = ((slope == 0) & (offset < 0)).any(-1)
    first = torch.ceil(((left + 1) * (0.5 * width) - 0.5 - _SAMPLE_X - 1e-9).clamp(0, width)).long()
    last = torch.floor(((right + 1) * (0.5 * width) - 0.5 - _SAMPLE_X + 1e-9).clamp(-1, width - 1)).long()
    filled = (last >= first) & ~outside
    return triangle[filled], row_index[filled], first[filled], last[filled]


def _nearest(
    pixel: torch.Tensor, triangle: torch.Tensor, depth: torch.Tensor, pixels: int, layers: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices of the nearest `layers` fragments of each pixel, and their layer numbers."""
    # One integer to sort by: 31 bits of depth (steps of 1e-9), then the triangle index for equal depths.
    key = (((depth + 1.0) * (2**30 - 1)).long() << 32) | triangle
    candidates = torch.arange(len(key), device=key.device)
    chosen, numbers = [], []
    for layer in range(layers):
        mine, keys = (pixel, key) if layer == 0 else (pixel[candidates], key[candidates])
        nearest = torch.full((pixels,), _NO_FRAGMENT, dtype=torch.int64, device=key.device)
        nearest.scatter_reduce_(0, mine, keys, "amin")
        taken = keys == nearest[mine]
        found = candidates[taken]
        found = found[torch.argsort(pixel[found])]
        chosen.append(found)
        numbers.append(torch.full_like(found, layer))
        if layer == layers - 1:
            break
        candidates = candidates[~taken]
        if len(candidates) == 0:
            break
    return torch.cat(chosen), torch.cat(numbers)
