"""Shading: the white furnace, energy, the fitted lobe, and gradients against finite differences."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from support.shapes import studio

from render.bsdf.ggx import GgxTable, ggx_table
from render.bsdf.nvdiffrec_shading import nvdiffrec_radiance
from render.core.color import psnr
from render.light.cubemap import latlong_to_cubemap
from render.light.environment import EnvironmentLight, PrefilteredLight, env_from_latlong
from render.shading.models import outgoing_radiance
from render.shading.normal_map import shading_normal
from render.shading.sampled import sampled_light


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


def material(count: int, color: float, roughness: float, metallic: float, occluded: float = 0.0):
    return torch.full((count, 3), color), torch.tensor([occluded, roughness, metallic]).expand(count, 3)


def in_furnace(furnace: PrefilteredLight, color: float, roughness: float, metallic: float, **options) -> torch.Tensor:
    """Radiance [20] of a surface seen at 20 angles in light of radiance 1."""
    normal, view = directions_at(torch.linspace(0.05, 1, 20))
    return outgoing_radiance(*material(20, color, roughness, metallic), normal, view, furnace, ggx_table(), **options)[
        :, 0
    ].detach()


@pytest.mark.parametrize("roughness", [0.05, 0.2, 0.4, 0.6, 0.8, 1.0])
def test_white_metal_vanishes_in_a_white_furnace(furnace, roughness):
    radiance = in_furnace(furnace, 1.0, roughness, 1.0)
    torch.testing.assert_close(radiance, torch.ones(20), rtol=0, atol=0.01)


@pytest.mark.parametrize("roughness", [0.05, 0.3, 0.6, 1.0])
def test_a_white_dielectric_vanishes_in_a_white_furnace(furnace, roughness):
    torch.testing.assert_close(in_furnace(furnace, 1.0, roughness, 0.0), torch.ones(20), rtol=0, atol=0.01)


@pytest.mark.parametrize("metallic", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("roughness", [0.05, 0.5, 1.0])
def test_no_surface_sends_back_more_than_it_gets(furnace, roughness, metallic):
    for color in (0.0, 0.3, 0.9):
        radiance = in_furnace(furnace, color, roughness, metallic)
        assert float(radiance.max()) <= 1.002
        assert float(radiance.min()) > 0


def test_a_black_dielectric_only_reflects_at_its_surface(furnace):
    radiance = in_furnace(furnace, 0.0, 0.1, 0.0)
    assert float(radiance[-1]) == pytest.approx(0.04, abs=0.003)
    assert bool((radiance[:-1] >= radiance[1:] - 1e-4).all())


def test_nvdiffrecs_model_loses_energy_on_rough_metal(furnace):
    """`principled` corrects that."""
    rough = in_furnace(furnace, 1.0, 1.0, 1.0, model="nvdiffrec")
    assert float(rough.mean()) < 0.75
    smooth = in_furnace(furnace, 1.0, 0.05, 1.0, model="nvdiffrec")
    torch.testing.assert_close(smooth, torch.ones(20), rtol=0, atol=0.01)


def test_occlusion_scales_everything(studio_light):
    normal, view = directions_at(torch.linspace(0.1, 1, 5))
    open_ = outgoing_radiance(*material(5, 0.5, 0.4, 0.3), normal, view, studio_light, ggx_table())
    part = outgoing_radiance(*material(5, 0.5, 0.4, 0.3, occluded=0.75), normal, view, studio_light, ggx_table())
    torch.testing.assert_close(part, open_ * 0.25)


def test_shadowing_acts_on_its_own_part_of_the_light(studio_light):
    normal, view = directions_at(torch.linspace(0.1, 1, 5))
    arguments = (*material(5, 0.5, 0.4, 0.0), normal, view, studio_light, ggx_table())
    full, none = outgoing_radiance(*arguments), torch.zeros(5, 3)
    specular = outgoing_radiance(*arguments, irradiance=none)
    diffuse = outgoing_radiance(*arguments, specular_visibility=none)
    assert float(specular.min()) > 0
    assert float(diffuse.min()) > float(specular.min())
    torch.testing.assert_close(specular + diffuse, full)
    halved = outgoing_radiance(*arguments, irradiance=none, specular_visibility=torch.full((5, 1), 0.5))
    torch.testing.assert_close(halved, specular * 0.5)


def test_a_mirror_shows_the_light_it_points_at():
    base = torch.zeros(6, 64, 64, 3)
    base[0, :, :, 0], base[2, :, :, 1] = 5.0, 3.0
    light = EnvironmentLight(base).build_mips()
    # Seen from straight above, a normal halfway between +Y and +X reflects +X: the red face.
    view = torch.tensor([[0.0, 1, 0]])
    normal = F.normalize(torch.tensor([[1.0, 1, 0]]), dim=-1)
    radiance = outgoing_radiance(*material(1, 1.0, 0.05, 1.0), normal, view, light, ggx_table())
    torch.testing.assert_close(radiance, torch.tensor([[5.0, 0, 0]]), rtol=0.01, atol=0.01)


def test_nvdiffrecs_model_is_its_formula_and_takes_shadowing_too(studio_light):
    normal, view = directions_at(torch.linspace(0.1, 1, 5))
    arguments = (*material(5, 0.5, 0.4, 0.3, occluded=0.2), normal, view, studio_light)
    ours = outgoing_radiance(*arguments, ggx_table(), "nvdiffrec")
    torch.testing.assert_close(ours, nvdiffrec_radiance(*arguments))
    dark = outgoing_radiance(*arguments, ggx_table(), "nvdiffrec", irradiance=torch.zeros(5, 3))
    halved = outgoing_radiance(
        *arguments, ggx_table(), "nvdiffrec", irradiance=torch.zeros(5, 3), specular_visibility=torch.full((5, 1), 0.5)
    )
    torch.testing.assert_close(halved, 0.5 * dark)


def test_single_scattering_loses_what_multiple_scattering_keeps(furnace):
    for metallic in (0.0, 1.0):
        single = in_furnace(furnace, 1.0, 1.0, metallic, energy="single")
        assert float(single.max()) < 0.99
    assert float(in_furnace(furnace, 1.0, 1.0, 1.0, energy="single").mean()) < 0.75
    smooth = in_furnace(furnace, 1.0, 0.05, 1.0, energy="single")
    torch.testing.assert_close(smooth, torch.ones(20), rtol=0, atol=0.01)


def test_an_unknown_energy_or_model_is_refused(furnace):
    with pytest.raises(ValueError, match="'single'"):
        in_furnace(furnace, 1.0, 1.0, 1.0, energy="none")
    with pytest.raises(ValueError, match="'principled'"):
        in_furnace(furnace, 1.0, 1.0, 1.0, model="phong")


@pytest.mark.parametrize("metallic", [0.0, 1.0])
@pytest.mark.parametrize("roughness", [0.25, 0.5, 0.75, 1.0])
def test_the_fitted_lobe_is_nearer_the_truth_than_the_mirror_direction(roughness, metallic):
    """The light is one that the fit has not seen; the truth is the sampled model with many samples."""
    base = latlong_to_cubemap(torch.from_numpy(studio()), 64)
    generator = torch.Generator().manual_seed(8)
    normal = F.normalize(torch.randn(300, 3, generator=generator), dim=-1)
    view = F.normalize(normal + 0.9 * F.normalize(torch.randn(300, 3, generator=generator), dim=-1), dim=-1)
    table = ggx_table()
    plain = table.values.clone()
    plain[0, [3, 6]] = 1
    plain[0, [4, 7]] = (torch.linspace(0, 1, plain.shape[2]) ** 2)[:, None]
    arguments = (*material(300, 0.5, roughness, metallic), normal, view)
    with torch.no_grad():
        truth = outgoing_radiance(*arguments, sampled_light(base), table, "sampled", samples=512)
        light = EnvironmentLight(base).build_mips()
        ours = psnr(outgoing_radiance(*arguments, light, table), truth)
        along_mirror = psnr(outgoing_radiance(*arguments, light, GgxTable(plain)), truth)
    assert ours > along_mirror
    assert ours > 26


@pytest.mark.parametrize("model", ["principled", "nvdiffrec"])
@pytest.mark.parametrize("energy", ["multi", "single"])
def test_nothing_makes_a_nan(device, model, energy):
    generator = torch.Generator().manual_seed(9)
    base = torch.rand(6, 16, 16, 3, generator=generator) ** 8 * 5e5
    base[:3] = 0
    light = EnvironmentLight(base.to(device)).build_mips()
    kd, ks = torch.rand(2, 300, 3, generator=generator).round(decimals=1)
    ks[::3, 1], ks[1::3, 1] = 0.0, 1.0
    normal, view = F.normalize(torch.randn(2, 300, 3, generator=generator), dim=-1)
    view[:40], view[40:80] = normal[:40], -normal[40:80]
    view[80:120] = F.normalize(torch.linalg.cross(normal[80:120], view[80:120]), dim=-1)
    normal[120:124] = 0.0
    inputs = [tensor.to(device).requires_grad_() for tensor in (kd, ks, normal)]
    color = outgoing_radiance(*inputs, view.to(device), light, ggx_table(device), model, energy=energy)
    assert bool(color.isfinite().all())
    assert all(bool(gradient.isfinite().all()) for gradient in torch.autograd.grad(color.sum(), inputs))


@pytest.mark.parametrize("model", ["principled", "nvdiffrec"])
def test_gradients_are_those_of_finite_differences(studio_light, model):
    light = replace(studio_light, irradiance=studio_light.irradiance.double(), atlas=studio_light.atlas.double())
    table: GgxTable = ggx_table(dtype=torch.float64)
    generator = torch.Generator().manual_seed(5)

    def random(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    kd = (random(4, 3) * 0.8 + 0.1).requires_grad_()
    ks = torch.cat([random(4, 1) * 0.5, random(4, 1) * 0.6 + 0.22, random(4, 1) * 0.8 + 0.1], -1).requires_grad_()
    view = F.normalize(random(4, 3) - 0.5, dim=-1)
    normal = F.normalize(view + 0.5 * (random(4, 3) - 0.5), dim=-1).requires_grad_()

    def color(kd: torch.Tensor, ks: torch.Tensor, normal: torch.Tensor) -> torch.Tensor:
        return outgoing_radiance(kd, ks, normal, view, light, table, model)

    assert torch.autograd.gradcheck(color, (kd, ks, normal), eps=1e-7, atol=1e-5, rtol=1e-4)


def test_a_flat_normal_map_keeps_the_surface_normal():
    normal = F.normalize(torch.tensor([[0.3, 0.9, -0.2]]), dim=-1)
    tangent = F.normalize(torch.linalg.cross(normal, torch.tensor([[0.0, 0, 1]])), dim=-1)
    for sign in (1.0, -1.0):
        result = shading_normal(torch.tensor([[0.0, 0, 1]]), normal, tangent, torch.tensor([[sign]]))
        torch.testing.assert_close(result, normal)


def test_the_sign_mirrors_the_bitangent_only():
    normal, tangent = torch.tensor([[0.0, 0, 1]]), torch.tensor([[1.0, 0, 0]])
    tilted = F.normalize(torch.tensor([[0.3, 0.5, 0.8]]), dim=-1)
    plain = shading_normal(tilted, normal, tangent, torch.ones(1, 1))
    mirrored = shading_normal(tilted, normal, tangent, -torch.ones(1, 1))
    torch.testing.assert_close(plain, tilted)
    torch.testing.assert_close(mirrored, tilted * torch.tensor([1.0, -1, 1]))


def test_the_shading_normals_gradient_is_that_of_finite_differences():
    generator = torch.Generator().manual_seed(6)
    values = [torch.rand(5, 3, generator=generator, dtype=torch.float64) + 0.1 for _ in range(3)]
    sign = torch.tensor([[1.0], [-1], [1], [-1], [1]], dtype=torch.float64)
    inputs = tuple(value.requires_grad_() for value in values)
    assert torch.autograd.gradcheck(lambda *frame: shading_normal(*frame, sign), inputs)
