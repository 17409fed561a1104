"""The overlay's drawing, on Blender's own GPU without a window: only unseen texels are drawn."""

from __future__ import annotations

import numpy as np
import pytest
from support.blender.gpu_work import on_the_gpu

bpy = pytest.importorskip("bpy")
Matrix = pytest.importorskip("mathutils").Matrix
SIZE = 64


def test_only_unseen_texels_are_drawn(addon) -> None:
    mask = np.zeros((4, 4), bool)
    mask[0] = True  # the top of the maps
    mask[3, 1] = True
    corners = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, -1, 0], [1, 1, 0], [-1, 1, 0]], np.float32)
    uv = np.ascontiguousarray((corners[:, :2] + 1.0) / 2.0 + 3.0)  # UVs repeat
    faces = addon.overlay.unseen_faces.UnseenFaces(corners, uv, mask, 1.0)

    def work() -> np.ndarray:
        import gpu

        image = gpu.types.GPUOffScreen(SIZE, SIZE)
        with image.bind():
            target = gpu.state.active_framebuffer_get()
            target.clear(color=(0.0, 0.0, 0.0, 0.0))
            addon.overlay.drawing.DrawnFaces(faces).draw(Matrix.Identity(4))
            drawn = target.read_color(0, 0, SIZE, SIZE, 4, 0, "FLOAT")
        return np.array(drawn.to_list()).reshape(SIZE, SIZE, 4)

    drawn = on_the_gpu(work)[::-1, :, 3] > 0.0  # row 0 at the top
    expected = mask.repeat(SIZE // 4, 0).repeat(SIZE // 4, 1)
    assert (drawn == expected).all()
