"""A file with a little of everything that a fit must leave alone."""

from __future__ import annotations

from pathlib import Path

import bpy
from support.blender.scenes import hdri_world, paint, use_nodes


def write_library(path: Path) -> None:
    """A library with a painted object and a material; leaves an empty file open."""
    bpy.ops.mesh.primitive_uv_sphere_add(segments=8, ring_count=6)
    bpy.context.object.name = "Lamp Shade"
    paint(bpy.context.object, "Library Paint")
    bpy.data.libraries.write(str(path), {bpy.context.object}, fake_user=True)
    bpy.data.batch_remove([*bpy.data.objects, *bpy.data.meshes, *bpy.data.materials])


def build_complex_file(folder: Path) -> bpy.types.Object:
    """Fill the empty open file and save it in `folder`; returns the object to fit: active, selected, in Weight Paint."""
    library = folder / "library.blend"
    write_library(library)
    scene = bpy.context.scene
    scene.name = "Shot"
    scene.render.engine = "BLENDER_WORKBENCH"
    scene.frame_set(7)
    hdri_world()

    with bpy.data.libraries.load(str(library), link=True) as (_, linked):
        linked.objects, linked.materials = ["Lamp Shade"], ["Library Paint"]
    scene.collection.objects.link(bpy.data.objects["Lamp Shade"])

    chair = add_chair()
    add_animated_sphere(scene)
    add_rig(chair)
    add_second_scene()
    text = bpy.data.texts.new("Notes")
    text.write("Do not lose me.")
    image = bpy.data.images.new("Painted", 8, 8)
    image.pixels[:] = [0.25] * 256
    image.pack()
    group = bpy.data.node_groups.new("Spare Group", "ShaderNodeTree")
    group.use_fake_user = True
    orphan = bpy.data.materials.new("Orphan")
    orphan.use_fake_user = False
    nested = bpy.data.collections.new("Hidden Props")
    scene.collection.children.link(nested)
    nested.objects.link(bpy.data.objects.new("Marker", None))
    bpy.context.view_layer.layer_collection.children["Hidden Props"].exclude = True

    for item in bpy.context.view_layer.objects:
        item.select_set(item.name in {"Chair", "Rig"})
    bpy.context.view_layer.objects.active = chair
    bpy.ops.object.mode_set(mode="WEIGHT_PAINT")
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "complex.blend"))
    return chair


def add_chair() -> bpy.types.Object:
    """The object to fit: two slots, one linked from the library, modifiers, a vertex group, custom properties."""
    bpy.ops.mesh.primitive_cube_add(location=(0.0, 0.0, 1.0), rotation=(0.1, 0.2, 0.3))
    chair = bpy.context.object
    chair.name = "Chair"
    paint(chair, "Varnish")
    chair.data.materials.append(bpy.data.materials["Library Paint"])
    chair.data.polygons[0].material_index = 1
    chair.modifiers.new("Bevel", "BEVEL").width = 0.05
    chair.modifiers.new("Subdivision", "SUBSURF").levels = 1
    group = chair.vertex_groups.new(name="Seat")
    group.add([0, 1, 2], 0.5, "REPLACE")
    chair["price"] = 12.5
    chair.data["owner"] = "Studio"
    bpy.data.materials["Varnish"]["coats"] = [1, 2, 3]
    twin = bpy.data.objects.new("Chair Twin", chair.data)
    twin.location.x = 4.0
    bpy.context.scene.collection.objects.link(twin)
    return chair


def add_animated_sphere(scene: bpy.types.Scene) -> None:
    """Shape keys, an action, and drivers on an object and on a material."""
    bpy.ops.mesh.primitive_ico_sphere_add(subdivisions=1, location=(3.0, 0.0, 0.0))
    ball = bpy.context.object
    ball.name = "Ball"
    ball.shape_key_add(name="Basis")
    key = ball.shape_key_add(name="Squash")
    for point in key.data:
        point.co.z *= 0.5
    ball.active_shape_key_index = 1
    ball.keyframe_insert("location", frame=1)
    ball.location.z = 2.0
    ball.keyframe_insert("location", frame=20)
    curve = key.driver_add("value")
    curve.driver.expression = "frame / 20"
    material = paint(ball, "Driven Paint")
    tree = material.node_tree
    driver = tree.driver_add('nodes["Principled BSDF"].inputs["Roughness"].default_value')
    variable = driver.driver.variables.new()
    variable.targets[0].id = bpy.data.objects["Chair"]
    variable.targets[0].data_path = "location.z"
    driver.driver.expression = "var * 0.1"
    scene.frame_set(scene.frame_current)


def add_rig(chair: bpy.types.Object) -> None:
    """An armature in a pose, a parent, a constraint, a curve, a camera and a lamp."""
    bpy.ops.object.armature_add()
    rig = bpy.context.object
    rig.name = "Rig"
    rig.pose.bones[0].rotation_quaternion = (0.9, 0.1, 0.2, 0.3)
    chair.parent = rig
    bpy.ops.curve.primitive_bezier_circle_add(location=(0.0, 5.0, 0.0))
    path = bpy.context.object
    bpy.ops.object.camera_add(location=(5.0, -5.0, 5.0))
    camera = bpy.context.object
    camera.constraints.new("TRACK_TO").target = path
    bpy.context.scene.camera = camera
    bpy.ops.object.light_add(type="AREA", location=(0.0, 0.0, 5.0))


def add_second_scene() -> None:
    """Another scene with its own world, engine, view layer, frame, and the chair in it too."""
    second = bpy.data.scenes.new("Packshot")
    second.render.engine = "CYCLES"
    second.cycles.samples = 17
    second.frame_set(99)
    second.world = bpy.data.worlds.new("Studio")
    use_nodes(second.world)
    second.view_layers.new("Clay").material_override = bpy.data.materials["Varnish"]
    second.collection.objects.link(bpy.data.objects["Chair"])
