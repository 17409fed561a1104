"""Add nodes to a tree: each function returns an output socket, so that expressions nest as they read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray
from scenes.parts import image_of

Value = float | tuple[float, ...] | bpy.types.NodeSocket
Expression = Callable[[bpy.types.NodeTree], Value]
Given = Value | Expression


def add(
    tree: bpy.types.NodeTree, kind: str, inputs: dict[str, Given] | None = None, name: str = "", **properties: Any
) -> bpy.types.Node:
    """A new node ("ShaderNode" + kind) with properties, then inputs by identifier; `name` is also its label."""
    node = tree.nodes.new(f"ShaderNode{kind}")
    if name:
        node.name = node.label = name
    for key, value in properties.items():
        setattr(node, key, value)
    for identifier, value in (inputs or {}).items():
        give(tree, input_of(node, identifier), value)
    return node


def give(tree: bpy.types.NodeTree, socket: bpy.types.NodeSocket, value: Given) -> None:
    """Link or set an input; a number fills all parts of a color or vector, and colors get the alpha 1."""
    if callable(value):
        value = value(tree)
    if isinstance(value, bpy.types.NodeSocket):
        tree.links.new(value, socket)
    elif hasattr(socket.default_value, "__len__"):
        parts = value if isinstance(value, tuple) else (value,) * 3
        socket.default_value = (*parts, 1.0)[: len(socket.default_value)]
    else:
        socket.default_value = value


def input_of(node: bpy.types.Node, identifier: str) -> bpy.types.NodeSocket:
    """An input socket by its identifier."""
    return next(socket for socket in node.inputs if socket.identifier == identifier)


def out(node: bpy.types.Node, identifier: str) -> bpy.types.NodeSocket:
    """An output socket by its identifier."""
    return next(socket for socket in node.outputs if socket.identifier == identifier)


def resolve(tree: bpy.types.NodeTree, value: Given) -> Value:
    """A value; an expression adds its nodes."""
    return value(tree) if callable(value) else value


# Arithmetic ---------------------------------------------------------------------------------------------------------


def math(tree: bpy.types.NodeTree, operation: str, first: Given, second: Given = 0.0) -> bpy.types.NodeSocket:
    """One number of two (Math)."""
    return out(add(tree, "Math", {"Value": first, "Value_001": second}, operation=operation), "Value")


def vector_math(tree: bpy.types.NodeTree, operation: str, first: Given, second: Given = 0.0) -> bpy.types.NodeSocket:
    """One vector of two (Vector Math)."""
    return out(add(tree, "VectorMath", {"Vector": first, "Vector_001": second}, operation=operation), "Vector")


def mix(tree: bpy.types.NodeTree, factor: Given, first: Given, second: Given) -> bpy.types.NodeSocket:
    """A color between two (Mix)."""
    node = add(tree, "Mix", data_type="RGBA")
    for identifier, value in (("Factor_Float", factor), ("A_Color", first), ("B_Color", second)):
        give(tree, input_of(node, identifier), value)
    return out(node, "Result_Color")


def lerp(tree: bpy.types.NodeTree, factor: Given, first: Given, second: Given) -> bpy.types.NodeSocket:
    """A number between two (Mix)."""
    node = add(tree, "Mix", {"Factor_Float": factor, "A_Float": first, "B_Float": second}, data_type="FLOAT")
    return out(node, "Result_Float")


def stretch(tree: bpy.types.NodeTree, value: Given, low: float, high: float, smooth: bool = True) -> Any:
    """0 below `low`, 1 above `high` (Map Range)."""
    kind = "SMOOTHSTEP" if smooth else "LINEAR"
    node = add(tree, "MapRange", {"Value": value, "From Min": low, "From Max": high}, interpolation_type=kind)
    return out(node, "Result")


def ramp(
    tree: bpy.types.NodeTree, factor: Given, *stops: tuple[float, tuple[float, float, float]]
) -> bpy.types.NodeSocket:
    """A color by place and color of each stop (Color Ramp)."""
    node = add(tree, "ValToRGB", {"Fac": factor})
    elements = node.color_ramp.elements
    for index, (place, color) in enumerate(stops):
        element = elements[index] if index < 2 else elements.new(place)
        element.position, element.color = place, (*color, 1.0)
    return out(node, "Color")


# Coordinates and textures -------------------------------------------------------------------------------------------


def coordinates(tree: bpy.types.NodeTree, kind: str) -> bpy.types.NodeSocket:
    """An output of Texture Coordinate: "UV", "Object", "Generated"."""
    return out(add(tree, "TexCoord"), kind)


def noise(tree: bpy.types.NodeTree, scale: float, where: str = "Object", detail: float = 0.0) -> bpy.types.NodeSocket:
    """Noise 0..1 by coordinates of a kind."""
    inputs = {"Vector": coordinates(tree, where), "Scale": scale, "Detail": detail}
    return out(add(tree, "TexNoise", inputs), "Fac")


def picture(
    tree: bpy.types.NodeTree, name: str, pixels: Callable[[], NDArray[np.float32]], output: str = "Color"
) -> bpy.types.NodeSocket:
    """The output of the tree's Image Texture with a packed image of this name; both are made if they are not there."""
    image = bpy.data.images.get(name) or image_of(pixels(), name)
    node = next((node for node in tree.nodes if getattr(node, "image", None) == image), None)
    return out(node or add(tree, "TexImage", image=image), output)


def waves(seed: int, size: int = 256, fastest: int = 4) -> NDArray[np.float32]:
    """Smooth colors that go on past their borders, float32 [size, size, 4]; `fastest`: most waves along a side."""
    random = np.random.default_rng(seed)
    v, u = np.mgrid[0:size, 0:size] * (2.0 * np.pi / size)
    pixels = np.ones((size, size, 4), np.float32)
    for channel in range(3):
        total = np.zeros((size, size))
        for _ in range(4):
            across, up = random.integers(-fastest, fastest + 1, 2)
            total += np.sin(across * u + up * v + random.uniform(0.0, 6.28))
        pixels[..., channel] = 0.5 + 0.11 * total
    return pixels


def disc(size: int = 256, inner: float = 0.25, outer: float = 0.42) -> NDArray[np.float32]:
    """Smooth colors; alpha is 1 around the middle and falls to 0."""
    pixels = waves(7, size)
    v, u = (np.mgrid[0:size, 0:size] + 0.5) / size - 0.5
    fall = np.clip((outer - np.hypot(u, v)) / (outer - inner), 0.0, 1.0)
    pixels[..., 3] = fall * fall * (3.0 - 2.0 * fall)
    return pixels


# Shaders ------------------------------------------------------------------------------------------------------------


def principled(tree: bpy.types.NodeTree, inputs: dict[str, Given], name: str = "") -> bpy.types.NodeSocket:
    """The shader of a Principled BSDF."""
    return out(add(tree, "BsdfPrincipled", inputs, name), "BSDF")


def mix_shaders(tree: bpy.types.NodeTree, factor: Given, first: Value, second: Value) -> bpy.types.NodeSocket:
    """Two shaders by a factor (Mix Shader)."""
    return out(add(tree, "MixShader", {"Fac": factor, "Shader": first, "Shader_001": second}), "Shader")


def emission(tree: bpy.types.NodeTree, color: Given, strength: float = 1.0, name: str = "") -> bpy.types.NodeSocket:
    """The shader of an Emission node."""
    return out(add(tree, "Emission", {"Color": color, "Strength": strength}, name), "Emission")


def finish(tree: bpy.types.NodeTree, surface: Value, displacement: Given | None = None) -> None:
    """Show a shader, and displace by numbers (Displacement) if given."""
    output = add(tree, "OutputMaterial", {"Surface": surface})
    if displacement is not None:
        node = add(tree, "Displacement", {"Height": displacement, "Midlevel": 0.0, "Scale": 1.0})
        tree.links.new(out(node, "Displacement"), input_of(output, "Displacement"))


def group(name: str, sockets: dict[str, str], results: dict[str, str], build: Callable[[Any, Any, Any], None]) -> Any:
    """A group of shader nodes of this name, made if it is not there.

    sockets, results: the names of its inputs and outputs, with their types ("NodeSocketFloat"); build: gets the tree,
    and the nodes of its inputs and outputs, whose sockets have these names.
    """
    tree = bpy.data.node_groups.get(name)
    if tree is None:
        tree = bpy.data.node_groups.new(name, "ShaderNodeTree")
        for direction, named in (("INPUT", sockets), ("OUTPUT", results)):
            for label, kind in named.items():
                tree.interface.new_socket(label, in_out=direction, socket_type=kind)
        build(tree, tree.nodes.new("NodeGroupInput"), tree.nodes.new("NodeGroupOutput"))
    return tree


def instance(
    tree: bpy.types.NodeTree, inner: bpy.types.NodeTree, inputs: dict[str, Given], name: str = ""
) -> bpy.types.Node:
    """A node of a group, with inputs by their names."""
    node = add(tree, "Group", name=name)
    node.node_tree = inner
    for label, value in inputs.items():
        give(tree, node.inputs[label], value)
    return node
