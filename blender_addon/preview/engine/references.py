# SPDX-License-Identifier: GPL-3.0-or-later
"""The reference renders of the last fit in the viewport: the one whose camera is nearest, or how far the material is off."""

from __future__ import annotations

from collections.abc import Hashable

import gpu
import numpy as np

from ...common.axes import view_matrix
from ...common.color import linear_from_srgb, srgb_from_linear
from ...common.errors import PbrFitError
from ...protocol.client.preview_events import PreparedLight
from ...references.views import View
from ...session import session
from ...settings.preview import ERROR
from ..gl.targets import texture_of_frame
from ..scene.cameras import ImageCamera, Window
from ..scene.scene import PreviewScene
from .hub import hub

NOTHING = "There are no reference renders yet: they come with a fit"


class ReferenceView:
    """The picture of one viewport."""

    def __init__(self) -> None:
        self._texture: gpu.types.GPUTexture | None = None
        self._key: Hashable = None
        self._size = (1, 1)

    def free(self) -> None:
        """Give up what is on the GPU."""
        self._texture = self._key = None

    def picture(
        self,
        show: str,
        scene: PreviewScene,
        light: PreparedLight | None,
        camera: ImageCamera,
        region: tuple[int, int],
    ) -> tuple[gpu.types.GPUTexture | None, Window, str]:
        """The texture, where it lies in a region of this size, and what it is; a reason where there is none."""
        current = session.current()
        references = current.reference_views() if current is not None else ()
        if not references:
            return None, Window(0, 0, 1, 1), NOTHING
        nearest = min(range(len(references)), key=lambda number: distance(references[number].view, camera))
        reference = references[nearest]
        key = (show, nearest, id(current), id(scene) if show == ERROR else 0, light.key if light else "")
        label = f"Reference {nearest + 1} of {len(references)}"
        if self._texture is None or self._key != key:
            try:
                image = np.asarray(reference.image(), dtype=np.float32)
            except PbrFitError as error:
                return None, Window(0, 0, 1, 1), error.cause
            self._size = image.shape[1::-1]
            if show == ERROR:
                image = difference(drawn(scene, light, reference.view, self._size), image)
            self._texture, self._key = texture_of_frame(image), key
        if show == ERROR:
            label = f"Error in the view of reference {nearest + 1} of {len(references)}"
        return self._texture, fitted(self._size, region), label


def distance(reference: View, camera: ImageCamera) -> float:
    """How differently two cameras look, the less the nearer: first by direction, then by what is up."""
    one, other = np.linalg.inv(view_matrix(reference.matrix_world)), np.linalg.inv(camera.view)
    turned = 1.0 - float(one[:3, 2] @ other[:3, 2])
    rolled = 1.0 - float(one[:3, 1] @ other[:3, 1])
    return turned + 0.01 * rolled


def drawn(scene: PreviewScene, light: PreparedLight | None, reference: View, size: tuple[int, int]) -> np.ndarray:
    """The scene through a reference's camera, float32 [h, w, 4]."""
    camera, drawing = reference.for_renderer(), hub().drawing
    view, projection = np.array(camera["view"]), np.array(camera["projection"])
    return drawing.read(drawing.draw(scene, light, view, projection, size, "shaded", spp=2))


def difference(image: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """How far two linear, premultiplied images [h, w, 4] are apart in sRGB values: as an image, opaque where either is."""
    values = np.abs(srgb_from_linear(image[..., :3]) - srgb_from_linear(reference[..., :3]))
    alpha = np.maximum(image[..., 3:], reference[..., 3:])
    return np.concatenate([linear_from_srgb(values) * alpha, alpha], axis=-1)


def fitted(image: tuple[int, int], region: tuple[int, int]) -> Window:
    """Where an image of a size lies in a region: as large as fits, in the middle."""
    scale = min(region[0] / image[0], region[1] / image[1])
    width, height = round(image[0] * scale), round(image[1] * scale)
    return Window((region[0] - width) // 2, (region[1] - height) // 2, width, height)
