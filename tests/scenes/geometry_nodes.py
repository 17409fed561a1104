"""One scene for each geometry node, most of them built alike: what takes geometry stands in its way, fields move it."""

from __future__ import annotations

from functools import partial

import bpy
from scenes.objects import Builder, placed, small_sphere
from scenes.parts import add_nodes, grid_pixels, image_of, painted, sphere

Socket = bpy.types.NodeSocket
FIELDS_IN_A_SCENE = 12
GEOMETRIES_IN_A_SCENE = 4
ALONE = (
    "GeometryNodeSetMaterial",
    "GeometryNodeReplaceMaterial",
    "GeometryNodeRemoveAttribute",
)  # these may be refused
# Parts of zones, which come in pairs; tools, which no modifier has; files that are not there; bases of other classes.
LEFT_OUT = ("Tool", "Import", "Gizmo", "CustomGroup", "Group", "Tree", "Viewer", "ViewportTransform")
ZONES = ("Simulation", "Repeat", "ForeachGeometryElement", "Closure")


def every_kind() -> list[str]:
    """The names of the geometry nodes of this Blender that a modifier can have."""
    names = [name for name in dir(bpy.types) if name.startswith(("GeometryNode", "FunctionNode"))]
    short = {name: name.removeprefix("GeometryNode").removeprefix("FunctionNode") for name in names}
    zones = tuple(f"{zone}{end}" for zone in ZONES for end in ("Input", "Output"))
    return [name for name, rest in short.items() if rest and not rest.startswith(LEFT_OUT) and rest not in zones]


def is_field(name: str) -> bool:
    """Whether a node only gives a value, so that several of them may share a scene."""
    return name.startswith(("FunctionNode", "GeometryNodeInput"))


def point_to_scene(node: bpy.types.Node) -> None:
    """Give the node's inputs for objects, collections, images and materials something of the scene."""
    for socket in node.inputs:
        if socket.type == "OBJECT":
            socket.default_value = bpy.data.objects["Other"]
        elif socket.type == "COLLECTION":
            socket.default_value = bpy.data.collections["Props"]
        elif socket.type == "IMAGE":
            socket.default_value = image_of(grid_pixels(size=64))
        elif socket.type == "MATERIAL":
            socket.default_value = bpy.data.materials["Paint"]


def added(tree: bpy.types.NodeTree, name: str) -> bpy.types.Node | None:
    """A new node that points to the scene; None if the name is that of an item in a node, or of a trial of newer nodes."""
    try:
        node = tree.nodes.new(name)
    except RuntimeError:
        return None
    point_to_scene(node)
    return node


def between(tree: bpy.types.NodeTree, node: bpy.types.Node, start: Socket, end: Socket) -> None:
    """Put a node between two geometry sockets: joined to what came in, or as a field that moves the points."""
    into = next((socket for socket in node.inputs if socket.type == "GEOMETRY" and socket.enabled), None)
    out = next((socket for socket in node.outputs if socket.type == "GEOMETRY" and socket.enabled), None)
    if into is not None:
        tree.links.new(start, into)
    if out is not None:
        join = tree.nodes.new("GeometryNodeJoinGeometry")
        tree.links.new(out, join.inputs[0])
        tree.links.new(start, join.inputs[0])
        tree.links.new(join.outputs[0], end)
    else:
        tree.links.new(moved(tree, node, start), end)


def moved(tree: bpy.types.NodeTree, node: bpy.types.Node, start: Socket) -> Socket:
    """The geometry of a socket, whose points the first number that the node gives moves a little: by its sine, since an
    index would make needles of which a small render shows nearly nothing."""
    move = tree.nodes.new("GeometryNodeSetPosition")
    tree.links.new(start, move.inputs["Geometry"])
    numbers = ("VALUE", "VECTOR", "INT", "BOOLEAN", "RGBA", "ROTATION")
    field = next((socket for socket in node.outputs if socket.enabled and socket.type in numbers), None)
    if field is not None:
        wave, small = tree.nodes.new("ShaderNodeVectorMath"), tree.nodes.new("ShaderNodeVectorMath")
        wave.operation = "SINE"
        small.operation, small.inputs["Scale"].default_value = "SCALE", 0.1
        tree.links.new(field, wave.inputs[0])
        tree.links.new(wave.outputs["Vector"], small.inputs[0])
        tree.links.new(small.outputs["Vector"], move.inputs["Offset"])
    return move.outputs["Geometry"]


def surroundings() -> bpy.types.Object:
    """A sphere to fit, a camera, another object and a collection with it."""
    thing = small_sphere()
    other = sphere("Other", 8, 4)
    other.location = (0.0, 0.0, 0.5)
    painted(other, "Other Paint", (0.8, 0.1, 0.1))
    props = bpy.data.collections.new("Props")
    props.objects.link(other)
    scene = bpy.context.scene
    scene.collection.children.link(props)
    scene.collection.objects.unlink(other)
    scene.camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    scene.collection.objects.link(scene.camera)
    scene.camera.location = (0.0, -4.0, 1.0)
    scene.frame_set(7)
    other.select_set(False)
    thing.select_set(True)
    bpy.context.view_layer.objects.active = thing
    return thing


def with_nodes(names: list[str]) -> bpy.types.Object:
    """A sphere with a modifier for each of several geometry nodes."""
    thing = surroundings()
    for name in names:

        def build(tree: bpy.types.NodeTree, start: Socket, end: Socket, name: str = name) -> None:
            node = added(tree, name)
            if node is not None:
                between(tree, node, start, end)

        add_nodes(thing, name, build)
    return thing


def with_fields(names: list[str]) -> bpy.types.Object:
    """A sphere whose points several nodes move, one after the other."""
    thing = surroundings()

    def build(tree: bpy.types.NodeTree, start: Socket, end: Socket) -> None:
        for name in names:
            node = added(tree, name)
            start = moved(tree, node, start) if node is not None else start
        tree.links.new(start, end)

    add_nodes(thing, "Fields", build)
    return thing


def with_zone(zone: str) -> bpy.types.Object:
    """A sphere in a zone of two nodes, in which its points move."""
    thing = surroundings()

    def build(tree: bpy.types.NodeTree, start: Socket, end: Socket) -> None:
        first = tree.nodes.new(f"GeometryNode{zone}Input")
        last = tree.nodes.new(f"GeometryNode{zone}Output")
        first.pair_with_output(last)
        if zone == "Repeat":
            last.repeat_items.new("GEOMETRY", "Geometry") if not len(last.repeat_items) else None
            first.inputs["Iterations"].default_value = 3
        move = tree.nodes.new("GeometryNodeSetPosition")
        move.inputs["Offset"].default_value = (0.0, 0.0, 0.1)
        into, out = (next(s for s in node.inputs if s.type == "GEOMETRY") for node in (first, last))
        tree.links.new(start, into)
        tree.links.new(next(s for s in first.outputs if s.type == "GEOMETRY"), move.inputs["Geometry"])
        tree.links.new(move.outputs["Geometry"], out)
        tree.links.new(next(s for s in last.outputs if s.type == "GEOMETRY"), end)

    add_nodes(thing, zone, build)
    for frame in range(1, 5):
        bpy.context.scene.frame_set(frame)
    return thing


def instances_only() -> bpy.types.Object:
    """A mesh whose nodes give only instances, no mesh of its own."""
    thing = surroundings()

    def build(tree: bpy.types.NodeTree, start: Socket, end: Socket) -> None:
        ball, scatter = tree.nodes.new("GeometryNodeMeshIcoSphere"), tree.nodes.new("GeometryNodeInstanceOnPoints")
        ball.inputs["Radius"].default_value = 0.1
        tree.links.new(start, scatter.inputs["Points"])
        tree.links.new(ball.outputs[0], scatter.inputs["Instance"])
        tree.links.new(scatter.outputs[0], end)

    add_nodes(thing, "Scatter", build)
    return thing


def made_by_nodes() -> bpy.types.Object:
    """A mesh, its UV map and its material, all made by nodes: the object itself has none."""
    surroundings()
    thing = placed(bpy.data.meshes.new("Nothing"), "Made")

    def build(tree: bpy.types.NodeTree, start: Socket, end: Socket) -> None:
        ball = tree.nodes.new("GeometryNodeMeshUVSphere")
        store, paint = tree.nodes.new("GeometryNodeStoreNamedAttribute"), tree.nodes.new("GeometryNodeSetMaterial")
        store.data_type, store.domain = "FLOAT2", "CORNER"
        store.inputs["Name"].default_value = "UVMap"
        paint.inputs["Material"].default_value = bpy.data.materials["Paint"]
        value = next(socket for socket in store.inputs if socket.name == "Value" and socket.enabled)
        for source, target in (
            (ball.outputs["Mesh"], store.inputs["Geometry"]),
            (ball.outputs["UV Map"], value),
            (store.outputs["Geometry"], paint.inputs["Geometry"]),
            (paint.outputs["Geometry"], end),
        ):
            tree.links.new(source, target)

    add_nodes(thing, "Make", build)
    return thing


def in_groups(names: list[str], most: int) -> list[list[str]]:
    """The names in groups of at most so many, those of ALONE each by itself."""
    alone = [name for name in names if name in ALONE]
    others = [name for name in names if name not in ALONE]
    return [[name] for name in alone] + [others[first : first + most] for first in range(0, len(others), most)]


KINDS = every_kind()
FIELDS = in_groups([name for name in KINDS if is_field(name)], FIELDS_IN_A_SCENE)
GEOMETRIES = in_groups([name for name in KINDS if not is_field(name)], GEOMETRIES_IN_A_SCENE)

GEOMETRY_NODES: dict[str, Builder] = {
    **{f"geometry nodes {names[0]} to {names[-1]}": partial(with_nodes, names) for names in GEOMETRIES},
    **{f"fields {names[0]} to {names[-1]}": partial(with_fields, names) for names in FIELDS},
    **{f"zone {zone}": partial(with_zone, zone) for zone in ("Simulation", "Repeat")},
    "nodes that give only instances": instances_only,
    "nodes that make everything": made_by_nodes,
}
