# SPDX-License-Identifier: GPL-3.0-or-later
"""The last fit's reference renders in the viewport: the one with the nearest camera, or the fitted material's error."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import gpu
import numpy as np
from numpy.typing import NDArray

from ...common.axes import view_matrix
from ...common.color import linear_from_srgb, srgb_from_linear
from ...common.errors import PbrFitError
from ...references.views import View
from ...session import session
from ...settings.preview import ERROR
from ..gl.targets import texture_of_frame
from ..scene.cameras import ImageCamera, Window
from ..scene.light import ShownLight
from ..scene.scene import PreviewScene
from .hub import hub

NOTHING = "There are no reference renders yet: they come with a fit"


class NearestReference:
    """The reference of one viewport."""

    def __init__(self) -> None:
        self._texture: gpu.types.GPUTexture | None = None
        self._key: Hashable = None
        self._size: tuple[int, int] = (1, 1)

    def free(self) -> None:
        """Free what is on the GPU."""
        self._texture = self._key = None

    def picture(
        self,
        show: str,
        scene: PreviewScene,
        light: ShownLight | None,
        camera: ImageCamera,
        region: tuple[int, int],
    ) -> tuple[gpu.types.GPUTexture | None, Window, str]:
        """The texture, its place in a region of this size, and what it shows; without a texture, the reason."""
        current = session.current()
        references = current.references() if current is not None else []
        if not references:
            return None, Window(0, 0, 1, 1), NOTHING
        nearest = min(range(len(references)), key=lambda number: distance(references[number].view, camera))
        reference = references[nearest]
        key = (show, nearest, id(current), id(scene) if show == ERROR else 0, light.key if light else "")
        label = f"Reference {nearest + 1} of {len(references)}"
        if self._texture is None or self._key != key:
            try:
                image: NDArray[Any] = np.asarray(reference.image(), dtype=np.float32)
            except PbrFitError as error:
                return None, Window(0, 0, 1, 1), error.cause
            self._size = (image.shape[1], image.shape[0])
            if show == ERROR:
                image = difference(drawn(scene, light, reference.view, self._size), image)
            self._texture, self._key = texture_of_frame(image), key
        if show == ERROR:
            label = f"Error in the view of reference {nearest + 1} of {len(references)}"
        return self._texture, fitted(self._size, region), label


def distance(reference: View, camera: ImageCamera) -> float:
    """How much two cameras differ, 0: not at all; first by their direction, then by their upward direction."""
    one, other = np.linalg.inv(view_matrix(reference.matrix_world)), np.linalg.inv(camera.view)
    turned = 1.0 - float(one[:3, 2] @ other[:3, 2])
    rolled = 1.0 - float(one[:3, 1] @ other[:3, 1])
    return turned + 0.01 * rolled


def drawn(scene: PreviewScene, light: ShownLight | None, reference: View, size: tuple[int, int]) -> NDArray[np.float32]:
    """The scene drawn through a reference's camera, float32 [h, w, 4]."""
    camera, drawing = reference.for_renderer(), hub().drawing
    view, projection = np.array(camera["view"]), np.array(camera["projection"])
    return drawing.read(drawing.draw(scene, light, view, projection, size, "shaded", spp=2))


def difference(image: NDArray[Any], reference: NDArray[Any]) -> NDArray[Any]:
    """The difference of two linear, premultiplied images [h, w, 4] in sRGB values, as an image; opaque where either is."""
    values = np.abs(srgb_from_linear(image[..., :3]) - srgb_from_linear(reference[..., :3]))
    alpha = np.maximum(image[..., 3:], reference[..., 3:])
    return np.concatenate([linear_from_srgb(values) * alpha, alpha], axis=-1)


def fitted(image: tuple[int, int], region: tuple[int, int]) -> Window:
    """The place of an image in a region: as large as fits, in the middle."""
    scale = min(region[0] / image[0], region[1] / image[1])
    width, height = round(image[0] * scale), round(image[1] * scale)
    return Window((region[0] - width) // 2, (region[1] - height) // 2, width, height)
