"""Meshes: the wire arrays, several indices made one, normals and sizes; and what is wrong with a bad one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.shapes import plane, sphere, wire_arrays

from render.geometry.mesh import (
    MeshError,
    center_by_reference,
    mesh_from_arrays,
    mesh_from_indexed,
    smooth_normals,
    unify_indices,
    unit_size,
    validate,
)


def test_wire_arrays_become_the_mesh_again():
    mesh = sphere(8)
    back = mesh_from_arrays(wire_arrays(mesh))
    for name in ("position", "normal", "tangent", "uv"):
        torch.testing.assert_close(getattr(back, name), getattr(mesh, name), rtol=0, atol=1e-6)
    assert torch.equal(back.triangles, mesh.triangles)
    assert torch.equal(back.material, mesh.material)


def without(name: str):
    return lambda arrays: arrays.pop(name)


def setting(name: str, value: object):
    return lambda arrays: arrays.__setitem__(name, value)


def poisoned(arrays: dict[str, np.ndarray]) -> None:
    arrays["vertex_normal"] = arrays["vertex_normal"].copy()
    arrays["vertex_normal"][3, 1] = np.nan


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("vertex_uv"), r"'vertex_uv' is missing; it must be \[n, 2\]: export the mesh again"),
        (setting("vertex_tangent", np.zeros((5, 3), np.float32)), r"'vertex_tangent' is of shape \[5, 3\]"),
        (setting("triangles", np.zeros(9, np.int32)), r"'triangles' is of shape \[9\]"),
        (poisoned, r"'vertex_normal' holds values that are not finite: fix the mesh"),
        (setting("triangles", np.zeros((0, 3), np.int32)), r"no triangles"),
        (setting("triangles", np.array([[0, 1, 9999]], np.int32)), r"indices beyond its vertices"),
        (setting("triangles", np.array([[0, -1, 2]], np.int32)), r"indices beyond its vertices"),
        (setting("vertex_normal", np.ones((5, 3), np.float32)), r"'vertex_normal' has 5 rows instead of 81: export"),
        (setting("triangle_material", np.zeros(3, np.int32)), r"'triangle_material' has 3 rows instead of 128"),
    ],
)
def test_bad_wire_arrays_are_refused_with_cause_and_cure(change, message):
    arrays = wire_arrays(plane())
    change(arrays)
    with pytest.raises(MeshError, match=message):
        mesh_from_arrays(arrays)


def test_smooth_normals_of_a_sphere_point_outward():
    mesh = sphere(32)
    # The seam and the poles have several vertices in one place, each with a part of the triangles.
    inner = (mesh.uv[:, 0] > 0) & (mesh.uv[:, 0] < 1) & (mesh.normal[:, 1].abs() < 0.99)
    normal = smooth_normals(mesh.position, mesh.triangles)
    assert float((normal * mesh.normal).sum(-1)[inner].min()) > 0.995


def test_vertices_without_area_get_a_normal_all_the_same():
    normal = smooth_normals(torch.zeros(4, 3), torch.tensor([[0, 1, 2]]))
    torch.testing.assert_close(normal, torch.tensor([0.0, 0, 1]).expand(4, 3))


def test_the_bounding_sphere_holds_every_vertex():
    mesh = sphere(8, 0.5, (1.0, -2.0, 3.0))
    center, radius = mesh.bounding_sphere()
    torch.testing.assert_close(center, torch.tensor([1.0, -2, 3]), rtol=0, atol=1e-5)
    assert radius == pytest.approx(0.5, abs=1e-5)


def test_smooth_normals_have_the_gradient_of_finite_differences():
    generator = torch.Generator().manual_seed(2)
    position = torch.rand(7, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    triangles = torch.randint(0, 7, (9, 3), generator=generator)
    assert torch.autograd.gradcheck(lambda p: smooth_normals(p, triangles), position)


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1.0, 1e6, 1e15])
def test_smooth_normals_do_not_depend_on_the_scale(scale, device):
    generator = torch.Generator().manual_seed(1)
    position = torch.rand(20, 3, generator=generator).to(device)
    triangles = torch.arange(60, device=device).reshape(20, 3) * 7 % 20
    expected = smooth_normals(position, triangles)
    torch.testing.assert_close(smooth_normals(position * scale, triangles), expected, rtol=0, atol=1e-4)


def test_degenerate_triangles_give_the_positions_no_gradient_that_is_not_finite():
    position = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 0, 0], [2, 0, 0]], requires_grad=True)
    smooth_normals(position, torch.tensor([[0, 1, 2], [0, 1, 3]])).sum().backward()
    assert bool(position.grad.isfinite().all())


def test_several_indices_become_one():
    columns = [torch.tensor([3, 0, 3, 3, 0]), torch.tensor([0, 9, 0, 1, 9]), torch.tensor([5, 5, 5, 5, 5])]
    rows, inverse = unify_indices(*columns)
    assert rows.tolist() == [[0, 9, 5], [3, 0, 5], [3, 1, 5]]
    assert torch.equal(rows[inverse], torch.stack(columns, 1))


def test_attributes_with_an_index_each_become_a_mesh(data, device):
    golden = np.load(data / "golden" / "image_spot.npz")
    names = ("v_pos", "t_pos_idx", "v_nrm", "t_nrm_idx", "v_tex", "t_tex_idx", "v_tng", "t_tng_idx")
    arrays = [torch.tensor(golden[name], device=device) for name in names]
    mesh = mesh_from_indexed(*arrays)
    for name, value, index in zip(("position", "normal", "uv"), arrays[::2], arrays[1::2], strict=False):
        assert torch.equal(getattr(mesh, name)[mesh.triangles], value[index.long()]), name
    assert torch.equal(mesh.tangent[mesh.triangles][..., :3], arrays[6][arrays[7].long()])
    assert bool((mesh.tangent[:, 3] == 1).all())
    assert len(mesh.position) == len(torch.unique(torch.stack([i.reshape(-1) for i in arrays[1::2]], 1), dim=0))
    with pytest.raises(MeshError, match=r"the uv index points beyond the 3 values: check the indices"):
        mesh_from_indexed(*arrays[:4], arrays[4][:3], *arrays[5:])
    with pytest.raises(MeshError, match=r"the normal index is \[1, 3\]"):
        mesh_from_indexed(*arrays[:3], arrays[3][:1], *arrays[4:])


def test_unit_size_fits_the_mesh_into_the_cube_of_two():
    mesh = unit_size(sphere(8, 5.0, (1.0, 2.0, 3.0)))
    low, high = mesh.position.amin(0), mesh.position.amax(0)
    torch.testing.assert_close(low + high, torch.zeros(3), rtol=0, atol=1e-5)
    assert float((high - low).max()) == pytest.approx(2, abs=1e-5)


def test_a_mesh_is_moved_as_its_reference_is():
    mesh = center_by_reference(plane(1.0, 3.0), torch.tensor([[0.0, 1, 0], [2, 5, 2]]), 2.0)
    torch.testing.assert_close(mesh.position.amin(0), torch.tensor([-1.0, 0, -1]))
    torch.testing.assert_close(mesh.position.amax(0), torch.tensor([0.0, 0, 0]))
    with pytest.raises(MeshError, match=r"the reference box is 0\.0 long"):
        center_by_reference(mesh, torch.ones(2, 3), 2.0)


def test_what_a_renderer_can_live_with_is_reported():
    mesh = plane()
    triangles = torch.cat([mesh.triangles, torch.tensor([[0, 0, 1], [3, 3, 3]])])
    normal = mesh.normal.clone()
    normal[5] = 0
    report = validate(replace(mesh, triangles=triangles, normal=normal, material=torch.zeros(len(triangles)).long()))
    assert (report.triangles_without_area, report.vertices_without_normal) == (2, 1)


def not_finite(value: torch.Tensor) -> torch.Tensor:
    value = value.clone()
    value[3, 1] = float("inf")
    return value


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: {"triangles": m.triangles[:0], "material": m.material[:0]}, r"no triangles: export"),
        (lambda m: {"triangles": m.triangles + 60}, r"indices beyond its 81 vertices"),
        (lambda m: {"triangles": m.triangles - 1}, r"indices beyond its 81 vertices"),
        (lambda m: {"material": m.material - 1}, r"negative material"),
        (lambda m: {"material": m.material[1:]}, r"material is \[127\] instead of \[128\]"),
        (lambda m: {"uv": m.uv[:, :1]}, r"uv is \[81, 1\] instead of \[81, 2\]"),
        (lambda m: {"position": m.position * 0}, r"128 triangles, and none has an area"),
        (lambda m: {"position": not_finite(m.position)}, r"1 vertices whose position is not finite \(the first: 3\)"),
        (lambda m: {"tangent": not_finite(m.tangent)}, r"1 vertices whose tangent is not finite"),
    ],
)
def test_a_bad_mesh_is_refused_with_cause_and_cure(change, message):
    mesh = plane()
    with pytest.raises(MeshError, match=message):
        validate(replace(mesh, **change(mesh)))


@pytest.mark.parametrize("scale", [1e-15, 1e-6, 1.0, 1e6, 1e15])
def test_face_normals_do_not_depend_on_the_scale(scale, device):
    mesh = plane().to(device)
    triangles = torch.cat([mesh.triangles, torch.tensor([[0, 40, 80], [1, 1, 2]], device=device)])
    scaled = replace(mesh, position=mesh.position * scale, triangles=triangles)
    torch.testing.assert_close(scaled.geometric_normal[:-2], mesh.normal[:1].expand(128, 3), rtol=0, atol=1e-5)
    assert scaled.geometric_normal[-2:].abs().max() == 0
