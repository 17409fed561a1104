"""The GGX table against nvdiffrec's lookup texture, brute-force quadrature, and the conservation of energy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from render.bsdf.ggx import DIELECTRIC_IOR, fresnel_dielectric, ggx_table, sample_visible_half_vector


@pytest.fixture(scope="module")
def terms_on_grid():
    """The terms at roughness x N.V of 0.02 .. 1, and the two grids."""
    line = torch.linspace(0.02, 1, 60)
    roughness, n_dot_v = torch.meshgrid(line, line, indexing="ij")
    return ggx_table().lookup(roughness, n_dot_v), roughness, n_dot_v


def quadrature(roughness: float, n_dot_v: float, steps: int = 1024) -> dict[str, torch.Tensor]:
    """The lobe's integrals over the directions of light on a fine grid of the hemisphere, in float64."""
    cosine = ((torch.arange(steps, dtype=torch.float64) + 0.5) / steps)[:, None]
    phi = ((torch.arange(steps, dtype=torch.float64) + 0.5) / steps * math.pi)[None]
    sine = (1 - cosine**2).sqrt()
    light = torch.stack([sine * phi.cos(), sine * phi.sin(), cosine.expand(-1, steps)], -1)
    view = torch.tensor([math.sqrt(1 - n_dot_v**2), 0.0, n_dot_v], dtype=torch.float64)
    half = torch.nn.functional.normalize(light + view, dim=-1)
    a2 = roughness**4
    distribution = a2 / (math.pi * (half[..., 2] ** 2 * (a2 - 1) + 1) ** 2)
    smith_v = cosine * math.sqrt(a2 + (1 - a2) * n_dot_v**2)
    smith_l = n_dot_v * (a2 + (1 - a2) * cosine**2).sqrt()
    lobe = distribution * 0.5 / (smith_v + smith_l) * cosine
    v_dot_h = (half @ view).clamp(0, 1)
    schlick = (1 - v_dot_h) ** 5
    # One half of the hemisphere stands for both: 2 pi of azimuth over the steps.
    weight = lobe * 2 * math.pi / steps**2
    mean = torch.einsum("ij,ijk->k", weight, light)
    mean[1] = 0
    return {
        "scale": (weight * (1 - schlick)).sum(),
        "bias": (weight * schlick).sum(),
        "dielectric": (weight * fresnel_dielectric(v_dot_h)).sum(),
        "direction": mean / mean.norm(),
    }


def test_scale_and_bias_are_those_of_nvdiffrecs_lookup_texture(data):
    golden = torch.tensor(np.load(data / "golden" / "fg_lut.npz")["lut"])
    center = (torch.arange(256) + 0.5) / 256
    roughness, n_dot_v = torch.meshgrid(center, center, indexing="ij")
    terms = ggx_table().lookup(roughness, n_dot_v)
    for ours, theirs in ((terms.scale, golden[..., 0]), (terms.bias, golden[..., 1])):
        assert float((ours - theirs).norm() / theirs.norm()) <= 2e-3


@pytest.mark.parametrize("roughness", [0.3, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("n_dot_v", [0.15, 0.5, 0.95])
def test_directional_albedo_is_that_of_brute_force(roughness, n_dot_v):
    truth = quadrature(roughness, n_dot_v)
    terms = ggx_table(dtype=torch.float64).lookup(torch.tensor([roughness]).double(), torch.tensor([n_dot_v]).double())
    assert float(terms.scale) == pytest.approx(float(truth["scale"]), abs=3e-3)
    assert float(terms.bias) == pytest.approx(float(truth["bias"]), abs=1e-3)
    assert float(terms.dielectric) == pytest.approx(float(truth["dielectric"]), abs=1e-3)


@pytest.mark.parametrize(("roughness", "n_dot_v"), [(0.3, 0.3), (0.5, 0.2), (0.8, 0.5)])
def test_the_lookup_lies_between_the_lobes_mean_direction_and_the_mirrors(roughness, n_dot_v):
    """A metal's lies near the mean direction; Fresnel moves a dielectric's on towards the mirror direction."""
    mean = quadrature(roughness, n_dot_v)["direction"]
    terms = ggx_table().lookup(torch.tensor([roughness]), torch.tensor([n_dot_v]))
    normal = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    reflected = torch.tensor([-math.sqrt(1 - n_dot_v**2), 0.0, n_dot_v], dtype=torch.float64)

    def degrees_from_normal(lean: torch.Tensor) -> float:
        axis = torch.nn.functional.normalize(torch.lerp(normal, reflected, float(lean)), dim=0)
        return math.degrees(math.acos(min(1.0, float(axis[2]))))

    at_mean = math.degrees(math.acos(float(mean[2])))
    metal, dielectric = degrees_from_normal(terms.lean), degrees_from_normal(terms.dielectric_lean)
    assert at_mean - 4 < metal < dielectric <= math.degrees(math.acos(n_dot_v)) + 1e-6


def test_the_lobe_of_a_surface_lies_between_a_white_metals_and_a_dielectrics(terms_on_grid):
    terms, _, _ = terms_on_grid
    one = torch.ones_like(terms.lean)
    for ours, exact in zip(terms.lobe_of(one), (terms.lean, terms.lobe_roughness), strict=True):
        torch.testing.assert_close(ours, exact)
    dielectric = terms.dielectric_lean, terms.dielectric_lobe_roughness
    for ours, exact in zip(terms.lobe_of(0.04 * one), dielectric, strict=True):
        torch.testing.assert_close(ours, exact)
    lean, _ = terms.lobe_of(0.5 * one)
    assert bool((lean <= torch.maximum(terms.lean, terms.dielectric_lean) + 1e-6).all())
    assert bool((lean >= torch.minimum(terms.lean, terms.dielectric_lean) - 1e-6).all())


def test_no_lobe_sends_back_more_than_it_gets(terms_on_grid):
    terms, _, _ = terms_on_grid
    albedo = terms.scale + terms.bias
    assert float(albedo.max()) <= 1 + 1e-5
    assert float(albedo.min()) > 0.3
    assert float(terms.dielectric.max()) < 1
    assert float(terms.mean_albedo.max()) <= 1 + 1e-5


def test_a_smooth_mirror_loses_nothing():
    terms = ggx_table().lookup(torch.full((20,), 0.03), torch.linspace(0.2, 1, 20))
    torch.testing.assert_close(terms.scale + terms.bias, torch.ones(20), rtol=0, atol=2e-3)


def test_rougher_lobes_lose_more_at_grazing_angles():
    terms = ggx_table().lookup(torch.linspace(0.1, 1, 10), torch.full((10,), 0.2))
    albedo = terms.scale + terms.bias
    assert bool((albedo[1:] < albedo[:-1]).all())


def test_a_smooth_dielectric_reflects_as_fresnel_says():
    cosine = torch.linspace(0.2, 1, 30)
    terms = ggx_table().lookup(torch.full((30,), 0.03), cosine)
    torch.testing.assert_close(terms.dielectric, fresnel_dielectric(cosine), rtol=0, atol=4e-3)


def test_fresnel_is_four_percent_straight_on_and_all_at_grazing():
    values = fresnel_dielectric(torch.tensor([1.0, 1e-6], dtype=torch.float64))
    assert float(values[0]) == pytest.approx(((DIELECTRIC_IOR - 1) / (DIELECTRIC_IOR + 1)) ** 2)
    assert float(values[1]) == pytest.approx(1.0, abs=1e-4)


def test_the_lobe_leans_between_the_normal_and_the_mirror_direction(terms_on_grid):
    terms, _, _ = terms_on_grid
    assert float(terms.lean.min()) >= 0
    assert float(terms.lean.max()) <= 1
    smooth = ggx_table().lookup(torch.full((10,), 0.03), torch.linspace(0.3, 0.95, 10))
    rough = ggx_table().lookup(torch.full((10,), 0.9), torch.linspace(0.3, 0.95, 10))
    assert float(smooth.lean.min()) > 0.97
    assert float(rough.lean.max()) < 0.8


def test_the_lookup_widens_with_roughness_up_to_the_roughest_level(terms_on_grid):
    terms, _, _ = terms_on_grid
    for width in (terms.lobe_roughness, terms.dielectric_lobe_roughness):
        assert float(width.min()) > 0
        assert float(width.max()) <= 1
        assert bool((width[1:] >= width[:-1] - 1e-6).all())
        torch.testing.assert_close(width[-1], torch.ones_like(width[-1]), rtol=0, atol=0.02)


def test_the_mean_albedo_is_the_cosine_weighted_mean():
    mu = (torch.arange(4000) + 0.5) / 4000
    for roughness in (0.2, 0.5, 1.0):
        terms = ggx_table().lookup(torch.full_like(mu, roughness), mu)
        mean = float((2 * mu * (terms.scale + terms.bias)).mean())
        assert float(terms.mean_albedo[0]) == pytest.approx(mean, abs=2e-3)


def test_the_lookup_is_differentiable_in_roughness_and_angle():
    generator = torch.Generator().manual_seed(0)
    roughness = (torch.rand(6, generator=generator, dtype=torch.float64) * 0.8 + 0.1).requires_grad_()
    n_dot_v = (torch.rand(6, generator=generator, dtype=torch.float64) * 0.8 + 0.1).requires_grad_()
    table = ggx_table(dtype=torch.float64)

    def terms(r: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        found = table.lookup(r, v)
        return torch.stack(
            [found.scale, found.bias, found.dielectric, found.lean, *found.lobe_of(torch.full_like(r, 0.3))]
        )

    assert torch.autograd.gradcheck(terms, (roughness, n_dot_v))


def test_sampled_half_vectors_face_the_viewer_and_are_unit():
    generator = torch.Generator().manual_seed(1)
    u, v = torch.rand(2, 5000, generator=generator, dtype=torch.float64)
    view = torch.nn.functional.normalize(torch.tensor([0.8, 0.1, 0.3], dtype=torch.float64), dim=0).expand(5000, 3)
    half = sample_visible_half_vector(view, torch.full((5000,), 0.36, dtype=torch.float64), u, v)
    torch.testing.assert_close(half.norm(dim=-1), torch.ones(5000, dtype=torch.float64))
    assert float((half * view).sum(-1).min()) > -1e-9
    assert float(half[:, 2].min()) >= 0
