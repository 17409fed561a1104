"""The bake in a second Blender: values that are known from how the material was made."""

from __future__ import annotations

import bpy
import numpy as np
import pytest
from support.blender.bake_process import RISING, SIZE, bake, gradient, noise_image, only, pixels
from support.blender.shader_trees import Tree


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
    tree.link(tree.link(gradient(tree, 0), tree.new("Bump"), "Height"), tree.shader, "Normal")
    _, recipe = only(bake(addon, tmp_path, resolution=SIZE))
    assert recipe.settings["use_backface_culling"]
    assert not recipe.settings["cycles.use_bump_map_correction"]


def test_what_cannot_be_read_is_refused_by_name(addon, tree, tmp_path) -> None:
    tree.link(tree.new("BsdfToon"), tree.output, 0)
    with pytest.raises(addon.common.errors.PbrFitError, match=r'"Look" cannot be baked: the node "Toon BSDF"'):
        bake(addon, tmp_path, resolution=SIZE)
