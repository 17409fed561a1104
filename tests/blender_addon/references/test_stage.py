"""What the references show and what is exported with them, in scenes where a stage of its own would lose something."""

from __future__ import annotations

import math

import numpy as np
import pytest
from support.blender.scenes import hdri_world
from support.blender.shining_cubes import (
    COLOR,
    OTHER,
    cube,
    geometry_modifier,
    named_cube,
    references_of,
    shining,
    shows_only_the_color,
    widths,
)

bpy = pytest.importorskip("bpy")


@pytest.fixture(autouse=True)
def light(addon) -> None:
    hdri_world()


# What renders evaluate ---------------------------------------------------------------------------------------------


def test_the_mesh_has_the_levels_of_a_render_under_the_scenes_simplification(addon, tmp_path) -> None:
    modifier = cube().modifiers.new("Subdivision", "SUBSURF")
    modifier.levels, modifier.render_levels = 0, 5
    render = bpy.context.scene.render
    render.use_simplify, render.simplify_subdivision, render.simplify_subdivision_render = True, 1, 3
    assert len(references_of(addon, tmp_path).arrays["triangles"]) == 2 * 6 * 4**3


def test_modifiers_that_only_renders_show_are_exported(addon, tmp_path) -> None:
    thing = cube()
    array, hidden = thing.modifiers.new("Array", "ARRAY"), thing.modifiers.new("Hidden", "ARRAY")
    array.show_viewport, array.count, array.use_relative_offset = False, 3, False
    array.use_constant_offset, array.constant_offset_displace = True, (5.0, 0.0, 0.0)
    hidden.show_render, hidden.count = False, 7
    delivered = references_of(addon, tmp_path)
    assert len(delivered.arrays["triangles"]) == 3 * 12
    assert sorted(widths(delivered)) == pytest.approx([2.0, 2.0, 12.0])


def test_geometry_nodes_that_ask_for_the_viewport_are_told_it_is_a_render(addon, tmp_path) -> None:
    thing = cube()
    tree, start, end = geometry_modifier(thing)
    nodes, links = tree.nodes, tree.links
    viewport, switch = nodes.new("GeometryNodeIsViewport"), nodes.new("GeometryNodeSwitch")
    finer = nodes.new("GeometryNodeSubdivideMesh")
    switch.input_type = "GEOMETRY"
    links.new(start.outputs[0], finer.inputs[0])
    links.new(viewport.outputs[0], switch.inputs["Switch"])
    links.new(finer.outputs[0], switch.inputs["False"])
    links.new(start.outputs[0], switch.inputs["True"])
    links.new(switch.outputs[0], end.inputs[0])
    finer.inputs["Level"].default_value = 2
    assert len(references_of(addon, tmp_path).arrays["triangles"]) == 12 * 4**2


# What the scene says -----------------------------------------------------------------------------------------------


def test_materials_read_the_scene_and_its_view_layer(addon, tmp_path) -> None:
    scene = bpy.context.scene
    scene["tint"] = COLOR
    material = shining("Paint", OTHER)
    attribute = material.node_tree.nodes.new("ShaderNodeAttribute")
    attribute.attribute_type, attribute.attribute_name = "VIEW_LAYER", "tint"
    material.node_tree.links.new(attribute.outputs["Color"], material.node_tree.nodes["Emission"].inputs["Color"])
    cube(material=material)
    assert shows_only_the_color(references_of(addon, tmp_path))


def test_drivers_on_the_scene_go_on(addon, tmp_path) -> None:
    scene, thing = bpy.context.scene, cube()
    scene["size"] = 3.0
    driver = thing.driver_add("scale", 0).driver
    variable = driver.variables.new()
    variable.name = "size"
    variable.targets[0].id_type, variable.targets[0].id = "SCENE", scene
    variable.targets[0].data_path = '["size"]'
    driver.expression = "size"
    bpy.context.view_layer.update()
    assert sorted(widths(references_of(addon, tmp_path))) == pytest.approx([2.0, 2.0, 6.0])


def test_drivers_see_whether_other_objects_are_hidden_in_the_artists_scene(addon, tmp_path) -> None:
    """A rig that masks the body under its clothes: the switch is the visibility of another object."""
    thing, shirt = cube(), named_cube("Shirt")
    mask = thing.modifiers.new("Array", "ARRAY")
    mask.count, mask.use_relative_offset = 2, False
    mask.use_constant_offset, mask.constant_offset_displace = True, (0.0, 0.0, 4.0)
    driver = mask.driver_add("show_render").driver
    variable = driver.variables.new()
    variable.name = "hidden"
    variable.targets[0].id, variable.targets[0].data_path = shirt, "hide_render"
    driver.expression = "hidden"
    bpy.context.view_layer.update()
    assert sorted(widths(references_of(addon, tmp_path, thing))) == pytest.approx([2.0, 2.0, 2.0])


def test_drivers_of_the_scenes_render_settings_change_nothing(addon, tmp_path) -> None:
    scene, thing = bpy.context.scene, cube()
    for owner, path, value in (
        (scene.render, "film_transparent", "0"),
        (scene.cycles, "samples", "3"),
        (scene.cycles, "film_exposure", "5"),
    ):
        owner.driver_add(path).driver.expression = value
    scene.cycles.keyframe_insert("seed", frame=1)
    delivered = references_of(addon, tmp_path)
    assert all(0.05 < (image[..., 3] == 0.0).mean() < 0.9 for image in delivered.images.values())
    assert shows_only_the_color(delivered)
    assert thing.name == "Thing"


def test_time_frame_rate_and_camera_are_the_scenes(addon, tmp_path) -> None:
    scene, thing = bpy.context.scene, cube()
    scene.render.fps, scene.render.fps_base = 60, 2.0
    scene.frame_set(90)  # three seconds
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    scene.collection.objects.link(camera)
    camera.location = (0.0, 0.0, 20.0)
    scene.camera = camera
    tree, start, end = geometry_modifier(thing)
    nodes, links = tree.nodes, tree.links
    time, transform = nodes.new("GeometryNodeInputSceneTime"), nodes.new("GeometryNodeTransform")
    active, info = nodes.new("GeometryNodeInputActiveCamera"), nodes.new("GeometryNodeObjectInfo")
    links.new(start.outputs[0], transform.inputs["Geometry"])
    links.new(time.outputs["Seconds"], transform.inputs["Scale"])
    links.new(active.outputs[0], info.inputs["Object"])
    links.new(info.outputs["Location"], transform.inputs["Translation"])
    links.new(transform.outputs[0], end.inputs[0])
    delivered = references_of(addon, tmp_path)
    assert widths(delivered) == pytest.approx([6.0, 6.0, 6.0])
    assert delivered.center == pytest.approx([0.0, 0.0, 20.0])
    assert shows_only_the_color(delivered)


def test_settings_of_the_scene_that_are_not_of_its_look_change_nothing(addon, tmp_path) -> None:
    scene, layer = bpy.context.scene, bpy.context.view_layer
    cube()
    plain = references_of(addon, tmp_path / "plain")
    render = scene.render
    render.resolution_percentage, render.pixel_aspect_x = 30, 2.0
    render.use_border, render.border_max_x, render.use_crop_to_border = True, 0.3, True
    render.use_multiview = render.use_stamp = render.use_motion_blur = render.use_freestyle = True
    render.film_transparent = False
    scene.cycles.film_exposure, scene.cycles.use_adaptive_sampling = 4.0, True
    scene.cycles.use_camera_cull, scene.cycles.use_distance_cull = True, True
    scene.view_settings.exposure = 3.0
    layer.use_pass_z = layer.use_pass_combined = True
    layer.samples, layer.use_solid, layer.use_sky = 7, False, False
    layer.material_override = shining("Clay", OTHER)
    scene.view_layers.new("Second")
    scene.background_set = bpy.data.scenes.new("Set")
    backdrop = bpy.data.objects.new("Backdrop", cube("Large", shining("Other", OTHER)).data)
    backdrop.scale = (1.1, 1.1, 1.1)
    scene.background_set.collection.objects.link(backdrop)
    scene.collection.objects.unlink(bpy.data.objects["Large"])
    changed = references_of(addon, tmp_path / "changed", scene.objects["Thing"])
    for index, image in plain.images.items():
        np.testing.assert_array_equal(changed.images[index], image)


# What else would show ----------------------------------------------------------------------------------------------


def test_the_mesh_shows_without_what_it_emits(addon, tmp_path) -> None:
    """Instances of geometry nodes, hair, and objects on particles, all of another color and beside the mesh."""
    thing, pebble = cube(), named_cube("Pebble")
    pebble.data.materials.append(shining("Other", OTHER))
    pebble.hide_render = True
    thing.data.materials.append(pebble.data.materials[0])
    for render_type in ("PATH", "OBJECT"):
        settings = thing.modifiers.new(render_type, "PARTICLE_SYSTEM").particle_system.settings
        settings.type, settings.count, settings.hair_length, settings.material = "HAIR", 200, 3.0, 2
        settings.render_type, settings.instance_object = render_type, pebble
    tree, start, end = geometry_modifier(thing)
    nodes, links = tree.nodes, tree.links
    scatter, join, source = (
        nodes.new(kind)
        for kind in ("GeometryNodeInstanceOnPoints", "GeometryNodeJoinGeometry", "GeometryNodeObjectInfo")
    )
    source.inputs["Object"].default_value = pebble
    links.new(source.outputs["Geometry"], scatter.inputs["Instance"])
    links.new(start.outputs[0], scatter.inputs["Points"])
    links.new(scatter.outputs[0], join.inputs[0])
    links.new(start.outputs[0], join.inputs[0])
    links.new(join.outputs[0], end.inputs[0])
    thing.show_instancer_for_render = False
    delivered = references_of(addon, tmp_path, thing)
    assert widths(delivered) == pytest.approx([2.0, 2.0, 2.0])
    assert shows_only_the_color(delivered)


def test_what_is_hidden_from_renders_still_shapes_the_object(addon, tmp_path) -> None:
    """A boolean with a hidden cutter, and realized geometry of a collection of other objects."""
    thing, cutter, source = cube(), named_cube("Cutter"), named_cube("Source")
    cutter.location, source.location, source.scale = (1.0, 0.0, 0.0), (0.0, 0.0, 4.0), (0.25, 0.25, 0.25)
    thing.modifiers.new("Cut", "BOOLEAN").object = cutter
    sources = bpy.data.collections.new("Sources")
    bpy.context.scene.collection.children.link(sources)
    sources.objects.link(source)
    bpy.context.scene.collection.objects.unlink(source)
    tree, start, end = geometry_modifier(thing)
    nodes, links = tree.nodes, tree.links
    info, real, join = (
        nodes.new(kind)
        for kind in ("GeometryNodeCollectionInfo", "GeometryNodeRealizeInstances", "GeometryNodeJoinGeometry")
    )
    info.inputs["Collection"].default_value = sources
    links.new(info.outputs[0], real.inputs[0])
    links.new(real.outputs[0], join.inputs[0])
    links.new(start.outputs[0], join.inputs[0])
    links.new(join.outputs[0], end.inputs[0])
    delivered = references_of(addon, tmp_path, thing)
    assert sorted(widths(delivered)) == pytest.approx([1.25, 2.0, 5.25])


def test_what_physics_has_done_stays_although_what_did_it_is_hidden(addon, tmp_path) -> None:
    """A soft body that was blown along X for some frames; its cache is in the file."""
    thing = cube()
    soft = thing.modifiers.new("Softbody", "SOFT_BODY")
    soft.settings.use_goal = False
    soft.settings.effector_weights.gravity = 0.0
    wind = named_cube("Wind")
    wind.data.materials.append(shining("Other", OTHER))
    wind.location, wind.rotation_euler = (-3.0, 0.0, 0.0), (0.0, math.pi / 2, 0.0)
    with bpy.context.temp_override(object=wind, active_object=wind):
        bpy.ops.object.forcefield_toggle()
    wind.field.type, wind.field.strength = "WIND", 200.0
    scene = bpy.context.scene
    for frame in range(1, 9):
        scene.frame_set(frame)
    evaluated = thing.evaluated_get(bpy.context.evaluated_depsgraph_get())
    moved = float(np.mean([vertex.co.x for vertex in evaluated.data.vertices]))
    assert moved > 0.05
    delivered = references_of(addon, tmp_path, thing)
    assert delivered.center[0] == pytest.approx(moved, abs=0.02)
    assert shows_only_the_color(delivered)


def test_particles_stay_where_they_were_played_to(addon, tmp_path) -> None:
    """A mesh that explodes with its particles: their cache is lost if any setting of the object is written."""
    bpy.ops.mesh.primitive_uv_sphere_add(segments=16, ring_count=8)
    thing = bpy.context.object
    thing.data.materials.append(shining("Paint"))
    settings = thing.modifiers.new("Particles", "PARTICLE_SYSTEM").particle_system.settings
    settings.count, settings.frame_start, settings.frame_end, settings.render_type = 60, 1, 4, "NONE"
    thing.modifiers.new("Explode", "EXPLODE")
    for frame in range(1, 13):
        bpy.context.scene.frame_set(frame)
    evaluated = thing.evaluated_get(bpy.context.evaluated_depsgraph_get())
    spread = np.std([vertex.co[:] for vertex in evaluated.data.vertices], axis=0)
    assert spread[2] > 0.6  # 0.5 for the sphere that it was
    positions = references_of(addon, tmp_path, thing, environment=[8, 4]).arrays["vertex_position"]
    first = np.unique(positions.round(5), axis=0)
    assert first.std(axis=0)[1] == pytest.approx(spread[2], rel=0.1)


def test_other_objects_never_show_and_the_object_always_does(addon, tmp_path) -> None:
    """Animated and driven visibility, collections that hide, cut holes or show only indirectly; children on instancers."""
    scene, thing = bpy.context.scene, cube()
    keyed, driven = named_cube("Keyed"), named_cube("Driven")
    for other in (keyed, driven):
        other.data.materials.append(shining("Other", OTHER))
        other.location = (1.2, 1.2, 1.2)
    keyed.hide_render = False
    keyed.keyframe_insert("hide_render", frame=1)
    driven.driver_add("hide_render").driver.expression = "0"
    own = bpy.data.collections.new("Own")
    scene.collection.children.link(own)
    own.objects.link(thing)
    scene.collection.objects.unlink(thing)
    own.hide_render = True
    bpy.context.view_layer.layer_collection.children["Own"].holdout = True
    thing.hide_render = True
    thing.is_holdout = thing.is_shadow_catcher = True
    thing.visible_camera = False
    bpy.context.view_layer.update()
    delivered = references_of(addon, tmp_path, thing)
    assert len(delivered.arrays["triangles"]) == 12
    assert shows_only_the_color(delivered)


def test_an_object_that_shows_only_as_instances_is_rendered_in_its_own_place(addon, tmp_path) -> None:
    parent = named_cube("Parent")
    thing = cube()
    thing.parent = parent
    parent.instance_type = "VERTS"
    bpy.context.view_layer.update()
    delivered = references_of(addon, tmp_path, thing)
    assert widths(delivered) == pytest.approx([2.0, 2.0, 2.0])
    assert shows_only_the_color(delivered)


# The light ---------------------------------------------------------------------------------------------------------


def test_a_world_that_lights_by_kind_of_ray_is_one_light_without_fog(addon, tmp_path) -> None:
    """What a diffuse ray sees lights a mirror too, is what is exported, and no fog hides it."""
    scene, thing = bpy.context.scene, cube()
    shader = shining("Mirror").node_tree
    mirror = shader.nodes.new("ShaderNodeBsdfAnisotropic")
    mirror.inputs["Roughness"].default_value = 0.0
    mirror.inputs["Color"].default_value = (1.0, 1.0, 1.0, 1.0)
    shader.links.new(mirror.outputs[0], shader.nodes["Material Output"].inputs["Surface"])
    thing.data.materials[0] = bpy.data.materials["Mirror"]
    world = scene.world
    tree = world.node_tree
    kind, choice = tree.nodes.new("ShaderNodeLightPath"), tree.nodes.new("ShaderNodeMix")
    choice.data_type = "RGBA"
    choice.inputs[6].default_value, choice.inputs[7].default_value = (*OTHER, 1.0), (*COLOR, 1.0)
    background = next(node for node in tree.nodes if node.bl_idname == "ShaderNodeBackground")
    output = next(node for node in tree.nodes if node.bl_idname == "ShaderNodeOutputWorld")
    fog = tree.nodes.new("ShaderNodeVolumeScatter")
    tree.links.new(kind.outputs["Is Diffuse Ray"], choice.inputs[0])
    tree.links.new(choice.outputs[2], background.inputs["Color"])
    tree.links.new(fog.outputs[0], output.inputs["Volume"])
    delivered = references_of(addon, tmp_path, environment=[8, 4])
    np.testing.assert_allclose(delivered.environment, np.broadcast_to(COLOR, (4, 8, 3)), atol=1e-3)
    assert shows_only_the_color(delivered)
