"""The thread that draws previews beside the fit's: scenes, the latest frame of each viewport, lights, a fit's maps.

While a fit runs on the machine, frames and maps wait, so that the fit loses no more time than `backend.job.live_maps` allows.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from backend.job.live_maps import LEARNED_LIGHT, JobLive, LiveMaps
from backend.job.model import Job
from backend.preview.tasks import (
    Changed,
    Failure,
    FrameDone,
    FrameTask,
    LightDone,
    LightTask,
    PreviewReport,
    SceneDone,
    SceneTask,
)
from backend.protocol.errors import CauseAndCure
from backend.protocol.scene_description import JobLight, SceneDescription

if TYPE_CHECKING:
    from backend.preview.drawing import Drawing, Scene

_LONGEST_WAIT_S = 1.0
_HELD_BACK_S = 0.25
_COPY_S = 0.005
_REPORT = "This is a fault of PBRfit; please report it with the end of the backend's log."

logger = logging.getLogger(__name__)


@dataclass
class _Client:
    """What a session wants, and its scene.

    on_their_way: the frame that each viewport has not confirmed yet. shown: the serials of the maps that the scene has.
    told: the maps of which the client knows that they are newer.
    """

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
        """The maps of its jobs that the scene does not show yet."""
        return [
            (job, maps)
            for job, live in self.jobs.items()
            for maps in live.latest()
            if self.shown.get((job, maps.set_index), 0) < maps.serial
        ]

    def frame_to_draw(self, held_back: bool) -> FrameTask | None:
        """The frame that has waited longest, of the viewports that have seen the one before. held_back: only a final one."""
        if self.scene is None and self.failure is None:
            return None
        ready = (task for viewport, task in self.frames.items() if viewport not in self.on_their_way)
        return next((task for task in ready if task.request.final or not held_back), None)


class PreviewWorker:
    """Draws in a thread of its own, which starts with the first task. Its methods are for the I/O thread.

    report: called in the preview thread with a session's name and what there is to report. running: the job that runs now
    and does not rest, or None.
    """

    def __init__(
        self,
        make_drawing: Callable[[], Drawing],
        report: Callable[[str, PreviewReport], None],
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
        """Loads a scene. It replaces one that has not been started."""
        with self._client(session) as client:
            client.next_scene = task

    def draw(self, session: str, task: FrameTask) -> FrameTask | None:
        """Draws a frame when its turn comes. Returns the waiting frame that it replaces."""
        with self._client(session) as client:
            viewport = task.request.viewport
            if client.on_their_way.get(viewport) == task.name:
                del client.on_their_way[viewport]  # it was lost with a connection, and the client asks for it again
            before = client.frames.get(viewport)
            client.frames[viewport] = task
            return before if before is not None and before.name != task.name else None

    def seen(self, session: str, viewport: str, name: str) -> None:
        """Notes that a frame has arrived: the next of its viewport may be drawn."""
        with self._client(session) as client:
            if client.on_their_way.get(viewport) == name:
                del client.on_their_way[viewport]

    def prefilter(self, session: str, task: LightTask) -> None:
        """Prefilters a light."""
        with self._client(session) as client:
            client.lights.append(task)

    def watch(self, job: Job) -> None:
        """Makes previews of the copies that a job leaves, while its client watches."""
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
        """Has the preview thread look for something to do. For any thread."""
        with self._condition:
            self._woken = True
            self._condition.notify_all()

    def close(self, timeout_s: float) -> bool:
        """Ends the thread after its present task. Returns False where that took too long."""
        with self._condition:
            self._closing = True
            self._condition.notify_all()
        if self._thread is not None:
            self._thread.join(timeout_s)
        return self._thread is None or not self._thread.is_alive()

    @contextlib.contextmanager
    def _client(self, session: str) -> Iterator[_Client]:
        """Gives what a session wants, to change it; afterwards the preview thread looks for something to do."""
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
        drawing = _LazyDrawing(self._make_drawing)
        while True:
            with self._condition:
                while not self._closing:
                    self._woken = False
                    action, patience = self._next()
                    if action is not None:
                        break
                    if not self._woken:
                        self._condition.wait(patience)
                if self._closing or action is None:
                    return
            try:
                with drawing.at_work():
                    action(drawing)
            except Exception:  # what a client or a fit sends must not end the others' previews
                logger.exception("a preview failed")
                time.sleep(0.05)

    def _next(self) -> tuple[Callable[[_LazyDrawing], None] | None, float | None]:
        """What to do now; else how long to wait at most, in seconds, where None means until something new comes."""
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
        patience = _LONGEST_WAIT_S if self._watched else None  # a watched job may end without a report
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
                self._clients.move_to_end(client.name)  # the others get their turn
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

    def _show(self, job: Job, maps: LiveMaps, size: int, shows_light: bool, lazy: _LazyDrawing) -> None:
        drawing = lazy.get()
        images, cost = drawing.previews(maps.snapshot, size)
        job.control.show(maps.set_index, images)
        began = time.monotonic()
        if shows_light and maps.snapshot.base is not None:
            job.control.show_light(drawing.learned_light(maps.snapshot))
        job.control.live.spend(cost + time.monotonic() - began)

    def _prefilter(self, client: _Client, task: LightTask, lazy: _LazyDrawing) -> None:
        def prefiltered() -> LightDone:
            return LightDone(task, lazy.get().prepared_light(task.key, task.environment))

        self._attempt(client, task, "light", prefiltered)

    def _load(self, client: _Client, task: SceneTask, lazy: _LazyDrawing) -> None:
        client.failure = None
        if not self._attempt(client, task, "scene", lambda: self._arrange(lazy.get(), client, task)):
            return
        client.told.clear()
        for name in set(client.jobs) - set(task.jobs):
            client.jobs[name].unfollow(client.name)
        client.jobs = dict(task.jobs)
        with self._condition:
            for live in client.jobs.values() if self._clients.get(client.name) is client else ():
                live.changed = self.wake
                live.follow(client.name)

    def _arrange(self, drawing: Drawing, client: _Client, task: SceneTask) -> SceneDone:
        try:
            values = json.loads(bytes(task.description))
        except (ValueError, RecursionError):
            values = None  # it is refused below
        described = SceneDescription.from_dict(values)
        light_job = described.light.job if isinstance(described.light, JobLight) else ""
        light_job = light_job if light_job in task.jobs else ""
        light = None if isinstance(described.light, JobLight) else described.light
        # A job that is missing has ended, or belongs to another client.
        parts = tuple(
            part if part.job is None or part.job.id in task.jobs else replace(part, job=None)
            for part in described.parts
        )
        places = {(part.job.id, str(part.job.set)) for part in parts if part.job is not None}
        client.scene = drawing.scene(client.scene, SceneDescription(parts, light), task.arrays)
        if not places <= client.places or light_job != client.light_job:
            client.shown.clear()  # parts that show a job from now on have none of its maps yet
        client.places, client.light_job = places, light_job
        return SceneDone(task)

    def _draw(self, client: _Client, task: FrameTask, lazy: _LazyDrawing) -> None:
        scene = client.scene
        if scene is None:
            failure = client.failure
            assert failure is not None  # before a scene is loaded or refused, no frame is drawn
            self._fail(client, Failure(task, "scene", failure.cause, failure.cure))
            return
        self._attempt(client, task, "frame", lambda: self._drawn(lazy.get(), client, scene, task))

    def _drawn(self, drawing: Drawing, client: _Client, scene: Scene, task: FrameTask) -> FrameDone:
        began = time.monotonic()
        for job_id, maps in client.newer():
            drawing.show_maps(scene, job_id, maps.set_index, maps.snapshot)
            if client.light_job == job_id and maps.snapshot.base is not None:
                drawing.show_light(scene, maps.snapshot)
            client.shown[job_id, maps.set_index] = maps.serial
            client.jobs[job_id].take(maps)
        client.told.clear()
        prepared = time.monotonic() - began
        frame = drawing.frame(scene, task.request)
        running = self._running()
        if running is not None:
            running.control.live.preview_share.spend(prepared + frame.cost)
        return FrameDone(task, frame)

    def _attempt(
        self,
        client: _Client,
        task: FrameTask | SceneTask | LightTask,
        code: str,
        function: Callable[[], FrameDone | SceneDone | LightDone],
    ) -> bool:
        """Does a task and reports the result. Returns whether it could be done."""
        try:
            done = function()
        except CauseAndCure as error:
            self._fail(client, Failure(task, code, error.cause, error.cure))
            return False
        except Exception as error:
            logger.exception("a %s of the preview failed", code)
            cause = f"The {code} failed with {type(error).__name__}: {error}."
            self._fail(client, Failure(task, code, cause, _REPORT))
            return False
        self._report(client.name, done)
        return True

    def _fail(self, client: _Client, failure: Failure) -> None:
        if isinstance(failure.task, SceneTask):
            client.failure = failure
        elif isinstance(failure.task, FrameTask):
            with self._condition:
                client.on_their_way.pop(failure.task.request.viewport, None)
        self._report(client.name, failure)


class _LazyDrawing:
    """A `Drawing`, made for the first task. Where that fails, every task fails for the same reason."""

    def __init__(self, make: Callable[[], Drawing]) -> None:
        self._make = make
        self._made: Drawing | Exception | None = None

    def at_work(self) -> contextlib.AbstractContextManager[None]:
        """What is called within goes to the device as it should."""
        if self._made is None:
            try:
                self._made = self._make()
            except Exception as error:  # the clients that wait for an answer get one
                self._made = error
        return contextlib.nullcontext() if isinstance(self._made, Exception) else self._made.at_work()

    def get(self) -> Drawing:
        """The drawing, within `at_work`. Raises RuntimeError where it could not be made."""
        if self._made is None or isinstance(self._made, Exception):
            raise RuntimeError(f"the backend cannot draw: {self._made}") from self._made
        return self._made
