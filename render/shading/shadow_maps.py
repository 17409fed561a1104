"""What surface points see of the sky: shadow maps of a mesh from a few hundred directions.

Each direction has a depth map of the mesh. A point sees a direction where no surface lies in front of it. Such a test must
start a little off the surface, on the side that is looked at: a surface that is seen from behind is lit by the sky behind
it, as in Cycles, which turns its normal around.

The vertices of a mesh are tested once, on the side that their normals point to, and points between them are interpolated.
That serves every point whose triangle shows this side. A point that shows the other side (normals that point inwards, the
inside of an open shell) or whose vertices have normals that do not fit its triangle (neighbors that face opposite ways,
normals bent by the artist) is tested itself, off its triangle towards the eye.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from render.geometry.camera import look_at, orthographic
from render.geometry.mesh import Mesh, unit_vectors
from render.raster.portable import depth_range

_SIZE = 256
# Tests start this many texels of the shadow maps off the surface.
_OFFSET = 2.0
# Depths are kept in 16 bits: 32767 steps from the middle to either end, each 1/500 of the offset.
_STEPS = 32767
# A vertex stands for a triangle if the cosine between its normal and the triangle's is at least this: else its test would
# start less than one texel off the triangle.
_LEAST_AGREEMENT = 0.5
# Tests at a time: as many as the caches of a core hold, and enough to keep a GPU busy.
_TESTS, _GPU_TESTS = 1 << 15, 1 << 22
_VERTICES_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class ShadowMaps:
    """Depth maps of a mesh from opposite pairs of directions.

    direction  float [D, 3], unit, as `shadow_directions` gives them
    depth      int16 [D / 2, 256 * 256, 2]: for each pair its nearest and its farthest surface as the first of it looks
    to_texels  float [D / 2, 3, 3]: column, row and depth in a map, before `middle` is added, of (point - center) / radius
    middle     float [D / 2, 3]
    center     float [3], and radius, of the sphere around the mesh
    """

    direction: torch.Tensor
    depth: torch.Tensor
    to_texels: torch.Tensor
    middle: torch.Tensor
    center: torch.Tensor
    radius: float

    @property
    def offset(self) -> float:
        """How far off its surface a test must start: two texels of a map."""
        return _OFFSET * 2 * self.radius / _SIZE

    def seen_from(self, point: torch.Tensor, cancelled: Callable[[], bool] = lambda: False) -> torch.Tensor:
        """How much of each direction points [N, 3] see, uint8 [N, D], 0 (blocked) to 255, antialiased.

        Points must lie `offset` off the surface. It stops early, with what it has, when `cancelled()`.
        """
        pairs = len(self.depth)
        seen = torch.full((len(point), 2 * pairs), 255, dtype=torch.uint8, device=point.device)
        local = ((point - self.center) / self.radius).T
        at_once = max(1, (_TESTS if point.device.type == "cpu" else _GPU_TESTS) // max(1, len(point)))
        for start in range(0, pairs, at_once):
            if cancelled():
                break
            part = slice(start, min(start + at_once, pairs))
            one, other = self._lit(local, part)
            seen[:, part] = one.T
            seen[:, pairs + part.start : pairs + part.stop] = other.T
        return seen

    def _lit(self, local: torch.Tensor, part: slice) -> tuple[torch.Tensor, torch.Tensor]:
        """Bilinear percentage-closer tests of points [3, N] for some of the pairs, two uint8 [pairs, N]."""
        place = torch.baddbmm(
            self.middle[part, :, None], self.to_texels[part], local.expand(part.stop - part.start, -1, -1)
        )
        x, y = place[:, 0].clamp(0, _SIZE - 1.001), place[:, 1].clamp(0, _SIZE - 1.001)
        column, row = x.long(), y.long()
        fx, fy = x - column, y - row
        first = torch.arange(part.start, part.stop, device=local.device)[:, None] * (_SIZE * _SIZE)
        index, depth = first + row * _SIZE + column, place[:, 2]
        maps = self.depth.reshape(-1, 2)
        one, other = torch.zeros_like(depth), torch.zeros_like(depth)
        for dy, wy in ((0, 1 - fy), (1, fy)):
            for dx, wx in ((0, 1 - fx), (1, fx)):
                nearest, farthest = maps[index + (dy * _SIZE + dx)].unbind(-1)
                weight = wx * wy
                one += weight * (nearest >= depth)
                other += weight * (farthest <= depth)
        return (one * 255).round().to(torch.uint8), (other * 255).round().to(torch.uint8)


def shadow_maps(mesh: Mesh, direction: torch.Tensor, cancelled: Callable[[], bool] = lambda: False) -> ShadowMaps:
    """The shadow maps of a mesh from directions [D, 3], opposite pairs as `shadow_directions` gives them.

    Contact shadows thinner than about 2% of the object are lost: maps have 256 x 256 texels. It stops early, with maps in
    which nothing is blocked, when `cancelled()`.
    """
    center, radius = mesh.bounding_sphere()
    pairs = len(direction) // 2
    device = mesh.position.device
    depth = torch.empty(pairs, _SIZE * _SIZE, 2, dtype=torch.int16, device=device)
    depth[..., 0], depth[..., 1] = _STEPS, -_STEPS
    projection = orthographic(radius * 1.03, 1.0, radius, 3.2 * radius).to(mesh.position).double()
    position = F.pad(mesh.position.double(), (0, 1), value=1.0)
    transforms = torch.zeros(pairs, 4, 4, dtype=torch.float64, device=device)
    for i in range(pairs):
        if cancelled():
            break
        transforms[i] = projection @ look_at(center + 2.1 * radius * direction[i], center).double()
        found = depth_range(position @ transforms[i].T, mesh.triangles, (_SIZE, _SIZE))
        depth[i] = (torch.stack(found, -1).reshape(-1, 2).clamp(-1, 1) * _STEPS).round().to(torch.int16)
    # From clip space to texels (their centers at whole numbers) and to steps of depth.
    scale = torch.tensor([_SIZE / 2, _SIZE / 2, _STEPS], dtype=torch.float64, device=device)
    shift = torch.tensor([_SIZE / 2 - 0.5, _SIZE / 2 - 0.5, 0], dtype=torch.float64, device=device)
    linear = transforms[:, :3, :3] * scale[:, None]
    middle = (transforms[:, :3, :3] @ center.double() + transforms[:, :3, 3]) * scale + shift
    return ShadowMaps(direction, depth, (linear * radius).float(), middle.float(), center, radius)


@dataclass(frozen=True)
class SkyVisibility:
    """What the surface of a mesh sees of the sky.

    maps      its shadow maps, from D directions
    vertices  uint8 [V, D], 0 (blocked) to 255: what each vertex sees on the side that its normal points to; directions
              below its own horizon are blocked
    """

    mesh: Mesh
    maps: ShadowMaps
    vertices: torch.Tensor

    def of_points(self, corner: torch.Tensor, barycentric: torch.Tensor, view: torch.Tensor) -> torch.Tensor:
        """The seen share of each direction at points of triangles, on the side that the viewer sees: float [N, D], 0..1.

        corner  int64 [N, 3], the vertices of the triangle; barycentric float [N, 3], their weights
        view    float [N, 3], towards the eye
        """
        toward = _triangle_normals(self.mesh.position[corner])
        toward = torch.where((toward * view).sum(-1, keepdim=True) >= 0, toward, -toward)
        weight = barycentric / 255
        total = self.vertices[corner[:, 0]] * weight[:, :1]
        for i in (1, 2):
            total += self.vertices[corner[:, i]] * weight[:, i : i + 1]
        told = (self.mesh.normal[corner] * toward[:, None]).sum(-1).amin(-1) >= _LEAST_AGREEMENT
        own = (~told).nonzero()[:, 0]
        if len(own):
            position = (self.mesh.position[corner[own]] * barycentric[own, :, None]).sum(1)
            total[own] = self.maps.seen_from(position + self.maps.offset * toward[own]) / 255
        return total

    def openness(self, front: bool = True, back: bool = False) -> torch.Tensor:
        """The open part of the sky of each vertex, cosine-weighted, float [V], 0..1.

        front, back  which sides views see, at least one. Where they see both, a texture that serves both sides cannot be
                     right for both: it gets the more open one, so that no side is darker than it should be.

        Where views see the back, a triangle that lies across the normal of its vertex counts by itself, by its area.
        """
        normal, direction = self.mesh.normal, self.maps.direction
        if not back:
            return _open_part(normal, self.vertices, direction)
        open_part = self._open_towards(self.mesh.position, -normal)
        if front:
            open_part = torch.maximum(open_part, _open_part(normal, self.vertices, direction))
        return self._with_triangles_across(open_part, front)

    def _open_towards(self, position: torch.Tensor, normal: torch.Tensor) -> torch.Tensor:
        """The openness [N] of points on the surface [N, 3] on the side that unit vectors [N, 3] point to."""
        parts = []
        for at, toward in _in_parts(position, normal):
            seen = self.maps.seen_from(at + self.maps.offset * toward)
            parts.append(_open_part(toward, seen, self.maps.direction))
        return torch.cat(parts)

    def _with_triangles_across(self, openness: torch.Tensor, front: bool) -> torch.Tensor:
        """Openness [V], averaged with that of the triangles across, on their back or (`front`) their more open side."""
        corners = self.mesh.position[self.mesh.triangles]
        normal = _triangle_normals(corners)
        area = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=-1)
        across = (self.mesh.normal[self.mesh.triangles] * normal[:, None]).sum(-1).abs() < _LEAST_AGREEMENT
        triangle, corner = (across & (area > 0)[:, None]).nonzero(as_tuple=True)
        if len(triangle) == 0:
            return openness
        # A little towards the middle of the triangle: a neighbor may rise at its corner.
        inward = corners[triangle].mean(1) - corners[triangle, corner]
        inward *= (self.maps.offset / inward.norm(dim=-1, keepdim=True).clamp(min=1e-20)).clamp(max=0.5)
        at, toward = corners[triangle, corner] + inward, normal[triangle]
        found = self._open_towards(at, -toward)
        if front:
            found = torch.maximum(found, self._open_towards(at, toward))
        shares = openness.new_zeros(len(openness), 3)  # the area of all triangles; of those across; this times openness
        shares[:, 0].index_add_(0, self.mesh.triangles.reshape(-1), area.repeat_interleave(3))
        vertex, weight = self.mesh.triangles[triangle, corner], area[triangle]
        shares[:, 1:].index_add_(0, vertex, torch.stack([weight, weight * found], -1))
        whole = shares[:, 0].clamp(min=torch.finfo(shares.dtype).tiny)
        return openness * (1 - shares[:, 1] / whole) + shares[:, 2] / whole


def sky_visibility(mesh: Mesh, direction: torch.Tensor, cancelled: Callable[[], bool] = lambda: False) -> SkyVisibility:
    """Trace what a mesh sees along directions [D, 3], opposite pairs. It stops early, not complete, when `cancelled()`."""
    maps = shadow_maps(mesh, direction, cancelled)
    return SkyVisibility(mesh, maps, maps.seen_from(mesh.position + maps.offset * mesh.normal, cancelled))


def _triangle_normals(corners: torch.Tensor) -> torch.Tensor:
    """Unit normals [N, 3] of triangles with corners [N, 3, 3], of any size; zero for those without area."""
    a, b, c = corners.unbind(1)
    return unit_vectors(torch.linalg.cross(unit_vectors(b - a), unit_vectors(c - a)))


def _open_part(normal: torch.Tensor, seen: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    """The cosine-weighted part of the hemispheres around normals [N, 3] that is seen, uint8 [N, D], as [N]."""
    parts = []
    for n, visible in _in_parts(normal, seen):
        cosine = (n @ direction.T).clamp(min=0)
        parts.append((cosine * visible).sum(-1) / (255 * cosine.sum(-1)).clamp(min=1e-6))
    return torch.cat(parts)


def _in_parts(one: torch.Tensor, other: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Rows of two tensors, a part of both at a time."""
    return zip(torch.split(one, _VERTICES_AT_ONCE), torch.split(other, _VERTICES_AT_ONCE), strict=True)
