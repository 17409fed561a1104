# SPDX-License-Identifier: GPL-3.0-or-later
"""Textures on Blender's own GPU: the light's atlas, the table of the GGX lobe, and maps that are no images of Blender's.

`ggx_table.npy` is `render.brdf.ggx_table().values[0].permute(1, 2, 0)`, float32 [48, 48, 8], as `numpy.save` wrote it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import gpu
import numpy as np

SMALLEST_LEVEL = 4  # as `render.texel_lookup.mip_count`
EVEN_LIGHT = 0.8


def texture_of(pixels: np.ndarray, texture_format: str) -> gpu.types.GPUTexture:
    """A texture of float32 pixels [h, w, 4]; its row 0 is that of the pixels."""
    height, width = pixels.shape[:2]
    flat = np.ascontiguousarray(pixels, dtype=np.float32).reshape(-1)
    data = gpu.types.Buffer("FLOAT", flat.size, flat)
    return gpu.types.GPUTexture((width, height), format=texture_format, data=data)


def table_texture() -> gpu.types.GPUTexture:
    """The table of the GGX lobe: two texels side by side for the eight terms of a node."""
    table = np.load(Path(__file__).with_name("ggx_table.npy"), allow_pickle=False)
    return texture_of(table.reshape(table.shape[0], -1, 4), "RGBA32F")


@lru_cache(maxsize=2)
def linear_of(encoding: str) -> np.ndarray:
    """Linear values, float32 [256], of bytes that are encoded as "srgb" or "linear"."""
    values = np.arange(256, dtype=np.float64) / 255
    if encoding == "srgb":
        values = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return values.astype(np.float32)


def linear_pixels(pixels: np.ndarray, encoding: str) -> np.ndarray:
    """Linear float32 [h, w, 4] of pixels, uint8 or float32 [h, w, 4]; alpha is never encoded."""
    if pixels.dtype != np.uint8:
        return pixels.astype(np.float32)
    linear = linear_of(encoding)[pixels]
    if encoding == "srgb":
        linear[..., 3] = linear_of("linear")[pixels[..., 3]]
    return linear


def strip_of(pixels: np.ndarray) -> tuple[np.ndarray, int]:
    """Pixels float32 [h, w, 4] with their coarser levels, each of means of four, at their right, [h, w + w // 2, 4], and how
    many levels that are. Python cannot hand Blender a texture's own levels."""
    height, width = pixels.shape[:2]
    strip = np.zeros((height, width + width // 2, 4), dtype=np.float32)
    strip[:, :width] = pixels
    level, top, count = pixels, 0, 1
    while min(level.shape[:2]) // 2 >= SMALLEST_LEVEL and not any(side % 2 for side in level.shape[:2]):
        level = (level[0::2, 0::2] + level[1::2, 0::2] + level[0::2, 1::2] + level[1::2, 1::2]) * np.float32(0.25)
        strip[top : top + level.shape[0], width : width + level.shape[1]] = level
        top += level.shape[0]
        count += 1
    return strip, count


@dataclass(frozen=True)
class Strip:
    """A map and its coarser levels on the GPU. size: width and height of the finest level, number of levels, 0."""

    texture: gpu.types.GPUTexture
    size: tuple[float, float, float, float]


def strip_texture(pixels: np.ndarray, encoding: str) -> Strip:
    """A map of pixels [h, w, 4], uint8 or float32, row 0 at the top."""
    strip, levels = strip_of(linear_pixels(pixels, encoding))
    return Strip(texture_of(strip, "RGBA16F"), (pixels.shape[1], pixels.shape[0], levels, 0.0))


@dataclass(frozen=True)
class GlLight:
    """A prefiltered light on the GPU. atlas: its levels; irradiance float32 [9, 4]; places float32 [levels, 4]: resolution,
    top, left, roughness."""

    atlas: gpu.types.GPUTexture
    irradiance: np.ndarray
    places: np.ndarray


def light_texture(light: Any) -> GlLight:
    """The light of a `PreparedLight`."""
    irradiance = np.zeros((9, 4), dtype=np.float32)
    irradiance[:, :3] = light.irradiance
    places = [(*place, roughness) for place, roughness in zip(light.places, light.roughnesses, strict=True)]
    return GlLight(texture_of(light.atlas, "RGBA16F"), irradiance, np.array(places, dtype=np.float32))


def even_light() -> GlLight:
    """What is shown before there is a light: even, but a little brighter from above, so that shapes can be seen."""
    irradiance = np.zeros((9, 4), dtype=np.float32)
    irradiance[0, :3] = EVEN_LIGHT / 0.28209479177387814
    irradiance[1, :3] = 0.4 * EVEN_LIGHT / 0.4886025119029199
    atlas = np.full((3, 18, 4), EVEN_LIGHT, dtype=np.float32)
    return GlLight(texture_of(atlas, "RGBA16F"), irradiance, np.array([[1, 0, 0, 0]], dtype=np.float32))
