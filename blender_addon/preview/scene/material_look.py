# SPDX-License-Identifier: GPL-3.0-or-later
"""What the preview can show of a node material: values and images of its Principled BSDF, exactly if that is possible."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import bpy

from ...common.color_spaces import Meaning, is_rec709, meaning_of, rec709_color, scene_linear_space
from ...common.gltf_output import OCCLUSION as OCCLUSION_INPUT
from ...common.gltf_output import OPENNESS_NODE
from ...common.node_trees import has_plain_mapping, linked_from, output_node, tree_of
from ...export.uv_layout import FIRST_TILE
from .images import SCENE_LINEAR, STILLS, encoding_of, has_file, has_pixels, image_key
from .scene import NEUTRAL, Look, Texture

OTHER_TILES = "Of images with UDIM tiles, only the backend shows other tiles than the first."
CHANNELS = {"Red": 0, "Green": 1, "Blue": 2}
# Inputs of Principled BSDF that the preview does not show if they are not 0, and their labels.
UNSHOWN = {
    "Subsurface Weight": "Subsurface",
    "Transmission Weight": "Transmission",
    "Anisotropic": "Anisotropic",
}
# Inputs of its coat that the preview shows as if they were these, and their labels.
COAT_IS = {"Coat IOR": (1.5, "The IOR of the coat"), "Coat Tint": ((1.0, 1.0, 1.0), "The tint of the coat")}
BLACK, WHITE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class MaterialLook:
    """A look and what it needs. uv_map: the UV map that reads its textures; display: the material's viewport display; tiled:
    whether it reads images with UDIM tiles; notes: how it differs from renders, sentences; unread: those of them that a bake
    of the material would make untrue."""

    look: Look
    uv_map: str
    display: Look = NEUTRAL
    tiled: bool = False
    notes: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


class NotShown(Exception):
    """An input gets something else than a value or an image read through a UV map; the message says what."""


@dataclass(frozen=True)
class Source:
    """An image that feeds an input: all of it (channel None) or one channel, read through a UV map."""

    image: bpy.types.Image
    channel: int | None
    uv_map: str


def read_look(material: bpy.types.Material | None, default_uv_map: str) -> MaterialLook:
    """What the preview can show of a material; changes nothing.

    default_uv_map: the UV map that renders use if the nodes name none.
    Values and Image Textures (also through Separate Color, Normal Map, UV Map) at a Principled BSDF are exact. For any other
    input, the nearest image that it gets is shown, or else the material's viewport display, with a note: `baked_looks` has
    what it looks like.
    """
    if material is None:
        return MaterialLook(NEUTRAL, default_uv_map)
    display = Look(rec709_color(material.diffuse_color), 1.0, float(material.roughness), float(material.metallic))
    tree = tree_of(material)
    if tree is None:
        return MaterialLook(display, default_uv_map)
    output = output_node(tree, "ShaderNodeOutputMaterial")
    surface = linked_from(output.inputs["Surface"]) if output is not None else None
    if surface is None or surface[0].bl_idname != "ShaderNodeBsdfPrincipled" or surface[0].mute:
        note = f'"{material.name}" is not a Principled BSDF alone, so its viewport display color is shown.'
        return MaterialLook(display, default_uv_map, display, notes=(note,), unread=(note,))
    return LookReader(material.name, display, default_uv_map).read(tree, surface[0])


def tile_look(found: MaterialLook, tile: int) -> tuple[Look, Look | None, tuple[str, ...]]:
    """The look for faces in a UDIM tile: for Blender's GPU, for the backend if that can show more (else None), and notes.

    Blender gives access to the pixels of the first tile only; for the others the GPU shows the viewport display.
    """
    if not found.tiled:
        return found.look, None, found.notes
    images = {image.session_uid: image for image in bpy.data.images}
    names = [item.name for item in fields(Look)]
    there: dict[str, Any] = {}
    elsewhere: dict[str, Any] = {}
    for name in names:
        texture = getattr(found.look, name)
        if isinstance(texture, Texture) and texture.tile:
            own = replace(texture, tile=tile, key=f"{texture.key}.{tile}")
            there[name] = own if has_file(images[texture.image_uid], tile) else getattr(found.display, name)
            elsewhere[name] = texture if tile == FIRST_TILE else getattr(found.display, name)
    shown, told = replace(found.look, **elsewhere), replace(found.look, **there)
    if tile == FIRST_TILE:
        return shown, told, found.notes
    return shown, told, (*found.notes, OTHER_TILES)


Value = TypeVar("Value")
Other = TypeVar("Other")


class LookReader:
    """Reads one Principled BSDF."""

    def __init__(self, name: str, display: Look, default_uv_map: str) -> None:
        self._name = name
        self._display = display
        self._default_uv_map = default_uv_map
        self._uv_map: str | None = None
        self._tiled = False
        self._notes: list[str] = []
        self._unread: list[str] = []

    def read(self, tree: bpy.types.NodeTree, shader: bpy.types.Node) -> MaterialLook:
        """The look of a shader node, with the ambient occlusion that the tree holds beside it."""
        inputs = shader.inputs
        base_color = self._near(inputs["Base Color"], self._display.kd)
        roughness = self._near(inputs["Roughness"], self._display.roughness)
        look = Look(
            kd=self._read("Base Color", lambda: self._color(inputs["Base Color"]), base_color),
            alpha=self._read("Alpha", lambda: self._number(inputs["Alpha"]), self._display.alpha),
            roughness=self._read("Roughness", lambda: self._number(inputs["Roughness"]), roughness),
            metallic=self._read("Metallic", lambda: self._number(inputs["Metallic"]), self._display.metallic),
            openness=self._read("ambient occlusion", lambda: self._openness(tree), 1.0),
            normal=self._read("Normal", lambda: self._normal(inputs["Normal"]), None),
            **self._coat(inputs),
            **self._sheen(inputs),
            **self._emission(inputs),
        )
        for socket, label in UNSHOWN.items():
            if socket in inputs and (inputs[socket].is_linked or inputs[socket].default_value != 0.0):
                self._notes.append(f'{label} of "{self._name}" is not shown.')
        uv_map = self._uv_map or self._default_uv_map
        return MaterialLook(look, uv_map, self._display, self._tiled, tuple(self._notes), tuple(self._unread))

    def _coat(self, inputs: bpy.types.bpy_prop_collection) -> dict[str, Any]:
        weight = self._read("Coat", lambda: self._number(inputs["Coat Weight"]), 0.0)
        if weight == 0.0:
            return {}
        for socket, (shown, label) in COAT_IS.items():
            if inputs[socket].is_linked or plain(inputs[socket].default_value) != shown:
                self._notes.append(f'{label} of "{self._name}" is not shown.')
        if inputs["Coat Normal"].is_linked:
            self._notes.append(f'The normal of the coat of "{self._name}" is not shown.')
        roughness = self._read("Coat Roughness", lambda: self._number(inputs["Coat Roughness"]), 0.0)
        return {"coat": weight, "coat_roughness": roughness}

    def _sheen(self, inputs: bpy.types.bpy_prop_collection) -> dict[str, Any]:
        weight = self._read("Sheen", lambda: self._number(inputs["Sheen Weight"]), 0.0)
        if weight == 0.0:
            return {}
        tint = self._read("Sheen Tint", lambda: self._color(inputs["Sheen Tint"]), WHITE)
        roughness = self._read("Sheen Roughness", lambda: self._number(inputs["Sheen Roughness"]), 0.5)
        return {"sheen": weight, "sheen_tint": tint, "sheen_roughness": roughness}

    def _emission(self, inputs: bpy.types.bpy_prop_collection) -> dict[str, Any]:
        strength, color = inputs["Emission Strength"], inputs["Emission Color"]
        if not emits(inputs) or (not strength.is_linked and strength.default_value == 0.0):
            return {}
        found = self._read("Emission", lambda: (self._color(color), self._number(strength)), (BLACK, 1.0))
        return {"emission": found[0], "emission_strength": found[1]}

    def _read(self, name: str, read: Callable[[], Value], otherwise: Other) -> Value | Other:
        try:
            return read()
        except NotShown as reason:
            note = f'{name} of "{self._name}" is not shown as rendered: {reason}.'
            self._notes.append(note)
            self._unread.append(note)
            return otherwise

    def _near(self, socket: bpy.types.NodeSocket, otherwise: Other) -> Texture | Other:
        """What to show of an input that cannot be read: the nearest image that it gets, as if no node changed it."""
        source = nearest_image(socket, self._default_uv_map)
        if source is None:
            return otherwise
        try:
            return self._texture(source, is_color=source.channel is None)
        except NotShown:
            return otherwise

    def _color(self, socket: bpy.types.NodeSocket) -> Texture | tuple[float, float, float]:
        value = traced(socket, self._default_uv_map)
        if not isinstance(value, Source):
            return rec709_color(value) if isinstance(value, tuple) else (value, value, value)
        if value.channel is not None:
            raise NotShown("it reads one channel of an image")
        return self._texture(value, is_color=True)

    def _number(self, socket: bpy.types.NodeSocket) -> Texture | float:
        value = traced(socket, self._default_uv_map)
        if isinstance(value, tuple):
            return luminance(rec709_color(value))
        if not isinstance(value, Source):
            return value
        if value.channel in CHANNELS.values() and not is_rec709() and meaning_of(value.image) != Meaning.SCENE_LINEAR:
            raise NotShown(f'a channel of "{value.image.name}" is a mixture of them in this color management')
        # An image that holds numbers is gray: every channel has the same.
        return self._texture(replace(value, channel=1) if value.channel is None else value)

    def _openness(self, tree: bpy.types.NodeTree) -> Texture | float:
        for node in tree.nodes:
            if node.bl_idname == "ShaderNodeGroup" and OCCLUSION_INPUT in node.inputs:
                socket = node.inputs[OCCLUSION_INPUT]
                if not socket.is_linked:
                    return 1.0  # the input's value is not ambient occlusion, but a strength that other tools use
                value = self._number(socket)
                return replace(value, channel=0) if isinstance(value, Texture) and value.channel == 1 else value
        node = tree.nodes.get(OPENNESS_NODE)
        if node is None or node.bl_idname != "ShaderNodeSeparateColor":
            return 1.0
        source = traced(node.inputs["Color"], self._default_uv_map)
        return self._texture(replace(source, channel=0)) if isinstance(source, Source) else 1.0

    def _normal(self, socket: bpy.types.NodeSocket) -> Texture | None:
        source = linked_from(socket)
        if source is None:
            return None
        node = source[0]
        if node.bl_idname != "ShaderNodeNormalMap" or node.mute or node.space != "TANGENT":
            raise NotShown(f"by the node {node.name}")
        if getattr(node, "convention", "OPENGL") != "OPENGL":
            raise NotShown("its convention is not OpenGL's")
        if node.inputs["Strength"].is_linked or node.inputs["Strength"].default_value != 1.0:
            raise NotShown("the strength of its Normal Map is not 1")
        value = traced(node.inputs["Color"], self._default_uv_map)
        if not isinstance(value, Source):
            return None
        if value.channel is not None:
            raise NotShown("it reads one channel of an image")
        if (node.uv_map or self._default_uv_map) != value.uv_map:
            raise NotShown("Normal Map and image use different UV maps")
        return self._texture(value)

    def _texture(self, source: Source, is_color: bool = False) -> Texture:
        image = source.image
        encoding = encoding_of(image, is_color)
        if image.source not in STILLS and image.source != "TILED":
            raise NotShown(f'"{image.name}" is not a still image')
        if not has_pixels(image):
            raise NotShown(f'"{image.name}" has no pixels')
        if encoding is None or (encoding == SCENE_LINEAR and image.source == "TILED"):
            raise NotShown(f'the color space of "{image.name}" is {image.colorspace_settings.name}')
        if self._uv_map not in (None, source.uv_map):
            raise NotShown("it uses another UV map than the rest of the material")
        self._uv_map = source.uv_map
        self._tiled = self._tiled or image.source == "TILED"
        tile = FIRST_TILE if image.source == "TILED" else 0
        key = image_key(image)
        if encoding == SCENE_LINEAR:
            key = f"{key}/{scene_linear_space()}"  # others that read the image get its pixels as they are
        return Texture(key, image.session_uid, None, source.channel, encoding, tile)


def emits(inputs: bpy.types.bpy_prop_collection) -> bool:
    """Whether a Principled BSDF emits light."""
    color = inputs["Emission Color"]
    return bool(color.is_linked) or any(value > 0.0 for value in color.default_value[:3])


def luminance(color: tuple[float, float, float]) -> float:
    """A linear Rec.709 color as a number, converted as Blender does it."""
    return 0.2126 * color[0] + 0.7152 * color[1] + 0.0722 * color[2]


def traced(socket: bpy.types.NodeSocket, default_uv_map: str) -> Source | tuple[float, float, float] | float:
    """What an input gets: an image, a color or a number. Raises NotShown for anything else."""
    found = linked_from(socket)
    if found is None:
        return plain(socket.default_value)
    node, output = found
    kind = node.bl_idname
    if node.mute:
        raise NotShown(f"the node {node.name} is muted")
    if kind in {"ShaderNodeRGB", "ShaderNodeValue"}:
        return plain(output.default_value)
    if kind == "ShaderNodeSeparateColor" and node.mode == "RGB":
        value = traced(node.inputs["Color"], default_uv_map)
        channel = CHANNELS[output.identifier]
        if isinstance(value, Source):
            if value.channel is not None:
                return value
            return replace(value, channel=channel)
        return value[channel] if isinstance(value, tuple) else value
    if kind == "ShaderNodeTexImage" and node.image is not None:
        if node.projection != "FLAT" or not has_plain_mapping(node):
            raise NotShown(f"the node {node.name} maps its image in its own way")
        return Source(node.image, 3 if output.identifier == "Alpha" else None, uv_map_of(node, default_uv_map))
    raise NotShown(f"by the node {node.name}")


def nearest_image(socket: bpy.types.NodeSocket, default_uv_map: str) -> Source | None:
    """The image that reaches an input over the fewest nodes and is read through a UV map; None if there is none."""
    is_color = socket.type == "RGBA"
    waiting, seen = [socket], set()
    for entry in waiting:  # which grows
        found = linked_from(entry)
        if found is None or found[0] in seen:
            continue
        node = found[0]
        seen.add(node)
        if node.bl_idname == "ShaderNodeTexImage" and node.image is not None:
            try:
                return Source(node.image, None if is_color else 1, uv_map_of(node, default_uv_map))
            except NotShown:
                continue
        waiting += list(node.inputs)
    return None


def plain(value: Any) -> tuple[float, float, float] | float:
    """A socket's value as a color or a number."""
    if not hasattr(value, "__len__"):
        return float(value)
    red, green, blue = value[:3]
    return float(red), float(green), float(blue)


def uv_map_of(texture: bpy.types.Node, default_uv_map: str) -> str:
    """The UV map that an Image Texture reads. Raises NotShown if its coordinates are something else."""
    found = linked_from(texture.inputs["Vector"])
    if found is not None and found[0].bl_idname == "ShaderNodeMapping" and changes_nothing(found[0]):
        found = linked_from(found[0].inputs["Vector"])
        if found is None:
            raise NotShown(f"the coordinates of {texture.name} are one point")
    if found is None:
        return default_uv_map
    node, output = found
    if node.bl_idname == "ShaderNodeUVMap" and not node.from_instancer:
        return str(node.uv_map) or default_uv_map
    if node.bl_idname == "ShaderNodeTexCoord" and output.identifier == "UV" and not node.from_instancer:
        return default_uv_map
    raise NotShown(f"the coordinates of {texture.name} come from {node.name}")


def changes_nothing(mapping: bpy.types.Node) -> bool:
    """Whether a Mapping node leaves the coordinates as they are."""
    if any(entry.is_linked for entry in mapping.inputs if entry.name != "Vector"):
        return False
    values = {entry.name: tuple(entry.default_value) for entry in mapping.inputs if entry.name != "Vector"}
    nowhere = (0.0, 0.0, 0.0)
    return (
        values.get("Location", nowhere) == nowhere
        and values.get("Rotation", nowhere) == nowhere
        and values.get("Scale") == (1.0, 1.0, 1.0)
        and mapping.vector_type != "NORMAL"
    )
