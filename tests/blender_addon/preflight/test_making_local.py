"""Make Local: the object and its mesh, in a collection of this file, with the right one of two of the same name."""

from __future__ import annotations

import pytest
from support.blender.preflight_findings import full, press, quick, with_text
from support.blender.scenes import hdri_world, ready_cube

bpy = pytest.importorskip("bpy")


@pytest.fixture
def library(addon, tmp_path):
    """A file with the painted object "Cube" in the collection "Asset" in "Outer"; the open file is empty afterwards."""
    cube = ready_cube()
    outer, inner = bpy.data.collections.new("Outer"), bpy.data.collections.new("Asset")
    bpy.context.scene.collection.children.link(outer)
    outer.children.link(inner)
    inner.objects.link(cube)
    path, python = str(tmp_path / "library.blend"), addon.preferences.backend_python
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.preferences.addon_enable(module=addon.name)
    addon.preferences.backend_python = python
    hdri_world()
    return path


def link(path: str, kind: str, name: str):
    with bpy.data.libraries.load(path, link=True) as (_, wanted):
        setattr(wanted, kind, [name])
    return getattr(wanted, kind)[0]


def choose(*objects) -> None:
    bpy.context.view_layer.update()
    for item in bpy.context.view_layer.objects:
        item.select_set(item in objects)
    bpy.context.view_layer.objects.active = objects[0]


def check_local(addon, linked) -> None:
    """Press the fix: the chosen object is local then, selected and active, and can be fitted."""
    finding = with_text(quick(addon), "is linked from")
    assert press(finding) == {"FINISHED"}
    found = bpy.context.view_layer.objects.active
    assert (found.library, found.data.library) == (None, None)
    assert found.select_get()
    assert [item for item in bpy.context.view_layer.objects if item.select_get()] == [found]
    assert [finding.cause for finding in full(addon) if finding.level == "ERROR"] == []


def test_a_linked_object(addon, library) -> None:
    linked = link(library, "objects", "Cube")
    bpy.context.scene.collection.objects.link(linked)
    choose(linked)
    check_local(addon, linked)


def test_beside_a_local_object_of_the_same_name(addon, library) -> None:
    linked = link(library, "objects", "Cube")
    bpy.context.scene.collection.objects.link(linked)
    ready_cube()
    local = bpy.context.object
    assert local.name == linked.name == "Cube"
    local.location.x = 5.0
    choose(linked)
    check_local(addon, linked)
    assert bpy.context.view_layer.objects.active != local
    assert (local.name, local.data.library) == ("Cube", None)


def test_the_fix_of_one_of_two_of_the_same_name(addon, library) -> None:
    linked = link(library, "objects", "Cube")
    bpy.context.scene.collection.objects.link(linked)
    ready_cube()
    local = bpy.context.object
    local.scale = (1.0, 2.0, 1.0)
    choose(local, linked)
    assert with_text(quick(addon), "is linked from").target != local.name
    linked_scale = tuple(linked.scale)
    press(with_text(quick(addon), "is linked from"))
    assert tuple(local.scale) == (1.0, 2.0, 1.0)
    press(with_text(full(addon), "scaled differently"))
    assert tuple(local.scale) == (1.0, 1.0, 1.0)
    assert sorted(item.library is None for item in bpy.context.selected_objects) == [True, True]
    assert linked_scale == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("name", ["Asset", "Outer"])
def test_in_a_linked_collection(addon, library, name) -> None:
    collection = link(library, "collections", name)
    bpy.context.scene.collection.children.link(collection)
    linked = collection.all_objects["Cube"]
    choose(linked)
    check_local(addon, linked)
    assert bpy.data.collections["Asset"].library is None


def test_an_object_that_other_linked_things_use(addon, library) -> None:
    """The linked collection is instanced besides, and keeps its linked object."""
    collection = link(library, "collections", "Asset")
    linked = collection.objects["Cube"]
    empty = bpy.data.objects.new("Instancer", None)
    empty.instance_type, empty.instance_collection = "COLLECTION", collection
    bpy.context.scene.collection.objects.link(empty)
    bpy.context.scene.collection.objects.link(linked)
    choose(linked)
    check_local(addon, linked)
    assert [item.library is None for item in collection.objects] == [False]


def test_what_cannot_be_made_local_changes_nothing(addon, library) -> None:
    linked = link(library, "objects", "Cube")
    scene = link(library, "scenes", "Scene")
    bpy.context.window.scene = scene
    choose(linked)
    before = sorted((item.name_full, item.users) for item in (*bpy.data.objects, *bpy.data.collections))
    with pytest.raises(RuntimeError, match="only through what is linked itself"):
        bpy.ops.pbrfit.make_local()
    assert sorted((item.name_full, item.users) for item in (*bpy.data.objects, *bpy.data.collections)) == before
