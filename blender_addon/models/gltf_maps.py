# SPDX-License-Identifier: GPL-3.0-or-later
"""Maps of new materials as Blender's glTF exporter takes them, where it leaves out a factor.

It writes Sheen Tint without the weight of sheen, and a map of Specular IOR Level as it is, though glTF's 1 is Blender's 0.5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import bpy
import numpy as np
from numpy.typing import NDArray

from ..common.color import linear_from_srgb, srgb_from_linear
from ..common.color_spaces import Meaning, data_space
from ..protocol.png import png
from ..saving.material_signals import CHANNELS, ImagePart, Said, signals_of
from ..saving.pixels import Decoder

Array = NDArray[np.float32]
SHEEN, SHEEN_TINT, SPECULAR = "Sheen Weight", "Sheen Tint", "Specular IOR Level"


def suit_gltf(material: bpy.types.Material, folder: Path) -> None:
    """Change a new material so that its export means what it says; new images go to a folder. Raises PbrFitError."""
    said, decode = signals_of(material), Decoder()
    tree = material.node_tree
    shader = next(node for node in tree.nodes if node.bl_idname == "ShaderNodeBsdfPrincipled")
    weight, level = said["sheen"], said["specular"]
    if isinstance(weight, ImagePart) or weight[0] not in (0.0, 1.0):
        product = values_of(weight, decode) * values_of(said["sheen_tint"], decode)
        for link in [*shader.inputs[SHEEN].links, *shader.inputs[SHEEN_TINT].links]:
            tree.links.remove(link)
        shader.inputs[SHEEN].default_value = 1.0
        if product.shape[:2] == (1, 1):
            shader.inputs[SHEEN_TINT].default_value = (*product[0, 0].tolist(), 1.0)
        else:
            put_map(shader, SHEEN_TINT, srgb_from_linear(product), True, folder)
    if isinstance(level, ImagePart):
        for link in shader.inputs[SPECULAR].links:
            tree.links.remove(link)
        put_map(shader, SPECULAR, 2.0 * values_of(level, decode), False, folder)


def values_of(said: Said, decode: Decoder) -> Array:
    """What a material says of a property, [h, w, 1 or 3] or [1, 1, 1 or 3]; a color is linear."""
    if not isinstance(said, ImagePart):
        return np.array(said, np.float32).reshape(1, 1, -1)
    found = decode(said.image, 0)
    if said.part in CHANNELS:
        place = min(CHANNELS.index(said.part), found.values.shape[-1] - 1)
        return found.values[..., place, None]
    color = found.values[..., :3]
    return linear_from_srgb(color) if found.meaning == Meaning.SRGB else color


def put_map(shader: bpy.types.Node, name: str, values: Array, is_color: bool, folder: Path) -> None:
    """Let an input read a new map, through the UV map that the material reads; a number from the alpha, as glTF has it."""
    tree = shader.id_data
    values = values if is_color else np.repeat(values, 4, axis=-1)
    pixels = np.rint(255.0 * np.clip(values, 0.0, 1.0)).astype(np.uint8)
    path = folder / f"{tree.session_uid} {name}.png"
    path.write_bytes(png(pixels, is_color, in_turn))
    node = tree.nodes.new("ShaderNodeTexImage")
    node.image = bpy.data.images.load(str(path))
    if not is_color:
        node.image.colorspace_settings.name = data_space()
        node.image.alpha_mode = "CHANNEL_PACKED"
    coordinates = next((item for item in tree.nodes if item.bl_idname == "ShaderNodeUVMap"), None)
    if coordinates is not None:
        tree.links.new(coordinates.outputs["UV"], node.inputs["Vector"])
    tree.links.new(node.outputs["Color" if is_color else "Alpha"], shader.inputs[name])


def in_turn(work: Callable[[int], bytes], numbers: Sequence[int]) -> list[bytes]:
    """Do work for each number, one after the other."""
    return [work(number) for number in numbers]
