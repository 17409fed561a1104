"""The table of the GGX lobe that the add-on ships, for Blender's own GPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from render.brdf import ggx_table

SHIPPED = Path(__file__).parents[2] / "blender_addon" / "ggx_table.npy"


def test_the_add_on_ships_the_renderers_table():
    shipped = np.load(SHIPPED, allow_pickle=False)
    assert (shipped.dtype, shipped.shape) == (np.float32, (48, 48, 8))
    np.testing.assert_allclose(shipped, ggx_table().values[0].permute(1, 2, 0).numpy(), atol=2e-6)
