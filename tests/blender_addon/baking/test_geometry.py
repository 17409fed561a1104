"""Height, curvature and thickness against what geometry says: spheres, a pipe, a slab and a displaced plane."""

from __future__ import annotations

import bpy
import numpy as np
import pytest
from support.blender.bake_process import RISING, SIZE, bake, gradient, only, pixels
from support.blender.scenes import paint
from support.blender.shader_trees import Tree

GRAY = 0.5


def shaped(make, smooth: bool = True, **values) -> bpy.types.Object:
    """The active object of an operator that makes a mesh, painted; smooth: how it is shaded."""
    make(**values)
    thing = bpy.context.object
    thing.data.polygons.foreach_set("use_smooth", [smooth] * len(thing.data.polygons))
    paint(thing)
    return thing


def solid_of(addon, thing: bpy.types.Object):
    """Its triangles as a bake reads them, and the middles of these."""
    bpy.context.view_layer.update()
    thing.data.calc_loop_triangles()
    solid = addon.baking.geometry.read_solid(thing.data, np.array(thing.matrix_world, dtype=np.float64))
    return solid, solid.corners.mean(axis=1).astype(np.float32)


def curvature_at_middles(addon, thing: bpy.types.Object) -> np.ndarray:
    solid, points = solid_of(addon, thing)
    geometry = addon.baking.geometry
    return geometry.curvature_of([solid], geometry.located([solid], points))


@pytest.mark.parametrize("make", ["uv", "ico"])
@pytest.mark.parametrize("radius", [0.5, 3.0])
def test_the_curvature_of_a_sphere_is_one_over_its_radius_everywhere(addon, make: str, radius: float) -> None:
    ways = {
        "uv": (bpy.ops.mesh.primitive_uv_sphere_add, {"segments": 64, "ring_count": 32}),
        "ico": (bpy.ops.mesh.primitive_ico_sphere_add, {"subdivisions": 4}),
    }
    operator, values = ways[make]
    thing = shaped(operator, radius=radius, **values)
    np.testing.assert_allclose(curvature_at_middles(addon, thing), 1.0 / radius, rtol=0.025)


def test_the_curvature_of_a_hollow_is_negative_and_of_a_pipe_half(addon) -> None:
    """Mean curvature of a pipe of radius 0.5 from inside: -1 / (2 r)."""
    thing = shaped(bpy.ops.mesh.primitive_cylinder_add, vertices=64, radius=0.5, depth=2.0, end_fill_type="NOTHING")
    thing.data.flip_normals()
    np.testing.assert_allclose(curvature_at_middles(addon, thing), -1.0, rtol=0.01)


def test_flat_faces_have_no_curvature(addon) -> None:
    np.testing.assert_allclose(
        curvature_at_middles(addon, shaped(bpy.ops.mesh.primitive_cube_add, smooth=False)), 0.0, atol=1e-9
    )


def test_noise_in_normals_is_no_curvature(addon) -> None:
    """A map of what is nearly nothing would be all noise."""
    geometry = addon.baking.geometry
    values = np.zeros((4, 4, 3), np.float32)
    values[..., 0] = np.random.default_rng(0).uniform(0.0, 1e-4, (4, 4))
    tiles = {0: addon.baking.cycles_bake.Texels(values, np.ones((4, 4), np.bool_))}
    assert geometry.as_map("Curvature", tiles, (4, 4), 2.0) is None
    field, scale = geometry.as_map("Thickness", tiles, (4, 4), 2.0)
    assert scale == pytest.approx(values.max())
    assert field[0].max() == 1.0


def test_the_thickness_of_a_sphere_is_its_diameter_and_of_a_plane_nothing(addon) -> None:
    geometry = addon.baking.geometry
    for operator, wanted in ((bpy.ops.mesh.primitive_uv_sphere_add, 2.0), (bpy.ops.mesh.primitive_plane_add, 0.0)):
        solid, points = solid_of(addon, shaped(operator))
        found = geometry.thickness_of([solid], geometry.located([solid], points), points, 2.0)
        np.testing.assert_allclose(found, wanted, rtol=0.03)


def test_points_belong_to_the_nearest_of_several_objects(addon) -> None:
    geometry = addon.baking.geometry
    small = shaped(bpy.ops.mesh.primitive_uv_sphere_add, radius=0.5, segments=64, ring_count=32)
    large = shaped(bpy.ops.mesh.primitive_uv_sphere_add, radius=2.0, segments=64, ring_count=32, location=(5, 0, 0))
    solids, points = zip(*(solid_of(addon, thing) for thing in (small, large)), strict=True)
    found = geometry.curvature_of(list(solids), geometry.located(list(solids), np.concatenate(points)))
    expected = np.repeat((2.0, 0.5), [len(part) for part in points])
    np.testing.assert_allclose(found, expected, rtol=0.025)


def test_the_map_of_a_slab(addon, tmp_path) -> None:
    """2 x 2 x 0.4, scaled and turned as objects are: through its large faces 0.4, through its sides 2. It is flat, and its
    material moves nothing, so the other two have no map."""
    thing = shaped(bpy.ops.mesh.primitive_cube_add, smooth=False)
    thing.scale, thing.rotation_euler = (1.0, 1.0, 0.2), (0.3, 0.5, 0.7)
    bpy.context.view_layer.update()
    group, recipe = only(bake(addon, tmp_path, resolution=SIZE, geometry=["Height", "Curvature", "Thickness"]))
    assert recipe.inputs == {"Thickness": addon.common.material_recipe.MapInput("geometry", "blue")}
    assert recipe.constants["Thickness Scale"] == pytest.approx(2.0, abs=1e-3)
    thickness = pixels(group, "geometry.png")[..., 2] * recipe.constants["Thickness Scale"]
    near = [np.isclose(thickness, wanted, atol=2e-3) for wanted in (0.4, 2.0)]
    # Some texels at the borders of the faces have what is between them.
    assert np.mean(near[0] | near[1]) > 0.97
    assert near[0].mean() > 0.25
    assert near[1].mean() > 0.5


def test_the_height_of_a_displacement_its_material_and_its_file(addon, tmp_path) -> None:
    """A displacement that rises from left to right, from -0.1 to 0.3. The group of the new material changes no render."""
    thing = shaped(bpy.ops.mesh.primitive_plane_add)
    tree = Tree(thing.active_material.node_tree)
    node = tree.new("Displacement")
    tree.input(node, "Midlevel").default_value = 0.25
    tree.input(node, "Scale").default_value = 0.4
    tree.link(gradient(tree, 0), node, "Height")
    tree.link(node, tree.output, "Displacement")
    group, recipe = only(bake(addon, tmp_path, resolution=SIZE, geometry=["Height"]))
    assert set(recipe.inputs) == {"Height", "Normal"}
    scale = recipe.constants["Height Scale"]
    height = (pixels(group, "geometry.png")[..., 0] - GRAY) * scale
    np.testing.assert_allclose(height, np.broadcast_to((RISING - 0.25) * 0.4, (SIZE, SIZE)), atol=2e-4)

    (plan,) = addon.export.plan.plan_groups(bpy.context)
    options = addon.assign.materials.AssignOptions()
    for _ in addon.assign.materials.assignment_steps(plan, group.files, {}, options, group.recipes):
        pass
    material = thing.active_material
    (further,) = [node for node in material.node_tree.nodes if node.bl_idname == "ShaderNodeGroup"]
    assert [socket.name for socket in further.inputs if socket.is_linked] == ["Height"]
    assert not further.outputs
    saving, layouts = addon.saving.layout_files, addon.protocol.map_layouts
    files = [{"map": "H", "gray": "height", "bits": 16}, {"map": "C", "gray": "curvature"}]
    layout = layouts.read_layout({"title": "T", "normal": "opengl", "files": files}, "own")
    assert [item.name for item in saving.layout_files([material], layout)] == ["Paint_H.png"]
    numbers = saving.leftover_numbers([material], layout)[material.name]
    assert numbers == {"curvature": (0.5,), "height_scale": (pytest.approx(scale),)}
