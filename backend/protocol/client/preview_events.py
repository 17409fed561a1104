"""What `PreviewClient` asks for, and what its `poll` hands to Blender's main thread."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ..wire import LONGEST_NAME, ProtocolError

CHANNELS = ("shaded", "kd", "occlusion", "roughness", "metallic", "normal", "light", "depth")
BACKGROUNDS = ("none", "light")
FRAME_DTYPES = ("float16", "float32")
LARGEST_FRAME = 8192
MOST_SAMPLES = 16
MOST_LAYERS = 16
# What a frame's depth channel has where nothing is.
NO_DEPTH = 1e10

Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class FrameRequest:
    """A frame to be drawn. Raises `ProtocolError` with code "frame" for values that are not allowed.

    viewport: a name of up to 64 characters; only the latest frame of each counts. number: any, it comes back with the
    frame. view, projection: 4x4, rows of column-vector matrices, renderer axes, y flipped (row 0 of the image is the
    top). width, height: 1 to 8192. spp: samples along each side of a pixel, 1 to 16. channel: shaded, kd, occlusion,
    roughness, metallic, normal, light or depth. background: "light" shows the light where nothing is. dtype: float16 or
    float32. layers: depth layers composited where a part has alpha, 1 to 16. final: whether somebody waits for this very
    picture (F12): it may slow a fit; other frames are held back where they would.
    """

    viewport: str
    number: int
    view: Matrix
    projection: Matrix
    width: int
    height: int
    spp: int = 1
    channel: str = "shaded"
    background: str = "none"
    dtype: str = "float16"
    layers: int = 1
    final: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.viewport, str) or not 0 < len(self.viewport) <= LONGEST_NAME:
            raise _refused(f"The viewport {self.viewport!r} is no text of 1 to {LONGEST_NAME} characters.")
        _check_whole("number", self.number, -(2**53), 2**53)
        for name, most in (
            ("width", LARGEST_FRAME),
            ("height", LARGEST_FRAME),
            ("spp", MOST_SAMPLES),
            ("layers", MOST_LAYERS),
        ):
            _check_whole(name, getattr(self, name), 1, most)
        for name, allowed in (("channel", CHANNELS), ("background", BACKGROUNDS), ("dtype", FRAME_DTYPES)):
            if getattr(self, name) not in allowed:
                raise _refused(f"The {name} {getattr(self, name)!r} is not one of {', '.join(allowed)}.")
        if not isinstance(self.final, bool):
            raise _refused(f"The frame's final is {self.final!r}, not true or false.")
        for name in ("view", "projection"):
            object.__setattr__(self, name, _checked_matrix(name, getattr(self, name)))

    def to_dict(self) -> dict[str, Any]:
        """The request as JSON values; `from_dict` takes them back."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FrameRequest:
        """A request from JSON values. Raises `ProtocolError` with code "frame"."""
        names = {field.name for field in fields(cls)}
        missing = {"viewport", "number", "view", "projection", "width", "height"} - set(values)
        if missing or not set(values) <= names:
            raise _refused(f"The request lacks {sorted(missing)} or has more than {sorted(names)}.")
        return cls(**values)


def _refused(cause: str) -> ProtocolError:
    return ProtocolError("frame", cause, "Ask for a frame as docs/protocol.md describes it.")


def _check_whole(name: str, value: object, least: int, most: int) -> None:
    if type(value) is not int or not least <= value <= most:
        raise _refused(f"The frame's {name} is {value!r}, not a whole number from {least} to {most}.")


def _checked_matrix(name: str, rows: object) -> Matrix:
    try:
        matrix = tuple(tuple(float(value) for value in row) for row in rows)
    except (TypeError, ValueError, OverflowError) as error:
        raise _refused(f"The frame's {name} is not a 4x4 matrix of numbers.") from error
    if [len(row) for row in matrix] != [4, 4, 4, 4] or not all(math.isfinite(value) for row in matrix for value in row):
        raise _refused(f"The frame's {name} is not a 4x4 matrix of finite numbers.")
    return matrix


@dataclass(frozen=True)
class PreviewConnected:
    """The backend answered. `info` is that of `events.Connected`."""

    info: dict[str, Any]


@dataclass(frozen=True)
class SceneReady:
    """The latest scene that was set is there: frames show it from now on."""


@dataclass(frozen=True)
class MapsChanged:
    """There are newer maps of a job than the scene's last frame shows: ask for another. Not repeated before that.

    set_index: which set of maps, -1 for the learned light.
    """

    job: str
    set_index: int


@dataclass(frozen=True)
class PreviewFrame:
    """A frame of width x height pixels of the requested dtype, row 0 at the top, linear Rec.709, premultiplied.

    rows: [h, w, 4], what is not empty, and rect: its top, left, height and width. It belongs to whoever polls it.
    timing: seconds, `render` and `copy` (to the backend's main memory).
    """

    viewport: str
    number: int
    rows: np.ndarray
    rect: tuple[int, int, int, int]
    width: int
    height: int
    spp: int
    channel: str
    timing: dict[str, float]

    @property
    def image(self) -> np.ndarray:
        """The whole frame, [height, width, 4], put together anew by each call: outside of its rows nothing is, which is 0
        or, as a depth, `NO_DEPTH`."""
        top, left, height, width = self.rect
        if (height, width) == (self.height, self.width):
            return self.rows
        image = empty_frame(self.height, self.width, self.rows.dtype, self.channel)
        image[top : top + height, left : left + width] = self.rows
        return image


def empty_frame(height: int, width: int, dtype: np.typing.DTypeLike, channel: str) -> np.ndarray:
    """A frame that shows nothing: 0 or, as a depth, `NO_DEPTH`."""
    image = np.zeros((height, width, 4), dtype)
    if channel == "depth":
        image[..., :3] = min(NO_DEPTH, float(np.finfo(image.dtype).max))
    return image


@dataclass(frozen=True)
class PreparedLight:
    """A prefiltered light, as the fit has it.

    key: hash of the environment (`wire.content_hash` of its float32 bytes). atlas: float16 [Ha, Wa, 4], alpha unused:
    of each level the six faces side by side, each with a border of one texel. irradiance: float32 [9, 3], spherical
    harmonics, divided by pi. places: of each level its resolution, and row and column where its strip begins.
    roughnesses: of the levels.
    """

    key: str
    atlas: np.ndarray
    irradiance: np.ndarray
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
    """A scene or a light could not be taken (code "scene", "light" or what the backend says), or the connection failed:
    "unreachable", "address", "key", "version" and "internal" end it. `cause` and `cure` are sentences.
    """

    code: str
    cause: str
    cure: str


@dataclass(frozen=True)
class PreviewLost:
    """The backend fell silent. The client has closed its socket; `connect` starts anew, the scene must be set again."""

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
