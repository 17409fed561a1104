# SPDX-License-Identifier: GPL-3.0-or-later
"""The camera of a viewport or of a render, for the renderer: its matrices, and the rectangle of the image to draw."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import bpy
import numpy as np
from mathutils import Vector
from numpy.typing import NDArray

from ...common.axes import TOP_ROW_FIRST, renderer_view


@dataclass(frozen=True)
class Window:
    """A rectangle of an image in pixels: its left and bottom edge, as Blender counts, and its size."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class ImageCamera:
    """A camera and its pixels.

    view, projection: float64 [4, 4], column vectors, renderer axes, y flipped, of the window's pixels only; window: where
    these pixels are in the region or in the whole render.
    """

    view: NDArray[np.float64]
    projection: NDArray[np.float64]
    window: Window

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.window.width, self.window.height

    @property
    def signature(self) -> Hashable:
        """Equal for cameras that show the same."""
        return self.view.tobytes(), self.projection.tobytes(), self.window


def windowed(projection: NDArray[np.float64], window: Window, size: tuple[int, int]) -> NDArray[np.float64]:
    """The projection (y flipped) of one window of the image of `size` that `projection` shows."""
    share_x, share_y = window.width / size[0], window.height / size[1]
    top = size[1] - window.y - window.height
    center_x = 2.0 * window.x / size[0] + share_x - 1.0
    center_y = 2.0 * top / size[1] + share_y - 1.0
    crop = np.diag([1.0 / share_x, 1.0 / share_y, 1.0, 1.0])
    crop[0, 3], crop[1, 3] = -center_x / share_x, -center_y / share_y
    cropped: NDArray[np.float64] = crop @ projection
    return cropped


def viewport_camera(context: bpy.types.Context, scene: bpy.types.Scene) -> ImageCamera | None:
    """The camera of a 3D view's region, cut to its border; None if the border leaves nothing."""
    region, data = context.region, context.region_data
    size = (region.width, region.height)
    window = Window(0, 0, *size)
    border = border_of(context, scene)
    if border is not None:
        left, right = (min(max(round(value * size[0]), 0), size[0]) for value in border[:2])
        bottom, top = (min(max(round(value * size[1]), 0), size[1]) for value in border[2:])
        window = Window(left, bottom, right - left, top - bottom)
    if min(window.width, window.height) < 1:
        return None
    projection = TOP_ROW_FIRST @ np.array(data.window_matrix, dtype=np.float64)
    if window.width != size[0] or window.height != size[1]:
        projection = windowed(projection, window, size)
    return ImageCamera(renderer_view(np.array(data.view_matrix)), projection, window)


def border_of(context: bpy.types.Context, scene: bpy.types.Scene) -> tuple[float, float, float, float] | None:
    """Left, right, bottom and top of the border as shares of the region; None without a border."""
    space, data = context.space_data, context.region_data
    if data.view_perspective != "CAMERA":
        if not space.use_render_border:
            return None
        return (
            space.render_border_min_x,
            space.render_border_max_x,
            space.render_border_min_y,
            space.render_border_max_y,
        )
    camera = space.camera if space.use_local_camera and space.camera is not None else scene.camera
    if not scene.render.use_border or camera is None or camera.type != "CAMERA":
        return None
    matrix = data.perspective_matrix @ camera.matrix_world.normalized()
    corners = [matrix @ Vector((*corner, 1.0)) for corner in camera.data.view_frame(scene=scene)]
    x = [0.5 + 0.5 * corner.x / corner.w for corner in corners]
    y = [0.5 + 0.5 * corner.y / corner.w for corner in corners]
    left, bottom, wide, high = min(x), min(y), max(x) - min(x), max(y) - min(y)
    render = scene.render
    return (
        left + wide * render.border_min_x,
        left + wide * render.border_max_x,
        bottom + high * render.border_min_y,
        bottom + high * render.border_max_y,
    )


def render_camera(depsgraph: bpy.types.Depsgraph) -> ImageCamera | None:
    """The camera of a render, cut to its border; None if the scene has no camera."""
    scene = depsgraph.scene_eval
    render, camera = scene.render, scene.camera
    if camera is None:
        return None
    camera = camera.evaluated_get(depsgraph)
    size = render_size(render)
    window = Window(0, 0, *size)
    projection = TOP_ROW_FIRST @ np.array(
        camera.calc_matrix_camera(
            depsgraph, x=size[0], y=size[1], scale_x=render.pixel_aspect_x, scale_y=render.pixel_aspect_y
        ),
        dtype=np.float64,
    )
    if render.use_border:
        # Round towards zero, as Blender does.
        left, right = int(render.border_min_x * size[0]), int(render.border_max_x * size[0])
        bottom, top = int(render.border_min_y * size[1]), int(render.border_max_y * size[1])
        window = Window(left, bottom, max(1, right - left), max(1, top - bottom))
        projection = windowed(projection, window, size)
    return ImageCamera(renderer_view(np.array(camera.matrix_world.normalized().inverted())), projection, window)


def render_size(render: bpy.types.RenderSettings) -> tuple[int, int]:
    """Width and height of a render in pixels, without a border."""
    scale = render.resolution_percentage
    return max(1, render.resolution_x * scale // 100), max(1, render.resolution_y * scale // 100)
