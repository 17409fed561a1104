"""Objects of this file whose mesh is linked: the fitted material stays in the object's slots, also in the saved file."""

from __future__ import annotations

import pytest
from support.blender.assigning import assign
from support.blender.preflight_findings import full
from support.blender.scenes import hdri_world, ready_cube

bpy = pytest.importorskip("bpy")


@pytest.fixture
def library(addon, tmp_path):
    """A file with a painted cube in the collection "Asset"; the open file is empty afterwards."""
    cube = ready_cube()
    asset = bpy.data.collections.new("Asset")
    bpy.context.scene.collection.children.link(asset)
    asset.objects.link(cube)
    bpy.context.scene.collection.objects.unlink(cube)
    path, python = str(tmp_path / "library.blend"), addon.preferences.backend_python
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.preferences.addon_enable(module=addon.name)
    addon.preferences.backend_python = python
    hdri_world()
    return path


def overridden(path: str):
    with bpy.data.libraries.load(path, link=True) as (_, wanted):
        wanted.collections = ["Asset"]
    wanted.collections[0].override_hierarchy_create(bpy.context.scene, bpy.context.view_layer)
    return next(item for item in bpy.context.scene.objects if item.override_library is not None)


def overridden_with_its_mesh(path: str):
    cube = overridden(path)
    cube.data = cube.data.override_create()
    return cube


def with_linked_mesh(path: str):
    with bpy.data.libraries.load(path, link=True) as (_, wanted):
        wanted.meshes = ["Cube"]
    cube = bpy.data.objects.new("Cube", wanted.meshes[0])
    bpy.context.scene.collection.objects.link(cube)
    return cube


def in_scene():
    return next(item for item in bpy.context.scene.objects if item.type == "MESH")


@pytest.mark.parametrize("make", [overridden, overridden_with_its_mesh, with_linked_mesh])
def test_a_fit_of_an_object_with_a_linked_mesh(addon, files, library, tmp_path, make) -> None:
    cube = make(library)
    bpy.context.view_layer.objects.active = cube
    cube.select_set(True)
    assert cube.data.library is not None or cube.data.override_library is not None
    assert full(addon) == []
    original = cube.active_material
    assert original.library is not None
    assign(addon, files)
    path = str(tmp_path / "fitted.blend")
    for _ in range(2):
        assert cube.material_slots[0].material.name == "Paint PBRfit"
        assert [item.shows_fitted for item in addon.assign.memory.remembered(cube)] == [True]
        addon.assign.memory.show(bpy.context.scene, [cube], fitted=False)
        assert cube.material_slots[0].material.name == "Paint"
        addon.assign.memory.show(bpy.context.scene, [cube], fitted=True)
        bpy.ops.wm.save_as_mainfile(filepath=path)
        bpy.ops.wm.open_mainfile(filepath=path)
        cube = in_scene()
    assert addon.assign.memory.revert(bpy.context.scene, [cube]) == ["Paint PBRfit"]
    slot = cube.material_slots[0]
    assert (slot.material.name, slot.material.library is None, slot.link) == ("Paint", False, "DATA")
    assert list(addon.assign.memory.remembered(cube)) == []
    assert [item.name for item in bpy.data.materials if item.library is None] == []
    assert addon.assign.memory.OVERRIDES not in bpy.context.scene


def test_two_fits_of_an_override_are_a_stack(addon, files, library) -> None:
    cube = overridden(library)
    bpy.context.view_layer.objects.active = cube
    cube.select_set(True)
    assign(addon, files)
    assign(addon, files)
    addon.assign.memory.revert(bpy.context.scene, [cube])
    assert cube.active_material.name == "Paint PBRfit"
    addon.assign.memory.revert(bpy.context.scene, [cube])
    assert (cube.active_material.name, cube.active_material.library is None) == ("Paint", False)


def test_a_linked_mesh_is_not_unwrapped(addon, library) -> None:
    cube = with_linked_mesh(library)
    bpy.context.view_layer.objects.active = cube
    cube.select_set(True)
    with pytest.raises(RuntimeError, match=r"is linked from .*library\.blend, so it cannot be unwrapped here"):
        bpy.ops.pbrfit.unwrap()
