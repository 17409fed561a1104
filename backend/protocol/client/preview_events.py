"""What `PreviewClient.poll` hands to Blender's main thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..frames import empty_frame


@dataclass(frozen=True)
class PreviewConnected:
    """The backend answered. `info` is that of `events.Connected`."""

    info: dict[str, Any]


@dataclass(frozen=True)
class SceneReady:
    """The latest scene that was set is ready: frames show it from now on."""


@dataclass(frozen=True)
class MapsChanged:
    """A job has newer maps than the scene's last frame shows: ask for another frame. Not repeated before that.

    set_index: which set of maps, -1 for the learned light.
    """

    job: str
    set_index: int


@dataclass(frozen=True)
class PreviewFrame:
    """A frame of width x height pixels of the requested dtype, row 0 at the top, linear Rec.709, premultiplied.

    rows: [h, w, 4], the part that is not empty; rect: its top, left, height and width in the frame. The array belongs to
    whoever polls the event. timing: seconds, `render` and `copy` (to the backend's main memory).
    """

    viewport: str
    number: int
    rows: NDArray[Any]
    rect: tuple[int, int, int, int]
    width: int
    height: int
    spp: int
    channel: str
    timing: dict[str, float]

    @property
    def image(self) -> NDArray[Any]:
        """The whole frame, [height, width, 4], put together again by each call.

        Outside its rows it is as `empty_frame`.
        """
        top, left, height, width = self.rect
        if (height, width) == (self.height, self.width):
            return self.rows
        image = empty_frame(self.height, self.width, self.rows.dtype, self.channel)
        image[top : top + height, left : left + width] = self.rows
        return image


@dataclass(frozen=True)
class PreparedLight:
    """A prefiltered light, as the fit has it.

    key: hash of the environment (`wire.content_hash` of its float32 bytes). atlas: float16 [Ha, Wa, 4], alpha unused; for
    each level it holds the six faces side by side, each with a border of one texel. irradiance: float32 [9, 3], spherical
    harmonics, divided by pi. places: for each level its resolution, and the row and column where its strip begins.
    roughnesses: of the levels.
    """

    key: str
    atlas: NDArray[np.float16]
    irradiance: NDArray[np.float32]
    places: tuple[tuple[int, int, int], ...]
    roughnesses: tuple[float, ...]


@dataclass(frozen=True)
class FrameFailed:
    """A frame could not be drawn. `code` is for programs, `cause` and `cure` are sentences."""

    viewport: str
    number: int
    code: str
    cause: str
    cure: str


@dataclass(frozen=True)
class PreviewFailed:
    """A scene or a light could not be taken, or the connection failed. `cause` and `cure` are sentences.

    code: "scene", "light" or what the backend says; "unreachable", "address", "key", "version" and "internal" end the
    connection.
    """

    code: str
    cause: str
    cure: str


@dataclass(frozen=True)
class PreviewLost:
    """The backend fell silent. The client has closed its socket; `connect` starts again, and the scene must be set again."""

    reason: str


PreviewEvent = (
    PreviewConnected
    | SceneReady
    | MapsChanged
    | PreviewFrame
    | PreparedLight
    | FrameFailed
    | PreviewFailed
    | PreviewLost
)
