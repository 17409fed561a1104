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
    normal     [..., 3], interpolated shading normal, unit; on a triangle seen from behind the whole frame is turned
               round, so that it faces the eye as Cycles has it
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
    view = camera.view_direction(position)
    front = (mesh.geometric_normal[fragments.triangle] * view).sum(-1, keepdim=True) >= 0
    facing = torch.where(front, 1.0, -1.0).to(position)
    area = (uv_dx[:, 0] * uv_dy[:, 1] - uv_dx[:, 1] * uv_dy[:, 0]).abs()
    return SurfacePoints(
        position=position,
        normal=facing * F.normalize(blend(mesh.normal, fragments.barycentric), dim=-1),
        tangent=facing * blend(mesh.tangent[:, :3], fragments.barycentric),
        sign=facing * mesh.tangent[corners[:, 0], 3:],
        view=view,
        uv=blend(mesh.uv, fragments.barycentric),
        footprint=area.sqrt(),
    )
