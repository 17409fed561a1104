"""Objects too far away for exact positions, and faces that share their places in a map as copies."""

from __future__ import annotations

import pytest
from support.blender.preflight_findings import full, with_text
from support.blender.scenes import ready_cube

bpy = pytest.importorskip("bpy")

# The distance ------------------------------------------------------------------------------------------------------


def test_far_from_the_world_origin(addon) -> None:
    cube = ready_cube()
    cube.location = (512345.0, 5432100.0, 0.0)
    finding = with_text(full(addon), "from the world's origin")
    assert (finding.level, finding.fix) == ("ERROR", "")
    assert '"Cube" is 5,456,208 units' in finding.cause
    assert "only to 0.5 units" in finding.cause
    cube.scale = (1000.0, 1000.0, 1000.0)
    assert full(addon) == []


def test_far_by_a_parent(addon) -> None:
    cube = ready_cube()
    cube.parent = bpy.data.objects.new("Site", None)
    bpy.context.scene.collection.objects.link(cube.parent)
    cube.parent.location.x = 3e5
    with_text(full(addon), "from the world's origin")


def test_far_from_its_own_origin(addon) -> None:
    cube = ready_cube()
    for vertex in cube.data.vertices:
        vertex.co.x += 3e5
    cube.location.x = -3e5
    assert "Origin to Geometry" in with_text(full(addon), "300,000 units from its own origin").cure


@pytest.mark.parametrize("place", [1e3, 1e4])
def test_a_street_away_is_near(addon, place) -> None:
    ready_cube().location.x = place
    assert full(addon) == []


# Copies ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def cube(addon):
    return ready_cube()


def mirrored(cube, kind: str = "MIRROR"):
    modifier = cube.modifiers.new("Copies", kind)
    for vertex in cube.data.vertices:
        vertex.co.x += 3.0
    return modifier


def texture(cube, kind: str = "ShaderNodeTexNoise"):
    tree = cube.active_material.node_tree
    node = tree.nodes.new(kind)
    tree.links.new(node.outputs["Color"], tree.nodes["Principled BSDF"].inputs["Base Color"])
    return node


def coordinates(cube, node, socket: str):
    tree = cube.active_material.node_tree
    source = tree.nodes.new("ShaderNodeTexCoord")
    tree.links.new(source.outputs[socket], node.inputs["Vector"])


@pytest.mark.parametrize("kind", ["MIRROR", "ARRAY", "SOLIDIFY"])
def test_copies_of_one_color(addon, cube, kind) -> None:
    mirrored(cube, kind)
    assert full(addon) == []
    cube.modifiers.new("Smooth", "SUBSURF")
    assert full(addon) == []


def test_copies_that_show_a_texture_by_uv(addon, cube) -> None:
    mirrored(cube)
    coordinates(cube, texture(cube), "UV")
    assert full(addon) == []


@pytest.mark.parametrize("socket", ["Object", "Generated", "Normal"])
def test_copies_that_show_a_texture_by_place(addon, cube, socket) -> None:
    modifier = mirrored(cube)
    node = texture(cube)
    assert modifier.name in with_text(full(addon), "lie over each other").cure  # Generated without a link
    coordinates(cube, node, socket)
    with_text(full(addon), "lie over each other")


@pytest.mark.parametrize("kind", ["ShaderNodeObjectInfo", "ShaderNodeAmbientOcclusion"])
def test_copies_that_show_where_they_are(addon, cube, kind) -> None:
    mirrored(cube)
    texture(cube, kind)
    with_text(full(addon), "lie over each other")


def test_what_overlaps_before_it_is_copied(addon, cube) -> None:
    texture(cube, "ShaderNodeVertexColor")  # which copies share, and other faces do not
    mirrored(cube)
    layer = cube.data.uv_layers.active
    first, second = (cube.data.polygons[index].loop_indices for index in (0, 1))
    for one, other in zip(first, second, strict=True):
        layer.uv[other].vector = layer.uv[one].vector
    with_text(full(addon), "lie over each other")


def test_copies_that_are_moved_in_the_map(addon, cube) -> None:
    texture(cube, "ShaderNodeVertexColor")  # which copies share, and other faces do not
    mirrored(cube, "ARRAY").offset_u = 0.05
    with_text(full(addon), "lie over each other")
