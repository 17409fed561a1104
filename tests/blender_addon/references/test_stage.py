"""What the references show and what is exported with them, in scenes where a stage of its own would lose something."""

from __future__ import annotations

import math

import numpy as np
import pytest
from support.blender import reference_process
from support.blender.scenes import add_cube, hdri_world, use_nodes

bpy = pytest.importorskip("bpy")

COLOR = (0.1, 0.25, 0.5)
OTHER = (0.9, 0.8, 0.0)


@pytest.fixture(autouse=True)
def light(addon) -> None:
    hdri_world()


def shining(name: str, color: tuple[float, float, float] = COLOR):
    """A material that shows one color from every side, whatever the light is."""
    material = bpy.data.materials.new(name)
    use_nodes(material)
    nodes, links = material.node_tree.nodes, material.node_tree.links
    nodes.clear()
    emission, output = nodes.new("ShaderNodeEmission"), nodes.new("ShaderNodeOutputMaterial")
    emission.inputs["Color"].default_value = (*color, 1.0)
    links.new(emission.outputs["Emission"], output.inputs["Surface"])
    return material


def named_cube(name: str):
    scene_object = add_cube()
    scene_object.name = name
    return scene_object


def cube(name: str = "Thing", material=None):
    thing = named_cube(name)
    thing.data.materials.append(material or shining("Paint"))
    return thing


def geometry_modifier(scene_object):
    """A new Geometry Nodes modifier: its tree, and the group's input and output, which are not linked."""
    tree = bpy.data.node_groups.new("Geometry", "GeometryNodeTree")
    for direction in ("INPUT", "OUTPUT"):
        tree.interface.new_socket("Geometry", in_out=direction, socket_type="NodeSocketGeometry")
    scene_object.modifiers.new("Geometry", "NODES").node_group = tree
    return tree, tree.nodes.new("NodeGroupInput"), tree.nodes.new("NodeGroupOutput")


def references_of(addon, directory, thing=None, **changes):
    """What a click on an object, if it is not the only one selected, gets from the second Blender."""
    if thing is not None:
        for item in bpy.context.scene.objects:
            item.select_set(item == thing)
        bpy.context.view_layer.objects.active = thing
    return reference_process.references_of(addon, directory, **changes)


def colors(image: np.ndarray) -> np.ndarray:
    """The distinct colors of the opaque pixels of an image, float64 [colors, 3], to two decimals."""
    return np.unique(image[image[..., 3] > 0.999][:, :3].astype(np.float64).round(2), axis=0)


def shows_only_the_color(delivered) -> bool:
    return all(colors(image).tolist() == [[0.1, 0.25, 0.5]] for image in delivered.images.values())


def widths(delivered) -> np.ndarray:
    """How wide the exported mesh is along the renderer's axes [3]."""
    positions = delivered.arrays["vertex_position"]
    return positions.max(axis=0) - positions.min(axis=0)


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


# The file ----------------------------------------------------------------------------------------------------------


def test_a_cache_that_lies_beside_the_file_is_found(addon, tmp_path) -> None:
    """Cloth with a cache on disk, which Blender finds by the name of the file: the copy falls as the original did."""
    bpy.ops.mesh.primitive_grid_add(x_subdivisions=6, y_subdivisions=6, location=(0.0, 0.0, 0.0))
    cloth = bpy.context.object
    cloth.data.materials.append(shining("Paint"))
    modifier = cloth.modifiers.new("Cloth", "CLOTH")
    cache = modifier.point_cache
    cache.frame_start, cache.frame_end = 1, 12
    folder = tmp_path / "artist"
    folder.mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "fall.blend"))
    cache.use_disk_cache = True
    with bpy.context.temp_override(scene=bpy.context.scene, point_cache=cache, object=cloth, active_object=cloth):
        bpy.ops.ptcache.bake(bake=True)
    bpy.context.scene.frame_set(12)
    bpy.ops.wm.save_mainfile()
    evaluated = cloth.evaluated_get(bpy.context.evaluated_depsgraph_get())
    fallen = np.mean([vertex.co.z for vertex in evaluated.data.vertices])
    assert fallen < -0.1
    before = {path.name: path.stat().st_mtime_ns for path in (folder / "blendcache_fall").iterdir()}
    delivered = references_of(addon, tmp_path / "references")
    assert delivered.center[2] == pytest.approx(fallen, abs=0.05)
    assert {path.name: path.stat().st_mtime_ns for path in (folder / "blendcache_fall").iterdir()} == before


def test_a_bake_of_geometry_nodes_in_a_folder_of_its_own_is_found(addon, tmp_path) -> None:
    """The bake holds a wide cube, of which the nodes make a narrow one since."""
    thing = cube()
    tree, start, end = geometry_modifier(thing)
    bake, resize = tree.nodes.new("GeometryNodeBake"), tree.nodes.new("GeometryNodeTransform")
    tree.links.new(start.outputs[0], resize.inputs["Geometry"])
    tree.links.new(resize.outputs[0], bake.inputs[0])
    tree.links.new(bake.outputs[0], end.inputs[0])
    resize.inputs["Scale"].default_value = (3.0, 3.0, 3.0)
    modifier = thing.modifiers[0]
    if hasattr(modifier, "bake_target"):
        modifier.bake_target = "DISK"
    modifier.bake_directory = "//own/caches"
    folder = tmp_path / "artist"
    folder.mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "baked.blend"))
    bpy.context.view_layer.update()
    assert bpy.ops.object.geometry_node_bake_single(
        session_uid=thing.session_uid, modifier_name=modifier.name, bake_id=modifier.bakes[0].bake_id
    ) == {"FINISHED"}
    assert (folder / "own" / "caches").is_dir()
    resize.inputs["Scale"].default_value = (1.0, 1.0, 1.0)
    delivered = references_of(addon, tmp_path / "references")
    assert widths(delivered) == pytest.approx([6.0, 6.0, 6.0])


def test_of_two_objects_of_one_name_the_selected_one_is_rendered(addon, tmp_path) -> None:
    thing = cube(material=shining("Wrong", OTHER))
    thing.scale = (3.0, 3.0, 3.0)
    bpy.data.libraries.write(str(tmp_path / "lib.blend"), {thing})
    bpy.data.objects.remove(thing)
    with bpy.data.libraries.load(str(tmp_path / "lib.blend"), link=True) as (_, linked):
        linked.objects = ["Thing"]
    bpy.context.scene.collection.objects.link(linked.objects[0])
    local = cube()
    assert local.name == linked.objects[0].name == "Thing"
    delivered = references_of(addon, tmp_path / "references", local)
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


# The check ---------------------------------------------------------------------------------------------------------


def test_a_mesh_that_is_not_what_is_rendered_is_refused(addon) -> None:
    """The check knows only the picture: it passes the mesh that shows, and no other."""
    things = {"Thing": cube(), "Higher": cube("Higher"), "Nearer": cube("Nearer")}
    things["Higher"].scale = (1.0, 1.0, 1.05)
    mesh = things["Nearer"].data  # inside the silhouette, the faces lie deeper
    for vertex in mesh.vertices:
        vertex.co.x *= 1.0 if vertex.co.y > 0.0 else 0.9
    bpy.context.view_layer.update()
    references, views = addon.references, addon.references.views
    depsgraph = bpy.context.evaluated_depsgraph_get()
    exported = addon.export.mesh.export_mesh(things["Thing"], depsgraph)
    center, radius = views.bounding_sphere(exported.world_positions)
    planned = [view.for_blender() for view in views.plan_views(center, radius, 3, 0, 0)]
    for name in things:
        stage = references.stage.set_up(bpy.context.scene, bpy.context.view_layer, [(name, None)], 1, 1)
        if name == "Thing":
            references.exported_mesh.check(stage, exported, radius, planned)
        else:
            with pytest.raises(addon.common.errors.PbrFitError, match=f'does not render the mesh of "{name}"'):
                references.exported_mesh.check(stage, exported, radius, planned)


def test_the_rasterizer_of_the_check_knows_a_sphere(addon) -> None:
    """The disc and the depths of a sphere, in closed form."""
    bpy.ops.mesh.primitive_uv_sphere_add(segments=256, ring_count=128)
    sphere = bpy.context.object
    sphere.data.materials.append(shining("Paint"))
    arrays = addon.export.mesh.export_mesh(sphere, bpy.context.evaluated_depsgraph_get()).arrays
    size, fov, distance = 65, math.radians(40.0), 4.0
    view = {"matrix_world": addon.references.views.look_at(np.array([0.0, -distance, 0.0]), np.zeros(3)), "fov": fov}
    depth = addon.references.silhouettes.depth_of(arrays["vertex_position"], arrays["triangles"], view, size)
    steps = (np.arange(size) + 0.5 - size / 2) / (size / 2) * math.tan(fov / 2)
    x, y = np.meshgrid(steps, steps)
    # Along the ray (x, y, 1) t: |t (x, y, 1) - (0, 0, distance)| = 1, the nearer solution.
    a, b, c = x * x + y * y + 1.0, -2.0 * distance, distance * distance - 1.0
    inside = b * b - 4.0 * a * c > 0.0
    expected = np.where(inside, (-b - np.sqrt(np.maximum(b * b - 4.0 * a * c, 0.0))) / (2.0 * a), 0.0)
    agree = (depth > 0.0) == inside
    assert agree.mean() > 0.995
    both = (depth > 0.0) & inside
    assert np.abs(depth - expected)[both].max() < 0.1
    assert np.abs(depth - expected)[both].mean() < 2e-3
