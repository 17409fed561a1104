"""Antialiasing of silhouettes by their exact edges.

Pixels are decided at their centres, so a silhouette is a staircase. Between two neighbouring pixels that see different
triangles the nearer triangle's edge crosses the line between their centres; where it does tells how much of the pixel
it cuts belongs to the other side. That much of the neighbour's colour is blended in (Laine et al., "Modular Primitives
for High-Performance Differentiable Rendering", 2020, section 3.5; the same look as nvdiffrast's `antialias`).

What it gets wrong: only the edge through which the line leaves the nearer pixel's own triangle is looked at, and only
across its steeper direction, so corners and slivers thinner than a pixel keep some of the staircase. Gradients go to
the colours; there are none to positions, which a fit of materials keeps.
"""

from __future__ import annotations

import torch

from render.geometry.mesh import Mesh
from render.raster.portable import Fragments

# A crossing may lie this far, in pixels, beyond the two centres: where vertices were snapped before the pixels were decided.
_SLACK = 1 / 16


def opposite_vertices(mesh: Mesh) -> torch.Tensor:
    """For each triangle and each of its corners, the vertex across the opposite side: int64 [T, 3], -1 at open sides.

    Vertices at the same position count as one, so the seams of uvs and normals are no open sides. Triangles that have a
    position twice, as at the poles of a sphere, are nobody's neighbours. Where more than two triangles share a side, two
    of them are neighbours and the others' sides are open.
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
    """The same number for vertices [V, 3] at the same position: int64 [V]."""
    # -0.0 and 0.0 are one place. Sorting one 64-bit mixture of the bits is much faster than sorting rows.
    bits = (position.float() + 0.0).contiguous().view(torch.int32).long()
    key = (bits[:, 0] * -7046029254386353131) ^ (bits[:, 1] * -4417276706812531889)
    key = (key ^ (key >> 29)) * -4658895280553007687 + bits[:, 2] * 1609587929392839161
    return torch.unique(key, return_inverse=True)[1]


def antialias(
    image: torch.Tensor,
    position_clip: torch.Tensor,
    triangles: torch.Tensor,
    opposite: torch.Tensor,
    fragments: Fragments,
) -> torch.Tensor:
    """Blend the silhouettes of an image: [N, H, W, C] -> [N, H, W, C], differentiable in the image.

    position_clip  [N, V, 4]; triangles int64 [T, 3]; opposite int64 [T, 3], of `opposite_vertices`
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
    centre = torch.stack([2 * (column + 0.5) / width - 1, 2 * (row + 0.5) / height - 1], dim=-1)
    distance = _exit_distance(
        position_clip.double(),
        triangles[triangle[near]],
        opposite[triangle[near]],
        view,
        centre.double(),
        torch.tensor([width / 2, height / 2], device=image.device, dtype=torch.float64),
        vertical,
        near_is_here,
    )
    found = torch.isfinite(distance)
    near, far, distance = near[found], torch.where(near_is_here, there, here)[found], distance[found].to(image)
    flat = image.reshape(-1, channels)
    # Nearer than half way the edge cuts the near pixel, which takes the far colour there; beyond, the other way round.
    share = 0.5 - distance
    into = torch.where(share > 0, near, far)
    change = share.abs()[:, None] * (flat[near + far - into] - flat[into])
    return flat.index_add(0, into, change).reshape(image.shape)


def _exit_distance(
    position_clip: torch.Tensor,
    corner: torch.Tensor,
    opposite: torch.Tensor,
    view: torch.Tensor,
    centre: torch.Tensor,
    half_size: torch.Tensor,
    vertical: torch.Tensor,
    forward: torch.Tensor,
) -> torch.Tensor:
    """How far from the near pixel's centre its triangle ends on the way to its neighbour, in pixels, 0..1; nan where
    it does not end there at a silhouette.

    corner, opposite int64 [P, 3]; centre [P, 2] device coordinates; vertical, forward bool [P]: the neighbour's direction.
    """
    clip = position_clip[view[:, None], corner]
    w = clip[..., 3]
    pixel = (clip[..., :2] / w[..., None] - centre[:, None]) * half_size
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
    """Whether beyond each side [P, 3] the surface ends or folds back: the neighbour's third vertex lies on our own side."""
    homogeneous = clip[..., [0, 1, 3]]
    beyond = position_clip[view[:, None], opposite.clamp(min=0)][..., [0, 1, 3]]
    across = torch.linalg.cross(homogeneous[:, [1, 2, 0]], homogeneous[:, [2, 0, 1]])
    own_side = (across * homogeneous).sum(-1)
    other_side = (across * beyond).sum(-1)
    return (opposite < 0) | ((own_side < 0) == (other_side < 0))
