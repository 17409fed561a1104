"""Whole images: the mesh with its material under its light, as cameras see it. The fit is checked against them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F

from render.bsdf.ggx import ggx_table
from render.geometry.camera import Camera
from render.geometry.mesh import Mesh
from render.light.environment import PrefilteredLight
from render.material.material import Material
from render.raster.antialias import antialias, opposite_vertices
from render.raster.compositing import composite_over
from render.raster.portable import Fragments, Rasterizer, visible_fragments
from render.raster.surface import interpolate, surface_points
from render.shading.shade import PRINCIPLED_SHADING, Bsdf, Shading, shade

COMPOSITED = ("shaded", "kd_grad", "occlusion")
NEAREST = ("depth", "id", "uv")


def render_layer(
    mesh: Mesh,
    cameras: Sequence[Camera],
    fragments: Fragments,
    material: Material,
    light: PrefilteredLight | None,
    resolution: tuple[int, int],
    spp: int = 1,
    msaa: bool = False,
    bsdf: Bsdf = "pbr",
    shading: Shading = PRINCIPLED_SHADING,
    kd_grad: bool = False,
    generator: torch.Generator | None = None,
) -> dict[str, torch.Tensor]:
    """Shade one depth layer: the buffers of `shade`, one row [F, C] for each fragment.

    fragments   of one layer, at (height * spp, width * spp)
    resolution  (height, width) of the image
    msaa        shade once for each pixel and triangle, at the sample nearest to the pixel's center that hits it, with the
                pixel's own footprint; else once for each sample

    nvdiffrec shades a pixel once, at its top left sample, even where that sample misses the surface that the others hit:
    its images are shifted by up to half a pixel and dark at silhouettes. Here every triangle in a pixel has its color.
    """
    shared = None
    if msaa and spp > 1:
        chosen, shared = _shaded_once(fragments, resolution, spp)
        fragments = fragments.rows(chosen)
        wider = {name: getattr(fragments, name) * spp for name in ("barycentric_dx", "barycentric_dy")}
        fragments = replace(fragments, **wider)
    points = surface_points(mesh, cameras, fragments)
    table = ggx_table(mesh.position.device, mesh.position.dtype)
    buffers = shade(points, material, light, bsdf, shading, table, kd_grad, generator)
    return buffers if shared is None else {name: values[shared] for name, values in buffers.items()}


def _shaded_once(fragments: Fragments, resolution: tuple[int, int], spp: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The most central fragment for each pixel of the image and triangle; and for each fragment, which of them it shares."""
    width = resolution[1]
    fine_row, fine_column = fragments.pixel // (width * spp), fragments.pixel % (width * spp)
    pixel = fine_row // spp * width + fine_column // spp  # rows count over all views
    _, shared = torch.unique(torch.stack([pixel, fragments.triangle]), dim=1, return_inverse=True)
    off_center = (2 * (fine_row % spp) + 1 - spp).abs() + (2 * (fine_column % spp) + 1 - spp).abs()
    rank = (off_center << 40) | torch.arange(len(shared), device=shared.device)
    best = torch.full_like(rank, torch.iinfo(torch.int64).max).scatter_reduce(0, shared, rank, "amin")
    count = int(shared.max()) + 1 if len(shared) else 0
    return best[:count] & ((1 << 40) - 1), shared


def render_mesh(
    mesh: Mesh,
    cameras: Camera | Sequence[Camera],
    material: Material,
    light: PrefilteredLight | None,
    resolution: tuple[int, int],
    *,
    spp: int = 1,
    layers: int = 1,
    msaa: bool = False,
    background: torch.Tensor | None = None,
    bsdf: Bsdf = "pbr",
    shading: Shading = PRINCIPLED_SHADING,
    rasterizer: Rasterizer = visible_fragments,
    antialiased: bool = True,
    buffers: Sequence[str] = ("shaded",),
    generator: torch.Generator | None = None,
) -> dict[str, torch.Tensor]:
    """Render views of a mesh -> buffers [N, H, W, C], row 0 at the top; differentiable in the material and the light.

    cameras     of the N views; one camera is a batch of one
    light       as `EnvironmentLight.build_mips` makes it; None where the bsdf needs none
    spp         samples along each side of a pixel (2 means 4 samples)
    msaa        shade once for each pixel and triangle, see `render_layer`
    layers      depth layers, composited near to far where the material has alpha
    background  linear color behind, [3], [H, W, 3] or [N, H, W, 3]; None is black. Alpha stays the coverage
    rasterizer  the provider of visibility
    antialiased blend silhouettes by their exact edges (`render.raster.antialias`)
    buffers     the wanted ones: "shaded" [4], linear and premultiplied; "kd_grad" [2]; "occlusion" [2]; and of the nearest
                surface, unfiltered: "depth" [1], z/w, 1 where nothing is; "id" [1] int64, triangle + 1 or 0; "uv" [2]
    generator   draws the jitter of kd_grad

    Raises ValueError for an unknown buffer, a resolution or spp below 1, or a background of another size.
    """
    cameras = [cameras] if isinstance(cameras, Camera) else list(cameras)
    unknown = set(buffers) - {*COMPOSITED, *NEAREST}
    if unknown:
        raise ValueError(f"there is no buffer {sorted(unknown)}: choose from {[*COMPOSITED, *NEAREST]}")
    if min(*resolution, spp, layers) < 1 or not cameras:
        raise ValueError(
            f"resolution {resolution}, spp {spp}, layers {layers} and {len(cameras)} cameras must be 1 or more"
        )
    height, width = resolution
    fine = (height * spp, width * spp)
    clip = torch.stack([camera.to_clip(mesh.position) for camera in cameras])
    fragments = rasterizer(clip, mesh.triangles, fine, layers)
    wanted = [name for name in buffers if name in COMPOSITED]
    images: dict[str, torch.Tensor] = {}
    if "shaded" in wanted:
        images["shaded"] = _behind(background, len(cameras), resolution, spp).to(mesh.position)
    opposite = opposite_vertices(mesh) if antialiased and "shaded" in wanted else None
    for layer in reversed(range(layers)):
        part = fragments.rows(fragments.layer == layer)
        rows = render_layer(
            mesh, cameras, part, material, light, resolution, spp, msaa, bsdf, shading, "kd_grad" in wanted, generator
        )
        for name in wanted:
            color, alpha = rows[name][:, :-1], rows[name][:, -1:]
            if name not in images:
                images[name] = color.new_zeros(len(cameras), *fine, color.shape[1] + 1)
            shape = images[name].shape
            image = composite_over(images[name].reshape(-1, shape[-1]), part.pixel, color, alpha).reshape(shape)
            if name == "shaded" and opposite is not None:
                image = antialias(image, clip, mesh.triangles, opposite, part)
            images[name] = image
    result = {name: _reduced(images[name], spp) for name in wanted}
    nearest = [name for name in buffers if name in NEAREST]
    return result | _nearest_buffers(mesh, fragments, len(cameras), resolution, spp, nearest)


def _behind(background: torch.Tensor | None, views: int, resolution: tuple[int, int], spp: int) -> torch.Tensor:
    """The background at every sample, with alpha 0: [N, H * spp, W * spp, 4]."""
    if background is None:
        return torch.zeros(views, resolution[0] * spp, resolution[1] * spp, 4)
    shape = tuple(background.shape)
    allowed = [(3,), (*resolution, 3), (views, *resolution, 3), (1, *resolution, 3)]
    if shape not in allowed:
        raise ValueError(f"a background is one of {allowed[:3]}, not {shape}: resize it to the image")
    image = background.expand(views, *resolution, 3)
    fine = image.repeat_interleave(spp, 1).repeat_interleave(spp, 2)
    return F.pad(fine, (0, 1))


def _reduced(image: torch.Tensor, spp: int) -> torch.Tensor:
    """Means over the samples of each pixel: [N, H * spp, W * spp, C] -> [N, H, W, C]."""
    return image if spp == 1 else F.avg_pool2d(image.permute(0, 3, 1, 2), spp).permute(0, 2, 3, 1)


def _nearest_buffers(
    mesh: Mesh, fragments: Fragments, views: int, resolution: tuple[int, int], spp: int, names: Sequence[str]
) -> dict[str, torch.Tensor]:
    """Buffers of the nearest surface, at the sample just below and right of each pixel's center."""
    if not names:
        return {}
    part = fragments.rows(fragments.layer == 0)
    values = {"depth": part.depth[:, None], "id": part.triangle[:, None] + 1}
    if "uv" in names:
        values["uv"] = interpolate(mesh.uv, mesh.triangles, part)
    empty = {"depth": 1.0, "id": 0, "uv": 0.0}
    result = {}
    for name in names:
        rows = values[name]
        fine = rows.new_full((views * resolution[0] * resolution[1] * spp * spp, rows.shape[1]), empty[name])
        fine[part.pixel] = rows
        fine = fine.reshape(views, resolution[0] * spp, resolution[1] * spp, -1)
        result[name] = fine[:, spp // 2 :: spp, spp // 2 :: spp].contiguous()
    return result
