# SPDX-License-Identifier: GPL-3.0-or-later
"""The references of the last fit as views: the camera of a 3D view that sees the same, and the errors in all of them."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from mathutils import Matrix, Vector
from numpy.typing import NDArray

from ..common.color import srgb_from_linear
from ..references.views import View
from ..session import session
from ..session.fit_queue import RenderedReference
from .pictures import Sight
from .view_before import LENS_OF_WIDTH, Camera

MEASURED_SIZE = 96  # pixels along a side, in which errors are measured


def references_of(objects: Iterable[int]) -> list[RenderedReference]:
    """The references of the last fit that show any of these objects (their numbers, session_uid)."""
    current, wanted = session.current(), set(objects)
    found = current.references() if current is not None else []
    return [reference for reference in found if reference.objects & wanted]


def sight_of(view: View, size: int) -> Sight:
    """The camera of a reference, whose image has this many pixels along a side."""
    camera = view.for_renderer()
    return Sight(np.array(camera["view"]), np.array(camera["projection"]), (size, size))


def camera_of(view: View, region: tuple[int, int]) -> Camera:
    """The camera of a 3D view of this size that sees in its middle what a reference does, as large as fits."""
    matrix = Matrix(view.matrix_world.tolist())
    lens = LENS_OF_WIDTH / math.tan(0.5 * view.fov) * min(region) / max(region)
    distance = 0.5 * (view.clip_start + view.clip_end)
    rotation = matrix.to_quaternion()
    location = matrix.to_translation() - rotation @ Vector((0.0, 0.0, distance))
    return Camera("PERSP", location, rotation, distance, lens)


def smaller(image: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """An image [h, w, 4] with at most `size` pixels along a side, by means of whole blocks."""
    block = max(1, math.ceil(max(image.shape[:2]) / size))
    height, width = image.shape[0] // block, image.shape[1] // block
    blocks = image[: height * block, : width * block].reshape(height, block, width, block, 4)
    means: NDArray[np.float32] = blocks.mean(axis=(1, 3))
    return means


def error_between(image: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    """The root mean square difference of two linear, premultiplied images [h, w, 4] in sRGB values, where either shows
    something; 0 where neither does. The reference's noise does not count.

    Of each 2x2 pixels the two diagonals are compared, each for itself: what is wrong is wrong in both, and noise is not, so it
    goes with the mean of their products. Otherwise the view with the most noise would be the worst one.
    """
    height, width = (length // 2 * 2 for length in image.shape[:2])
    seen = np.maximum(image[..., 3], reference[..., 3])[:height, :width] > 0.5
    whole = seen.reshape(height // 2, 2, width // 2, 2).all(axis=(1, 3))
    if not whole.any():
        return 0.0
    differences = []
    for first, second in (((0, 0), (1, 1)), ((0, 1), (1, 0))):
        one, other = (
            srgb_from_linear(np.clip((pixels_at(pixels, first) + pixels_at(pixels, second))[whole] / 2.0, 0.0, 1.0))
            for pixels in (image[:height, :width], reference[:height, :width])
        )
        differences.append(one - other)
    return float(np.sqrt(max(0.0, np.mean(differences[0] * differences[1]))))


def pixels_at(image: NDArray[np.float32], place: tuple[int, int]) -> NDArray[np.float32]:
    """The colors at one place of each 2x2 pixels: [h / 2, w / 2, 3]."""
    row, column = place
    return image[row::2, column::2, :3]
