"""One scene for each shader node; those that read the scene or the object have one for each of their kinds."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import bpy
from scenes.objects import Builder, small_sphere
from scenes.parts import grid_pixels, image_of, nodes_of

Setup = Callable[[bpy.types.Node], None]
NOT_IN_A_MATERIAL = (
    "CustomGroup",
    "Group",
    "Tree",
    "Output",
    "UVAlongStroke",
    "TexPointDensity",
    "CombineRGB",
    "SeparateRGB",
)
OLD = ("CombineHSV", "SeparateHSV", "Squeeze")


def plain(_node: bpy.types.Node) -> None:
    """As Blender adds it."""


def image(node: bpy.types.Node) -> None:
    """With a packed image."""
    node.image = image_of(grid_pixels())


def attribute(kind: str, name: str) -> Setup:
    """An attribute of this type and name."""

    def setup(node: bpy.types.Node) -> None:
        node.attribute_type, node.attribute_name = kind, name
        scene = bpy.context.scene
        scene["tint"] = [0.2, 0.4, 0.6]
        bpy.context.object["tint"] = [0.6, 0.4, 0.2]

    return setup


def named(**properties: object) -> Setup:
    """With properties of the node."""

    def setup(node: bpy.types.Node) -> None:
        for name, value in properties.items():
            setattr(node, name, value)

    return setup


def other_object(node: bpy.types.Node) -> None:
    """Relative to an empty."""
    node.object = bpy.data.objects.new("Anchor", None)
    bpy.context.scene.collection.objects.link(node.object)
    node.object.location = (0.5, 0.0, 0.0)


SETUPS: dict[str, Setup] = {"TexImage": image, "TexEnvironment": image}

FURTHER: dict[str, tuple[str, Setup]] = {
    "attribute of the geometry": ("Attribute", attribute("GEOMETRY", "UVMap")),
    "attribute of the object": ("Attribute", attribute("OBJECT", "tint")),
    "attribute of the instancer": ("Attribute", attribute("INSTANCER", "tint")),
    "attribute of the view layer": ("Attribute", attribute("VIEW_LAYER", "tint")),
    "attribute of the render": ("Attribute", attribute("VIEW_LAYER", "render.fps")),
    "attribute that is not there": ("Attribute", attribute("GEOMETRY", "gone")),
    "coordinates of another object": ("TexCoord", other_object),
    "UV map by name": ("UVMap", named(uv_map="UVMap")),
    "UV map of the instancer": ("UVMap", named(from_instancer=True)),
    "color that is not there": ("VertexColor", named(layer_name="gone")),
    "tangent of the UV map": ("Tangent", named(direction_type="UV_MAP", uv_map="UVMap")),
    "image without a file": ("TexImage", plain),
    "script": ("Script", named(mode="INTERNAL")),
    "AOV": ("OutputAOV", named(aov_name="Mask")),
}


def shaded(kind: str, setup: Setup) -> bpy.types.Object:
    """A sphere whose material has the node; all of its outputs reach the shader, mixed, or the material's output."""
    thing = small_sphere()
    tree = nodes_of(thing.active_material)
    node = tree.nodes.new(f"ShaderNode{kind}")
    setup(node)
    shader, output = tree.nodes["Principled BSDF"], tree.nodes["Material Output"]
    mixed = None
    for socket in node.outputs:
        if socket.type == "SHADER":
            tree.links.new(socket, output.inputs["Volume" if "Volume" in kind else "Surface"])
            return thing
        mix = tree.nodes.new("ShaderNodeMixRGB")
        mix.blend_type = "ADD"
        if mixed is not None:
            tree.links.new(mixed, mix.inputs[1])
        tree.links.new(socket, mix.inputs[2])
        mixed = mix.outputs[0]
    if mixed is not None:
        tree.links.new(mixed, shader.inputs["Base Color"])
    return thing


def one_output(kind: str, index: int) -> bpy.types.Object:
    """A sphere whose base color is one output of the node."""
    thing = small_sphere()
    tree = nodes_of(thing.active_material)
    node = tree.nodes.new(f"ShaderNode{kind}")
    if index < len(node.outputs):  # newer Blenders have more outputs
        tree.links.new(node.outputs[index], tree.nodes["Principled BSDF"].inputs["Base Color"])
    return thing


def every_kind() -> list[str]:
    """The nodes that a material of this Blender can have, without "ShaderNode"."""
    kinds = [name.removeprefix("ShaderNode") for name in dir(bpy.types) if name.startswith("ShaderNode")]
    return [kind for kind in kinds if kind and not kind.startswith(NOT_IN_A_MATERIAL) and kind not in OLD]


SHADER_NODES: dict[str, Builder] = {
    **{f"shader node {kind}": partial(shaded, kind, SETUPS.get(kind, plain)) for kind in every_kind()},
    **{f"shader node {name}": partial(shaded, kind, setup) for name, (kind, setup) in FURTHER.items()},
    **{f"coordinates, output {index}": partial(one_output, "TexCoord", index) for index in range(7)},
    **{f"geometry, output {index}": partial(one_output, "NewGeometry", index) for index in range(9)},
}
