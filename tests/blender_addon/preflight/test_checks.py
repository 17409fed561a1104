"""Bad input gives an error with cause and cure, before anything starts, and changes nothing."""

from __future__ import annotations

import math
import os

import pytest
from support.blender.scenes import add_cube, hdri_world, paint, ready_cube, show_image, snapshot, use_nodes

bpy = pytest.importorskip("bpy")


def refusal(addon) -> str:
    """Press the button, which must refuse and change nothing; return its message."""
    before = snapshot()
    with pytest.raises(RuntimeError) as error:
        bpy.ops.pbrfit.optimize()
    assert snapshot() == before
    current = addon.session.session.current()
    assert current.status.state == "failed"
    assert current.status.cause
    assert current.status.cure
    assert [name for name in os.listdir(bpy.app.tempdir) if name.startswith("pbrfit_")] == []
    assert not addon.session.session.running()
    return str(error.value)


def test_ready_cube_has_no_findings(addon) -> None:
    ready_cube()
    assert addon.preflight.checks.all_findings(bpy.context, bpy.context.evaluated_depsgraph_get()) == []


def test_no_object(addon) -> None:
    assert "No object is active. Click an object." in refusal(addon)


def test_not_a_mesh(addon) -> None:
    hdri_world()
    bpy.ops.object.text_add()
    said = refusal(addon)
    assert '"Text" is not a mesh but of the type font.' in said
    assert "Convert" in said


def test_no_faces(addon) -> None:
    scene_object = ready_cube()
    scene_object.data.clear_geometry()
    assert '"Cube" has no faces.' in refusal(addon)


def test_no_faces_left_by_modifiers(addon) -> None:
    scene_object = ready_cube()
    modifier = scene_object.modifiers.new("Mask", "MASK")
    modifier.vertex_group = scene_object.vertex_groups.new(name="Nothing").name
    said = refusal(addon)
    assert "no faces with its modifiers applied" in said
    assert "which modifier" in said


def test_no_uv_map(addon) -> None:
    scene_object = ready_cube()
    while scene_object.data.uv_layers:
        scene_object.data.uv_layers.remove(scene_object.data.uv_layers[0])
    said = refusal(addon)
    assert '"Cube" has no UV map.' in said
    assert "Smart UV Project" in said


def test_zero_area_uvs(addon) -> None:
    scene_object = ready_cube()
    for entry in scene_object.data.uv_layers.active.uv:
        entry.vector = (0.25, 0.5)
    said = refusal(addon)
    assert "no area in its UV map" in said
    assert "Unwrap" in said


def test_uvs_that_are_not_numbers(addon) -> None:
    scene_object = ready_cube()
    scene_object.data.uv_layers.active.uv[3].vector = (math.nan, 0.5)
    assert "holds values that are not numbers" in refusal(addon)


def test_no_material(addon) -> None:
    add_cube()
    hdri_world()
    assert '"Cube" has no material.' in refusal(addon)


def test_only_empty_slots(addon) -> None:
    scene_object = ready_cube()
    scene_object.material_slots[0].material = None
    assert '"Cube" has no material.' in refusal(addon)


def test_faces_without_area(addon) -> None:
    scene_object = ready_cube()
    for vertex in scene_object.data.vertices:
        vertex.co = (1.0, 2.0, 3.0)
    assert 'All faces of "Cube" have no area.' in refusal(addon)


@pytest.mark.parametrize("scale", [(0.0, 0.0, 0.0), (1.0, 0.0, 1.0)])
def test_scaled_to_zero(addon, scale) -> None:
    scene_object = ready_cube()
    scene_object.scale = scale
    bpy.context.view_layer.update()
    said = refusal(addon)
    assert '"Cube" is scaled to zero' in said
    assert "other than zero" in said


@pytest.mark.parametrize("value", [math.nan, math.inf, -1e30])
def test_vertices_that_are_not_numbers(addon, value) -> None:
    scene_object = ready_cube()
    scene_object.data.attributes["position"].data[2].vector = (value, 0.0, 0.0)
    before = {item.name for item in bpy.data.meshes}
    with pytest.raises(RuntimeError, match=r"1 vertices at invalid positions"):
        bpy.ops.pbrfit.optimize()
    assert {item.name for item in bpy.data.meshes} == before


def test_no_world(addon) -> None:
    ready_cube()
    bpy.context.scene.world = None
    bpy.context.scene.pbrfit.reference_light = "SCENE"
    said = refusal(addon)
    assert "The scene has no world" in said
    assert "Add a world" in said
    assert "use Studio light" in said


def test_black_world(addon) -> None:
    paint(add_cube())
    hdri_world(strength=0.0)
    bpy.context.scene.pbrfit.reference_light = "SCENE"
    assert "it is black" in refusal(addon)


def test_missing_image_of_the_world(addon, tmp_path) -> None:
    ready_cube()
    image = bpy.context.scene.world.node_tree.nodes["Environment Texture"].image
    image.filepath = str(tmp_path / "gone.exr")
    said = refusal(addon)
    assert f"has no file: {tmp_path / 'gone.exr'} does not exist" in said
    assert 'the world "Forest"' in said
    assert "Find Missing Files" in said


def test_missing_image_in_a_group_of_the_material(addon, tmp_path) -> None:
    scene_object = ready_cube()
    image = bpy.data.images.new("Logo", 4, 4)
    image.filepath_raw = str(tmp_path / "logo.png")
    image.save()
    image.source = "FILE"
    (tmp_path / "logo.png").unlink()
    group = bpy.data.node_groups.new("Decal", "ShaderNodeTree")
    group.interface.new_socket("Color", in_out="OUTPUT", socket_type="NodeSocketColor")
    texture, end = group.nodes.new("ShaderNodeTexImage"), group.nodes.new("NodeGroupOutput")
    texture.image = image
    group.links.new(texture.outputs["Color"], end.inputs[0])
    tree = scene_object.active_material.node_tree
    node = tree.nodes.new("ShaderNodeGroup")
    node.node_tree = group
    tree.links.new(node.outputs[0], tree.nodes["Principled BSDF"].inputs["Base Color"])
    said = refusal(addon)
    assert 'The image "Logo" of the material "Paint" has no file' in said


def test_unsaved_image(addon) -> None:
    scene_object = ready_cube()
    image = bpy.data.images.new("Sketch", 4, 4)
    show_image(scene_object.active_material, image)
    image.pixels[0] = 0.5
    assert image.is_dirty
    said = refusal(addon)
    assert 'The image "Sketch" of the material "Paint" has changes that are not saved.' in said
    assert "pack it" in said
    image.pack()
    findings = addon.preflight.checks.all_findings(bpy.context, bpy.context.evaluated_depsgraph_get())
    assert findings == []


def link_cube(path: str) -> bpy.types.Object:
    """Save a file with a cube at `path`, start an empty file, and link the cube into it."""
    ready_cube()
    bpy.ops.wm.save_as_mainfile(filepath=path)
    for scene_object in list(bpy.data.objects):
        bpy.data.objects.remove(scene_object)
    bpy.data.filepath and bpy.ops.wm.save_as_mainfile(filepath=path + ".other.blend")
    with bpy.data.libraries.load(path, link=True) as (_, wanted):
        wanted.objects = ["Cube"]
    (linked,) = wanted.objects
    bpy.context.scene.collection.objects.link(linked)
    bpy.context.view_layer.objects.active = linked
    return linked


def test_linked_object(addon, tmp_path) -> None:
    linked = link_cube(str(tmp_path / "library.blend"))
    assert linked.library is not None
    said = refusal(addon)
    assert '"Cube" is linked from' in said
    assert "Make Local" in said


def test_edit_mode(addon) -> None:
    ready_cube()
    bpy.ops.object.mode_set(mode="EDIT")
    said = refusal(addon)
    assert '"Cube" is in Edit Mode' in said
    assert "Switch to Object Mode" in said
    assert bpy.context.mode == "EDIT_MESH"


def test_hidden_object(addon) -> None:
    ready_cube().hide_set(True)
    assert '"Cube" is hidden in the viewport.' in refusal(addon)


def test_uv_map_removed_by_a_modifier(addon) -> None:
    scene_object = ready_cube()
    group = bpy.data.node_groups.new("Boxes", "GeometryNodeTree")
    group.interface.new_socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
    box, output = group.nodes.new("GeometryNodeMeshCube"), group.nodes.new("NodeGroupOutput")
    group.links.new(box.outputs["Mesh"], output.inputs[0])
    scene_object.modifiers.new("Boxes", "NODES").node_group = group
    assert 'The modifiers of "Cube" remove its UV map "UVMap".' in refusal(addon)


def test_materials_set_by_a_modifier(addon) -> None:
    scene_object = ready_cube()
    group = bpy.data.node_groups.new("Repaint", "GeometryNodeTree")
    group.interface.new_socket("Geometry", in_out="INPUT", socket_type="NodeSocketGeometry")
    group.interface.new_socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
    start, output = group.nodes.new("NodeGroupInput"), group.nodes.new("NodeGroupOutput")
    setter = group.nodes.new("GeometryNodeSetMaterial")
    setter.inputs["Material"].default_value = bpy.data.materials.new("Other")
    group.links.new(start.outputs[0], setter.inputs["Geometry"])
    group.links.new(setter.outputs[0], output.inputs[0])
    scene_object.modifiers.new("Repaint", "NODES").node_group = group
    said = refusal(addon)
    assert 'The modifier "Repaint" of "Cube" gives it the material "Other" in place of its slots' in said
    assert "Convert" in said


def test_remote_backend_needs_online_access(addon) -> None:
    ready_cube()
    addon.preferences.backend_address = "tcp://192.0.2.7:5555"
    assert not bpy.app.online_access
    said = refusal(addon)
    assert "The backend 192.0.2.7 is on another machine" in said
    assert "Allow Online Access" in said


def test_backend_address_that_is_none(addon) -> None:
    ready_cube()
    addon.preferences.backend_address = "my workstation"
    assert 'The backend address "my workstation" is not an address.' in refusal(addon)


def test_setting_that_is_not_allowed(addon) -> None:
    ready_cube()
    bpy.context.scene.pbrfit.device = "abacus"
    said = refusal(addon)
    assert "abacus" in said
    assert "cuda:N" in said


def test_warnings_do_not_stop_a_fit(addon) -> None:
    scene_object = ready_cube()
    scene_object.data.materials.append(None)
    scene_object.data.polygons[0].material_index = 1
    scene_object.scale = (1.0, 2.0, 1.0)
    scene_object.data.uv_layers.active.uv[8].vector = (1.5, 0.5)
    bpy.context.scene.pbrfit.reference_light = "SCENE"
    lamp = bpy.data.objects.new("Lamp", bpy.data.lights.new("Lamp", "POINT"))
    bpy.context.scene.collection.objects.link(lamp)
    bpy.context.view_layer.update()
    findings = addon.preflight.checks.all_findings(bpy.context, bpy.context.evaluated_depsgraph_get())
    causes = " ".join(finding.cause for finding in findings)
    assert {finding.level for finding in findings} == {"WARNING"}
    assert '1 faces of "Cube" have no material: their slot is empty.' in causes
    assert "The fit ignores lamps" in causes
    assert "scaled differently" in causes
    assert "outside the square" in causes


def test_material_without_nodes_is_fine(addon) -> None:
    scene_object = add_cube()
    hdri_world()
    scene_object.data.materials.append(bpy.data.materials.new("Plain"))
    assert addon.preflight.checks.all_findings(bpy.context, bpy.context.evaluated_depsgraph_get()) == []


def test_findings_of_the_panel_read_no_files(addon, tmp_path) -> None:
    """Blender draws the panel often, so only the click finds a missing file."""
    scene_object = ready_cube()
    use_nodes(scene_object.active_material)
    bpy.context.scene.world.node_tree.nodes["Environment Texture"].image.filepath = str(tmp_path / "gone.exr")
    assert addon.preflight.checks.quick_findings(bpy.context) == []
