"""What a click fits: grouping, sets of maps, UDIM tiles, and several objects as one mesh."""

from __future__ import annotations

import numpy as np
import pytest
from support.blender.scenes import add_cube, paint, snapshot

bpy = pytest.importorskip("bpy")


def cubes(*materials) -> list:
    """A cube for each argument, side by side, all selected; an argument is the list of its slots' materials."""
    found = []
    for number, slots in enumerate(materials):
        bpy.ops.mesh.primitive_cube_add(location=(3.0 * number, 0.0, 0.0))
        cube = bpy.context.object
        for material in slots:
            cube.data.materials.append(material)
        for polygon in cube.data.polygons:
            polygon.material_index = polygon.index % max(1, len(slots))
        found.append(cube)
    for cube in found:
        cube.select_set(True)
    bpy.context.view_layer.objects.active = found[0]
    bpy.context.view_layer.update()
    return found


def new_materials(*names: str) -> list:
    return [bpy.data.materials.new(name) for name in names]


def plan_of(addon) -> list:
    return addon.export.plan.plan_groups(bpy.context)


def export(addon, plan):
    return addon.export.plan.export_group(plan, bpy.context, bpy.context.evaluated_depsgraph_get())


def described(group) -> tuple:
    """Object names of a group, and for each set its name and slots as (object, slot)."""
    names = {item.uid: item.name for item in group.objects}
    return tuple(names.values()), [
        (item.name, [(names[slot.object_uid], slot.slot_index) for slot in item.slots]) for item in group.sets
    ]


def test_objects_that_share_a_material_are_one_group(addon) -> None:
    wood, steel, glass, gold = new_materials("Wood", "Steel", "Glass", "Gold")
    cubes([wood, steel], [glass], [steel, gold])
    first, second = plan_of(addon)
    assert described(first) == (
        ("Cube", "Cube.002"),
        [("Wood", [("Cube", 0)]), ("Steel", [("Cube", 1), ("Cube.002", 0)]), ("Gold", [("Cube.002", 1)])],
    )
    assert described(second) == (("Cube.001",), [("Glass", [("Cube.001", 0)])])


def test_an_object_that_joins_two_groups(addon) -> None:
    a, b = new_materials("A", "B")
    cubes([a], [b], [b, a])
    (group,) = plan_of(addon)
    assert described(group)[1] == [
        ("A", [("Cube", 0), ("Cube.002", 1)]),
        ("B", [("Cube.001", 0), ("Cube.002", 0)]),
    ]


def test_slots_of_one_object_with_one_material_share_a_set(addon) -> None:
    (wood,) = new_materials("Wood")
    cubes([wood, wood])
    (group,) = plan_of(addon)
    assert described(group)[1] == [("Wood", [("Cube", 0), ("Cube", 1)])]


def test_one_set_for_each_object(addon) -> None:
    wood, steel = new_materials("Wood", "Steel")
    cubes([wood, steel, None], [steel])
    bpy.context.scene.pbrfit.map_sets = "OBJECT"
    first, second = plan_of(addon)
    assert described(first) == (("Cube",), [("Cube", [("Cube", 0), ("Cube", 1), ("Cube", 2)])])
    assert described(second) == (("Cube.001",), [("Cube.001", [("Cube.001", 0)])])
    assert "triangle_set" not in export(addon, first).arrays


def test_one_set_for_all_objects(addon) -> None:
    wood, steel = new_materials("Wood", "Steel")
    cubes([wood, steel, None], [steel])
    bpy.context.scene.pbrfit.map_sets = "ALL"
    (only,) = plan_of(addon)
    slots = [("Cube", 0), ("Cube", 1), ("Cube", 2), ("Cube.001", 0)]
    assert described(only) == (("Cube", "Cube.001"), [("Cube", slots)])
    assert "triangle_set" not in export(addon, only).arrays


def test_the_active_object_comes_first(addon) -> None:
    a, b = new_materials("A", "B")
    _, second = cubes([a], [b])
    bpy.context.view_layer.objects.active = second
    assert [group.objects[0].name for group in plan_of(addon)] == ["Cube.001", "Cube"]


def test_faces_without_a_material_have_no_set(addon) -> None:
    (wood,) = new_materials("Wood")
    cubes([wood, None])
    (group,) = plan_of(addon)
    assert described(group)[1] == [("Wood", [("Cube", 0)])]
    arrays = export(addon, group).arrays
    assert np.array_equal(arrays["triangle_set"], np.where(arrays["triangle_material"] == 0, 0, -1))
    assert (arrays["triangle_set"] == -1).sum() == 6


def test_no_face_with_a_material(addon) -> None:
    cubes([None])
    with pytest.raises(addon.common.errors.PbrFitError, match='No face of "Cube" has a material'):
        plan_of(addon)


def test_several_objects_are_one_mesh_in_world_space(addon) -> None:
    wood, steel = new_materials("Wood", "Steel")
    objects = cubes([wood, steel], [steel])
    objects[1].rotation_euler = (0.3, 0.2, 0.1)
    objects[1].data.uv_layers.active.name = "Other"
    bpy.context.view_layer.update()
    before = snapshot()
    (group,) = plan_of(addon)
    exported = export(addon, group)
    assert snapshot() == before
    depsgraph = bpy.context.evaluated_depsgraph_get()
    alone = [addon.export.mesh.export_mesh(item, depsgraph) for item in objects]
    arrays = exported.arrays
    vertices = [len(part.arrays["vertex_position"]) for part in alone]
    for name in ("vertex_position", "vertex_normal", "vertex_tangent", "vertex_uv"):
        np.testing.assert_array_equal(arrays[name], np.concatenate([part.arrays[name] for part in alone]))
    np.testing.assert_array_equal(
        arrays["triangles"],
        np.concatenate([alone[0].arrays["triangles"], alone[1].arrays["triangles"] + vertices[0]]),
    )
    assert arrays["triangle_set"].dtype == arrays["triangles"].dtype == np.int32
    assert arrays["triangle_set"].tolist() == [*alone[0].arrays["triangle_material"], *[1] * 12]
    assert np.bincount(arrays["triangle_material"]).tolist() == [6, 6, 12]
    assert len(exported.world_positions) == 16
    assert exported.world_positions[:, 0].max() > 3.0
    steel_set = group.sets[1]
    assert set(steel_set.uv_maps.values()) == {"UVMap", "Other"}


def test_udim_tiles_have_sets_of_their_own(addon) -> None:
    wood, steel = new_materials("Wood", "Steel")
    (cube,) = cubes([wood, steel])
    for polygon in cube.data.polygons:
        if polygon.index in (2, 3):  # of Wood and of Steel
            for corner in polygon.loop_indices:
                cube.data.uv_layers.active.uv[corner].vector += bpy_vector(1.0, 2.0)
    cube.data.polygons[3].material_index = 0
    (group,) = plan_of(addon)
    assert [(item.name, item.tile) for item in group.sets] == [("Wood", 1001), ("Wood", 1022), ("Steel", 0)]
    arrays = export(addon, group).arrays
    assert np.bincount(arrays["triangle_set"]).tolist() == [4, 4, 4]
    assert arrays["vertex_uv"].min() >= 0.0
    assert arrays["vertex_uv"].max() <= 1.0
    bpy.context.scene.pbrfit.use_udim = False
    (group,) = plan_of(addon)
    assert [item.tile for item in group.sets] == [0, 0]
    assert export(addon, group).arrays["vertex_uv"].max() > 2.0


def bpy_vector(*values):
    from mathutils import Vector

    return Vector(values)


def test_faces_across_the_border_of_a_tile_are_no_udim(addon) -> None:
    (wood,) = new_materials("Wood")
    (cube,) = cubes([wood])
    for entry in cube.data.uv_layers.active.uv:
        entry.vector *= 3.0
    (group,) = plan_of(addon)
    assert [item.tile for item in group.sets] == [0]


def test_too_many_sets(addon, monkeypatch) -> None:
    cubes(new_materials(*(f"M{number}" for number in range(6))))
    assert len(plan_of(addon)[0].sets) == 6
    monkeypatch.setattr(addon.export.plan, "MOST_SETS", 5)
    with pytest.raises(addon.common.errors.PbrFitError, match="needs 6 sets"):
        plan_of(addon)


def test_a_face_without_area_on_a_border_makes_no_tile(addon) -> None:
    (wood,) = new_materials("Wood")
    (cube,) = cubes([wood])
    layer = cube.data.uv_layers.active
    for polygon in cube.data.polygons:
        for corner in polygon.loop_indices:
            if polygon.index == 0:
                layer.uv[corner].vector = (1.0, 1.0)
            elif polygon.index == 1:
                layer.uv[corner].vector.y += 1.0
    (group,) = plan_of(addon)
    assert [item.tile for item in group.sets] == [1001, 1011]
    arrays = export(addon, group).arrays
    assert np.bincount(arrays["triangle_set"]).tolist() == [10, 2]
    for entry in layer.uv:
        entry.vector = (1.0, 1.0)
    (group,) = plan_of(addon)
    assert "triangle_set" not in export(addon, group).arrays


def test_plan_for_the_same_objects_after_loading(addon) -> None:
    wood, steel = new_materials("Wood", "Steel")
    cubes([wood], [wood, steel])
    (group,) = plan_of(addon)
    uids = {item.uid: item.uid + 1000 for item in group.objects}
    moved = group.rebound(uids)
    assert [item.uid for item in moved.objects] == [item.uid + 1000 for item in group.objects]
    assert [slot.object_uid for item in moved.sets for slot in item.slots] == [
        slot.object_uid + 1000 for item in group.sets for slot in item.slots
    ]
    assert set(moved.sets[0].uv_maps) == set(uids.values())


def test_object_that_went_away_before_the_export(addon) -> None:
    (cube,) = cubes(new_materials("Wood"))
    (group,) = plan_of(addon)
    bpy.data.objects.remove(cube)
    with pytest.raises(addon.common.errors.PbrFitError, match='"Cube" is gone'):
        export(addon, group)


def test_an_export_of_an_unselected_active_object(addon) -> None:
    cube = add_cube()
    paint(cube)
    cube.select_set(False)
    (group,) = plan_of(addon)
    assert described(group)[0] == ("Cube",)
