"""Whole images: alpha, background, antialiasing, layers, surface points against nvdiffrast, and gradients."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.shapes import joined, plane, sphere, studio

from render.geometry.camera import Camera, look_at, orthographic, perspective
from render.geometry.mesh import Mesh
from render.images.render_mesh import render_mesh
from render.images.render_uv import render_uv
from render.light.environment import EnvironmentLight, env_from_latlong
from render.material.material import (
    ALPHA,
    KD,
    METALLIC,
    NORMAL,
    ROUGHNESS,
    FieldMaterial,
    MaterialMaps,
    initial_maps,
    project_,
)
from render.raster.compositing import composite
from render.raster.portable import visible_fragments
from render.raster.surface import surface_points


@pytest.fixture(scope="module")
def furnace():
    with torch.no_grad():
        return EnvironmentLight(torch.ones(6, 32, 32, 3)).build_mips()


@pytest.fixture(scope="module")
def studio_light():
    with torch.no_grad():
        return env_from_latlong(torch.from_numpy(studio()), 32).build_mips()


@pytest.fixture(scope="module")
def front() -> Camera:
    return Camera(look_at(torch.tensor([0.0, 0, 4]), torch.zeros(3)), perspective(math.radians(40)))


@pytest.fixture(scope="module")
def above() -> Camera:
    """Straight down on a square of half width 1, which fills the view."""
    return Camera(look_at(torch.tensor([0.0, 3, 0]), torch.zeros(3)), orthographic(1.0, near=0.1, far=10))


def white_metal(resolution: int = 16, alpha: bool = False) -> MaterialMaps:
    maps = initial_maps(resolution, alpha, torch.ones(3))
    maps.texels[..., METALLIC] = 1
    return maps


def render(mesh: Mesh, camera: Camera, maps: MaterialMaps, light, size=(48, 48), **options) -> torch.Tensor:
    options.setdefault("antialiased", False)
    return render_mesh(mesh, camera, maps, light, size, **options)["shaded"][0]


def test_a_white_metal_ball_in_a_white_furnace_is_a_white_disc(furnace, front):
    image = render(sphere(32), front, white_metal(), furnace)
    # The silhouette is the tangent cone of the ball: a disc of radius tan(asin(1 / 4)) / tan(20 degrees).
    radius = math.tan(math.asin(1 / 4)) / math.tan(math.radians(20))
    assert float(image[..., 3].mean()) == pytest.approx(math.pi * radius**2 / 4, abs=0.01)
    assert set(image[..., 3].unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(image[..., :3], image[..., 3:].expand(48, 48, 3), rtol=0, atol=0.01)


def test_a_background_shows_where_the_object_is_not(furnace, front):
    film = render(sphere(16), front, white_metal(), furnace)
    color = torch.tensor([0.1, 0.4, 0.9])
    image = render(sphere(16), front, white_metal(), furnace, background=color)
    assert torch.equal(image[..., 3], film[..., 3])
    torch.testing.assert_close(image[..., :3], film[..., :3] + (1 - film[..., 3:]) * color)
    picture = torch.rand(48, 48, 3)
    outside = film[..., 3] == 0
    over = render(sphere(16), front, white_metal(), furnace, background=picture)
    torch.testing.assert_close(over[outside][:, :3], picture[outside])


def test_a_background_has_the_size_of_the_image(furnace, front):
    with pytest.raises(ValueError, match="resize it"):
        render(sphere(4), front, white_metal(), furnace, (8, 8), background=torch.zeros(4, 4, 3))


@pytest.mark.parametrize("msaa", [False, True])
def test_antialiasing_and_many_samples_agree_at_silhouettes(studio_light, front, msaa):
    """Where triangles are larger than pixels, the blend by exact edges is what very many samples would show."""
    truth = render(sphere(5), front, white_metal(), studio_light, (64, 64), spp=10)
    staircase = render(sphere(5), front, white_metal(), studio_light, (64, 64))
    smooth = render(sphere(5), front, white_metal(), studio_light, (64, 64), antialiased=True)
    both = render(sphere(5), front, white_metal(), studio_light, (64, 64), spp=3, msaa=msaa, antialiased=True)
    edge = (truth[..., 3] > 0) & (truth[..., 3] < 1)
    errors = [float((image - truth)[edge].abs().mean()) for image in (staircase, smooth, both)]
    assert errors[1] < 0.4 * errors[0]
    assert errors[2] < 0.4 * errors[1]


def test_msaa_shades_once_a_pixel_and_keeps_every_silhouette(studio_light, front):
    """Alpha is that of full sampling; color differs only by the shading within a pixel; there are no dark rims."""
    maps = white_metal(64)
    maps.texels[..., KD] = torch.rand(64, 64, 3, generator=torch.Generator().manual_seed(1))
    full = render(sphere(24), front, maps, studio_light, (48, 48), spp=4)
    msaa = render(sphere(24), front, maps, studio_light, (48, 48), spp=4, msaa=True)
    torch.testing.assert_close(msaa[..., 3], full[..., 3])
    edge = (full[..., 3] > 0) & (full[..., 3] < 1)
    ratio = (msaa[edge][:, :3].sum() / full[edge][:, :3].sum()).item()
    assert ratio == pytest.approx(1, abs=0.05)


def test_a_batch_of_views_is_the_views_one_by_one(studio_light, front, above):
    cameras = [front, above, Camera(look_at(torch.tensor([1.0, 2, 3]), torch.zeros(3)), perspective(0.8))]
    mesh = joined(sphere(12), plane(2.0, -0.7))
    maps = white_metal(alpha=True)
    maps.texels[..., ALPHA] = torch.rand(16, 16, 1, generator=torch.Generator().manual_seed(0))
    options = {"layers": 3, "spp": 2, "buffers": ("shaded", "occlusion", "depth", "id", "uv")}
    both = render_mesh(mesh, cameras, maps, studio_light, (20, 24), **options)
    for number, camera in enumerate(cameras):
        alone = render_mesh(mesh, camera, maps, studio_light, (20, 24), **options)
        for name, image in alone.items():
            torch.testing.assert_close(both[name][number], image[0])


def test_depth_id_and_uv_on_request(above):
    mesh = joined(plane(0.5, 0.0), plane(0.25, 0.5))
    found = render_mesh(mesh, above, white_metal(), None, (16, 16), bsdf="kd", buffers=("depth", "id", "uv"))
    assert set(found) == {"depth", "id", "uv"}
    corner, rim, middle = (0, 0), (5, 5), (8, 8)
    assert [float(found["depth"][0, r, c, 0]) for r, c in (corner,)] == [1.0]
    assert int(found["id"][0, *corner, 0]) == 0
    assert 1 <= int(found["id"][0, *rim, 0]) <= 128 < int(found["id"][0, *middle, 0])
    assert float(found["depth"][0, *middle, 0]) < float(found["depth"][0, *rim, 0]) < 1
    assert not found["uv"][0, 0, 0].any()
    step = found["uv"][0, 8, 9] - found["uv"][0, 8, 8]
    torch.testing.assert_close(step.abs(), torch.tensor([0.25, 0.0]), rtol=1e-4, atol=1e-5)


def test_unknown_buffers_and_empty_images_are_refused(front, furnace):
    with pytest.raises(ValueError, match="no buffer"):
        render_mesh(sphere(4), front, white_metal(), furnace, (8, 8), buffers=("shiny",))
    for wrong in ({"resolution": (0, 8)}, {"spp": 0}, {"layers": 0}, {"cameras": []}):
        options = {"cameras": front, "resolution": (8, 8)} | wrong
        with pytest.raises(ValueError, match="1 or more"):
            render_mesh(sphere(4), material=white_metal(), light=furnace, **options)


def test_a_million_triangles(furnace, front):
    mesh = sphere(500)
    assert len(mesh.triangles) == 1_000_000
    image = render(mesh, front, white_metal(), furnace, (32, 32), antialiased=True)
    small = render(sphere(64), front, white_metal(), furnace, (32, 32), antialiased=True)
    assert float((image - small).abs().max()) < 0.05


def test_one_degenerate_triangle_and_lost_vertices(furnace, front):
    mesh = sphere(3)
    broken = mesh.position.clone()
    broken[0] = torch.nan
    broken[1] = broken[2]
    for position in (broken, torch.zeros_like(mesh.position), mesh.position * 1e30):
        image = render(replace(mesh, position=position), front, white_metal(), furnace, (8, 8), antialiased=True)
        assert bool(torch.isfinite(image).all())


def test_the_uv_layout_is_baked(furnace):
    """The value at each texel is the field's at the place on the mesh to which the texel belongs."""
    mesh = plane(1.0)

    def field(position: torch.Tensor) -> torch.Tensor:
        half = torch.full((*position.shape[:-1], 3), 0.5)
        normal = torch.tensor([0.0, 0.6, 1.2]).expand(*position.shape[:-1], 3)
        return torch.cat([position * 0.5 + 0.5, half, normal], -1)

    mask, kd, ks, normal = render_uv(mesh, (12, 20), FieldMaterial(field))
    assert bool((mask == 1).all())
    assert kd.shape == (1, 12, 20, 3)
    row, column = torch.meshgrid((torch.arange(12) + 0.5) / 12, (torch.arange(20) + 0.5) / 20, indexing="ij")
    torch.testing.assert_close(kd[0], torch.stack([column, torch.full_like(row, 0.5), row], -1), rtol=0, atol=1e-5)
    assert bool((ks == 0.5).all())
    torch.testing.assert_close(normal.norm(dim=-1), torch.ones(1, 12, 20))
    half = replace(mesh, uv=mesh.uv * torch.tensor([0.5, 1.0]))
    mask, kd, _, normal = render_uv(half, (12, 20), FieldMaterial(field))
    assert mask[0, :, :, 0].sum(0).tolist() == [12.0] * 10 + [0.0] * 10
    assert not kd[0, :, 10:].any()
    assert normal[0, 0, 19].tolist() == [0, 0, 1]


def test_more_samples_make_soft_silhouettes(furnace, front):
    rough, fine = (render(sphere(32), front, white_metal(), furnace, (24, 24), spp=n)[..., 3] for n in (1, 4))
    partial = (fine > 0) & (fine < 1)
    assert partial.sum() > 20
    torch.testing.assert_close(fine * 16, (fine * 16).round())
    assert torch.equal((rough > 0)[~partial], (fine > 0)[~partial])


def test_transparent_layers_are_composited_near_to_far(furnace, above):
    """Two white sheets of alpha 0.5: the lower one shows through the upper one."""
    mesh = joined(plane(2.0, 0.0), plane(2.0, 0.5))
    maps = white_metal(alpha=True)
    maps.texels[..., ALPHA] = 0.5
    one, two = (render(mesh, above, maps, furnace, (8, 8), layers=n) for n in (1, 2))
    torch.testing.assert_close(one, torch.full((8, 8, 4), 0.5), rtol=0, atol=0.01)
    torch.testing.assert_close(two, torch.full((8, 8, 4), 0.75), rtol=0, atol=0.01)


def test_compositing_of_known_layers():
    color = torch.tensor([[[1.0, 0, 0], [0, 1, 0], [0, 0, 1]]])
    alpha = torch.tensor([[[0.5], [0.5], [1.0]]])
    torch.testing.assert_close(composite(color, alpha), torch.tensor([[0.5, 0.25, 0.25, 1.0]]))


def test_the_texture_lies_as_its_coordinates_say(furnace, above):
    """u runs along x, v along z; from above, with +Z at the top, the picture is the texture upside down."""
    maps = white_metal(8)
    maps.texels[..., METALLIC] = 0
    maps.texels[0, :, 0], maps.texels[:, 0, 1] = 0.0, 0.0
    image = render(plane(1.0), above, maps, furnace, (8, 8))
    top = look_at(torch.tensor([0.0, 3, 0]), torch.zeros(3))[1, :3]
    assert abs(float(top[2])) == pytest.approx(1)
    rows = image[..., 0] < 0.6
    columns = image[..., 1] < 0.6
    row = 7 if float(top[2]) > 0 else 0
    right = look_at(torch.tensor([0.0, 3, 0]), torch.zeros(3))[0, 0]
    column = 0 if float(right) > 0 else 7
    assert rows.nonzero()[:, 0].unique().tolist() == [row]
    assert columns.nonzero()[:, 1].unique().tolist() == [column]


def test_points_and_footprints_are_nvdiffrasts(data):
    golden = np.load(data / "golden" / "image_spot.npz")
    position = torch.tensor(golden["v_pos"])[torch.tensor(golden["t_pos_idx"].astype(np.int64))].reshape(-1, 3)
    uv = torch.tensor(golden["v_tex"])[torch.tensor(golden["t_tex_idx"].astype(np.int64))].reshape(-1, 2)
    normal = torch.tensor(golden["v_nrm"])[torch.tensor(golden["t_nrm_idx"].astype(np.int64))].reshape(-1, 3)
    triangles = torch.arange(len(position)).reshape(-1, 3)
    mesh = Mesh(position, normal, torch.zeros(len(position), 4), uv, triangles, torch.zeros(len(triangles)))
    view = torch.tensor(golden["mv"][0])
    projection = torch.tensor(golden["mvp"][0]).double() @ torch.linalg.inv(view.double())
    camera = Camera(view, projection.float())
    fragments = visible_fragments(camera.to_clip(position), triangles, (192, 256))
    points = surface_points(mesh, camera, fragments)
    same = torch.tensor(golden["rast"][0, ..., 3]).reshape(-1)[fragments.pixel].long() == fragments.triangle + 1
    theirs = torch.tensor(golden["texc"]).reshape(-1, 2)[fragments.pixel]
    torch.testing.assert_close(points.uv[same], theirs[same], rtol=0, atol=1e-4)
    ux, uy, vx, vy = torch.tensor(golden["texc_da"]).reshape(-1, 4)[fragments.pixel][same].unbind(-1)
    footprint = (ux * vy - uy * vx).abs().sqrt()
    torch.testing.assert_close(points.footprint[same], footprint, rtol=5e-3, atol=1e-5)
    eye = torch.nn.functional.normalize(torch.tensor(golden["campos"][0]) - points.position, dim=-1)
    torch.testing.assert_close(points.view, eye, rtol=0, atol=1e-4)


@pytest.mark.parametrize("channel", [KD, ROUGHNESS, METALLIC, NORMAL])
def test_the_gradient_of_an_image_is_that_of_finite_differences(studio_light, front, channel):
    # A texture coarser than the pixels, so that no coarse level with its smoothed gradient is read.
    maps = initial_maps(8, alpha=False)
    generator = torch.Generator().manual_seed(0)
    maps.texels[..., : METALLIC.stop] = torch.rand(8, 8, 5, generator=generator) * 0.6 + 0.2
    maps.texels[..., 5:7] = torch.rand(8, 8, 2, generator=generator) * 0.2 - 0.1
    project_(maps.texels)
    weight = torch.rand(64, 64, 4, generator=generator)
    direction = torch.zeros_like(maps.texels)
    direction[..., channel] = torch.rand(direction[..., channel].shape, generator=generator) - 0.5

    def value(step: float) -> torch.Tensor:
        moved = MaterialMaps(maps.texels + step * direction)
        return (render(sphere(12), front, moved, studio_light, (64, 64)) * weight).double().sum()

    maps.texels.requires_grad_()
    value(0.0).backward()
    slope = float((maps.texels.grad * direction).sum())
    with torch.no_grad():
        difference = float(value(0.01) - value(-0.01)) / 0.02
    assert slope == pytest.approx(difference, rel=0.02, abs=0.02)


def test_the_gradient_reaches_the_light(front):
    light = env_from_latlong(torch.from_numpy(studio(16)), 16)
    render(sphere(12), front, white_metal(), light.build_mips(), (24, 24)).sum().backward()
    assert float(light.base.grad.abs().sum()) > 1
    assert bool(torch.isfinite(light.base.grad).all())


def test_a_view_of_nothing_is_empty(furnace):
    away = Camera(look_at(torch.tensor([0.0, 0, 4]), torch.tensor([0.0, 0, 9])), perspective(0.5))
    image = render(sphere(8), away, white_metal(), furnace, (6, 10), spp=2, layers=2)
    assert image.shape == (6, 10, 4)
    assert not image.any()


def test_resized_maps_keep_their_means_and_unit_normals():
    maps = initial_maps(8, alpha=True)
    maps.texels[..., KD] = torch.rand(8, 8, 3)
    maps.texels[..., 5:7] = torch.rand(8, 8, 2) - 0.5
    project_(maps.texels)
    for size in (16, 32):
        wide = maps.resized(size)
        assert wide.texels.shape == (size, size, 9)
        torch.testing.assert_close(wide.texels[..., KD].mean((0, 1)), maps.texels[..., KD].mean((0, 1)))
        torch.testing.assert_close(wide.texels[..., NORMAL].norm(dim=-1), torch.ones(size, size))


def test_projecting_brings_texels_back_to_what_a_material_can_be():
    texels = torch.tensor([[-0.5, 0.5, 1.5, -1.0, 2.0, 3.0, 0.0, -4.0, 1.5]])
    project_(texels)
    assert texels[0, :5].tolist() == pytest.approx([0, 0.5, 1, 0.05, 1])
    assert float(texels[0, NORMAL].norm()) == pytest.approx(1)
    assert float(texels[0, 7]) > 0
    assert float(texels[0, 8]) == 1
