"""A driver that reads the size of the render has another value while references are rendered."""

from __future__ import annotations

import pytest
from support.blender.preflight_findings import full, with_text
from support.blender.scenes import ready_cube

bpy = pytest.importorskip("bpy")


def drive(owner, path: str, read: str = "render.resolution_x", index: int = -1):
    """Drive a property by one of the scene's; returns the curve."""
    curve = owner.driver_add(path, index) if index >= 0 else owner.driver_add(path)
    curve.driver.type = "AVERAGE"
    target = curve.driver.variables.new().targets[0]
    target.id_type, target.id, target.data_path = "SCENE", bpy.context.scene, read
    return curve


def test_a_driven_material(addon) -> None:
    material = ready_cube().active_material
    socket = material.node_tree.nodes["Principled BSDF"].inputs["Roughness"]
    curve = drive(socket, "default_value")
    finding = with_text(full(addon), 'A driver of the material "Paint" reads the render size (render.resolution_x).')
    assert finding.level == "WARNING"
    curve.mute = True
    assert full(addon) == []


def test_a_driven_object(addon) -> None:
    drive(ready_cube(), "pass_index", "render.resolution_percentage")
    with_text(full(addon), 'A driver of "Cube" reads the render size (render.resolution_percentage).')


def test_a_driven_group_in_a_material(addon) -> None:
    tree = ready_cube().active_material.node_tree
    inside = bpy.data.node_groups.new("Inside", "ShaderNodeTree")
    tree.nodes.new("ShaderNodeGroup").node_tree = inside
    drive(inside.nodes.new("ShaderNodeValue").outputs[0], "default_value")
    with_text(full(addon), 'A driver of the material "Paint" reads the render size')


def test_a_driven_shape_key(addon) -> None:
    cube = ready_cube()
    cube.shape_key_add(name="Basis")
    drive(cube.shape_key_add(name="Wide"), "value")
    with_text(full(addon), 'A driver of the shape keys of "Cube" reads the render size')


def test_an_expression(addon) -> None:
    cube = ready_cube()
    curve = cube.driver_add("pass_index")
    curve.driver.expression = "bpy.context.scene.render.resolution_y / 100"
    with_text(full(addon), "reads the render size")


def test_other_drivers(addon) -> None:
    drive(ready_cube(), "pass_index", "frame_current")
    assert full(addon) == []
