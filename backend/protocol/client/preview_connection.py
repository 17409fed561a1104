"""The preview client's I/O thread: uploads of scenes and lights, requests for frames, and their assembly."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..frames import FrameRequest, empty_frame
from ..light_message import read_light
from ..scene_description import SceneDescription
from ..transfer import Uploads
from ..wire import ArrayDescription, Message, ProtocolError, describe, plain
from .events import Disconnected, Failed
from .link_loop import LinkLoop, LoopSetup, failure_of
from .preview_events import (
    FrameFailed,
    MapsChanged,
    PreparedLight,
    PreviewConnected,
    PreviewEvent,
    PreviewFailed,
    PreviewFrame,
    SceneReady,
)

# Requests of a viewport on their way: one that is being drawn or sent, and one that waits behind it.
MOST_ON_THEIR_WAY = 2

logger = logging.getLogger(__name__)


@dataclass
class _Scene:
    """A scene: its description, its arrays by name, and how many scenes were set before."""

    description: SceneDescription
    arrays: dict[str, NDArray[Any]]
    number: int


@dataclass
class _Viewport:
    """A viewport's requests that the backend has not answered yet, by name, and the latest that was not sent."""

    sent: dict[str, FrameRequest] = field(default_factory=dict)
    next: FrameRequest | None = None


@dataclass
class _ArrivingFrame:
    """A frame on its way: its rows, the rectangle that they are, and how many of them have come."""

    rows: NDArray[Any]
    rect: tuple[int, int, int, int]
    received: int = 0


class PreviewConnection(LinkLoop[PreviewEvent]):
    """The link of a `PreviewClient`."""

    def __init__(self, setup: LoopSetup, emit: Callable[[PreviewEvent | Failed | Disconnected], None]) -> None:
        super().__init__(setup, emit)
        self._scenes = self._told = 0  # how many scenes were set, and the latest that was reported as ready
        self._next_scene: _Scene | None = None
        self._offered: Message | None = None  # the latest request `scene`
        self._taken = True  # whether it has been answered
        self._arrays_of_scene: dict[str, NDArray[Any]] = {}  # by hash
        self._known: dict[int, tuple[NDArray[Any], ArrayDescription]] = {}  # arrays that were hashed, by identity
        self._lights: dict[str, NDArray[Any]] = {}  # asked for, by hash
        self._uploads: dict[str, Uploads] = {}  # "scene", or the hash of a light
        self._puts: dict[str, tuple[str, Uploads]] = {}  # by request
        self._viewports: dict[str, _Viewport] = {}
        self._frames: dict[str, _ArrivingFrame] = {}  # by request

    # Commands of the main thread

    def _take_commands(self) -> None:
        super()._take_commands()
        self._offer_scene()
        for viewport in self._viewports.values():
            self._send_next(viewport)

    def _carry_out(self, name: str, value: Any) -> None:
        if name == "scene":
            self._scenes += 1
            description, arrays = value
            self._next_scene = _Scene(description, arrays, self._scenes)
        elif name == "frame":
            self._viewports.setdefault(value.viewport, _Viewport()).next = value
        elif name == "light":
            described = describe(value)
            self._lights[described.hash] = value
            self._send(Message("light", {"array": described.to_dict()}))

    def _say_farewell(self) -> None:
        self._send(Message("leave_preview"))

    def _is_done(self) -> bool:
        return not any(message.type == "leave_preview" for message, _ in self._link.unanswered.values())

    def _offer_scene(self) -> None:
        """Offers the latest scene. It waits, and may be replaced, until the backend has answered the one before."""
        scene = self._next_scene
        if scene is None or not self._taken:
            return
        self._next_scene, self._uploads["scene"] = None, Uploads({})
        descriptions = self._described(scene.arrays)
        self._arrays_of_scene = {descriptions[name].hash: array for name, array in scene.arrays.items()}
        try:
            values = plain(scene.description.to_dict())
            text = json.dumps(values, allow_nan=False, separators=(",", ":")).encode()
        except TypeError as error:
            cause = f"The scene's description is not as it should be: {type(error).__name__}: {error}."
            self._emit(PreviewFailed("scene", cause, "This is a fault of PBRfit; please report it."))
            return
        body = {
            "scene": scene.number,
            "jobs": sorted(scene.description.jobs),
            "arrays": {name: description.to_dict() for name, description in descriptions.items()},
        }
        self._offered, self._taken = Message("scene", body, {"description": np.frombuffer(text, np.uint8)}), False
        self._send(self._offered, len(text))

    def _described(self, arrays: dict[str, NDArray[Any]]) -> dict[str, ArrayDescription]:
        """The arrays' descriptions; arrays of the scene before are not hashed again."""
        known, self._known = self._known, {}
        descriptions = {}
        for name, array in arrays.items():
            _, description = known.get(id(array)) or self._known.get(id(array)) or (array, describe(array))
            self._known[id(array)] = array, description  # kept, so that no other array gets its identity
            descriptions[name] = description
        return descriptions

    def _send_next(self, viewport: _Viewport) -> None:
        if viewport.next is None or len(viewport.sent) >= MOST_ON_THEIR_WAY:
            return
        request, viewport.next = viewport.next, None
        message = Message("frame", request.to_dict())
        self._send(message, request.width * request.height * 4 * np.dtype(request.dtype).itemsize)
        viewport.sent[message.request] = request

    # What the backend says

    def _take_message(self, message: Message) -> None:
        body = message.body
        if message.type == "frame_piece":
            self._take_piece(message)
            return
        request = self._link.answered(message.request)
        try:
            if message.type == "error":
                self._take_error(request, body)
            elif message.type == "welcome" and request is not None:
                self._link.connected = True
                self._emit(PreviewConnected(body))
            elif message.type == "scene_taken" and request is self._offered:
                self._taken = True
                self._upload("scene", self._arrays_of_scene, body.get("missing", []))
            elif message.type == "light_taken" and request is not None:
                digest = request.body["array"]["hash"]
                self._upload(digest, self._lights, [name for name in body.get("missing", []) if name == digest])
            elif message.type == "stored" and request is not None:
                self._stored(message)
            elif message.type in ("scene_ready", "pong"):
                self._scene_is_ready(int(body.get("scene", 0)))
            elif message.type == "maps_changed":
                self._emit(MapsChanged(str(body.get("job")), int(body.get("set", -1))))
            elif message.type == "light_ready":
                light = PreparedLight(**read_light(message))
                if self._lights.pop(light.key, None) is not None:
                    self._emit(light)
            elif message.type in ("scene_failed", "light_failed"):
                self._lights.pop(body.get("key", ""), None)
                failure = failure_of(body)
                self._emit(PreviewFailed(failure.code, failure.cause, failure.cure))
        except (ProtocolError, TypeError, ValueError, KeyError) as error:
            logger.warning("dropped a message %s of the backend: %s", message.type, error)

    def _scene_is_ready(self, number: int) -> None:
        """Reports the latest scene, once. Where its event was lost with a connection, the heartbeat tells its number."""
        if self._told < number == self._scenes:
            self._told = number
            self._emit(SceneReady())

    def _take_error(self, request: Message | None, body: dict[str, Any]) -> None:
        refusal = self._refusal(request, body)
        if request is None:
            return
        failed = PreviewFailed(refusal.code, refusal.cause, refusal.cure)
        if request.type == "frame":
            asked = self._forget(request)
            if asked is not None and failed.code != "replaced":
                self._emit(FrameFailed(asked.viewport, asked.number, failed.code, failed.cause, failed.cure))
        elif request.type == "put":
            purpose, uploads = self._puts.pop(request.request)
            if self._uploads.get(purpose) is uploads:
                del self._uploads[purpose]
                self._emit(failed)
        elif request.type in ("scene", "light"):
            self._taken = self._taken or request is self._offered
            self._emit(failed)

    def _upload(self, purpose: str, arrays: dict[str, NDArray[Any]], missing: Iterable[str]) -> None:
        self._uploads[purpose] = Uploads({digest: arrays[digest] for digest in missing if digest in arrays})
        self._send_pieces(purpose)

    def _send_pieces(self, purpose: str) -> None:
        uploads = self._uploads[purpose]
        for message in uploads.messages():
            self._send(message, message.arrays["data"].nbytes)
            self._puts[message.request] = purpose, uploads

    def _stored(self, message: Message) -> None:
        purpose, uploads = self._puts.pop(message.request)
        if self._uploads.get(purpose) is uploads:  # else another scene has taken its place
            uploads.stored(message.body)
            self._send_pieces(purpose)

    # Frames

    def _forget(self, message: Message) -> FrameRequest | None:
        """Forgets a request `frame` that is answered now; returns what it asked for."""
        self._frames.pop(message.request, None)
        self._link.unanswered.pop(message.request, None)
        viewport = self._viewports.get(message.body["viewport"])
        return None if viewport is None else viewport.sent.pop(message.request, None)

    def _take_piece(self, message: Message) -> None:
        """Puts rows of a frame in their place. After the last ones it reports the frame, and the next may be drawn."""
        asked, _ = self._link.unanswered.get(message.request, (None, 0))
        viewport = None if asked is None else self._viewports.get(asked.body["viewport"])
        if asked is None or viewport is None or message.request not in viewport.sent:
            return
        request = viewport.sent[message.request]
        try:
            complete = self._place_rows(request, message)
        except (ProtocolError, TypeError, ValueError, KeyError) as error:
            logger.warning("dropped a piece of a frame: %s", error)
            complete = False
        if not message.body.get("last"):
            return
        found = self._frames.get(message.request)
        self._forget(asked)
        self._send(Message("frame_seen", {"viewport": request.viewport, "request": message.request}))
        if complete and found is not None:
            timing = {name: float(value) for name, value in message.body.get("timing", {}).items()}
            self._emit(
                PreviewFrame(
                    request.viewport,
                    request.number,
                    found.rows,
                    found.rect,
                    request.width,
                    request.height,
                    request.spp,
                    request.channel,
                    timing,
                )
            )
        elif viewport.next is None and not viewport.sent:
            viewport.next = request  # some of it was lost with a connection

    def _place_rows(self, request: FrameRequest, message: Message) -> bool:
        """Puts a band of rows in its place; returns whether all rows have come."""
        top, left, height, width = (int(value) for value in message.body["rect"])
        row, count, column = (int(message.body[name]) for name in ("row", "count", "column"))
        inside = 0 <= top <= top + height <= request.height and 0 <= left <= left + width <= request.width
        if not inside or row < 0 or count < 0 or row + count > height or not 0 <= column <= width:
            raise ProtocolError("malformed", "The rows do not lie within their frame.")
        if row == 0:
            # Only what is drawn: the whole 1080p frame, 16 MB, took 6 to 10 ms here, while its pieces waited.
            empty = empty_frame(height, width, request.dtype, request.channel)
            self._frames[message.request] = _ArrivingFrame(empty, (top, left, height, width))
        frame, rows = self._frames[message.request], message.arrays.get("rows")
        fits = rows is None or _fits(rows, frame.rows, count, column)
        if frame.rect != (top, left, height, width) or not fits:
            raise ProtocolError("malformed", "The rows are not those of their frame.")
        if frame.received == row:
            if rows is not None:
                frame.rows[row : row + count, column : column + rows.shape[1]] = rows
            frame.received += count
        return frame.received == height


def _fits(rows: NDArray[Any], frame: NDArray[Any], count: int, column: int) -> bool:
    is_band = rows.ndim == 3 and rows.shape[0] == count and rows.shape[2] == 4 and rows.dtype == frame.dtype
    return is_band and column + rows.shape[1] <= frame.shape[1]
