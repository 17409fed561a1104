"""The scenes that constants of the fit are chosen by. No figure of README or docs is of them, and none of the scenes that
figures are of is among them: a torus and a dented cube under a sky of clouds and lamps, with even and with varied surfaces."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from benchmarks.cases import Case
from benchmarks.noise_maps import Detail, detailed, value_noise
from render.geometry.mesh import Mesh, smooth_normals
from render.geometry.tangents import compute_tangents
from render.light.environment import env_from_latlong
from render.material.material import KD, METALLIC, ROUGHNESS, initial_maps
from render.shading.shade import Shading

SURFACES = {
    "even paint": (0.0, 0.45, Detail(color=14)),
    "even metal": (1.0, 0.3, Detail(color=6)),
    "fine paint": (0.0, 0.35, Detail(color=100)),
    "fine metal": (1.0, 0.25, Detail(color=100)),
    "dark metal": (1.0, 0.2, Detail(color=60, color_range=(0.01, 1.3))),
    "dark paint": (0.0, 0.25, Detail(color=60, color_range=(0.01, 1.3))),
    "varied": (0.0, 0.5, Detail(roughness=18, roughness_range=(0.1, 0.9), metal=7, normal=50, slope=0.2, color=30)),
    "half varied": (0.0, 0.4, Detail(roughness=5, roughness_range=(0.3, 0.7), metal=4, normal=9, slope=0.1, color=90)),
}


def tuning_case(
    name: str, resolution: int, light_resolution: int, model: str, device: torch.device | str, mesh: str = "torus"
) -> Case:
    """One of `SURFACES` on one of `MESHES`."""
    metallic, roughness, detail = SURFACES[name]
    maps = initial_maps(resolution, alpha=False)
    maps.texels[..., KD] = torch.tensor([0.7, 0.5, 0.4])
    maps.texels[..., ROUGHNESS], maps.texels[..., METALLIC] = roughness, metallic
    maps = detailed(maps, detail, seed=7)
    maps.texels = maps.texels.to(device)
    light = env_from_latlong(sky(), light_resolution, torch.device(device))
    return Case(name, MESHES[mesh]().to(device), maps, light, Shading(model=model))


def torus(around: int = 96, across: int = 48, radius: float = 0.72, thickness: float = 0.34) -> Mesh:
    """A torus with smooth normals, the texture around it once each way."""
    u, v = torch.meshgrid(torch.linspace(0, 1, around + 1), torch.linspace(0, 1, across + 1), indexing="ij")
    a, b = 2 * math.pi * u, 2 * math.pi * v
    normal = torch.stack([b.cos() * a.cos(), b.sin(), b.cos() * a.sin()], -1)
    center = radius * torch.stack([a.cos(), torch.zeros_like(a), a.sin()], -1)
    corner = torch.arange((around + 1) * (across + 1)).reshape(around + 1, across + 1)
    c = [corner[:-1, :-1], corner[:-1, 1:], corner[1:, 1:], corner[1:, :-1]]
    triangles = torch.cat(
        [torch.stack([c[0], c[1], c[2]], -1).reshape(-1, 3), torch.stack([c[0], c[2], c[3]], -1).reshape(-1, 3)]
    )
    position = center + thickness * normal
    return _mesh(position.reshape(-1, 3), normal.reshape(-1, 3), torch.stack([u, v], -1).reshape(-1, 2), triangles)


def dented_cube(cells: int = 40) -> Mesh:
    """A cube blown up to a ball, with deep dents, each side an island of the UV map of its own size: many seams, and places
    that few views see."""
    t = torch.linspace(-1, 1, cells + 1)
    v, u = torch.meshgrid(t, t, indexing="ij")
    sides = []
    for axis in range(3):
        for sign in (1.0, -1.0):
            side = [u, v, torch.full_like(u, sign)]
            sides.append(torch.stack([side[(k + 2 - axis) % 3] for k in range(3)], -1))
    direction = F.normalize(torch.stack(sides).reshape(-1, 3), dim=-1)
    centers = F.normalize(torch.randn(9, 3, generator=torch.Generator().manual_seed(3)), dim=-1)
    depth = torch.exp(-(1 - direction @ centers.T) / 0.03).sum(-1, keepdim=True)
    position = direction * (1 - 0.35 * depth.clamp(max=1.5))
    corner = torch.arange(6 * (cells + 1) ** 2).reshape(6, cells + 1, cells + 1)
    a, b, c, d = corner[:, :-1, :-1], corner[:, :-1, 1:], corner[:, 1:, 1:], corner[:, 1:, :-1]
    triangles = torch.cat([torch.stack([a, b, c], -1).reshape(-1, 3), torch.stack([a, c, d], -1).reshape(-1, 3)])
    first = position[triangles]
    facing = torch.linalg.cross(first[:, 1] - first[:, 0], first[:, 2] - first[:, 0])
    triangles = torch.where(((facing * first[:, 0]).sum(-1) < 0)[:, None], triangles.flip(1), triangles)
    # Sides share positions: smooth normals over what lies at one place.
    _, shared = torch.unique((position * 1e5).round(), dim=0, return_inverse=True)
    one = torch.zeros(int(shared.max()) + 1, 3)
    one[shared] = position
    normal = smooth_normals(one, shared[triangles])[shared]
    corners = (
        (0.0, 0.0, 0.6),
        (0.62, 0.0, 0.36),
        (0.62, 0.38, 0.36),
        (0.0, 0.62, 0.36),
        (0.38, 0.76, 0.22),
        (0.62, 0.76, 0.2),
    )
    square = torch.stack([u, v], -1).reshape(-1, 2) * 0.5 + 0.5
    uv = torch.cat([torch.tensor(place[:2]) + place[2] * square for place in corners])
    return _mesh(position, normal, uv, triangles)


def _mesh(position: torch.Tensor, normal: torch.Tensor, uv: torch.Tensor, triangles: torch.Tensor) -> Mesh:
    material = torch.zeros(len(triangles), dtype=torch.int64)
    return compute_tangents(
        Mesh(position, F.normalize(normal, dim=-1), torch.zeros(len(position), 4), uv, triangles, material)
    )


MESHES = {"torus": torus, "dented cube": dented_cube}


def sky(height: int = 256) -> torch.Tensor:
    """A latlong image [H, 2 H, 3]: a soft sky with clouds, ground, and three lamps of different sizes and colors."""
    generator = torch.Generator().manual_seed(11)
    width = 2 * height
    v, u = torch.meshgrid((torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij")
    clouds = torch.stack([value_noise(width, 12, generator)[:height] for _ in range(3)], dim=-1)
    image = (0.25 + 0.8 * (1 - v[..., None])) * (0.5 + clouds) * torch.tensor([0.8, 0.9, 1.1])
    for at_u, at_v, size, color in (
        (0.2, 0.25, 0.03, (30.0, 26.0, 20.0)),
        (0.6, 0.35, 0.06, (3.0, 6.0, 9.0)),
        (0.85, 0.6, 0.04, (8.0, 3.0, 2.0)),
    ):
        distance = ((u - at_u) * 2).square() + (v - at_v).square()
        image += torch.exp(-distance / (2 * size * size))[..., None] * torch.tensor(color)
    return image
