"""The request for a frame of the preview, and the frame that shows nothing: what both ends agree on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .wire import LONGEST_NAME, ProtocolError

CHANNELS = ("shaded", "kd", "occlusion", "roughness", "metallic", "normal", "light", "depth")
BACKGROUNDS = ("none", "light")
FRAME_DTYPES = ("float16", "float32")
LARGEST_FRAME = 8192
MOST_SAMPLES = 16
MOST_LAYERS = 16
# Of a whole frame: 4096 x 2160 pixels may have 64 each, 8192 x 4096 pixels 16.
MOST_FRAME_SAMPLES = 2**30
# The value of a frame's depth channel where nothing is seen, as in Blender's depth pass.
NO_DEPTH = 1e10

Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class FrameRequest:
    """A request to draw a frame. Raises `ProtocolError` with code "frame" for values that are not allowed.

    viewport: a name of up to 64 characters; only the latest frame of each viewport counts. number: any; it comes back with
    the frame. view, projection: 4x4, rows of column-vector matrices, renderer axes, y flipped (row 0 of the image is the
    top). width, height: 1 to 8192. spp: samples along each side of a pixel, 1 to 16. channel: shaded, kd, occlusion,
    roughness, metallic, normal, light or depth. background: "light" shows the light where nothing is. dtype: float16 or
    float32. layers: depth layers composited where a part has alpha, 1 to 16. final: whether somebody waits for exactly
    this picture (F12). Such a frame may slow a fit; other frames wait where they would slow it.
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
        samples = self.width * self.height * self.spp**2
        if samples >= MOST_FRAME_SAMPLES:
            cause = f"{self.width} x {self.height} pixels with {self.spp**2} samples each are {samples} samples"
            cure = "Render a smaller picture, or with fewer samples."
            raise ProtocolError("frame", f"{cause}; allowed are fewer than {MOST_FRAME_SAMPLES}.", cure)
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

    @property
    def nbytes(self) -> int:
        """How much memory the frame takes."""
        return self.width * self.height * 4 * np.dtype(self.dtype).itemsize

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


def _checked_matrix(name: str, rows: Iterable[Iterable[Any]]) -> Matrix:
    try:
        matrix = tuple(tuple(float(value) for value in row) for row in rows)
    except (TypeError, ValueError, OverflowError) as error:
        raise _refused(f"The frame's {name} is not a 4x4 matrix of numbers.") from error
    if [len(row) for row in matrix] != [4, 4, 4, 4] or not all(math.isfinite(value) for row in matrix for value in row):
        raise _refused(f"The frame's {name} is not a 4x4 matrix of finite numbers.")
    return matrix


def empty_frame(height: int, width: int, dtype: DTypeLike, channel: str) -> NDArray[Any]:
    """A frame that shows nothing, [height, width, 4]: 0, or `NO_DEPTH` in the channel "depth"."""
    image = np.zeros((height, width, 4), dtype)
    if channel == "depth":
        image[..., :3] = min(NO_DEPTH, float(np.finfo(image.dtype).max))
    return image
