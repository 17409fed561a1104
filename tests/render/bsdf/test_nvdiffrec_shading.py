"""nvdiffrec's shading formula with both kinds of light: known cases, gradients, rotation, and hostile inputs."""

from __future__ import annotations

import math

import pytest
import torch

from render.bsdf.fg_lut import fg_lut, lookup_fg
from render.bsdf.nvdiffrec_shading import nvdiffrec_radiance, safe_normalize
from render.geometry.camera import fibonacci_directions
from render.light.environment import EnvironmentLight, create_trainable_env_rnd

KINDS = ("accurate", "nvdiffrec")


def turn_about_y(angle: float) -> torch.Tensor:
    cosine, sine = math.cos(angle), math.sin(angle)
    return torch.tensor([[cosine, 0, sine, 0], [0, 1, 0, 0], [-sine, 0, cosine, 0], [5.0, 6.0, 7.0, 1]]).t()


@pytest.mark.parametrize("kind", KINDS)
def test_an_even_light_gives_the_tables_albedo(kind: str, device: str):
    light = EnvironmentLight(torch.full((6, 16, 16, 3), 2.0, device=device))
    normal = fibonacci_directions(50).to(device)
    view = safe_normalize(normal + torch.tensor([0.3, 0.1, 0.2], device=device))
    kd = torch.tensor([0.8, 0.4, 0.1], device=device).expand(50, 3)
    ks = torch.tensor([0.25, 0.5, 1.0], device=device).expand(50, 3)
    mips = light.build_mips(kind)
    scale, bias = lookup_fg(fg_lut(256, device), ks[:, 1], (normal * view).sum(-1))
    expected = 0.75 * 2 * (kd * scale[:, None] + bias[:, None])
    torch.testing.assert_close(nvdiffrec_radiance(kd, ks, normal, view, mips), expected, rtol=1e-4, atol=0)
    diffuse = nvdiffrec_radiance(kd, ks, normal, view, mips, specular=False)
    torch.testing.assert_close(diffuse, 0.75 * kd * mips.diffuse(normal))
    # With nvdiffrec's diffuse sum over 16 x 16 texels white does not stay quite white.
    torch.testing.assert_close(diffuse, 0.75 * 2 * kd, rtol=0.13 if kind == "nvdiffrec" else 1e-4, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_shade_takes_positions_on_both_classes(kind: str):
    light = create_trainable_env_rnd(16)
    normal, position = fibonacci_directions(20).view(1, 4, 5, 3), torch.randn(1, 4, 5, 3)
    eye = torch.tensor([0.0, 1.0, 5.0]).view(1, 1, 1, 3)
    kd, ks = torch.rand(2, 1, 4, 5, 3)
    with torch.no_grad():
        mips = light.build_mips(kind)
        expected = nvdiffrec_radiance(kd, ks, normal, safe_normalize(eye - position), mips)
        torch.testing.assert_close(mips.shade(position, normal, kd, ks, eye), expected)
        torch.testing.assert_close(light.shade(position, normal, kd, ks, eye, prefilter=kind), expected)
        torch.testing.assert_close(light.get_mip(ks[..., 1], kind), mips.get_mip(ks[..., 1]))


@pytest.mark.parametrize("kind", KINDS)
def test_xfm_turns_the_lookups(kind: str, device: str):
    light = create_trainable_env_rnd(16, device=device)
    matrix = turn_about_y(0.7).to(device)
    direction = fibonacci_directions(60).to(device)
    roughness = torch.linspace(0, 1, 60, device=device)
    turned = direction @ matrix[:3, :3].t()
    with torch.no_grad():
        plain = light.build_mips(kind)
        light.xfm(matrix)
        mips = light.build_mips(kind)
        for candidate in (mips, plain.xfm(matrix), plain.xfm(matrix[None]), light.clone().build_mips(kind)):
            torch.testing.assert_close(candidate.diffuse(direction), plain.diffuse(turned), rtol=1e-4, atol=1e-5)
            found = candidate.specular(direction, roughness)
            torch.testing.assert_close(found, plain.specular(turned, roughness), rtol=1e-4, atol=1e-4)
        back = mips.xfm(None)
        torch.testing.assert_close(back.diffuse(direction), plain.diffuse(direction))
        light.xfm(None)
        torch.testing.assert_close(light.build_mips(kind).diffuse(direction), plain.diffuse(direction))


@pytest.mark.parametrize("kind", KINDS)
def test_xfm_takes_one_matrix_per_image(kind: str):
    light = create_trainable_env_rnd(16)
    matrices = torch.stack([turn_about_y(0.3), turn_about_y(-1.1)])
    direction = fibonacci_directions(24).view(2, 3, 4, 3)
    roughness = torch.rand(2, 3, 4)
    with torch.no_grad():
        plain = light.build_mips(kind)
        both = plain.xfm(matrices)
        for image in range(2):
            one = plain.xfm(matrices[image])
            torch.testing.assert_close(both.diffuse(direction)[image], one.diffuse(direction[image]))
            expected = one.specular(direction[image], roughness[image])
            torch.testing.assert_close(both.specular(direction, roughness)[image], expected)
    with pytest.raises(ValueError, match="2 matrices turn as many images"):
        both.diffuse(direction[:1].expand(3, 3, 4, 3))
    with pytest.raises(ValueError, match=r"not \[2, 2\]"):
        light.xfm(torch.eye(2))


@pytest.mark.parametrize("kind", KINDS)
def test_gradients(kind: str):
    # So small a base has one level in nvdiffrec: the gradient of its mips is not the exact one.
    torch.manual_seed(2)
    base = torch.rand(6, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    normal = fibonacci_directions(6).double()
    view = safe_normalize(normal + 0.5 * torch.randn(6, 3, dtype=torch.float64)).requires_grad_()
    kd = torch.rand(6, 3, dtype=torch.float64, requires_grad=True)
    ks = (torch.rand(6, 3, dtype=torch.float64) * 0.8 + 0.1).requires_grad_()
    matrix = turn_about_y(0.4).double()

    def shaded(base, kd, ks, normal, view):
        light = EnvironmentLight(base)
        del light.base
        light.base = base
        light.xfm(matrix)
        return nvdiffrec_radiance(kd, ks, normal, view, light.build_mips(kind))

    assert torch.autograd.gradcheck(shaded, (base, kd, ks, normal.requires_grad_(), view), eps=1e-7, atol=2e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("brightness", [0.0, 1.0, 5e5])
def test_no_input_gives_nan(kind: str, brightness: float, device: str):
    generator = torch.Generator().manual_seed(4)
    base = torch.zeros(6, 16, 16, 3)
    base[2, 7:9, 3] = brightness
    light = EnvironmentLight(base.to(device))
    count = 400
    position, eye, normal = torch.randn(3, count, 3, generator=generator).to(device)
    normal = safe_normalize(normal)
    kd, ks = torch.rand(2, count, 3, generator=generator).to(device)
    ks[:100, 1], ks[100:200, 1] = 0.0, 1.0
    kd[:50], ks[50:80, 2] = 0.0, 1.0
    normal[200:250] = 0.0
    normal[250:300] = torch.linalg.cross(eye - position, torch.ones_like(eye))[250:300]
    eye[300:350] = position[300:350]
    inputs = [value.clone().requires_grad_() for value in (position, normal, kd, ks, eye)]
    for specular in (True, False):
        color = light.shade(*inputs, specular=specular, prefilter=kind)
        color.sum().backward()
        assert bool(color.isfinite().all())
        assert bool(light.base.grad.isfinite().all())
        for value in inputs if specular else inputs[1:4]:
            assert bool(value.grad.isfinite().all())


def test_safe_normalize_bounds_its_gradient():
    vector = torch.tensor([[0.0, 0, 0], [1e-12, 0, 0], [3.0, 0, 4]], requires_grad=True)
    unit = safe_normalize(vector)
    unit.sum().backward()
    torch.testing.assert_close(unit.detach(), torch.tensor([[0.0, 0, 0], [0, 0, 0], [0.6, 0, 0.8]]))
    assert float(vector.grad[:2].abs().max()) == 0
