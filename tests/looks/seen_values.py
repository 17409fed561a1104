"""Cycles' own values of a material's inputs at points of the surface, from cameras around the object.

Every expression goes to an AOV of its own, so that one render with one sample per pixel, in its middle, has all values of
the same points. No bake, and nothing of PBRfit.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import pi
from pathlib import Path

import bpy
import numpy as np
from looks.compare import DIRECTION
from looks.look import EMISSION, NORMALS, Surface, glow
from looks.nodes import Given, Value, add, emission, finish, give, input_of, out, resolve, vector_math
from mathutils import Vector
from numpy.typing import NDArray
from scenes.parts import nodes_of
from support.blender.exr_passes import read_passes, write_passes

SIZE = 176
DIRECTIONS = ((1, 1, 1), (-1, -1, 1), (1, -1, -0.8), (-1, 1, -0.8), (0.1, -0.2, 1), (0.9, -0.3, 0.15))
"""From where the object is seen."""
HIT, SLOT, UV, FACING = "hit", "slot", "uv", "facing"
TANGENT = "Tangent"
LIT = 1.0  # rays go on through a surface without any closure, and add up what lies behind
OURS = "our "
"""Begins the names of AOVs: Blender 5.2 writes none of a name that it has for itself, such as Alpha."""
WHERE = " where"
"""Ends the name of the AOV that says where a truth is known."""
Triple = tuple[float, float, float]
Values = dict[str, NDArray[np.float32]]


@dataclass
class Seen:
    """What cameras see: [views, SIZE, SIZE, 3] by name, row 0 at the top. HIT: 1 on the object; SLOT: its number; UV: of
    the UV map; FACING: the cosine of the angle of view, below zero on back faces.

    constants: values by slot that are the same everywhere; computed: names of the others by slot; mapped: names of the
    inputs by slot that are linked, of new materials.
    """

    values: Values = field(default_factory=dict)
    constants: dict[int, dict[str, Triple]] = field(default_factory=dict)
    computed: dict[int, set[str]] = field(default_factory=dict)
    mapped: dict[int, set[str]] = field(default_factory=dict)

    def names(self, slot: int) -> set[str]:
        """What is known of a slot."""
        return self.constants[slot].keys() | self.computed[slot]

    def of(self, slot: int, name: str) -> NDArray[np.float32]:
        """A value of a slot at all pixels."""
        if name in self.computed[slot]:
            return self.values[name]
        return np.broadcast_to(np.array(self.constants[slot][name], np.float32), self.values[HIT].shape)


def true_values(thing: bpy.types.Object, surfaces: Iterable[Surface]) -> Seen:
    """The truths of a look's object. Its materials change."""
    seen = Seen()
    for number, surface in enumerate(surfaces):
        tree = nodes_of(thing.material_slots[number].material)
        tree.nodes.clear()
        given: dict[str, Given] = {}
        if surface.truths:
            given = {**default_inputs(tree), "Normal": plain_normal}
        for name, truth in surface.truths.items():
            given[name] = truth.value
            if truth.where is not None:
                given[name + WHERE] = truth.where
        add_direction(tree, given)
        show(tree, number, given, seen)
        finish(tree, emission(tree, LIT), surface.displacement)
    seen.values.update(render(thing))
    return seen


def new_values(thing: bpy.types.Object) -> Seen:
    """What the inputs of the Principled BSDFs in the slots of an object have. The materials change."""
    seen = Seen()
    for number, slot in enumerate(thing.material_slots):
        slot.material = slot.material.copy()  # one material may be in several slots
        tree = nodes_of(slot.material)
        shader = next(node for node in tree.nodes if node.type == "BSDF_PRINCIPLED")
        given: dict[str, Given] = {}
        for socket in shader.inputs:
            if socket.identifier in NORMALS:
                given[socket.identifier] = socket.links[0].from_socket if socket.is_linked else plain_normal
            elif socket.identifier == TANGENT:
                if socket.is_linked:
                    given[TANGENT] = socket.links[0].from_socket
            elif hasattr(socket, "default_value"):
                given[socket.identifier] = current(socket)
        seen.mapped[number] = {socket.identifier for socket in shader.inputs if socket.is_linked}
        if seen.mapped[number] & {"Emission Color", "Emission Strength"}:
            seen.mapped[number].add(EMISSION)
        color, strength = given.pop("Emission Color"), given.pop("Emission Strength")
        given[EMISSION] = 0.0 if strength == 0.0 else glow(color, strength)
        add_direction(tree, given)
        for output in [node for node in tree.nodes if node.type == "OUTPUT_MATERIAL"]:
            tree.nodes.remove(output)
        show(tree, number, given, seen)
        finish(tree, emission(tree, LIT))
    seen.values.update(render(thing))
    return seen


def current(socket: bpy.types.NodeSocket) -> Value:
    """What an input has: a link's output, or its own value."""
    if socket.is_linked:
        return socket.links[0].from_socket
    value = socket.default_value
    return tuple(value)[:3] if hasattr(value, "__len__") else value


def default_inputs(tree: bpy.types.NodeTree) -> dict[str, Value]:
    """The inputs of a new Principled BSDF that are numbers or colors; EMISSION is that of a new one."""
    node = add(tree, "BsdfPrincipled")
    found = {
        socket.identifier: current(socket)
        for socket in node.inputs
        if hasattr(socket, "default_value") and socket.enabled and socket.identifier not in (*NORMALS, TANGENT)
    }
    tree.nodes.remove(node)
    return {name: value for name, value in found.items() if not name.startswith("Emission")} | {EMISSION: 0.0}


def add_direction(tree: bpy.types.NodeTree, given: dict[str, Given]) -> None:
    """Put the direction of an anisotropic reflection in place of its tangent and rotation, as Cycles takes it."""
    tangent, rotation = given.pop(TANGENT, plain_tangent), given.pop("Anisotropic Rotation", 0.0)
    if given.get("Anisotropic", 0.0) == 0.0:
        return
    normal = resolve(tree, given["Normal"])
    angle = add(tree, "Math", {"Value": rotation, "Value_001": 2.0 * pi}, operation="MULTIPLY")
    inputs: dict[str, Given] = {"Vector": tangent, "Axis": normal, "Angle": out(angle, "Value")}
    turned = out(add(tree, "VectorRotate", inputs, rotation_type="AXIS_ANGLE"), "Vector")
    given[DIRECTION] = vector_math(tree, "CROSS_PRODUCT", normal, turned)


def plain_tangent(tree: bpy.types.NodeTree) -> Value:
    """The tangent of a shader that gets none."""
    return out(add(tree, "NewGeometry"), "Tangent")


def plain_normal(tree: bpy.types.NodeTree) -> Value:
    """The normal of a surface whose shader gets none."""
    return out(add(tree, "NewGeometry"), "Normal")


def show(tree: bpy.types.NodeTree, slot: int, given: dict[str, Given], seen: Seen) -> None:
    """Give what nodes compute to AOVs of their names, and what tells the points; note the rest in `seen`."""
    seen.constants[slot], seen.computed[slot] = {}, set()
    aovs: dict[str, Given] = {}
    for name, value in given.items():
        if callable(value) or isinstance(value, bpy.types.NodeSocket):
            aovs[name] = value
            seen.computed[slot].add(name)
        else:
            parts = value if isinstance(value, tuple) else (value,) * 3
            seen.constants[slot][name] = parts[0], parts[1], parts[2]
    geometry = add(tree, "NewGeometry")
    facing = add(
        tree,
        "VectorMath",
        {"Vector": out(geometry, "True Normal"), "Vector_001": out(geometry, "Incoming")},
        operation="DOT_PRODUCT",
    )
    sign = add(tree, "MapRange", {"Value": out(geometry, "Backfacing"), "To Min": 1.0, "To Max": -1.0})
    product = add(tree, "Math", {"Value": out(facing, "Value"), "Value_001": out(sign, "Result")}, operation="MULTIPLY")
    places: dict[str, Given] = {
        HIT: 1.0,
        SLOT: float(slot),
        UV: out(add(tree, "UVMap"), "UV"),
        FACING: out(product, "Value"),
    }
    for name, value in {**aovs, **places}.items():
        node = add(tree, "OutputAOV")
        node.aov_name = OURS + name
        give(tree, input_of(node, "Color"), resolve(tree, value))


def render(thing: bpy.types.Object) -> Values:
    """Render the AOVs that the materials of an object name, from all sides."""
    scene, layer = bpy.context.scene, bpy.context.view_layer
    set_up(scene, layer)
    names = {
        node.aov_name
        for slot in thing.material_slots
        for node in slot.material.node_tree.nodes
        if node.type == "OUTPUT_AOV"
    }
    for old in list(layer.aovs):
        layer.aovs.remove(old)
    for name in sorted(names):
        passed = layer.aovs.add()
        passed.name, passed.type = name, "COLOR"
    show_only(thing)
    camera, center, radius = judging_camera(thing)
    views = []
    with tempfile.TemporaryDirectory(prefix="looks_") as folder:
        path = Path(folder) / "passes.exr"
        write_passes(path)
        for direction in DIRECTIONS:
            aim(camera, center, radius, Vector(direction))
            bpy.ops.render.render(write_still=True)
            views.append(read_passes(path))
    bpy.data.objects.remove(camera)
    return {name.removeprefix(OURS): np.stack([view[name][..., :3] for view in views]) for name in names}


def show_only(thing: bpy.types.Object) -> None:
    """Render nothing else."""
    for other in bpy.context.scene.objects:
        other.hide_render = other != thing


def judging_camera(thing: bpy.types.Object) -> tuple[bpy.types.Object, Vector, float]:
    """A new orthographic camera of the scene that takes in an object, and the sphere around that."""
    scene = bpy.context.scene
    camera = bpy.data.objects.new("Judge", bpy.data.cameras.new("Judge"))
    scene.collection.objects.link(camera)
    scene.camera = camera
    bpy.context.view_layer.update()
    corners = [thing.matrix_world @ Vector(corner) for corner in thing.bound_box]
    center = sum(corners, Vector()) / len(corners)
    radius = max((corner - center).length for corner in corners)
    camera.data.type, camera.data.ortho_scale, camera.data.clip_end = "ORTHO", 2.0 * radius, 10.0 * radius
    return camera, center, radius


def aim(camera: bpy.types.Object, center: Vector, radius: float, direction: Vector) -> None:
    """Look at a sphere from a direction."""
    away = direction.normalized()
    camera.location = center + 4.0 * radius * away
    camera.rotation_euler = away.to_track_quat("Z", "Y").to_euler()


def set_up(scene: bpy.types.Scene, layer: bpy.types.ViewLayer) -> None:
    """One sample in the middle of each pixel."""
    scene.render.engine = "CYCLES"
    scene.render.resolution_x = scene.render.resolution_y = SIZE
    scene.render.resolution_percentage = 100
    scene.render.use_border = scene.render.use_compositing = scene.render.use_sequencer = False
    cycles = scene.cycles
    cycles.device, cycles.samples, cycles.max_bounces = "CPU", 1, 0
    cycles.use_adaptive_sampling = cycles.use_denoising = False
    cycles.pixel_filter_type, cycles.filter_width = "BOX", 0.01
    for other in scene.view_layers:
        other.use = other == layer
    layer.material_override = None
    scene.world = None  # its light takes most of the time
