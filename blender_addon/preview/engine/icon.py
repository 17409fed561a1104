# SPDX-License-Identifier: GPL-3.0-or-later
"""The icon of a material: a ball in studio light, computed on the processor, because icons must not wait for the GPU."""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from ...common.color import linear_from_srgb
from ...common.color_spaces import to_scene_linear
from ..scene.collector import PreviewCollector
from ..scene.images import SCENE_LINEAR, image_pixels, rec709_pixels
from ..scene.scene import NEUTRAL, Look, Texture

SUPERSAMPLING = 2
RADIUS = 0.9  # of half the icon
KEY_LIGHT = np.array([-0.45, 0.55, 0.70])
KEY_LIGHT /= np.linalg.norm(KEY_LIGHT)
GROUND, SKY, KEY = 0.12, 0.55, 2.2
DIELECTRIC = 0.04


def render_icon(engine: bpy.types.RenderEngine, depsgraph: bpy.types.Depsgraph) -> None:
    """Draw the ball with the material in Blender's scene for icons."""
    scale = depsgraph.scene.render.resolution_percentage
    width = max(1, depsgraph.scene.render.resolution_x * scale // 100)
    height = max(1, depsgraph.scene.render.resolution_y * scale // 100)
    looks = [part.look for part in PreviewCollector(bakes=False).collect(depsgraph).parts]
    look = next((found for found in looks if found != NEUTRAL), NEUTRAL)
    result = engine.begin_result(0, 0, width, height)
    try:
        image = ball(look, width, height)[::-1]
        image[..., :3] = to_scene_linear(image[..., :3])
        result.layers[0].passes["Combined"].rect.foreach_set(np.ascontiguousarray(image, np.float32).reshape(-1))
    finally:
        engine.end_result(result)


def ball(look: Look, width: int, height: int) -> NDArray[np.float32]:
    """A ball with a look, float32 [h, w, 4], linear Rec.709, premultiplied, row 0 at the top."""
    wide, high = width * SUPERSAMPLING, height * SUPERSAMPLING
    side = min(wide, high)
    x = (2.0 * np.arange(wide) + 1.0 - wide) / side / RADIUS
    y = (high - 2.0 * np.arange(high) - 1.0) / side / RADIUS
    x, y = np.meshgrid(x, y)
    inside = x * x + y * y < 1.0
    z = np.sqrt(np.where(inside, 1.0 - x * x - y * y, 0.0))
    normal = np.stack([x, y, z], axis=-1)
    uv = np.stack([0.5 + np.arctan2(x, z + 1e-9) / np.pi, 0.5 + np.arcsin(np.clip(y, -1.0, 1.0)) / np.pi], axis=-1)
    kd = value_of(look.kd, uv)
    alpha, roughness, metallic, openness = (
        value_of(value, uv)[..., :1] for value in (look.alpha, look.roughness, look.metallic, look.openness)
    )
    color = shaded(normal, kd, roughness, metallic) * openness
    image = np.concatenate([color, np.ones_like(alpha)], axis=-1) * alpha * inside[..., None]
    blocks = image.reshape(height, SUPERSAMPLING, width, SUPERSAMPLING, 4)
    pixels: NDArray[np.float32] = blocks.mean(axis=(1, 3)).astype(np.float32)
    return pixels


def value_of(value: Texture | float | tuple[float, float, float], uv: NDArray[np.float64]) -> NDArray[np.float64]:
    """A property of a look at uv coordinates [h, w, 2]: [h, w, 3]."""
    if not isinstance(value, Texture):
        return np.broadcast_to(np.asarray(value, dtype=np.float64), (*uv.shape[:2], 3))
    pixels: NDArray[Any] | None = value.pixels
    if pixels is None:
        image = next((item for item in bpy.data.images if item.session_uid == value.image_uid), None)
        if image is None or min(image.size) == 0:
            return np.full((*uv.shape[:2], 3), 0.5)
        pixels = rec709_pixels(image) if value.encoding == SCENE_LINEAR else image_pixels(image)
    row = np.clip(((1.0 - uv[..., 1]) * pixels.shape[0]).astype(int), 0, pixels.shape[0] - 1)
    column = np.clip((uv[..., 0] * pixels.shape[1]).astype(int), 0, pixels.shape[1] - 1)
    found: NDArray[np.float64] = pixels[row, column].astype(np.float64)
    if pixels.dtype == np.uint8:
        found /= 255.0
        if value.encoding == "srgb" and value.channel != 3:
            found[..., :3] = linear_from_srgb(found)[..., :3]
    return found[..., :3] if value.channel is None else np.repeat(found[..., value.channel, None], 3, axis=-1)


def shaded(
    normal: NDArray[np.float64], kd: NDArray[np.float64], roughness: NDArray[np.float64], metallic: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Radiance [h, w, 3] of a surface with these normals, seen along z, in a studio: a sky, a floor and one lamp."""
    sky = GROUND + (SKY - GROUND) * (0.5 + 0.5 * normal[..., 1:2])
    facing = np.clip(normal @ KEY_LIGHT, 0.0, 1.0)[..., None]
    diffuse = kd * (1.0 - metallic) * (sky + KEY * facing / np.pi)
    specular = DIELECTRIC * (1.0 - metallic) + kd * metallic
    mirrored_up = 2.0 * normal[..., 2:] * normal[..., 1:2]
    reflected = GROUND + (SKY - GROUND) * np.clip(0.5 + 0.5 * mirrored_up / np.maximum(roughness, 0.15), 0.0, 1.0)
    half = (KEY_LIGHT + np.array([0.0, 0.0, 1.0])) / np.linalg.norm(KEY_LIGHT + np.array([0.0, 0.0, 1.0]))
    alpha = np.maximum(roughness, 0.15) ** 4
    cosine = np.clip(normal @ half, 0.0, 1.0)[..., None] ** 2
    lobe = alpha / (np.pi * (cosine * (alpha - 1.0) + 1.0) ** 2)
    fresnel = specular + (1.0 - specular) * (1.0 - normal[..., 2:]) ** 5 * (1.0 - roughness)
    radiance: NDArray[np.float64] = diffuse + fresnel * (reflected + KEY * facing * np.minimum(lobe, 20.0) / 4.0)
    return radiance
