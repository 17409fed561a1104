"""What the preview reads from node materials: values and images exactly, and a note for everything else."""

from __future__ import annotations

import numpy as np
import pytest
from support.blender.assigning import png
from support.blender.scenes import add_cube, paint, use_nodes

bpy = pytest.importorskip("bpy")


def new_image(name: str, space: str = "sRGB") -> bpy.types.Image:
    data = png(np.full((4, 4, 3), (200, 100, 50), dtype=np.uint8))
    image = bpy.data.images.new(name, 1, 1)
    image.pack(data=data, data_len=len(data))
    image.source = "FILE"
    image.colorspace_settings.name = space
    return image


@pytest.fixture
def material(addon) -> bpy.types.Material:
    return paint(add_cube())


def node_of(material, kind: str, **inputs) -> bpy.types.Node:
    """A new node; its inputs linked to sockets, or set."""
    node = material.node_tree.nodes.new(kind)
    for name, value in inputs.items():
        if isinstance(value, bpy.types.NodeSocket):
            material.node_tree.links.new(value, node.inputs[name])
        else:
            node.inputs[name].default_value = value
    return node


def texture(material, image, coordinates=None) -> bpy.types.Node:
    node = node_of(material, "ShaderNodeTexImage", **({"Vector": coordinates} if coordinates is not None else {}))
    node.image = image
    return node


def link(material, output, name: str) -> None:
    material.node_tree.links.new(output, material.node_tree.nodes["Principled BSDF"].inputs[name])


def look(addon, material):
    return addon.preview.scene.material_look.read_look(material, "UVMap")


def test_values(addon, material) -> None:
    found = look(addon, material)
    assert found.look.kd == pytest.approx((0.8, 0.3, 0.1))
    assert (found.look.alpha, found.look.metallic, found.look.openness, found.look.normal) == (1.0, 0.0, 1.0, None)
    assert found.notes == ()
    value, color = node_of(material, "ShaderNodeValue").outputs[0], node_of(material, "ShaderNodeRGB").outputs[0]
    value.default_value, color.default_value = 0.25, (0.1, 0.2, 0.3, 1.0)
    link(material, value, "Metallic")
    link(material, color, "Base Color")
    link(material, node_of(material, "ShaderNodeSeparateColor", Color=color).outputs["Blue"], "Roughness")
    shown = look(addon, material).look
    assert shown.metallic == 0.25
    assert shown.kd == pytest.approx((0.1, 0.2, 0.3))
    assert shown.roughness == pytest.approx(0.3)


def test_images_through_every_kind_of_node(addon, material) -> None:
    kd, orm, bump = new_image("kd"), new_image("orm", "Non-Color"), new_image("normal", "Non-Color")
    uv = node_of(material, "ShaderNodeUVMap")
    uv.uv_map = "Second"
    base = texture(material, kd, uv.outputs["UV"])
    link(material, base.outputs["Color"], "Base Color")
    link(material, base.outputs["Alpha"], "Alpha")
    split = node_of(material, "ShaderNodeSeparateColor", Color=texture(material, orm, uv.outputs["UV"]).outputs[0])
    link(material, split.outputs["Green"], "Roughness")
    link(material, split.outputs["Blue"], "Metallic")
    normal = node_of(material, "ShaderNodeNormalMap", Color=texture(material, bump, uv.outputs["UV"]).outputs[0])
    normal.uv_map = "Second"
    link(material, normal.outputs[0], "Normal")
    found = look(addon, material)
    assert found.uv_map == "Second"
    assert found.notes == ()
    shown = found.look
    assert [(item.image_uid, item.channel, item.encoding) for item in shown.textures] == [
        (kd.session_uid, None, "srgb"),
        (kd.session_uid, 3, "srgb"),
        (orm.session_uid, 1, "linear"),
        (orm.session_uid, 2, "linear"),
        (bump.session_uid, None, "linear"),
    ]


def test_occlusion_of_gltf_and_of_fitted_materials(addon, material) -> None:
    image = new_image("orm", "Non-Color")
    split = node_of(material, "ShaderNodeSeparateColor", Color=texture(material, image).outputs[0])
    split.name = "Red: Openness (AO)"
    assert look(addon, material).look.openness.channel == 0
    split.name = "Other"
    assert look(addon, material).look.openness == 1.0
    group = bpy.data.node_groups.new("glTF Material Output", "ShaderNodeTree")
    group.interface.new_socket("Occlusion", in_out="INPUT", socket_type="NodeSocketFloat")
    node = material.node_tree.nodes.new("ShaderNodeGroup")
    node.node_tree = group
    material.node_tree.links.new(split.outputs["Red"], node.inputs["Occlusion"])
    assert look(addon, material).look.openness.image_uid == image.session_uid


@pytest.mark.parametrize("kind", ["ShaderNodeTexNoise", "ShaderNodeBump", "ShaderNodeMapping", "transmission", "mix"])
def test_what_is_not_shown_is_said(addon, material, kind) -> None:
    material.diffuse_color = (0.1, 0.2, 0.3, 1.0)
    if kind == "ShaderNodeTexNoise":
        link(material, node_of(material, kind).outputs["Color" if bpy.app.version >= (5, 0) else 1], "Base Color")
    elif kind == "ShaderNodeBump":
        link(material, node_of(material, kind).outputs[0], "Normal")
    elif kind == "ShaderNodeMapping":
        coordinates = node_of(material, "ShaderNodeTexCoord").outputs["UV"]
        mapping = node_of(material, kind, Vector=coordinates)
        link(material, texture(material, new_image("kd"), mapping.outputs[0]).outputs[0], "Base Color")
        assert look(addon, material).notes == ()  # it does nothing yet
        mapping.inputs["Scale"].default_value = (2.0, 2.0, 2.0)
    elif kind == "transmission":
        material.node_tree.nodes["Principled BSDF"].inputs["Transmission Weight"].default_value = 0.5
    else:
        mix = material.node_tree.nodes.new("ShaderNodeMixShader")
        output = material.node_tree.nodes["Material Output"]
        material.node_tree.links.new(mix.outputs[0], output.inputs["Surface"])
    found = look(addon, material)
    (note,) = found.notes
    assert '"Paint"' in note
    shows_display = kind in {"ShaderNodeTexNoise", "ShaderNodeMapping", "mix"}
    assert found.look.kd == pytest.approx((0.1, 0.2, 0.3) if shows_display else (0.8, 0.3, 0.1))
    assert found.look.normal is None


def test_coat_sheen_and_emission(addon, material) -> None:
    inputs = material.node_tree.nodes["Principled BSDF"].inputs
    inputs["Coat Roughness"].default_value, inputs["Sheen Roughness"].default_value = 0.2, 0.4
    plain = look(addon, material)
    assert (plain.look.coat, plain.look.sheen, plain.look.emission) == (0.0, 0.0, (0.0, 0.0, 0.0))
    inputs["Coat Weight"].default_value, inputs["Sheen Weight"].default_value = 0.5, 0.25
    inputs["Sheen Tint"].default_value = (0.1, 0.2, 0.3, 1.0)
    inputs["Emission Strength"].default_value = 3.0
    inputs["Emission Color"].default_value = (1.0, 0.5, 0.0, 1.0)
    found = look(addon, material)
    assert found.notes == ()
    assert (found.look.coat, found.look.coat_roughness) == (0.5, pytest.approx(0.2))
    assert (found.look.sheen, found.look.sheen_roughness) == (0.25, pytest.approx(0.4))
    assert found.look.sheen_tint == pytest.approx((0.1, 0.2, 0.3))
    assert (found.look.emission, found.look.emission_strength) == ((1.0, 0.5, 0.0), 3.0)
    image = new_image("shine")
    color = texture(material, image)
    split = node_of(material, "ShaderNodeSeparateColor", Color=color.outputs[0])
    link(material, color.outputs[0], "Emission Color")
    link(material, split.outputs["Blue"], "Coat Weight")
    found = look(addon, material).look
    assert (found.emission.image_uid, found.emission.channel) == (image.session_uid, None)
    assert (found.coat.image_uid, found.coat.channel) == (image.session_uid, 2)
    assert {value.image_uid for value in found.textures} == {image.session_uid}


def test_what_of_a_coat_is_not_shown_is_said(addon, material) -> None:
    inputs = material.node_tree.nodes["Principled BSDF"].inputs
    inputs["Coat IOR"].default_value, inputs["Coat Tint"].default_value = 1.8, (1.0, 0.0, 0.0, 1.0)
    assert look(addon, material).notes == ()  # there is no coat
    inputs["Coat Weight"].default_value = 1.0
    link(material, node_of(material, "ShaderNodeBump").outputs[0], "Coat Normal")
    assert len(look(addon, material).notes) == 3
    assert look(addon, material).look.coat == 1.0


def test_images_that_cannot_be_shown(addon, material) -> None:
    node = texture(material, new_image("kd", "Filmic sRGB"))
    link(material, node.outputs[0], "Base Color")
    assert "color space" in look(addon, material).notes[0]
    node.image = bpy.data.images.new("missing", 1, 1)
    node.image.source = "FILE"
    node.image.filepath = "/nowhere/missing.png"
    assert "no pixels" in look(addon, material).notes[0]


def test_no_material_and_materials_without_nodes(addon) -> None:
    assert look(addon, None).look == addon.preview.scene.scene.NEUTRAL
    if bpy.app.version < (5, 0, 0):
        plain = bpy.data.materials.new("Plain")
        plain.diffuse_color = (0.1, 0.2, 0.3, 1.0)
        assert look(addon, plain).look.kd == pytest.approx((0.1, 0.2, 0.3))


def test_images_go_as_their_files_or_as_pixels(addon, material) -> None:
    image = new_image("kd")
    sent, encoding = addon.preview.scene.images.sent_image(image, "srgb")
    assert (sent.tobytes(), encoding) == (image.packed_file.data, "srgb")
    before = addon.preview.scene.images.image_key(image)
    image.pixels[0] = 0.25
    sent, encoding = addon.preview.scene.images.sent_image(image, "srgb")
    assert (sent.shape, sent.dtype, encoding) == ((4, 4, 4), np.uint8, "srgb")
    assert tuple(sent[0, 0]) == (200, 100, 50, 255)
    assert tuple(sent[3, 0]) == (64, 100, 50, 255)  # Blender's first row is the lowest
    addon.preview.scene.images.note_change(image)
    assert addon.preview.scene.images.image_key(image) != before
    wide = bpy.data.images.new("float", 4, 2, float_buffer=True)
    wide.pixels.foreach_set(np.full(32, 3.0, dtype=np.float32))
    sent, encoding = addon.preview.scene.images.sent_image(wide, "srgb")
    assert (sent.shape, sent.dtype, encoding) == ((2, 4, 4), np.float32, "linear")


def test_udim_tiles(addon, material, tmp_path) -> None:
    """The backend gets each tile's file; Blender's GPU shows the first tile, and for others the display color."""
    cube = bpy.context.object
    for tile in (1001, 1002):
        (tmp_path / f"kd.{tile}.png").write_bytes(png(np.full((4, 4, 3), tile - 1000, dtype=np.uint8)))
    image = bpy.data.images.load(str(tmp_path / "kd.1001.png"))
    image.source = "TILED"
    image.tiles.new(tile_number=1002)
    image.filepath = str(tmp_path / "kd.<UDIM>.png")
    link(material, texture(material, image).outputs[0], "Base Color")
    for polygon in list(cube.data.polygons)[:2]:
        for corner in polygon.loop_indices:
            cube.data.uv_layers[0].uv[corner].vector.x += 1.0
    cube.data.update()
    use_nodes(material)
    bpy.context.view_layer.update()
    scene = addon.preview.scene.collector.PreviewCollector().collect(bpy.context.evaluated_depsgraph_get())
    assert [len(part.arrays["triangles"]) for part in scene.parts] == [8, 4]
    assert scene.parts[0].look.kd.image_uid == image.session_uid
    assert scene.parts[1].look.kd == pytest.approx((0.8, 0.8, 0.8))
    assert scene.notes == (addon.preview.scene.material_look.OTHER_TILES,)
    described, arrays = addon.preview.scene.scene.description(scene)
    sent = [arrays[part.look.kd.array].tobytes() for part in described.parts]
    assert sent == [(tmp_path / f"kd.{tile}.png").read_bytes() for tile in (1001, 1002)]
    assert scene.parts[1].arrays["vertex_uv"].max() <= 1.0
