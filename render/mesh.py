"""Triangle meshes: one index for all attributes, so that a vertex is a corner with its own normal, tangent and uv."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F


class MeshError(ValueError):
    """A mesh that cannot be rendered or fitted; the message names the cause and the cure."""


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh in the renderer's world space (right-handed, Y up).

    position   float32 [V, 3]
    normal     float32 [V, 3], unit
    tangent    float32 [V, 4], unit tangent along +u and the sign of the bitangent: B = sign * cross(N, T)
    uv         float32 [V, 2], v pointing down (row 0 of a texture is at v = 0)
    triangles  int64 [T, 3]
    material   int64 [T], material slot of each triangle
    """

    position: torch.Tensor
    normal: torch.Tensor
    tangent: torch.Tensor
    uv: torch.Tensor
    triangles: torch.Tensor
    material: torch.Tensor

    def to(self, device: torch.device | str) -> Mesh:
        return Mesh(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))

    @property
    def geometric_normal(self) -> torch.Tensor:
        """Unit face normals [T, 3]; zero for degenerate triangles."""
        a, b, c = (self.position[self.triangles[:, i]] for i in range(3))
        return F.normalize(torch.linalg.cross(b - a, c - a), dim=-1)

    def bounding_sphere(self) -> tuple[torch.Tensor, float]:
        """Centre [3] of the bounding box and the radius around it that holds every vertex."""
        center = (self.position.amin(0) + self.position.amax(0)) / 2
        return center, float((self.position - center).norm(dim=-1).max())


def mesh_from_arrays(arrays: dict[str, np.ndarray]) -> Mesh:
    """The mesh of the wire arrays (uv pointing up there, down here).

    Raises MeshError for wrong or unequal shapes, indices out of range, or values that are not finite.
    """
    expected = {"vertex_position": 3, "vertex_normal": 3, "vertex_tangent": 4, "vertex_uv": 2, "triangles": 3}
    for name, columns in expected.items():
        array = arrays.get(name)
        if array is None or array.ndim != 2 or array.shape[1] != columns:
            found = "missing" if array is None else f"of shape {list(array.shape)}"
            raise MeshError(f"the mesh array {name!r} is {found}; it must be [n, {columns}]: export the mesh again")
        if not np.isfinite(array).all():
            raise MeshError(f"the mesh array {name!r} holds values that are not finite: mend the mesh and export again")
    vertices, triangles = len(arrays["vertex_position"]), arrays["triangles"]
    if len(triangles) == 0 or triangles.min() < 0 or triangles.max() >= vertices:
        raise MeshError("the mesh has no triangles, or indices beyond its vertices: export the mesh again")
    uv = torch.from_numpy(np.array(arrays["vertex_uv"], np.float32))
    material = arrays.get("triangle_material", np.zeros(len(triangles), np.int32))
    counts = {name: vertices for name in expected if name != "triangles"} | {"triangle_material": len(triangles)}
    for name, count in counts.items():
        found = len(material) if name == "triangle_material" else len(arrays[name])
        if found != count:
            raise MeshError(f"the mesh array {name!r} has {found} rows where {count} belong: export the mesh again")
    return Mesh(
        position=torch.from_numpy(np.array(arrays["vertex_position"], np.float32)),
        normal=F.normalize(torch.from_numpy(np.array(arrays["vertex_normal"], np.float32)), dim=-1),
        tangent=torch.from_numpy(np.array(arrays["vertex_tangent"], np.float32)),
        uv=torch.stack([uv[:, 0], 1 - uv[:, 1]], dim=-1),
        triangles=torch.from_numpy(np.array(triangles, np.int64)),
        material=torch.from_numpy(np.array(material, np.int64)),
    )


def unify_indices(*columns: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """One index for several: the distinct rows of int64 columns [N] each, and the row that each of the N has, [N].

    Returns ([U, number of columns], [N]), rows in lexicographic order. Indices are not negative.
    """
    inverse = columns[0]
    for column in columns[1:]:
        # Pairs as one number: at most N * (max + 1), which stays below 2^63 for any mesh that fits into memory.
        _, inverse = torch.unique(inverse * (column.max() + 1) + column, return_inverse=True)
    kept, inverse = torch.unique(inverse, return_inverse=True)
    rows = torch.zeros_like(kept).index_copy_(0, inverse, torch.arange(len(inverse), device=inverse.device))
    return torch.stack([column[rows] for column in columns], dim=1), inverse


def mesh_from_indexed(
    v_pos: torch.Tensor,
    t_pos_idx: torch.Tensor,
    v_nrm: torch.Tensor,
    t_nrm_idx: torch.Tensor,
    v_tex: torch.Tensor,
    t_tex_idx: torch.Tensor,
    v_tng: torch.Tensor,
    t_tng_idx: torch.Tensor,
    sign: float = 1.0,
) -> Mesh:
    """The mesh of attributes [N, 3], [N, 3], [N, 2], [N, 3], each with an index [T, 3] of its own (nvdiffrec's layout).

    Nothing is normalised or averaged, indices may be of any number type, and v points down already. Positions may carry
    gradients. `sign` is the bitangent's for all: nvdiffrec knows no mirrored mappings, which is +1. All triangles get
    material 0. Raises MeshError for an index that is out of range.
    """
    values = {"position": v_pos, "normal": v_nrm, "uv": v_tex, "tangent": v_tng}
    indices = [index.long() for index in (t_pos_idx, t_nrm_idx, t_tex_idx, t_tng_idx)]
    for (name, value), index in zip(values.items(), indices, strict=True):
        if index.shape != indices[0].shape or index.numel() == 0:
            raise MeshError(f"the {name} index is {list(index.shape)}, the positions' {list(indices[0].shape)}")
        if int(index.min()) < 0 or int(index.max()) >= len(value):
            raise MeshError(f"the {name} index points beyond the {len(value)} values: check the indices")
    rows, inverse = unify_indices(*(index.reshape(-1) for index in indices))
    tangent = v_tng[rows[:, 3]]
    return Mesh(
        position=v_pos[rows[:, 0]],
        normal=v_nrm[rows[:, 1]],
        tangent=torch.cat([tangent, torch.full_like(tangent[:, :1], sign)], dim=-1),
        uv=v_tex[rows[:, 2]],
        triangles=inverse.reshape(-1, 3),
        material=torch.zeros(len(t_pos_idx), dtype=torch.int64, device=v_pos.device),
    )


def load_obj(path: str | Path) -> Mesh:
    """Load a Wavefront OBJ with texture coordinates; normals are made smooth over shared positions where it has none.

    Polygons are fan-triangulated; materials are numbered in the order of `usemtl`. Raises MeshError, naming the line.
    """
    positions: list[list[float]] = []
    uvs: list[list[float]] = []
    normals: list[list[float]] = []
    corners: list[tuple[int, int, int]] = []
    materials: list[int] = []
    names: dict[str, int] = {}
    current = 0
    with open(path) as lines:
        for number, line in enumerate(lines, 1):
            words = line.split()
            if not words:
                continue
            try:
                if words[0] == "v":
                    positions.append([float(x) for x in words[1:4]])
                elif words[0] == "vt":
                    uvs.append([float(x) for x in words[1:3]])
                elif words[0] == "vn":
                    normals.append([float(x) for x in words[1:4]])
                elif words[0] == "usemtl":
                    current = names.setdefault(words[1], len(names))
                elif words[0] == "f":
                    face = [_obj_corner(word, len(positions), len(uvs), len(normals)) for word in words[1:]]
                    for i in range(1, len(face) - 1):
                        corners += [face[0], face[i], face[i + 1]]
                        materials.append(current)
            except (ValueError, IndexError) as error:
                raise MeshError(f"{path}, line {number}: {line.strip()!r} is not valid OBJ ({error})") from error
    if not corners:
        raise MeshError(f"{path} has no faces: export the mesh with its faces")
    index = torch.tensor(corners)
    if (index[:, 1] < 0).any():
        raise MeshError(f"{path} has faces without texture coordinates: unwrap the mesh and export its UVs")
    position = torch.tensor(positions)
    if (index[:, 2] < 0).any():
        normal_index, normal = index[:, 0], smooth_normals(position, index[:, 0].reshape(-1, 3))
    else:
        normal_index, normal = index[:, 2], F.normalize(torch.tensor(normals), dim=-1)
    keys = torch.stack([index[:, 0], index[:, 1], normal_index], dim=1)
    unique, triangles = torch.unique(keys, dim=0, return_inverse=True)
    uv = torch.tensor(uvs)
    mesh = Mesh(
        position=position[unique[:, 0]],
        normal=normal[unique[:, 2]],
        tangent=torch.zeros(len(unique), 4),
        uv=torch.stack([uv[:, 0], 1 - uv[:, 1]], dim=-1)[unique[:, 1]],
        triangles=triangles.reshape(-1, 3),
        material=torch.tensor(materials),
    )
    return replace(mesh, tangent=compute_tangents(mesh))


def _obj_corner(word: str, positions: int, uvs: int, normals: int) -> tuple[int, int, int]:
    parts = [*word.split("/"), "", ""][:3]
    counts = (positions, uvs, normals)
    numbers = []
    for part, count in zip(parts, counts, strict=True):
        if not part:
            numbers.append(-1)
            continue
        number = int(part)
        number = number - 1 if number > 0 else count + number
        if not 0 <= number < count:
            raise ValueError(f"index {part} points beyond the {count} given")
        numbers.append(number)
    return numbers[0], numbers[1], numbers[2]


def smooth_normals(position: torch.Tensor, triangles: torch.Tensor) -> torch.Tensor:
    """Area-weighted unit vertex normals [V, 3] of positions [V, 3] and triangles [T, 3]; +Z where a vertex has no area."""
    a, b, c = (position[triangles[:, i]] for i in range(3))
    face = torch.linalg.cross(b - a, c - a)
    normal = torch.zeros_like(position).index_add_(0, triangles.reshape(-1), face.repeat_interleave(3, 0))
    up = torch.tensor([0.0, 0.0, 1.0]).to(position)
    return torch.where(normal.norm(dim=-1, keepdim=True) > 1e-20, F.normalize(normal, dim=-1, eps=1e-20), up)


def compute_tangents(mesh: Mesh) -> torch.Tensor:
    """Unit tangents along +u with the bitangent's sign, [V, 4], averaged over the triangles around each vertex.

    Blender exports MikkTSpace's own; this serves meshes from elsewhere. It differs from MikkTSpace where the sides of a
    mirrored seam share vertices: there MikkTSpace splits them, this averages.
    """
    corners = mesh.triangles
    edge_1 = mesh.position[corners[:, 1]] - mesh.position[corners[:, 0]]
    edge_2 = mesh.position[corners[:, 2]] - mesh.position[corners[:, 0]]
    uv_1 = mesh.uv[corners[:, 1]] - mesh.uv[corners[:, 0]]
    uv_2 = mesh.uv[corners[:, 2]] - mesh.uv[corners[:, 0]]
    determinant = uv_1[:, 0] * uv_2[:, 1] - uv_1[:, 1] * uv_2[:, 0]
    along_u = (edge_1 * uv_2[:, 1:] - edge_2 * uv_1[:, 1:]) * determinant.sign()[:, None]
    # v points down in this uv, MikkTSpace's up: the sign is that of the flipped determinant.
    handedness = -determinant.sign() * edge_1.norm(dim=-1) * edge_2.norm(dim=-1)
    flat = corners.reshape(-1)
    tangent = torch.zeros_like(mesh.position).index_add_(0, flat, F.normalize(along_u, dim=-1).repeat_interleave(3, 0))
    sign = torch.zeros(len(mesh.position)).to(tangent).index_add_(0, flat, handedness.repeat_interleave(3, 0))
    tangent = tangent - mesh.normal * (tangent * mesh.normal).sum(-1, keepdim=True)
    length = tangent.norm(dim=-1, keepdim=True)
    least = F.one_hot(mesh.normal.abs().argmin(-1), 3).to(tangent)
    fallback = F.normalize(torch.linalg.cross(mesh.normal, least), dim=-1)
    tangent = torch.where(length > 1e-8, tangent / length.clamp(min=1e-8), fallback)
    return torch.cat([tangent, torch.where(sign < 0, -1.0, 1.0)[:, None]], dim=-1)
