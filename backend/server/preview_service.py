"""What the server does with messages about previews: scenes, frames and lights of all clients. Knows no socket.

All of it runs in the server's I/O thread; the worker process draws (`backend.preview.worker`). The only reply to a request
for a frame is the frame's pieces, which come when it is drawn.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from backend.job.live_maps import JobLive
from backend.preview import tasks
from backend.protocol.frames import FrameRequest
from backend.protocol.light_message import light_message
from backend.protocol.wire import (
    LONGEST_NAME,
    ArrayDescription,
    Buffer,
    Limits,
    Message,
    ProtocolError,
    array_from_bytes,
)
from backend.server.capacity import Capacity
from backend.server.drawer import Drawer
from backend.server.job_requests import error_reply, read_array, read_arrays
from backend.server.sessions import Caller
from backend.server.sharing import Sharing
from backend.server.store import ArrayStore, StoreError, Stores
from backend.server.view_message import SEND_AS_DESCRIBED

MOST_VIEWPORTS = 64
MOST_ARRAYS_OF_SCENE = 6000
MOST_JOBS_OF_SCENE = 64
# What the description of an array takes in memory; measured.
ARRAY_OVERHEAD = 1024
MOST_LIGHTS_WAITING = 8
LARGEST_DESCRIPTION = 64 << 20
_REDUCE = "Reduce the mesh, the image or the environment."

logger = logging.getLogger(__name__)


@dataclass
class _Wanted:
    """A scene or a light whose arrays are on their way; they stay pinned until it is replaced or done."""

    arrays: dict[str, ArrayDescription]
    number: int = 0
    description: Buffer = b""
    jobs: dict[str, JobLive] = field(default_factory=dict)
    begun: bool = False

    @property
    def sizes(self) -> dict[str, int]:
        return {description.hash: description.nbytes for description in self.arrays.values()}

    @property
    def overhead(self) -> int:
        """What it takes beside its arrays: its description, and the names of the arrays."""
        return len(self.description) + ARRAY_OVERHEAD * len(self.arrays)


@dataclass
class _Viewer:
    """A session that sees a preview: its client, and the store of the client's key.

    ready: the number of the latest scene that is ready. lights: by hash. arrays: those of its scene, by hash, dtype and
    shape. viewports: their names. frames: those that it does not have yet, by request: their viewport and bytes.
    """

    caller: Caller
    store: ArrayStore
    scene: _Wanted | None = None
    ready: int = 0
    lights: dict[str, _Wanted] = field(default_factory=dict)
    arrays: dict[tuple[Any, ...], NDArray[Any]] = field(default_factory=dict)
    viewports: set[str] = field(default_factory=set)
    frames: dict[str, tuple[str, int]] = field(default_factory=dict)

    @property
    def picture_bytes(self) -> int:
        return sum(size for _, size in self.frames.values())


class PreviewService:
    """The previews of all clients.

    stores: keep the arrays, shared with the jobs. worker: draws; it knows a session by its key and its name together.
    live_of: returns the live maps of a job for a client's key, or None. sharing: how the keys share what there is.
    """

    def __init__(
        self,
        stores: Stores,
        worker: Drawer,
        limits: Limits,
        live_of: Callable[[str, str], JobLive | None],
        capacity: Capacity,
        sharing: Sharing,
    ) -> None:
        self._stores = stores
        self._capacity = capacity
        self._sharing = sharing
        self._worker = worker
        self._limits = limits
        self._live_of = live_of
        self._viewers: dict[str, _Viewer] = {}
        self._events: deque[tuple[Caller, Message]] = deque()
        self._requests: dict[str, Callable[[Message, str], Message | None]] = {
            "scene": self._scene,
            "light": self._light,
            "frame": self._frame,
            "frame_seen": self._frame_seen,
            "leave_preview": self._leave,
        }

    @property
    def sessions(self) -> list[Caller]:
        """The sessions that see a preview."""
        return [viewer.caller for viewer in self._viewers.values()]

    def ready_scene(self, caller: Caller) -> int:
        """The number of a session's latest scene that is ready; 0 where there is none."""
        viewer = self._viewers.get(_name_of(caller))
        return 0 if viewer is None else viewer.ready

    def handles(self, kind: str) -> bool:
        """Whether a request of this type is about previews."""
        return kind in self._requests

    def handle(self, message: Message, owner: str) -> Message | None:
        """The reply to a request, None where it comes later. Drain `take_events` after it. owner: the client's public key."""
        try:
            reply = self._requests[message.type](message, owner)
        except ProtocolError as error:
            reply = error_reply(error.code, error.cause, error.cure)
        except StoreError as error:
            reply = error_reply("store", error.cause, error.cure)
        if reply is not None:
            reply.session, reply.request = message.session, message.request
        return reply

    def take_events(self) -> list[tuple[Caller, Message]]:
        """The events since the last call, and replies that come late, in order, each with whom it is for."""
        events = list(self._events)
        self._events.clear()
        return events

    def contents_changed(self, key: str) -> None:
        """Begins the scenes and lights of a key whose arrays are now in its store."""
        for viewer in [viewer for viewer in self._viewers.values() if viewer.caller.key == key]:
            for wanted in [viewer.scene, *viewer.lights.values()]:
                if wanted is not None and not wanted.begun and all(digest in viewer.store for digest in wanted.sizes):
                    self._begin(viewer, wanted)

    def drop(self, caller: Caller) -> None:
        """Forgets a session."""
        viewer = self._viewers.pop(_name_of(caller), None)
        if viewer is None:
            return
        for wanted in [viewer.scene, *viewer.lights.values()]:
            if wanted is not None:
                viewer.store.unpin(wanted.sizes, wanted.overhead)
        self._worker.drop(_name_of(caller))

    def worker_says(self, session: str, report: tasks.PreviewReport) -> None:
        """Takes a report of the preview thread. session: the name by which the thread knows it."""
        viewer = self._viewers.get(session)
        if viewer is None:
            return
        if isinstance(report, tasks.Changed):
            self._tell(viewer, Message("maps_changed", {"job": report.job, "set": report.set_index}))
        elif isinstance(report, tasks.FrameDone):
            for piece in _pieces(report):
                self._tell(viewer, piece)
        elif isinstance(report, tasks.SceneDone):
            viewer.ready = report.task.number
            self._tell(viewer, Message("scene_ready", {"scene": report.task.number}))
        elif isinstance(report, tasks.LightDone):
            self._forget_light(viewer, report.task)
            self._tell(viewer, light_message("light_ready", report.light))
        else:
            self._take_failure(viewer, report)

    def _take_failure(self, viewer: _Viewer, failure: tasks.Failure) -> None:
        if isinstance(failure.task, tasks.FrameTask):
            viewer.frames.pop(failure.task.name, None)
            reply = error_reply(failure.code, failure.cause, failure.cure)
            reply.request = failure.task.name
            self._tell(viewer, reply)
        elif isinstance(failure.task, tasks.SceneTask):
            self._tell(viewer, _failed("scene_failed", {"scene": failure.task.number}, failure))
        else:
            self._forget_light(viewer, failure.task)
            self._tell(viewer, _failed("light_failed", {"key": failure.task.key}, failure))

    def _forget_light(self, viewer: _Viewer, task: tasks.LightTask) -> None:
        wanted = viewer.lights.pop(task.key, None)
        if wanted is not None:
            viewer.store.unpin(wanted.sizes, wanted.overhead)

    def _scene(self, message: Message, owner: str) -> Message:
        body, description = message.body, message.arrays.get("description")
        described, names, number = body.get("arrays"), body.get("jobs"), body.get("scene")
        lacks = "The scene lacks its description, arrays, jobs or number."
        if description is None or description.dtype != np.uint8 or description.ndim != 1:
            raise ProtocolError("malformed", lacks, SEND_AS_DESCRIBED)
        if not isinstance(described, dict) or not isinstance(number, int) or isinstance(number, bool):
            raise ProtocolError("malformed", lacks, SEND_AS_DESCRIBED)
        if not _are_names(names):
            raise ProtocolError("malformed", lacks, SEND_AS_DESCRIBED)
        if description.nbytes > LARGEST_DESCRIPTION:
            cause = f"The scene's description has {description.nbytes} bytes; allowed are {LARGEST_DESCRIPTION}."
            raise ProtocolError("oversized", cause, "Hide some of the scene's instances.")
        if len(described) > MOST_ARRAYS_OF_SCENE or len(names) > MOST_JOBS_OF_SCENE:
            has = f"The scene has {len(described)} arrays and {len(names)} jobs"
            cause = f"{has}; allowed are {MOST_ARRAYS_OF_SCENE} and {MOST_JOBS_OF_SCENE}."
            raise ProtocolError("oversized", cause, "Hide some objects, or join their meshes.")
        arrays = read_arrays(described, self._limits, _REDUCE)
        viewer = self._viewer(Caller(owner, message.session))
        lives = {name: self._live_of(name, owner) for name in names}
        jobs = {name: live for name, live in lives.items() if live is not None}
        wanted = _Wanted(arrays, number, description.data, jobs)
        viewer.store.pin(wanted.sizes, wanted.overhead)
        if viewer.scene is not None:
            viewer.store.unpin(viewer.scene.sizes, viewer.scene.overhead)
        viewer.scene = wanted
        return Message("scene_taken", {"missing": self._begin_or_miss(viewer, wanted)})

    def _light(self, message: Message, owner: str) -> Message:
        description = read_array("the environment", message.body.get("array"), self._limits, _REDUCE)
        if (
            description.dtype != "float32"
            or len(description.shape) != 3
            or description.shape[2] != 3
            or 0 in description.shape
        ):
            raise ProtocolError(
                "light", f"The environment is {description.dtype} {list(description.shape)}.", SEND_AS_DESCRIBED
            )
        viewer = self._viewer(Caller(owner, message.session))
        if description.hash in viewer.lights:
            wanted = viewer.lights[description.hash]
            missing = [] if wanted.begun else [digest for digest in wanted.sizes if digest not in viewer.store]
            return Message("light_taken", {"missing": missing})
        if len(viewer.lights) >= MOST_LIGHTS_WAITING:
            raise ProtocolError("busy", f"{MOST_LIGHTS_WAITING} lights are being prepared.", "Wait until one is done.")
        wanted = _Wanted({"environment": description})
        viewer.store.pin(wanted.sizes, wanted.overhead)
        viewer.lights[description.hash] = wanted
        return Message("light_taken", {"missing": self._begin_or_miss(viewer, wanted)})

    def _frame(self, message: Message, owner: str) -> None:
        request = FrameRequest.from_dict(message.body)
        viewer = self._viewers.get(_name_of(Caller(owner, message.session)))
        if viewer is None or viewer.scene is None:
            raise ProtocolError("scene", "No scene has been set.", "Set a scene before a frame is asked for.")
        viewer.viewports.add(request.viewport)
        if len(viewer.viewports) > MOST_VIEWPORTS:
            viewer.viewports.discard(request.viewport)
            raise ProtocolError("busy", f"There are {MOST_VIEWPORTS} viewports already.", "Use fewer viewports.")
        self._check_picture(viewer, message.request, request)
        viewer.frames[message.request] = request.viewport, request.nbytes
        replaced = self._worker.draw(_name_of(viewer.caller), tasks.FrameTask(message.request, request))
        if replaced is not None:
            viewer.frames.pop(replaced.name, None)
            reply = error_reply("replaced", "A later request has taken this frame's place.", "")
            reply.request = replaced.name
            self._tell(viewer, reply)

    def _check_picture(self, viewer: _Viewer, name: str, request: FrameRequest) -> None:
        """Raises `ProtocolError` where the pictures that this key's clients do not have yet would take too much."""
        mine = others = 0
        for known in self._viewers.values():
            if known.caller.key == viewer.caller.key:
                mine += known.picture_bytes
            else:
                others += known.picture_bytes
        mine -= viewer.frames.get(name, ("", 0))[1]  # it is asked for again
        most = self._sharing.most(self._capacity.picture_bytes, others)
        if mine + request.nbytes > most:
            cause = f"The pictures on their way would take {(mine + request.nbytes) / 2**20:.0f} MiB; now allowed are "
            raise ProtocolError(
                "busy", f"{cause}{most / 2**20:.0f} MiB.", "Wait, render smaller, or in fewer viewports."
            )

    def _frame_seen(self, message: Message, owner: str) -> Message:
        viewport, name = message.body.get("viewport"), message.body.get("request")
        if not _is_name(viewport) or not _is_name(name):
            raise ProtocolError("malformed", "The message does not say which frame was seen.", SEND_AS_DESCRIBED)
        session = _name_of(Caller(owner, message.session))
        if session in self._viewers:
            self._viewers[session].frames.pop(name, None)
            self._worker.seen(session, viewport, name)
        return Message("ok")

    def _leave(self, message: Message, owner: str) -> Message:
        self.drop(Caller(owner, message.session))
        return Message("ok")

    def _viewer(self, caller: Caller) -> _Viewer:
        name = _name_of(caller)
        if name not in self._viewers:
            mine = sum(viewer.caller.key == caller.key for viewer in self._viewers.values())
            if mine >= self._sharing.most(self._capacity.scenes, len(self._viewers) - mine):
                cause = f"The backend shows {len(self._viewers)} scenes already, {mine} of them of this client's key."
                raise ProtocolError("busy", cause, "Close another preview.")
            self._viewers[name] = _Viewer(caller, self._stores.of(caller.key))
        return self._viewers[name]

    def _begin_or_miss(self, viewer: _Viewer, wanted: _Wanted) -> list[str]:
        missing = [digest for digest in wanted.sizes if digest not in viewer.store]
        if not missing:
            self._begin(viewer, wanted)
        return missing

    def _begin(self, viewer: _Viewer, wanted: _Wanted) -> None:
        wanted.begun = True
        if wanted is not viewer.scene:
            (description,) = wanted.arrays.values()
            environment = array_from_bytes(viewer.store.get(description.hash), description)
            self._worker.prefilter(_name_of(viewer.caller), tasks.LightTask(description.hash, environment))
            return
        known, viewer.arrays = viewer.arrays, {}
        arrays = {}
        for name, description in wanted.arrays.items():
            # The same content stays the same object from scene to scene: so the preview thread sees what is new.
            place = (description.hash, description.dtype, description.shape)
            array = known.get(place, viewer.arrays.get(place))
            if array is None:
                array = array_from_bytes(viewer.store.get(description.hash), description)
            viewer.arrays[place] = arrays[name] = array
        self._worker.set_scene(
            _name_of(viewer.caller), tasks.SceneTask(wanted.number, wanted.description, arrays, wanted.jobs)
        )

    def _tell(self, viewer: _Viewer, message: Message) -> None:
        message.session = viewer.caller.session
        self._events.append((viewer.caller, message))


def _name_of(caller: Caller) -> str:
    """By what name the preview thread knows a session: keys are all of one length."""
    return caller.key + caller.session


def _pieces(done: tasks.FrameDone) -> Iterator[Message]:
    """A frame's bands, each with the columns that show something: at least one piece, the last with the timing."""
    frame = done.frame
    bands = frame.bands or ((0, 0, 0, 0),)
    for number, (first, end, left, right) in enumerate(bands, 1):
        part = np.ascontiguousarray(frame.rows[first:end, left:right])
        body: dict[str, Any] = {
            "rect": list(frame.rect),
            "row": first,
            "count": end - first,
            "column": left,
            "last": number == len(bands),
        }
        if body["last"]:
            body["timing"] = frame.timing
        yield Message("frame_piece", body, {"rows": part} if part.size else {}, request=done.task.name)


def _failed(kind: str, body: dict[str, Any], failure: tasks.Failure) -> Message:
    return Message(kind, {**body, "code": failure.code, "cause": failure.cause, "cure": failure.cure})


def _are_names(names: object) -> TypeGuard[list[str]]:
    return isinstance(names, list) and all(map(_is_name, names))


def _is_name(name: object) -> TypeGuard[str]:
    return isinstance(name, str) and len(name) <= LONGEST_NAME
