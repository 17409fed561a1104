"""glTF: what is written comes back, scenes become one mesh, and bad files are refused with cause and cure."""

from __future__ import annotations

import base64
import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pygltflib
import pytest
import torch
from support.shapes import joined, plane, sphere

from render.core.image_io import ImageError, encode_image
from render.files.gltf import load_gltf, read_gltf, save_gltf
from render.files.gltf_materials import GltfMaterial, gltf_textures
from render.files.obj import load_obj
from render.geometry.mesh import Mesh, MeshError

TRIANGLE = {"POSITION": [[0, 0, 0], [1, 0, 0], [0, 1, 0]], "TEXCOORD_0": [[0, 1], [1, 1], [0, 0]]}
TYPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}
COMPONENTS = {"int8": 5120, "uint8": 5121, "int16": 5122, "uint16": 5123, "uint32": 5125, "float32": 5126}


class Builder:
    """A .gltf file made by hand, all in JSON."""

    def __init__(self) -> None:
        self.json = {"asset": {"version": "2.0"}, "accessors": [], "bufferViews": [], "buffers": [], "meshes": []}
        self.json |= {"nodes": [{"mesh": 0}], "scenes": [{"nodes": [0]}], "scene": 0}

    def accessor(self, values, dtype="float32", **more) -> int:
        array = np.asarray(values, dtype)
        array = array.reshape(len(array), -1)
        data = array.tobytes()
        uri = "data:application/octet-stream;base64," + base64.b64encode(data).decode()
        self.json["buffers"].append({"byteLength": len(data), "uri": uri})
        number = len(self.json["buffers"]) - 1
        self.json["bufferViews"].append({"buffer": number, "byteLength": len(data)})
        entry = {"bufferView": number, "componentType": COMPONENTS[dtype], "count": len(array)}
        self.json["accessors"].append(entry | {"type": TYPES[array.shape[1]]} | more)
        return number

    def mesh(self, attributes=TRIANGLE, indices=None, dtype="uint16", **more) -> int:
        primitive = {"attributes": {name: self.accessor(values) for name, values in attributes.items()}} | more
        if indices is not None:
            primitive["indices"] = self.accessor(indices, dtype)
        self.json["meshes"].append({"primitives": [primitive]})
        return len(self.json["meshes"]) - 1

    def write(self, folder: Path) -> Path:
        path = folder / "made.gltf"
        path.write_text(json.dumps(self.json))
        return path


def image(channels: int, seed: int = 0, size: tuple[int, int] = (6, 4)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, channels), np.uint8)


def assert_same(mesh: Mesh, other: Mesh) -> None:
    """Corner by corner."""
    for name in ("position", "normal", "tangent", "uv"):
        ours, theirs = (getattr(m, name)[m.triangles] for m in (mesh, other))
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    assert torch.equal(mesh.material, other.material)


def test_what_is_saved_is_loaded_again(tmp_path):
    mesh = joined(sphere(8), plane())
    mesh = replace(mesh, material=(torch.arange(len(mesh.triangles)) >= len(sphere(8).triangles)).long())
    materials = [
        GltfMaterial("full", image(3, 1), image(3, 2), image(3, 3), image(1, 4)),
        GltfMaterial("plain", base_color=(0.5, 0.25, 0.125, 1.0), roughness=0.75, metallic=0.5, double_sided=False),
    ]
    save_gltf(tmp_path / "out.glb", mesh, materials)
    scene = read_gltf(tmp_path / "out.glb")
    assert_same(scene.mesh, mesh)
    for ours, theirs in zip(scene.materials, materials, strict=True):
        for name, value in vars(theirs).items():
            if isinstance(value, np.ndarray):
                assert np.array_equal(getattr(ours, name), value), name
            else:
                assert getattr(ours, name) == value, name
    assert [file.name for file in tmp_path.iterdir()] == ["out.glb"]


def test_spot_goes_through_glb_unchanged(tmp_path, data):
    mesh = load_obj(data / "spot" / "spot.obj")
    save_gltf(tmp_path / "spot.glb", mesh)
    assert_same(load_gltf(tmp_path / "spot.glb"), mesh)


def test_a_written_file_keeps_the_rules_of_the_format(tmp_path):
    save_gltf(tmp_path / "out.glb", sphere(4), GltfMaterial("a", image(3, size=(3, 5)), normal=image(3)))
    data = (tmp_path / "out.glb").read_bytes()
    assert data[:4] == b"glTF"
    assert int.from_bytes(data[8:12], "little") == len(data)
    gltf = pygltflib.GLTF2().load(str(tmp_path / "out.glb"))
    assert gltf.buffers[0].byteLength <= len(gltf.binary_blob())
    assert all(view.byteOffset % 4 == 0 for view in gltf.bufferViews)
    attributes = gltf.meshes[0].primitives[0].attributes
    position = gltf.accessors[attributes.POSITION]
    assert np.allclose(position.min, -1, atol=0.1)
    assert np.allclose(position.max, 1, atol=0.1)
    assert gltf.accessors[attributes.TANGENT].type == "VEC4"
    assert gltf.textures[gltf.materials[0].pbrMetallicRoughness.baseColorTexture.index].source == 0
    assert "null" not in gltf.gltf_to_json()


def test_a_triangle_without_normals_is_flat_and_gets_tangents(tmp_path):
    builder = Builder()
    builder.mesh()
    mesh = load_gltf(builder.write(tmp_path))
    torch.testing.assert_close(mesh.normal, torch.tensor([[0.0, 0, 1]]).expand(3, 3))
    torch.testing.assert_close(mesh.tangent, torch.tensor([[1.0, 0, 0, 1]]).expand(3, 4))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32"])
def test_indices_of_every_type(tmp_path, dtype):
    builder = Builder()
    builder.mesh(indices=[2, 0, 1], dtype=dtype)
    mesh = load_gltf(builder.write(tmp_path))
    expected = torch.tensor(TRIANGLE["POSITION"]).float()[[2, 0, 1]]
    torch.testing.assert_close(mesh.position[mesh.triangles[0]], expected)


@pytest.mark.parametrize("mode", [5, 6])
def test_strips_and_fans_face_one_way(tmp_path, mode):
    square = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]] if mode == 5 else [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]
    builder = Builder()
    builder.mesh({"POSITION": square, "TEXCOORD_0": [p[:2] for p in square]}, mode=mode)
    mesh = load_gltf(builder.write(tmp_path))
    torch.testing.assert_close(mesh.geometric_normal, torch.tensor([[0.0, 0, 1]]).expand(2, 3))


def test_normalised_integers_and_strides_are_read(tmp_path):
    builder = Builder()
    number = builder.mesh({"POSITION": TRIANGLE["POSITION"]})
    uv = builder.accessor([[0, 255, 9, 9], [255, 255, 9, 9], [0, 51, 9, 9]], "uint8", normalized=True)
    builder.json["accessors"][uv]["type"] = "VEC2"
    builder.json["bufferViews"][uv]["byteStride"] = 4
    builder.json["meshes"][number]["primitives"][0]["attributes"]["TEXCOORD_0"] = uv
    mesh = load_gltf(builder.write(tmp_path))
    torch.testing.assert_close(mesh.uv[mesh.triangles[0]], torch.tensor([[0.0, 1], [1, 1], [0, 0.2]]))


def test_nodes_place_their_meshes_also_mirrored(tmp_path):
    builder = Builder()
    builder.mesh()
    half = 0.5**0.5
    builder.json["nodes"] = [
        {"children": [1, 2], "translation": [0, 0, 5], "rotation": [0, half, 0, half]},
        {"mesh": 0, "scale": [2, 2, 2]},
        {"mesh": 0, "matrix": [-1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 3, 0, 0, 1]},
        {"mesh": 0},
    ]
    mesh = load_gltf(builder.write(tmp_path))
    assert len(mesh.triangles) == 2  # the last node is in no scene
    # A quarter turn about Y takes x to -z and z to x.
    torch.testing.assert_close(mesh.position[1], torch.tensor([0.0, 0, 3]), rtol=0, atol=1e-6)
    torch.testing.assert_close(mesh.position[4], torch.tensor([0.0, 0, 3]), rtol=0, atol=1e-6)
    toward_x = torch.tensor([[1.0, 0, 0]])
    torch.testing.assert_close(mesh.geometric_normal, toward_x.expand(2, 3), rtol=0, atol=1e-6)
    torch.testing.assert_close(mesh.normal, toward_x.expand(6, 3), rtol=0, atol=1e-6)
    u = torch.tensor([[0.0, 0, -1, 1]] * 3 + [[0.0, 0, 1, -1]] * 3)
    torch.testing.assert_close(mesh.tangent, u, rtol=0, atol=1e-6)


def test_primitives_with_materials_become_one_mesh(tmp_path):
    builder = Builder()
    builder.mesh(material=1)
    builder.mesh(material=0)
    builder.mesh()
    builder.mesh(material=1)
    builder.json["materials"] = [{"name": "zero", "alphaMode": "MASK"}, {"name": "one"}]
    builder.json["nodes"] = [{"mesh": i} for i in range(4)]
    builder.json["scenes"] = [{"nodes": [0, 1, 2, 3]}]
    scene = read_gltf(builder.write(tmp_path))
    assert scene.mesh.material.tolist() == [0, 1, 2, 0]
    assert [material.name for material in scene.materials] == ["one", "zero", ""]


def test_files_beside_are_found_by_their_escaped_names(tmp_path):
    builder = Builder()
    builder.mesh(material=0)
    data = base64.b64decode(builder.json["buffers"][0]["uri"].split(",")[1])
    (tmp_path / "my data.bin").write_bytes(data)
    builder.json["buffers"][0]["uri"] = "my%20data.bin"
    (tmp_path / "my image.png").write_bytes(encode_image(".png", image(3)))
    builder.json |= {"images": [{"uri": "my%20image.png"}], "textures": [{"source": 0}]}
    builder.json["materials"] = [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}]
    scene = read_gltf(builder.write(tmp_path))
    assert np.array_equal(scene.materials[0].kd, image(3))


def test_textures_have_the_factors_in_them():
    white, mid = np.full((2, 2, 3), 255, np.uint8), np.full((2, 2, 3), 51, np.uint8)
    material = GltfMaterial(
        "m", white, mid, white, np.full((2, 2, 1), 51, np.uint8), (0.5, 0.5, 1, 0.5), 0.5, 0.25, 0.5, 2.0
    )
    textures = gltf_textures(material)
    torch.testing.assert_close(textures.kd.mips[0][0, 0, 0].detach(), torch.tensor([0.5, 0.5, 1.0, 0.1]))
    torch.testing.assert_close(textures.ks.mips[0][0, 0, 0].detach(), torch.tensor([0.4, 0.1, 0.05]))
    torch.testing.assert_close(textures.normal.mips[0][0, 0, 0].detach(), torch.tensor([2.0, 2, 1]))
    plain = gltf_textures(GltfMaterial("p", base_color=(0.1, 0.2, 0.3, 1)))
    torch.testing.assert_close(plain.kd.mips[0].detach().flatten(), torch.tensor([0.1, 0.2, 0.3]))
    torch.testing.assert_close(plain.ks.mips[0].detach().flatten(), torch.tensor([0.0, 1, 1]))


def without_uv(builder: Builder) -> None:
    del builder.json["meshes"][0]["primitives"][0]["attributes"]["TEXCOORD_0"]


def sparse(builder: Builder) -> None:
    view = {"bufferView": 0, "componentType": 5123}
    builder.json["accessors"][0]["sparse"] = {"count": 1, "indices": view, "values": {"bufferView": 0}}


def draco(builder: Builder) -> None:
    builder.json["meshes"][0]["primitives"][0]["extensions"] = {"KHR_draco_mesh_compression": {"bufferView": 0}}


def draco_required(builder: Builder) -> None:
    builder.json["extensionsRequired"] = ["KHR_draco_mesh_compression"]


def index_beyond(builder: Builder) -> None:
    builder.json["meshes"][0]["primitives"][0]["indices"] = builder.accessor([0, 1, 7], "uint16")


def nan(builder: Builder) -> None:
    builder.json["meshes"][0]["primitives"][0]["attributes"]["POSITION"] = builder.accessor([[np.nan, 0, 0]] * 3)


def cut_short(builder: Builder) -> None:
    builder.json["accessors"][0]["count"] = 300


def in_circles(builder: Builder) -> None:
    builder.json["nodes"] = [{"children": [1]}, {"children": [0]}]


def empty(builder: Builder) -> None:
    builder.json["nodes"] = [{}]


def missing_file(builder: Builder) -> None:
    builder.json["buffers"][0]["uri"] = "elsewhere.bin"


def view_of_nothing(builder: Builder) -> None:
    builder.json["accessors"][0]["bufferView"] = 99


def without_count(builder: Builder) -> None:
    del builder.json["accessors"][0]["count"]


def points(builder: Builder) -> None:
    builder.json["meshes"][0]["primitives"][0]["mode"] = 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_uv, r"without TEXCOORD_0: unwrap the mesh"),
        (sparse, r"sparse accessor \(0\): export it without"),
        (draco, r"compressed with Draco: export it without compression"),
        (draco_required, r"needs the extension KHR_draco_mesh_compression: export it without"),
        (index_beyond, r"indices beyond its 3 vertices"),
        (nan, r"not finite"),
        (cut_short, r"cut short: accessor 0 reaches beyond its data"),
        (view_of_nothing, r"contradicts itself \(list index out of range\): export it again"),
        (without_count, r"contradicts itself|is not glTF"),
        (in_circles, r"nodes that contain each other"),
        (empty, r"no triangles in its scene"),
        (points, r"no triangles in its scene"),
        (missing_file, r"elsewhere\.bin, which cannot be read"),
    ],
)
def test_bad_files_are_refused_with_cause_and_cure(tmp_path, change, message):
    builder = Builder()
    builder.mesh()
    change(builder)
    with pytest.raises(MeshError, match=message):
        load_gltf(builder.write(tmp_path))


@pytest.mark.parametrize("content", [b"", b"not gltf", b"glTF\x02\0\0\0", b"{}", b'{"asset": {"version": "1.0"}}'])
@pytest.mark.parametrize("suffix", [".glb", ".gltf"])
def test_what_is_no_gltf_is_refused(tmp_path, content, suffix):
    path = tmp_path / f"bad{suffix}"
    path.write_bytes(content)
    with pytest.raises(MeshError, match=r"is not glTF 2\.0|no triangles"):
        load_gltf(path)
    with pytest.raises(MeshError, match="there is no file"):
        load_gltf(tmp_path / "none.glb")


def test_a_failed_save_leaves_what_was_there(tmp_path):
    path = tmp_path / "out.glb"
    path.write_bytes(b"before")
    with pytest.raises(ImageError, match=r"does not fit on kd"):
        save_gltf(path, plane(), GltfMaterial("a", image(3), alpha=image(1, size=(2, 2))))
    with pytest.raises(MeshError, match=r"must end in \.glb"):
        save_gltf(tmp_path / "out.gltf", plane())
    assert path.read_bytes() == b"before"
    assert [file.name for file in tmp_path.iterdir()] == ["out.glb"]


def test_a_missing_package_is_named_with_its_cure(monkeypatch):
    monkeypatch.setitem(sys.modules, "pygltflib", None)
    monkeypatch.delitem(sys.modules, "render.files.gltf_package")
    with pytest.raises(ImportError, match='run `pip install "pygltflib<2"`'):
        importlib.import_module("render.files.gltf_package")
