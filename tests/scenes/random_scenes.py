"""Scenes by recipe: what hypothesis chooses (numbers and names), and how a recipe becomes an object in the open file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import bpy
from scenes.parts import FLAT, add_nodes, nodes_of, painted

Vector = tuple[float, float, float]

SHAPES = {
    "cube": "primitive_cube_add",
    "sphere": "primitive_uv_sphere_add",
    "ico sphere": "primitive_ico_sphere_add",
    "cone": "primitive_cone_add",
    "cylinder": "primitive_cylinder_add",
    "torus": "primitive_torus_add",
    "grid": "primitive_grid_add",
    "monkey": "primitive_monkey_add",
}
MODIFIERS: dict[str, dict[str, Any]] = {
    "ARRAY": {"count": 2, "relative_offset_displace": (1.2, 0.0, 0.0)},
    "BEVEL": {"width": 0.1, "segments": 2},
    "CAST": {"factor": 0.6},
    "DECIMATE": {"ratio": 0.5},
    "DISPLACE": {"strength": 0.3},
    "EDGE_SPLIT": {},
    "MIRROR": {"use_axis": (True, True, False)},
    "REMESH": {"octree_depth": 4},
    "SIMPLE_DEFORM": {"deform_method": "TAPER", "factor": 0.5},
    "SMOOTH": {"iterations": 3},
    "SOLIDIFY": {"thickness": 0.2},
    "SUBSURF": {},
    "TRIANGULATE": {},
    "WAVE": {"height": 0.3},
    "WELD": {"merge_threshold": 0.05},
}
NODES = ("is viewport", "scene time", "active camera", "cubes on points", "second object")
SHADERS = (
    *(
        "Attribute",
        "BrightContrast",
        "CameraData",
        "Clamp",
        "Fresnel",
        "Gamma",
        "HueSaturation",
        "Invert",
        "LayerWeight",
    ),
    *(
        "LightPath",
        "Math",
        "NewGeometry",
        "ObjectInfo",
        "RGB",
        "TexBrick",
        "TexChecker",
        "TexCoord",
        "TexNoise",
        "TexVoronoi",
    ),
    *(
        "TexWave",
        "TexMagic",
        "UVMap",
        "VectorMath",
        "VertexColor",
        "Wireframe",
        "Bevel",
        "AmbientOcclusion",
        "NormalMap",
    ),
)


@dataclass(frozen=True)
class Step:
    """A modifier: its type, or one of NODES; its levels and whether it shows, in the viewport and in renders."""

    kind: str
    levels: int
    render_levels: int
    in_viewport: bool
    in_render: bool


@dataclass(frozen=True)
class Place:
    """A transform."""

    location: Vector
    rotation: Vector
    scale: Vector


@dataclass(frozen=True)
class Recipe:
    """A scene. links: pairs of a shader node and an input, which join the nodes; flags, render: properties of the object
    and of the scene's render settings; simplify: levels in the viewport and in renders, or None."""

    shape: str
    place: Place
    parents: tuple[Place, ...]
    steps: tuple[Step, ...]
    names: tuple[str, str, str]
    nodes: tuple[str, ...]
    links: tuple[tuple[int, int], ...]
    frame: int
    fps: int
    simplify: tuple[int, int] | None
    render: dict[str, Any] = field(default_factory=dict)
    flags: dict[str, bool] = field(default_factory=dict)
    camera: Place | None = None
    crowd: int = 0
    second_layer: bool = False
    second_scene: bool = False


def build(recipe: Recipe) -> bpy.types.Object:
    """Fill the empty open file; returns the object to fit: active and alone selected."""
    scene = bpy.context.scene
    scene.world = bpy.data.worlds.new("World")
    nodes_of(scene.world)
    for index in range(recipe.crowd):
        bpy.ops.mesh.primitive_cube_add(location=(1.5 * index - 1.0, -1.5, 0.5))
        bpy.context.object.name = recipe.names[0]
    camera = None
    if recipe.camera is not None:
        camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
        scene.collection.objects.link(camera)
        put(camera, recipe.camera)
        scene.camera = camera
    getattr(bpy.ops.mesh, SHAPES[recipe.shape])()
    thing = bpy.context.object
    thing.name, scene.name = recipe.names[0], recipe.names[2]
    paint(thing, recipe)
    for step in recipe.steps:
        modify(thing, step)
    parent = None
    for place in recipe.parents:
        above = bpy.data.objects.new(recipe.names[0], None)
        scene.collection.objects.link(above)
        above.parent = parent
        put(above, place)
        parent = above
    thing.parent = parent
    put(thing, recipe.place)
    settle(scene, thing, recipe)
    return thing


def put(thing: bpy.types.Object, place: Place) -> None:
    """Transform an object."""
    thing.location, thing.rotation_euler, thing.scale = place.location, place.rotation, place.scale


def paint(thing: bpy.types.Object, recipe: Recipe) -> None:
    """A material whose base color comes from linked nodes; only colors, so that the outline stays."""
    tree = nodes_of(painted(thing, recipe.names[1]))
    target = tree.nodes["Principled BSDF"].inputs["Base Color"]
    made = [tree.nodes.new(f"ShaderNode{name}") for name in recipe.nodes]
    for index, node in enumerate(made):
        if node.outputs:
            tree.links.new(node.outputs[index % len(node.outputs)], target)
    for (source, entry), (taker, node) in zip(recipe.links, enumerate(made), strict=False):
        giver = made[source % len(made)]
        if giver.outputs and node.inputs and source % len(made) < taker:  # no circles
            tree.links.new(giver.outputs[0], node.inputs[entry % len(node.inputs)])


def modify(thing: bpy.types.Object, step: Step) -> None:
    """Add a modifier."""
    if step.kind in NODES:
        modifier = add_nodes(thing, step.kind, NODE_TREES[step.kind])
    else:
        modifier = thing.modifiers.new(step.kind.title(), step.kind)
        for name, value in MODIFIERS[step.kind].items():
            setattr(modifier, name, value)
        if step.kind == "SUBSURF":
            modifier.levels, modifier.render_levels = step.levels, step.render_levels
    modifier.show_viewport, modifier.show_render = step.in_viewport, step.in_render


def is_viewport(tree: bpy.types.NodeTree, start: Any, end: Any) -> None:
    """Twice as high in renders."""
    asks, switch = tree.nodes.new("GeometryNodeIsViewport"), tree.nodes.new("GeometryNodeSwitch")
    tall = tree.nodes.new("GeometryNodeTransform")
    switch.input_type = "GEOMETRY"
    tall.inputs["Scale"].default_value = (1.0, 1.0, 2.0)
    tree.links.new(start, tall.inputs["Geometry"])
    tree.links.new(asks.outputs[0], switch.inputs["Switch"])
    tree.links.new(start, switch.inputs["True"])
    tree.links.new(tall.outputs[0], switch.inputs["False"])
    tree.links.new(switch.outputs[0], end)


def scene_time(tree: bpy.types.NodeTree, start: Any, end: Any) -> None:
    """Shifted by the seconds."""
    clock, move = tree.nodes.new("GeometryNodeInputSceneTime"), tree.nodes.new("GeometryNodeTransform")
    tree.links.new(start, move.inputs["Geometry"])
    tree.links.new(clock.outputs["Seconds"], move.inputs["Scale"])
    tree.links.new(move.outputs[0], end)


def active_camera(tree: bpy.types.NodeTree, start: Any, end: Any) -> None:
    """Pulled to where the scene's camera is."""
    which, where = tree.nodes.new("GeometryNodeInputActiveCamera"), tree.nodes.new("GeometryNodeObjectInfo")
    small, move = tree.nodes.new("ShaderNodeVectorMath"), tree.nodes.new("GeometryNodeTransform")
    small.operation, small.inputs["Scale"].default_value = "SCALE", 0.2
    tree.links.new(which.outputs[0], where.inputs["Object"])
    tree.links.new(where.outputs["Location"], small.inputs[0])
    tree.links.new(start, move.inputs["Geometry"])
    tree.links.new(small.outputs["Vector"], move.inputs["Translation"])
    tree.links.new(move.outputs[0], end)


def cubes_on_points(tree: bpy.types.NodeTree, start: Any, end: Any) -> None:
    """With an instance on each vertex."""
    cube, scatter = tree.nodes.new("GeometryNodeMeshCube"), tree.nodes.new("GeometryNodeInstanceOnPoints")
    join = tree.nodes.new("GeometryNodeJoinGeometry")
    cube.inputs["Size"].default_value = (0.3, 0.3, 0.3)
    tree.links.new(start, scatter.inputs["Points"])
    tree.links.new(cube.outputs[0], scatter.inputs["Instance"])
    tree.links.new(scatter.outputs[0], join.inputs[0])
    tree.links.new(start, join.inputs[0])
    tree.links.new(join.outputs[0], end)


def second_object(tree: bpy.types.NodeTree, start: Any, end: Any) -> None:
    """Joined with the mesh of another object of the file."""
    reads, join = tree.nodes.new("GeometryNodeObjectInfo"), tree.nodes.new("GeometryNodeJoinGeometry")
    mesh = bpy.data.meshes.new("Wing")
    mesh.from_pydata([(0, 0, 0), (2, 0, 0), (0, 0, 2)], [], [(0, 1, 2)])
    wing = bpy.data.objects.new("Wing", mesh)
    bpy.context.scene.collection.objects.link(wing)
    reads.inputs["Object"].default_value = wing
    tree.links.new(reads.outputs["Geometry"], join.inputs[0])
    tree.links.new(start, join.inputs[0])
    tree.links.new(join.outputs[0], end)


NODE_TREES = dict(zip(NODES, (is_viewport, scene_time, active_camera, cubes_on_points, second_object), strict=True))


def settle(scene: bpy.types.Scene, thing: bpy.types.Object, recipe: Recipe) -> None:
    """The scene's settings, the object's flags, further view layers and scenes, and the selection."""
    scene["tint"] = list(FLAT)
    scene.render.fps = recipe.fps
    if recipe.simplify is not None:
        scene.render.use_simplify = True
        scene.render.simplify_subdivision, scene.render.simplify_subdivision_render = recipe.simplify
    for name, value in recipe.render.items():
        setattr(scene.render, name, value)
    for name, value in recipe.flags.items():
        setattr(thing, name, value)
    if recipe.second_layer:
        scene.view_layers.new("Second").use = False
        scene.view_layers[0].use_pass_z = True
    if recipe.second_scene:
        other = bpy.data.scenes.new("Other")
        other.collection.objects.link(thing)
        other.render.fps = 12
    scene.frame_set(recipe.frame)
    for item in bpy.context.view_layer.objects:
        item.select_set(item == thing)
    bpy.context.view_layer.objects.active = thing
    bpy.context.view_layer.update()
