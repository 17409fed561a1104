"""Meshes: OBJ files, the wire arrays, tangents and normals; and what is wrong with a bad one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from shapes import plane, sphere, wire_arrays

from render.mesh import MeshError, mesh_from_arrays, smooth_normals
from render.obj import load_obj
from render.tangents import compute_tangents

SQUARE = """
v 0 0 0
v 1 0 0
v 1 1 0
v 0 1 0
vt 0 0
vt 1 0
vt 1 1
vt 0 1
"""


def write(tmp_path, text: str):
    path = tmp_path / "mesh.obj"
    path.write_text(text)
    return path


def test_spot_is_loaded_whole(data):
    mesh = load_obj(data / "spot" / "spot.obj")
    golden = np.load(data / "golden" / "image_spot.npz")
    assert len(mesh.triangles) == len(golden["t_pos_idx"]) == 5856
    corners = mesh.position[mesh.triangles]
    theirs = torch.tensor(golden["v_pos"])[torch.tensor(golden["t_pos_idx"].astype(np.int64))]
    # The golden mesh may be scaled and moved: its shape is compared.
    ours_shape, theirs_shape = (x - x.mean((0, 1)) for x in (corners, theirs))
    scale = theirs_shape.norm() / ours_shape.norm()
    torch.testing.assert_close(ours_shape * scale, theirs_shape, rtol=0, atol=1e-4)
    uv = torch.tensor(golden["v_tex"])[torch.tensor(golden["t_tex_idx"].astype(np.int64))]
    torch.testing.assert_close(mesh.uv[mesh.triangles], uv, rtol=0, atol=1e-6)
    torch.testing.assert_close(mesh.normal.norm(dim=-1), torch.ones(len(mesh.normal)))
    outward = (mesh.normal[mesh.triangles].mean(1) * mesh.geometric_normal).sum(-1)
    assert float((outward > 0).float().mean()) > 0.999


def test_a_square_becomes_two_triangles_with_v_pointing_down(tmp_path):
    mesh = load_obj(write(tmp_path, SQUARE + "f 1/1 2/2 3/3 4/4\n"))
    assert mesh.triangles.shape == (2, 3)
    assert len(mesh.position) == 4
    corner = {tuple(p): tuple(uv) for p, uv in zip(mesh.position.tolist(), mesh.uv.tolist(), strict=True)}
    assert corner == {(0, 0, 0): (0, 1), (1, 0, 0): (1, 1), (1, 1, 0): (1, 0), (0, 1, 0): (0, 0)}
    torch.testing.assert_close(mesh.normal, torch.tensor([[0.0, 0, 1]]).expand(4, 3))
    torch.testing.assert_close(mesh.geometric_normal, torch.tensor([[0.0, 0, 1]]).expand(2, 3))


def test_negative_indices_count_from_the_end(tmp_path):
    forward = load_obj(write(tmp_path, SQUARE + "f 1/1 2/2 3/3\n"))
    backward = load_obj(write(tmp_path, SQUARE + "f -4/-4 -3/-3 -2/-2\n"))
    assert torch.equal(forward.position, backward.position)
    assert torch.equal(forward.uv, backward.uv)


def test_given_normals_are_kept_and_split_vertices(tmp_path):
    text = SQUARE + "vn 0 0 2\nvn 0 1 0\nf 1/1/1 2/2/1 3/3/1\nf 1/1/2 3/3/2 4/4/2\n"
    mesh = load_obj(write(tmp_path, text))
    assert len(mesh.position) == 6
    assert {tuple(n) for n in mesh.normal.tolist()} == {(0, 0, 1), (0, 1, 0)}


def test_materials_are_numbered_as_they_come(tmp_path):
    faces = "usemtl red\nf 1/1 2/2 3/3\nusemtl blue\nf 1/1 3/3 4/4\nusemtl red\nf 1/1 2/2 4/4\n"
    assert load_obj(write(tmp_path, SQUARE + faces)).material.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("v 0 0 zero\n", r"line 1: 'v 0 0 zero' is not valid OBJ"),
        (SQUARE + "f 1/1 2/2 9/3\n", r"line 10: .*index 9 points beyond the 4 given"),
        (SQUARE + "\nf 1/1 2/2 3/7\n", r"line 11: .*index 7 points beyond the 4 given"),
        (SQUARE + "f 1/1 2/2 -5/3\n", r"line 10: .*index -5 points beyond"),
        (SQUARE + "f 1/1 x/2 3/3\n", r"line 10: 'f 1/1 x/2 3/3' is not valid OBJ"),
        (SQUARE, r"has no faces: export the mesh with its faces"),
        (SQUARE + "f 1 2 3\n", r"without texture coordinates: unwrap the mesh"),
    ],
)
def test_a_bad_obj_is_refused_with_its_line_or_a_cure(tmp_path, text, message):
    with pytest.raises(MeshError, match=message):
        load_obj(write(tmp_path, text))


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
        (poisoned, r"'vertex_normal' holds values that are not finite: mend the mesh"),
        (setting("triangles", np.zeros((0, 3), np.int32)), r"no triangles"),
        (setting("triangles", np.array([[0, 1, 9999]], np.int32)), r"indices beyond its vertices"),
        (setting("triangles", np.array([[0, -1, 2]], np.int32)), r"indices beyond its vertices"),
        (setting("vertex_normal", np.ones((5, 3), np.float32)), r"'vertex_normal' has 5 rows where 81 belong: export"),
        (setting("triangle_material", np.zeros(3, np.int32)), r"'triangle_material' has 3 rows where 128 belong"),
    ],
)
def test_bad_wire_arrays_are_refused_with_cause_and_cure(change, message):
    arrays = wire_arrays(plane())
    change(arrays)
    with pytest.raises(MeshError, match=message):
        mesh_from_arrays(arrays)


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
