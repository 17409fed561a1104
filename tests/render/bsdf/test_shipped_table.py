"""The files that the add-on ships for Blender's own GPU code: the table of the GGX lobe, and the shaders."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np

import build_addon
from render.bsdf.ggx import ggx_table
from render.bsdf.sheen import sheen_table

ROOT = Path(__file__).parents[3]
SHIPPED = ROOT / "blender_addon" / "preview" / "gl" / "ggx_table.npy"
SHEEN = SHIPPED.with_name("sheen_table.npy")


def test_the_add_on_ships_the_renderers_table():
    shipped = np.load(SHIPPED, allow_pickle=False)
    assert (shipped.dtype, shipped.shape) == (np.float32, (48, 48, 8))
    np.testing.assert_allclose(shipped, ggx_table().values[0].permute(1, 2, 0).numpy(), atol=2e-6)


def test_the_add_on_ships_the_table_of_sheen():
    shipped = np.load(SHEEN, allow_pickle=False)
    assert (shipped.dtype, shipped.shape) == (np.float32, (48, 48, 8))
    np.testing.assert_allclose(shipped, sheen_table()[0].permute(1, 2, 0).numpy(), atol=2e-6)


def test_the_extension_and_every_wheel_carry_it_and_the_shaders():
    needed = {path for pattern in ("*.glsl", "*.npy") for path in (ROOT / "blender_addon").rglob(pattern)}
    assert len(needed) >= 2
    assert {path.relative_to(ROOT).as_posix() for path in needed} <= set(build_addon.room_files(ROOT, "blender_addon"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["blender_addon"]
    assert all(any(path.match(pattern) for pattern in patterns) for path in needed)
