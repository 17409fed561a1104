"""Tangents: along u, signed, split at mirrored seams, finite whatever the mesh; see also tests/blender_addon."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support.shapes import plane, sphere

from render.geometry.mesh import Mesh, validate
from render.geometry.tangents import compute_tangents, connected_components


def made(position, uv, triangles, normal=None, dtype=torch.float32) -> Mesh:
    position, uv = torch.tensor(position, dtype=dtype), torch.tensor(uv, dtype=dtype)
    normal = torch.tensor([[0.0, 0, 1]], dtype=dtype).expand_as(position) if normal is None else normal
    triangles = torch.tensor(triangles)
    material = torch.zeros(len(triangles), dtype=torch.int64)
    return Mesh(position, normal.clone(), torch.zeros(len(position), 4, dtype=dtype), uv, triangles, material)


def assert_sound(mesh: Mesh) -> None:
    """Tangents are unit vectors at right angles to the normals, with a sign."""
    tangent = mesh.tangent
    assert tangent.shape == (len(mesh.position), 4)
    assert bool(tangent.isfinite().all())
    torch.testing.assert_close(tangent[:, :3].norm(dim=-1), torch.ones_like(tangent[:, 0]), rtol=0, atol=1e-5)
    assert float((tangent[:, :3] * F.normalize(mesh.normal, dim=-1)).sum(-1).abs().max()) < 1e-5
    assert set(tangent[:, 3].tolist()) <= {1.0, -1.0}


def test_tangents_point_along_u_and_the_frame_leads_along_v():
    mesh = sphere(16)
    corners = mesh.triangles
    edges = [mesh.position[corners[:, i]] - mesh.position[corners[:, 0]] for i in (1, 2)]
    uvs = [mesh.uv[corners[:, i]] - mesh.uv[corners[:, 0]] for i in (1, 2)]
    determinant = (uvs[0][:, 0] * uvs[1][:, 1] - uvs[0][:, 1] * uvs[1][:, 0])[:, None]
    along_u = (edges[0] * uvs[1][:, 1:] - edges[1] * uvs[0][:, 1:]) / determinant
    along_v_down = (edges[1] * uvs[0][:, :1] - edges[0] * uvs[1][:, :1]) / determinant
    tangent, sign = mesh.tangent[corners[:, 0], :3], mesh.tangent[corners[:, 0], 3:]
    bitangent = sign * torch.linalg.cross(mesh.normal[corners[:, 0]], tangent)
    away_from_poles = mesh.normal[corners[:, 0], 1].abs() < 0.9
    assert float(F.cosine_similarity(tangent, along_u)[away_from_poles].min()) > 0.95
    # The bitangent points along Blender's v, which points up.
    assert float(F.cosine_similarity(bitangent, -along_v_down)[away_from_poles].min()) > 0.95


def test_mirrored_texture_coordinates_flip_the_sign_and_the_tangent():
    mesh = plane()
    mirrored = type(mesh)(**{**vars(mesh), "uv": mesh.uv * torch.tensor([-1.0, 1.0])})
    tangent, flipped = compute_tangents(mesh).tangent, compute_tangents(mirrored).tangent
    torch.testing.assert_close(flipped[:, :3], -tangent[:, :3])
    torch.testing.assert_close(flipped[:, 3], -tangent[:, 3])
    torch.testing.assert_close(tangent[:, :3], torch.tensor([1.0, 0, 0]).expand(len(tangent), 3))
    assert set(tangent[:, 3].tolist()) == {1.0}


def test_tangents_are_unit_and_upright_even_without_a_mapping():
    mesh = sphere(8)
    unmapped = type(mesh)(**{**vars(mesh), "uv": torch.zeros_like(mesh.uv)})
    for candidate in (mesh, unmapped):
        tangent = compute_tangents(candidate).tangent
        torch.testing.assert_close(tangent[:, :3].norm(dim=-1), torch.ones(len(tangent)), rtol=0, atol=1e-5)
        assert float((tangent[:, :3] * candidate.normal).sum(-1).abs().max()) < 1e-5
        assert set(tangent[:, 3].abs().tolist()) == {1.0}


def test_one_triangle():
    mesh = compute_tangents(made([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 0], [0, 1], [1, 0]], [[0, 1, 2]]))
    torch.testing.assert_close(mesh.tangent, torch.tensor([[0.0, 1, 0, 1]]).expand(3, 4))


FOLD = ([[-1, 0, 0], [0, 0, 0], [0, 1, 0], [1, 0, 0]], [[1, 1], [0, 1], [0, 0], [1, 1]], [[0, 1, 2], [1, 3, 2]])


def test_the_two_sides_of_a_mirrored_seam_get_vertices_of_their_own():
    mesh = made(*FOLD)
    split = compute_tangents(mesh)
    assert len(split.position) == 6
    torch.testing.assert_close(split.position[:4], mesh.position)
    left, right = split.tangent[split.triangles[0]], split.tangent[split.triangles[1]]
    torch.testing.assert_close(left, torch.tensor([[-1.0, 0, 0, -1]]).expand(3, 4))
    torch.testing.assert_close(right, torch.tensor([[1.0, 0, 0, 1]]).expand(3, 4))
    for name in ("position", "normal", "uv"):
        assert torch.equal(getattr(split, name)[split.triangles], getattr(mesh, name)[mesh.triangles])
    assert_sound(split)


def test_computing_again_changes_nothing():
    once = compute_tangents(made(*FOLD))
    twice = compute_tangents(once)
    assert torch.equal(once.tangent, twice.tangent)
    assert torch.equal(once.triangles, twice.triangles)


def test_vertices_that_are_alike_count_as_one():
    mesh = sphere(6)
    corners = mesh.triangles.reshape(-1)
    values = {name: getattr(mesh, name)[corners] for name in ("position", "normal", "uv", "tangent")}
    loose = compute_tangents(replace(mesh, **values, triangles=torch.arange(len(corners)).reshape(-1, 3)))
    regular = (mesh.geometric_normal != 0).any(-1)
    ours, theirs = loose.tangent[loose.triangles][regular], mesh.tangent[mesh.triangles][regular]
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_vertices_without_triangles_stay_and_are_sound():
    mesh = plane()
    alone = replace(mesh, triangles=mesh.triangles[:1], material=mesh.material[:1])
    assert_sound(compute_tangents(alone))
    assert len(compute_tangents(alone).position) == len(mesh.position)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("uv_scale", [1e-4, 1.0, 1e6])
def test_sizes_do_not_matter(scale, uv_scale, device):
    mesh = plane().to(device)
    position = mesh.position + mesh.normal * torch.sin(mesh.position[:, :1] * 3) * 0.2
    mesh = replace(mesh, position=position)
    scaled = compute_tangents(replace(mesh, position=position * scale, uv=mesh.uv * uv_scale))
    torch.testing.assert_close(scaled.tangent, compute_tangents(mesh).tangent, rtol=0, atol=1e-3)
    assert_sound(scaled)


@pytest.mark.parametrize("seed", range(8))
def test_any_mesh_gets_sound_tangents(seed, device):
    """Few distinct values: duplicate vertices, triangles without area, edges of many triangles, normals of no length."""
    random = np.random.default_rng(seed)
    vertices, triangles = 40, 60
    mesh = Mesh(
        position=torch.from_numpy(random.integers(0, 3, (vertices, 3)) * 10.0 ** random.integers(-6, 7)).float(),
        normal=F.normalize(torch.from_numpy(random.integers(-1, 2, (vertices, 3))).float(), dim=-1),
        tangent=torch.zeros(vertices, 4),
        uv=torch.from_numpy(random.integers(0, 3, (vertices, 2)) * 0.5).float(),
        triangles=torch.from_numpy(random.integers(0, vertices, (triangles, 3))),
        material=torch.zeros(triangles, dtype=torch.int64),
    ).to(device)
    found = compute_tangents(mesh)
    assert_sound(found)
    validate(found)
    for name in ("position", "normal", "uv"):
        assert torch.equal(getattr(found, name)[found.triangles], getattr(mesh, name)[mesh.triangles])
    # Each triangle with an area in the uv gets its own orientation at all its corners.
    uv = mesh.uv[mesh.triangles].double()
    area = -torch.linalg.det(torch.stack([uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]], 1)).round(decimals=6)
    corners = mesh.position[mesh.triangles]
    apart = (corners != corners.roll(1, 1)).any(-1).all(-1)
    counts = (area != 0) & apart & (torch.linalg.matrix_rank(corners[:, 1:] - corners[:, :1], rtol=1e-4) == 2)
    signs = found.tangent[found.triangles][..., 3]
    assert torch.equal(signs[counts], area.sign()[counts][:, None].expand(-1, 3).float())


def test_a_triangle_without_area_in_the_uv_takes_the_tangents_beside_it():
    position = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]
    mesh = made(position, [[0, 0], [0, 1], [1, 1], [0, 0]], [[0, 1, 2], [0, 2, 3]])
    found = compute_tangents(mesh)
    torch.testing.assert_close(found.tangent[:3], found.tangent[:1].expand(3, 4))
    assert_sound(found)


def test_the_slow_way_of_joining_equal_vertices_gives_the_same(monkeypatch):
    monkeypatch.setattr("render.geometry.tangents._HASH_FACTOR", 0)
    monkeypatch.setattr("render.geometry.tangents._HASH_STEP", 0)
    ours = compute_tangents(made(*FOLD))
    monkeypatch.undo()
    assert torch.equal(ours.tangent, compute_tangents(made(*FOLD)).tangent)


def test_components_are_named_after_their_least_member():
    random = np.random.default_rng(0)
    one, two = torch.from_numpy(random.integers(0, 300, (2, 250)))
    label = connected_components(300, one, two)
    expected = list(range(300))
    for _ in range(300):
        for a, b in zip(one.tolist(), two.tolist(), strict=True):
            expected[a] = expected[b] = min(expected[a], expected[b])
    assert label.tolist() == expected
    chain = torch.arange(4999)
    assert bool((connected_components(5000, chain + 1, chain) == 0).all())


def test_tangents_have_the_gradient_of_finite_differences():
    mesh = sphere(3)
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(mesh.position.shape, generator=generator, dtype=torch.float64) * 0.05
    wide = replace(mesh, normal=mesh.normal.double(), uv=mesh.uv.double(), tangent=mesh.tangent.double())

    def tangents(position: torch.Tensor) -> torch.Tensor:
        return compute_tangents(replace(wide, position=position)).tangent

    position = (mesh.position.double() + noise).requires_grad_()
    assert torch.autograd.gradcheck(tangents, position)
    normal = wide.normal.clone().requires_grad_()
    position = position.detach()
    assert torch.autograd.gradcheck(
        lambda n: compute_tangents(replace(wide, position=position, normal=n)).tangent, normal
    )


def test_gradients_are_finite_also_where_triangles_are_degenerate():
    mesh = sphere(6)
    position = mesh.position.clone().requires_grad_()
    compute_tangents(replace(mesh, position=position)).tangent.square().sum(0)[0].backward()
    assert bool(position.grad.isfinite().all())
