"""Preview scenes that use every part of the format, written by hand, so that they are always the same."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np


def _mesh(corners: int) -> dict[str, np.ndarray]:
    ramp = np.linspace(0.0, 1.0, corners * 3, dtype=np.float32).reshape(corners, 3)
    up = np.tile(np.array([[0.0, 1.0, 0.0]], np.float32), (corners, 1))
    return {
        "vertex_position": ramp,
        "vertex_normal": up,
        "vertex_tangent": np.concatenate([up[:, ::-1], np.ones((corners, 1), np.float32)], axis=1),
        "vertex_uv": ramp[:, :2].copy(),
        "triangles": np.arange(corners, dtype=np.int32).reshape(-1, 3),
    }


def scenes(module: ModuleType) -> dict[str, Any]:
    """Scenes by name, of the dataclasses of `module` (`blender_addon.preview.scene.scene`)."""
    pixels = np.arange(4 * 6 * 4, dtype=np.uint8).reshape(4, 6, 4)
    color = module.Texture("image/color", 0, pixels, None, "srgb")
    grey = module.Texture("image/grey", 0, pixels[::-1].copy(), 1, "linear")
    textured = module.Look(
        kd=color,
        alpha=1.0,
        roughness=grey,
        metallic=0.25,
        openness=module.Texture("image/grey", 0, grey.pixels, 0, "linear"),
        normal=module.Texture("image/normal", 0, pixels + 1, None, "linear"),
    )
    plain = module.Look(kd=(0.8, 0.1, 0.5), alpha=0.5, roughness=0.4, metallic=1.0)
    placed = np.array([[0.0, -2.0, 0.0, 1.5], [2.0, 0.0, 0.0, 0.0], [0.0, 0.0, 2.0, -0.25], [0.0, 0.0, 0.0, 1.0]])
    parts = (
        module.PreviewPart("mesh/one", _mesh(6), np.eye(4), textured),
        module.PreviewPart("mesh/two", _mesh(3), placed, plain, job=("f" * 32, 1)),
        module.PreviewPart("mesh/three", _mesh(9), placed, textured, job=("e" * 32, 0), fallback=plain),
    )
    radiance = np.linspace(0.0, 9.0, 4 * 8 * 3, dtype=np.float32).reshape(4, 8, 3)
    environment = module.Environment("ab" * 32, radiance)
    return {
        "empty": module.PreviewScene((), None),
        "parts": module.PreviewScene(parts, environment, ("a note",)),
        "learned light": module.PreviewScene(parts[:1], environment, light_job="e" * 32),
        "plain": module.PreviewScene(parts[1:2], None),
    }
