"""Inside the Blender with a window: install the extension, and make a large job for it."""

import os

import bpy
import numpy as np

EXTENSION = "bl_ext.user_default.pbrfit"


def install(request):
    """Install the extension, and say which Python runs the backend."""
    bpy.ops.extensions.package_install_files(filepath=request["extension"], repo="user_default", enable_on_install=True)
    bpy.context.preferences.addons[EXTENSION].preferences.backend_python = request["python"]


def sphere_mesh(triangles):
    """A UV sphere of about so many triangles, with one UV map; Blender's own operator takes minutes for a million."""
    rings = int((triangles / 4) ** 0.5)
    segments = 2 * rings
    v, u = np.meshgrid(np.linspace(0.001, 0.999, rings + 1), np.linspace(0.0, 1.0, segments + 1), indexing="ij")
    azimuth, polar = 2.0 * np.pi * u, np.pi * v
    points = np.stack([np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), -np.cos(polar)], axis=-1)
    corner = np.arange(rings)[:, None] * (segments + 1) + np.arange(segments)
    quads = np.stack([corner, corner + 1, corner + segments + 2, corner + segments + 1], axis=-1).reshape(-1)
    mesh = bpy.data.meshes.new("Sphere")
    mesh.vertices.add((rings + 1) * (segments + 1))
    mesh.vertices.foreach_set("co", points.astype(np.float32).reshape(-1))
    mesh.loops.add(len(quads))
    mesh.loops.foreach_set("vertex_index", quads.astype(np.int32))
    mesh.polygons.add(len(quads) // 4)
    mesh.polygons.foreach_set("loop_start", np.arange(0, len(quads), 4, dtype=np.int32))
    uv = np.stack([u, v], axis=-1).reshape(-1, 2)[quads].astype(np.float32)
    mesh.uv_layers.new(name="UVMap").uv.foreach_set("vector", uv.reshape(-1))
    mesh.update(calc_edges=True)
    return mesh


def worn_paint(name):
    """Paint that wears off gradually over metal, as a mix of two shaders: no bake says it exactly."""
    material = bpy.data.materials["Material"].copy()
    material.name = name
    tree = material.node_tree
    paint, mixed = tree.nodes["Principled BSDF"], tree.nodes.new("ShaderNodeMixShader")
    metal, noise = tree.nodes.new("ShaderNodeBsdfPrincipled"), tree.nodes.new("ShaderNodeTexNoise")
    paint.inputs["Base Color"].default_value = (0.05, 0.25, 0.35, 1.0)
    metal.inputs["Base Color"].default_value = (0.75, 0.6, 0.45, 1.0)
    metal.inputs["Metallic"].default_value = 1.0
    tree.links.new(noise.outputs[0], mixed.inputs[0])
    tree.links.new(paint.outputs[0], mixed.inputs[1])
    tree.links.new(metal.outputs[0], mixed.inputs[2])
    output = next(node for node in tree.nodes if node.bl_idname == "ShaderNodeOutputMaterial")
    tree.links.new(mixed.outputs[0], output.inputs["Surface"])
    return material


def make_scene(request):
    """A sphere of many triangles, alone, in the light of a forest, its faces shared among `materials`; returns it."""
    scene = bpy.context.scene
    bpy.data.batch_remove(list(bpy.data.objects))
    mesh = sphere_mesh(request["triangles"])
    sphere = bpy.data.objects.new("Sphere", mesh)
    scene.collection.objects.link(sphere)
    bpy.context.view_layer.objects.active = sphere
    sphere.select_set(True)
    for number in range(request["materials"]):
        mesh.materials.append(worn_paint(f"Worn {number + 1}"))
    which = np.arange(len(mesh.polygons)) * request["materials"] // len(mesh.polygons)
    mesh.polygons.foreach_set("material_index", which.astype(np.int32))
    mesh.update()
    texture = scene.world.node_tree.nodes.new("ShaderNodeTexEnvironment")
    folder = bpy.utils.system_resource("DATAFILES", path="studiolights/world")
    texture.image = bpy.data.images.load(os.path.join(folder, "forest.exr"))
    scene.world.node_tree.links.new(texture.outputs["Color"], scene.world.node_tree.nodes["Background"].inputs["Color"])
    settings = scene.pbrfit
    settings.quality = "draft"
    settings.resolution, settings.view_size, settings.samples = request["resolution"], 64, 1
    settings.views, settings.held_out_views, settings.rounds, settings.supersampling = request["views"], 1, 0, "1"
    bpy.ops.wm.save_as_mainfile(filepath=request["file"])
    return sphere
