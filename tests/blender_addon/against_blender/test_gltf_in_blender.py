"""The .glb and .obj files that we write, imported into Blender; and what Blender exports, read by us."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.shapes import plane

from render.files.gltf import read_gltf, save_gltf
from render.files.gltf_materials import GltfMaterial
from render.files.mtl import MtlMaterial
from render.files.obj import load_obj, save_obj


def image(channels: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (8, 4, channels), np.uint8)


@pytest.fixture
def empty_scene():
    import bpy

    bpy.ops.wm.read_factory_settings(use_empty=True)
    return bpy


def linked_image(socket):
    """The image behind a socket of a Principled BSDF, and the output or channel that it comes from."""
    link = socket.links[0]
    channel = link.from_socket.name
    node = link.from_node
    while node.type != "TEX_IMAGE":
        node = next(s for s in node.inputs if s.is_linked).links[0].from_node
    return node.image, channel


def pixels(image) -> np.ndarray:
    """8-bit pixels [H, W, 4] as stored, row 0 at the top."""
    values = np.empty(len(image.pixels), np.float32)
    image.pixels.foreach_get(values)
    width, height = image.size
    return np.rint(values.reshape(height, width, 4)[::-1] * 255).astype(np.uint8)


def test_blender_shows_what_was_written(empty_scene, tmp_path, data):
    bpy = empty_scene
    mesh = load_obj(data / "spot" / "spot.obj")
    material = GltfMaterial("coat", image(3, 1), image(3, 2), image(3, 3), image(1, 4), roughness=1.0)
    save_gltf(tmp_path / "spot.glb", mesh, material)
    bpy.ops.import_scene.gltf(filepath=str(tmp_path / "spot.glb"))
    (body,) = [item for item in bpy.data.objects if item.type == "MESH"]
    theirs = body.data
    assert len(theirs.polygons) == len(mesh.triangles)

    def read(items, name: str, columns: int) -> np.ndarray:
        values = np.empty(len(items) * columns, np.float32)
        items.foreach_get(name, values)
        return values.reshape(-1, columns)

    corner = read(theirs.loops, "vertex_index", 1)[:, 0].astype(int)
    world = np.array(body.matrix_world)
    position = read(theirs.vertices, "co", 3)[corner] @ world[:3, :3].T + world[:3, 3]
    normal = read(theirs.loops, "normal", 3) @ world[:3, :3].T
    uv = read(theirs.uv_layers.active.data, "uv", 2)
    flat = mesh.triangles.reshape(-1)
    # Blender's Z is our Y, its -Y our Z, as its importer has it; v points up there.
    expected = mesh.position[flat].numpy()[:, [0, 2, 1]] * [1, -1, 1]
    np.testing.assert_allclose(position, expected, atol=1e-5)
    np.testing.assert_allclose(normal, mesh.normal[flat].numpy()[:, [0, 2, 1]] * [1, -1, 1], atol=2e-3)
    np.testing.assert_allclose(uv, mesh.uv[flat].numpy() * [1, -1] + [0, 1], atol=1e-6)

    (shown,) = theirs.materials
    assert shown.name == "coat"
    principled = next(node for node in shown.node_tree.nodes if node.type == "BSDF_PRINCIPLED")
    color, _ = linked_image(principled.inputs["Base Color"])
    assert color.colorspace_settings.name == "sRGB"
    assert np.array_equal(pixels(color), np.concatenate([material.kd, material.alpha], -1))
    assert linked_image(principled.inputs["Alpha"])[0] == color
    for socket, channel in (("Roughness", "Green"), ("Metallic", "Blue")):
        orm, found = linked_image(principled.inputs[socket])
        assert found == channel
        assert orm.colorspace_settings.name == "Non-Color"
        assert np.array_equal(pixels(orm)[..., :3], material.orm)
    normal_map, _ = linked_image(principled.inputs["Normal"])
    assert normal_map.colorspace_settings.name == "Non-Color"
    assert np.array_equal(pixels(normal_map)[..., :3], material.normal)


def test_several_materials_stay_on_their_triangles(empty_scene, tmp_path):
    bpy = empty_scene
    mesh = plane(cells=4)
    material = (torch.arange(len(mesh.triangles)) % 3 == 0).long()
    save_gltf(tmp_path / "two.glb", type(mesh)(**{**vars(mesh), "material": material}))
    bpy.ops.import_scene.gltf(filepath=str(tmp_path / "two.glb"))
    (body,) = [item for item in bpy.data.objects if item.type == "MESH"]
    names = [body.data.materials[polygon.material_index].name for polygon in body.data.polygons]
    assert sorted(names) == sorted(f"material_{number}" for number in material.tolist())


@pytest.mark.parametrize("container", ["GLB", "GLTF_SEPARATE"])
def test_what_blender_exports_is_read_with_blenders_tangents(empty_scene, tmp_path, container):
    bpy = empty_scene
    bpy.ops.mesh.primitive_monkey_add(location=(1, 2, 3), rotation=(0.3, 0.2, 0.1))
    body = bpy.context.object
    body.scale = (1, 1, -2)
    body.data.shade_smooth()
    for number in range(2):
        surface = bpy.data.materials.new(f"part {number}")
        surface.use_nodes = True
        surface.node_tree.nodes["Principled BSDF"].inputs["Roughness"].default_value = 0.25 + 0.5 * number
        body.data.materials.append(surface)
    for polygon in body.data.polygons:
        polygon.material_index = polygon.index % 2
    path = tmp_path / ("out.glb" if container == "GLB" else "out.gltf")
    found = {}
    for tangents in (True, False):
        bpy.ops.export_scene.gltf(filepath=str(path), export_format=container, export_tangents=tangents)
        found[tangents] = read_gltf(path)
    given, computed = (found[tangents].mesh for tangents in (True, False))
    assert [material.name for material in found[True].materials] == ["part 0", "part 1"]
    assert [material.roughness for material in found[True].materials] == pytest.approx([0.25, 0.75])
    # In the renderer's own axes of glTF: Blender's (x, y, z) is (x, z, -y).
    corners = np.array([body.matrix_world @ vertex.co for vertex in body.data.vertices])[:, [0, 2, 1]] * [1, 1, -1]
    np.testing.assert_allclose(given.position.numpy().min(0), corners.min(0), atol=1e-5)
    np.testing.assert_allclose(given.position.numpy().max(0), corners.max(0), atol=1e-5)
    outward = (given.geometric_normal * given.normal[given.triangles].mean(1)).sum(-1)
    assert float((outward > 0).float().mean()) > 0.98
    # Blender makes them of quads, before it splits the primitives: near, and of one sign.
    ours, theirs = computed.tangent[computed.triangles], given.tangent[given.triangles]
    assert float((ours[..., 3] == theirs[..., 3]).float().mean()) > 0.99
    assert float((ours[..., :3] * theirs[..., :3]).sum(-1).median()) > 0.999


def test_blender_shows_the_obj_that_was_written(empty_scene, tmp_path, data):
    bpy = empty_scene
    mesh = load_obj(data / "spot" / "spot.obj")
    save_obj(tmp_path / "spot.obj", mesh, [MtlMaterial("a coat", map_kd=data / "spot" / "spot_texture.png")])
    bpy.ops.wm.obj_import(filepath=str(tmp_path / "spot.obj"), forward_axis="NEGATIVE_Z", up_axis="Y")
    (body,) = [item for item in bpy.data.objects if item.type == "MESH"]
    corner = np.array([loop.vertex_index for loop in body.data.loops])
    position = np.array([vertex.co for vertex in body.data.vertices])[corner]
    uv = np.array([item.uv for item in body.data.uv_layers.active.data])
    flat = mesh.triangles.reshape(-1)
    np.testing.assert_allclose(position, mesh.position[flat].numpy(), atol=1e-6)
    np.testing.assert_allclose(uv, mesh.uv[flat].numpy() * [1, -1] + [0, 1], atol=1e-6)
    (shown,) = body.data.materials
    principled = next(node for node in shown.node_tree.nodes if node.type == "BSDF_PRINCIPLED")
    assert shown.name == "a coat"
    assert linked_image(principled.inputs["Base Color"])[0].size[0] > 0
