# SPDX-License-Identifier: GPL-3.0-or-later
"""A scene of its own in which objects turn before a camera, in the light of the artist's scene and with its view transform."""

from __future__ import annotations

import math
from collections.abc import Sequence

import bpy
import numpy as np
from mathutils import Matrix, Vector

from ..references import stage
from ..references.studio_lights import BRIGHTNESS, image_world, studio_lights

CYCLES, EEVEE = "CYCLES", "EEVEE"
FIELD_OF_VIEW = math.radians(30.0)
ELEVATION = math.radians(15.0)
AIR = 1.08
"""How much wider than the objects the picture is."""
BACKDROP = 0.05
"""Radiance behind the objects where a picture has no alpha."""


class PictureScene:
    """The scene. turn: the object that the others are attached to, in their middle."""

    def __init__(
        self, scene: bpy.types.Scene, layer: bpy.types.ViewLayer, objects: Sequence[bpy.types.Object], clear: bool
    ) -> None:
        """clear: whether there is nothing behind the objects, or else a dark gray."""
        stage.use_world(scene, layer)
        # Without a light of the scene the first of the Studio lights.
        world = scene.world or image_world(studio_lights(BRIGHTNESS)[0])
        self.scene = bpy.data.scenes.new("PBRfit pictures")
        self.scene.world = world if clear else with_backdrop(world)
        self.scene.render.film_transparent = clear
        copy_look(scene, self.scene)
        center, radius = sphere_around(objects)
        self.turn = bpy.data.objects.new("PBRfit turn", None)
        self.turn.location = center
        self.scene.collection.objects.link(self.turn)
        for item in objects:
            self.scene.collection.objects.link(item)
            item.parent = self.turn
            item.matrix_parent_inverse = Matrix.Translation(-center)
        self._add_camera(center, radius)
        window = bpy.context.window
        window.scene = self.scene
        window.view_layer = self.scene.view_layers[0]

    def _add_camera(self, center: Vector, radius: float) -> None:
        camera = bpy.data.objects.new("PBRfit camera", bpy.data.cameras.new("PBRfit camera"))
        distance = AIR * radius / math.sin(0.5 * FIELD_OF_VIEW)
        away = Vector((0.0, -math.cos(ELEVATION), math.sin(ELEVATION)))
        camera.location = center + distance * away
        camera.rotation_euler = away.to_track_quat("Z", "Y").to_euler()
        camera.data.angle = FIELD_OF_VIEW
        camera.data.clip_start, camera.data.clip_end = 0.01 * radius, distance + 4.0 * radius
        self.scene.collection.objects.link(camera)
        self.scene.camera = camera

    def render_with(self, engine: str, size: Sequence[int], samples: int, on_gpu: bool) -> None:
        """Set how it is rendered. engine: CYCLES or EEVEE."""
        render = self.scene.render
        render.resolution_x, render.resolution_y = size
        render.resolution_percentage = 100
        if engine == CYCLES:
            render.engine = "CYCLES"
            cycles = self.scene.cycles
            cycles.device = "GPU" if on_gpu else "CPU"
            cycles.samples, cycles.use_adaptive_sampling, cycles.use_denoising = samples, True, True
            render.use_persistent_data = True
        else:
            render.engine = "BLENDER_EEVEE" if bpy.app.version >= (5, 0, 0) else "BLENDER_EEVEE_NEXT"
            self.scene.eevee.taa_render_samples = samples


def sphere_around(objects: Sequence[bpy.types.Object]) -> tuple[Vector, float]:
    """Center and radius of a sphere that holds the meshes however they turn around the upright through the center."""
    points = []
    for item in objects:
        values = np.empty(3 * len(item.data.vertices), np.float32)
        item.data.vertices.foreach_get("co", values)
        points.append(
            values.reshape(-1, 3) @ np.array(item.matrix_world.to_3x3()).T + np.array(item.matrix_world.translation)
        )
    found = np.concatenate(points)
    center = 0.5 * (found.min(axis=0) + found.max(axis=0))
    return Vector(center.tolist()), max(1e-6, float(np.linalg.norm(found - center, axis=1).max()))


def copy_look(source: bpy.types.Scene, target: bpy.types.Scene) -> None:
    """Give a scene another's display device and view transform."""
    target.display_settings.display_device = source.display_settings.display_device
    for name in ("view_transform", "look", "exposure", "gamma"):
        setattr(target.view_settings, name, getattr(source.view_settings, name))


def with_backdrop(world: bpy.types.World) -> bpy.types.World:
    """A copy of a world that the camera sees as a plain gray."""
    copy = world.copy()
    tree = copy.node_tree
    if tree is None:
        return copy
    output = next(
        (node for node in tree.nodes if node.bl_idname == "ShaderNodeOutputWorld" and node.is_active_output), None
    )
    if output is None or not output.inputs["Surface"].is_linked:
        return copy
    source = output.inputs["Surface"].links[0].from_socket
    path, mix = tree.nodes.new("ShaderNodeLightPath"), tree.nodes.new("ShaderNodeMixShader")
    plain = tree.nodes.new("ShaderNodeBackground")
    plain.inputs["Color"].default_value = (BACKDROP, BACKDROP, BACKDROP, 1.0)
    tree.links.new(path.outputs["Is Camera Ray"], mix.inputs[0])
    tree.links.new(source, mix.inputs[1])
    tree.links.new(plain.outputs[0], mix.inputs[2])
    tree.links.new(mix.outputs[0], output.inputs["Surface"])
    return copy
