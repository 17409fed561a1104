"""Triangle meshes: one index for all attributes, so that a vertex is a corner with its own normal, tangent and uv."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray


class MeshError(ValueError):
    """A mesh that cannot be rendered or fitted; the message names the cause and the cure."""


def unit_vectors(vector: torch.Tensor) -> torch.Tensor:
    """[..., C] scaled to unit length, from any length, very short or very long; zero stays zero, with a zero gradient."""
    tiny = torch.finfo(vector.dtype).tiny
    scale = vector.detach().abs().amax(-1, keepdim=True)
    return F.normalize(torch.where(scale > tiny, vector / scale.clamp(min=tiny), 0.0), dim=-1, eps=0.5)


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
        """Unit face normals [T, 3] of triangles of any size; zero for degenerate ones (two edges are parallel to rounding)."""
        a, b, c = (self.position[self.triangles[:, i]] for i in range(3))
        one, two = unit_vectors(b - a), unit_vectors(c - a)
        normal = torch.linalg.cross(one, two)
        degenerate = normal.detach().abs().amax(-1, keepdim=True) < 4 * torch.finfo(normal.dtype).eps
        return unit_vectors(torch.where(degenerate, 0.0, normal))

    def bounding_sphere(self) -> tuple[torch.Tensor, float]:
        """Center [3] of the bounding box, and the radius of the sphere around it that holds every vertex."""
        center = (self.position.amin(0) + self.position.amax(0)) / 2
        return center, float((self.position - center).norm(dim=-1).max())


@dataclass(frozen=True)
class MeshReport:
    """What `validate` found and accepted: triangles without area (never visible), vertices whose normal has no length."""

    triangles_without_area: int
    vertices_without_normal: int


def mesh_from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Mesh:
    """The mesh of the arrays that come over the wire (their v points up, the mesh's points down).

    Raises MeshError for wrong or unequal shapes, indices out of range, or values that are not finite.
    """
    expected = {"vertex_position": 3, "vertex_normal": 3, "vertex_tangent": 4, "vertex_uv": 2, "triangles": 3}
    for name, columns in expected.items():
        array = arrays.get(name)
        if array is None or array.ndim != 2 or array.shape[1] != columns:
            found = "missing" if array is None else f"of shape {list(array.shape)}"
            raise MeshError(f"the mesh array {name!r} is {found}; it must be [n, {columns}]: export the mesh again")
        if not np.isfinite(array).all():
            raise MeshError(
                f"the mesh array {name!r} holds values that are not finite: fix the mesh and export it again"
            )
    vertices, triangles = len(arrays["vertex_position"]), arrays["triangles"]
    if len(triangles) == 0 or triangles.min() < 0 or triangles.max() >= vertices:
        raise MeshError("the mesh has no triangles, or indices beyond its vertices: export the mesh again")
    uv = torch.from_numpy(np.array(arrays["vertex_uv"], np.float32))
    material = arrays.get("triangle_material", np.zeros(len(triangles), np.int32))
    counts = {name: vertices for name in expected if name != "triangles"} | {"triangle_material": len(triangles)}
    for name, count in counts.items():
        rows = len(material) if name == "triangle_material" else len(arrays[name])
        if rows != count:
            raise MeshError(f"the mesh array {name!r} has {rows} rows instead of {count}: export the mesh again")
    return Mesh(
        position=torch.from_numpy(np.array(arrays["vertex_position"], np.float32)),
        normal=F.normalize(torch.from_numpy(np.array(arrays["vertex_normal"], np.float32)), dim=-1),
        tangent=torch.from_numpy(np.array(arrays["vertex_tangent"], np.float32)),
        uv=torch.stack([uv[:, 0], 1 - uv[:, 1]], dim=-1),
        triangles=torch.from_numpy(np.array(triangles, np.int64)),
        material=torch.from_numpy(np.array(material, np.int64)),
    )


def unify_indices(*columns: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """One index instead of several: the distinct rows of int64 columns [N] each, and for each of the N its row.

    Returns ([U, number of columns], [N]), rows in lexicographic order. Indices must not be negative.
    """
    inverse = columns[0]
    for column in columns[1:]:
        # A pair as one number: at most N * (max + 1), which is below 2^63 for any mesh that fits into memory.
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
    """The mesh of attributes [N, 3], [N, 3], [N, 2], [N, 3], each with its own index [T, 3] (nvdiffrec's layout).

    Nothing is normalized or averaged, indices may have any number type, and v must point down. Positions may carry
    gradients. `sign` is the sign of all bitangents: nvdiffrec does not know mirrored mappings, so its sign is +1. All
    triangles get material 0. Raises MeshError for an index that is out of range.
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


def validate(mesh: Mesh, source: str = "the mesh") -> MeshReport:
    """Check that a mesh can be rendered. Flaws that do not stop a renderer are reported, not refused.

    Raises MeshError, with `source` as the name of the mesh, for arrays whose shapes do not fit each other, no triangles,
    indices out of range, values that are not finite, and a mesh in which no triangle has an area. Waits for the device.
    """
    vertices, triangles = len(mesh.position), len(mesh.triangles)
    shapes = {"position": (vertices, 3), "normal": (vertices, 3), "tangent": (vertices, 4), "uv": (vertices, 2)}
    for name, shape in (shapes | {"triangles": (triangles, 3), "material": (triangles,)}).items():
        found = tuple(getattr(mesh, name).shape)
        if found != shape:
            raise MeshError(f"{source}: {name} is {list(found)} instead of {list(shape)}: build the mesh again")
    if triangles == 0:
        raise MeshError(f"{source} has no triangles: export the mesh with its faces")
    if int(mesh.triangles.min()) < 0 or int(mesh.triangles.max()) >= vertices:
        raise MeshError(f"{source} has triangles with indices beyond its {vertices} vertices: export the mesh again")
    if int(mesh.material.min()) < 0:
        raise MeshError(f"{source} has triangles with a negative material: number the materials from 0")
    for name in shapes:
        bad = ~getattr(mesh, name).detach().isfinite().all(-1)
        if bool(bad.any()):
            first = int(bad.nonzero()[0, 0])
            raise MeshError(
                f"{source} has {int(bad.sum())} vertices whose {name} is not finite (the first: {first}): fix the mesh"
            )
    with torch.no_grad():
        without_area = int((mesh.geometric_normal == 0).all(-1).sum())
        normal = mesh.normal.norm(dim=-1)
    if without_area == triangles:
        raise MeshError(f"{source} has {triangles} triangles, and none has an area: check its scale and its faces")
    return MeshReport(without_area, int((normal < 0.5).sum()))


def unit_size(mesh: Mesh) -> Mesh:
    """The mesh centered on the origin and scaled so that the longest side of its bounding box is 2, as nvdiffrec does."""
    return center_by_reference(mesh, torch.stack([mesh.position.amin(0), mesh.position.amax(0)]).detach(), 2.0)


def center_by_reference(mesh: Mesh, reference_aabb: torch.Tensor, scale: float) -> Mesh:
    """The mesh with the move and the scale that bring a reference's box [2, 3] (least, greatest) to the origin, with
    `scale` as its longest side. Differentiable in the positions. Raises MeshError for a box without extent.
    """
    extent = float((reference_aabb[1] - reference_aabb[0]).max())
    if not 0 < extent < float("inf"):
        raise MeshError(f"the reference box is {extent} long: it needs an extent to scale by")
    center = (reference_aabb[0] + reference_aabb[1]) / 2
    return replace(mesh, position=(mesh.position - center.to(mesh.position)) * (scale / extent))


def smooth_normals(position: torch.Tensor, triangles: torch.Tensor) -> torch.Tensor:
    """Area-weighted unit vertex normals [V, 3] of positions [V, 3] and triangles [T, 3]; +Z where a vertex has no area.

    Differentiable in the positions, with a zero gradient where there is no area. It works at any scale, because it takes
    positions relative to the mesh's extent.
    """
    if len(position) == 0:
        return torch.zeros_like(position)
    low, high = position.detach().amin(0), position.detach().amax(0)
    extent = (high - low).max()
    local = (position - low) / torch.where(extent > 0, extent, 1.0)
    a, b, c = (local[triangles[:, i]] for i in range(3))
    face = torch.linalg.cross(b - a, c - a)
    normal = torch.zeros_like(position).index_add_(0, triangles.reshape(-1), face.repeat_interleave(3, 0))
    up = torch.tensor([0.0, 0.0, 1.0]).to(position)
    short = (normal.detach().abs().amax(-1, keepdim=True) < 1e-20).expand_as(normal)
    return torch.where(short, up, F.normalize(torch.where(short, up, normal), dim=-1, eps=1e-20))
