"""Coat, sheen and emission: the white furnace, Blender's layering, gradients, and the way from textures to the picture."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from support.shapes import studio

from render.bsdf.ggx import ggx_table
from render.bsdf.sheen import sheen_lookup, sheen_table, sheen_transform
from render.geometry.camera import Camera, look_at, perspective
from render.geometry.mesh import Mesh
from render.images.render_mesh import render_mesh
from render.light.environment import EnvironmentLight, PrefilteredLight, env_from_latlong
from render.light.prefilter import irradiance_sh, spherical_harmonics
from render.material.material import MaterialMaps, TextureMaterial, material_layout, project_
from render.raster.kernels.triton_provider import can_rasterize, triton_fragments
from render.raster.portable import visible_fragments
from render.raster.surface import ShadingPoints
from render.shading.lobes import Lobes
from render.shading.models import outgoing_radiance
from render.shading.sampled import sampled_light
from render.shading.shade import shade_texels
from render.shading.visibility import ROUGHNESS_NODES, ShadowFactors
from render.texture.texture import Texture2D

ANGLES = torch.linspace(0.05, 1, 20)


@pytest.fixture(scope="module")
def furnace() -> PrefilteredLight:
    return EnvironmentLight(torch.ones(6, 64, 64, 3)).build_mips()


@pytest.fixture(scope="module")
def studio_light() -> PrefilteredLight:
    with torch.no_grad():
        return env_from_latlong(torch.from_numpy(studio()), 32).build_mips()


def directions_at(n_dot_v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Normals [n, 3] along +Y and views with these cosines."""
    normal = torch.tensor([0.0, 1, 0]).expand(len(n_dot_v), 3)
    return normal, torch.stack([(1 - n_dot_v**2).sqrt(), n_dot_v, torch.zeros_like(n_dot_v)], -1)


def shaded(light: PrefilteredLight, lobes: Lobes | None, color: float = 0.5, occluded: float = 0.0) -> torch.Tensor:
    """Radiance [20, 3] of a dielectric seen at 20 angles."""
    normal, view = directions_at(ANGLES)
    kd, ks = torch.full((20, 3), color), torch.tensor([occluded, 0.4, 0.0]).expand(20, 3)
    with torch.no_grad():
        return outgoing_radiance(kd, ks, normal, view, light, ggx_table(), lobes=lobes)


def rows(*values: float) -> torch.Tensor:
    return torch.tensor(values).expand(20, len(values))


def test_without_lobes_nothing_changes(studio_light):
    plain = shaded(studio_light, None)
    assert torch.equal(shaded(studio_light, Lobes()), plain)
    nothing = Lobes(rows(0, 0, 0), rows(0, 0.3), rows(0, 0, 0, 0.5))
    torch.testing.assert_close(shaded(studio_light, nothing), plain)


def test_emission_is_added_and_occlusion_does_not_dim_it(studio_light):
    shine = rows(2.0, 0.5, 0.0)
    for occluded in (0.0, 0.8):
        plain = shaded(studio_light, None, occluded=occluded)
        torch.testing.assert_close(shaded(studio_light, Lobes(shine), occluded=occluded), plain + shine)


def test_a_coat_takes_from_below_what_it_reflects(furnace):
    roughness, weight = 0.3, 0.7
    found = shaded(furnace, Lobes(rows(3.0, 3.0, 3.0), rows(weight, roughness)))
    own = ggx_table().lookup(torch.full((20,), roughness), ANGLES).dielectric[:, None]
    below = 1 - weight * own
    torch.testing.assert_close(found, weight * own + below * (shaded(furnace, None) + 3), rtol=1e-3, atol=1e-3)


def test_a_smooth_coat_hides_in_a_white_furnace(furnace):
    """What it reflects is what it takes from a white base."""
    found = shaded(furnace, Lobes(coat=rows(1.0, 0.05)), color=1.0)
    torch.testing.assert_close(found, torch.ones(20, 3), rtol=0, atol=0.015)


def test_sheen_takes_its_largest_channel_from_below(furnace):
    color, roughness = (0.8, 0.2, 0.0), 0.5
    found = shaded(furnace, Lobes(sheen=rows(*color, roughness)))
    albedo = sheen_lookup(sheen_table(), torch.full((20,), roughness), ANGLES).albedo[:, None]
    expected = albedo * torch.tensor(color) + (1 - 0.8 * albedo) * shaded(furnace, None)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_sheen_grows_to_the_edge_and_lies_over_the_coat(furnace):
    found = shaded(furnace, Lobes(sheen=rows(1, 1, 1, 0.3)), color=0.0)[:, 0]
    assert float(found[0]) > 0.4
    assert float(found[-1]) < 0.06
    both = shaded(furnace, Lobes(coat=rows(1, 0.1), sheen=rows(1, 1, 1, 0.5)), color=0.0)
    coated, sheeny = (
        shaded(furnace, lobes, color=0.0) for lobes in (Lobes(coat=rows(1, 0.1)), Lobes(sheen=rows(1, 1, 1, 0.5)))
    )
    assert bool((both < coated + sheeny).all())


def test_the_table_of_sheen_has_the_moments_of_its_lobe():
    """Against random samples of the lobe."""
    roughness, n_dot_v = torch.tensor([0.35, 0.6, 0.9]), torch.tensor([0.2, 0.5, 0.8])
    a, b = (value[:, None] for value in sheen_transform(roughness, n_dot_v))
    generator = torch.Generator().manual_seed(3)
    radius, angle = (
        torch.rand(1 << 16, generator=generator).sqrt(),
        torch.rand(1 << 16, generator=generator) * 2 * math.pi,
    )
    up = (1 - radius**2).sqrt()
    sample = torch.stack([radius * angle.cos() - b * up, (radius * angle.sin()).expand(3, -1), a * up], dim=-1)
    sample = F.normalize(sample, dim=-1)
    terms = sheen_lookup(sheen_table(), roughness, n_dot_v)
    sine = (1 - n_dot_v**2).sqrt()
    mean = sample.mean(1)
    torch.testing.assert_close(terms.normal, mean[:, 2], rtol=0, atol=0.01)
    torch.testing.assert_close(terms.view * sine, mean[:, 0], rtol=0, atol=0.01)
    square = torch.einsum("nsi,nsj->nij", sample, sample) / sample.shape[1]
    torch.testing.assert_close(terms.nn, square[:, 2, 2] - square[:, 1, 1], rtol=0, atol=0.01)
    torch.testing.assert_close(terms.nv * sine, square[:, 0, 2], rtol=0, atol=0.01)
    torch.testing.assert_close(terms.vv * sine**2, square[:, 0, 0] - square[:, 1, 1], rtol=0, atol=0.01)


def test_sheens_light_is_the_mean_over_its_lobe():
    """Against the sum over samples of the lobe, in a light that the harmonics hold exactly."""
    base = torch.zeros(6, 32, 32, 3)
    light = EnvironmentLight(base).build_mips()
    coefficients = torch.randn(9, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float32) * 0.2
    coefficients[0] = 3.0
    light = replace(light, irradiance=coefficients)
    generator = torch.Generator().manual_seed(5)
    normal = F.normalize(torch.randn(6, 3, generator=generator), dim=-1)
    view = F.normalize(normal + 0.8 * torch.randn(6, 3, generator=generator), dim=-1)
    n_dot_v = (normal * view).sum(-1)
    view = torch.where(n_dot_v[:, None] < 0.1, normal, view)
    n_dot_v = (normal * view).sum(-1).clamp(max=1 - 1e-4)
    roughness = torch.full((6,), 0.5)
    found = light.sheen(normal, view, sheen_lookup(sheen_table(), roughness, n_dot_v))
    a, b = (value[:, None] for value in sheen_transform(roughness, n_dot_v))
    radius, angle = (
        torch.rand(1 << 16, generator=generator).sqrt(),
        torch.rand(1 << 16, generator=generator) * 2 * math.pi,
    )
    up = (1 - radius**2).sqrt()
    local = F.normalize(
        torch.stack([radius * angle.cos() - b * up, (radius * angle.sin()).expand(6, -1), a * up], dim=-1), dim=-1
    )
    along = F.normalize(view - n_dot_v[:, None] * normal + 1e-6, dim=-1)
    along = F.normalize(along - (along * normal).sum(-1, keepdim=True) * normal, dim=-1)
    frame = torch.stack([along, torch.linalg.cross(normal, along), normal], dim=1)
    radiance = coefficients / torch.tensor([1.0, *[2 / 3] * 3, *[1 / 4] * 5])[:, None]
    expected = (spherical_harmonics(local @ frame) @ radiance).mean(1)
    torch.testing.assert_close(found, expected, rtol=0.01, atol=0.01)


def test_a_turned_light_turns_the_sheen(studio_light):
    quarter = torch.tensor([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
    turned = studio_light.xfm(quarter)
    generator = torch.Generator().manual_seed(5)
    normal, view = F.normalize(torch.randn(2, 30, 3, generator=generator), dim=-1)
    terms = sheen_lookup(sheen_table(), torch.full((30,), 0.5), (normal * view).sum(-1).clamp(min=1e-3))
    straight = studio_light.sheen(normal @ quarter.t(), view @ quarter.t(), terms)
    torch.testing.assert_close(turned.sheen(normal, view, terms), straight, rtol=1e-4, atol=1e-5)


def test_other_models_know_emission_alone(studio_light):
    normal, view = directions_at(ANGLES)
    kd, ks = torch.full((20, 3), 0.5), torch.tensor([0.0, 0.4, 0.0]).expand(20, 3)
    light = sampled_light(torch.rand(6, 16, 16, 3))
    shine = rows(1.0, 2.0, 3.0)
    for model, lit in (("nvdiffrec", studio_light), ("sampled", light)):
        arguments = (kd, ks, normal, view, lit, ggx_table(), model)
        torch.testing.assert_close(
            outgoing_radiance(*arguments, lobes=Lobes(shine)), outgoing_radiance(*arguments) + shine
        )
        for lobes in (Lobes(coat=rows(1, 0.1)), Lobes(sheen=rows(1, 1, 1, 0.3))):
            with pytest.raises(ValueError, match="'principled'"):
                outgoing_radiance(*arguments, lobes=lobes)


def test_gradients_are_those_of_finite_differences(studio_light):
    irradiance, atlas = studio_light.irradiance.double(), studio_light.atlas.double()
    table = ggx_table(dtype=torch.float64)
    generator = torch.Generator().manual_seed(6)

    def random(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    kd = random(4, 3) * 0.8 + 0.1
    ks = torch.cat([random(4, 1) * 0.5, random(4, 1) * 0.6 + 0.22, random(4, 1) * 0.8 + 0.1], -1)
    view = F.normalize(random(4, 3) - 0.5, dim=-1)
    normal = F.normalize(view + 0.5 * (random(4, 3) - 0.5), dim=-1)
    coat_normal = F.normalize(normal + 0.2 * (random(4, 3) - 0.5), dim=-1)
    emission, coat = random(4, 3), random(4, 2) * 0.6 + 0.22
    sheen = random(4, 4) * 0.6 + 0.22

    def color(kd, ks, normal, emission, coat, sheen, irradiance):
        light = replace(studio_light, irradiance=irradiance, atlas=atlas)
        lobes = Lobes(emission, coat, sheen, coat_normal)
        return outgoing_radiance(kd, ks, normal, view, light, table, lobes=lobes)

    inputs = tuple(value.requires_grad_() for value in (kd, ks, normal, emission, coat, sheen, irradiance))
    assert torch.autograd.gradcheck(color, inputs, eps=1e-7, atol=1e-5, rtol=1e-4)


def test_nothing_makes_a_nan():
    generator = torch.Generator().manual_seed(9)
    light = EnvironmentLight(torch.rand(6, 16, 16, 3, generator=generator) ** 8 * 5e5).build_mips()
    kd, ks = torch.rand(2, 300, 3, generator=generator).round(decimals=1)
    emission, coat = torch.rand(300, 3, generator=generator), torch.rand(300, 2, generator=generator).round()
    sheen = torch.rand(300, 4, generator=generator).round()
    normal, view = F.normalize(torch.randn(2, 300, 3, generator=generator), dim=-1)
    view[:40], view[40:80] = normal[:40], -normal[40:80]
    view[80:120] = F.normalize(torch.linalg.cross(normal[80:120], view[80:120]), dim=-1)
    inputs = [tensor.requires_grad_() for tensor in (kd, ks, normal, emission, coat, sheen)]
    color = outgoing_radiance(
        *inputs[:3], view, light, ggx_table(), lobes=Lobes(*inputs[3:], coat_normal=-normal.detach())
    )
    assert bool(color.isfinite().all())
    assert all(bool(gradient.isfinite().all()) for gradient in torch.autograd.grad(color.sum(), inputs))


def test_layouts_follow_each_other_and_refuse_other_widths():
    whole = material_layout(alpha=True, emission=True, coat=True, sheen=True)
    assert (whole.alpha, whole.emission, whole.coat, whole.sheen) == (
        slice(8, 9), slice(9, 12), slice(12, 14), slice(14, 18),
    )  # fmt: skip
    assert material_layout(sheen=True).sheen == slice(8, 12)
    assert MaterialMaps(torch.zeros(4, 4, 8)).layout == material_layout()
    assert MaterialMaps(torch.zeros(4, 4, 9)).layout == material_layout(alpha=True)
    with pytest.raises(ValueError, match="material_layout"):
        MaterialMaps(torch.zeros(4, 4, 11))
    with pytest.raises(ValueError, match="18 channels"):
        MaterialMaps(torch.zeros(4, 4, 11), whole)
    texels = torch.full((2, 2, 18), -1.0)
    texels[0], texels[..., 9] = 3.0, 7.0
    project_(texels, whole)
    assert texels[0, 0, whole.emission].tolist() == [7.0, 3.0, 3.0]
    assert texels[1, 0, whole.emission].tolist() == [7.0, 0.0, 0.0]
    assert texels[0, 0, 12:].tolist() == [1.0] * 6
    assert texels[1, 0, 12:].tolist() == [0.0] * 6


def square() -> Mesh:
    position = torch.tensor([[-1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [1.0, -1.0, 0.0], [-1.0, -1.0, 0.0]])
    normal, tangent = torch.tensor([[0.0, 0, 1]]).repeat(4, 1), torch.tensor([[1.0, 0, 0, 1]]).repeat(4, 1)
    uv = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    triangles = torch.tensor([[0, 3, 2], [0, 2, 1]])
    return Mesh(position, normal, tangent, uv, triangles, torch.zeros(2, dtype=torch.int64))


def some_texels(layout) -> torch.Tensor:
    texels = torch.rand(8, 8, layout.channels, generator=torch.Generator().manual_seed(1))
    project_(texels, layout)
    return texels


def test_maps_reach_the_picture_and_gradients_reach_all_their_channels(device, studio_light):
    """By every way of finding what is seen."""
    layout = material_layout(emission=True, coat=True, sheen=True)
    camera = Camera(look_at(torch.tensor([0.8, 0.5, 2.5]), torch.zeros(3)), perspective(0.9))
    light = studio_light if device == "cpu" else EnvironmentLight(torch.rand(6, 16, 16, 3, device=device)).build_mips()
    pictures = []
    for rasterizer in [visible_fragments] + (
        [triton_fragments] if can_rasterize(torch.device(device), (24, 24), 1) else []
    ):
        texels = some_texels(layout).to(device).requires_grad_()
        picture = render_mesh(
            square().to(device), camera.to(device), MaterialMaps(texels, layout), light, (24, 24), rasterizer=rasterizer
        )["shaded"]
        picture.sum().backward()
        assert bool((texels.grad.abs().amax((0, 1)) > 0).all())
        pictures.append(picture.detach())
    for picture in pictures[1:]:
        torch.testing.assert_close(picture, pictures[0], rtol=1e-3, atol=1e-3)
    plain = render_mesh(square().to(device), camera.to(device), MaterialMaps(texels.detach()[..., :8]), light, (24, 24))
    assert not torch.allclose(plain["shaded"], pictures[0], atol=0.05)


def test_textures_of_lobes_are_the_same_as_packed_ones(studio_light):
    layout = material_layout(emission=True, coat=True, sheen=True)
    values = some_texels(layout)[0, 0]
    packed = MaterialMaps(values.expand(4, 4, layout.channels).contiguous(), layout)

    def texture(place: slice) -> Texture2D:
        return Texture2D(values[place].tolist())

    ks = Texture2D([0.0, float(values[3]), float(values[4])])
    separate = TextureMaterial(
        texture(slice(0, 3)),
        ks,
        texture(slice(5, 8)),
        texture(layout.emission),
        texture(layout.coat),
        texture(layout.sheen),
    )
    camera = Camera(look_at(torch.tensor([0.8, 0.5, 2.5]), torch.zeros(3)), perspective(0.9))
    one, other = (
        render_mesh(square(), camera, material, studio_light, (16, 16))["shaded"] for material in (packed, separate)
    )
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_a_target_that_has_them_can_be_fitted(studio_light):
    """With the base and the light known, Adam finds the values of one material from points seen from all sides."""
    layout = material_layout(emission=True, coat=True, sheen=True)
    truth = torch.tensor([0.4, 0.2, 0.1, 0.5, 0.0, 0, 0, 1, 0.3, 0.1, 0.0, 0.8, 0.25, 0.5, 0.3, 0.1, 0.5])
    values = truth.clone()
    values[8:] = torch.tensor([0.1, 0.1, 0.1, 0.4, 0.4, 0.2, 0.2, 0.2, 0.4])
    generator, table = torch.Generator().manual_seed(7), ggx_table()
    normal = F.normalize(torch.randn(300, 3, generator=generator), dim=-1)
    view = F.normalize(normal + 0.9 * F.normalize(torch.randn(300, 3, generator=generator), dim=-1), dim=-1)
    tangent = F.normalize(torch.linalg.cross(normal, torch.tensor([0.3, 0.9, 0.1]).expand(300, 3)), dim=-1)
    points = ShadingPoints(normal, tangent, torch.ones(300, 1), view, torch.zeros(300, 2), torch.zeros(300))

    def seen(texel: torch.Tensor) -> torch.Tensor:
        wide = texel.expand(300, layout.channels)
        return shade_texels(wide, points, studio_light, table, "principled", layout=layout)

    target = seen(truth)
    optimizer = torch.optim.Adam([values.requires_grad_()], lr=0.02)
    losses = []
    for _ in range(250):
        optimizer.zero_grad()
        loss = (seen(values) - target).square().mean()
        loss.backward()
        values.grad[:8] = 0
        optimizer.step()
        project_(values.data[None], layout)
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 300
    torch.testing.assert_close(values.detach()[8:], truth[8:], rtol=0, atol=0.1)


def test_a_normal_map_does_not_bend_the_coat(studio_light):
    layout = material_layout(coat=True)
    texels = some_texels(layout)[:1, :1].reshape(1, -1)
    normal, view = directions_at(torch.tensor([0.7]))
    tangent = torch.tensor([[1.0, 0, 0]])
    points = ShadingPoints(normal, tangent, torch.ones(1, 1), view, torch.zeros(1, 2), torch.zeros(1))
    black = texels.clone()
    black[:, :5], black[:, 5:8] = torch.tensor([0.0, 0, 0, 1, 1]), torch.tensor([0.6, 0.0, 0.8])
    black[:, layout.coat] = torch.tensor([1.0, 0.1])
    bent = shade_texels(black, points, studio_light, ggx_table(), "principled", layout=layout)
    unlit = shade_texels(black, points, studio_light, ggx_table(), "principled", _no_light(), layout=layout)
    black[:, 5:8] = torch.tensor([0.0, 0.0, 1.0])
    straight = shade_texels(black, points, studio_light, ggx_table(), "principled", layout=layout)
    base = [shade_texels(black[:, :8], points, studio_light, ggx_table(), "principled")]
    below = 1 - ggx_table().lookup(torch.tensor([0.1]), torch.tensor([0.7])).dielectric[:, None]
    coat = straight - below * base[0]
    black[:, 5:8] = torch.tensor([0.6, 0.0, 0.8])
    torch.testing.assert_close(
        bent, coat + below * shade_texels(black[:, :8], points, studio_light, ggx_table(), "principled")
    )
    assert float(unlit.abs().max()) == 0


def _no_light() -> ShadowFactors:
    """All is in shadow."""
    return ShadowFactors(torch.zeros(1, 3), torch.zeros(1, len(ROUGHNESS_NODES), 3))


def test_shadows_dim_the_sheen_as_the_diffuse_light(studio_light):
    layout = material_layout(sheen=True)
    values = torch.tensor([[0.0, 0, 0, 0.5, 1, 0, 0, 1, 1, 1, 1, 0.5]])
    normal, view = directions_at(torch.tensor([0.4]))
    points = ShadingPoints(
        normal, torch.tensor([[1.0, 0, 0]]), torch.ones(1, 1), view, torch.zeros(1, 2), torch.zeros(1)
    )
    dark = _no_light()
    half = ShadowFactors(torch.full((1, 3), 0.5), dark.specular)
    full = ShadowFactors(torch.ones(1, 3), dark.specular)
    found = [
        shade_texels(values, points, studio_light, ggx_table(), "principled", shadow, layout)
        for shadow in (dark, half, full)
    ]
    assert float(found[0].max()) == 0
    torch.testing.assert_close(found[1] * 2, found[2])


def test_a_light_of_one_radiance_gives_sheen_one():
    base = torch.full((6, 16, 16, 3), 2.5)
    light = replace(EnvironmentLight(base).build_mips(), irradiance=irradiance_sh(base))
    normal, view = directions_at(ANGLES)
    terms = sheen_lookup(sheen_table(), torch.full((20,), 0.3), ANGLES)
    torch.testing.assert_close(light.sheen(normal, view, terms), torch.full((20, 3), 2.5), rtol=1e-3, atol=1e-3)
