"""Factors of self-shadowing where the answer is known: open surfaces, even light, a wall on one side."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from support.shapes import sphere, studio

from render.bsdf.ggx import ggx_table
from render.light.cubemap import texel_solid_angles
from render.light.environment import env_from_latlong
from render.shading.shadow_maps import sky_visibility
from render.shading.visibility import (
    ROUGHNESS_NODES,
    LightCells,
    ShadowFactors,
    light_cells,
    shadow_directions,
    shadow_factors,
)


def even_cells(direction: torch.Tensor) -> LightCells:
    count = len(direction)
    return LightCells(direction, torch.full((count,), 4 * math.pi / count), torch.ones(count, 3))


def everything_open(direction: torch.Tensor):
    return lambda part: torch.ones(part.stop - part.start, len(direction))


def test_directions_come_in_opposite_pairs_spread_evenly():
    direction = shadow_directions(64)
    assert direction.shape == (64, 3)
    torch.testing.assert_close(direction[32:], -direction[:32])
    torch.testing.assert_close(direction.T @ direction / 64, torch.eye(3) / 3, rtol=0, atol=0.02)


def test_light_cells_keep_all_light():
    base = env_from_latlong(torch.from_numpy(studio()), 32).base.detach()
    cells = light_cells(base, shadow_directions(128))
    assert float(cells.solid_angle.sum()) == pytest.approx(4 * math.pi, rel=1e-4)
    energy = (base * texel_solid_angles(32).expand(6, 32, 32)[..., None]).sum((0, 1, 2))
    torch.testing.assert_close((cells.radiance * cells.solid_angle[:, None]).sum(0), energy, rtol=1e-4, atol=1e-4)
    brightest = cells.direction[cells.radiance[:, 0].argmax()]
    texels = light_cells(base, shadow_directions(2048))
    assert float(brightest @ texels.direction[texels.radiance[:, 0].argmax()]) > 0.95


def test_an_open_surface_in_even_light_keeps_its_light():
    direction = shadow_directions(512)
    normal = shadow_directions(20)
    view = F.normalize(normal + 0.8 * torch.roll(normal, 1, 0), dim=-1)
    view = torch.where((view * normal).sum(-1, keepdim=True) > 0.3, view, normal)
    factors = shadow_factors(
        normal, view, everything_open(direction), even_cells(direction), torch.zeros(512, 3), ggx_table()
    )
    torch.testing.assert_close(factors.diffuse, torch.ones(20, 3), rtol=0, atol=1e-5)
    torch.testing.assert_close(factors.specular, torch.ones(20, 3, 3), rtol=0, atol=1e-4)


def test_a_convex_ball_in_a_smooth_light_keeps_its_highlights_at_middle_roughness():
    mesh, direction = sphere(16), shadow_directions(256)
    visible = sky_visibility(mesh, direction).vertices
    chosen = (mesh.normal[:, 2] > 0.5).nonzero()[:, 0]
    view = torch.tensor([0.0, 0, 1]).expand(len(chosen), 3)
    sky = 0.6 + 0.3 * torch.linspace(0, math.pi, 32).cos()
    cells = light_cells(env_from_latlong(sky[:, None, None].expand(32, 64, 3), 32).base.detach(), direction)
    factors = shadow_factors(
        mesh.normal[chosen], view, lambda part: visible[chosen[part]] / 255, cells, torch.zeros(256, 3), ggx_table()
    )
    assert float((factors.diffuse - 1).abs().max()) < 0.03
    middle = factors.specular[:, 1]
    assert float((middle - 1).abs().mean()) < 0.05
    assert float((middle - 1).abs().max()) < 0.15


def test_what_blocks_the_light_sends_its_own():
    direction = shadow_directions(256)
    normal = view = torch.tensor([[0.0, 1, 0]])
    blocked = lambda part: torch.zeros(part.stop - part.start, 256)  # noqa: E731
    for radiance in (0.0, 0.4):
        blocker = torch.full((256, 3), radiance)
        factors = shadow_factors(normal, view, blocked, even_cells(direction), blocker, ggx_table())
        torch.testing.assert_close(factors.diffuse, torch.full((1, 3), radiance), rtol=0, atol=1e-5)
        torch.testing.assert_close(factors.specular, torch.full((1, 3, 3), radiance), rtol=0, atol=1e-4)


def test_a_wall_on_one_side_takes_half_of_the_light():
    direction = shadow_directions(512)
    normal = view = torch.tensor([[0.0, 1, 0]])
    open_side = (direction[:, 0] > 0).float()
    factors = shadow_factors(
        normal, view, lambda part: open_side[None], even_cells(direction), torch.zeros(512, 3), ggx_table()
    )
    torch.testing.assert_close(factors.diffuse, torch.full((1, 3), 0.5), rtol=0, atol=0.02)
    torch.testing.assert_close(factors.specular, torch.full((1, 3, 3), 0.5), rtol=0, atol=0.1)


def test_the_specular_factor_is_linear_between_its_roughnesses_and_constant_beyond():
    specular = torch.tensor([[[0.2], [0.6], [1.0]]]).expand(1, 3, 3)
    factors = ShadowFactors(torch.ones(1, 3), specular)
    low, middle, high = ROUGHNESS_NODES
    for roughness, expected in (
        (0.0, 0.2),
        (low, 0.2),
        ((low + middle) / 2, 0.4),
        (middle, 0.6),
        ((middle + high) / 2, 0.8),
        (high, 1.0),
        (1.0, 1.0),
    ):
        found = factors.specular_at(torch.tensor([[roughness]]))
        torch.testing.assert_close(found, torch.full((1, 3), expected), rtol=0, atol=1e-6)


def test_rows_of_factors_belong_together():
    factors = ShadowFactors(torch.arange(6.0).reshape(2, 3), torch.arange(18.0).reshape(2, 3, 3))
    second = factors.rows(torch.tensor([1]))
    assert second.diffuse.tolist() == [[3, 4, 5]]
    assert second.specular[0, 0].tolist() == [9, 10, 11]
