# SPDX-License-Identifier: GPL-3.0-or-later
"""On import by Blender's own importer: give materials back what glTF could not say of them. See kept.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import numpy as np

from ...assign.images import WantedImage, packed
from ...common.color_spaces import data_space, srgb_space, to_scene_linear
from ...protocol.map_layouts import COLOR, NUMBER, SIGNALS
from ...saving.material_signals import CHANNELS, WHOLE
from .file import SUFFIXES, GltfFile, media_type
from .kept import EXTRAS, THIN_WALL, USUAL_PROPERTIES, VERSION

KINDS = {signal.input: signal.kind for signal in SIGNALS.values()}
SPLIT_X, MAP_X, COORDINATES_X, ROW_HEIGHT = -400.0, -800.0, -1060.0, 310.0
UV_MAP = "UVMap"  # as the importer names the first; the others are numbered


class glTF2ImportUserExtension:  # the name that Blender's importer looks for in the add-on's module
    """Blender's importer makes one for each import, and calls it after each material."""

    def __init__(self) -> None:
        self._read: dict[str, GltfFile] = {}

    def gather_import_material_after_hook(
        self, gltf_material: Any, _vertex_color: Any, material: bpy.types.Material, gltf: Any
    ) -> None:
        """Restore a new material. gltf_material, gltf: the importer's, of which `extras` and `filename` are read."""
        kept = gltf_material.extras.get(EXTRAS) if isinstance(gltf_material.extras, dict) else None
        if not isinstance(kept, dict) or kept.get("version") != VERSION or material.node_tree is None:
            return
        if gltf.filename not in self._read:
            self._read[gltf.filename] = GltfFile.read(Path(gltf.filename))
        file = self._read[gltf.filename]
        own = [item for item in file.json.get("materials", []) if item.get("extras", {}).get(EXTRAS) == kept]
        uv_map = file.coordinates(own[0]).get("texCoord", 0) if own else 0
        Restoring(material, file, uv_map).restore(kept)
        material.pop(EXTRAS, None)  # it would not follow what the artist changes now


class Restoring:
    """Puts what was kept into the node tree of one material."""

    def __init__(self, material: bpy.types.Material, file: GltfFile, uv_map: int) -> None:
        """uv_map: the number of the UV map that the maps lie in."""
        self._material, self._file, self._uv_map = material, file, uv_map
        self._tree = material.node_tree
        self._textures: dict[tuple[str, bool], bpy.types.Node] = {}

    def restore(self, kept: dict[str, Any]) -> None:
        """Restore all that is there of it; what this Blender or the file lacks stays as the importer made it."""
        shader = next((node for node in self._tree.nodes if node.bl_idname == "ShaderNodeBsdfPrincipled"), None)
        if shader is None:
            return
        sockets = {socket.identifier: socket for socket in shader.inputs}
        for name, value in dict(kept.get("inputs", {})).items():
            if name in sockets and (name in KINDS or name == THIN_WALL):
                self._give(sockets[name], value)
        for name, value in dict(kept.get("properties", {})).items():
            if name in USUAL_PROPERTIES and value in shader.bl_rna.properties[name].enum_items:
                setattr(shader, name, value)

    def _give(self, socket: bpy.types.NodeSocket, value: Any) -> None:
        source = self._source(KINDS.get(socket.identifier, NUMBER), value) if isinstance(value, dict) else None
        if source is None and isinstance(value, dict):
            return
        for link in list(socket.links):
            before = link.from_node
            self._tree.links.remove(link)
            self._remove_unused(before)
        if source is not None:
            self._tree.links.new(source, socket)
        elif isinstance(value, list):
            is_color = KINDS.get(socket.identifier) == COLOR
            socket.default_value[:3] = to_scene_linear(np.array(value, np.float64)) if is_color else value
        else:
            socket.default_value = value

    def _source(self, kind: str, value: dict[str, Any]) -> bpy.types.NodeSocket | None:
        """The output of nodes that read a map; None if the file has it no more."""
        node = self._texture(str(value.get("image", "")), kind == COLOR)
        part = value.get("part")
        if node is None or part not in (WHOLE, *CHANNELS) or (part == WHOLE) != (kind != NUMBER):
            return None
        found: bpy.types.NodeSocket = node.outputs["Alpha" if part == "alpha" else "Color"]
        if part in CHANNELS[:3]:
            split = self._add("ShaderNodeSeparateColor", SPLIT_X, node.location.y)
            self._tree.links.new(found, split.inputs["Color"])
            found = split.outputs[part.capitalize()]
        if "range" in value:
            low, high = (float(end) for end in value["range"])
            scaled = self._add(
                "ShaderNodeMath" if kind == NUMBER else "ShaderNodeVectorMath", SPLIT_X + 200.0, node.location.y
            )
            scaled.operation = "MULTIPLY_ADD"
            for place, number in ((1, high - low), (2, low)):
                scaled.inputs[place].default_value = number if kind == NUMBER else (number,) * 3
            self._tree.links.new(found, scaled.inputs[0])
            found = scaled.outputs[0]
        return found

    def _texture(self, name: str, color: bool) -> bpy.types.Node | None:
        if (name, color) in self._textures:
            return self._textures[name, color]
        data = self._file.image_bytes(name)
        kind = media_type(data) if data is not None else None
        if data is None or kind is None:
            return None
        space = (srgb_space() if color else None) or data_space()
        node = self._add("ShaderNodeTexImage", MAP_X, self._lowest() - ROW_HEIGHT)
        node.image = packed(WantedImage(name, SUFFIXES[kind], space, {0: data}))
        if self._uv_map:
            coordinates = self._add("ShaderNodeUVMap", COORDINATES_X, node.location.y)
            coordinates.uv_map = f"{UV_MAP}.{self._uv_map:03d}"
            self._tree.links.new(coordinates.outputs["UV"], node.inputs["Vector"])
        self._textures[name, color] = node
        return node

    def _add(self, kind: str, x: float, y: float) -> bpy.types.Node:
        node = self._tree.nodes.new(kind)
        node.location = (x, y)
        return node

    def _lowest(self) -> float:
        return min((float(node.location.y) for node in self._tree.nodes), default=0.0)

    def _remove_unused(self, node: bpy.types.Node) -> None:
        """Remove nodes of which nothing is used any more."""
        if any(output.is_linked for output in node.outputs):
            return
        before = dict.fromkeys(link.from_node.name for socket in node.inputs for link in socket.links)
        self._tree.nodes.remove(node)
        for name in before:  # by name: one can be gone with another
            if (source := self._tree.nodes.get(name)) is not None:
                self._remove_unused(source)
