# SPDX-License-Identifier: GPL-3.0-or-later
"""The start of a fit, as a bake writes it, as a look of the preview. It needs no Blender, so any thread can make it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...common.color import srgb_from_linear
from ...protocol.scene_description import LINEAR, SRGB
from .scene import Look, Texture

LEAST = 1.0 / 512.0  # what varies less is one number


def look_of(name: str, arrays: dict[str, NDArray[Any]]) -> Look:
    """The look of arrays as `baking.start.write_start` writes them; what does not vary becomes a number.

    name: begins the keys of the textures.
    """
    texels = arrays["texels"].astype(np.float32)
    color, roughness, metallic = texels[..., 0:3], texels[..., 3], texels[..., 4]
    alpha = texels[..., 8]
    base = bytes_of(np.concatenate([srgb_from_linear(np.clip(color, 0.0, 1.0)), alpha[..., None]], axis=-1))
    numbers = bytes_of(np.stack([np.ones_like(roughness), roughness, metallic, np.ones_like(roughness)], axis=-1))

    def read(
        values: NDArray[Any], key: str, pixels: NDArray[Any], channel: int, encoding: str = LINEAR
    ) -> Texture | float:
        if varies(values):
            return Texture(f"{name}/{key}", 0, pixels, channel, encoding)
        return float(values.flat[0])

    def colored(values: NDArray[Any], key: str, pixels: NDArray[Any], encoding: str) -> Any:
        if varies(values):
            return Texture(f"{name}/{key}", 0, pixels, None, encoding)
        return tuple(float(value) for value in values[0, 0])

    normal = texels[..., 5:8]
    is_bumpy = bool(np.abs(normal - (0.0, 0.0, 1.0)).max() > LEAST)
    return Look(
        kd=colored(color, "kd", base, SRGB),
        alpha=read(alpha, "kd", base, 3, SRGB) if alpha.min() < 1.0 - LEAST else 1.0,
        roughness=read(roughness, "orm", numbers, 1),
        metallic=read(metallic, "orm", numbers, 2),
        normal=Texture(f"{name}/normal", 0, opaque(normal * 0.5 + 0.5), None, LINEAR) if is_bumpy else None,
        **lobes_of(name, arrays.get("lobes")),
    )


def lobes_of(name: str, lobes: NDArray[Any] | None) -> dict[str, Any]:
    """What lies over the base, as properties of a look."""
    if lobes is None:
        return {}
    values = lobes.astype(np.float32)
    emission, weights, sheen = values[..., 0:3], values[..., [3, 4, 8]], values[..., 5:8]
    found: dict[str, Any] = {}
    if emission.any():
        found["emission"] = Texture(f"{name}/emission", 0, opaque(emission), None, LINEAR)
    packed = opaque(weights)
    if values[..., 3].any():
        found["coat"] = Texture(f"{name}/lobes", 0, packed, 0, LINEAR)
        found["coat_roughness"] = Texture(f"{name}/lobes", 0, packed, 1, LINEAR)
    if sheen.any():
        found["sheen"] = 1.0
        found["sheen_tint"] = Texture(f"{name}/sheen", 0, opaque(sheen), None, LINEAR)
        found["sheen_roughness"] = Texture(f"{name}/lobes", 0, packed, 2, LINEAR)
    return found


def varies(values: NDArray[Any]) -> bool:
    """Whether values [h, w] or [h, w, c] differ from texel to texel."""
    flat = values.reshape(values.shape[0] * values.shape[1], -1)
    return bool((flat.max(axis=0) - flat.min(axis=0)).max() > LEAST)


def bytes_of(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Values 0..1 as bytes."""
    stored: NDArray[np.uint8] = np.rint(np.clip(values, 0.0, 1.0) * 255.0).astype(np.uint8)
    return stored


def opaque(values: NDArray[Any]) -> NDArray[np.float32]:
    """Values [h, w, 3] as float32 [h, w, 4] with alpha 1."""
    pixels: NDArray[np.float32] = np.concatenate([values, np.ones_like(values[..., :1])], axis=-1).astype(np.float32)
    return pixels
