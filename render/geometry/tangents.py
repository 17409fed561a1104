"""Tangents as MikkTSpace defines them, so that a normal map means the same here as in Blender and in game engines.

After M. Mikkelsen, "Simulation of Wrinkled Surfaces Revisited" (2008), and the description at mikktspace.com. Each
triangle has a direction of +u. Around each vertex (corners equal in position, normal and uv), triangles that share edges
and have the same orientation in the uv form a group. The tangent of a group is the mean of its triangles' directions,
each projected into the plane of the normal and weighted by the angle at the corner. The angular threshold is 180 degrees,
as everywhere in practice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from render.geometry.mesh import Mesh, unit_vectors

# Keys of the hash that finds equal vertices: odd 64-bit constants (Knuth's MMIX generator and the golden ratio).
_HASH_FACTOR, _HASH_STEP = 6364136223846793005, -7046029254386353131


@dataclass(frozen=True)
class _Faces:
    """What the grouping must know about each triangle.

    welded      int64 [T, 3], equal where vertices are equal in position, normal and uv
    orientation int64 [T], 1 where the uv keeps the triangle's winding (v up), -1 where it mirrors, 0 where it has no area
    regular     bool [T], no two corners are at one place
    """

    welded: torch.Tensor
    orientation: torch.Tensor
    regular: torch.Tensor


def compute_tangents(mesh: Mesh) -> Mesh:
    """The mesh with MikkTSpace tangents; vertices are split where the groups of triangles around them differ.

    `tangent` becomes [V', 4]: a unit vector at right angles to the normal, along +u, and the sign of the bitangent (1 or -1),
    which points along v up, as in Blender and glTF. The first V vertices stay in place; the copies that mirrored seams and
    separate fans need are appended. The tangents in `mesh` are ignored. Differentiable with respect to position and normal;
    dtype and device are those of the mesh.

    Triangles without area in the uv share the tangents of their neighbors; triangles without extent take one from the same
    place. Where nothing is known, the tangent is any unit vector at right angles to the normal, sign 1 (MikkTSpace leaves
    (1, 0, 0) there, which may lie along the normal). Quads must be triangulated first: MikkTSpace itself averages the two
    triangles of a quad over the shared corners.

    Vertices are equal if every bit is equal. v' = 1 - v makes some equal that differ in their last bits in a file, for
    example along the edges of uvs that Blender subdivided. There Blender has separate tangents, and this function has their
    mean (3 to 6% of the corners of a subdivided Suzanne, up to 36 degrees).
    """
    faces, along_u = _faces(mesh)
    links = _edge_links(faces)
    orientation = _orientation_with_neighbors(faces, *links)
    group = _corner_groups(orientation, *links)
    normal = unit_vectors(mesh.normal)
    flat = mesh.triangles.reshape(-1)
    corner_normal = normal[flat]
    weight = torch.where(faces.orientation != 0, 1.0, 0.0).to(mesh.position).repeat_interleave(3)
    weight = weight * faces.regular.repeat_interleave(3)
    projected = _tangential(along_u.repeat_interleave(3, 0), corner_normal)
    angle = _corner_angles(mesh, corner_normal)
    total = torch.zeros_like(projected).index_add_(0, group, projected * (angle * weight)[:, None])
    known = torch.zeros_like(weight).index_add_(0, group, weight) > 0
    group = _with_borrowed(group, known, faces.welded.reshape(-1))
    sign = torch.where(orientation < 0, -1.0, 1.0).to(mesh.position).repeat_interleave(3)
    vertex, triangles = _split_vertices(len(mesh.position), flat, group)
    corner = _any_corner_of(vertex.shape[0], triangles)
    used = corner >= 0
    source = torch.where(used, group[corner.clamp(min=0)], 0)
    tangent = _upright(torch.where(used[:, None], total[source], 0.0), normal[vertex])
    # A group has one orientation: that of the corner whose number it has.
    sign = torch.where(used & known[source], sign[source], 1.0)
    split = {name: getattr(mesh, name)[vertex] for name in ("position", "normal", "uv")}
    return replace(
        mesh, **split, tangent=torch.cat([tangent, sign[:, None]], dim=-1), triangles=triangles.reshape(-1, 3)
    )


def _faces(mesh: Mesh) -> tuple[_Faces, torch.Tensor]:
    """The triangles for the grouping, and their directions of +u [T, 3] (unit or zero)."""
    a, b, c = (mesh.position[mesh.triangles[:, i]] for i in range(3))
    uv_a, uv_b, uv_c = (mesh.uv.detach()[mesh.triangles[:, i]] for i in range(3))
    uv_1, uv_2 = uv_b - uv_a, uv_c - uv_a
    # v points down in this uv and up in MikkTSpace's: the orientation is the sign of the flipped determinant.
    area = uv_1[:, 1] * uv_2[:, 0] - uv_1[:, 0] * uv_2[:, 1]
    orientation = (area > torch.finfo(area.dtype).tiny).long() - (area < -torch.finfo(area.dtype).tiny).long()
    along_u = ((c - a) * uv_1[:, 1:] - (b - a) * uv_2[:, 1:]) * orientation[:, None]
    flat = along_u.detach().abs().amax(-1) == 0
    regular = ((a != b).any(-1) & (b != c).any(-1) & (c != a).any(-1)).detach()
    welded = _weld(mesh)[mesh.triangles]
    return _Faces(welded, torch.where(flat, 0, orientation), regular), unit_vectors(along_u)


def _weld(mesh: Mesh) -> torch.Tensor:
    """For each vertex the first one with the same position, normal and uv, int64 [V]."""
    values = torch.cat([mesh.position, mesh.normal, mesh.uv], dim=-1).detach() + 0.0  # -0 becomes 0
    bits = values.view(torch.int32 if values.dtype == torch.float32 else torch.int64).long()
    key = torch.zeros_like(bits[:, 0])
    for column in range(bits.shape[1]):
        key = (key ^ bits[:, column]) * _HASH_FACTOR + _HASH_STEP
        key = key ^ (key >> 29)
    order = torch.argsort(key, stable=True)
    same = key[order][1:] == key[order][:-1]
    if bool((same & (bits[order][1:] != bits[order][:-1]).any(-1)).any()):
        # Two vertices have one hash: take the slow way. It happens once in 10^6 meshes of a million vertices.
        _, inverse = torch.unique(bits, dim=0, return_inverse=True)
        least = torch.full_like(key, len(key)).scatter_reduce_(0, inverse, torch.arange(len(key)).to(key), "amin")
        return least[inverse]
    start = torch.cat([same.new_ones(1), ~same]).nonzero()[:, 0]
    run = torch.cumsum(torch.cat([same.new_zeros(1), ~same]).long(), 0)
    return torch.empty_like(key).index_copy_(0, order, order[start][run])


def _edge_links(faces: _Faces) -> tuple[torch.Tensor, torch.Tensor]:
    """Pairs of half-edges (3 t + i: from corner i of triangle t to the next) that run in opposite directions on a welded edge.

    Where more than two triangles share an edge, the k-th half-edge of one direction is paired with the k-th of the other.
    """
    start, end = faces.welded, faces.welded.roll(-1, dims=1)
    count = faces.welded.max() + 1
    key = ((torch.minimum(start, end) * count + torch.maximum(start, end)) * 2 + (start > end)).reshape(-1)
    half = torch.arange(len(key), device=key.device)[faces.regular.repeat_interleave(3)]
    key, order = torch.sort(key[half], stable=True)
    half = half[order]
    run, members = torch.unique_consecutive(key, return_counts=True)
    first = torch.cumsum(members, 0) - members
    both = ((run[1:] >> 1) == (run[:-1] >> 1)).nonzero()[:, 0]
    pairs = torch.minimum(members[both], members[both + 1])
    rank = torch.arange(int(pairs.sum()), device=key.device) - (torch.cumsum(pairs, 0) - pairs).repeat_interleave(pairs)
    return (half[first[both].repeat_interleave(pairs) + rank], half[first[both + 1].repeat_interleave(pairs) + rank])


def _next_corner(corner: torch.Tensor) -> torch.Tensor:
    return torch.where(corner % 3 == 2, corner - 2, corner + 1)


def _orientation_with_neighbors(faces: _Faces, one: torch.Tensor, two: torch.Tensor) -> torch.Tensor:
    """Orientation [T]: triangles without area in the uv take that of a neighbor, the nearest first; 0 if there is none."""
    orientation = torch.where(faces.regular, faces.orientation, 0)
    if bool((orientation != 0).all()):
        return orientation
    source, target = torch.cat([one, two]) // 3, torch.cat([two, one]) // 3
    open_links = orientation[target] == 0
    source, target = source[open_links], target[open_links]
    while len(target):
        ready = orientation[source] != 0
        if not bool(ready.any()):
            break
        # Each takes that of the first of its neighbors that has one.
        best = torch.full_like(orientation, len(orientation))
        best.scatter_reduce_(0, target[ready], source[ready], "amin")
        found = best < len(orientation)
        orientation = torch.where(found, orientation[best.clamp(max=len(orientation) - 1)], orientation)
        open_links = orientation[target] == 0
        source, target = source[open_links], target[open_links]
    return orientation


def _corner_groups(orientation: torch.Tensor, one: torch.Tensor, two: torch.Tensor) -> torch.Tensor:
    """Each corner's group, int64 [3 T]: the number of the group's first corner."""
    same = orientation[one // 3] == orientation[two // 3]
    one, two = one[same], two[same]
    # The half-edges have opposite directions: the start of one is the end of the other.
    links = torch.cat([torch.stack([one, _next_corner(two)]), torch.stack([_next_corner(one), two])], dim=1)
    return connected_components(orientation.numel() * 3, links[0], links[1])


def connected_components(count: int, one: torch.Tensor, two: torch.Tensor) -> torch.Tensor:
    """The first member of each node's component, int64 [count], for undirected links between nodes one [L] and two [L]."""
    label = torch.arange(count, device=one.device)
    while True:
        a, b = label[one], label[two]
        apart = a != b
        if not bool(apart.any()):
            return label
        one, two, a, b = one[apart], two[apart], a[apart], b[apart]
        label.scatter_reduce_(0, torch.maximum(a, b), torch.minimum(a, b), "amin")
        while True:
            shorter = label[label]
            if torch.equal(shorter, label):
                break
            label = shorter


def _corner_angles(mesh: Mesh, normal: torch.Tensor) -> torch.Tensor:
    """Angle [3 T] at each corner between its two edges, both projected into the plane of its normal."""
    position = mesh.position[mesh.triangles]
    edge = unit_vectors(position.roll(-1, dims=1) - position)
    ahead = _tangential(edge.reshape(-1, 3), normal)
    back = _tangential(-edge.roll(1, dims=1).reshape(-1, 3), normal)
    across = torch.linalg.cross(ahead, back)
    # The root has no gradient at zero; the arc cosine has none at 0 and 180 degrees.
    sine = (across * across).sum(-1).clamp(min=torch.finfo(across.dtype).eps ** 2).sqrt()
    return torch.atan2(sine, (ahead * back).sum(-1))


def _with_borrowed(group: torch.Tensor, known: torch.Tensor, welded: torch.Tensor) -> torch.Tensor:
    """Groups [3 T] in which corners without a tangent take the first known group of the same welded vertex."""
    lacking = ~known[group]
    if not bool(lacking.any()):
        return group
    first = torch.full((int(welded.max()) + 1,), len(group), device=group.device)
    first.scatter_reduce_(0, welded[~lacking], group[~lacking], "amin")
    borrowed = first[welded]
    # Corners at one place where nothing is known form one group, so that they do not split vertices.
    least = torch.full_like(first, len(group)).scatter_reduce_(0, welded, torch.arange(len(group)).to(group), "amin")
    return torch.where(lacking, torch.where(borrowed < len(group), borrowed, least[welded]), group)


def _split_vertices(count: int, flat: torch.Tensor, group: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The original vertex [V'] of each new vertex, and the new vertex [3 T] of each corner: one for each (vertex, group)."""
    least = torch.full((count,), len(group), device=flat.device).scatter_reduce_(0, flat, group, "amin")
    extra = group != least[flat]
    vertex = torch.arange(count, device=flat.device)
    if not bool(extra.any()):
        return vertex, flat
    pairs, inverse = torch.unique(flat[extra] * len(group) + group[extra], return_inverse=True)
    corners = flat.clone()
    corners[extra] = count + inverse
    return torch.cat([vertex, pairs // len(group)]), corners


def _any_corner_of(count: int, triangles: torch.Tensor) -> torch.Tensor:
    """The first corner [count] of each vertex, -1 for a vertex that no corner has; triangles [3 T]."""
    corner = torch.full((count,), len(triangles), device=triangles.device)
    corner.scatter_reduce_(0, triangles, torch.arange(len(triangles), device=triangles.device), "amin")
    return torch.where(corner < len(triangles), corner, -1)


def _tangential(unit: torch.Tensor, normal: torch.Tensor) -> torch.Tensor:
    """Unit vectors [N, 3] along the part of a unit vector in the plane of a unit normal; zero where only rounding is left."""
    part = unit - normal * (unit * normal).sum(-1, keepdim=True)
    square = (part * part).sum(-1, keepdim=True)
    keep = square > (64 * torch.finfo(unit.dtype).eps) ** 2
    return torch.where(keep, part * torch.where(keep, square, 1.0).rsqrt(), 0.0)


def _upright(tangent: torch.Tensor, normal: torch.Tensor) -> torch.Tensor:
    """Unit tangents at right angles to unit normals; any such vector where the tangent is zero or along the normal."""
    # Unit vectors whose sum cancels leave only rounding. Project twice, for vectors that are almost along the normal.
    length = tangent.detach().abs().amax(-1, keepdim=True)
    across = _tangential(_tangential(unit_vectors(torch.where(length > 1e-6, tangent, 0.0)), normal), normal)
    least = F.one_hot(normal.detach().abs().argmin(-1), 3).to(normal)
    # A zero normal has no plane: use an axis.
    fallback = unit_vectors(torch.linalg.cross(normal, least))
    fallback = torch.where(normal.detach().abs().amax(-1, keepdim=True) > 0, fallback, least)
    return torch.where(across.detach().abs().amax(-1, keepdim=True) > 0, across, fallback)
