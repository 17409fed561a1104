"""UV maps and materials that modifiers make: fitted where the slots show them, else refused with the true reason."""

from __future__ import annotations

import pytest
from support.blender.geometry_groups import nodes_modifier, set_material, sphere_with_uv
from support.blender.preflight_findings import full, press, quick, with_text
from support.blender.scenes import hdri_world, paint, ready_cube, snapshot

bpy = pytest.importorskip("bpy")


def fix(addon, text: str) -> None:
    """Press the fix of the finding with `text`; it must be gone afterwards."""
    assert press(with_text(full(addon), text)) == {"FINISHED"}
    assert not [finding for finding in full(addon) if text in finding.cause]


def thing_without_faces():
    """An object whose own mesh is empty, in a world."""
    thing = bpy.data.objects.new("Thing", bpy.data.meshes.new("Empty"))
    bpy.context.scene.collection.objects.link(thing)
    bpy.context.view_layer.objects.active = thing
    thing.select_set(True)
    hdri_world()
    return thing


def errors(addon) -> list:
    return [finding.cause for finding in full(addon) if finding.level == "ERROR"]


def planned_maps(addon) -> list:
    """Names and UV maps of the planned sets, which must also be exported."""
    (plan,) = addon.export.plan.plan_groups(bpy.context)
    arrays = addon.export.plan.export_group(plan, bpy.context, bpy.context.evaluated_depsgraph_get()).arrays
    assert arrays["vertex_uv"].max() > 0.9
    return [(item.name, *item.uv_maps.values()) for item in plan.sets]


def test_what_nodes_may_make_is_left_to_the_full_check(addon) -> None:
    thing = thing_without_faces()
    nodes_modifier(thing, "Make", sphere_with_uv("Mapped"))
    material = paint(thing)
    # The nodes' mesh has no material of its own; the second modifier gives it that of the slot.
    nodes_modifier(thing, "Repaint", set_material(material))
    assert "Unwrap" not in " ".join(str(finding) for finding in quick(addon))
    assert [finding for finding in quick(addon) if finding.level == "ERROR"] == []


def test_a_uv_map_stored_on_the_objects_own_faces(addon) -> None:
    cube = ready_cube()
    cube.data.uv_layers.remove(cube.data.uv_layers[0])

    def made(group, geometry):
        store, unwrapped = (
            group.nodes.new("GeometryNodeStoreNamedAttribute"),
            group.nodes.new("GeometryNodeInputPosition"),
        )
        store.data_type, store.domain = "FLOAT2", "CORNER"
        store.inputs["Name"].default_value = "Made"
        group.links.new(geometry, store.inputs["Geometry"])
        value = next(socket for socket in store.inputs if socket.name == "Value" and socket.enabled)
        group.links.new(unwrapped.outputs[0], value)
        return store.outputs[0]

    nodes_modifier(cube, "Store", made)
    assert quick(addon) == []
    assert errors(addon) == []
    assert planned_maps(addon) == [("Paint", "Made")]


def test_nodes_that_make_no_uv_map(addon) -> None:
    cube = ready_cube()
    cube.data.uv_layers.remove(cube.data.uv_layers[0])
    nodes_modifier(cube, "Nothing", lambda _group, geometry: geometry)
    assert quick(addon) == []
    finding = with_text(full(addon), '"Cube" has no UV map.')
    assert (finding.level, finding.fix) == ("ERROR", "pbrfit.convert_to_mesh")


def test_another_uv_map_in_place_of_the_removed_one(addon) -> None:
    cube = ready_cube()

    def renamed(group, geometry):
        removed = group.nodes.new("GeometryNodeRemoveAttribute")
        removed.inputs["Name"].default_value = "UVMap"
        group.links.new(geometry, removed.inputs[0])
        return removed.outputs[0]

    cube.data.uv_layers.new(name="Second")
    nodes_modifier(cube, "Remove", renamed)
    finding = with_text(full(addon), 'remove its UV map "UVMap"')
    assert (finding.level, finding.cure) == ("WARNING", 'PBRfit uses their UV map "Second".')
    assert planned_maps(addon) == [("Paint", "Second")]


def test_a_material_set_to_the_one_of_the_slot_is_fitted_with_a_word(addon) -> None:
    cube = ready_cube()
    nodes_modifier(cube, "Repaint", set_material(cube.active_material))
    finding = with_text(full(addon), "itself names the material")
    assert finding.level == "WARNING"
    assert 'The modifier "Repaint" of "Cube" itself names the material "Paint".' in finding.cause
    assert planned_maps(addon) == [("Paint", "UVMap")]


def test_two_materials_of_one_name_are_told_apart(addon, tmp_path) -> None:
    cube = ready_cube()
    path = str(tmp_path / "library.blend")
    bpy.data.libraries.write(path, {cube.active_material})
    with bpy.data.libraries.load(path, link=True) as (_, wanted):
        wanted.materials = ["Paint"]
    (linked,) = wanted.materials
    assert (linked.name, linked.library is None) == ("Paint", False)
    nodes_modifier(cube, "Repaint", set_material(linked))
    assert 'gives it the material "Paint" in place of its slots' in errors(addon)[0]


def test_a_slot_of_the_object_is_not_taken_for_a_modifiers_work(addon) -> None:
    cube = ready_cube()
    cube.material_slots[0].link = "OBJECT"
    cube.material_slots[0].material = bpy.data.materials.new("Own")
    nodes_modifier(cube, "Nothing", lambda _group, geometry: geometry)
    assert full(addon) == []


def test_faces_without_a_material_made_by_a_modifier(addon) -> None:
    cube = ready_cube()
    nodes_modifier(cube, "Make", sphere_with_uv())
    assert cube.active_material is not None
    (found,) = errors(addon)
    assert 'The modifier "Make" of "Cube" makes faces without a material in place of its slots' in found


def test_nothing_to_unwrap_leaves_nothing_behind(addon) -> None:
    empty = thing_without_faces()
    material = paint(empty)
    nodes_modifier(empty, "Make", sphere_with_uv(material=material, kind="FLOAT_VECTOR"))
    before = snapshot()
    with pytest.raises(RuntimeError, match="no faces of its own to unwrap: its modifiers make them"):
        bpy.ops.pbrfit.unwrap()
    assert snapshot() == before
    assert len(empty.data.uv_layers) == 0
    assert with_text(full(addon), "has no UV map").fix == "pbrfit.convert_to_mesh"


def test_an_unwrap_that_fails_leaves_nothing_behind(addon) -> None:
    cube = ready_cube()
    twin = bpy.data.objects.new("Twin", cube.data.copy())
    bpy.context.scene.collection.objects.link(twin)
    twin.select_set(True)
    twin.hide_viewport = True  # an object that is not shown cannot go into Edit Mode
    bpy.context.view_layer.objects.active = twin
    before = snapshot()
    with pytest.raises(RuntimeError):
        addon.preflight.unwrapping.unwrap(bpy.context, [twin, cube], (256, 256))
    assert snapshot() == before
    assert [layer.name for layer in cube.data.uv_layers] == ["UVMap"]
    assert [cube.data.uv_layers.active.name, twin.data.uv_layers.active.name] == ["UVMap", "UVMap"]


@pytest.mark.parametrize("shares_mesh", [False, True])
def test_convert_what_modifiers_made(addon, shares_mesh) -> None:
    """UV map and material made by geometry nodes are the mesh's own afterwards."""
    thing = thing_without_faces()
    twin = bpy.data.objects.new("Twin", thing.data)
    if shares_mesh:
        bpy.context.scene.collection.objects.link(twin)
    made = bpy.data.materials.new("Made")
    nodes_modifier(thing, "Make", sphere_with_uv("Mapped", made))
    assert addon.preflight.checks.errors_of(addon.preflight.checks.quick_findings(bpy.context)) == []
    fix(addon, 'The modifier "Make" of "Thing" gives it the material "Made"')
    assert addon.preflight.checks.errors_of(full(addon)) == []
    assert (len(thing.modifiers), len(thing.data.polygons), thing.data.uv_layers.active.name) == (0, 512, "Mapped")
    assert len(twin.data.polygons) == 0
    assert planned_maps(addon) == [("Made", "Mapped")]


def test_convert_keeps_the_active_uv_map(addon) -> None:
    cube = ready_cube()
    cube.data.uv_layers.active = cube.data.uv_layers.new(name="Second")
    other = bpy.data.materials.new("Other")
    nodes_modifier(cube, "Repaint", set_material(other))
    fix(addon, "in place of its slots")
    assert cube.data.uv_layers.active.name == "Second"
    assert other in [slot.material for slot in cube.material_slots]


def test_a_bake_keeps_the_material_that_it_was_made_with(addon, tmp_path) -> None:
    """What is baked shows that material whatever is in the slot, so a fitted one would not be seen."""

    def baked(group, geometry):
        bake = group.nodes.new("GeometryNodeBake")
        if not bake.bake_items:  # Blender 5.2 begins with none
            bake.bake_items.new("GEOMETRY", "Geometry")
        group.links.new(geometry, bake.inputs[0])
        return bake.outputs[0]

    cube = ready_cube()
    modifier = nodes_modifier(cube, "Baked", baked)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "baked.blend"))
    bpy.context.view_layer.update()
    bpy.ops.object.geometry_node_bake_single(
        session_uid=cube.session_uid, modifier_name=modifier.name, bake_id=modifier.bakes[0].bake_id
    )
    finding = with_text(full(addon), "itself names the material")
    assert 'The modifier "Baked" of "Cube" itself names the material "Paint".' in finding.cause
