"""Faces that share a place in a map: said where they look different, and packed apart by one click."""

from __future__ import annotations

import numpy as np
import pytest
from support.blender.preflight_fixes import find, fix, remaining, selection, stack_uvs, vary_by_place
from support.blender.scenes import add_cube, paint, ready_cube, show_image, snapshot

bpy = pytest.importorskip("bpy")


def test_linked_copies_do_not_count_as_overlaps(addon) -> None:
    cube = ready_cube()
    twin = cube.copy()
    bpy.context.scene.collection.objects.link(twin)
    twin.select_set(True)
    assert not remaining(addon, "over each other")


def test_faces_over_each_other_that_look_the_same_are_no_finding(addon) -> None:
    """What is read by the UV map alone is the same on both. Another UV map, or colors of corners, may be anything."""
    cube = ready_cube()
    stack_uvs(cube)
    image = bpy.data.images.new("Look", 8, 8)
    image.pack()
    node = show_image(cube.active_material, image)
    tree = cube.active_material.node_tree
    assert not remaining(addon, "over each other")
    coordinates = tree.nodes.new("ShaderNodeUVMap")
    tree.links.new(coordinates.outputs["UV"], node.inputs["Vector"])
    for uv_map, count in (("", 0), ("UVMap", 0), ("Other", 1)):
        coordinates.uv_map = uv_map
        assert len(remaining(addon, "over each other")) == count
    coordinates.uv_map = ""
    layers = cube.data.uv_layers
    layers.active = layers.new(name="Other")  # a fit takes it, but renders still read the first one
    assert len(remaining(addon, "over each other")) == 1
    layers.active = layers["UVMap"]
    tree.links.new(
        tree.nodes.new("ShaderNodeVertexColor").outputs[0], tree.nodes["Principled BSDF"].inputs["Base Color"]
    )
    assert len(remaining(addon, "over each other")) == 1


def test_pack_islands_keeps_everything_else(addon) -> None:
    cube, other = ready_cube(), add_cube()
    paint(other, "Trim")
    for item in (cube, other):
        item.select_set(True)
    bpy.context.view_layer.objects.active = cube
    bpy.context.scene.pbrfit.map_sets = "ALL"
    cube.data.polygons.foreach_set("select", [True, False, False, True, False, True])
    cube.data.polygons.foreach_set("hide", [False] * 5 + [True])
    cube.data.uv_layers.new(name="PBRfit")  # of an earlier time
    before, faces = snapshot(), selection(cube.data)
    old = {item: [tuple(entry.vector) for entry in item.data.uv_layers["UVMap"].uv] for item in (cube, other)}
    fix(addon, "lie over each other")
    after = snapshot()
    assert {name for name in after if after[name] != before[name]} == {"attributes"}
    assert selection(cube.data) == faces
    for item, uv in old.items():
        layers = item.data.uv_layers
        assert [tuple(entry.vector) for entry in layers["UVMap"].uv] == uv
        assert (layers.active.name, layers["UVMap"].active_render) == ("PBRfit.001", True)


def test_packed_islands_keep_four_texels_around_them(addon) -> None:
    """As Blender's own method "Fraction" has it, which is twenty times as slow."""
    sizes = np.random.default_rng(3).uniform(0.2, 1.5, (24, 2))
    corners = [
        np.array([(0, 0), (1, 0), (1, 1), (0, 1)]) * size + (3.0 * place, 0.0) for place, size in enumerate(sizes)
    ]
    mesh = bpy.data.meshes.new("Boards")
    mesh.from_pydata(
        [(*corner, 0.0) for board in corners for corner in board], [], np.arange(96).reshape(24, 4).tolist()
    )
    mesh.uv_layers.new(name="UVMap").uv.foreach_set("vector", np.concatenate(corners).astype(np.float32).ravel())
    boards_object = bpy.data.objects.new("Boards", mesh)
    bpy.context.scene.collection.objects.link(boards_object)
    bpy.context.view_layer.objects.active = boards_object
    boards_object.select_set(True)
    bpy.context.scene.pbrfit.resolution = 256
    assert bpy.ops.pbrfit.pack_islands() == {"FINISHED"}
    uv = np.empty(192, np.float32)
    mesh.uv_layers.active.uv.foreach_get("vector", uv)
    boards = uv.reshape(24, 4, 2) * 256.0
    low, high = boards.min(axis=1), boards.max(axis=1)
    assert low.min() == pytest.approx(4.0, abs=0.1)
    assert 256.0 - high.max() == pytest.approx(4.0, abs=0.1)
    gaps = np.maximum(low[:, None] - high[None], low[None] - high[:, None]).max(axis=-1)
    assert gaps[~np.eye(24, dtype=bool)].min() == pytest.approx(8.0, abs=0.1)
    scales = (high - low).prod(axis=1) / sizes.prod(axis=1)
    np.testing.assert_allclose(scales, scales.mean(), rtol=1e-3)


def test_islands_cannot_be_packed_where_there_are_none(addon) -> None:
    cube = ready_cube()
    cube.data.uv_layers.remove(cube.data.uv_layers[0])
    with pytest.raises(RuntimeError, match="no UV map"):
        bpy.ops.pbrfit.pack_islands()
    assert not len(cube.data.uv_layers)


def test_objects_of_one_mesh_with_materials_of_their_own(addon) -> None:
    """Their faces share their places, but do not look the same; no packing can tell them apart."""
    cube = ready_cube()
    twin = cube.copy()
    bpy.context.scene.collection.objects.link(twin)
    twin.select_set(True)
    twin.material_slots[0].link = "OBJECT"
    twin.material_slots[0].material = bpy.data.materials.new("Own")
    assert not remaining(addon, "over each other")
    bpy.context.scene.pbrfit.map_sets = "ALL"
    assert "their materials differ" in find(addon, "over each other").cause
    with pytest.raises(RuntimeError, match="share a mesh"):
        bpy.ops.pbrfit.pack_islands()
    assert [layer.name for layer in cube.data.uv_layers] == ["UVMap"]


def test_overlaps_of_slots(addon) -> None:
    """Slots that lie over each other are a problem if they share one set of maps, but not if each has its own."""
    cube = ready_cube()
    paint(cube, "Trim")
    stack_uvs(cube)
    for polygon in cube.data.polygons:
        polygon.material_index = polygon.index % 2
        if polygon.index > 1:
            for corner in polygon.loop_indices:
                cube.data.uv_layers.active.uv[corner].vector = (0.5, 0.5)
    assert not remaining(addon, "over each other")
    bpy.context.scene.pbrfit.map_sets = "OBJECT"
    finding = find(addon, "over each other")
    assert "A texel has one value" in finding.cause
    assert "one set of maps for each material" in finding.cure


def test_overlap_made_by_a_modifier_has_no_fix(addon) -> None:
    cube = ready_cube()
    vary_by_place(cube)
    cube.modifiers.new("Mirror", "MIRROR").use_axis = (True, False, False)
    cube.location.x = 3.0
    cube.data.transform(cube.matrix_world.Translation((3.0, 0.0, 0.0)))
    finding = find(addon, "over each other")
    assert finding.fix == ""
    assert 'apply the modifier "Mirror"' in finding.cure


def test_overlap_in_a_tile(addon) -> None:
    cube = ready_cube()
    vary_by_place(cube)
    stack_uvs(cube)
    for corner in range(8):
        cube.data.uv_layers.active.uv[corner].vector.y += 1.0
    bpy.context.view_layer.update()
    findings = addon.preflight.checks.all_findings(bpy.context, bpy.context.evaluated_depsgraph_get())
    assert ["(tile 1001)" in findings[0].cause, "(tile 1011)" in findings[1].cause] == [True, True]
