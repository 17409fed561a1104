"""Geometry of a cube map: faces, directions and solid angles of texels.

A cube map is a tensor ``[6, R, R, C]`` with the faces in OpenGL order (+x, -x, +y, -y, +z, -z). Within a face the
second index (row) runs along ``y`` and the third (column) along ``x``, both from -1 to 1; a texel's center lies at
``(2 i + 1) / R - 1``. Directions are in the renderer's right-handed world, Y up. This is nvdiffrec's ``cube_to_dir``
(github.com/NVlabs/nvdiffrec, render/util.py), which is OpenGL's table of cube map faces.
"""

import torch
from torch import Tensor

# cube_to_dir as matrices: direction = x * FACE_X + y * FACE_Y + FACE_AXIS.
FACE_X = ((0, 0, -1), (0, 0, 1), (1, 0, 0), (1, 0, 0), (1, 0, 0), (-1, 0, 0))
FACE_Y = ((0, -1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1), (0, -1, 0), (0, -1, 0))
FACE_AXIS = ((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1))
_SMALLEST_AXIS = 1e-20


def cube_to_dir(face: int, x: Tensor, y: Tensor) -> Tensor:
    """Points of the cube's surface, not normalized: face 0..5, ``x`` and ``y`` of shape [...] in -1..1 -> [..., 3]."""
    one = torch.ones_like(x)
    parts = zip(FACE_X[face], FACE_Y[face], FACE_AXIS[face], strict=True)
    return torch.stack([x * in_x + y * in_y + one * axis for in_x, in_y, axis in parts], dim=-1)


def dir_to_cube(direction: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The inverse of `cube_to_dir`: [..., 3] (any length) -> face int64 [...], x [...], y [...] in -1..1.

    x and y are differentiable in the direction. If two axes are equally long, the first in the order x, y, z is taken. A
    zero direction gives the center of a face.
    """
    dx, dy, dz = direction.unbind(-1)
    ax, ay, az = dx.abs(), dy.abs(), dz.abs()
    is_x = (ax >= ay) & (ax >= az)
    is_y = ~is_x & (ay >= az)
    major = torch.where(is_x, dx, torch.where(is_y, dy, dz))
    negative = major < 0
    sign = torch.where(negative, -1.0, 1.0).to(direction.dtype)
    scale = 1 / major.abs().clamp(min=_SMALLEST_AXIS)
    x = torch.where(is_x, -sign * dz, torch.where(is_y, dx, sign * dx)) * scale
    y = torch.where(is_y, sign * dz, -dy) * scale
    face = torch.where(is_x, 0, torch.where(is_y, 2, 4)) + negative
    return face, x, y


def texel_centres(resolution: int, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Tensor:
    """Face coordinates of the texel centers along one axis: [R] in -1..1."""
    centers = (torch.arange(resolution, device=device, dtype=torch.float64) * 2 + 1) / resolution - 1
    return centers.to(dtype)


def texel_directions(resolution: int, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Tensor:
    """Unit directions through the texel centers: [6, R, R, 3]."""
    centers = texel_centres(resolution, device, torch.float64)
    y, x = torch.meshgrid(centers, centers, indexing="ij")
    faces = torch.stack([cube_to_dir(face, x, y) for face in range(6)])
    return torch.nn.functional.normalize(faces, dim=-1).to(dtype)


def texel_solid_angles(
    resolution: int, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Tensor:
    """Solid angles of the texels of one face in steradian, exact: [R, R]; six times their sum is 4 pi.

    The area of the rectangle from the face's center to (x, y), seen from the cube's center, is
    ``atan2(x y, sqrt(x^2 + y^2 + 1))``; a texel's area comes from the areas at its four corners. This is computed in
    float64, which has enough digits for the differences.
    """
    edges = torch.arange(resolution + 1, device=device, dtype=torch.float64) * 2 / resolution - 1
    y, x = edges[:, None], edges[None, :]
    area = torch.atan2(x * y, torch.sqrt(x * x + y * y + 1))
    return (area[1:, 1:] - area[:-1, 1:] - area[1:, :-1] + area[:-1, :-1]).to(dtype)
