"""Whole images: the mesh with its material under its light, as the camera sees it. The truth the fit is checked by."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from render.brdf import GgxTable
from render.camera import Camera
from render.light import PrefilteredLight
from render.material import ALPHA, MaterialMaps, composite, shade_material
from render.mesh import Mesh
from render.radiance import ShadingModel
from render.rasterize import visible_fragments
from render.surface import surface_points
from render.texel_lookup import lookup, mip_count, pyramid, trilinear_taps


def render_mesh(
    mesh: Mesh,
    camera: Camera,
    maps: MaterialMaps,
    light: PrefilteredLight,
    table: GgxTable,
    resolution: tuple[int, int],
    spp: int = 1,
    layers: int = 1,
    model: ShadingModel = "principled",
    background: torch.Tensor | None = None,
) -> torch.Tensor:
    """Render one view -> [H, W, 4], linear, premultiplied, row 0 at the top; differentiable in the maps and the light.

    spp         samples along each side of a pixel (2 means 4 samples); silhouettes are antialiased by their mean
    layers      depth layers composited where the maps have alpha
    background  [3] or [H, W, 3] to composite over (alpha is then 1), or None for a transparent film
    """
    height, width = resolution
    fine = (height * spp, width * spp)
    fragments = visible_fragments(camera.to_clip(mesh.position), mesh.triangles, fine, layers)
    points = surface_points(mesh, camera, fragments)
    levels = mip_count(maps.resolution)
    # The texture is looked up at the footprint of a whole pixel's share, so finer sampling sees finer detail.
    level = torch.log2((points.footprint * maps.resolution).clamp(min=1e-6))
    values = lookup(pyramid(maps.texels, levels), trilinear_taps(points.uv, level, maps.resolution, levels))
    color = shade_material(values, points, light, table, model)
    alpha = values[:, ALPHA] if maps.has_alpha else torch.ones_like(color[:, :1])

    place = (fragments.pixel, fragments.layer)
    dense_color = color.new_zeros(fine[0] * fine[1], layers, 3).index_put(place, color)
    dense_alpha = alpha.new_zeros(fine[0] * fine[1], layers, 1).index_put(place, alpha)
    image = composite(dense_color, dense_alpha).reshape(1, *fine, 4)
    image = F.avg_pool2d(image.permute(0, 3, 1, 2), spp)[0].permute(1, 2, 0)
    if background is None:
        return image
    behind = background.to(image).expand(height, width, 3)
    return torch.cat([image[..., :3] + (1 - image[..., 3:]) * behind, torch.ones_like(image[..., 3:])], dim=-1)
