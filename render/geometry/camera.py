"""Cameras: OpenGL's axes (they look along -Z, +Y is up), column vectors, and a clip space whose first image row is the top."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class Camera:
    """A camera: `view` float [4, 4] maps world to camera space, `projection` float [4, 4] camera to clip space."""

    view: torch.Tensor
    projection: torch.Tensor

    @property
    def position(self) -> torch.Tensor:
        """The eye in world space, [3]."""
        inverse: torch.Tensor = torch.linalg.inv(self.view.double())
        return inverse[:3, 3].to(self.view.dtype)

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


def perspective_offcenter(
    fovy: float,
    fraction: float,
    x: float,
    y: float,
    aspect: float = 1.0,
    near: float = 0.1,
    far: float = 1000.0,
) -> torch.Tensor:
    """Projection [4, 4] of a window of the image that `perspective` would show: for crops and for tiles of large images.

    The window is `fraction` as wide and as high as the whole. `x` and `y` are the places of its left and its top edge, as
    shares of the whole. (nvdiffrec's matrix is the same. Its code says bottom edge, but flips y in only one of two places.)
    Raises ValueError for a fraction that is not positive.
    """
    if not fraction > 0:
        raise ValueError(f"fraction is {fraction}: it must be positive")
    projection = perspective(fovy, aspect, near, far)
    # Device x from (2 x - 1) to (2 (x + fraction) - 1) becomes -1 to 1; the same for y, which points down.
    center_x, center_y = 2 * x + fraction - 1, 2 * y + fraction - 1
    window = torch.tensor(
        [
            [1 / fraction, 0, 0, -center_x / fraction],
            [0, 1 / fraction, 0, -center_y / fraction],
            [0, 0, 1, 0],
            [0, 0, 0, 1],
        ]
    )
    return window @ projection


def orthographic(half_height: float, aspect: float = 1.0, near: float = 0.1, far: float = 1000.0) -> torch.Tensor:
    """Orthographic projection [4, 4] that shows `half_height` world units above and below the axis; y is flipped."""
    return torch.tensor(
        [
            [1 / (half_height * aspect), 0, 0, 0],
            [0, -1 / half_height, 0, 0],
            [0, 0, -2 / (far - near), -(far + near) / (far - near)],
            [0, 0, 0, 1],
        ]
    )


def look_at(eye: torch.Tensor, target: torch.Tensor, up: torch.Tensor | None = None) -> torch.Tensor:
    """World-to-camera matrix [4, 4] of an eye [3] that looks at a target [3]; `up` is +Y by default (+Z for a look along Y)."""
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
    """`count` perspective cameras, spread evenly on a sphere around a bounding sphere; each sees all of the bounding sphere."""
    distance = margin * radius / math.sin(fovy / 2)
    projection = perspective(fovy, 1.0, distance - 2 * radius, distance + 2 * radius)
    return [
        Camera(look_at(center + distance * d.to(center), center), projection.to(center))
        for d in fibonacci_directions(count)
    ]


def rotating_cameras(
    count: int = 50,
    radius: float = 3.0,
    fovy: float = math.radians(45),
    aspect: float = 1.0,
    near: float = 0.1,
    far: float = 1000.0,
    device: torch.device | str = "cpu",
) -> list[Camera]:
    """`count` cameras once around the Y axis through the origin, `radius` away and 0.4 radians above.

    This is the orbit on which nvdiffrec validates and shows its results (count 50). Positive angles turn the object, so the
    eye goes the other way.
    """
    projection = perspective(fovy, aspect, near, far)
    tilt = _rotation(0, 0.4)
    turns = [_rotation(1, 2 * math.pi * i / count) for i in range(count)]
    return [Camera(_pushed_back(tilt @ turn, radius), projection).to(device) for turn in turns]


def random_cameras(
    count: int,
    radius: float = 3.0,
    generator: torch.Generator | None = None,
    fovy: float = math.radians(45),
    aspect: float = 1.0,
    near: float = 0.1,
    far: float = 1000.0,
    shift: float = 0.25,
    device: torch.device | str = "cpu",
) -> list[Camera]:
    """`count` cameras for training, `radius` away from a scene that is turned at random and then moved along the camera's axes.

    As in nvdiffrec's training views, rotations are uniform (here unit quaternions of four normal numbers; nvdiffrec takes the
    cross products of two random vectors, which are uniform too), and the move along each axis is uniform within +-`shift`.
    `generator` (of the CPU) makes the cameras repeatable, on any device.
    """
    projection = perspective(fovy, aspect, near, far)
    cameras = []
    for _ in range(count):
        rotation = _rotation_of(F.normalize(torch.randn(4, generator=generator, dtype=torch.float64), dim=0))
        rotation[:3, 3] = (torch.rand(3, generator=generator, dtype=torch.float64) * 2 - 1) * shift
        cameras.append(Camera(_pushed_back(rotation, radius), projection).to(device))
    return cameras


def _pushed_back(placed: torch.Tensor, radius: float) -> torch.Tensor:
    """The view matrix, float32 [4, 4], of a scene placed before a camera `radius` away."""
    view = placed.clone()
    view[2, 3] -= radius
    return view.float()


def _rotation(axis: int, angle: float) -> torch.Tensor:
    """Rotation about x, y or z by the right-hand rule, float64 [4, 4]."""
    rotation = torch.eye(4, dtype=torch.float64)
    one, two = (axis + 1) % 3, (axis + 2) % 3
    rotation[one, one] = rotation[two, two] = math.cos(angle)
    rotation[two, one], rotation[one, two] = math.sin(angle), -math.sin(angle)
    return rotation


def _rotation_of(quaternion: torch.Tensor) -> torch.Tensor:
    """The rotation [4, 4] of a unit quaternion (w, x, y, z)."""
    w, x, y, z = quaternion.tolist()
    return torch.tensor(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w), 0],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w), 0],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y), 0],
            [0, 0, 0, 1],
        ],
        dtype=torch.float64,
    )
