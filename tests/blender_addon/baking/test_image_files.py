"""Pixels in files are those that were given."""

from __future__ import annotations

import bpy
import numpy as np
import pytest

CASES = [(8, 3, 0.51 / 255.0), (8, 4, 0.51 / 255.0), (16, 3, 0.51 / 65535.0), (32, 3, 1e-7), (32, 4, 1e-7)]


@pytest.mark.parametrize(("bits", "channels", "error"), CASES)
def test_pixels_come_back_in_the_bits_that_were_chosen(
    addon, colors, tmp_path, bits: int, channels: int, error: float
) -> None:
    files = addon.baking.image_files
    values = np.random.default_rng(0).random((8, 8, channels)).astype(np.float32)
    path = tmp_path / f"map{files.suffix_of(bits)}"
    files.write_image(path, values, bits)
    if bits != files.FLOATS:
        assert path.read_bytes()[24] == bits
    image = bpy.data.images.load(str(path))
    image.colorspace_settings.name = addon.common.color_spaces.data_space()
    image.alpha_mode = "CHANNEL_PACKED"
    found = np.array(image.pixels[:]).reshape(8, 8, 4)[::-1]
    np.testing.assert_allclose(found[..., :channels], values, atol=error)
    assert "PBRfit output" not in bpy.data.scenes
