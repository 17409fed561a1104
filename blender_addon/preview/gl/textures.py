# SPDX-License-Identifier: GPL-3.0-or-later
"""Textures on Blender's own GPU: the light's atlas, the tables of lobes, and maps that are not images of the file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gpu
import numpy as np
from numpy.typing import NDArray

from .drawn import DrawnLight
from .values import linear_pixels, strip_of, table_pixels

EVEN_LIGHT = 0.8
LARGEST_HALF = 65504.0


def texture_of(pixels: NDArray[Any], texture_format: str) -> gpu.types.GPUTexture:
    """A texture of pixels [h, w, 4], of any floats; its row 0 is that of the pixels."""
    height, width = pixels.shape[:2]
    flat = np.ascontiguousarray(pixels, dtype=np.float32).reshape(-1)
    data = gpu.types.Buffer("FLOAT", flat.size, flat)
    return gpu.types.GPUTexture((width, height), format=texture_format, data=data)


def table_texture(name: str) -> gpu.types.GPUTexture:
    """A table, see `table_pixels`."""
    return texture_of(table_pixels(name), "RGBA32F")


@dataclass(frozen=True)
class Strip:
    """A map and its coarser levels on the GPU. size: width and height of the finest level, number of levels, 0."""

    texture: gpu.types.GPUTexture
    size: tuple[float, float, float, float]


def strip_texture(pixels: NDArray[Any], encoding: str) -> Strip:
    """The strip of a map, uint8 or float32 [h, w, 4], row 0 at the top."""
    strip, levels = strip_of(linear_pixels(pixels, encoding))
    return Strip(texture_of(strip, "RGBA16F"), (pixels.shape[1], pixels.shape[0], levels, 0.0))


@dataclass(frozen=True)
class GlLight:
    """A prefiltered light on the GPU. atlas: its levels; irradiance float32 [9, 4]; places float32 [levels, 4]: resolution,
    top, left, roughness."""

    atlas: gpu.types.GPUTexture
    irradiance: NDArray[np.float32]
    places: NDArray[np.float32]


def light_texture(light: DrawnLight) -> GlLight:
    """Put a prefiltered light on the GPU."""
    irradiance = np.zeros((9, 4), dtype=np.float32)
    irradiance[:, :3] = light.irradiance
    places = [(*place, roughness) for place, roughness in zip(light.places, light.roughnesses, strict=True)]
    atlas = np.minimum(light.atlas, np.float32(LARGEST_HALF))
    return GlLight(texture_of(atlas, "RGBA16F"), irradiance, np.array(places, dtype=np.float32))


def even_light() -> GlLight:
    """The light to use before there is a real one: even, but a little brighter from above, so that shapes can be seen."""
    irradiance = np.zeros((9, 4), dtype=np.float32)
    irradiance[0, :3] = EVEN_LIGHT / 0.28209479177387814
    irradiance[1, :3] = 0.4 * EVEN_LIGHT / 0.4886025119029199
    atlas = np.full((3, 18, 4), EVEN_LIGHT, dtype=np.float32)
    return GlLight(texture_of(atlas, "RGBA16F"), irradiance, np.array([[1, 0, 0, 0]], dtype=np.float32))
