"""Self-shadowing of shapes whose answer is known: a ball over a floor, a convex ball, two shields."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from support.shapes import joined, plane, sphere, studio

from render.bsdf.ggx import ggx_table
from render.light.cubemap import texel_solid_angles
from render.light.environment import env_from_latlong
from render.shading.visibility import (
    ROUGHNESS_NODES,
    LightCells,
    ShadowFactors,
    light_cells,
    shadow_directions,
    shadow_factors,
    vertex_visibility,
)


def openness(mesh, direction: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
    """The cosine-weighted part of its hemisphere that each vertex sees, [V]."""
    cosine = (mesh.normal @ direction.T).clamp(min=0)
    return (cosine * visible).sum(-1) / (255 * cosine.sum(-1))


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


def test_a_ball_darkens_the_floor_under_it_as_geometry_says():
    floor = plane(2.0, 0.0, 16)
    mesh, direction = joined(floor, sphere(32, 0.5, (0.0, 1.0, 0.0))), shadow_directions(512)
    open_part = openness(mesh, direction, vertex_visibility(mesh, direction))[: len(floor.position)]
    distance = floor.position.norm(dim=-1)
    # A ball of radius r straight above at height h takes (r / h)^2 of the cosine-weighted light; the probe lies two texels
    # of the shadow map above the floor.
    height = 1 - 2 * 2 * mesh.bounding_sphere()[1] / 256
    assert float(open_part[distance.argmin()]) == pytest.approx(1 - (0.5 / height) ** 2, abs=0.02)
    assert float(open_part[distance > 2.2].min()) > 0.95
    near, far = open_part[distance < 0.6].mean(), open_part[(distance > 1.2) & (distance < 1.6)].mean()
    assert float(near) < float(far) - 0.1


def test_a_convex_ball_is_open_everywhere():
    mesh, direction = sphere(24), shadow_directions(128)
    open_part = openness(mesh, direction, vertex_visibility(mesh, direction))
    assert float(open_part.min()) > 0.97


def test_directions_well_below_the_horizon_are_blocked():
    mesh, direction = sphere(24), shadow_directions(128)
    visible = vertex_visibility(mesh, direction)
    below = mesh.normal @ direction.T < -0.5
    assert below.any()
    assert float(visible[below].float().mean()) < 1


def test_each_of_a_pair_of_directions_has_its_own_shadow_map():
    top, bottom = plane(1.0, 0.5, 4), plane(1.0, -0.5, 4, up=-1.0)
    mesh = joined(top, bottom)
    direction = torch.tensor([[0.0, 1, 0], [0.0, -1, 0]])
    visible = vertex_visibility(mesh, direction)
    inner = mesh.position[:, [0, 2]].abs().amax(-1) < 0.9
    upper = torch.arange(len(mesh.position)) < len(top.position)
    assert visible[inner & upper].unique(dim=0).tolist() == [[255, 0]]
    assert visible[inner & ~upper].unique(dim=0).tolist() == [[0, 255]]


def test_cancelling_stops_the_tracing_at_once():
    asked = []

    def cancelled() -> bool:
        asked.append(True)
        return len(asked) > 3

    visible = vertex_visibility(sphere(8), shadow_directions(64), cancelled)
    assert len(asked) == 4
    assert visible.shape == (len(sphere(8).position), 64)


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
    visible = vertex_visibility(mesh, direction)
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
