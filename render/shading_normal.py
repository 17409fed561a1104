"""Shading normals: a tangent-space normal map in the interpolated frame of the surface."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def shading_normal(
    normal_map: torch.Tensor, normal: torch.Tensor, tangent: torch.Tensor, sign: torch.Tensor
) -> torch.Tensor:
    """Unit normals [..., 3] from decoded tangent-space normals (OpenGL, +Y up) and the interpolated frame.

    normal_map  [..., 3]; normal, tangent  [..., 3], interpolated and not made orthogonal; sign [..., 1], of the bitangent.
    MikkTSpace's own decoding, the one Blender's Normal Map node uses: B = sign * cross(N, T).
    """
    bitangent = sign * torch.linalg.cross(normal, tangent)
    world = normal_map[..., :1] * tangent + normal_map[..., 1:2] * bitangent + normal_map[..., 2:3] * normal
    return F.normalize(world, dim=-1, eps=1e-12)
