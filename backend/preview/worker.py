"""The thread that draws previews beside the fit's: scenes, the latest frame of each viewport, lights, a fit's maps.

Frames and maps of a machine on which a fit runs are held back so that it loses no more than `backend.job.live_maps` allows.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from backend.job.live_maps import LEARNED_LIGHT, JobLive, LiveMaps
from backend.job.model import Job
from backend.protocol.frames import FrameRequest
from backend.protocol.scene_description import JobLight, SceneDescription

if TYPE_CHECKING:
    from backend.preview.drawing import Drawing, DrawnFrame, Scene

_LONGEST_WAIT_S = 1.0
_HELD_BACK_S = 0.25
_COPY_S = 0.005
_REPORT = "This is a fault of PBRfit; please report it with the end of the backend's log."

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FrameTask:
    """A frame to draw; name: of the request that asked for it."""

    name: str
    request: FrameRequest


@dataclass(frozen=True)
class SceneTask:
    """A scene to load: its JSON, its arrays, and the jobs whose maps it may show."""

    number: int
    description: bytes
    arrays: Mapping[str, np.ndarray]
    jobs: Mapping[str, JobLive]


@dataclass(frozen=True)
class LightTask:
    """A light to prefilter; key: the hash of the environment."""

    key: str
    environment: np.ndarray


@dataclass(frozen=True)
class Failure:
    """A task that could not be done."""

    task: FrameTask | SceneTask | LightTask
    code: str
    cause: str
    cure: str


@dataclass(frozen=True)
class Done:
    """A task that is done: `what` is a `DrawnFrame`, None for a scene, or the fields of a `PreparedLight`."""

    task: FrameTask | SceneTask | LightTask
    what: Any = None


@dataclass(frozen=True)
class Changed:
    """There are newer maps (set -1: a newer light) of a job in a scene than its frames show."""

    job: str
    set_index: int


@dataclass
class _Client:
    """What a session wants, and its scene. shown: serials of the maps that it has; told: of those it was told of."""

    name: str
    next_scene: SceneTask | None = None
    scene: Scene | None = None
    failure: Failure | None = None
    frames: OrderedDict[str, FrameTask] = field(default_factory=OrderedDict)
    on_their_way: dict[str, str] = field(default_factory=dict)
    lights: deque[LightTask] = field(default_factory=deque)
    jobs: dict[str, JobLive] = field(default_factory=dict)
    light_job: str = ""
    places: set[tuple[str, str]] = field(default_factory=set)
    shown: dict[tuple[str, int], int] = field(default_factory=dict)
    told: set[tuple[str, int]] = field(default_factory=set)

    def newer(self) -> list[tuple[str, LiveMaps]]:
        """The maps of its jobs that it does not show yet."""
        return [
            (job, maps)
            for job, live in self.jobs.items()
            for maps in live.latest()
            if self.shown.get((job, maps.set_index), 0) < maps.serial
        ]

    def frame_to_draw(self, held_back: bool) -> FrameTask | None:
        """The frame that waits longest of those whose viewport has seen the one before; held_back: only a final one."""
        if self.scene is None and self.failure is None:
            return None
        ready = (task for viewport, task in self.frames.items() if viewport not in self.on_their_way)
        return next((task for task in ready if task.request.final or not held_back), None)


class PreviewWorker:
    """Runs in a thread of its own, which begins with the first task. All methods are for the I/O thread.

    report: called in that thread with a session's name and `Done`, `Failure` or `Changed`. running: the job that runs
    now and does not rest, or None.
    """

    def __init__(
        self,
        make_drawing: Callable[[], Drawing],
        report: Callable[[str, Done | Failure | Changed], None],
        running: Callable[[], Job | None],
    ) -> None:
        self._make_drawing = make_drawing
        self._report = report
        self._running = running
        self._condition = threading.Condition()
        self._clients: OrderedDict[str, _Client] = OrderedDict()
        self._watched: dict[str, Job] = {}
        self._closing = False
        self._woken = False
        self._thread: threading.Thread | None = None

    def set_scene(self, session: str, task: SceneTask) -> None:
        """Loads a scene, in place of one that has not been begun."""
        with self._client(session) as client:
            client.next_scene = task

    def draw(self, session: str, task: FrameTask) -> FrameTask | None:
        """Draws a frame when its time comes; returns the one that waited and makes way for it."""
        with self._client(session) as client:
            viewport = task.request.viewport
            if client.on_their_way.get(viewport) == task.name:
                del client.on_their_way[viewport]  # it was lost with a connection, and is asked for again
            before = client.frames.get(viewport)
            client.frames[viewport] = task
            return before if before is not None and before.name != task.name else None

    def seen(self, session: str, viewport: str, name: str) -> None:
        """A frame has arrived: the viewport's next may be drawn."""
        with self._client(session) as client:
            if client.on_their_way.get(viewport) == name:
                del client.on_their_way[viewport]

    def prefilter(self, session: str, task: LightTask) -> None:
        """Prefilters a light."""
        with self._client(session) as client:
            client.lights.append(task)

    def watch(self, job: Job) -> None:
        """Makes previews of the copies that a job leaves, as long as its client watches."""
        job.control.live.changed = self.wake
        with self._condition:
            self._watched[job.id] = job
            self._start()

    def drop(self, session: str) -> None:
        """Forgets a session."""
        with self._condition:
            client = self._clients.pop(session, None)
        for live in client.jobs.values() if client is not None else ():
            live.unfollow(session)

    def wake(self) -> None:
        """There may be something to do. For any thread."""
        with self._condition:
            self._woken = True
            self._condition.notify_all()

    def close(self, timeout_s: float) -> bool:
        """Ends the thread after what it does now; False if that took too long."""
        with self._condition:
            self._closing = True
            self._condition.notify_all()
        if self._thread is not None:
            self._thread.join(timeout_s)
        return self._thread is None or not self._thread.is_alive()

    @contextlib.contextmanager
    def _client(self, session: str) -> Iterator[_Client]:
        """A session's wishes, to be changed; afterwards the preview thread looks."""
        with self._condition:
            yield self._clients.setdefault(session, _Client(session))
            self._start()

    def _start(self) -> None:
        self._woken = True
        self._condition.notify_all()
        if self._thread is None and not self._closing:
            self._thread = threading.Thread(target=self._run, name="pbrfit-preview", daemon=True)
            self._thread.start()

    # The thread

    def _run(self) -> None:
        drawing: Drawing | None = None
        while True:
            with self._condition:
                while not self._closing:
                    self._woken = False
                    action, patience = self._next()
                    if action is not None:
                        break
                    if not self._woken:
                        self._condition.wait(patience)
                if self._closing:
                    return
            try:
                if drawing is None:
                    try:
                        drawing = self._make_drawing()
                    except Exception as error:  # those who wait for an answer get one
                        drawing = _NoDrawing(error)
                with drawing.at_work():
                    action(drawing)
            except Exception:  # what a client or a fit sends must not end the others' previews
                logger.exception("a preview failed")
                time.sleep(0.05)

    def _next(self) -> tuple[Callable[[Drawing], None] | None, float | None]:
        """What to do now; else how long to wait at most, None: until there is something new."""
        for job in list(self._watched.values()):
            taken = job.control.live.take_to_show()
            if taken is not None:
                return partial(self._show, job, *taken), None
            if job.is_final or not job.control.live.size:
                del self._watched[job.id]
        for client in self._clients.values():
            if client.lights:
                task = client.lights.popleft()
                return partial(self._prefilter, client, task), None
            if client.next_scene is not None:
                scene, client.next_scene = client.next_scene, None
                return partial(self._load, client, scene), None
            for job_id, maps in client.newer():
                self._tell(client, job_id, maps)
        running = self._running()
        patience = _LONGEST_WAIT_S if self._watched else None  # a job that is watched may end without a word
        lives = [job.control.live for job in self._watched.values()]
        lives += [live for client in self._clients.values() for live in client.jobs.values()]
        if any(live.is_awaited for live in lives):
            patience = _COPY_S
        wait_s = running.control.live.preview_share.wait_s() if running is not None else 0.0
        for client in self._clients.values():
            frame = client.frame_to_draw(held_back=wait_s > 0)
            if frame is not None:
                viewport = frame.request.viewport
                del client.frames[viewport]
                client.on_their_way[viewport] = frame.name
                self._clients.move_to_end(client.name)  # the others have their turn
                return partial(self._draw, client, frame), None
            if client.frames:
                held_s = min(wait_s, _HELD_BACK_S) or _LONGEST_WAIT_S  # the job may rest or end meanwhile
                patience = held_s if patience is None else min(patience, held_s)
        return None, patience

    def _tell(self, client: _Client, job_id: str, maps: LiveMaps) -> None:
        places = [(job_id, maps.set_index)] + [(job_id, LEARNED_LIGHT)] * (client.light_job == job_id)
        for place in places:
            if place not in client.told:
                client.told.add(place)
                self._report(client.name, Changed(*place))

    def _show(self, job: Job, maps: LiveMaps, size: int, shows_light: bool, drawing: Drawing) -> None:
        images, cost = drawing.previews(maps.snapshot, size)
        job.control.show(maps.set_index, images)
        began = time.monotonic()
        if shows_light and maps.snapshot.base is not None:
            job.control.show_light(drawing.learned_light(maps.snapshot))
        job.control.live.spend(cost + time.monotonic() - began)

    def _prefilter(self, client: _Client, task: LightTask, drawing: Drawing) -> None:
        self._attempt(client, task, "light", lambda: drawing.prepared_light(task.key, task.environment))

    def _load(self, client: _Client, task: SceneTask, drawing: Drawing) -> None:
        client.failure = None
        if not self._attempt(client, task, "scene", lambda: self._arrange(drawing, client, task)):
            return
        client.told.clear()
        for name in set(client.jobs) - set(task.jobs):
            client.jobs[name].unfollow(client.name)
        client.jobs = dict(task.jobs)
        with self._condition:
            for live in client.jobs.values() if self._clients.get(client.name) is client else ():
                live.changed = self.wake
                live.follow(client.name)

    def _arrange(self, drawing: Drawing, client: _Client, task: SceneTask) -> None:
        try:
            values = json.loads(task.description)
        except (ValueError, RecursionError):
            values = None  # which is refused
        described = SceneDescription.from_dict(values)
        light_job = described.light.job if isinstance(described.light, JobLight) else ""
        light_job = light_job if light_job in task.jobs else ""
        light = None if isinstance(described.light, JobLight) else described.light
        # A job that is not there is over, or another client's.
        parts = tuple(
            part if part.job is None or part.job.id in task.jobs else replace(part, job=None)
            for part in described.parts
        )
        places = {(part.job.id, str(part.job.set)) for part in parts if part.job is not None}
        client.scene = drawing.scene(client.scene, SceneDescription(parts, light), task.arrays)
        if not places <= client.places or light_job != client.light_job:
            client.shown.clear()  # what is of a job now and was not before has none of its maps
        client.places, client.light_job = places, light_job

    def _draw(self, client: _Client, task: FrameTask, drawing: Drawing) -> None:
        if client.scene is None:
            failure = client.failure
            self._fail(client, Failure(task, "scene", failure.cause, failure.cure))
            return
        self._attempt(client, task, "frame", lambda: self._drawn(drawing, client, task))

    def _drawn(self, drawing: Drawing, client: _Client, task: FrameTask) -> DrawnFrame:
        began = time.monotonic()
        for job_id, maps in client.newer():
            drawing.show_maps(client.scene, job_id, maps.set_index, maps.snapshot)
            if client.light_job == job_id and maps.snapshot.base is not None:
                drawing.show_light(client.scene, maps.snapshot)
            client.shown[job_id, maps.set_index] = maps.serial
            client.jobs[job_id].take(maps)
        client.told.clear()
        prepared = time.monotonic() - began
        frame = drawing.frame(client.scene, task.request)
        running = self._running()
        if running is not None:
            running.control.live.preview_share.spend(prepared + frame.cost)
        return frame

    def _attempt(
        self, client: _Client, task: FrameTask | SceneTask | LightTask, code: str, function: Callable[[], Any]
    ) -> bool:
        """Does a task and reports what comes of it; whether it could be done."""
        try:
            what = function()
        except Exception as error:
            cause, cure = getattr(error, "cause", ""), getattr(error, "cure", "")
            if not cause:
                logger.exception("a %s of the preview failed", code)
                cause, cure = f"The {code} failed with {type(error).__name__}: {error}.", _REPORT
            self._fail(client, Failure(task, code, cause, cure))
            return False
        self._report(client.name, Done(task, what))
        return True

    def _fail(self, client: _Client, failure: Failure) -> None:
        if isinstance(failure.task, SceneTask):
            client.failure = failure
        elif isinstance(failure.task, FrameTask):
            with self._condition:
                client.on_their_way.pop(failure.task.request.viewport, None)
        self._report(client.name, failure)


class _NoDrawing:
    """Stands for a `Drawing` that could not be made: whatever is asked of it fails for that reason."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def at_work(self) -> contextlib.AbstractContextManager:
        return contextlib.nullcontext()

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"the backend cannot draw: {self._error}") from self._error
