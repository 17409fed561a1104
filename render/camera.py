"""Cameras: OpenGL's axes (looking along -Z, +Y up), column vectors, and a clip space whose first image row is the top."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class Camera:
    """A camera: `view` float [4, 4] takes world to camera space, `projection` float [4, 4] camera to clip space."""

    view: torch.Tensor
    projection: torch.Tensor

    @property
    def position(self) -> torch.Tensor:
        """The eye in world space, [3]."""
        return torch.linalg.inv(self.view.double())[:3, 3].to(self.view.dtype)

    @property
    def is_perspective(self) -> bool:
        return bool(self.projection[3, 3] == 0)

    def to_clip(self, position: torch.Tensor) -> torch.Tensor:
        """World positions [V, 3] in clip space, [V, 4], in float64."""
        transform = self.projection.double() @ self.view.double()
        return position.double() @ transform[:, :3].T + transform[:, 3]

    def view_direction(self, position: torch.Tensor) -> torch.Tensor:
        """Unit vectors [..., 3] from world positions [..., 3] towards the eye (parallel ones for an orthographic camera)."""
        if self.is_perspective:
            return F.normalize(self.position - position, dim=-1)
        return F.normalize(self.view[2, :3], dim=0).expand_as(position)

    def to(self, device: torch.device | str) -> Camera:
        return Camera(self.view.to(device), self.projection.to(device))


def perspective(fovy: float, aspect: float = 1.0, near: float = 0.1, far: float = 1000.0) -> torch.Tensor:
    """Perspective projection [4, 4]; `fovy` in radians; y is flipped, so image row 0 is the top."""
    t = math.tan(fovy / 2)
    return torch.tensor(
        [
            [1 / (t * aspect), 0, 0, 0],
            [0, -1 / t, 0, 0],
            [0, 0, -(far + near) / (far - near), -2 * far * near / (far - near)],
            [0, 0, -1, 0],
        ]
    )


def orthographic(half_height: float, aspect: float = 1.0, near: float = 0.1, far: float = 1000.0) -> torch.Tensor:
    """Orthographic projection [4, 4] showing `half_height` world units above and below the axis; y is flipped."""
    return torch.tensor(
        [
            [1 / (half_height * aspect), 0, 0, 0],
            [0, -1 / half_height, 0, 0],
            [0, 0, -2 / (far - near), -(far + near) / (far - near)],
            [0, 0, 0, 1],
        ]
    )


def look_at(eye: torch.Tensor, target: torch.Tensor, up: torch.Tensor | None = None) -> torch.Tensor:
    """World-to-camera matrix [4, 4] of an eye at [3] looking at [3]; `up` defaults to +Y (to +Z when looking along Y)."""
    backward = F.normalize(eye - target, dim=0)
    if up is None:
        along_y = abs(float(backward[1])) > 0.999
        up = torch.tensor([0.0, 0.0, 1.0] if along_y else [0.0, 1.0, 0.0]).to(backward)
    right = F.normalize(torch.linalg.cross(up, backward), dim=0)
    rotation = torch.stack([right, torch.linalg.cross(backward, right), backward])
    view = torch.eye(4).to(eye)
    view[:3, :3] = rotation
    view[:3, 3] = -rotation @ eye
    return view


def fibonacci_directions(count: int) -> torch.Tensor:
    """`count` unit vectors spread evenly over the sphere, [count, 3] (golden-angle spiral around Y)."""
    index = torch.arange(count, dtype=torch.float64) + 0.5
    y = 1 - 2 * index / count
    angle = index * math.pi * (3 - math.sqrt(5))
    radius = (1 - y * y).sqrt()
    return torch.stack([radius * torch.sin(angle), y, radius * torch.cos(angle)], dim=-1).float()


def cameras_around(
    center: torch.Tensor, radius: float, count: int, fovy: float = math.radians(45), margin: float = 1.05
) -> list[Camera]:
    """`count` perspective cameras on a sphere around a bounding sphere, which each sees whole, well spread."""
    distance = margin * radius / math.sin(fovy / 2)
    projection = perspective(fovy, 1.0, distance - 2 * radius, distance + 2 * radius)
    return [
        Camera(look_at(center + distance * d.to(center), center), projection.to(center))
        for d in fibonacci_directions(count)
    ]
