"""Shading normals: a tangent-space normal map in the interpolated frame of the surface.

`shading_normal` is MikkTSpace's decoding, which Blender shares; `prepare_shading_normal` is nvdiffrec's, with the
corner cases of its renderer: normals that face away, and surfaces seen from behind.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from render.bsdf.nvdiffrec_shading import safe_normalize

_BENT_BELOW = 0.1


def shading_normal(
    normal_map: torch.Tensor, normal: torch.Tensor, tangent: torch.Tensor, sign: torch.Tensor
) -> torch.Tensor:
    """Unit normals [..., 3] from decoded tangent-space normals (OpenGL, +Y up) and the interpolated frame.

    normal_map       [..., 3]
    normal, tangent  [..., 3], interpolated and not made orthogonal
    sign             [..., 1], of the bitangent

    This is MikkTSpace's own decoding, which Blender's Normal Map node uses: B = sign * cross(N, T).
    """
    bitangent = sign * torch.linalg.cross(normal, tangent)
    world = normal_map[..., :1] * tangent + normal_map[..., 1:2] * bitangent + normal_map[..., 2:3] * normal
    return F.normalize(world, dim=-1, eps=1e-12)


def prepare_shading_normal(
    position: torch.Tensor,
    view_position: torch.Tensor,
    perturbed_normal: torch.Tensor | None,
    smooth_normal: torch.Tensor,
    smooth_tangent: torch.Tensor,
    geometric_normal: torch.Tensor,
    two_sided: bool = True,
    opengl: bool = True,
) -> torch.Tensor:
    """nvdiffrec's shading normal [..., 3]: perturbed by a normal map, bent towards the face where it looks away.

    position, view_position  [..., 3], of the point and the eye
    perturbed_normal  [..., 3] decoded normal map, -1..1, of any length; z below 0 counts as 0; None: not perturbed
    smooth_normal, smooth_tangent  [..., 3] interpolated, of any length; geometric_normal [..., 3] of the face, unit
    two_sided  turn both normals of a face that is seen from behind
    opengl     the map's green channel points up; False: down (DirectX)

    All are broadcast against each other; the result is differentiable in all. Below N.V = 0.1 the normal is mixed
    linearly with the face's and becomes it at 0, so the result is a little shorter than one there. nvdiffrec makes the
    bitangent from the normal and the tangent without MikkTSpace's sign: on mirrored uv it turns the green channel over,
    and `shading_normal` is right. A normal, tangent or view of zero length counts as zero: no NaN in value or gradient.
    Source: nvdiffrec, render/renderutils (Munkberg et al. 2022).
    """
    view = safe_normalize(view_position - position)
    normal, tangent = safe_normalize(smooth_normal), safe_normalize(smooth_tangent)
    if perturbed_normal is not None:
        bitangent = safe_normalize(_cross(normal, tangent) if opengl else _cross(tangent, normal))
        x, y, z = perturbed_normal.chunk(3, dim=-1)
        normal = safe_normalize(x * tangent + y * bitangent + z.clamp(min=0) * normal)
    else:
        normal = safe_normalize(normal)
    if two_sided:
        is_behind = (view * geometric_normal).sum(dim=-1, keepdim=True) < 0
        normal = torch.where(is_behind, -normal, normal)
        geometric_normal = torch.where(is_behind, -geometric_normal, geometric_normal)
    share = ((view * normal).sum(dim=-1, keepdim=True) / _BENT_BELOW).clamp(0, 1)
    return torch.lerp(*_broadcast(geometric_normal, normal, share))


def _cross(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    product: torch.Tensor = torch.linalg.cross(*_broadcast(a, b), dim=-1)
    return product


def _broadcast(*tensors: torch.Tensor) -> list[torch.Tensor]:
    views: list[torch.Tensor] = torch.broadcast_tensors(*tensors)  # type: ignore[no-untyped-call]  # PyTorch does not annotate it
    return views
