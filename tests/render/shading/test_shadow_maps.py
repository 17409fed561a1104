"""What surfaces see of the sky, on the side that is looked at, where the answer is known or found by casting rays."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from support.shapes import bowl, inside_out, joined, moebius, partly_turned, plane, sphere

from render.geometry.mesh import Mesh
from render.shading.shadow_maps import SkyVisibility, shadow_maps, sky_visibility
from render.shading.visibility import shadow_directions


def without_flat_triangles(mesh: Mesh) -> Mesh:
    """The mesh without triangles that have no area, as at the poles of `sphere`."""
    kept = mesh.geometric_normal.norm(dim=-1) > 0.5
    return replace(mesh, triangles=mesh.triangles[kept], material=mesh.material[kept])


def ball(rings: int = 24, radius: float = 1.0) -> Mesh:
    return without_flat_triangles(sphere(rings, radius))


def front_openness(mesh: Mesh, direction: torch.Tensor) -> torch.Tensor:
    return sky_visibility(mesh, direction).openness()


def triangle_middles(
    mesh: Mesh, towards: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Corners, weights, views and unit normals of all triangles, seen from the side that `towards` [T, 3] points to."""
    normal = mesh.geometric_normal
    normal = torch.where((normal * towards).sum(-1, keepdim=True) >= 0, normal, -normal)
    return mesh.triangles, torch.full((len(normal), 3), 1 / 3), F.normalize(normal + 0.3 * towards, dim=-1), normal


def open_part(sky: SkyVisibility, corner, weight, view, normal) -> torch.Tensor:
    """Cosine-weighted openness of points about the normals of their triangles, [N]."""
    cosine = (normal @ sky.maps.direction.T).clamp(min=0)
    return (cosine * sky.of_points(corner, weight, view)).sum(-1) / cosine.sum(-1)


def cast(mesh: Mesh, origin: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    """Whether rays from points [N, 3] along directions [D, 3] meet no triangle, bool [N, D] (Moeller and Trumbore)."""
    a, b, c = mesh.position[mesh.triangles].double().unbind(1)
    origin, direction = origin.double(), direction.double()
    free = torch.ones(len(origin), len(direction), dtype=torch.bool)
    for i, ray in enumerate(direction):
        p = torch.linalg.cross(ray.expand_as(a), c - a)
        scale = 1 / ((b - a) * p).sum(-1)
        to_origin = origin[:, None] - a
        u = (to_origin * p).sum(-1) * scale
        q = torch.linalg.cross(to_origin, (b - a).expand_as(to_origin))
        v, t = (q @ ray) * scale, (q * (c - a)).sum(-1) * scale
        free[:, i] = ~((u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0)).any(1)
    return free


def test_a_ball_darkens_the_floor_under_it_as_geometry_says():
    floor = plane(2.0, 0.0, 16)
    mesh, direction = joined(floor, sphere(32, 0.5, (0.0, 1.0, 0.0))), shadow_directions(512)
    openness = front_openness(mesh, direction)[: len(floor.position)]
    distance = floor.position.norm(dim=-1)
    # A ball of radius r straight above at height h takes (r / h)^2 of the cosine-weighted light; the probe lies two texels
    # of the shadow map above the floor.
    height = 1 - 2 * 2 * mesh.bounding_sphere()[1] / 256
    assert float(openness[distance.argmin()]) == pytest.approx(1 - (0.5 / height) ** 2, abs=0.02)
    assert float(openness[distance > 2.2].min()) > 0.95
    near, far = openness[distance < 0.6].mean(), openness[(distance > 1.2) & (distance < 1.6)].mean()
    assert float(near) < float(far) - 0.1


def test_a_convex_ball_is_open_everywhere():
    assert float(front_openness(sphere(24), shadow_directions(128)).min()) > 0.97


def test_directions_well_below_the_horizon_are_blocked():
    mesh, direction = sphere(24), shadow_directions(128)
    visible = sky_visibility(mesh, direction).vertices
    below = mesh.normal @ direction.T < -0.5
    assert below.any()
    assert float(visible[below].float().mean()) < 1


def test_each_of_a_pair_of_directions_has_its_own_shadow_map():
    top, bottom = plane(1.0, 0.5, 4), plane(1.0, -0.5, 4, up=-1.0)
    mesh = joined(top, bottom)
    direction = torch.tensor([[0.0, 1, 0], [0.0, -1, 0]])
    visible = sky_visibility(mesh, direction).vertices
    inner = mesh.position[:, [0, 2]].abs().amax(-1) < 0.9
    upper = torch.arange(len(mesh.position)) < len(top.position)
    assert visible[inner & upper].unique(dim=0).tolist() == [[255, 0]]
    assert visible[inner & ~upper].unique(dim=0).tolist() == [[0, 255]]


def test_a_mesh_far_from_the_origin_and_of_any_size_sees_the_same():
    direction = shadow_directions(64)
    near = without_flat_triangles(bowl(12))
    far = replace(near, position=near.position * 200 + torch.tensor([3e3, -1e3, 500.0]))
    used = torch.unique(near.triangles)
    found = [sky_visibility(mesh, direction).openness(back=True)[used] for mesh in (near, far)]
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0.02)


def test_cancelling_stops_the_tracing_at_once():
    asked = []

    def cancelled() -> bool:
        asked.append(True)
        return len(asked) > 3

    maps = shadow_maps(sphere(8), shadow_directions(64), cancelled)
    assert len(asked) == 4
    assert maps.depth.shape == (32, 256 * 256, 2)
    assert maps.seen_from(sphere(8).position, cancelled).shape == (len(sphere(8).position), 64)
    assert len(asked) == 5


def test_a_ball_whose_normals_point_inwards_is_open_outside_and_closed_inside():
    mesh = inside_out(ball())
    sky = sky_visibility(mesh, shadow_directions(128))
    assert float(sky.openness().max()) < 0.01
    for front in (False, True):
        assert float(sky.openness(front=front, back=True).min()) > 0.97
    outside, inside = (
        open_part(sky, *triangle_middles(mesh, sign * mesh.position[mesh.triangles].mean(1))) for sign in (1, -1)
    )
    assert float(outside.min()) > 0.97
    assert float(inside.max()) < 0.01


@pytest.mark.parametrize("turn", [lambda mesh: mesh, inside_out], ids=["normals outside", "normals inside"])
def test_a_bowl_sees_half_of_the_sky_inside_and_all_of_it_outside(turn):
    mesh = without_flat_triangles(turn(bowl()))
    sky = sky_visibility(mesh, shadow_directions(512))
    middle = mesh.position[mesh.triangles].mean(1)
    # A cosine-weighted view from inside a ball is even over the ball: the missing half is half of it, from everywhere.
    away = middle[:, 1] < -0.15
    inside, outside = (open_part(sky, *triangle_middles(mesh, sign * middle))[away] for sign in (-1, 1))
    assert float((inside - 0.5).abs().mean()) < 0.02
    assert float((inside - 0.5).abs().max()) < 0.06
    assert float(outside.min()) > 0.97

    used = torch.unique(mesh.triangles)
    used = used[mesh.position[used, 1] < -0.15]
    inwards = bool((mesh.normal[0] * mesh.position[0]).sum() < 0)
    one_side = sky.openness(front=inwards, back=not inwards)[used]
    assert float((one_side - 0.5).abs().max()) < 0.06
    assert float(sky.openness(front=True, back=True)[used].min()) > 0.97


def test_faces_that_look_opposite_ways_are_open_outside():
    whole = ball()
    middle = whole.position[whole.triangles].mean(1)
    mesh = partly_turned(whole, (middle[:, 0] > 0.1) | (middle[:, 2] > 0.7))
    sky = sky_visibility(mesh, shadow_directions(256))
    outside, inside = (open_part(sky, *triangle_middles(mesh, sign * middle)) for sign in (1, -1))
    assert float(outside.min()) > 0.95
    assert float(inside.max()) < 0.02
    used = torch.unique(mesh.triangles)
    openness = sky.openness(back=True)[used]
    assert float(openness.min()) > 0.75
    upright = (mesh.normal * mesh.position).sum(-1).abs()[used] > 0.99
    assert 50 < int((~upright).sum()) < len(upright) / 4
    assert float(openness[upright].min()) > 0.97


def test_no_light_leaks_through_a_thin_wall():
    # Two balls, one in the other, a tenth of the distance apart that a test starts off the surface.
    for walls in ((ball(32), inside_out(ball(32, 0.998))), (inside_out(ball(32)), ball(32, 0.998))):
        mesh = joined(*walls)
        sky = sky_visibility(mesh, shadow_directions(128))
        middle = mesh.position[mesh.triangles].mean(1)
        outer = middle.norm(dim=-1) > float(middle.norm(dim=-1).median())
        outside, inside = (open_part(sky, *triangle_middles(mesh, sign * middle)) for sign in (1, -1))
        assert float(inside[~outer].max()) < 0.01
        assert float(outside[outer].min()) > 0.95


def test_a_moebius_strip_sees_what_rays_from_it_reach():
    mesh, direction = moebius(), shadow_directions(128)
    sky = sky_visibility(mesh, direction)
    chosen = torch.arange(0, len(mesh.triangles), 5)
    for sign in (1, -1):
        points = triangle_middles(mesh, sign * mesh.geometric_normal)
        corner, weight, view, normal = (column[chosen] for column in points)
        found = open_part(sky, corner, weight, view, normal)
        origin = mesh.position[corner].mean(1) + 1e-4 * normal
        cosine = (normal @ direction.T).clamp(min=0)
        truth = (cosine * cast(mesh, origin, direction)).sum(-1) / cosine.sum(-1)
        assert float((found - truth).abs().mean()) < 0.02
        assert float((found - truth).abs().max()) < 0.12
