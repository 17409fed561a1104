"""Sampled shading: energy, the exact integral, gradients, visibility, and no NaN from anything that a user can give."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from render.bsdf.energy import Energy
from render.bsdf.ggx import GgxTable, fresnel_dielectric, ggx_table
from render.light.cubemap import CubeAtlas, texel_directions, texel_solid_angles
from render.light.environment import EnvironmentLight
from render.shading.models import outgoing_radiance
from render.shading.sampled import SampledLight, sampled_light, sampled_radiance

# 4096 samples against quadrature over 98 304 directions, both in float64: most of the difference is the table's error.
BRUTE_FORCE_TOLERANCE = 5e-3


def unit(*shape: int, generator: torch.Generator, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, 3, generator=generator, dtype=dtype), dim=-1)


def random_light(resolution: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(6, resolution, resolution, 3, generator=generator, dtype=dtype) ** 3 * 4


def facing_views(normal: torch.Tensor, n_dot_v: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Unit views with the given cosines [n] to normals [n, 3], at random azimuths."""
    other = torch.randn(normal.shape, generator=generator, dtype=normal.dtype)
    side = F.normalize(torch.linalg.cross(normal, other), dim=-1)
    return n_dot_v[:, None] * normal + (1 - n_dot_v**2).sqrt()[:, None] * side


def material(count: int, color: float, roughness: float, metallic: float, dtype=torch.float32, device="cpu"):
    ks = torch.tensor([0.0, roughness, metallic], dtype=dtype, device=device)
    return torch.full((count, 3), color, dtype=dtype, device=device), ks.expand(count, 3)


@pytest.mark.parametrize("metallic", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("roughness", [0.05, 0.4, 0.7, 1.0])
def test_a_white_surface_vanishes_in_a_white_furnace(device, roughness, metallic):
    light = sampled_light(torch.ones(6, 16, 16, 3, device=device))
    generator = torch.Generator().manual_seed(0)
    normal = unit(20, generator=generator, dtype=torch.float32)
    view = facing_views(normal, torch.linspace(0.1, 1, 20), generator)
    kd, ks = material(20, 1.0, roughness, metallic, device=device)
    color = sampled_radiance(kd, ks, normal.to(device), view.to(device), light, ggx_table(device))
    torch.testing.assert_close(color, torch.ones(20, 3, device=device), rtol=0, atol=0.015)


@pytest.mark.parametrize("energy", ["multi", "single"])
@pytest.mark.parametrize("metallic", [0.0, 0.5, 1.0])
def test_both_models_have_the_same_energy(energy, metallic):
    base = torch.ones(6, 16, 16, 3)
    generator = torch.Generator().manual_seed(1)
    normal = unit(30, generator=generator, dtype=torch.float32)
    view = facing_views(normal, torch.linspace(0.15, 1, 30), generator)
    table, prefiltered = ggx_table(), EnvironmentLight(base).build_mips()
    for roughness in (0.1, 0.5, 1.0):
        arguments = (*material(30, 0.6, roughness, metallic), normal, view)
        sampled = outgoing_radiance(*arguments, sampled_light(base), table, "sampled", energy=energy)
        split = outgoing_radiance(*arguments, prefiltered, table, "principled", energy=energy)
        torch.testing.assert_close(sampled, split.detach(), rtol=0, atol=0.01)


def exact_specular(
    kd: torch.Tensor, roughness: float, metallic: float, normal: torch.Tensor, view: torch.Tensor, base: torch.Tensor
) -> torch.Tensor:
    """The rendering equation by quadrature, [n, 3]: GGX with height-correlated Smith, single scattering, float64."""
    resolution = 128
    light = texel_directions(resolution, dtype=torch.float64).reshape(-1, 3)
    area = texel_solid_angles(resolution, dtype=torch.float64).reshape(-1).repeat(6)
    atlas = CubeAtlas([base.shape[1]])
    radiance = atlas.sample(atlas.pack([base]), light, torch.zeros(len(light), dtype=torch.float64))
    a2 = roughness**4
    n_dot_l = (normal @ light.T).clamp(min=0)
    n_dot_v = (normal * view).sum(-1, keepdim=True)
    half = F.normalize(light[None] + view[:, None], dim=-1)
    n_dot_h, v_dot_h = (half * normal[:, None]).sum(-1), (half * view[:, None]).sum(-1).clamp(0, 1)
    distribution = a2 / (math.pi * (n_dot_h**2 * (a2 - 1) + 1) ** 2)
    smith = n_dot_l * (a2 + (1 - a2) * n_dot_v**2).sqrt() + n_dot_v * (a2 + (1 - a2) * n_dot_l**2).sqrt()
    lobe = (distribution * 0.5 / smith.clamp(min=1e-12) * n_dot_l * area)[..., None]
    schlick = ((1 - v_dot_h) ** 5)[..., None]
    fresnel = metallic * (kd[:, None] * (1 - schlick) + schlick)
    fresnel = fresnel + (1 - metallic) * fresnel_dielectric(v_dot_h)[..., None]
    return (lobe * fresnel * radiance).sum(1)


@pytest.mark.parametrize("metallic", [0.0, 1.0])
@pytest.mark.parametrize("roughness", [0.35, 0.6, 1.0])
def test_many_samples_give_the_exact_integral(roughness, metallic):
    base, generator = random_light(6), torch.Generator().manual_seed(2)
    normal = unit(6, generator=generator)
    view = facing_views(normal, torch.linspace(0.2, 0.95, 6, dtype=torch.float64), generator)
    kd, ks = material(6, 0.5, roughness, metallic, torch.float64)
    dark = torch.zeros(6, 3, dtype=torch.float64)
    table = ggx_table(dtype=torch.float64)
    ours = sampled_radiance(kd, ks, normal, view, sampled_light(base), table, 4096, "single", irradiance=dark)
    truth = exact_specular(kd, roughness, metallic, normal, view, base)
    assert float((ours - truth).norm() / truth.norm()) < BRUTE_FORCE_TOLERANCE


def test_the_irradiance_is_the_cosine_weighted_mean():
    base, generator = random_light(32, 3), torch.Generator().manual_seed(3)
    normal = unit(50, generator=generator)
    direction = texel_directions(32, dtype=torch.float64).reshape(-1, 3)
    area = texel_solid_angles(32, dtype=torch.float64).reshape(-1).repeat(6)
    truth = ((normal @ direction.T).clamp(min=0) * area / math.pi) @ base.reshape(-1, 3)
    ours = sampled_light(base).diffuse(normal)
    assert float((ours - truth).norm() / truth.norm()) < 3e-3


def leaves(count: int, seed: int) -> tuple[torch.Tensor, ...]:
    """kd, ks and normals that need gradients, and views, in float64."""
    generator = torch.Generator().manual_seed(seed)
    kd = torch.rand(count, 3, generator=generator, dtype=torch.float64) * 0.8 + 0.1
    ks = torch.rand(count, 3, generator=generator, dtype=torch.float64) * 0.7 + 0.15
    normal = unit(count, generator=generator)
    view = facing_views(normal, torch.linspace(0.15, 0.95, count, dtype=torch.float64), generator)
    return kd.requires_grad_(), ks.requires_grad_(), normal.requires_grad_(), view


@pytest.mark.parametrize("energy", ["multi", "single"])
def test_gradients_to_the_material_are_those_of_finite_differences(energy: Energy):
    *inputs, view = leaves(4, 4)
    light, table = sampled_light(random_light(5, 4)), ggx_table(dtype=torch.float64)

    def color(kd: torch.Tensor, ks: torch.Tensor, normal: torch.Tensor) -> torch.Tensor:
        return sampled_radiance(kd, ks, normal, view, light, table, 7, energy)

    assert torch.autograd.gradcheck(color, tuple(inputs), eps=1e-7, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("resolution", [1, 2, 3])
def test_the_gradient_to_the_light_is_that_of_finite_differences(resolution):
    kd, ks, normal, view = (tensor.detach() for tensor in leaves(3, 5))
    base, table = random_light(resolution, 5).requires_grad_(), ggx_table(dtype=torch.float64)

    def color(base: torch.Tensor) -> torch.Tensor:
        return sampled_radiance(kd, ks, normal, view, sampled_light(base), table, 5)

    assert torch.autograd.gradcheck(color, (base,))


def test_the_gradients_converge_to_those_of_the_integral():
    """The gradient is not only the slope of what is computed: the slope of 32 samples is near that of very many."""
    *inputs, view = leaves(64, 6)
    smooth = F.interpolate(random_light(4, 6).permute(0, 3, 1, 2), scale_factor=8, mode="bilinear").permute(0, 2, 3, 1)
    light, table = sampled_light(smooth), ggx_table(dtype=torch.float64)

    def gradients(samples: int) -> tuple[torch.Tensor, ...]:
        color = sampled_radiance(*inputs, view, light, table, samples)
        return torch.autograd.grad(color.sum(), inputs)

    few, many = gradients(32), gradients(2048)
    for name, ours, truth, tolerance in zip(("kd", "ks", "normal"), few, many, (0.02, 0.1, 0.2), strict=True):
        cosine = F.cosine_similarity(ours.flatten(), truth.flatten(), dim=0)
        assert float(cosine) > 1 - tolerance**2, name


def points(count: int, seed: int) -> tuple[torch.Tensor, ...]:
    return tuple(tensor.detach().float() for tensor in leaves(count, seed))


def test_blocked_samples_bring_no_light_and_diffuse_stays():
    light, table, arguments = sampled_light(random_light(8, 7, torch.float32)), ggx_table(), points(6, 7)
    open_ = sampled_radiance(*arguments, light, table, 8)
    no_diffuse = sampled_radiance(*arguments, light, table, 8, irradiance=torch.zeros(6, 3))
    blocked = sampled_radiance(*arguments, light, table, 8, visibility=torch.zeros(6, 8))
    torch.testing.assert_close(blocked + no_diffuse, open_)
    half = sampled_radiance(*arguments, light, table, 8, visibility=torch.full((6, 8, 3), 0.5))
    torch.testing.assert_close(half, blocked + 0.5 * no_diffuse)


def test_visibility_is_asked_for_along_the_samples():
    light, table = sampled_light(random_light(8, 8, torch.float32)), ggx_table()
    kd, ks, normal, view = points(6, 8)
    asked = []

    def above(direction: torch.Tensor) -> torch.Tensor:
        asked.append(direction)
        return (direction[..., 1] > 0).float()

    given = sampled_radiance(kd, ks, normal, view, light, table, 8, visibility=above)
    (direction,) = asked
    assert direction.shape == (6, 8, 3)
    torch.testing.assert_close(direction.norm(dim=-1), torch.ones(6, 8))
    same = sampled_radiance(kd, ks, normal, view, light, table, 8, visibility=above(direction))
    torch.testing.assert_close(given, same)


def test_the_factor_on_a_whole_lobe_is_a_visibility_of_every_sample():
    light, table, arguments = sampled_light(random_light(8, 9, torch.float32)), ggx_table(), points(6, 9)
    factor = torch.rand(6, 3, generator=torch.Generator().manual_seed(9))
    ours = outgoing_radiance(*arguments, light, table, "sampled", specular_visibility=factor, samples=8)
    same = sampled_radiance(*arguments, light, table, 8, visibility=factor[:, None].expand(6, 8, 3))
    torch.testing.assert_close(ours, same)


def test_seeds_shift_the_samples_about_the_same_mean():
    light, table, arguments = sampled_light(random_light(8, 10, torch.float32)), ggx_table(), points(200, 10)

    def color(samples: int, seed: int | None) -> torch.Tensor:
        return sampled_radiance(*arguments, light, table, samples, seed=seed)

    torch.testing.assert_close(color(8, 3), color(8, 3))
    assert float((color(8, 3) - color(8, 4)).abs().max()) > 1e-4
    truth = color(1024, None)
    mean = torch.stack([color(8, seed) for seed in range(24)]).mean(0)
    # The levels blur a little, and more with few samples: the mean has this bias, but not the noise.
    assert float((mean - truth).norm() / truth.norm()) < 0.02


def test_a_turned_light_is_looked_up_turned():
    base, table = random_light(8, 11, torch.float32), ggx_table()
    kd, ks, normal, view = points(6, 11)
    matrix = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(11)))[0]
    matrix = matrix * torch.linalg.det(matrix)
    turned = sampled_light(base, matrix).diffuse(normal)
    torch.testing.assert_close(turned, sampled_light(base).diffuse(normal @ matrix.T))
    ours = sampled_radiance(kd, ks, normal, view, sampled_light(base).xfm(matrix), table, 512)
    same = sampled_radiance(kd, ks, normal @ matrix.T, view @ matrix.T, sampled_light(base), table, 512)
    # The pattern of samples has another angle around the normal.
    assert float((ours - same).norm() / same.norm()) < 0.02


@pytest.mark.parametrize("brightness", [0.0, 1.0, 5e5])
@pytest.mark.parametrize("resolution", [1, 3, 16])
def test_nothing_makes_a_nan(device, brightness, resolution):
    generator = torch.Generator().manual_seed(12)
    base = torch.rand(6, resolution, resolution, 3, generator=generator)
    base[0, 0, 0] = 1.0
    base = (base**8 * brightness).to(device).requires_grad_()
    count = 400
    kd = torch.rand(count, 3, generator=generator).round(decimals=1)
    ks = (torch.rand(count, 3, generator=generator) * 1.4 - 0.2).clamp(0, 1)
    normal = unit(count, generator=generator, dtype=torch.float32)
    view = unit(count, generator=generator, dtype=torch.float32)
    # Seen straight from the front, straight from behind, at exactly grazing angles; along the axes; and without length.
    view[:40], view[40:80] = normal[:40], -normal[40:80]
    view[80:120] = F.normalize(torch.linalg.cross(normal[80:120], view[80:120]), dim=-1)
    axes = torch.cat([torch.eye(3), -torch.eye(3)])
    normal[120:156], view[120:156] = axes.repeat(6, 1), axes.repeat_interleave(6, 0)
    normal[156:160] = 0.0
    ks[:200:4, 1], ks[1:200:4, 1], ks[2:200:4, 2], ks[3:200:4, 2] = 0.0, 1.0, 0.0, 1.0
    inputs = [tensor.to(device).requires_grad_() for tensor in (kd, ks, normal, view)]
    for seed in (None, 1):
        color = sampled_radiance(*inputs, sampled_light(base), ggx_table(device), 6, seed=seed)
        assert bool(color.isfinite().all())
        assert float(color.detach().min()) >= -1e-3 * brightness
        gradients = torch.autograd.grad(color.sum(), [base, *inputs])
        assert all(bool(gradient.isfinite().all()) for gradient in gradients)


def test_no_points_make_no_colors():
    light, table = sampled_light(torch.ones(6, 4, 4, 3)), ggx_table()
    none = torch.zeros(0, 3)
    assert sampled_radiance(none, none, none, none, light, table).shape == (0, 3)
    assert sampled_radiance(*[torch.zeros(2, 0, 3)] * 4, light, table, seed=1).shape == (2, 0, 3)


@pytest.fixture(scope="module")
def both() -> tuple[SampledLight, GgxTable]:
    return sampled_light(torch.ones(6, 4, 4, 3)), ggx_table()


def test_what_cannot_be_shaded_is_refused_with_its_cure(both):
    light, table = both
    arguments = points(2, 13)
    with pytest.raises(ValueError, match="at least one sample"):
        sampled_radiance(*arguments, light, table, 0)
    with pytest.raises(ValueError, match="'multi'"):
        sampled_radiance(*arguments, light, table, energy="triple")
    with pytest.raises(ValueError, match="latlong_to_cubemap"):
        sampled_light(torch.ones(64, 128, 3))
    with pytest.raises(ValueError, match="sampled_light"):
        outgoing_radiance(*arguments, EnvironmentLight(torch.ones(6, 16, 16, 3)).build_mips(), table, "sampled")
    with pytest.raises(ValueError, match="build_mips"):
        outgoing_radiance(*arguments, light, table, "principled")
    with pytest.raises(ValueError, match="no shading model"):
        outgoing_radiance(*arguments, light, table, "phong")
