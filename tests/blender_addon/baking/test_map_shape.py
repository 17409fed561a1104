"""Bakes of maps that are not square: every texel has what the surface has in its middle, whatever the width and height."""

from __future__ import annotations

import bpy
import numpy as np
import pytest
from support.blender.bake_process import bake, gradient, noise_image, only, pixels, start_of
from support.blender.scenes import corner
from support.blender.shader_trees import Tree

WIDE, HIGH = (64, 16), (16, 64)
"""Width and height."""


def middles(count: int) -> np.ndarray:
    return (np.arange(count) + 0.5) / count


@pytest.mark.parametrize("supersampling", [1, 2])
@pytest.mark.parametrize("size", [WIDE, HIGH], ids=["wide", "high"])
def test_gradients_rise_along_their_own_axis(addon, tree, tmp_path, size, supersampling) -> None:
    width, height = size
    tree.link(gradient(tree, 0), tree.shader, "Roughness")
    tree.link(gradient(tree, 1), tree.shader, "Metallic")
    tree.link(gradient(tree, 1), tree.shader, "Alpha")
    group, _ = only(bake(addon, tmp_path, resolution=size, supersampling=supersampling))
    found = pixels(group, "orm.png")
    assert found.shape == (height, width, 3)
    np.testing.assert_allclose(found[..., 1], np.broadcast_to(middles(width), (height, width)), atol=3e-3)
    np.testing.assert_allclose(found[..., 2], np.broadcast_to(middles(height)[::-1, None], (height, width)), atol=3e-3)
    np.testing.assert_allclose(pixels(group, "kd.png")[..., 3], found[..., 2], atol=4e-3)


@pytest.mark.parametrize("size", [WIDE, HIGH], ids=["wide", "high"])
def test_an_image_of_the_same_shape_comes_back_as_it_is(addon, tree, tmp_path, size) -> None:
    image, values = noise_image(size[0], height=size[1])
    picture = tree.new("TexImage")
    picture.image = image
    tree.link(picture, tree.shader, "Base Color")
    group, _ = only(bake(addon, tmp_path, resolution=size))
    # Blender bakes a thousandth of a texel beside the middle.
    assert np.abs(pixels(group, "kd.png") * 255.0 - values[..., :3]).max() < 1.01


@pytest.mark.parametrize(("width", "height"), [(128, 32), (64, 32), (128, 16)], ids=["both", "rows", "columns"])
def test_what_is_finer_than_the_map_in_one_direction_is_averaged(addon, tree, tmp_path, width, height) -> None:
    image, values = noise_image(width, height=height)
    image.colorspace_settings.name = "Non-Color"
    picture = tree.new("TexImage")
    picture.image, picture.interpolation = image, "Closest"
    tree.link(picture, tree.shader, "Base Color")
    group, _ = only(bake(addon, tmp_path, resolution=WIDE))
    means = (values[..., :3] / 255.0).reshape(16, height // 16, 64, width // 64, 3).mean(axis=(1, 3))
    found = addon.common.color.linear_from_srgb(pixels(group, "kd.png").astype(np.float32))
    np.testing.assert_allclose(found, means, atol=8e-3)


def test_a_checker_of_squares_on_the_surface(addon, plane, tree, tmp_path) -> None:
    """On a board of 4 x 1 m its texels are square: fields of 0.5 m are 8 x 8 of them."""
    plane.scale = (2.0, 0.5, 1.0)
    checker = tree.new("TexChecker", Scale=2.0, Color1=(1.0, 1.0, 1.0, 1.0), Color2=(0.0, 0.0, 0.0, 1.0))
    raised = tree.new("Mapping")
    raised.inputs["Scale"].default_value = (4.0, 1.0, 0.0)
    tree.link(tree.link(tree.new("TexCoord"), raised, "Vector", output=2), checker, "Vector")
    tree.link(checker, tree.shader, "Base Color")
    group, _ = only(bake(addon, tmp_path, resolution=WIDE))
    rows, columns = np.indices((16, 64)) // 8
    expected = (rows + columns) % 2 == 0.0  # row 0 is the top one, and the checker's first color is at odd places
    np.testing.assert_allclose(pixels(group, "kd.png"), np.repeat(expected[..., None], 3, -1), atol=2e-3)


@pytest.mark.parametrize("axis", [0, 1])
def test_normals_do_not_depend_on_the_shape(addon, tree, tmp_path, axis: int) -> None:
    bump = tree.new("Bump", Distance=1.0)
    tree.link(gradient(tree, axis), bump, "Height")
    tree.link(bump, tree.shader, "Normal")
    group, _ = only(bake(addon, tmp_path, resolution=WIDE, target="CORE"))
    expected = np.array((0.0, 0.0, 1.0))
    expected[axis] = -0.5  # the height rises by 1 over 2 m
    found = pixels(group, "normal.png") * 2.0 - 1.0
    np.testing.assert_allclose(found, np.broadcast_to(expected / np.sqrt(1.25), found.shape), atol=0.01)


def test_udim_tiles_have_the_shape(addon, plane, tree, tmp_path) -> None:
    for place in plane.data.uv_layers.active.uv:
        place.vector = (place.vector[0], place.vector[1] * 2.0)
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.subdivide(number_cuts=1)
    bpy.ops.object.mode_set(mode="OBJECT")
    halved = tree.new("Math")
    halved.operation = "MULTIPLY"
    halved.inputs[1].default_value = 0.5
    tree.link(tree.link(gradient(tree, 1), halved, 0), tree.shader, "Roughness")
    (group,) = bake(addon, tmp_path, resolution=WIDE, target="CORE")
    assert sorted(group.files) == ["0/orm.png", "1/orm.png"]
    for number in (0, 1):
        found = pixels(group, f"{number}/orm.png")[..., 1]
        expected = np.broadcast_to((number + middles(16)[::-1, None]) / 2.0, (16, 64))
        np.testing.assert_allclose(found, expected, atol=4e-3)


def test_one_set_for_an_object_holds_what_differs_between_its_materials(addon, plane, tree, tmp_path) -> None:
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.subdivide(number_cuts=1)
    bpy.ops.object.mode_set(mode="OBJECT")
    other = Tree()
    plane.data.materials.append(other.material)
    for face in plane.data.polygons:
        face.material_index = int(face.center.y > 0.0)
    other.input(other.shader, "Roughness").default_value = 0.9
    bpy.context.scene.pbrfit.map_sets = "OBJECT"
    group, _ = only(bake(addon, tmp_path, resolution=WIDE, target="CORE"))
    found = pixels(group, "orm.png")[..., 1]
    np.testing.assert_allclose(found[:8], 0.9, atol=3e-3)
    np.testing.assert_allclose(found[8:], 0.5, atol=3e-3)


def test_texels_without_a_face_have_what_the_nearest_has_in_texels(addon, plane, tree, tmp_path) -> None:
    """Two islands, left of a quarter and right of a half: what lies between them is filled up to the middle."""
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.subdivide(number_cuts=1)
    bpy.ops.object.mode_set(mode="OBJECT")
    other = Tree()
    plane.data.materials.append(other.material)
    for face in plane.data.polygons:
        face.material_index = int(face.center.x > 0.0)
        for index in face.loop_indices:
            place = plane.data.uv_layers.active.uv[index]
            x, y = plane.data.vertices[plane.data.loops[index].vertex_index].co[:2]
            u = 0.5 + x / 2.0 if face.center.x > 0.0 else (x + 1.0) / 4.0
            place.vector = (u, (y + 1.0) / 2.0)
    other.input(other.shader, "Roughness").default_value = 0.9
    bpy.context.scene.pbrfit.map_sets = "OBJECT"
    group, _ = only(bake(addon, tmp_path, resolution=WIDE, target="CORE", margin=3))
    found = pixels(group, "orm.png")[8, :, 1]
    np.testing.assert_allclose(found[1:19], 0.5, atol=3e-3)
    np.testing.assert_allclose(found[29:63], 0.9, atol=3e-3)


def test_openness_of_each_texel(addon, tmp_path) -> None:
    """As of square maps, see test_openness.py: the wall is at the left."""
    corner()
    group, recipe = only(bake(addon, tmp_path, resolution=(64, 32), occlusion=True))
    assert recipe.inputs["Occlusion"] == addon.common.material_recipe.MapInput("orm", "red")
    values = pixels(group, "orm.png")[..., 0]
    distance = middles(64) * 2.0
    expected = 1.0 - (1.0 - distance / np.hypot(distance, 60.0)) / 2.0
    assert values.shape == (32, 64)
    np.testing.assert_allclose(values.mean(axis=0), expected, atol=0.02)


def test_height_and_thickness(addon, tmp_path) -> None:
    bpy.ops.mesh.primitive_plane_add()
    thing = bpy.context.object
    solidify = thing.modifiers.new("Solidify", "SOLIDIFY")
    solidify.thickness = 0.4
    thing.data.materials.append(None)
    tree = Tree()
    thing.material_slots[0].material = tree.material
    node = tree.new("Displacement", Midlevel=0.25, Scale=0.4)
    tree.link(gradient(tree, 1), node, "Height")
    tree.link(node, tree.output, "Displacement")
    group, recipe = only(bake(addon, tmp_path, resolution=WIDE, geometry=["Height", "Curvature", "Thickness"]))
    found = pixels(group, "geometry.png")
    assert found.shape[:2] == (16, 64)
    height = (found[..., 0] - 0.5) * recipe.constants["Height Scale"]
    np.testing.assert_allclose(height, np.broadcast_to((middles(16)[::-1, None] - 0.25) * 0.4, (16, 64)), atol=3e-3)
    thickness = found[..., 2] * recipe.constants["Thickness Scale"]
    np.testing.assert_allclose(thickness[3:-3, 3:-3], 0.4, atol=4e-3)


def test_the_start_of_a_fit_has_the_shape(addon, tree, tmp_path) -> None:
    tree.link(gradient(tree, 0), tree.shader, "Roughness")
    tree.link(gradient(tree, 1), tree.shader, "Metallic")
    tree.input(tree.shader, "Coat Weight").default_value = 0.8
    arrays = start_of(addon, tmp_path, target="GLTF", resolution=WIDE)
    assert {name: array.shape for name, array in arrays.items()} == {
        "texels": (16, 64, 9),
        "surety": (16, 64, 2),
        "lobes": (16, 64, 9),
    }
    np.testing.assert_allclose(arrays["texels"][5, :, 3], middles(64), atol=3e-3)
    np.testing.assert_allclose(arrays["texels"][:, 5, 4], middles(16)[::-1], atol=3e-3)
