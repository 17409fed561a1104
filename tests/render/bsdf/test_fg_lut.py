"""The BRDF table: known limits, a sum over a plain grid, its lookup."""

from __future__ import annotations

import math

import pytest
import torch

from render.bsdf.fg_lut import fg_lut, lookup_fg
from render.bsdf.ggx import sample_visible_half_vector


def brute_force(roughness: float, n_dot_v: float, count: int = 1000) -> tuple[float, float]:
    """The split-sum pair over a plain grid of visible normals, without a search for the horizon."""
    grid = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    u, v = (part.reshape(-1) for part in torch.meshgrid(grid, grid, indexing="ij"))
    alpha = torch.full_like(u, roughness**2)
    view = torch.tensor([math.sqrt(1 - n_dot_v**2), 0, n_dot_v], dtype=torch.float64)
    half = sample_visible_half_vector(view.expand(len(u), 3), alpha, u, v)
    v_dot_h = half @ view
    n_dot_l = 2 * v_dot_h * half[:, 2] - n_dot_v
    # Height-correlated Smith, G2 / G1, with the lengths sqrt(alpha^2 + (1 - alpha^2) cos^2).
    cosines = (torch.full_like(u, n_dot_v), n_dot_l.clamp(min=0))
    of_view, of_light = (torch.sqrt(alpha**2 + (1 - alpha**2) * cosine**2) for cosine in cosines)
    masking = 2 * n_dot_v / (n_dot_v + of_view)
    both = 2 * cosines[1] * n_dot_v / (cosines[1] * of_view + n_dot_v * of_light)
    weight = both / masking
    schlick = (1 - v_dot_h.clamp(0, 1)) ** 5
    return float((weight * (1 - schlick)).mean()), float((weight * schlick).mean())


@pytest.mark.parametrize(
    ("row", "column"), [(30, 40), (97, 250), (128, 128), (200, 5), (255, 0), (255, 255), (63, 200)]
)
def test_the_table_is_the_integral(row: int, column: int):
    expected = brute_force((row + 0.5) / 256, (column + 0.5) / 256)
    found = fg_lut(dtype=torch.float64)[row, column]
    assert found.tolist() == pytest.approx(expected, abs=4e-4)


def test_known_limits():
    table = fg_lut()
    assert table.shape == (256, 256, 2)
    assert bool(table.isfinite().all())
    assert float(table.min()) >= 0
    albedo = table.sum(dim=-1)
    assert float(albedo.max()) <= 1 + 1e-4
    # A mirror reflects everything, and Schlick's curve is its own integral.
    n_dot_v = (torch.arange(256) + 0.5) / 256
    torch.testing.assert_close(albedo[0, 20:], torch.ones(236), rtol=0, atol=1e-3)
    torch.testing.assert_close(table[0, 20:, 1], ((1 - n_dot_v) ** 5)[20:], rtol=0, atol=2e-3)
    # Single scattering loses energy as roughness grows.
    assert bool((albedo[:, 200].diff() < 1e-4).all())
    assert 0.3 < float(albedo[255, 255]) < 0.32


@pytest.mark.parametrize("resolution", [1, 2, 7, 64])
def test_other_resolutions_sample_the_same_integrals(resolution: int):
    centers = (torch.arange(resolution) + 0.5) / resolution
    roughness, n_dot_v = torch.meshgrid(centers, centers, indexing="ij")
    expected = torch.stack(lookup_fg(fg_lut(256), roughness, n_dot_v), dim=-1)
    torch.testing.assert_close(fg_lut(resolution), expected, rtol=0, atol=6e-3)
    with pytest.raises(ValueError, match="positive resolution, not 0"):
        fg_lut(0)


def test_lookup_is_bilinear_between_centres_and_constant_outside(device: str):
    lut = torch.rand(4, 4, 2, device=device)
    at = torch.tensor([0.125, 0.375, 0.625, 0.875], device=device)
    roughness, n_dot_v = torch.meshgrid(at, at, indexing="ij")
    torch.testing.assert_close(torch.stack(lookup_fg(lut, roughness, n_dot_v), dim=-1), lut)
    ends = torch.tensor([-1.0, 0.0, 1.0, 2.0], device=device)
    scale, _ = lookup_fg(lut, ends, ends)
    torch.testing.assert_close(scale, torch.stack([lut[0, 0, 0]] * 2 + [lut[3, 3, 0]] * 2))
    scale, _ = lookup_fg(lut, torch.tensor(0.25, device=device), torch.tensor(0.5, device=device))
    torch.testing.assert_close(scale, lut[0:2, 1:3, 0].mean())
    assert lookup_fg(lut, ends[:0], ends[:0])[0].shape == (0,)


def test_gradients_of_the_lookup():
    lut = torch.rand(5, 5, 2, dtype=torch.float64, requires_grad=True)
    roughness, n_dot_v = (torch.rand(2, 9, dtype=torch.float64) * 0.9 + 0.02).requires_grad_().unbind()
    assert torch.autograd.gradcheck(lookup_fg, (lut, roughness, n_dot_v))
