"""The whole way with several slots and objects: each material gets the maps of its own look."""

from __future__ import annotations

import time

import numpy as np
import pytest
from support.blender.reference_process import references_of
from support.blender.scenes import TIMEOUT_S, hdri_world, paint, run_to_end, small_fit, snapshot

bpy = pytest.importorskip("bpy")

COLORS = {"Red": (0.7, 0.05, 0.05), "Green": (0.05, 0.6, 0.05), "Blue": (0.05, 0.1, 0.7)}


def sphere(name: str, x: float, *materials: bpy.types.Material) -> bpy.types.Object:
    """A sphere whose faces have the materials in turn; None leaves a slot empty."""
    bpy.ops.mesh.primitive_uv_sphere_add(segments=24, ring_count=12, location=(x, 0.0, 0.0))
    scene_object = bpy.context.object
    scene_object.name = name
    scene_object.data.shade_smooth()
    for material in materials:
        scene_object.data.materials.append(material)
    for polygon in scene_object.data.polygons:
        upper = polygon.center.z > 0.0
        polygon.material_index = 0 if upper else len(materials) - 1
    return scene_object


def colored(name: str) -> bpy.types.Material:
    bpy.ops.mesh.primitive_cube_add()
    cube = bpy.context.object
    material = paint(cube, name)
    material.node_tree.nodes["Principled BSDF"].inputs["Base Color"].default_value = (*COLORS[name], 1.0)
    bpy.data.meshes.remove(cube.data)
    return material


def select(*objects: bpy.types.Object) -> None:
    for item in bpy.context.view_layer.objects:
        item.select_set(item in objects)
    bpy.context.view_layer.objects.active = objects[0]
    bpy.context.view_layer.update()


def linear_color(material: bpy.types.Material) -> np.ndarray:
    """The median of the fitted base color, linear."""
    image = material.node_tree.nodes["Base Color"].image
    encoded = np.median(np.array(image.pixels[:]).reshape(-1, 4)[:, :3], axis=0)
    return ((encoded + 0.055) / 1.055) ** 2.4


@pytest.mark.any_blender
def test_each_material_gets_its_own_look(addon) -> None:
    """Two objects share Green and are one group; a third is another; faces of an empty slot stay as they are."""
    red, green, blue = (colored(name) for name in COLORS)
    first = sphere("First", 0.0, red, green)
    second = sphere("Second", 2.5, green, None)
    third = sphere("Third", 5.0, blue)
    select(first, second, third)
    hdri_world()
    small_fit()
    settings = bpy.context.scene.pbrfit
    settings.use_normal = False
    settings.views, settings.view_size = 8, 96
    before = snapshot()

    assert bpy.ops.pbrfit.optimize() == {"FINISHED"}
    session = addon.session.session.current()
    assert session.status.fits == 2
    assert 'of "Second" have no material' in " ".join(session.result.warnings)
    shown_sets = set()
    deadline = time.monotonic() + TIMEOUT_S
    while not session.poll().finished:
        shown_sets |= {number for number, _ in session.maps.images}
        assert time.monotonic() < deadline, session.status
        time.sleep(0.02)
    assert session.status.state == "done", session.status
    assert shown_sets == {0, 1}

    shown = {
        item.name: [slot.material.name if slot.material else None for slot in item.material_slots]
        for item in (first, second, third)
    }
    assert shown == {
        "First": ["Red PBRfit", "Green PBRfit"],
        "Second": ["Green PBRfit", None],
        "Third": ["Blue PBRfit"],
    }
    # Eight small views leave some gloss in the color (0.11 was the most); the materials are 0.5 apart.
    for name, color in COLORS.items():
        np.testing.assert_allclose(linear_color(bpy.data.materials[f"{name} PBRfit"]), color, atol=0.2, err_msg=name)
    bpy.ops.pbrfit.revert()
    assert snapshot() == before


@pytest.mark.any_blender
def test_one_set_for_the_object_and_tiles(addon) -> None:
    """An object in two UDIM tiles with one set for all its slots: one material, whose image has two tiles."""
    red, green = colored("Red"), colored("Green")
    only = sphere("Only", 0.0, red, green)
    layer = only.data.uv_layers.active
    for polygon in only.data.polygons:
        if polygon.material_index == 1:
            for corner in polygon.loop_indices:
                layer.uv[corner].vector.x += 1.0
    select(only)
    hdri_world()
    small_fit()
    settings = bpy.context.scene.pbrfit
    settings.map_sets, settings.use_normal, settings.use_ks = "OBJECT", False, False
    settings.views, settings.view_size = 8, 96
    bpy.ops.pbrfit.optimize()
    session = addon.session.session.current()
    run_to_end(session)
    assert session.status.state == "done", session.status
    assert [slot.material.name for slot in only.material_slots] == ["Only PBRfit"] * 2
    image = only.active_material.node_tree.nodes["Base Color"].image
    assert [tile.number for tile in image.tiles] == [1001, 1002]


def test_references_show_the_objects_of_the_job_and_no_others(addon, tmp_path) -> None:
    green = colored("Green")
    left, middle, right = (sphere(name, x, green) for name, x in (("Left", -2.5), ("Middle", 0.0), ("Right", 2.5)))
    select(left, right)
    hdri_world()
    size = 48
    delivered = references_of(addon, tmp_path, views=12, size=size)
    # The view nearest to the Y axis shows the three side by side.
    view = min(delivered.views, key=lambda item: abs(item.matrix_world[0, 2]) + abs(item.matrix_world[2, 2]))
    alpha = delivered.images[view.index][..., 3]
    camera = np.linalg.inv(view.matrix_world)

    def at(scene_object) -> float:
        """Coverage where the object's center is seen."""
        x, y, z = (camera @ np.append(np.array(scene_object.location), 1.0))[:3]
        half = -z * np.tan(view.fov / 2.0)
        column, row = (0.5 + 0.5 * x / half) * size, (0.5 - 0.5 * y / half) * size
        return float(alpha[int(row), int(column)])

    assert (at(left), at(right)) == (1.0, 1.0)
    assert at(middle) == 0.0
    assert (tmp_path / finished_file(view)).is_file()  # kept, so that it can be sent again


def finished_file(view) -> str:
    return f"view_{view.index:04d}.npy"
