"""Scenes for the tests, and a snapshot of everything that must not change."""

from __future__ import annotations

import os
import time

import bpy
import numpy as np

TIMEOUT_S = 240.0


def use_nodes(owner) -> None:
    """Give a material or world a node tree in every supported Blender."""
    if owner.node_tree is None or (bpy.app.version < (5, 0, 0) and not owner.use_nodes):
        owner.use_nodes = True


def paint(scene_object: bpy.types.Object, name: str = "Paint") -> bpy.types.Material:
    """A new material in a new slot: orange, a little rough."""
    material = bpy.data.materials.new(name)
    use_nodes(material)
    shader = material.node_tree.nodes["Principled BSDF"]
    shader.inputs["Base Color"].default_value = (0.8, 0.3, 0.1, 1.0)
    shader.inputs["Roughness"].default_value = 0.4
    scene_object.data.materials.append(material)
    return material


def show_image(material: bpy.types.Material, image: bpy.types.Image) -> bpy.types.Node:
    """Make an image the base color of a material; returns its node."""
    tree = material.node_tree
    node = tree.nodes.new("ShaderNodeTexImage")
    node.image = image
    tree.links.new(node.outputs["Color"], tree.nodes["Principled BSDF"].inputs["Base Color"])
    return node


def shipped_hdri(name: str = "forest") -> str:
    """One of Blender's own environment images."""
    folder = bpy.utils.system_resource("DATAFILES", path="studiolights/world")
    return os.path.join(folder, f"{name}.exr")


def hdri_world(rotation: tuple | None = None, strength: float = 1.0, vector_type: str = "POINT") -> bpy.types.World:
    """The scene's new world: an environment image, with a Mapping node if a rotation is given."""
    world = bpy.data.worlds.new("Forest")
    use_nodes(world)
    tree = world.node_tree
    tree.nodes.clear()
    output = tree.nodes.new("ShaderNodeOutputWorld")
    background = tree.nodes.new("ShaderNodeBackground")
    texture = tree.nodes.new("ShaderNodeTexEnvironment")
    texture.image = bpy.data.images.load(shipped_hdri())
    background.inputs["Strength"].default_value = strength
    tree.links.new(texture.outputs["Color"], background.inputs["Color"])
    tree.links.new(background.outputs["Background"], output.inputs["Surface"])
    if rotation is not None:
        coordinates = tree.nodes.new("ShaderNodeTexCoord")
        mapping = tree.nodes.new("ShaderNodeMapping")
        mapping.vector_type = vector_type
        mapping.inputs["Rotation"].default_value = rotation
        tree.links.new(coordinates.outputs["Generated"], mapping.inputs["Vector"])
        tree.links.new(mapping.outputs["Vector"], texture.inputs["Vector"])
    light_quickly(world)
    bpy.context.scene.world = world
    return world


def light_quickly(world: bpy.types.World) -> None:
    """Let Cycles prepare the world's light in coarse steps: it takes seconds for an image, and noise is all that changes."""
    world.cycles.sampling_method, world.cycles.sample_map_resolution = "MANUAL", 64


def add_cube() -> bpy.types.Object:
    """A cube with UVs, active and selected, in Object Mode."""
    bpy.ops.mesh.primitive_cube_add()
    return bpy.context.object


def ready_cube() -> bpy.types.Object:
    """A painted cube in a world: everything a fit needs."""
    scene_object = add_cube()
    paint(scene_object)
    hdri_world()
    return scene_object


def small_fit() -> None:
    """Settings of the smallest useful fit, which begins with nothing: a bake would be all that the scenes of tests need."""
    settings = bpy.context.scene.pbrfit
    settings.start = "GRAY"
    settings.resolution = 64
    settings.views = 6
    settings.held_out_views = 2
    settings.view_size = 64
    settings.samples = 4
    settings.quality = "draft"
    settings.rounds = 0


def run_to_end(session) -> None:
    """Poll a session until it finishes, as the timer of a window does."""
    deadline = time.monotonic() + TIMEOUT_S
    while not session.poll().finished:
        assert time.monotonic() < deadline, session.status
        time.sleep(0.02)


def datablocks() -> dict[str, tuple]:
    """Users and fake user of every datablock of the file, by kind and name."""
    found = {}
    for kind in dir(bpy.data):
        collection = getattr(bpy.data, kind)
        # all_ids: Blender 5.2's view of all the others together.
        if isinstance(collection, bpy.types.bpy_prop_collection) and kind != "all_ids":
            for item in collection:
                if isinstance(item, bpy.types.ID):
                    found[f"{kind}/{item.name_full}"] = (item.users, item.use_fake_user)
    return found


def snapshot() -> dict:
    """Everything of the open file and the artist's state that a fit must leave as it is until it assigns."""
    scene, layer = bpy.context.scene, bpy.context.view_layer
    return {
        "datablocks": datablocks(),
        "filepath": bpy.data.filepath,
        "dirty images": {image.name: image.is_dirty for image in bpy.data.images},
        "active": layer.objects.active.name if layer.objects.active else None,
        "selected": sorted(item.name for item in layer.objects if item.select_get()),
        "mode": bpy.context.mode,
        "scene": (scene.name, scene.frame_current, scene.render.engine, scene.render.filepath, scene.camera),
        "world": scene.world.name if scene.world else None,
        "slots": {
            item.name: [(slot.material.name if slot.material else None, slot.link) for slot in item.material_slots]
            for item in bpy.data.objects
        },
        "matrices": {item.name: np.array(item.matrix_world).tolist() for item in bpy.data.objects},
        "vertices": {
            mesh.name: [tuple(vertex.co) for vertex in mesh.vertices]
            for mesh in bpy.data.meshes
            if len(mesh.vertices) < 1000
        },
        "attributes": {mesh.name: sorted(mesh.attributes.keys()) for mesh in bpy.data.meshes},
    }


def corner(wall: bool = True) -> None:
    """A floor from -1 to 1 whose UVs are the whole map, and a far larger wall at x = -1 with one point of the map."""
    high, far = 60.0, 60.0
    vertices = [(-1, -1, 0), (1, -1, 0), (1, 1, 0), (-1, 1, 0)]
    faces = [(0, 1, 2, 3)]
    if wall:
        vertices += [(-1, -far, 0), (-1, far, 0), (-1, far, high), (-1, -far, high)]
        faces.append((4, 5, 6, 7))
    mesh = bpy.data.meshes.new("Corner")
    mesh.from_pydata(vertices, [], faces)
    layer = mesh.uv_layers.new(name="UVMap")
    for loop in mesh.loops:
        x, y, _ = mesh.vertices[loop.vertex_index].co
        inside = loop.vertex_index < 4
        layer.uv[loop.index].vector = ((x + 1) / 2, (y + 1) / 2) if inside else (0.0, 0.0)
    thing = bpy.data.objects.new("Corner", mesh)
    bpy.context.scene.collection.objects.link(thing)
    bpy.context.view_layer.objects.active = thing
    thing.select_set(True)
    paint(thing)
