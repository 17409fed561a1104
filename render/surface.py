"""Surface points: what the fragments of a rasterised view see of the mesh."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from render.camera import Camera
from render.mesh import Mesh
from render.rasterize import Fragments


@dataclass(frozen=True)
class SurfacePoints:
    """Points on the mesh, each field [..., C].

    position   [..., 3], world
    normal     [..., 3], interpolated shading normal, unit
    tangent    [..., 3], interpolated; sign [..., 1], of the bitangent
    view       [..., 3], unit, towards the eye
    uv         [..., 2], v pointing down
    footprint  [...], side of a pixel's footprint in uv units (1 = the whole texture), the root of its area
    """

    position: torch.Tensor
    normal: torch.Tensor
    tangent: torch.Tensor
    sign: torch.Tensor
    view: torch.Tensor
    uv: torch.Tensor
    footprint: torch.Tensor


def surface_points(mesh: Mesh, camera: Camera, fragments: Fragments) -> SurfacePoints:
    """The points [F, ...] of fragments of a view of the mesh."""
    corners = mesh.triangles[fragments.triangle]

    def blend(attribute: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return (attribute[corners] * weight[..., None]).sum(1)

    position = blend(mesh.position, fragments.barycentric)
    uv_dx, uv_dy = blend(mesh.uv, fragments.barycentric_dx), blend(mesh.uv, fragments.barycentric_dy)
    area = (uv_dx[:, 0] * uv_dy[:, 1] - uv_dx[:, 1] * uv_dy[:, 0]).abs()
    return SurfacePoints(
        position=position,
        normal=F.normalize(blend(mesh.normal, fragments.barycentric), dim=-1),
        tangent=blend(mesh.tangent[:, :3], fragments.barycentric),
        sign=mesh.tangent[corners[:, 0], 3:],
        view=camera.view_direction(position),
        uv=blend(mesh.uv, fragments.barycentric),
        footprint=area.sqrt(),
    )
