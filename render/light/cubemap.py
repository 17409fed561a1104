"""Cube maps and lat-long (equirectangular) images.

The cube's own geometry is in `render.light.cube_geometry`, its seamless lookup in `render.light.cube_atlas`. This module
has their names too.
"""

import math

import torch
from torch import Tensor

from render.light.cube_atlas import CubeAtlas
from render.light.cube_geometry import cube_to_dir, dir_to_cube, texel_centres, texel_directions, texel_solid_angles

__all__ = [
    "CubeAtlas",
    "cube_to_dir",
    "cubemap_to_latlong",
    "dir_to_cube",
    "latlong_to_cubemap",
    "sample_latlong",
    "texel_centres",
    "texel_directions",
    "texel_solid_angles",
]


def latlong_to_cubemap(latlong: Tensor, resolution: int, filter: str = "area") -> Tensor:
    """Lat-long (equirectangular) image [H, W, C] -> cube map [6, R, R, C]; differentiable in the image.

    Row 0 of the image is the top (+y); column 0 is the direction +z, the middle column -z. With the renderer's axes
    this is also Blender's equirectangular mapping, so environment images stay as they are.

    filter: ``"area"`` averages the bilinearly interpolated image over the footprint of each cube texel, weighted by solid
    angle, so that it misses nothing between the texels. Its points are less than half a texel of the image apart: it keeps
    the energy of a one-texel sun within 7 %, 2 % on average. ``"linear"`` is one lookup at the center, which aliases where
    the image is finer than the cube. ``"nvdiffrec"`` is nvdiffrec's lookup, for parity: "linear" with a mistake. Within
    half a row of a pole the image wraps round to the other pole, so that the zenith gets half of its light from the
    ground. The other filters continue on the other side of the pole.

    Raises ValueError for another filter or an image that is not [H, W, C] or is empty.
    """
    if latlong.ndim != 3:
        raise ValueError(f"a lat-long image has the shape [height, width, channels], not {tuple(latlong.shape)}")
    if filter not in ("area", "linear", "nvdiffrec"):
        raise ValueError(f"filter is {filter!r}; it must be 'area', 'linear' or 'nvdiffrec'")
    if 0 in latlong.shape:
        raise ValueError(f"a lat-long image needs at least one texel and one channel, not {tuple(latlong.shape)}")
    samples = 1
    if filter == "area":
        cube_texel = 2.0 / resolution
        # Merge whole texels first if many fall on one cube texel: the blur stays below half a cube texel.
        height, width, _ = latlong.shape
        latlong = _reduce_latlong(latlong, cube_texel * height / math.pi, cube_texel * width / math.tau)
        finest = min(math.pi / latlong.shape[0], math.tau / latlong.shape[1])
        samples = max(1, math.ceil(2.2 * cube_texel / finest))
    faces = []
    centers = texel_centres(resolution * samples, latlong.device, torch.float64)
    y, x = torch.meshgrid(centers, centers, indexing="ij")
    weight = None
    if samples > 1:
        area = (1 + x * x + y * y).pow(-1.5).view(resolution, samples, resolution, samples)
        weight = (area / area.sum(dim=(1, 3), keepdim=True)).to(latlong.dtype).unsqueeze(-1)
    x, y = x.to(latlong.dtype), y.to(latlong.dtype)
    for face in range(6):
        values = sample_latlong(latlong, cube_to_dir(face, x, y), wrap_poles=filter == "nvdiffrec")
        if weight is not None:
            values = (values.view(resolution, samples, resolution, samples, -1) * weight).sum(dim=(1, 3))
        faces.append(values)
    return torch.stack(faces)


def _reduce_latlong(latlong: Tensor, rows_per_texel: float, columns_per_texel: float) -> Tensor:
    """Merge blocks of texels, weighted by solid angle, so that at least about two remain across a cube texel."""
    height, width, channels = latlong.shape
    rows = _largest_divisor(height, rows_per_texel / 2)
    columns = _largest_divisor(width, columns_per_texel / 2)
    if rows == columns == 1:
        return latlong
    edges = torch.cos(torch.arange(height + 1, dtype=torch.float64, device=latlong.device) * (math.pi / height))
    area = (edges[:-1] - edges[1:]).view(height // rows, rows, 1, 1, 1)
    weight = (area / area.sum(dim=1, keepdim=True) / columns).to(latlong.dtype)
    return (latlong.reshape(height // rows, rows, width // columns, columns, channels) * weight).sum(dim=(1, 3))


def _largest_divisor(size: int, limit: float) -> int:
    return max((d for d in range(1, max(1, int(limit)) + 1) if size % d == 0), default=1)


def sample_latlong(latlong: Tensor, direction: Tensor, wrap_poles: bool = False) -> Tensor:
    """Bilinear lookup of a lat-long image [H, W, C] in directions [..., 3] of any length -> [..., C].

    Beyond a pole it continues on the pole's other side. With ``wrap_poles`` it continues at the other pole, as in nvdiffrec.
    """
    height, width, channels = latlong.shape
    dx, dy, dz = direction.unbind(-1)
    u = torch.atan2(dx, -dz) / math.tau + 0.5
    # atan2 stays precise near the poles, acos of a normalized y does not.
    v = torch.atan2(torch.sqrt(dx * dx + dz * dz), dy) / math.pi
    if wrap_poles:
        rows = torch.cat([latlong[-1:], latlong, latlong[:1]])
        padded, pad = torch.cat([rows[:, -1:], rows, rows[:, :1]], dim=1), 1
    elif height == 1 or width < 2:
        padded, pad = latlong, 0
    else:
        half = width // 2
        rows = torch.cat([latlong[:1].roll(half, 1), latlong, latlong[-1:].roll(half, 1)])
        padded, pad = torch.cat([rows[:, -1:], rows, rows[:, :1]], dim=1), 1
    grid = torch.stack(
        [(u * width + pad) * (2 / (width + 2 * pad)) - 1, (v * height + pad) * (2 / (height + 2 * pad)) - 1], dim=-1
    )
    values = torch.nn.functional.grid_sample(
        padded.permute(2, 0, 1)[None], grid.reshape(1, 1, -1, 2), padding_mode="border", align_corners=False
    )
    return values.reshape(channels, -1).t().reshape(*direction.shape[:-1], channels)


def cubemap_to_latlong(cube: Tensor, size: tuple[int, int], nvdiffrec_rows: bool = False) -> Tensor:
    """Cube map [6, R, R, C] -> lat-long image [H, W, C], size = (H, W); bilinear and seamless.

    There is one lookup a texel: the image aliases where it is coarser than the cube.

    nvdiffrec's rows run from 1 / H to 1 - 1 / H of the half turn, half a row off at both poles, so that nvdiffrec's own
    `latlong_to_cubemap` does not undo it. Here a row is looked up at its center, (i + 1/2) / H; `nvdiffrec_rows` takes
    nvdiffrec's rows.
    """
    height, width = size
    rows = (torch.arange(height, device=cube.device, dtype=cube.dtype) + 0.5) / height
    if nvdiffrec_rows:
        rows = torch.linspace(1 / height, 1 - 1 / height, height, device=cube.device, dtype=cube.dtype)
    theta = rows * math.pi
    phi = ((torch.arange(width, device=cube.device, dtype=cube.dtype) + 0.5) * 2 / width - 1) * math.pi
    theta, phi = torch.meshgrid(theta, phi, indexing="ij")
    sine = torch.sin(theta)
    direction = torch.stack([sine * torch.sin(phi), torch.cos(theta), -sine * torch.cos(phi)], dim=-1)
    atlas = CubeAtlas([cube.shape[1]], device=cube.device)
    return atlas.sample(atlas.pack([cube]), direction, torch.zeros_like(theta))
