# SPDX-License-Identifier: GPL-3.0-or-later
"""What a fitted material says of each property that maps can hold: a number, or a part of one of its images."""

from __future__ import annotations

from dataclasses import dataclass

import bpy

from ..common.color_spaces import rec709_color
from ..common.errors import PbrFitError
from ..common.geometry_output import SCALES, geometry_socket
from ..common.gltf_output import OPENNESS_NODE, occlusion_socket
from ..common.node_trees import linked_from, output_node, tree_of
from ..protocol.map_layouts import COLOR, GEOMETRY, NORMAL, OCCLUSION, SIGNALS, Signal

WHOLE = "color"
CHANNELS = ("red", "green", "blue", "alpha")


@dataclass(frozen=True)
class ImagePart:
    """Where a property is in an image: in red, green and blue together (WHOLE), or in one of CHANNELS."""

    image: bpy.types.Image
    part: str


Said = ImagePart | tuple[float, ...]
"""A part of an image; or numbers, one for a NUMBER and else three; a color is linear Rec.709."""


def signals_of(material: bpy.types.Material) -> dict[str, Said]:
    """What a material says of each of SIGNALS. Raises PbrFitError if something else than its maps reaches an input."""
    tree = tree_of(material)
    output = output_node(tree, "ShaderNodeOutputMaterial") if tree is not None else None
    surface = linked_from(output.inputs["Surface"]) if output is not None else None
    if tree is None or surface is None or surface[0].bl_idname != "ShaderNodeBsdfPrincipled":
        raise unreadable(material, "is no longer a Principled BSDF alone")
    inputs = {socket.identifier: socket for socket in surface[0].inputs}
    found: dict[str, Said] = {}
    for name, signal in SIGNALS.items():
        socket = occlusion_socket(tree) if name == OCCLUSION else inputs.get(signal.input)
        if name in GEOMETRY:
            socket = geometry_socket(tree, signal.input)
            if socket is None or not socket.is_linked:
                found[name] = neutral(signal)
                continue
        if socket is None and name == OCCLUSION:
            found[name] = earlier_openness(tree) or neutral(signal)
            continue
        try:
            found[name] = neutral(signal) if socket is None else said_at(socket, signal)
        except LookupError as error:
            raise unreadable(material, f'has a node that is no map: "{error.args[0]}" at {signal.input}') from error
    strength = inputs["Emission Strength"]
    if not strength.is_linked and strength.default_value == 0.0:
        found["emission"] = (0.0, 0.0, 0.0)
    return found


def scales_of(material: bpy.types.Material) -> dict[str, tuple[float, ...]]:
    """What the ranges of a material's maps of its geometry stand for, in units of the scene: "height_scale" and so on."""
    tree = tree_of(material)
    found: dict[str, tuple[float, ...]] = {}
    for name in GEOMETRY if tree is not None else ():
        own, scale = (geometry_socket(tree, of) for of in (SIGNALS[name].input, SCALES[SIGNALS[name].input]))
        if own is not None and own.is_linked and scale is not None:
            found[f"{name}_scale"] = (float(scale.default_value),)
    return found


def earlier_openness(tree: bpy.types.NodeTree) -> ImagePart | None:
    """Where materials by earlier versions, which had no group for glTF, have openness."""
    split = tree.nodes.get(OPENNESS_NODE)
    link = linked_from(split.inputs[0]) if split is not None and split.bl_idname == "ShaderNodeSeparateColor" else None
    image = getattr(link[0], "image", None) if link is not None else None
    return None if image is None else ImagePart(image, CHANNELS[0])


def unreadable(material: bpy.types.Material, what: str) -> PbrFitError:
    """The error for a material that somebody has changed."""
    return PbrFitError(
        f'The material "{material.name}" {what}.', "Bake it with Bake Maps, or choose the layout As They Are."
    )


def neutral(signal: Signal) -> tuple[float, ...]:
    """What a material without this property says."""
    if signal.kind == NORMAL:
        return 0.5, 0.5, 1.0
    return (signal.neutral,) * (3 if signal.kind != "number" else 1)


def said_at(socket: bpy.types.NodeSocket, signal: Signal) -> Said:
    """What reaches an input. Raises LookupError with the name of a node that is no map."""
    link = linked_from(socket)
    if link is None:
        if signal.kind == NORMAL or signal.input == "Occlusion":
            return neutral(signal)
        value = socket.default_value
        if signal.kind == COLOR:
            return rec709_color(value)
        return tuple(float(part) for part in value[:3]) if hasattr(value, "__len__") else (float(value),)
    node, output = link
    if signal.kind == NORMAL:
        plain = node.bl_idname == "ShaderNodeNormalMap" and node.space == "TANGENT" and not node.mute
        plain = plain and node.inputs["Strength"].default_value == 1.0 and not node.inputs["Strength"].is_linked
        if not plain or getattr(node, "convention", "OPENGL") != "OPENGL":
            raise LookupError(node.name)
        link = linked_from(node.inputs["Color"])
        if link is None:
            return neutral(signal)
        node, output = link
    part = output.identifier.lower()
    if node.bl_idname == "ShaderNodeSeparateColor" and node.mode == "RGB" and not node.mute:
        source = linked_from(node.inputs["Color"])
        if source is None:
            raise LookupError(node.name)
        node = source[0]
        if source[1].identifier != "Color":
            raise LookupError(node.name)
    elif part == WHOLE and signal.kind == "number":
        part = CHANNELS[0]  # an image of numbers is gray
    if node.bl_idname != "ShaderNodeTexImage" or node.image is None or node.mute or node.projection != "FLAT":
        raise LookupError(node.name)
    if (part == WHOLE) == (signal.kind == "number"):
        raise LookupError(node.name)
    return ImagePart(node.image, part)
