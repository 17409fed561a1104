"""Meshes whose every property is known, for tests."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch

from render.geometry.mesh import Mesh, smooth_normals
from render.geometry.tangents import compute_tangents


def _with_tangents(position, normal, uv, triangles) -> Mesh:
    material = torch.zeros(len(triangles), dtype=torch.int64)
    return compute_tangents(Mesh(position, normal, torch.zeros(len(position), 4), uv, triangles, material))


def _grid(rows: int, columns: int) -> torch.Tensor:
    corner = torch.arange((rows + 1) * (columns + 1)).reshape(rows + 1, columns + 1)
    a, b, c, d = corner[:-1, :-1], corner[:-1, 1:], corner[1:, 1:], corner[1:, :-1]
    return torch.cat([torch.stack([a, d, c], -1).reshape(-1, 3), torch.stack([a, c, b], -1).reshape(-1, 3)])


def sphere(rings: int = 24, radius: float = 1.0, center: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Mesh:
    """A sphere of `rings` x 2 `rings` quads, exact normals, the texture around it once."""
    v, u = torch.meshgrid(torch.linspace(0, 1, rings + 1), torch.linspace(0, 1, 2 * rings + 1), indexing="ij")
    theta, phi = v * math.pi, u * 2 * math.pi
    normal = torch.stack([theta.sin() * phi.sin(), theta.cos(), theta.sin() * phi.cos()], -1).reshape(-1, 3)
    return _with_tangents(
        normal * radius + torch.tensor(center), normal, torch.stack([u, v], -1).reshape(-1, 2), _grid(rings, 2 * rings)
    )


def plane(half: float = 1.0, height: float = 0.0, cells: int = 8, up: float = 1.0) -> Mesh:
    """A square in x and z at a height, facing up (or down for up = -1), u along x and v along z."""
    z, x = torch.meshgrid(torch.linspace(-1, 1, cells + 1), torch.linspace(-1, 1, cells + 1), indexing="ij")
    position = torch.stack([x * half, torch.full_like(x, height), z * half], -1).reshape(-1, 3)
    normal = torch.tensor([0.0, up, 0.0]).expand_as(position).contiguous()
    return _with_tangents(position, normal, torch.stack([x, z], -1).reshape(-1, 2) * 0.5 + 0.5, _grid(cells, cells))


def bowl(rings: int = 24) -> Mesh:
    """The lower half of a unit ball, an open shell with its normals outside."""
    ball = sphere(rings)
    return replace(
        ball,
        triangles=(kept := ball.triangles[(ball.position[ball.triangles][..., 1] < 1e-4).all(-1)]),
        material=torch.zeros(len(kept), dtype=torch.int64),
    )


def inside_out(mesh: Mesh) -> Mesh:
    """The mesh with all faces turned around, as Blender's Flip does it."""
    return _with_tangents(mesh.position, -mesh.normal, mesh.uv, mesh.triangles.flip(1))


def partly_turned(mesh: Mesh, turned: torch.Tensor) -> Mesh:
    """The mesh with some faces (bool [T]) turned around and the normals that this leaves: neighbors cancel out."""
    triangles = torch.where(turned[:, None], mesh.triangles.flip(1), mesh.triangles)
    return _with_tangents(mesh.position, smooth_normals(mesh.position, triangles), mesh.uv, triangles)


def moebius(turns: int = 64, across: int = 6) -> Mesh:
    """A Moebius strip whose vertices are shared where it is glued: there its faces look opposite ways."""
    angle, w = torch.meshgrid(
        torch.arange(turns) * (2 * math.pi / turns), torch.linspace(-0.5, 0.5, across + 1), indexing="ij"
    )
    reach = 1 + w * (angle / 2).cos()
    position = torch.stack([reach * angle.cos(), w * (angle / 2).sin(), reach * angle.sin()], -1).reshape(-1, 3)
    index = torch.arange(turns * (across + 1)).reshape(turns, across + 1)
    index = torch.cat([index, index[:1].flip(1)])
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    triangles = torch.cat([torch.stack([a, d, c], -1).reshape(-1, 3), torch.stack([a, c, b], -1).reshape(-1, 3)])
    uv = torch.stack([angle / (2 * math.pi), w + 0.5], -1).reshape(-1, 2)
    return _with_tangents(position, smooth_normals(position, triangles), uv, triangles)


def joined(*meshes: Mesh) -> Mesh:
    """Several meshes as one."""
    offsets = np.cumsum([0] + [len(mesh.position) for mesh in meshes])
    parts = {name: torch.cat([getattr(m, name) for m in meshes]) for name in Mesh.__dataclass_fields__}
    parts["triangles"] = torch.cat([m.triangles + int(o) for m, o in zip(meshes, offsets, strict=False)])
    return Mesh(**parts)


def wire_arrays(mesh: Mesh, environment: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """The arrays of a job, as the add-on sends them (uv pointing up)."""
    arrays = {
        "vertex_position": mesh.position.numpy(),
        "vertex_normal": mesh.normal.numpy(),
        "vertex_tangent": mesh.tangent.numpy(),
        "vertex_uv": torch.stack([mesh.uv[:, 0], 1 - mesh.uv[:, 1]], -1).numpy(),
        "triangles": mesh.triangles.numpy().astype(np.int32),
        "triangle_material": mesh.material.numpy().astype(np.int32),
    }
    return arrays if environment is None else arrays | {"environment": environment}


def studio(height: int = 32) -> np.ndarray:
    """A smooth equirectangular environment with a soft key, a fill and a sky, float32 [H, 2 H, 3]."""
    v, u = np.mgrid[0:height, 0 : 2 * height] + 0.5
    theta, phi = v / height * np.pi, u / height * np.pi
    key = np.exp(-((theta - 0.9) ** 2 + (phi - 2.0) ** 2) * 4)
    fill = np.exp(-((theta - 1.4) ** 2 + (phi - 5.0) ** 2) * 2)
    sky = 0.3 + 0.3 * np.cos(theta)
    return np.stack([4 * key + 0.5 * fill + sky, 3.5 * key + fill + sky, 3 * key + 1.5 * fill + sky], -1).astype(
        np.float32
    )
