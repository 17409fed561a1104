# SPDX-License-Identifier: GPL-3.0-or-later
"""The world's light as an equirectangular image, if its nodes are simple enough to read directly.

The simple chain is World Output <- Background <- Environment Texture, with or without a Mapping that only rotates.
The second Blender renders any other world to an image: sky, gradients, mixes, what lights by the kind of ray.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass

import bpy
import numpy as np
from mathutils import Euler
from numpy.typing import NDArray

from ..common.color import linear_from_srgb
from ..common.color_spaces import Meaning, meaning_of, rec709_color, rec709_from_scene_linear, to_rec709
from ..common.node_trees import has_plain_mapping, linked_from, output_node, tree_of

MAXIMUM_WIDTH = 2048
RENDERED_SIZE = (1024, 512)


@dataclass(frozen=True)
class SimpleWorld:
    """A world that shows an image. rotation: float64 [3, 3], from a direction to the direction in the image."""

    image: bpy.types.Image
    rotation: NDArray[np.float64]
    strength: float

    @property
    def state(self) -> Hashable:
        """What decides the light, except the image's pixels."""
        image = self.image
        seen_as = (image.colorspace_settings.name, image.alpha_mode, rec709_from_scene_linear().tobytes())
        return image.session_uid, *image.size, *seen_as, image.is_dirty, self.rotation.tobytes(), self.strength

    def radiance(self) -> NDArray[np.float32] | None:
        """The environment float32 [H, W, 3], as `export_world` gives it; None if the image cannot be read."""
        radiance = read_image(self.image)
        if radiance is None:
            return None
        radiance = shrink(radiance, MAXIMUM_WIDTH) * np.float32(self.strength)
        return np.ascontiguousarray(rotate_environment(radiance, self.rotation), dtype=np.float32)


def export_world(world: bpy.types.World | None) -> NDArray[np.float32] | None:
    """The environment float32 [H, W, 3]: row 0 = top, Blender's mapping, linear Rec.709; None if the chain is not simple.

    world: evaluated if it is animated. Strength and rotation are applied. Images wider than 2048 are averaged down. Any
    rotation other than by whole texels about Z is resampled bilinearly, which blurs by up to half a texel. Blender loads the
    image's pixels if necessary; nothing else changes.
    """
    found = simple_world(world)
    return found.radiance() if found is not None else None


def background_of(world: bpy.types.World | None) -> bpy.types.Node | None:
    """The Background node that alone makes a world, for every kind of ray; None if there is none, or more than that."""
    tree = tree_of(world)
    if world is None or tree is None or not lights_all_rays(world):
        return None
    output = output_node(tree, "ShaderNodeOutputWorld")
    if output is None or output.inputs["Volume"].is_linked:
        return None
    surface = linked_from(output.inputs["Surface"])
    if surface is None or surface[0].bl_idname != "ShaderNodeBackground" or surface[0].mute:
        return None
    return surface[0]


def lights_all_rays(world: bpy.types.World) -> bool:
    """Whether surfaces of every kind see the world (its Ray Visibility in Cycles)."""
    visibility = getattr(world, "cycles_visibility", None)  # it comes with Cycles, which can be switched off
    return visibility is None or bool(visibility.diffuse and visibility.glossy)


def simple_world(world: bpy.types.World | None) -> SimpleWorld | None:
    """What the simple chain of a world shows; None if the chain is not simple."""
    background = background_of(world)
    if background is None:
        return None
    source = linked_from(background.inputs["Color"])
    if source is None or background.inputs["Strength"].is_linked:
        return None
    texture = source[0]
    if texture.bl_idname != "ShaderNodeTexEnvironment" or not is_plain_texture(texture):
        return None
    rotation = lookup_rotation(texture)
    if rotation is None:
        return None
    return SimpleWorld(texture.image, rotation, float(background.inputs["Strength"].default_value))


def constant_world(world: bpy.types.World | None) -> tuple[float, float, float] | None:
    """The radiance, linear Rec.709, of a world that is the same in every direction; None for any other world.

    Without a world it is black.
    """
    if world is None:
        return (0.0, 0.0, 0.0)
    if tree_of(world) is None:
        return rec709_color(world.color) if lights_all_rays(world) else None
    background = background_of(world)
    if background is None or background.inputs["Color"].is_linked or background.inputs["Strength"].is_linked:
        return None
    strength = float(background.inputs["Strength"].default_value)
    red, green, blue = rec709_color(background.inputs["Color"].default_value)
    return red * strength, green * strength, blue * strength


def is_plain_texture(texture: bpy.types.Node) -> bool:
    """Whether an Environment Texture shows its image as it is: equirectangular, one picture, no mapping of its own.

    Texels are read without what is between them: what draws them as squares or smoother is left to the renderer.
    """
    image = texture.image
    return (
        image is not None
        and image.source in {"FILE", "GENERATED"}
        and image.type in {"IMAGE", "UV_TEST"}
        and not image.use_multiview
        and texture.projection == "EQUIRECTANGULAR"
        and texture.interpolation == "Linear"
        and not texture.mute
        and has_plain_mapping(texture)
    )


def lookup_rotation(texture: bpy.types.Node) -> NDArray[np.float64] | None:
    """The rotation [3, 3] from a world direction to the direction in the image; None if it is no rotation."""
    source = linked_from(texture.inputs["Vector"])
    if source is None:
        return None if texture.inputs["Vector"].is_linked else np.eye(3)
    node, socket = source
    if is_direction(node, socket):
        return np.eye(3)
    if node.bl_idname != "ShaderNodeMapping" or node.mute or node.vector_type not in {"POINT", "VECTOR", "TEXTURE"}:
        return None
    below = linked_from(node.inputs["Vector"])
    if below is None or not is_direction(*below):
        return None
    inputs = [node.inputs[name] for name in ("Location", "Rotation", "Scale") if name in node.inputs]
    if any(entry.is_linked for entry in inputs):
        return None
    if node.vector_type != "VECTOR" and tuple(node.inputs["Location"].default_value) != (0.0, 0.0, 0.0):
        return None
    if tuple(node.inputs["Scale"].default_value) != (1.0, 1.0, 1.0):
        return None
    rotation = np.array(Euler(node.inputs["Rotation"].default_value, "XYZ").to_matrix(), dtype=np.float64)
    return rotation.T if node.vector_type == "TEXTURE" else rotation


def is_direction(node: bpy.types.Node, socket: bpy.types.NodeSocket) -> bool:
    """Whether a socket gives the world's direction unchanged."""
    return node.bl_idname == "ShaderNodeTexCoord" and socket.identifier == "Generated" and not node.mute


def read_image(image: bpy.types.Image) -> NDArray[np.float32] | None:
    """Radiance float32 [H, W, 3], linear Rec.709, of an image as a world shows it, row 0 = top.

    None where Cycles does not simply show what is stored: a byte image in an unusual color space, an alpha that Cycles
    multiplies by (how, differs between versions and between files and packed images) or that matters when Blender decodes
    colors, values that are no numbers.
    """
    width, height = image.size
    if width == 0 or height == 0 or image.channels < 3:
        return None
    pixels = np.empty(width * height * image.channels, dtype=np.float32)
    image.pixels.foreach_get(pixels)
    texels = pixels.reshape(height, width, image.channels)[::-1]
    meaning = meaning_of(image)
    is_linear = image.is_float and meaning in {Meaning.SCENE_LINEAR, Meaning.LINEAR_REC709}
    as_stored = image.alpha_mode in {"NONE", "CHANNEL_PACKED"} or (is_linear and image.alpha_mode == "PREMUL")
    if not as_stored and image.channels == 4 and texels[..., 3].min() < 1.0:
        return None
    radiance = texels[..., :3]
    if image.is_float:  # Blender has made it scene linear, except for data, which is taken for that
        return to_rec709(radiance) if np.isfinite(radiance).all() else None
    if meaning is Meaning.SRGB:
        return linear_from_srgb(radiance)
    if meaning is Meaning.SCENE_LINEAR:
        return to_rec709(radiance)
    return radiance if meaning is Meaning.LINEAR_REC709 else None


def shrink(radiance: NDArray[np.float32], maximum_width: int) -> NDArray[np.float32]:
    """Average whole blocks of texels until the width is at most `maximum_width`, or the size no longer divides evenly."""
    height, width, channels = radiance.shape
    while width > maximum_width and width % 2 == 0 and height % 2 == 0:
        radiance = radiance.reshape(height // 2, 2, width // 2, 2, channels).mean(axis=(1, 3), dtype=np.float32)
        height, width, channels = radiance.shape
    return radiance


def rotate_environment(radiance: NDArray[np.float32], rotation: NDArray[np.float64]) -> NDArray[np.float32]:
    """An environment [H, W, 3]: its value in direction d is that of `radiance` in direction rotation @ d."""
    height, width = radiance.shape[:2]
    if np.allclose(rotation[2], (0.0, 0.0, 1.0), atol=1e-7):
        # About Z it is a shift along the rows; u falls as the angle about Z grows.
        shift = math.atan2(rotation[1, 0], rotation[0, 0]) / (2.0 * math.pi) * width
        whole = math.floor(shift + 1e-4)
        part = np.float32(shift - whole if shift - whole > 1e-4 else 0.0)
        rolled = np.roll(radiance, whole, axis=1)
        return rolled if part == 0.0 else (1 - part) * rolled + part * np.roll(radiance, whole + 1, axis=1)
    azimuth = 2.0 * math.pi * (0.5 - (np.arange(width) + 0.5) / width)
    elevation = math.pi * (0.5 - (np.arange(height) + 0.5) / height)
    direction = np.empty((height, width, 3))
    direction[..., 0] = np.cos(elevation)[:, None] * np.cos(azimuth)
    direction[..., 1] = np.cos(elevation)[:, None] * np.sin(azimuth)
    direction[..., 2] = np.sin(elevation)[:, None]
    looked_up = direction @ rotation.T
    column = (0.5 - np.arctan2(looked_up[..., 1], looked_up[..., 0]) / (2.0 * math.pi)) * width - 0.5
    row = (0.5 - np.arcsin(np.clip(looked_up[..., 2], -1.0, 1.0)) / math.pi) * height - 0.5
    left, above = np.floor(column).astype(int), np.floor(row).astype(int)
    part_x = (column - left).astype(np.float32)[..., None]
    part_y = (row - above).astype(np.float32)[..., None]
    top, bottom = np.clip(above, 0, height - 1), np.clip(above + 1, 0, height - 1)
    upper = (1 - part_x) * radiance[top, left % width] + part_x * radiance[top, (left + 1) % width]
    lower = (1 - part_x) * radiance[bottom, left % width] + part_x * radiance[bottom, (left + 1) % width]
    rotated: NDArray[np.float32] = (1 - part_y) * upper + part_y * lower
    return rotated
