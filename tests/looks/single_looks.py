"""Looks of one Principled BSDF: each of its inputs is its own truth."""

from __future__ import annotations

from functools import partial
from typing import Any

import bpy
from looks import shapes
from looks.look import CORE, GLTF, Look, one_principled
from looks.nodes import (
    Expression,
    add,
    coordinates,
    disc,
    give,
    input_of,
    lerp,
    math,
    mix,
    noise,
    out,
    picture,
    ramp,
    stretch,
    vector_math,
    waves,
)

Tree = bpy.types.NodeTree
OCHRE, MOSS, STONE = (0.5, 0.3, 0.1), (0.1, 0.22, 0.05), (0.3, 0.28, 0.26)


def image(seed: int) -> Expression:
    """Smooth colors by the UV map."""
    return lambda tree: picture(tree, f"Waves {seed}", partial(waves, seed))


def channel(seed: int, name: str) -> Expression:
    """One channel of smooth colors."""
    return lambda tree: out(add(tree, "SeparateColor", {"Color": image(seed)}), name)


def between(low: float, high: float, scale: float, where: str = "Object") -> Expression:
    """A number that follows noise."""
    return lambda tree: lerp(tree, noise(tree, scale, where), low, high)


def colors(scale: float, first: tuple[float, float, float], second: tuple[float, float, float]) -> Expression:
    """A color that follows noise."""
    return lambda tree: ramp(tree, noise(tree, scale), (0.3, first), (0.7, second))


def bumps(scale: float, distance: float, detail: float = 0.0) -> Expression:
    """A normal from noise as heights."""

    def normal(tree: Tree) -> Any:
        heights = {"Height": noise(tree, scale, detail=detail), "Distance": distance, "Strength": 1.0}
        return out(add(tree, "Bump", heights), "Normal")

    return normal


def normal_image(tree: Tree) -> Any:
    """A normal from an image in tangent space."""
    mixed = mix(tree, 0.6, image(4), (0.5, 0.5, 1.0))
    return out(add(tree, "NormalMap", {"Color": mixed, "Strength": 0.8}), "Normal")


def flake(tree: Tree, output: str) -> Any:
    """Cells of random colors with soft borders, as flakes in paint have them."""
    node = add(tree, "TexVoronoi", feature="SMOOTH_F1")
    for identifier, value in (("Vector", coordinates(tree, "Object")), ("Scale", 2.5), ("Smoothness", 0.6)):
        give(tree, input_of(node, identifier), value)
    return out(node, output)


def flake_metallic(tree: Tree) -> Any:
    """Flakes are more or less metallic."""
    return lerp(tree, out(add(tree, "SeparateColor", {"Color": flake(tree, "Color")}), "Red"), 0.3, 0.9)


def weave(tree: Tree) -> Any:
    """0..1, as threads."""
    inputs = {"Vector": coordinates(tree, "UV"), "Scale": 2.0}
    return out(add(tree, "TexWave", inputs, bands_direction="DIAGONAL"), "Fac")


def slope(tree: Tree) -> Any:
    """How level the ground is: 0 steep, 1 flat."""
    normal = out(add(tree, "NewGeometry"), "Normal")
    return stretch(tree, out(add(tree, "SeparateXYZ", {"Vector": normal}), "Z"), 0.6, 0.98)


def picture_alpha(tree: Tree) -> Any:
    """The alpha of an image."""
    return picture(tree, "Leaf", disc, "Alpha")


def is_opaque(tree: Tree) -> Any:
    """1 where the image has a color; an image's colors are lost where its alpha is 0."""
    return math(tree, "GREATER_THAN", picture_alpha(tree), 0.2)


def generated(tree: Tree) -> Any:
    """A color by the place in the object's box."""
    return vector_math(tree, "MULTIPLY", coordinates(tree, "Generated"), (0.8, 0.7, 0.6))


def object_gradient(tree: Tree) -> Any:
    """0..1 by the object's own coordinates."""
    return out(add(tree, "TexGradient", {"Vector": coordinates(tree, "Object")}, gradient_type="SPHERICAL"), "Fac")


def world_height(tree: Tree) -> Any:
    """0..1 by the place in the world."""
    place = out(add(tree, "NewGeometry"), "Position")
    return stretch(tree, out(add(tree, "SeparateXYZ", {"Vector": place}), "Z"), -1.2, 1.6)


def painted(tree: Tree) -> Any:
    """The object's color attribute."""
    return out(add(tree, "VertexColor", layer_name="Paint"), "Color")


def worn(tree: Tree) -> Any:
    """The object's attribute "wear"."""
    return out(add(tree, "Attribute", attribute_type="GEOMETRY", attribute_name="wear"), "Fac")


def along(axis: str) -> Expression:
    """A tangent around an axis."""
    return lambda tree: out(add(tree, "Tangent", direction_type="RADIAL", axis=axis), "Tangent")


def driven(tree: Tree) -> Any:
    """A number that a driver takes from the scene."""
    node = add(tree, "Value")
    bpy.context.scene["wear"] = 0.35
    curve = node.outputs[0].driver_add("default_value").driver
    variable = curve.variables.new()
    variable.targets[0].id_type = "SCENE"
    variable.targets[0].id = bpy.context.scene
    variable.targets[0].data_path = '["wear"]'
    curve.type = "SUM"
    return out(node, "Value")


def muted(tree: Tree) -> Any:
    """Noise through a muted node and a reroute."""
    node = add(tree, "Invert", {"Color": noise(tree, 1.5)})
    node.mute = True
    bend = tree.nodes.new("NodeReroute")
    tree.links.new(out(node, "Color"), bend.inputs[0])
    return bend.outputs[0]


def height(tree: Tree) -> Any:
    """Gentle heights."""
    return math(tree, "MULTIPLY", noise(tree, 2.0), 0.12)


COAT, SHEEN, SUBSURFACE, TURNED = ("coat",), ("sheen",), ("subsurface",), ("anisotropic",)

SINGLE: dict[str, Look] = {
    "plain": Look(shapes.ball, (one_principled({"Base Color": image(1), "Roughness": 0.45}),)),
    "constants": Look(
        shapes.box,
        (one_principled({"Base Color": (0.1, 0.25, 0.5), "Roughness": 0.6, "Metallic": 0.25}, name="Flat"),),
    ),
    "slots": Look(
        shapes.three_sided_box,
        (
            one_principled({"Base Color": image(2), "Roughness": channel(3, "Green")}, name="First"),
            one_principled({"Base Color": (0.7, 0.05, 0.02), "Roughness": 0.3}, name="Second"),
            one_principled({"Metallic": between(0.0, 1.0, 1.5), "Roughness": between(0.2, 0.8, 2.0)}, name="Third"),
        ),
    ),
    "procedural": Look(
        shapes.pillow,
        (
            one_principled(
                {
                    "Base Color": colors(2.0, OCHRE, MOSS),
                    "Roughness": between(0.3, 0.9, 1.7),
                    "Metallic": lambda tree: stretch(tree, noise(tree, 1.3), 0.3, 0.7),
                    "Normal": bumps(2.0, 0.15),
                }
            ),
        ),
    ),
    "normal_map": Look(shapes.ring, (one_principled({"Base Color": image(5), "Normal": normal_image}),)),
    "car_paint": Look(
        shapes.ball,
        (
            one_principled(
                {
                    "Base Color": lambda tree: mix(tree, 0.3, (0.4, 0.02, 0.03), flake(tree, "Color")),
                    "Metallic": flake_metallic,
                    "Roughness": 0.35,
                    "Coat Weight": 1.0,
                    "Coat Roughness": between(0.02, 0.2, 1.5),
                    "Coat Normal": bumps(1.5, 0.05),
                    "Coat Tint": (1.0, 0.9, 0.8),
                    "Coat IOR": 1.6,
                },
                {CORE: (*COAT, *COAT, *COAT), GLTF: (*COAT, *COAT)},
                name="Lacquer",
            ),
        ),
    ),
    "cloth": Look(
        shapes.sheet,
        (
            one_principled(
                {
                    "Base Color": lambda tree: mix(tree, weave(tree), (0.1, 0.02, 0.05), (0.3, 0.05, 0.1)),
                    "Roughness": 0.9,
                    "Sheen Weight": lambda tree: lerp(tree, weave(tree), 0.4, 1.0),
                    "Sheen Roughness": between(0.2, 0.5, 1.0),
                    "Sheen Tint": image(6),
                },
                {CORE: SHEEN},
                name="Velvet",
            ),
        ),
    ),
    "wax": Look(
        shapes.ring,
        (
            one_principled(
                {
                    "Base Color": colors(1.5, (0.8, 0.6, 0.35), (0.6, 0.4, 0.2)),
                    "Subsurface Weight": between(0.3, 1.0, 1.2),
                    "Subsurface Radius": (1.0, 0.4, 0.2),
                    "Subsurface Scale": between(0.02, 0.12, 1.0),
                },
                {CORE: SUBSURFACE, GLTF: SUBSURFACE},
                name="Wax",
            ),
        ),
    ),
    "screen": Look(
        shapes.sheet,
        (
            one_principled(
                {"Base Color": 0.02, "Roughness": 0.2, "Emission Color": image(8), "Emission Strength": 4.0},
                name="Screen",
            ),
        ),
    ),
    "leaf": Look(
        shapes.sheet,
        (
            one_principled(
                {"Base Color": lambda tree: picture(tree, "Leaf", disc), "Alpha": picture_alpha},
                where={"Base Color": is_opaque},
            ),
        ),
    ),
    "vertex_colors": Look(shapes.colored_ring, (one_principled({"Base Color": painted, "Roughness": worn}),)),
    "object_space": Look(
        shapes.turned_pillow,
        (
            one_principled(
                {
                    "Base Color": generated,
                    "Roughness": lambda tree: lerp(tree, object_gradient(tree), 0.3, 0.9),
                    "Metallic": world_height,
                }
            ),
        ),
    ),
    "skin": Look(
        shapes.pillow,
        (
            one_principled(
                {
                    "Base Color": lambda tree: mix(
                        tree,
                        stretch(tree, noise(tree, 3.0), 0.5, 0.75),
                        colors(1.2, (0.6, 0.3, 0.2), (0.5, 0.2, 0.15)),
                        (0.25, 0.1, 0.06),
                    ),
                    "Roughness": between(0.35, 0.65, 2.0),
                    "Specular IOR Level": between(0.2, 0.6, 1.6),
                    "Subsurface Weight": between(0.05, 0.4, 1.0),
                    "Subsurface Radius": (1.0, 0.3, 0.15),
                    "Coat Weight": lambda tree: stretch(tree, noise(tree, 1.4), 0.45, 0.75),
                    "Coat Roughness": 0.3,
                    "Normal": bumps(4.0, 0.03),
                },
                {CORE: ("specular", "coat", "subsurface"), GLTF: SUBSURFACE},
                name="Skin",
            ),
        ),
    ),
    "terrain": Look(
        shapes.hills,
        (
            one_principled(
                {
                    "Base Color": lambda tree: mix(tree, slope(tree), STONE, MOSS),
                    "Roughness": lambda tree: lerp(tree, slope(tree), 0.55, 0.95),
                }
            ),
        ),
    ),
    "displacement": Look(shapes.ball, (one_principled({"Base Color": image(9)}, displacement=height),)),
    "driver": Look(
        shapes.box, (one_principled({"Base Color": muted, "Roughness": driven, "Metallic": between(0.2, 0.8, 1.5)}),)
    ),
    "brushed": Look(
        shapes.can,
        (
            one_principled(
                {
                    "Base Color": (0.6, 0.55, 0.5),
                    "Metallic": 1.0,
                    "Roughness": 0.3,
                    "Anisotropic": between(0.5, 0.9, 1.0),
                    "Anisotropic Rotation": 0.1,
                },
                {CORE: TURNED},
                name="Brushed",
            ),
        ),
    ),
    "glass": Look(
        shapes.ball,
        (
            one_principled(
                {
                    "Base Color": (0.8, 0.95, 0.9),
                    "Roughness": between(0.0, 0.4, 1.5),
                    "IOR": between(1.3, 1.6, 1.0),
                    "Transmission Weight": between(0.5, 1.0, 1.2),
                    "Specular Tint": image(10),
                },
                {CORE: ("transmission", "IOR", "specular tint")},
                name="Glass",
            ),
        ),
    ),
    "soap": Look(
        shapes.ball,
        (
            one_principled(
                {
                    "Metallic": 1.0,
                    "Roughness": 0.15,
                    "Thin Film Thickness": between(200.0, 600.0, 1.0),
                    "Thin Film IOR": 1.4,
                },
                {CORE: ("thin film",), GLTF: ("thin film",)},
                name="Film",
            ),
        ),
    ),
}
