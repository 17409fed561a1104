"""Materials by recipe: what hypothesis chooses (names and numbers), and how a recipe becomes a look with its truths.

A recipe is JSON. `shape`: one of SHAPES; `way`: one of WAYS; `inputs`: by input of the Principled BSDF what it gets, as
`{"source", "place", "scale", "seed", "detour"}`: one of SOURCES, PLACES and DETOURS, and numbers; `second` and `mask`: the other
base color, and what mixes them, or the alpha. In the material the values come by their detours; the truths go straight.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import bpy
from looks import shapes
from looks.look import EMISSION, Look, Surface, Truth
from looks.nodes import (
    Expression,
    Given,
    add,
    coordinates,
    emission,
    finish,
    give,
    group,
    input_of,
    instance,
    lerp,
    math,
    mix,
    mix_shaders,
    noise,
    out,
    picture,
    principled,
    vector_math,
    waves,
)

Tree = bpy.types.NodeTree
Recipe = dict[str, Any]
SHAPES = {"ball": shapes.ball, "pillow": shapes.pillow, "ring": shapes.ring, "turned": shapes.turned_pillow}
ONE, TWO_COLORS, SWITCHED, CUT_OUT, GLOWING = "one", "two colors", "switched", "cut out", "glowing"
WAYS = (ONE, TWO_COLORS, SWITCHED, CUT_OUT, GLOWING)
"""One Principled BSDF; two that differ in color; a mix of which a constant takes one side; with holes; with light added."""
SOURCES, PLACES = ("image", "noise", "gradient", "flat"), ("Object", "Generated", "UV")
DETOURS = ("", "muted", "reroute", "group", "nested groups", "driver")
SCALARS = (
    "Roughness",
    "Metallic",
    "Specular IOR Level",
    "Coat Weight",
    "Sheen Weight",
    "Subsurface Weight",
    "Diffuse Roughness",
)
COLORS = ("Base Color", "Specular Tint")
BUMP = "Normal"
NOT_IN_MEANS = {"Metallic", "Subsurface Weight"}
"""Two closures with these are no mean of their colors."""
NOT_OVER_LIGHT = {"Coat Weight", "Sheen Weight"}
"""These lie over the light of a surface, but not over light that is added to it."""
PAIRS = (((0.05, 0.3, 0.6), (0.7, 0.5, 0.1)), ((0.6, 0.1, 0.1), (0.2, 0.5, 0.3)), ((0.9, 0.8, 0.7), (0.1, 0.1, 0.2)))
HALF = 0.5  # what a driver gives


def look_of(recipe: Recipe) -> Look:
    """The look of a recipe."""
    truths = {name: Truth(value) for name, value in values_of(recipe, straight).items()}
    if recipe["way"] == TWO_COLORS:
        first, second = truths["Base Color"].value, color_of(recipe["second"], straight)
        truths["Base Color"] = Truth(lambda tree: mix(tree, number_of(recipe["mask"], straight), first, second))
    elif recipe["way"] == CUT_OUT:
        truths["Alpha"] = Truth(number_of(recipe["mask"], straight))
    elif recipe["way"] == GLOWING:
        light = color_of(recipe["second"], straight)
        truths[EMISSION] = Truth(lambda tree: vector_math(tree, "MULTIPLY", light(tree), 2.0))
    return Look(SHAPES[recipe["shape"]], (Surface(partial(paint, recipe), truths),))


def paint(recipe: Recipe, tree: Tree) -> None:
    """Fill an empty tree."""
    way, values = recipe["way"], values_of(recipe, detoured)
    body = principled(tree, values, "Body")
    if way == ONE:
        finish(tree, body)
    elif way == TWO_COLORS:
        shared = {name: shared_output(tree, body, name) for name in values if name != "Base Color"}
        other = principled(tree, {**shared, "Base Color": color_of(recipe["second"], detoured)}, "Other Color")
        finish(tree, mix_shaders(tree, number_of(recipe["mask"], detoured), body, other))
    elif way == SWITCHED:
        hidden = principled(tree, {"Base Color": (1.0, 0.0, 1.0), "Metallic": 1.0}, "Hidden")
        finish(tree, mix_shaders(tree, 0.0, body, hidden))
    elif way == CUT_OUT:
        clear = out(add(tree, "BsdfTransparent", {"Color": 1.0}), "BSDF")
        finish(tree, mix_shaders(tree, number_of(recipe["mask"], detoured), clear, body))
    else:
        node = add(tree, "AddShader")
        tree.links.new(body, node.inputs[0])
        tree.links.new(emission(tree, color_of(recipe["second"], detoured), 2.0), node.inputs[1])
        finish(tree, out(node, "Shader"))


def shared_output(tree: Tree, body: bpy.types.NodeSocket, name: str) -> Given:
    """What an input of the first shader gets, for another one."""
    socket = input_of(body.node, name)
    if socket.is_linked:
        return socket.links[0].from_socket
    value = socket.default_value
    return tuple(value)[:3] if hasattr(value, "__len__") else float(value)


def values_of(recipe: Recipe, way: Any) -> dict[str, Given]:
    """The inputs of the Principled BSDF."""
    kinds = {**dict.fromkeys(SCALARS, number_of), **dict.fromkeys(COLORS, color_of), BUMP: bump_of}
    with_color = {"Base Color": recipe["inputs"].get("Base Color", recipe["second"]), **recipe["inputs"]}
    left_out = {TWO_COLORS: NOT_IN_MEANS, GLOWING: NOT_OVER_LIGHT}.get(recipe["way"], set[str]())
    values = {name: kinds[name](chosen, way) for name, chosen in with_color.items() if name not in left_out}
    if bpy.app.version < (4, 3, 0):
        values.pop("Diffuse Roughness", None)
    return {"IOR": 1.5, **values}


def number_of(chosen: Recipe, way: Any) -> Expression:
    """A number 0.15 to 0.85."""
    return lambda tree: lerp(tree, way(tree, chosen), 0.15, 0.85)


def color_of(chosen: Recipe, way: Any) -> Expression:
    """A color between two."""
    return lambda tree: mix(tree, way(tree, chosen), *PAIRS[chosen["seed"] % len(PAIRS)])


def bump_of(chosen: Recipe, way: Any) -> Expression:
    """A normal from gentle heights."""

    def normal(tree: Tree) -> bpy.types.NodeSocket:
        node = add(tree, "Bump", {"Strength": 1.0, "Distance": 0.05})
        give(tree, input_of(node, "Height"), way(tree, chosen))
        return out(node, "Normal")

    return normal


def straight(tree: Tree, chosen: Recipe) -> Any:
    """A number 0..1, as a truth says it."""
    value = plain(tree, chosen)
    return math(tree, "MULTIPLY", value, HALF) if chosen["detour"] == "driver" else value


def detoured(tree: Tree, chosen: Recipe) -> Any:
    """The same by its detour."""
    value, detour = plain(tree, chosen), chosen["detour"]
    if detour == "muted":
        node = add(tree, "Gamma", {"Color": value, "Gamma": 4.0})
        node.mute = True
        return out(node, "Color")
    if detour == "reroute":
        bend = tree.nodes.new("NodeReroute")
        tree.links.new(value, bend.inputs[0])
        return bend.outputs[0]
    if detour == "driver":
        return math(tree, "MULTIPLY", value, driven(tree))
    if detour:
        return instance(tree, passing_group(detour == "nested groups"), {"Value": value}).outputs["Value"]
    return value


def plain(tree: Tree, chosen: Recipe) -> bpy.types.NodeSocket:
    """A number 0..1 from a source."""
    source = chosen["source"]
    if source == "image":
        seed = 20 + chosen["seed"] % 4
        color = picture(tree, f"Waves {seed}", partial(waves, seed))
        return out(add(tree, "SeparateColor", {"Color": color}), "Green")
    if source == "noise":
        return noise(tree, chosen["scale"], chosen["place"])
    if source == "gradient":
        return out(add(tree, "SeparateXYZ", {"Vector": coordinates(tree, "Generated")}), "XYZ"[chosen["seed"] % 3])
    node = add(tree, "Value")
    node.outputs[0].default_value = 0.1 + 0.2 * (chosen["seed"] % 4)
    return out(node, "Value")


def driven(tree: Tree) -> bpy.types.NodeSocket:
    """HALF, by a driver."""
    node = add(tree, "Value")
    bpy.context.scene["half"] = HALF
    curve = node.outputs[0].driver_add("default_value").driver
    target = curve.variables.new().targets[0]
    target.id_type = "SCENE"
    target.id, target.data_path = bpy.context.scene, '["half"]'
    curve.type = "SUM"
    return out(node, "Value")


def passing_group(nested: bool) -> Tree:
    """A group that gives what it gets, through another one if nested."""

    def build(tree: Tree, start: Any, end: Any) -> None:
        value = start.outputs["Value"]
        if nested:
            value = instance(tree, passing_group(False), {"Value": value}).outputs["Value"]
        tree.links.new(math(tree, "ADD", value, 0.0), end.inputs["Value"])

    sockets = {"Value": "NodeSocketFloat"}
    return group("Nested" if nested else "Passing", sockets, sockets, build)
