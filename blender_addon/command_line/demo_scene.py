# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene of ``pbrfit demo``: a subdivided Suzanne in chipped paint under the forest HDRI that ships with Blender.

It uses no files of this project, so any Blender from 4.2 on can build the same scene.
"""

from __future__ import annotations

import math
from pathlib import Path

import bpy

OBJECT_NAME = "Suzanne"
MATERIAL_NAME = "Chipped paint"

Place = tuple[float, float]  # of a node in the editor


def shipped_hdri(name: str) -> str:
    """Path of an HDRI of Blender: city, courtyard, forest, interior, night, studio, sunrise or sunset."""
    return str(Path(bpy.utils.system_resource("DATAFILES")) / "studiolights" / "world" / f"{name}.exr")


def build_demo_scene() -> bpy.types.Object:
    """Replace the open file by the demo's scene and return its object.

    The UV map is Suzanne's own: five islands without overlap. The Subdivision Surface modifier stays on and keeps it.
    """
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.name = "Demo"
    suzanne = _add_suzanne()
    suzanne.data.materials.append(chipped_paint_material())
    scene.world = hdri_world(shipped_hdri("forest"))
    _add_camera(scene)
    scene.render.engine = "CYCLES"
    scene.cycles.samples = 128
    scene.view_settings.view_transform = "Standard"
    bpy.ops.object.select_all(action="DESELECT")
    suzanne.select_set(True)
    bpy.context.view_layer.objects.active = suzanne
    return suzanne


def hdri_world(path: str, name: str = "World") -> bpy.types.World:
    """A world that shows one equirectangular image at strength 1."""
    world = bpy.data.worlds.new(name)
    if not world.use_nodes:
        world.use_nodes = True
    nodes, links = world.node_tree.nodes, world.node_tree.links
    nodes.clear()
    texture = _node(nodes, "ShaderNodeTexEnvironment", "HDRI", (-300, 0))
    texture.image = bpy.data.images.load(path, check_existing=True)
    background = _node(nodes, "ShaderNodeBackground", "Background", (0, 0))
    output = _node(nodes, "ShaderNodeOutputWorld", "World Output", (200, 0))
    links.new(texture.outputs["Color"], background.inputs["Color"])
    links.new(background.outputs["Background"], output.inputs["Surface"])
    return world


def chipped_paint_material() -> bpy.types.Material:
    """Dielectric paint over worn metal, mixed by noise; color, roughness and bump are procedural.

    No single node holds a map of the result: a Mix Shader mixes two Principled BSDFs.
    """
    material = bpy.data.materials.new(MATERIAL_NAME)
    if not material.use_nodes:
        material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    nodes.clear()
    coordinates = _node(nodes, "ShaderNodeTexCoord", "Coordinates", (-1500, 0))

    def noise(label: str, place: Place, scale: float, detail: float, distortion: float = 0.0) -> bpy.types.NodeSocket:
        """A Noise Texture over object coordinates; returns its 0..1 factor (about 0.3..0.7 in practice)."""
        node = _node(nodes, "ShaderNodeTexNoise", label, place)
        node.inputs["Scale"].default_value = scale
        node.inputs["Detail"].default_value = detail
        node.inputs["Distortion"].default_value = distortion
        links.new(coordinates.outputs["Object"], node.inputs["Vector"])
        return node.outputs[0]

    def ramp(
        label: str, place: Place, factor: bpy.types.NodeSocket, stops: list[tuple[float, tuple[float, float, float]]]
    ) -> bpy.types.NodeSocket:
        """A Color Ramp with the given (position, linear RGB) stops; returns its color."""
        node = _node(nodes, "ShaderNodeValToRGB", label, place)
        elements = node.color_ramp.elements
        while len(elements) < len(stops):
            elements.new(0.5)
        for element, (position, color) in zip(elements, stops, strict=True):
            element.position = position
            element.color = (*color, 1.0)
        links.new(factor, node.inputs[0])
        return node.outputs["Color"]

    def gray_ramp(
        label: str, place: Place, factor: bpy.types.NodeSocket, low: tuple[float, float], high: tuple[float, float]
    ) -> bpy.types.NodeSocket:
        """A Color Ramp of two (position, value) stops."""
        return ramp(label, place, factor, [(at, (value, value, value)) for at, value in (low, high)])

    wear = noise("Where the paint is gone", (-1250, 500), scale=1.7, detail=3.0, distortion=0.5)
    wear_mask = gray_ramp("Chipped edge", (-950, 500), wear, (0.555, 0.0), (0.60, 1.0))

    tint = noise("Sun-bleaching", (-1250, 200), scale=2.6, detail=2.0)
    paint_color = ramp(
        "Paint",
        (-950, 200),
        tint,
        [(0.32, (0.010, 0.110, 0.160)), (0.52, (0.015, 0.260, 0.300)), (0.70, (0.130, 0.480, 0.400))],
    )
    smudges = noise("Smudges", (-1250, -100), scale=4.0, detail=2.0)
    paint_roughness = gray_ramp("Paint roughness", (-950, -100), smudges, (0.35, 0.35), (0.65, 0.60))

    tarnish = noise("Tarnish", (-1250, -400), scale=3.2, detail=2.0)
    metal_color = ramp("Metal", (-950, -400), tarnish, [(0.36, (0.560, 0.250, 0.110)), (0.62, (0.900, 0.620, 0.380))])
    metal_roughness = gray_ramp("Metal roughness", (-950, -700), tarnish, (0.36, 0.50), (0.64, 0.30))

    # The views show about 100 pixels per unit, enough to resolve bumps of a tenth of a unit.
    dents = noise("Hammered surface", (-1250, -1000), scale=7.0, detail=1.0)
    height = _node(nodes, "ShaderNodeMath", "Paint stands proud", (-650, -900))
    height.operation = "MULTIPLY_ADD"
    height.inputs[1].default_value = -0.35
    links.new(wear_mask, height.inputs[0])
    links.new(dents, height.inputs[2])
    bump = _node(nodes, "ShaderNodeBump", "Bump", (-450, -900))
    bump.inputs["Strength"].default_value = 0.5
    bump.inputs["Distance"].default_value = 0.06
    links.new(height.outputs[0], bump.inputs["Height"])

    def principled(
        label: str, place: Place, color: bpy.types.NodeSocket, roughness: bpy.types.NodeSocket, metallic: float
    ) -> bpy.types.NodeSocket:
        node = _node(nodes, "ShaderNodeBsdfPrincipled", label, place)
        node.inputs["Metallic"].default_value = metallic
        links.new(color, node.inputs["Base Color"])
        links.new(roughness, node.inputs["Roughness"])
        links.new(bump.outputs["Normal"], node.inputs["Normal"])
        return node.outputs["BSDF"]

    paint = principled("Paint", (-250, 300), paint_color, paint_roughness, 0.0)
    metal = principled("Bare metal", (-250, -300), metal_color, metal_roughness, 1.0)
    mix = _node(nodes, "ShaderNodeMixShader", "Paint over metal", (100, 100))
    output = _node(nodes, "ShaderNodeOutputMaterial", "Material Output", (300, 100))
    links.new(wear_mask, mix.inputs[0])
    links.new(paint, mix.inputs[1])
    links.new(metal, mix.inputs[2])
    links.new(mix.outputs[0], output.inputs["Surface"])
    return material


def _add_suzanne() -> bpy.types.Object:
    bpy.ops.mesh.primitive_monkey_add(size=2.0, calc_uvs=True)
    suzanne = bpy.context.object
    suzanne.name = suzanne.data.name = OBJECT_NAME
    suzanne.data.polygons.foreach_set("use_smooth", [True] * len(suzanne.data.polygons))
    subdivision = suzanne.modifiers.new("Subdivision", "SUBSURF")
    subdivision.levels = subdivision.render_levels = 2
    return suzanne


def _add_camera(scene: bpy.types.Scene) -> None:
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    scene.collection.objects.link(camera)
    camera.location = (2.3, -4.4, 1.4)
    camera.rotation_euler = (math.radians(76.0), 0.0, math.radians(27.5))
    camera.data.lens = 70.0
    scene.camera = camera


def _node(nodes: bpy.types.Nodes, kind: str, label: str, place: Place) -> bpy.types.Node:
    node = nodes.new(kind)
    node.label = label
    node.location = place
    return node
