"""The two providers of visibility side by side, and our operations beside nvdiffrast's own, on an NVIDIA GPU."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from support.shapes import joined, plane, sphere, studio

from render.geometry.camera import Camera, look_at, perspective
from render.images.render_mesh import render_mesh
from render.light.cube_atlas import CubeAtlas
from render.light.environment import env_from_latlong
from render.material.material import ALPHA, initial_maps
from render.raster.antialias import antialias, opposite_vertices
from render.raster.nvdiffrast import ProviderError, nvdiffrast_is_installed, nvdiffrast_rasterizer
from render.raster.portable import _snapped, visible_fragments
from render.texture.texture import Texture2D

AGREE = 1e-4
SAME_IDS = 0.999
# In pixels. Nearer to an edge vertices on a grid of 1/16 pixel decide otherwise than exact ones; on the same grid only
# centres that lie on an edge may go to either side (all that differ in the recorded view of Spot).
NEAR_AN_EDGE = {None: 1 / 16, 16: 1e-4}
EDGE_TOLERANCE = 1e-2


def test_it_says_where_it_cannot_run():
    with pytest.raises(ProviderError, match="CUDA device"):
        nvdiffrast_rasterizer("cpu")
    if not nvdiffrast_is_installed():
        with pytest.raises(ProviderError, match="not installed"):
            nvdiffrast_rasterizer("cuda")


def cameras(device: str) -> list[Camera]:
    eyes = torch.tensor([[0.0, 0, 4], [2, 2.5, -1.5], [-3, -1, 1]])
    return [Camera(look_at(eye, torch.zeros(3)), perspective(math.radians(40), 4 / 3)).to(device) for eye in eyes]


def clip_and_mesh(device: str):
    mesh = joined(sphere(20), plane(1.6, -0.6), sphere(9, 0.4, (0.9, 0.8, 0.3))).to(device)
    return torch.stack([camera.to_clip(mesh.position) for camera in cameras(device)]), mesh


def clear_of_edges(clip, triangles, size, layers, subpixels, near) -> torch.Tensor:
    """Places [layers * pixels] whose pixel has no edge of a triangle it shows within `near` pixels of its centre."""
    drawn = clip if subpixels is None else _snapped(clip, size, subpixels)
    fragments = visible_fragments(drawn, triangles, size, layers)
    slope = torch.hypot(fragments.barycentric_dx, fragments.barycentric_dy).clamp(min=1e-12)
    distance = (fragments.barycentric / slope).amin(-1)
    nearest = torch.zeros(len(clip) * size[0] * size[1], device=clip.device)
    nearest[fragments.pixel] = torch.inf
    nearest.scatter_reduce_(0, fragments.pixel, distance, "amin")
    return (nearest > near).repeat(layers)


@pytest.mark.cuda
@pytest.mark.parametrize("size", [(96, 128), (37, 61)])
@pytest.mark.parametrize("layers", [1, 3])
def test_the_providers_agree(size, layers):
    clip, mesh = clip_and_mesh("cuda")
    theirs = nvdiffrast_rasterizer("cuda")(clip, mesh.triangles, size, layers)
    for subpixels, near in NEAR_AN_EDGE.items():
        ours = visible_fragments(clip, mesh.triangles, size, layers, subpixels)
        places = 3 * size[0] * size[1] * layers

        def laid_out(fragments, values, places=places):
            image = values.new_zeros(places, *values.shape[1:])
            image[fragments.layer * (places // layers) + fragments.pixel] = values
            return image

        ids = [laid_out(fragments, fragments.triangle + 1) for fragments in (ours, theirs)]
        same = ids[0] == ids[1]
        clear = clear_of_edges(clip, mesh.triangles, size, layers, subpixels, near)
        assert float(clear.float().mean()) > 0.2
        assert float(same[clear].float().mean()) > SAME_IDS
        both = same & (ids[0] > 0)
        for name in ("barycentric", "depth", "barycentric_dx", "barycentric_dy"):
            pair = [laid_out(fragments, getattr(fragments, name))[both] for fragments in (ours, theirs)]
            torch.testing.assert_close(*pair, rtol=AGREE, atol=AGREE)


@pytest.mark.cuda
def test_whole_images_of_the_providers_agree():
    mesh = clip_and_mesh("cuda")[1]
    with torch.no_grad():
        light = env_from_latlong(torch.from_numpy(studio()), 32, "cuda").build_mips()
    maps = initial_maps(32, alpha=True, device="cuda")
    maps.texels[..., ALPHA] = torch.rand(32, 32, 1, generator=torch.Generator().manual_seed(0)).cuda()
    options = {"layers": 3, "buffers": ("shaded", "id"), "rasterizer": nvdiffrast_rasterizer("cuda")}
    theirs = render_mesh(mesh, cameras("cuda"), maps, light, (96, 128), **options)
    options["rasterizer"] = lambda *arguments: visible_fragments(*arguments, subpixels=16)
    ours = render_mesh(mesh, cameras("cuda"), maps, light, (96, 128), **options)
    same = (ours["id"] == theirs["id"])[..., 0]
    difference = (ours["shaded"] - theirs["shaded"])[same].abs().amax(-1)
    assert float((difference < AGREE).float().mean()) > SAME_IDS


@pytest.mark.cuda
def test_silhouettes_look_like_nvdiffrasts():
    import nvdiffrast.torch

    clip, mesh = clip_and_mesh("cuda")
    raster, _ = nvdiffrast.torch.rasterize(
        nvdiffrast.torch.RasterizeCudaContext(), clip.float().contiguous(), mesh.triangles.int(), [96, 128]
    )
    fragments = nvdiffrast_rasterizer("cuda")(clip, mesh.triangles, (96, 128), 1)
    image = torch.rand(3, 96, 128, 4, generator=torch.Generator().manual_seed(0)).cuda()
    welded = torch.unique(mesh.position, dim=0, return_inverse=True)[1]
    shared = welded[mesh.triangles].int().contiguous()
    position = torch.zeros(3, int(welded.max()) + 1, 4, device="cuda")
    position[:, welded] = clip.float()
    theirs = nvdiffrast.torch.antialias(image, raster, position.contiguous(), shared)
    ours = antialias(image, clip, mesh.triangles, opposite_vertices(mesh), fragments)
    assert float((theirs - image).abs().max()) > 0.3
    assert float((ours - theirs).abs().mean()) < AGREE
    assert float(((ours - theirs).abs() < EDGE_TOLERANCE).float().mean()) > 0.9999


@pytest.mark.cuda
@pytest.mark.parametrize("size", [(64, 128), (8, 8)])
def test_texture_lookups_are_nvdiffrasts(size):
    import nvdiffrast.torch

    generator = torch.Generator().manual_seed(0)
    texels = torch.rand(1, *size, 4, generator=generator).cuda().requires_grad_()
    uv = (torch.rand(1, 50, 60, 2, generator=generator) * 3 - 1).cuda()
    uv_da = (torch.randn(1, 50, 60, 4, generator=generator) * 0.05).cuda()
    texture = Texture2D(texels.detach())
    weight = torch.rand(1, 50, 60, 4, generator=generator).cuda()
    ours = texture.sample(uv, uv_da)
    (ours * weight).sum().backward()
    levels = [level.detach().requires_grad_() for level in texture.pyramid()]
    theirs = nvdiffrast.torch.texture(levels[0], uv, uv_da, mip=levels[1:], filter_mode="linear-mipmap-linear")
    torch.testing.assert_close(ours.detach(), theirs.detach(), rtol=AGREE, atol=AGREE)


@pytest.mark.cuda
def test_cube_lookups_are_nvdiffrasts():
    import nvdiffrast.torch

    generator = torch.Generator().manual_seed(0)
    sizes = (32, 16, 8, 4)
    levels = [torch.rand(6, size, size, 3, generator=generator).cuda().requires_grad_() for size in sizes]
    direction = torch.randn(1, 80, 90, 3, generator=generator).cuda()
    level = (torch.rand(1, 80, 90, generator=generator) * 3).cuda()
    weight = torch.rand(1, 80, 90, 3, generator=generator).cuda()
    atlas = CubeAtlas(sizes, device="cuda")
    ours = atlas.sample(atlas.pack(levels), direction, level)
    theirs = nvdiffrast.torch.texture(
        levels[0][None],
        direction,
        mip=[part[None] for part in levels[1:]],
        mip_level_bias=level,
        filter_mode="linear-mipmap-linear",
        boundary_mode="cube",
    )
    torch.testing.assert_close(ours, theirs, rtol=AGREE, atol=AGREE)
    gradients = [torch.autograd.grad((image * weight).sum(), levels) for image in (ours, theirs)]
    # Where three faces meet nvdiffrast adds too little to the texels there: lookups are linear in the texels, so the
    # gradient times the texels is the sum of the weighted image, which its gradient misses by 1.2 and ours by 4e-6.
    for level_gradient, their_gradient in zip(*gradients, strict=True):
        away = torch.ones_like(level_gradient, dtype=torch.bool)
        for rows, columns in product((slice(0, 2), slice(-2, None)), repeat=2):
            away[:, rows, columns] = False
        ours_away, theirs_away = level_gradient[away], their_gradient[away]
        if theirs_away.numel():
            assert float((ours_away - theirs_away).norm() / theirs_away.norm()) < 1e-4
    exact = (ours.double() * weight).sum()
    linear = sum((part.double() * level).sum() for part, level in zip(gradients[0], levels, strict=True))
    assert abs(float(linear - exact)) < 1e-3
