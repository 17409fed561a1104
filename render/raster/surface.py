"""Surface points: what the fragments of rasterized views see of the mesh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from render.geometry.camera import Camera
from render.geometry.mesh import Mesh
from render.raster.portable import Fragments


@dataclass(frozen=True)
class ShadingPoints:
    """What shading must know about points on the mesh, each field [..., C].

    normal     [..., 3], interpolated shading normal, unit; on a triangle seen from behind the whole frame is turned
               around to face the eye, as in Cycles
    tangent    [..., 3], interpolated; sign [..., 1], of the bitangent
    view       [..., 3], unit, towards the eye
    uv         [..., 2], v pointing down
    footprint  [...], side of a pixel's footprint in uv units (1 = the whole texture): the square root of its area
    """

    normal: torch.Tensor
    tangent: torch.Tensor
    sign: torch.Tensor
    view: torch.Tensor
    uv: torch.Tensor
    footprint: torch.Tensor


@dataclass(frozen=True)
class SurfacePoints(ShadingPoints):
    """Points with everything that a renderer's G-buffer holds.

    position          [..., 3], world
    geometric_normal  [..., 3], of the triangle, unit, turned to the eye as the frame is
    uv_da             [..., 4], screen derivatives du/dx, du/dy, dv/dx, dv/dy per pixel, x to the right and y down
    facing            [..., 1], -1 where the frame was turned around, else 1
    """

    position: torch.Tensor
    geometric_normal: torch.Tensor
    uv_da: torch.Tensor
    facing: torch.Tensor


def interpolate(attribute: torch.Tensor, triangles: torch.Tensor, fragments: Fragments) -> torch.Tensor:
    """A vertex attribute [V, C] at the fragments, perspective-correct: [F, C]."""
    return _blend(attribute, triangles[fragments.triangle], fragments.barycentric)


def surface_points(mesh: Mesh, cameras: Camera | Sequence[Camera], fragments: Fragments) -> SurfacePoints:
    """The points [F, ...] of fragments; `cameras[n]` is the camera of the fragments' view n."""
    corners = mesh.triangles[fragments.triangle]
    position = _blend(mesh.position, corners, fragments.barycentric)
    uv_dx = _blend(mesh.uv, corners, fragments.barycentric_dx)
    uv_dy = _blend(mesh.uv, corners, fragments.barycentric_dy)
    view = _view_direction([cameras] if isinstance(cameras, Camera) else cameras, fragments.view, position)
    a, b, c = mesh.position[corners].unbind(1)
    geometric_normal = F.normalize(torch.linalg.cross(b - a, c - a), dim=-1)
    front = (geometric_normal * view).sum(-1, keepdim=True) >= 0
    facing = torch.where(front, 1.0, -1.0).to(position)
    area = (uv_dx[:, 0] * uv_dy[:, 1] - uv_dx[:, 1] * uv_dy[:, 0]).abs()
    return SurfacePoints(
        position=position,
        normal=facing * F.normalize(_blend(mesh.normal, corners, fragments.barycentric), dim=-1),
        tangent=facing * _blend(mesh.tangent[:, :3], corners, fragments.barycentric),
        sign=facing * mesh.tangent[corners[:, 0], 3:],
        view=view,
        uv=_blend(mesh.uv, corners, fragments.barycentric),
        footprint=area.sqrt(),
        geometric_normal=facing * geometric_normal,
        uv_da=torch.stack([uv_dx[:, 0], uv_dy[:, 0], uv_dx[:, 1], uv_dy[:, 1]], dim=-1),
        facing=facing,
    )


def _blend(attribute: torch.Tensor, corners: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return (attribute[corners] * weight[..., None]).sum(1)


def _view_direction(cameras: Sequence[Camera], view: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
    """Unit vectors [F, 3] from positions [F, 3] towards the eye of the view [F] that sees them."""
    if len(cameras) == 1:
        return cameras[0].view_direction(position)
    # Towards w * eye - position: a point for a perspective camera, a direction at infinity for an orthographic one.
    is_point = torch.tensor([[float(camera.is_perspective)] for camera in cameras]).to(position)
    eye = torch.stack([c.position if c.is_perspective else F.normalize(c.view[2, :3], dim=0) for c in cameras])
    return F.normalize(eye.to(position)[view] - is_point[view] * position, dim=-1)
