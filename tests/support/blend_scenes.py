"""Scenes for the tests, each made in a Blender of its own: ``python blend_scenes.py NAME FOLDER`` saves it there."""

import math
import os
import sys
from pathlib import Path

import bpy
import numpy as np
from scene_parts import add_mesh, diffuse, emission, geometry_nodes, painted, plain_board, plain_world


def board(_folder: Path) -> None:
    """A board in the plane y = 0 that faces -Y, from -1 to 1: above red at half strength; below left matt with albedo
    0.5, below right blue and half transparent. A white world; a lamp and a wall before the board must not be seen.
    """
    board = add_mesh(
        "Board",
        [(x, 0.0, z) for z in (-1.0, 0.0, 1.0) for x in (-1.0, 0.0, 1.0)],
        [(0, 1, 4, 3), (1, 2, 5, 4), (3, 4, 7, 6), (4, 5, 8, 7)],
    )
    for material in (diffuse(0.5), emission("Blue", (0.0, 0.0, 1.0), 0.5), emission("Red", (0.5, 0.0, 0.0))):
        board.data.materials.append(material)
    board.data.polygons.foreach_set("material_index", [0, 1, 2, 2])
    wall = add_mesh("Wall", [(-9, -2, -9), (9, -2, -9), (9, -2, 9), (-9, -2, 9)], [(0, 1, 2, 3)])
    wall.data.materials.append(emission("Green", (0.0, 1.0, 0.0)))
    lamp = bpy.data.objects.new("Lamp", bpy.data.lights.new("Lamp", "SUN"))
    lamp.data.energy = 50.0
    lamp.rotation_euler = (math.radians(90.0), 0.0, 0.0)
    bpy.context.scene.collection.objects.link(lamp)
    scene = bpy.context.scene
    scene.world = plain_world((1.0, 1.0, 1.0))
    # None of these may change what is rendered.
    scene.render.use_border = True
    scene.render.resolution_percentage = 50
    scene.cycles.film_exposure = 3.0
    scene.view_settings.exposure = 2.0
    board.hide_render = True


def subdivided(_folder: Path) -> None:
    """A cube that the viewport shows unsubdivided and a render would round off."""
    bpy.ops.mesh.primitive_cube_add(size=2.0)
    cube = bpy.context.object
    modifier = cube.modifiers.new("Subdivision", "SUBSURF")
    modifier.levels, modifier.render_levels = 0, 3
    cube.data.materials.append(emission("White", (1.0, 1.0, 1.0)))
    bpy.context.scene.world = plain_world((0.0, 0.0, 0.0))


def hdri(folder: Path) -> None:
    """The board under the city HDRI that ships with Blender; its pixels go to hdri.npy, row 0 at the top."""
    board(folder)
    world = plain_world((0.0, 0.0, 0.0))
    image = bpy.data.images.load(bpy.utils.system_resource("DATAFILES") + "/studiolights/world/city.exr")
    texture = world.node_tree.nodes.new("ShaderNodeTexEnvironment")
    texture.image = image
    world.node_tree.links.new(texture.outputs["Color"], world.node_tree.nodes["Background"].inputs["Color"])
    bpy.context.scene.world = world
    width, height = image.size
    pixels = np.empty(width * height * 4, np.float32)
    image.pixels.foreach_get(pixels)
    np.save(folder / "hdri.npy", pixels.reshape(height, width, 4)[::-1, :, :3])


def camera_ray_world(folder: Path) -> None:
    """A world that lights in red and shows the camera green, as many artists have it, inside a node group."""
    board(folder)
    world = plain_world((0.0, 0.0, 0.0))
    group = bpy.data.node_groups.new("Backdrop", "ShaderNodeTree")
    group.interface.new_socket("Color", in_out="OUTPUT", socket_type="NodeSocketColor")
    path, mix = group.nodes.new("ShaderNodeLightPath"), group.nodes.new("ShaderNodeMixRGB")
    output = group.nodes.new("NodeGroupOutput")
    mix.inputs[1].default_value, mix.inputs[2].default_value = (1.0, 0.0, 0.0, 1.0), (0.0, 1.0, 0.0, 1.0)
    group.links.new(path.outputs["Is Camera Ray"], mix.inputs[0])
    group.links.new(mix.outputs[0], output.inputs[0])
    node = world.node_tree.nodes.new("ShaderNodeGroup")
    node.node_tree = group
    world.node_tree.links.new(node.outputs[0], world.node_tree.nodes["Background"].inputs["Color"])
    bpy.context.scene.world = world


def scene_property(_folder: Path) -> None:
    """A board that shines in the color of a custom property of the scene, linear (0.1, 0.25, 0.5), on another layer."""
    material = emission("Tint", (1.0, 0.0, 1.0))
    attribute = material.node_tree.nodes.new("ShaderNodeAttribute")
    attribute.attribute_type, attribute.attribute_name = "VIEW_LAYER", "tint"
    shine = next(node for node in material.node_tree.nodes if node.type == "EMISSION")
    material.node_tree.links.new(attribute.outputs["Color"], shine.inputs["Color"])
    plain_board("Board", material)
    bpy.context.scene["tint"] = [1.0, 1.0, 0.0]  # a property of the view layer comes before it
    bpy.context.scene.view_layers.new("Second")["tint"] = [0.1, 0.25, 0.5]
    bpy.context.scene.world = plain_world((0.0, 0.0, 0.0))


def scene_time(_folder: Path) -> None:
    """A board that geometry nodes scale by the seconds of the scene: 2 at frame 120 of 60 a second."""
    tree, start, end = geometry_nodes(plain_board("Board", emission("White", (1.0, 1.0, 1.0))))
    time, move = tree.nodes.new("GeometryNodeInputSceneTime"), tree.nodes.new("GeometryNodeTransform")
    tree.links.new(start.outputs[0], move.inputs["Geometry"])
    tree.links.new(time.outputs["Seconds"], move.inputs["Scale"])
    tree.links.new(move.outputs[0], end.inputs[0])
    bpy.context.scene.render.fps = 60
    bpy.context.scene.frame_set(120)
    bpy.context.scene.world = plain_world((0.0, 0.0, 0.0))


def active_camera(_folder: Path) -> None:
    """A board that geometry nodes move to the height of the scene's camera, 0.5; its lower half leaves z = -0.5 to 1.5."""
    tree, start, end = geometry_nodes(plain_board("Board", emission("White", (1.0, 1.0, 1.0))))
    camera, info = tree.nodes.new("GeometryNodeInputActiveCamera"), tree.nodes.new("GeometryNodeObjectInfo")
    move = tree.nodes.new("GeometryNodeTransform")
    tree.links.new(camera.outputs[0], info.inputs["Object"])
    tree.links.new(start.outputs[0], move.inputs["Geometry"])
    tree.links.new(info.outputs["Location"], move.inputs["Translation"])
    tree.links.new(move.outputs[0], end.inputs[0])
    thing = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    thing.location = (0.0, 0.0, 0.5)
    bpy.context.scene.collection.objects.link(thing)
    bpy.context.scene.camera = thing
    bpy.context.scene.world = plain_world((0.0, 0.0, 0.0))


def simplified(_folder: Path) -> None:
    """A cube that a render rounds off, and that simplify leaves a cube in the viewport."""
    subdivided(_folder)
    render = bpy.context.scene.render
    render.use_simplify, render.simplify_subdivision, render.simplify_subdivision_render = True, 0, 3
    bpy.data.objects["Cube"].modifiers[0].levels = 3


def hairy(_folder: Path) -> None:
    """A black board that faces up, from -1 to 1 at z = 0, with green hair above it, 1 long."""
    material = emission("Black", (0.0, 0.0, 0.0))
    thing = add_mesh("Board", [(-1, -1, 0), (1, -1, 0), (1, 1, 0), (-1, 1, 0)], [(0, 1, 2, 3)])
    thing.data.materials.append(material)
    thing.data.materials.append(emission("Green", (0.0, 1.0, 0.0)))
    hair = thing.modifiers.new("Hair", "PARTICLE_SYSTEM").particle_system.settings
    hair.type, hair.count, hair.hair_length, hair.material = "HAIR", 2000, 1.0, 2
    hair.root_radius = hair.tip_radius = 5.0
    bpy.context.view_layer.update()
    bpy.context.scene.world = plain_world((0.0, 0.0, 0.0))


def instancing(_folder: Path) -> None:
    """A red board, from -1 to 1, that geometry nodes show together with a collection: a green board from 1 to 3 in x.

    The collection is in the scene, at another place, and hides nothing.
    """
    board = plain_board("Board", emission("Red", (1.0, 0.0, 0.0)))
    source = plain_board("Source", emission("Green", (0.0, 1.0, 0.0)))
    source.location = (2.0, 0.0, 0.0)
    collection = bpy.data.collections.new("Sources")
    bpy.context.scene.collection.children.link(collection)
    collection.objects.link(source)
    bpy.context.scene.collection.objects.unlink(source)
    tree, start, end = geometry_nodes(board)
    info, both = tree.nodes.new("GeometryNodeCollectionInfo"), tree.nodes.new("GeometryNodeJoinGeometry")
    info.inputs[0].default_value = collection
    tree.links.new(start.outputs[0], both.inputs[0])
    tree.links.new(info.outputs[0], both.inputs[0])
    tree.links.new(both.outputs[0], end.inputs[0])
    bpy.context.scene.world = plain_world((0.0, 0.0, 0.0))


def instanced_by_ancestors(_folder: Path) -> None:
    """A red board, from -1 to 1, that its parent shows on its faces, and the parent's parent shows that on its vertices.

    The parents are far away, and so is all that they show.
    """
    things = [plain_board("Board", emission("Red", (1.0, 0.0, 0.0)))]
    for name, kind in (("Parent", "FACES"), ("Grandparent", "VERTS")):
        things.append(plain_board(name, emission(name, (0.0, 1.0, 0.0)), y=50.0))
        things[-1].instance_type = kind
        things[-2].parent = things[-1]
    bpy.context.scene.world = plain_world((0.0, 0.0, 0.0))


def played_particles(_folder: Path) -> None:
    """A tiny board that emits one particle, a green cube; played to frame 51, it has gone from x = -1.5 to 0.5 or so.

    Nothing is baked: what it was played to is in the file.
    """
    board = plain_board("Board", emission("Red", (1.0, 0.0, 0.0)), half=0.01)
    bpy.ops.mesh.primitive_cube_add(size=1.0)
    shown = bpy.context.object
    shown.data.materials.append(emission("Green", (0.0, 1.0, 0.0)))
    board.location, shown.location = (-1.5, 0.0, 0.0), (0.0, 60.0, 0.0)
    particles = board.modifiers.new("Particles", "PARTICLE_SYSTEM").particle_system.settings
    particles.count, particles.frame_start, particles.frame_end, particles.lifetime = 1, 1.0, 1.0, 200.0
    particles.normal_factor, particles.object_align_factor = 0.0, (1.0, 0.0, 0.0)
    particles.effector_weights.gravity = 0.0
    particles.render_type, particles.instance_object, particles.particle_size = "OBJECT", shown, 1.0
    scene = bpy.context.scene
    for frame in range(1, 52):
        scene.frame_set(frame)
        bpy.context.evaluated_depsgraph_get()
    scene.world = plain_world((0.0, 0.0, 0.0))


def obstructed(_folder: Path) -> None:
    """The board with all that may come between: settings, and animation and drivers that set them back."""
    board(_folder)
    scene, thing, wall = bpy.context.scene, bpy.data.objects["Board"], bpy.data.objects["Wall"]
    thing.driver_add("hide_render").driver.expression = "1"
    thing.is_holdout = True
    wall.hide_render = True
    wall.keyframe_insert("hide_render", frame=0)
    wall.hide_render = False
    wall.keyframe_insert("hide_render", frame=1)
    scene.cycles.film_exposure = 5.0
    scene.cycles.keyframe_insert("film_exposure", frame=1)
    scene.render.resolution_percentage = 30
    scene.render.pixel_aspect_x = 2.0
    scene.render.use_crop_to_border = True
    scene.render.use_multiview = True
    scene.render.use_stamp = True
    scene.render.use_motion_blur = True
    scene.view_layers[0].material_override = emission("Override", (1.0, 1.0, 1.0))
    scene.view_layers[0].samples = 1
    hidden = bpy.data.collections.new("Hidden")
    scene.collection.children.link(hidden)
    hidden.objects.link(thing)
    scene.collection.objects.unlink(thing)
    hidden.hide_render = True
    scene.view_layers[0].layer_collection.children["Hidden"].holdout = True


def instanced_only(_folder: Path) -> None:
    """A mesh in a collection that an Empty in another collection shows, which again only an Empty of the scene shows."""
    scene = bpy.context.scene
    thing = plain_board("Thing", diffuse(0.5))
    inner, outer = bpy.data.collections.new("Inner"), bpy.data.collections.new("Outer")
    inner.objects.link(thing)
    scene.collection.objects.unlink(thing)
    for name, shown, place in (("Between", inner, outer), ("Asset", outer, scene.collection)):
        empty = bpy.data.objects.new(name, None)
        empty.instance_type, empty.instance_collection = "COLLECTION", shown
        place.objects.link(empty)
    other, cutter = plain_board("Other", diffuse(0.5)), plain_board("Cutter", diffuse(0.5))
    other.modifiers.new("Cut", "BOOLEAN").object = cutter
    scene.collection.objects.unlink(cutter)
    cutter.use_fake_user = True  # a modifier does not keep it in the file
    scene.world = plain_world((1.0, 1.0, 1.0))


def same_name(folder: Path) -> None:
    """A linked Board in the active scene, and the file's own in another scene."""
    plain_board("Board", diffuse(0.5))
    library = folder / "library.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(library), copy=True)
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.name = "Stage"
    with bpy.data.libraries.load(str(library), link=True) as (_there, here):
        here.objects = ["Board"]
    scene.collection.objects.link(here.objects[0])
    second = bpy.data.scenes.new("Second")
    own = plain_board("Board", diffuse(0.5))
    second.collection.objects.link(own)
    scene.collection.objects.unlink(own)


def many_scenes(_folder: Path) -> None:
    """Two scenes; the active one, saved in Edit Mode in its second view layer, with an object that is excluded."""
    scene = bpy.context.scene
    things = [plain_board(name, diffuse(0.5), y=y) for y, name in enumerate(("Board", "Other", "Wall", "Excluded"))]
    off = bpy.data.collections.new("Off")
    scene.collection.children.link(off)
    off.objects.link(things[3])
    scene.collection.objects.unlink(things[3])
    another = bpy.data.scenes.new("Another")
    elsewhere = plain_board("Elsewhere", diffuse(0.5))
    scene.collection.objects.unlink(elsewhere)
    for thing in (things[0], elsewhere):
        another.collection.objects.link(thing)
    another.view_layers[0].objects.active = things[0]
    things[0].select_set(True, view_layer=another.view_layers[0])
    layer = scene.view_layers.new("Second")
    for one in scene.view_layers:
        one.layer_collection.children["Off"].exclude = True
    window = bpy.context.window_manager.windows[0]
    window.scene, window.view_layer = scene, layer
    for thing in things[:3]:
        thing.select_set(thing != things[0], view_layer=layer)
    layer.objects.active = things[1]
    scene.frame_set(7)
    bpy.ops.object.mode_set(mode="EDIT")


def two_materials(_folder: Path) -> None:
    """A cube without a UV map, red above and blue below, in a scene that is not the active one."""
    plain_board("Other", diffuse(0.5))
    bpy.context.view_layer.objects.active = bpy.data.objects["Other"]
    tables = bpy.data.scenes.new("Tables")
    bpy.ops.mesh.primitive_cube_add(size=2.0)
    cube = bpy.context.object
    cube.name = "Tisch 机"
    tables.collection.objects.link(cube)
    bpy.context.scene.collection.objects.unlink(cube)
    bpy.context.view_layer.objects.active = bpy.data.objects["Other"]
    cube.data.uv_layers.remove(cube.data.uv_layers[0])
    for name, color in (("Red", (0.6, 0.03, 0.03, 1.0)), ("Blue", (0.03, 0.1, 0.6, 1.0))):
        material = diffuse(0.5)
        material.name = name
        shader = next(node for node in material.node_tree.nodes if node.type == "BSDF_DIFFUSE")
        shader.inputs["Color"].default_value = color
        cube.data.materials.append(material)
    for face in cube.data.polygons:
        face.material_index = int(face.center.z < 0.5)
    tables.world = plain_world((1.0, 1.0, 1.0))


def lacquer(_folder: Path) -> None:
    """Two boards with a UV map and no light: "Board" has a chessboard of 8 by 8 texels as base color and a coat that varies,
    "Comic" a Toon BSDF.
    """
    board = plain_board("Board", diffuse(0.5))
    squares = np.indices((8, 8)).sum(axis=0) % 2
    material = painted("Lacquer", np.repeat(squares[..., None], 3, axis=-1))
    tree = material.node_tree
    shader = next(node for node in tree.nodes if node.type == "BSDF_PRINCIPLED")
    gradient, coordinates = tree.nodes.new("ShaderNodeTexGradient"), tree.nodes.new("ShaderNodeTexCoord")
    tree.links.new(coordinates.outputs["UV"], gradient.inputs["Vector"])
    tree.links.new(gradient.outputs["Color"], shader.inputs["Coat Weight"])
    board.data.materials[0] = material
    comic = plain_board("Comic", diffuse(0.5))
    for thing in (board, comic):
        thing.data.uv_layers.new(name="UVMap")  # Blender spreads it over the square
    tree = comic.data.materials[0].node_tree
    toon = tree.nodes.new("ShaderNodeBsdfToon")
    tree.links.new(toon.outputs[0], next(node for node in tree.nodes if node.type == "OUTPUT_MATERIAL").inputs[0])


def quarters(_folder: Path) -> None:
    """A "Board" with the whole UV map, each quarter of it in another color; half rough, no metal."""
    colors = np.array([[(0.8, 0.2, 0.2), (0.2, 0.7, 0.2)], [(0.2, 0.3, 0.8), (0.8, 0.8, 0.8)]])
    thing = plain_board("Board", painted("Quarters", colors))
    thing.data.uv_layers.new(name="UVMap")


def three_boards(_folder: Path) -> None:
    """The boards "Left", "Middle" and "Right", each with the whole UV map and another gray, 0.2, 0.5 and 0.8; and a lamp."""
    bpy.context.scene.collection.objects.link(bpy.data.objects.new("Lamp", bpy.data.lights.new("Lamp", "POINT")))
    for number, name in enumerate(("Left", "Middle", "Right")):
        thing = plain_board(name, diffuse(0.2 + 0.3 * number))
        thing.location.x = 3.0 * number
        thing.data.materials[0].name = f"Gray {name}"
        thing.data.uv_layers.new(name="UVMap")


SCENES = {
    scene.__name__: scene
    for scene in (
        board,
        subdivided,
        hdri,
        camera_ray_world,
        scene_property,
        scene_time,
        active_camera,
        simplified,
        hairy,
        instancing,
        instanced_by_ancestors,
        played_particles,
        obstructed,
        instanced_only,
        same_name,
        many_scenes,
        two_materials,
        lacquer,
        quarters,
        three_boards,
    )
}

if __name__ == "__main__":
    name, target = sys.argv[1], Path(sys.argv[2])
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.context.scene.name = "Stage"
    SCENES[name](target)
    bpy.ops.wm.save_as_mainfile(filepath=str(target / f"{name}.blend"))
    sys.stdout.flush()
    os._exit(0)
