"""What an object shows besides its mesh, and objects that are only instanced."""

from __future__ import annotations

import pytest
from support.blender.geometry_groups import joined_with, nodes_modifier
from support.blender.preflight_findings import full, quick, with_text
from support.blender.scenes import ready_cube

bpy = pytest.importorskip("bpy")


def link(scene_object) -> None:
    bpy.context.scene.collection.objects.link(scene_object)


def activate(scene_object) -> None:
    for item in bpy.context.selected_objects:
        item.select_set(False)
    bpy.context.view_layer.objects.active = scene_object
    scene_object.select_set(True)


def test_an_empty_that_shows_a_collection(addon) -> None:
    cube = ready_cube()
    asset = bpy.data.collections.new("Asset")
    asset.objects.link(cube)
    bpy.context.scene.collection.objects.unlink(cube)
    empty = bpy.data.objects.new("Asset", None)
    empty.instance_type, empty.instance_collection = "COLLECTION", asset
    link(empty)
    activate(empty)
    finding = with_text(quick(addon), "instances of the collection")
    assert (finding.level, '"Asset" only shows instances' in finding.cause, '"Cube"' in finding.cause) == (
        "ERROR",
        True,
        True,
    )
    assert "Make Instances Real" in finding.cure


def test_a_child_that_is_shown_only_as_instances(addon) -> None:
    cube = ready_cube()
    parent = bpy.data.objects.new("Cloud", bpy.data.meshes.new("Cloud"))
    link(parent)
    cube.parent = parent
    assert quick(addon) == []
    parent.instance_type = "VERTS"
    assert with_text(quick(addon), '"Cube" is shown only as instances on "Cloud".').level == "WARNING"


def test_a_mesh_that_instances_its_children(addon) -> None:
    cube = ready_cube()
    child = bpy.data.objects.new("Child", None)
    link(child)
    child.parent = cube
    cube.instance_type = "FACES"
    assert "also shows instances of its children" in with_text(quick(addon), "also shows").cause


def particle_settings(cube, name: str):
    modifier = cube.modifiers.new(name, "PARTICLE_SYSTEM")
    modifier.particle_system.settings.count = 5
    return modifier.particle_system.settings


def test_particle_systems(addon) -> None:
    cube = ready_cube()
    settings = particle_settings(cube, "Fur")
    assert quick(addon) == []  # Cycles does not show halos
    settings.type = "HAIR"
    assert settings.render_type == "PATH"
    finding = with_text(quick(addon), '"Cube" also shows')
    assert (finding.level, 'hair of the particle system "Fur"' in finding.cause) == ("WARNING", True)
    cube.modifiers["Fur"].show_render = False
    assert quick(addon) == []
    cube.modifiers["Fur"].show_render = True
    settings.render_type = "OBJECT"
    assert quick(addon) == []
    settings.instance_object = bpy.data.objects.new("Pebble", None)
    assert 'instances of "Pebble" by the particle system "Fur"' in with_text(quick(addon), "also shows").cause
    assert 'instances of "Pebble"' in with_text(full(addon), "also shows").cause


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        ("GeometryNodeInstanceOnPoints", "instances"),
        ("GeometryNodePoints", "points"),
        ("GeometryNodeCurvePrimitiveCircle", "curves"),
        ("GeometryNodeVolumeCube", "a volume"),
    ],
)
def test_geometry_nodes(addon, kind, word) -> None:
    cube = ready_cube()
    nodes_modifier(cube, "Scatter", joined_with(kind))
    assert quick(addon) == []
    finding = with_text(full(addon), "also shows")
    assert (finding.level, f'"Cube" also shows {word} of its geometry nodes' in finding.cause) == ("WARNING", True)


def test_instances_of_another_object_are_not_this_ones(addon) -> None:
    cube = ready_cube()
    bpy.ops.mesh.primitive_plane_add()
    nodes_modifier(bpy.context.object, "Scatter", joined_with("GeometryNodeInstanceOnPoints"))
    nodes_modifier(cube, "Nothing", lambda _group, geometry: geometry)
    activate(cube)
    assert full(addon) == []
