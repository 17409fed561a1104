"""The bake in a second Blender: values that are known from how the material was made."""

from __future__ import annotations

import time

import bpy
import numpy as np
import pytest
from support.blender.bake_process import bake, pixels, plan_of
from support.blender.shader_trees import Tree

SIZE = 64


@pytest.fixture
def plane(addon) -> bpy.types.Object:
    """A square of 2 x 2 m around the origin whose UV map is the whole of it."""
    bpy.ops.mesh.primitive_plane_add(size=2.0)
    return bpy.context.object


@pytest.fixture
def tree(plane) -> Tree:
    made = Tree()
    plane.data.materials.append(made.material)
    return made


def only(maps) -> tuple:
    """The one recipe of the one group."""
    (group,) = maps
    (recipe,) = group.recipes
    return group, recipe


def noise_image(size: int, seed: int = 0, alpha: bool = False) -> tuple[bpy.types.Image, np.ndarray]:
    """A packed image of random bytes, and these, uint8 [size, size, 4], row 0 at the top."""
    values = np.random.default_rng(seed).integers(0, 256, (size, size, 4), np.uint8)
    if not alpha:
        values[..., 3] = 255
    image = bpy.data.images.new("Noise", size, size, alpha=alpha)
    image.pixels.foreach_set((values[::-1] / 255.0).astype(np.float32).ravel())
    image.pack()
    return image, values


def gradient(tree: Tree, axis: int) -> bpy.types.Node:
    """A number that rises along an axis of the UV map, from 0 to 1."""
    split = tree.link(tree.new("TexCoord"), tree.new("SeparateXYZ"), 0, output=2)
    number = tree.new("Math")
    number.operation = "ADD"
    number.inputs[1].default_value = 0.0
    return tree.link(split, number, 0, output=axis)


RISING = (np.arange(SIZE) + 0.5) / SIZE


def test_constants_stay_constants_and_make_no_image(addon, tree, tmp_path) -> None:
    tree.input(tree.shader, "Base Color").default_value = (0.2, 0.4, 0.6, 1.0)
    tree.input(tree.shader, "Roughness").default_value = 0.3
    group, recipe = only(bake(addon, tmp_path, resolution=SIZE))
    assert group.files == {}
    assert recipe.inputs == {}
    assert recipe.constants["Base Color"] == pytest.approx((0.2, 0.4, 0.6), abs=1e-7)
    assert recipe.constants["Roughness"] == pytest.approx(0.3, abs=1e-7)
    assert not any("Coat" in name and name != "Coat Weight" for name in recipe.constants)


def test_what_turns_out_to_be_the_same_everywhere_is_a_constant(addon, tree, tmp_path) -> None:
    flat = bpy.data.images.new("Flat", 4, 4)
    flat.generated_color = (0.5, 0.25, 0.75, 1.0)
    picture = tree.new("TexImage")
    picture.image = flat
    tree.link(picture, tree.shader, "Base Color")
    group, recipe = only(bake(addon, tmp_path, resolution=SIZE))
    assert group.files == {}
    stored = np.round(np.array((0.5, 0.25, 0.75)) * 255.0) / 255.0
    expected = addon.common.color.linear_from_srgb(stored).tolist()
    assert recipe.constants["Base Color"] == pytest.approx(expected, abs=1e-5)


def test_an_image_of_the_same_size_comes_back_as_it_is(addon, tree, tmp_path) -> None:
    image, values = noise_image(SIZE)
    picture = tree.new("TexImage")
    picture.image = image
    tree.link(picture, tree.shader, "Base Color")
    group, recipe = only(bake(addon, tmp_path, resolution=SIZE))
    assert recipe.inputs["Base Color"] == addon.common.material_recipe.MapInput("kd", "color")
    # Blender bakes a thousandth of a texel beside the middle.
    assert np.abs(pixels(group, "kd.png") * 255.0 - values[..., :3]).max() < 1.01


def test_a_finer_image_is_averaged(addon, tree, tmp_path) -> None:
    image, values = noise_image(2 * SIZE)
    image.colorspace_settings.name = "Non-Color"
    picture = tree.new("TexImage")
    picture.image = image
    tree.link(picture, tree.shader, "Roughness")
    group, _ = only(bake(addon, tmp_path, resolution=SIZE))
    gray = (values[..., :3] / 255.0) @ (0.2126, 0.7152, 0.0722)
    expected = gray.reshape(SIZE, 2, SIZE, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(pixels(group, "orm.png")[..., 1], expected, atol=4e-3)


def test_three_scalars_share_a_pass_and_channels_are_named(addon, tree, tmp_path) -> None:
    tree.link(gradient(tree, 0), tree.shader, "Roughness")
    tree.link(gradient(tree, 1), tree.shader, "Metallic")
    group, recipe = only(bake(addon, tmp_path, resolution=SIZE))
    found = pixels(group, "orm.png")
    np.testing.assert_allclose(found[..., 0], 1.0)
    np.testing.assert_allclose(found[..., 1], np.broadcast_to(RISING, (SIZE, SIZE)), atol=3e-3)
    np.testing.assert_allclose(found[..., 2], np.broadcast_to(RISING[::-1, None], (SIZE, SIZE)), atol=3e-3)
    assert [(recipe.inputs[name].key, recipe.inputs[name].part) for name in ("Roughness", "Metallic")] == [
        ("orm", "green"),
        ("orm", "blue"),
    ]


def test_a_color_becomes_a_number_as_cycles_does_it(addon, tree, tmp_path) -> None:
    combined = tree.link(gradient(tree, 0), tree.new("CombineColor"), 0)
    tree.link(combined, tree.shader, "Roughness")
    group, _ = only(bake(addon, tmp_path, resolution=SIZE))
    np.testing.assert_allclose(pixels(group, "orm.png")[0, :, 1], 0.2126 * RISING, atol=3e-3)


def test_values_beyond_one_are_kept_as_floats(addon, tree, tmp_path) -> None:
    doubled = tree.new("Math")
    doubled.operation = "MULTIPLY"
    doubled.inputs[1].default_value = 2.5
    tree.link(tree.link(gradient(tree, 0), doubled, 0), tree.shader, "IOR")
    group, recipe = only(bake(addon, tmp_path, resolution=SIZE))
    assert recipe.inputs["IOR"].key == "specular"
    np.testing.assert_allclose(pixels(group, "specular.exr")[0, :, 1], 2.5 * RISING, atol=1e-3)


def test_light_is_a_map_and_a_strength(addon, tree, tmp_path) -> None:
    tree.link(gradient(tree, 0), tree.shader, "Emission Strength")
    tree.input(tree.shader, "Emission Color").default_value = (8.0, 4.0, 0.0, 1.0)
    group, recipe = only(bake(addon, tmp_path, resolution=SIZE, target="CORE"))
    strength = recipe.constants["Emission Strength"]
    assert strength == pytest.approx(8.0 * RISING[-1], rel=1e-3)
    linear = addon.common.color.linear_from_srgb(pixels(group, "emission.png")) * strength
    np.testing.assert_allclose(linear[3, :, 0], 8.0 * RISING, atol=0.05)
    np.testing.assert_allclose(linear[3, :, 1], 4.0 * RISING, atol=0.05)
    assert "Emission Color" not in recipe.constants


def test_a_screen_beside_a_lamp_keeps_its_picture(addon, tree, tmp_path) -> None:
    steep = tree.new("Math")
    steep.operation = "POWER"
    steep.inputs[0].default_value = 10000.0
    tree.link(tree.link(gradient(tree, 0), steep, 1), tree.shader, "Emission Strength")
    group, recipe = only(bake(addon, tmp_path, resolution=SIZE, target="CORE"))
    assert recipe.constants["Emission Strength"] == 1.0
    np.testing.assert_allclose(pixels(group, "emission.exr")[5, :, 0], 10000.0**RISING, rtol=0.02)


def test_added_light_is_added_to_its_own(addon, tree, tmp_path) -> None:
    tree.input(tree.shader, "Emission Strength").default_value = 1.0
    tree.input(tree.shader, "Emission Color").default_value = (0.25, 0.0, 0.0, 1.0)
    added = tree.link(tree.shader, tree.new("AddShader"), 0)
    tree.link(tree.new("Emission", Color=(0.0, 0.5, 0.0, 1.0), Strength=2.0), added, 1)
    tree.link(added, tree.output, 0)
    _, recipe = only(bake(addon, tmp_path, resolution=SIZE))
    assert recipe.constants["Emission Strength"] == pytest.approx(1.0, abs=1e-4)
    assert recipe.constants["Emission Color"] == pytest.approx((0.25, 1.0, 0.0), abs=1e-4)


def test_a_cut_out_has_its_color_under_the_holes(addon, tree, tmp_path) -> None:
    tree.input(tree.shader, "Base Color").default_value = (0.7, 0.1, 0.1, 1.0)
    mixed = tree.link(tree.new("BsdfTransparent"), tree.new("MixShader"), 1)
    tree.link(tree.link(gradient(tree, 0), mixed, 0), tree.output, 0)
    tree.link(tree.shader, mixed, 2)
    group, recipe = only(bake(addon, tmp_path, resolution=SIZE, target="CORE"))
    found = pixels(group, "kd.png")
    np.testing.assert_allclose(found[..., 3], np.broadcast_to(RISING, (SIZE, SIZE)), atol=3e-3)
    assert np.ptp(found[..., :3], axis=(0, 1)).max() == 0.0
    assert recipe.inputs["Alpha"].part == "alpha"


def test_an_image_with_alpha_keeps_its_colors_where_its_alpha_is_used(addon, tree, tmp_path) -> None:
    image, values = noise_image(SIZE, alpha=True)
    picture = tree.new("TexImage")
    picture.image = image
    tree.link(picture, tree.shader, "Base Color")
    tree.link(picture, tree.shader, "Alpha", output=1)
    tree.link(picture, tree.shader, "Roughness")
    group, _ = only(bake(addon, tmp_path, resolution=SIZE, target="CORE"))
    found = pixels(group, "kd.png") * 255.0
    # Cycles holds the colors times alpha in 8 bits, so little is left of them where alpha is small.
    opaque = values[..., 3] > 200
    assert np.abs(found - values)[opaque].max() < 2.5
    gray = addon.common.color.linear_from_srgb(values[..., :3] / 255.0) @ (0.2126, 0.7152, 0.0722)
    np.testing.assert_allclose(pixels(group, "orm.png")[opaque, 1], gray[opaque], atol=0.015)


def test_two_nodes_of_one_image_count_as_one(addon, tree, tmp_path) -> None:
    image, values = noise_image(SIZE, alpha=True)
    for name, output in (("Base Color", 0), ("Alpha", 1)):
        picture = tree.new("TexImage")
        picture.image = image
        tree.link(picture, tree.shader, name, output=output)
    group, _ = only(bake(addon, tmp_path, resolution=SIZE, target="CORE"))
    opaque = values[..., 3] > 200
    assert np.abs(pixels(group, "kd.png") * 255.0 - values)[opaque].max() < 2.5


def test_an_object_that_is_hidden_in_the_viewport_is_baked(addon, plane, tree, tmp_path) -> None:
    tree.link(gradient(tree, 0), tree.shader, "Roughness")
    bpy.context.view_layer.objects.active = plane
    plane.select_set(False)
    plane.hide_set(True)
    plane.hide_select = True
    group, _ = only(bake(addon, tmp_path, resolution=SIZE, target="CORE"))
    np.testing.assert_allclose(pixels(group, "orm.png")[9, :, 1], RISING, atol=4e-3)


def test_alpha_of_the_socket_and_of_a_mix_multiply(addon, tree, tmp_path) -> None:
    tree.link(gradient(tree, 1), tree.shader, "Alpha")
    mixed = tree.link(tree.new("BsdfTransparent"), tree.new("MixShader"), 1)
    tree.link(tree.link(gradient(tree, 0), mixed, 0), tree.output, 0)
    tree.link(tree.shader, mixed, 2)
    group, _ = only(bake(addon, tmp_path, resolution=SIZE, target="CORE"))
    np.testing.assert_allclose(pixels(group, "kd.png")[..., 3], RISING[::-1, None] * RISING, atol=3e-3)


def test_groups_used_twice_muted_nodes_and_drivers(addon, tree, tmp_path) -> None:
    def build(inside: Tree) -> bpy.types.Node:
        entry = inside.nodes.nodes.new("NodeGroupInput")
        layer = inside.new("BsdfPrincipled")
        inside.links.new(entry.outputs["Amount"], inside.input(layer, "Roughness"))
        inside.links.new(gradient(inside, 0).outputs[0], inside.input(layer, "Base Color"))
        return layer

    layer = tree.group("Layer", build)
    first, second = tree.use(layer, 0.2), tree.use(layer, 0.6)
    driver = first.inputs["Amount"].driver_add("default_value").driver
    driver.expression = "0.3 + 0.1"
    muted = tree.link(second, tree.new("MixShader", Fac=1.0), 1)
    muted.mute = True
    mixed = tree.link(first, tree.new("MixShader"), 1)
    tree.link(muted, mixed, 2)
    tree.link(tree.link(gradient(tree, 1), mixed, 0), tree.output, 0)
    group, recipe = only(bake(addon, tmp_path, resolution=SIZE, target="CORE"))
    expected = 0.4 + 0.2 * RISING[::-1]  # both reflect alike, so the mean is plain
    np.testing.assert_allclose(pixels(group, "orm.png")[:, 5, 1], expected, atol=4e-3)
    color = addon.common.color.linear_from_srgb(pixels(group, "kd.png"))
    np.testing.assert_allclose(color[5, :, 0], RISING, atol=6e-3)
    assert recipe.constants["Metallic"] == 0.0


def test_bumps_and_displacement_become_one_map_of_normals(addon, tree, tmp_path) -> None:
    bump = tree.new("Bump", Distance=1.0)
    tree.link(gradient(tree, 0), bump, "Height")
    tree.link(bump, tree.shader, "Normal")
    group, recipe = only(bake(addon, tmp_path, resolution=SIZE, target="CORE"))
    found = pixels(group, "normal.png").mean(axis=(0, 1)) * 2.0 - 1.0
    # The height rises by 1 over 2 m.
    np.testing.assert_allclose(found, np.array((-0.5, 0.0, 1.0)) / np.sqrt(1.25), atol=0.01)
    assert recipe.inputs["Normal"].part == "normal"
    tree.links.remove(tree.input(tree.shader, "Normal").links[0])
    displacement = tree.link(gradient(tree, 0), tree.new("Displacement", Midlevel=0.0, Scale=1.0), "Height")
    tree.link(displacement, tree.output, "Displacement")
    group, _ = only(bake(addon, tmp_path / "again", resolution=SIZE, target="CORE"))
    np.testing.assert_allclose(pixels(group, "normal.png").mean(axis=(0, 1)) * 2.0 - 1.0, found, atol=0.01)


def test_a_bump_that_does_nothing_makes_no_map(addon, tree, tmp_path) -> None:
    tree.link(tree.new("Bump"), tree.shader, "Normal")
    group, _ = only(bake(addon, tmp_path, resolution=SIZE))
    assert group.files == {}


def test_each_slot_has_its_own_maps_and_one_that_is_not_baked_has_none(addon, plane, tree, tmp_path) -> None:
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.subdivide(number_cuts=1)
    bpy.ops.object.mode_set(mode="OBJECT")
    other = Tree()
    plane.data.materials.append(other.material)
    for index, face in enumerate(plane.data.polygons):
        face.material_index = index % 2
    tree.link(gradient(tree, 0), tree.shader, "Roughness")
    other.link(gradient(other, 1), other.shader, "Metallic")
    (group,) = bake(addon, tmp_path, resolution=SIZE, target="CORE")
    assert sorted(group.files) == ["0/orm.png", "1/orm.png"]
    assert [sorted(recipe.inputs) for recipe in group.recipes] == [["Roughness"], ["Metallic"]]
    assert [recipe.constants.get("Metallic") for recipe in group.recipes] == [0.0, None]


def test_one_set_for_an_object_holds_what_differs_between_its_materials(addon, plane, tree, tmp_path) -> None:
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.subdivide(number_cuts=1)
    bpy.ops.object.mode_set(mode="OBJECT")
    other = Tree()
    plane.data.materials.append(other.material)
    for face in plane.data.polygons:
        face.material_index = int(face.center.x > 0.0)
    other.input(other.shader, "Roughness").default_value = 0.9
    bpy.context.scene.pbrfit.map_sets = "OBJECT"
    group, recipe = only(bake(addon, tmp_path, resolution=SIZE, target="CORE"))
    found = pixels(group, "orm.png")[..., 1]
    np.testing.assert_allclose(found[:, 4], 0.5, atol=3e-3)
    np.testing.assert_allclose(found[:, -4], 0.9, atol=3e-3)
    assert recipe.constants["Base Color"] == pytest.approx((0.8, 0.8, 0.8), abs=1e-6)


def test_udim_tiles_have_a_file_each(addon, plane, tree, tmp_path) -> None:
    for corner in plane.data.uv_layers.active.uv:
        corner.vector = (corner.vector[0] * 2.0, corner.vector[1])
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.subdivide(number_cuts=1)
    bpy.ops.object.mode_set(mode="OBJECT")
    halved = tree.new("Math")
    halved.operation = "MULTIPLY"
    halved.inputs[1].default_value = 0.5
    tree.link(tree.link(gradient(tree, 0), halved, 0), tree.shader, "Roughness")
    (group,) = bake(addon, tmp_path, resolution=SIZE, target="CORE")
    assert sorted(group.files) == ["0/orm.png", "1/orm.png"]
    assert group.recipes[0] == group.recipes[1]
    for number in (0, 1):
        np.testing.assert_allclose(pixels(group, f"{number}/orm.png")[9, :, 1], (number + RISING) / 2.0, atol=4e-3)


@pytest.mark.parametrize("shift", [(1.0, 0.0), (0.5, 2.0), (-1.0, 0.0), (-1.5, -3.5)])
def test_faces_outside_of_the_square_show_the_map_that_repeats_there(addon, plane, tree, tmp_path, shift) -> None:
    bpy.context.scene.pbrfit.use_udim = False
    for corner in plane.data.uv_layers.active.uv:
        corner.vector = (corner.vector[0] + shift[0], corner.vector[1] + shift[1])
    image, values = noise_image(SIZE)
    picture = tree.new("TexImage")
    picture.image = image
    tree.link(picture, tree.shader, "Base Color")
    group, _ = only(bake(addon, tmp_path, resolution=SIZE, target="CORE"))
    assert np.abs(pixels(group, "kd.png") * 255.0 - values[..., :3]).max() < 1.01


def test_faces_where_nothing_can_be_baked_are_refused(addon, plane, tree, tmp_path) -> None:
    for corner in plane.data.uv_layers.active.uv:
        corner.vector = (corner.vector[0] * 30.0 - 1.0, corner.vector[1])
    with pytest.raises(addon.common.errors.PbrFitError, match=r'"Look" lie too far outside'):
        bake(addon, tmp_path, resolution=SIZE, target="CORE")


def test_another_uv_map_than_renders_use_changes_nothing_of_the_look(addon, plane, tree, tmp_path) -> None:
    image, values = noise_image(SIZE)
    picture = tree.new("TexImage")
    picture.image = image
    tree.link(picture, tree.shader, "Base Color")
    turned = plane.data.uv_layers.new(name="Turned")
    for corner in turned.uv:
        corner.vector = (corner.vector[1], 1.0 - corner.vector[0])
    plane.data.uv_layers.active = turned
    plane.data.uv_layers[0].active_render = True
    group, _ = only(bake(addon, tmp_path, resolution=SIZE, target="CORE"))
    assert np.abs(pixels(group, "kd.png") * 255.0 - np.rot90(values[..., :3], -1)).max() < 1.01


def test_a_material_that_two_objects_share_has_one_set(addon, plane, tree, tmp_path) -> None:
    for corner in plane.data.uv_layers.active.uv:
        corner.vector = (corner.vector[0] * 0.5, corner.vector[1])
    tree.link(gradient(tree, 0), tree.shader, "Roughness")
    bpy.ops.mesh.primitive_plane_add(size=2.0)
    second = bpy.context.object
    second.data.materials.append(tree.material)
    for corner in second.data.uv_layers.active.uv:
        corner.vector = (corner.vector[0] * 0.5 + 0.5, corner.vector[1])
    plane.select_set(True)
    group, _ = only(bake(addon, tmp_path, resolution=SIZE, target="CORE"))
    np.testing.assert_allclose(pixels(group, "orm.png")[9, :, 1], RISING, atol=4e-3)


def test_the_tangent_of_nodes_becomes_a_rotation(addon, tree, tmp_path) -> None:
    tree.input(tree.shader, "Anisotropic").default_value = 0.8
    tree.input(tree.shader, "Anisotropic Rotation").default_value = 0.1
    along = tree.new("Tangent")
    along.direction_type = "UV_MAP"
    turned = tree.new("VectorRotate", Angle=np.radians(54.0))
    turned.inputs["Axis"].default_value = (0.0, 0.0, 1.0)
    tree.link(tree.link(along, turned, 0), tree.shader, "Tangent")
    _, recipe = only(bake(addon, tmp_path, resolution=SIZE))
    assert recipe.uv_tangent
    assert recipe.constants["Anisotropic Rotation"] == pytest.approx(0.1 + 0.15, abs=1e-3)


def test_how_the_material_is_shown_is_kept(addon, tree, tmp_path) -> None:
    tree.material.use_backface_culling = True
    tree.material.cycles.use_bump_map_correction = False
    _, recipe = only(bake(addon, tmp_path, resolution=SIZE))
    assert recipe.settings["use_backface_culling"]
    assert not recipe.settings["cycles.use_bump_map_correction"]


def test_what_cannot_be_read_is_refused_by_name(addon, tree, tmp_path) -> None:
    tree.link(tree.new("BsdfToon"), tree.output, 0)
    with pytest.raises(addon.common.errors.PbrFitError, match=r'"Look" cannot be baked: the node "Toon BSDF"'):
        bake(addon, tmp_path, resolution=SIZE)


def test_a_killed_process_is_said(addon, tree, tmp_path) -> None:
    baker = addon.baking.process.MapBaker(plan_of(addon, tmp_path, resolution=SIZE), tmp_path)
    baker._process.kill()
    baker._thread.join()
    with pytest.raises(addon.common.second_blender.BlenderDied, match="ended with status -9"):
        baker.poll()
    baker.stop()


def test_a_mesh_from_a_library_is_baked(addon, plane, tree, tmp_path) -> None:
    tree.link(gradient(tree, 0), tree.shader, "Roughness")
    library = str(tmp_path / "library.blend")
    bpy.data.libraries.write(library, {plane.data}, fake_user=True)
    bpy.data.objects.remove(plane)
    with bpy.data.libraries.load(library, link=True) as (_, wanted):
        wanted.meshes = ["Plane"]
    thing = bpy.data.objects.new("Thing", wanted.meshes[0])
    bpy.context.scene.collection.objects.link(thing)
    bpy.context.view_layer.objects.active = thing
    thing.select_set(True)
    group, _ = only(bake(addon, tmp_path, resolution=SIZE, target="CORE"))
    np.testing.assert_allclose(pixels(group, "orm.png")[9, :, 1], RISING, atol=4e-3)


def test_a_disk_without_room_is_said(addon, tmp_path, monkeypatch) -> None:
    maps = addon.baking.maps
    usage = type("Usage", (), {"free": 100})
    monkeypatch.setattr(maps.shutil, "disk_usage", lambda _path: usage)
    with pytest.raises(OSError, match="No space left"):
        maps.write_image(tmp_path / "map.png", np.zeros((8, 8, 3), np.float32), floats=False)


def test_nested_mixes_of_many_do_not_take_long(addon, tree, tmp_path) -> None:
    last = tree.shader
    for number in range(60):
        layer = tree.new("BsdfPrincipled", Roughness=number / 60.0, Base_Color=(number / 60.0, 0.5, 0.5, 1.0))
        mixed = tree.link(last, tree.new("MixShader", Fac=0.5), 1)
        tree.link(layer, mixed, 2)
        last = mixed
    tree.link(last, tree.output, 0)
    began = time.monotonic()
    group, recipe = only(bake(addon, tmp_path, resolution=SIZE, target="CORE"))
    assert time.monotonic() - began < 20.0
    assert group.files == {}
    assert 0.9 < recipe.constants["Base Color"][0] < 1.0
