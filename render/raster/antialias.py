"""Antialiasing of silhouettes by their exact edges.

Visibility is decided at pixel centers, so a silhouette is a staircase. Between two neighboring pixels that see different
triangles, the nearer triangle's edge crosses the line between their centers. The place of the crossing tells how much of
the pixel it cuts belongs to the other side. That much of the neighbor's color is blended in (Laine et al., "Modular
Primitives for High-Performance Differentiable Rendering", 2020, section 3.5; it looks like nvdiffrast's `antialias`).

Limits: it only uses the edge through which the line leaves the nearer pixel's own triangle, and only across the edge's
steeper direction, so corners and slivers thinner than a pixel keep some of the staircase. Gradients go to the colors.
Positions get none: a fit of materials does not change them.
"""

from __future__ import annotations

import torch

from render.geometry.mesh import Mesh
from render.raster.portable import Fragments

# A crossing may lie this far, in pixels, beyond the two centers: a provider may snap vertices before it decides pixels.
_SLACK = 1 / 16


def opposite_vertices(mesh: Mesh) -> torch.Tensor:
    """For each triangle and each of its corners, the vertex across the opposite side: int64 [T, 3], -1 at open sides.

    Vertices at the same position count as one, so the seams of uvs and normals are not open sides. Triangles that have a
    position twice, as at the poles of a sphere, have no neighbors. Where more than two triangles share a side, two of them
    are neighbors and the others' sides are open.
    """
    welded = _weld(mesh.position)
    corner = mesh.triangles
    sides = torch.stack([welded[corner[:, [1, 2, 0]]], welded[corner[:, [2, 0, 1]]]], dim=-1)
    has_area = (sides[..., 0] != sides[..., 1]).all(-1, keepdim=True).expand(-1, 3).reshape(-1)
    low, high = sides.amin(-1).reshape(-1), sides.amax(-1).reshape(-1)
    alone = -1 - torch.arange(len(low), device=low.device)
    key = torch.where(has_area, low * len(mesh.position) + high, alone)
    order = torch.argsort(key, stable=True)
    same = key[order][1:] == key[order][:-1]
    # In a run of equal sides the first two are partners: a side pairs with the next unless it already has a partner.
    starts = torch.cat([torch.ones_like(same[:1]), ~same])
    place = torch.arange(len(key), device=key.device)
    run = torch.cummax(torch.where(starts, place, torch.zeros_like(place)), 0).values
    second = (place - run) == 1
    left, right = order[:-1][second[1:]], order[1:][second[1:]]
    result = torch.full((len(key),), -1, dtype=torch.int64, device=key.device)
    vertex = corner.reshape(-1)
    result[left], result[right] = vertex[right], vertex[left]
    return result.reshape(-1, 3)


def _weld(position: torch.Tensor) -> torch.Tensor:
    """Numbers of vertices [V, 3], int64 [V]; vertices at the same position have the same number."""
    # -0.0 and 0.0 are the same place. It is much faster to sort one 64-bit hash of the bits than to sort rows.
    bits = (position.float() + 0.0).contiguous().view(torch.int32).long()
    key = (bits[:, 0] * -7046029254386353131) ^ (bits[:, 1] * -4417276706812531889)
    key = (key ^ (key >> 29)) * -4658895280553007687 + bits[:, 2] * 1609587929392839161
    _, number = torch.unique(key, return_inverse=True)
    result: torch.Tensor = number
    return result


def antialias(
    image: torch.Tensor,
    position_clip: torch.Tensor,
    triangles: torch.Tensor,
    opposite: torch.Tensor,
    fragments: Fragments,
) -> torch.Tensor:
    """Blend the silhouettes of an image: [N, H, W, C] -> [N, H, W, C], differentiable in the image.

    position_clip  [N, V, 4]; triangles int64 [T, 3]; opposite int64 [T, 3], from `opposite_vertices`
    fragments      one layer: what each pixel of the image shows
    """
    views, height, width, channels = image.shape
    triangle = torch.full((views * height * width,), -1, dtype=torch.int64, device=image.device)
    triangle[fragments.pixel] = fragments.triangle
    depth = torch.full((views * height * width,), torch.inf, device=image.device)
    depth[fragments.pixel] = fragments.depth
    number = torch.arange(views * height * width, device=image.device).reshape(views, height, width)
    here = torch.cat([number[:, :, :-1].reshape(-1), number[:, :-1].reshape(-1)])
    there = torch.cat([number[:, :, 1:].reshape(-1), number[:, 1:].reshape(-1)])
    differ = triangle[here] != triangle[there]
    vertical = (torch.arange(len(here), device=image.device) >= views * height * (width - 1))[differ]
    here, there = here[differ], there[differ]
    near_is_here = depth[here] <= depth[there]
    near = torch.where(near_is_here, here, there)
    view, column, row = near // (height * width), near % width, near // width % height
    center = torch.stack([2 * (column + 0.5) / width - 1, 2 * (row + 0.5) / height - 1], dim=-1)
    distance = _exit_distance(
        position_clip.double(),
        triangles[triangle[near]],
        opposite[triangle[near]],
        view,
        center.double(),
        torch.tensor([width / 2, height / 2], device=image.device, dtype=torch.float64),
        vertical,
        near_is_here,
    )
    found = torch.isfinite(distance)
    near, far, distance = near[found], torch.where(near_is_here, there, here)[found], distance[found].to(image)
    flat = image.reshape(-1, channels)
    # In the near half the edge cuts the near pixel, which takes the far color there; in the far half it is the reverse.
    share = 0.5 - distance
    into = torch.where(share > 0, near, far)
    change = share.abs()[:, None] * (flat[near + far - into] - flat[into])
    return flat.index_add(0, into, change).reshape(image.shape)


def _exit_distance(
    position_clip: torch.Tensor,
    corner: torch.Tensor,
    opposite: torch.Tensor,
    view: torch.Tensor,
    center: torch.Tensor,
    half_size: torch.Tensor,
    vertical: torch.Tensor,
    forward: torch.Tensor,
) -> torch.Tensor:
    """The distance from the near pixel's center at which its triangle ends on the way to the neighbor, in pixels, 0..1.

    nan where it does not end there at a silhouette.

    corner, opposite int64 [P, 3]; center [P, 2] device coordinates; vertical, forward bool [P]: the neighbor's direction.
    """
    clip = position_clip[view[:, None], corner]
    w = clip[..., 3]
    pixel = (clip[..., :2] / w[..., None] - center[:, None]) * half_size
    along = torch.where(vertical[:, None], pixel[..., 1], pixel[..., 0]) * torch.where(forward, 1.0, -1.0)[:, None]
    across = torch.where(vertical[:, None], pixel[..., 0], pixel[..., 1])
    # Side k joins the corners after corner k.
    from_along, to_along = along[:, [1, 2, 0]], along[:, [2, 0, 1]]
    from_across, to_across = across[:, [1, 2, 0]], across[:, [2, 0, 1]]
    rise = to_across - from_across
    crosses = (from_across < 0) != (to_across < 0)
    crossing = from_along - from_across * (to_along - from_along) / torch.where(crosses, rise, torch.ones_like(rise))
    distance, side = torch.where(crosses, crossing, -torch.inf).max(dim=-1)
    steep = rise.abs() >= (to_along - from_along).abs()
    is_silhouette = _silhouettes(position_clip, clip, opposite, view)
    chosen = (steep & is_silhouette).gather(1, side[:, None])[:, 0]
    valid = chosen & (w > 0).all(-1) & (distance > -_SLACK) & (distance < 1 + _SLACK)
    return torch.where(valid, distance.clamp(0, 1), torch.nan)


def _silhouettes(
    position_clip: torch.Tensor, clip: torch.Tensor, opposite: torch.Tensor, view: torch.Tensor
) -> torch.Tensor:
    """Whether the surface ends or folds back beyond each side [P, 3]: there the neighbor's third vertex lies on this side."""
    homogeneous = clip[..., [0, 1, 3]]
    beyond = position_clip[view[:, None], opposite.clamp(min=0)][..., [0, 1, 3]]
    across = torch.linalg.cross(homogeneous[:, [1, 2, 0]], homogeneous[:, [2, 0, 1]])
    own_side = (across * homogeneous).sum(-1)
    other_side = (across * beyond).sum(-1)
    folds_back: torch.Tensor = (own_side < 0) == (other_side < 0)
    return (opposite < 0) | folds_back
