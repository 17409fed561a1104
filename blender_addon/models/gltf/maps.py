# SPDX-License-Identifier: GPL-3.0-or-later
"""Maps that are computed from those of a new material, and the nodes that read them as Blender's glTF exporter expects."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
from numpy.typing import NDArray

from ...common.color import linear_from_srgb, srgb_from_linear
from ...common.color_spaces import Meaning, data_space, to_scene_linear
from ...common.names import file_stem
from ...common.resizing import resized
from ...protocol.map_layouts import COLOR, SIGNALS
from ...protocol.png import png
from ...saving.material_signals import CHANNELS, ImagePart, Said
from ...saving.pixels import Decoder

Array = NDArray[np.float32]
FULL_TURN = 6.283185307179586
BITS = {8: np.uint8, 16: np.uint16}


def values_of(said: Said, decode: Decoder) -> Array:
    """What a material says of a property, [h, w, 1 or 3] or [1, 1, 1 or 3]; a color is linear. Raises PbrFitError."""
    if not isinstance(said, ImagePart):
        return np.array(said, np.float32).reshape(1, 1, -1)
    found = decode(said.image, 0)
    if said.part in CHANNELS:
        place = min(CHANNELS.index(said.part), found.values.shape[-1] - 1)
        return found.values[..., place, None]
    color = found.values[..., :3]
    return linear_from_srgb(color) if found.meaning == Meaning.SRGB else color


def together(*values: Array) -> list[Array]:
    """Values in one size, that of the largest of them; those that are the same everywhere stay [1, 1, c]."""
    height, width = (max(item.shape[axis] for item in values) for axis in (0, 1))
    return [item if item.shape[:2] == (1, 1) else resized(item, width, height) for item in values]


class MapNodes:
    """Gives inputs of a new material's Principled BSDF other values: numbers, or new maps in a folder."""

    def __init__(self, material: bpy.types.Material, folder: Path) -> None:
        self._name, self._folder = material.name, folder
        self.tree = material.node_tree
        self.shader = next(node for node in self.tree.nodes if node.bl_idname == "ShaderNodeBsdfPrincipled")

    def put(self, signal: str, values: Array, bits: int = 8, part: str = "") -> None:
        """Let the input of a signal have values 0..1, as `values_of` gives them. part: "alpha" where glTF has a number there."""
        if values.shape[:2] == (1, 1):
            self.put_number(signal, values[0, 0].tolist())
            return
        socket = self.free(signal)
        color = SIGNALS[signal].kind == COLOR
        if color:
            values = np.concatenate([srgb_from_linear(values[..., :3]), values[..., 3:]], axis=-1)
        node = self.image_node(SIGNALS[signal].input, values if color else np.repeat(values, 4, axis=-1), color, bits)
        if color or part:
            self.tree.links.new(node.outputs["Alpha" if part == "alpha" else "Color"], socket)
        else:
            self.tree.links.new(self._split(node).outputs["Red"], socket)
        if color and values.shape[-1] == 4:
            self.tree.links.new(node.outputs["Alpha"], self.free("alpha"))

    def put_number(self, signal: str, values: list[float]) -> None:
        """Let the input of a signal have a number or a linear color, [1 or 3]."""
        socket = self.free(signal)
        if len(values) == 1:
            socket.default_value = values[0]
        else:
            socket.default_value[:3] = to_scene_linear(np.array(values[:3]))

    def multiply(self, signal: str, factor: float) -> None:
        """Multiply what reaches the input of a color, as the exporter takes it for the factor of a map."""
        socket = self.shader.inputs[SIGNALS[signal].input]
        if not socket.is_linked:
            socket.default_value[:3] = [factor * part for part in socket.default_value[:3]]
            return
        node = self.tree.nodes.new("ShaderNodeMix")
        node.data_type, node.blend_type = "RGBA", "MULTIPLY"
        node.inputs[0].default_value = 1.0
        node.inputs[7].default_value = (factor, factor, factor, 1.0)
        self.tree.links.new(socket.links[0].from_socket, node.inputs[6])
        self.tree.links.new(node.outputs[2], socket)

    def put_anisotropy(self, strength: Array, turns: Array, uv_map: str) -> None:
        """Let the anisotropy come from glTF's map of it: the direction from the tangent of a UV map in red and green, the
        strength in blue.

        The nodes are those of Blender's own importer, by which the exporter knows such a map. It takes every other map for a gray
        one, and makes a gray of all channels of ours.
        """
        strength, turns = together(strength, turns)
        angle = FULL_TURN * turns
        parts = np.broadcast_arrays(0.5 + 0.5 * np.cos(angle), 0.5 + 0.5 * np.sin(angle), strength)
        sockets = {name: self.free(name) for name in ("anisotropy", "anisotropy_rotation")}
        image = self.image_node("Anisotropy", np.concatenate(parts, axis=-1), False)
        tangent = self.tree.nodes.new("ShaderNodeTangent")
        tangent.direction_type, tangent.uv_map = "UV_MAP", uv_map
        direction = self._new("ShaderNodeVectorMath", "MULTIPLY_ADD")
        direction.inputs[1].default_value, direction.inputs[2].default_value = (2.0, 2.0, 1.0), (-1.0, -1.0, 0.0)
        split = self.tree.nodes.new("ShaderNodeSeparateXYZ")
        arc, added, divided, scaled = (
            self._new("ShaderNodeMath", operation) for operation in ("ARCTAN2", "ADD", "DIVIDE", "MULTIPLY")
        )
        added.inputs[1].default_value, divided.inputs[1].default_value = 0.0, FULL_TURN
        scaled.inputs[1].default_value = 1.0
        for source, target in (
            (tangent.outputs[0], self.shader.inputs["Tangent"]),
            (image.outputs["Color"], direction.inputs[0]),
            (direction.outputs[0], split.inputs[0]),
            (split.outputs["Y"], arc.inputs[0]),
            (split.outputs["X"], arc.inputs[1]),
            (arc.outputs[0], added.inputs[0]),
            (added.outputs[0], divided.inputs[0]),
            (divided.outputs[0], sockets["anisotropy_rotation"]),
            (split.outputs["Z"], scaled.inputs[0]),
            (scaled.outputs[0], sockets["anisotropy"]),
        ):
            self.tree.links.new(source, target)

    def free(self, signal: str) -> bpy.types.NodeSocket:
        """The input of a signal, to which nothing is connected any more."""
        socket = next(item for item in self.shader.inputs if item.identifier == SIGNALS[signal].input)
        for link in socket.links:
            self.tree.links.remove(link)
        return socket

    def image_node(self, name: str, values: Array, color: bool, bits: int = 8) -> bpy.types.Node:
        """A node with a new image of values 0..1, [h, w, 3 or 4], as they are stored; read through the material's UV map."""
        largest = 2**bits - 1
        path = self._folder / str(self.tree.session_uid) / f"{file_stem(self._name)}_{file_stem(name)}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(png(np.rint(largest * np.clip(values, 0.0, 1.0)).astype(BITS[bits]), color))
        node = self.tree.nodes.new("ShaderNodeTexImage")
        node.image = bpy.data.images.load(str(path))
        node.image.alpha_mode = "CHANNEL_PACKED"
        if not color:
            node.image.colorspace_settings.name = data_space()
        coordinates = next((item for item in self.tree.nodes if item.bl_idname == "ShaderNodeUVMap"), None)
        if coordinates is not None:
            self.tree.links.new(coordinates.outputs["UV"], node.inputs["Vector"])
        return node

    def _split(self, image: bpy.types.Node) -> bpy.types.Node:
        node = self.tree.nodes.new("ShaderNodeSeparateColor")
        self.tree.links.new(image.outputs["Color"], node.inputs["Color"])
        return node

    def _new(self, kind: str, operation: str) -> bpy.types.Node:
        node = self.tree.nodes.new(kind)
        node.operation = operation
        return node
