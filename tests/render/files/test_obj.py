"""OBJ and MTL files: every form of face, what is saved comes back, and what is wrong with a bad one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.shapes import joined, plane, sphere

from render.core.image_io import ImageError, write_image
from render.files.mtl import MaterialTextures, MtlMaterial, load_material_textures, load_mtl
from render.files.obj import load_obj, read_obj, save_obj
from render.geometry.mesh import Mesh, MeshError
from render.texture.texture import Texture2D

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
        (SQUARE + "f 1/1 2/2\n", r"line 10: 'f 1/1 2/2' is not valid OBJ \(a face has three corners or more\)"),
        (SQUARE + "f 1/1 2/2 0/3\n", r"line 10: .*index 0 points beyond the 4 given"),
        (SQUARE + "f 1/1 2/2 3/3\nf 1/1 2/2.5 3/3 4/4\n", r"line 11: .*is not valid OBJ"),
        (SQUARE + "f 1/1/1/1 2/2 3/3\n", r"line 10: .*1/1/1/1 is not v, v/vt, v//vn or v/vt/vn"),
        (SQUARE + "f /1 /2 /3\n", r"line 10: ./*"),
        (SQUARE + "f 1/1 2/2 3/3 # fine\nv 1 2\n", r"line 11: 'v 1 2' is not valid OBJ \(finite numbers are missing"),
        (SQUARE + "v 1 nan 2\nf 1/1 2/2 3/3\n", r"line 10: 'v 1 nan 2' is not valid OBJ"),
        (SQUARE + "v 1 1e99 2\nf 1/1 2/2 5/3\n", r"position is not finite"),
        (SQUARE + "f 1/1 1/2 1/3\n", r"1 triangles, and none has an area"),
        ("", r"has no faces"),
        (SQUARE + "f 1 2 3\n", r"without texture coordinates: unwrap the mesh"),
    ],
)
def test_a_bad_obj_is_refused_with_its_line_or_a_cure(tmp_path, text, message):
    with pytest.raises(MeshError, match=message):
        load_obj(write(tmp_path, text))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(MeshError, match=r"none\.obj cannot be read \(No such file"):
        load_obj(tmp_path / "none.obj")


def corner_values(mesh: Mesh) -> list:
    return [getattr(mesh, name)[mesh.triangles].tolist() for name in ("position", "uv", "normal")]


@pytest.mark.parametrize(
    "faces",
    [
        "f 1/1/1 2/2/1 3/3/1\nf 1/1/1 3/3/1 4/4/1",
        "f 1/1/1 2/2/1 3/3/1 4/4/1",
        "f -4/-4/-1 -3/-3/-1 -2/-2/-1 -1/-1/-1",
        "f 1/1/ 2/2/1 3/3 4/4/1",
        "f 1/1 2/2 3/3\nf 1/1/1 3/3/1 4/4/1",
        "  f\t1/1  2/2   3/3 4/4   # a square",
        "f 1/1 2/2 \\\n3/3 4/4",
        "f 1/1 2/2 3/3 4/4\r",
        "g some\no thing\ns off\nf 1/1 2/2 3/3 4/4\nl 1 2",
    ],
)
def test_every_form_of_a_face_means_the_same(tmp_path, faces):
    expected = load_obj(write(tmp_path, SQUARE + "vn 0 0 1\nf 1/1 2/2 3/3 4/4\n"))
    assert corner_values(load_obj(write(tmp_path, SQUARE + "vn 0 0 1\n" + faces))) == corner_values(expected)


def test_extra_columns_and_mixed_widths_are_read(tmp_path):
    text = "v 0 0 0 1 0.5 0.5\nv 1 0 0\nv 0 1 0 1\nvt 0.5\nvt 1 0 0\nvt 0 1\nf 1/1 2/2 3/3"
    mesh = load_obj(write(tmp_path, text))
    assert mesh.position.tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 0]]
    assert mesh.uv.tolist() == [[0.5, 1], [1, 1], [0, 0]]


def test_lines_after_continued_ones_keep_their_numbers(tmp_path):
    with pytest.raises(MeshError, match=r"line 12: .*index 9 points beyond"):
        load_obj(write(tmp_path, SQUARE + "f 1/1 2/2 \\\n 3/3\nf 1/1 2/2 9/3\n"))


def test_texture_coordinates_may_be_left_out_when_asked(tmp_path):
    mesh = load_obj(write(tmp_path, SQUARE + "f 1 2 3\nf 1/1 3/3 4/4"), require_uv=False)
    assert mesh.uv[mesh.triangles[0]].tolist() == [[0, 0]] * 3
    assert mesh.uv[mesh.triangles[1]].tolist() == [[0, 1], [1, 0], [0, 0]]
    assert bool(mesh.tangent.isfinite().all())


def test_normals_without_length_become_smooth_ones(tmp_path):
    mesh = load_obj(write(tmp_path, SQUARE + "vn 0 0 0\nvn 0 1 0\nf 1/1/1 2/2/2 3/3/1 4/4/2"))
    assert mesh.normal[mesh.triangles[0]].tolist() == [[0, 0, 1], [0, 1, 0], [0, 0, 1]]


def test_random_polygons_are_read_as_a_plain_reader_does(tmp_path):
    random = np.random.default_rng(4)
    values = {"v": random.random((30, 3)), "vt": random.random((20, 2)), "vn": random.random((10, 3))}
    lines = [f"{word} " + " ".join(map(repr, row)) for word, rows in values.items() for row in rows.tolist()]
    corners = []
    for _ in range(40):
        face = np.stack([random.integers(1, len(rows) + 1, random.integers(3, 4)) for rows in values.values()], -1)
        corners.append(face)
        from_end = random.random() < 0.5
        numbers = face - np.array([len(rows) + 1 for rows in values.values()]) if from_end else face
        lines.append("f " + " ".join("/".join(map(str, corner)) for corner in numbers))
    mesh = load_obj(write(tmp_path, "\n".join(lines)))
    corners = np.stack(corners) - 1
    np.testing.assert_allclose(mesh.position[mesh.triangles], values["v"][corners[..., 0]], atol=1e-6)
    np.testing.assert_allclose(mesh.uv[mesh.triangles], values["vt"][corners[..., 1]] * [1, -1] + [0, 1], atol=1e-6)
    normal = values["vn"] / np.linalg.norm(values["vn"], axis=-1, keepdims=True)
    np.testing.assert_allclose(mesh.normal[mesh.triangles], normal[corners[..., 2]], atol=1e-6)


def test_faces_before_any_material_have_one_without_a_name(tmp_path):
    faces = "f 1/1 2/2 3/3\nusemtl unused\nusemtl Material #25\nf 1/1 3/3 4/4\n"
    scene = read_obj(write(tmp_path, SQUARE + faces))
    assert scene.mesh.material.tolist() == [0, 1]
    assert [material.name for material in scene.materials] == ["", "Material #25"]


def test_the_two_materials_of_spot(data):
    (metal,) = load_mtl(data / "spot" / "metal.mtl")
    assert metal.ks == (0.0, 0.2, 1.0)
    assert metal.map_kd == data / "spot" / "spot_texture.png"
    scene = read_obj(data / "spot" / "spot.obj")
    assert [material.ks for material in scene.materials] == [(0.0, 0.25, 0.0)]
    textures = load_material_textures(scene.materials[0])
    assert textures.ks.mips[0].flatten().tolist() == [0.0, 0.25, 0.0]
    assert textures.kd.channels == 3
    assert 0.0 < float(textures.kd.mips[0].detach().mean()) < 1.0


MTL = """
# a library
newmtl first one
Kd 0.5 0.25 1
\tKs 1 0.5 0.25
Tr 0.25
map_Kd -s 2 2 -o 0.5 -clamp on sub folder\\my texture.png
map_Ks ks.png
norm n.png
bump -bm 0.5 ignored.png
illum 2
newmtl second
bsdf diffuse
kd 0.5
d 0.5
map_bump -imfchan r bump map.png
"""


def test_mtl_statements_are_read(tmp_path):
    (tmp_path / "lib.mtl").write_text(MTL)
    first, second = load_mtl(tmp_path / "lib.mtl")
    assert first == MtlMaterial(
        name="first one",
        kd=(0.5, 0.25, 1.0),
        ks=(1.0, 0.5, 0.25),
        alpha=0.75,
        map_kd=tmp_path / "sub folder" / "my texture.png",
        map_ks=tmp_path / "ks.png",
        map_normal=tmp_path / "n.png",
    )
    assert second == MtlMaterial(
        "second", bsdf="diffuse", kd=(0.5, 0.5, 0.5), alpha=0.5, map_normal=tmp_path / "bump map.png"
    )


@pytest.mark.parametrize("line", ["Kd red", "Ks 1 2", "map_Kd", "d", "Kd nan 0 0", "Tr x"])
def test_a_bad_mtl_is_refused_with_its_line(tmp_path, line):
    (tmp_path / "bad.mtl").write_text(f"newmtl a\n{line}\n")
    with pytest.raises(MeshError, match=r"line 2: .* is not valid MTL"):
        load_mtl(tmp_path / "bad.mtl")


def test_constants_and_maps_become_textures(tmp_path):
    write_image(tmp_path / "ks.png", np.full((2, 2, 3), 51, np.uint8))
    write_image(tmp_path / "n.png", np.full((2, 2, 3), 255, np.uint8))
    write_image(tmp_path / "grey.png", np.full((2, 2, 1), 255, np.uint8))
    material = MtlMaterial("a", kd=(0.5, 0.0, 1.0), map_ks=tmp_path / "ks.png", map_normal=tmp_path / "n.png")
    textures = load_material_textures(material)
    # sRGB 0.5 is linear 0.2140.
    torch.testing.assert_close(textures.kd.mips[0].detach().flatten(), torch.tensor([0.21404, 0, 1]), rtol=0, atol=1e-4)
    torch.testing.assert_close(textures.ks.mips[0][0, 0, 0].detach(), torch.tensor([0, 0.2, 0.2]))
    torch.testing.assert_close(textures.normal.mips[0][0, 0, 0].detach(), torch.ones(3))
    kept = load_material_textures(material, clear_occlusion=False)
    torch.testing.assert_close(kept.ks.mips[0][0, 0, 0].detach(), torch.tensor([0.2, 0.2, 0.2]))
    grey = load_material_textures(MtlMaterial("b", alpha=0.25, map_kd=tmp_path / "grey.png"))
    torch.testing.assert_close(grey.kd.mips[0][0, 0, 0].detach(), torch.tensor([1.0, 1, 1, 0.25]))
    with pytest.raises(ImageError, match="there is no image file"):
        load_material_textures(MtlMaterial("c", map_kd=tmp_path / "none.png"))


def two_materials() -> Mesh:
    mesh = joined(sphere(6), plane())
    return replace(mesh, material=(torch.arange(len(mesh.triangles)) >= 40).long())


def test_what_is_saved_is_loaded_again(tmp_path):
    mesh = two_materials()
    materials = [MtlMaterial("a b", kd=(0.1, 0.2, 0.3), alpha=0.5), MtlMaterial("c", map_kd=tmp_path / "x y.png")]
    save_obj(tmp_path / "out.obj", mesh, materials)
    scene = read_obj(tmp_path / "out.obj")
    for name in ("position", "normal", "uv", "tangent"):
        ours, theirs = (getattr(m, name)[m.triangles] for m in (scene.mesh, mesh))
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    assert torch.equal(scene.mesh.material, mesh.material)
    assert scene.materials == materials
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out.mtl", "out.obj"]


def test_textures_are_saved_with_the_mesh(tmp_path):
    generator = torch.Generator().manual_seed(1)
    kd, ks, n = (torch.rand(4, 4, 3, generator=generator) for _ in range(3))
    normal = torch.nn.functional.normalize(n - torch.tensor([0.5, 0.5, -0.5]), dim=-1)
    textures = MaterialTextures(Texture2D(kd), Texture2D(ks), Texture2D(normal))
    save_obj(tmp_path / "out.obj", two_materials(), [MtlMaterial("a")], [textures])
    scene = read_obj(tmp_path / "out.obj")
    assert [material.name for material in scene.materials] == ["a", "material_1"]
    back = load_material_textures(scene.materials[0], clear_occlusion=False)
    for found, expected, tolerance in ((back.kd, kd, 0.005), (back.ks, ks, 0.002), (back.normal, normal, 0.0041)):
        torch.testing.assert_close(found.mips[0][0].detach(), expected, rtol=0, atol=tolerance)


def test_a_failed_save_leaves_what_was_there(tmp_path):
    path: Path = tmp_path / "out.obj"
    path.write_text("before")
    wrong = MaterialTextures(Texture2D(torch.rand(2, 2, 5)), Texture2D(torch.rand(2, 2, 3)))
    with pytest.raises(ValueError, match="channels"):
        save_obj(path, plane(), [MtlMaterial("a")], [wrong])
    with pytest.raises(MeshError, match="must differ and fit on a line"):
        save_obj(path, plane(), [MtlMaterial("a"), MtlMaterial("a")])
    assert path.read_text() == "before"
    assert [file.name for file in tmp_path.iterdir()] == ["out.obj"]
