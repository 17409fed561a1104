# SPDX-License-Identifier: GPL-3.0-or-later
"""What the renderer on Blender's GPU needs of a scene and its light. `preview.scene.scene` and the protocol have both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeGuard

import numpy as np
from numpy.typing import NDArray


class DrawnTexture(Protocol):
    """A texture of a look; see `scene.Texture`."""

    @property
    def key(self) -> str:
        """The name of its pixels."""

    @property
    def image_uid(self) -> int:
        """The `session_uid` of its image, if the file has one."""

    @property
    def pixels(self) -> NDArray[Any] | None:
        """Its pixels, uint8 [h, w, 4], if no image of the file has them."""

    @property
    def channel(self) -> int | None:
        """The channel to read; None: red, green and blue."""

    @property
    def encoding(self) -> str:
        """What the stored values mean."""


class DrawnLook(Protocol):
    """A look; see `scene.Look`. The renderer reads its other properties by name."""

    @property
    def alpha(self) -> DrawnTexture | float:
        """How opaque the surface is."""


class DrawnPart(Protocol):
    """Triangles that look alike; see `scene.PreviewPart`."""

    @property
    def key(self) -> str:
        """The name of the geometry."""

    @property
    def place(self) -> str:
        """Which object's and slot's part it is, whatever its geometry."""

    @property
    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """The wire arrays of the geometry."""

    @property
    def matrix(self) -> NDArray[Any]:
        """From the geometry's own space to the world, [4, 4]."""

    @property
    def look(self) -> DrawnLook:
        """How the triangles look."""


class DrawnScene(Protocol):
    """A scene; see `scene.PreviewScene`."""

    @property
    def parts(self) -> Sequence[DrawnPart]:
        """All that is drawn."""


class DrawnLight(Protocol):
    """A prefiltered light: `preview_events.PreparedLight` or `events.LightPreview`."""

    @property
    def key(self) -> str:
        """The name of the light."""

    @property
    def atlas(self) -> NDArray[np.float16]:
        """The faces of all levels."""

    @property
    def irradiance(self) -> NDArray[np.float32]:
        """Spherical harmonics [9, 3]."""

    @property
    def places(self) -> tuple[tuple[int, int, int], ...]:
        """For each level its resolution, and the row and column where its strip begins."""

    @property
    def roughnesses(self) -> tuple[float, ...]:
        """The roughness of each level."""


def is_texture(value: object) -> TypeGuard[DrawnTexture]:
    """Whether a property of a look is a texture, not a constant."""
    return hasattr(value, "key")
