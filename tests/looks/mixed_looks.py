"""Looks of several closures, of groups, and of what changes with the view. Their truths are written by hand, flat."""

from __future__ import annotations

from typing import Any

import bpy
from looks import shapes
from looks.look import (
    COMPOSITE,
    CORE,
    EMISSION,
    EXACT,
    UNREADABLE,
    VIEW,
    Look,
    Surface,
    Truth,
    one_principled,
    truth,
)
from looks.nodes import (
    Given,
    add,
    disc,
    emission,
    finish,
    group,
    instance,
    lerp,
    math,
    mix,
    mix_shaders,
    noise,
    out,
    picture,
    principled,
    stretch,
    vector_math,
)
from looks.single_looks import TURNED, along, between, image

Tree = bpy.types.NodeTree
METAL: dict[str, Given] = {"Base Color": (0.6, 0.5, 0.35), "Metallic": 1.0, "Roughness": 0.25}
PAINT: dict[str, Given] = {"Base Color": (0.05, 0.2, 0.4), "Metallic": 0.0, "Roughness": 0.7}
FLOAT, COLOR, SHADER = "NodeSocketFloat", "NodeSocketColor", "NodeSocketShader"


def mask(tree: Tree) -> Any:
    """Spots: 0 and 1 with soft borders."""
    return stretch(tree, noise(tree, 1.6), 0.45, 0.55)


def soft_mask(tree: Tree) -> Any:
    """Everything between 0 and 1."""
    return stretch(tree, noise(tree, 1.2), 0.2, 0.8)


def is_pure(tree: Tree) -> Any:
    """1 where the mask is 0 or 1."""
    off_center = math(tree, "ABSOLUTE", math(tree, "SUBTRACT", mask(tree), 0.5))
    return math(tree, "GREATER_THAN", off_center, 0.4999)


def between_sides(name: str) -> Truth:
    """What an input has where only one side of the worn paint shows."""
    return Truth(lambda tree: mix(tree, mask(tree), PAINT[name], METAL[name]), is_pure)


def paint_worn(tree: Tree) -> None:
    """Paint, and metal where it is worn off."""
    sides = principled(tree, {"IOR": 1.5, **PAINT}, "Paint"), principled(tree, {"IOR": 1.5, **METAL}, "Metal")
    finish(tree, mix_shaders(tree, mask, *sides))


def paint_fresnel(tree: Tree) -> None:
    """Diffuse below, a reflection above, by Fresnel."""
    glossy = "BsdfAnisotropic" if hasattr(bpy.types, "ShaderNodeBsdfAnisotropic") else "BsdfGlossy"
    below = out(add(tree, "BsdfDiffuse", {"Color": image(11)}, "Diffuse BSDF"), "BSDF")
    above = out(add(tree, glossy, {"Color": 1.0, "Roughness": 0.2}, "Glossy BSDF"), "BSDF")
    weight = out(add(tree, "Fresnel", {"IOR": 1.45}, "Fresnel"), "Fac")
    finish(tree, mix_shaders(tree, weight, below, above))


def paint_facing(tree: Tree) -> None:
    """A color that changes with the angle of view: the first one straight ahead."""
    facing = out(add(tree, "LayerWeight", {"Blend": 0.5}, "Layer Weight"), "Facing")
    color = mix(tree, facing, image(12), (0.9, 0.1, 0.6))
    finish(tree, principled(tree, {"IOR": 1.5, "Base Color": color, "Roughness": 0.5}, "Shot Silk"))


def cut_out(tree: Tree) -> Any:
    """The shape of a sticker."""
    return picture(tree, "Sticker", disc, "Alpha")


def is_there(tree: Tree) -> Any:
    """1 where the sticker shows: elsewhere its color does not matter."""
    return math(tree, "GREATER_THAN", cut_out(tree), 0.05)


def paint_decal(tree: Tree) -> None:
    """A sticker: transparent around it."""
    clear = out(add(tree, "BsdfTransparent", {"Color": 1.0}), "BSDF")
    sticker = principled(tree, {"IOR": 1.5, "Base Color": image(13), "Roughness": 0.35}, "Sticker")
    finish(tree, mix_shaders(tree, cut_out, clear, sticker))


def paint_added(tree: Tree) -> None:
    """A Principled BSDF, and light added to it."""
    body = principled(tree, {"IOR": 1.5, "Base Color": image(14), "Roughness": 0.4}, "Body")
    node = add(tree, "AddShader")
    tree.links.new(body, node.inputs[0])
    tree.links.new(emission(tree, lines, 3.0, "Glow"), node.inputs[1])
    finish(tree, out(node, "Shader"))


def lines(tree: Tree) -> Any:
    """Where light comes out."""
    return mix(tree, stretch(tree, noise(tree, 2.0), 0.5, 0.65), 0.0, (1.0, 0.4, 0.1))


def paint_two_colors(tree: Tree) -> None:
    """Two shaders that differ only in color, by a mask."""
    sides = [
        principled(tree, {"IOR": 1.5, "Base Color": color, "Roughness": 0.45}, name)
        for color, name in ((image(15), "Red Side"), ((0.1, 0.3, 0.05), "Green Side"))
    ]
    finish(tree, mix_shaders(tree, soft_mask, *sides))


# Groups, one in the other -------------------------------------------------------------------------------------------


def tinted(tree: Tree, start: Any, end: Any) -> None:
    """A color and its roughness, from a tint and a scale. A muted node and a reroute are on the way."""
    spots = noise(tree, 1.0)
    tree.links.new(start.outputs["Scale"], spots.node.inputs["Scale"])
    gamma = add(tree, "Gamma", {"Color": start.outputs["Tint"], "Gamma": 3.0})
    gamma.mute = True
    bend = tree.nodes.new("NodeReroute")
    tree.links.new(out(gamma, "Color"), bend.inputs[0])
    tree.links.new(mix(tree, spots, bend.outputs[0], 0.1), end.inputs["Color"])
    tree.links.new(lerp(tree, spots, 0.2, 0.9), end.inputs["Roughness"])


def layered(tree: Tree, start: Any, end: Any) -> None:
    """A shader of two colors; the group above is in it twice, with other inputs."""
    inner = group("Tinted", {"Tint": COLOR, "Scale": FLOAT}, {"Color": COLOR, "Roughness": FLOAT}, tinted)
    first = instance(tree, inner, {"Tint": start.outputs["Tint"], "Scale": 1.0}, "First")
    second = instance(tree, inner, {"Tint": (0.7, 0.6, 0.1), "Scale": 2.0}, "Second")
    color = mix(tree, start.outputs["Share"], first.outputs["Color"], second.outputs["Color"])
    body = {"IOR": 1.5, "Base Color": color, "Roughness": second.outputs["Roughness"]}
    tree.links.new(principled(tree, body, "Inner Shader"), end.inputs["Shader"])


def paint_nested(tree: Tree) -> None:
    """The groups above."""
    outer = group("Layered", {"Tint": COLOR, "Share": FLOAT}, {"Shader": SHADER}, layered)
    node = instance(tree, outer, {"Tint": image(16), "Share": soft_mask}, "Layers")
    finish(tree, node.outputs["Shader"])


def nested_color(tree: Tree) -> Any:
    """What the groups make the base color."""
    first = mix(tree, noise(tree, 1.0), image(16)(tree), 0.1)
    second = mix(tree, noise(tree, 2.0), (0.7, 0.6, 0.1), 0.1)
    return mix(tree, soft_mask, first, second)


def rusty(tree: Tree, start: Any, end: Any) -> None:
    """Rust over metal, by spots of two sizes; the share of rust is an input."""
    spots = math(tree, "MULTIPLY", noise(tree, 4.0), math(tree, "ADD", start.outputs["Share"], 0.8))
    color = mix(tree, noise(tree, 3.0), (0.12, 0.03, 0.01), (0.4, 0.16, 0.05))
    rust = principled(tree, {"IOR": 1.5, "Base Color": color, "Roughness": 0.9}, "Rust")
    steel = principled(tree, {"IOR": 1.5, "Base Color": (0.5, 0.5, 0.52), "Metallic": 1.0, "Roughness": 0.35}, "Steel")
    tree.links.new(mix_shaders(tree, stretch(tree, spots, 0.5, 0.9), steel, rust), end.inputs["Shader"])


def paint_rust(tree: Tree) -> None:
    """Paint that peels off rusted metal: mixes in a group, mixed again."""
    below = instance(tree, group("Rusty", {"Share": FLOAT}, {"Shader": SHADER}, rusty), {"Share": soft_mask}, "Below")
    paint = principled(tree, {"IOR": 1.5, "Base Color": image(17), "Roughness": 0.3}, "Old Paint")
    peeled = stretch(tree, noise(tree, 2.5), 0.4, 0.6)
    finish(tree, mix_shaders(tree, peeled, paint, below.outputs["Shader"]))


def paint_toon(tree: Tree) -> None:
    """A closure that the Principled BSDF has no counterpart for."""
    finish(tree, out(add(tree, "BsdfToon", {"Color": (0.8, 0.2, 0.1)}, "Toon BSDF"), "BSDF"))


SPUN = one_principled(
    {"Metallic": 1.0, "Roughness": 0.3, "Anisotropic": 0.8, "Tangent": along("X")},
    {CORE: TURNED},
    name="Spun",
)
SMOOTH = {"Base Color", "Metallic", "Roughness"}

MIXED: dict[str, Look] = {
    "worn_paint": Look(
        shapes.pillow,
        (
            Surface(
                paint_worn,
                {name: between_sides(name) for name in sorted(SMOOTH)},
                COMPOSITE,
                ("Metal", "Paint"),
            ),
        ),
    ),
    "fresnel_mix": Look(shapes.ball, (Surface(paint_fresnel, {}, VIEW, ("Fresnel",)),)),
    "shot_silk": Look(
        shapes.ball,
        (Surface(paint_facing, {"Base Color": truth(image(12)), "Roughness": truth(0.5)}, VIEW, ("Layer Weight",)),),
    ),
    "decal": Look(
        shapes.sheet,
        (
            Surface(
                paint_decal,
                {"Base Color": Truth(image(13), is_there), "Roughness": truth(0.35), "Alpha": truth(cut_out)},
                EXACT,
                ("Sticker",),
            ),
        ),
    ),
    "glow_added": Look(
        shapes.pillow,
        (
            Surface(
                paint_added,
                {
                    "Base Color": truth(image(14)),
                    "Roughness": truth(0.4),
                    EMISSION: truth(lambda tree: vector_math(tree, "MULTIPLY", lines(tree), 3.0)),
                },
                EXACT,
                ("Body",),
            ),
        ),
    ),
    "two_colors": Look(
        shapes.ring,
        (
            Surface(
                paint_two_colors,
                {
                    "Base Color": truth(lambda tree: mix(tree, soft_mask, image(15), (0.1, 0.3, 0.05))),
                    "Roughness": truth(0.45),
                },
                EXACT,
                ("Red Side", "Green Side"),
            ),
        ),
    ),
    "nested_groups": Look(
        shapes.pillow,
        (
            Surface(
                paint_nested,
                {"Base Color": truth(nested_color), "Roughness": truth(between(0.2, 0.9, 2.0))},
                EXACT,
                ("Inner Shader",),
            ),
        ),
    ),
    "rust": Look(shapes.ring, (Surface(paint_rust, {}, COMPOSITE, ("Old Paint", "Rust", "Steel")),)),
    "spun": Look(shapes.can, (SPUN,)),
    "toon": Look(shapes.ball, (Surface(paint_toon, {}, UNREADABLE, ("Toon BSDF",)),)),
}
