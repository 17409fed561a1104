"""Previews drawn by the worker process: the server's side. A new process gets the scenes of the one before."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.job.model import Job
from backend.preview import tasks
from backend.worker.channel import Arrays, Channel, Packet
from backend.worker.process import WorkerProcess

_DESCRIPTION = "description"


@dataclass
class Viewer:
    """A session in the worker.

    scene: the latest. ready: whether it has been loaded once. numbers: under which the worker knows the arrays of the
    scene, by their identity; the arrays stay, so that no other gets theirs. frames, lights: those that are to come.
    """

    scene: tasks.SceneTask | None = None
    ready: bool = False
    numbers: dict[int, tuple[str, NDArray[Any]]] = field(default_factory=dict)
    counted: int = 0
    frames: dict[str, tasks.FrameTask] = field(default_factory=dict)
    lights: dict[str, tasks.LightTask] = field(default_factory=dict)


class RemotePreview:
    """As `backend.preview.worker.PreviewWorker`, in one other process."""

    def __init__(self, process: WorkerProcess, report: Callable[[str, tasks.PreviewReport], None]) -> None:
        self._report = report
        self._lock = threading.Lock()
        self._channel: Channel | None = None
        self._viewers: dict[str, Viewer] = {}
        process.attach(self)

    def set_scene(self, session: str, task: tasks.SceneTask) -> None:
        """Loads a scene. It replaces one that has not been started."""
        with self._lock:
            viewer = self._viewers.setdefault(session, Viewer())
            viewer.scene, viewer.ready = task, False
            self._send_scene(session, viewer, task)

    def draw(self, session: str, task: tasks.FrameTask) -> tasks.FrameTask | None:
        """Draws a frame when its turn comes. A waiting frame that it replaces is reported as a failure."""
        with self._lock:
            viewer = self._viewers.setdefault(session, Viewer())
            viewer.frames[task.name] = task
            body = {"session": session, "name": task.name, "request": task.request.to_dict()}
            if not self._send(Packet("frame", body)):
                del viewer.frames[task.name]
                self._report(session, _lost(task, "is being started"))
        return None

    def seen(self, session: str, viewport: str, name: str) -> None:
        """Notes that a frame has arrived: the next of its viewport may be drawn."""
        with self._lock:
            self._send(Packet("seen", {"session": session, "viewport": viewport, "name": name}))

    def prefilter(self, session: str, task: tasks.LightTask) -> None:
        """Prefilters a light."""
        with self._lock:
            viewer = self._viewers.setdefault(session, Viewer())
            viewer.lights[task.key] = task
            packet = Packet("light", {"session": session, "key": task.key}, {"environment": task.environment})
            if not self._send(packet):
                del viewer.lights[task.key]
                self._report(session, _lost(task, "is being started"))

    def watch(self, job: Job) -> None:
        """Makes previews of the copies that a job leaves, while its client watches."""
        live = job.control.live
        with self._lock:
            self._send(Packet("watch", {"job": job.id, "size": live.size, "interval_s": live.interval_s}))

    def drop(self, session: str) -> None:
        """Forgets a session."""
        with self._lock:
            if self._viewers.pop(session, None) is not None:
                self._send(Packet("drop", {"session": session}))

    def take_out(self, session: str) -> Viewer | None:
        """Forgets a session, and returns what it shows and waits for, for another process (`take_over`)."""
        with self._lock:
            viewer = self._viewers.pop(session, None)
            if viewer is not None:
                self._send(Packet("drop", {"session": session}))
            return viewer

    def take_over(self, session: str, viewer: Viewer) -> None:
        """Shows what a session saw in another process, and goes on with what it waits for."""
        with self._lock:
            scene = viewer.scene
            self._viewers[session] = fresh = Viewer(scene)
            if scene is not None:
                self._send_scene(session, fresh, scene)
        for frame in viewer.frames.values():
            self.draw(session, frame)
        for light in viewer.lights.values():
            self.prefilter(session, light)

    # What the worker process says

    def started(self, channel: Channel) -> None:
        """See `Listener`."""
        with self._lock:
            self._channel = channel
            for session, viewer in self._viewers.items():
                viewer.numbers.clear()
                if viewer.scene is not None:
                    self._send_scene(session, viewer, viewer.scene)

    def ready(self) -> None:
        """See `Listener`."""

    def lost(self, reason: str) -> None:
        """See `Listener`."""
        with self._lock:
            self._channel = None
            for session, viewer in self._viewers.items():
                waiting: list[tasks.FrameTask | tasks.LightTask] = [*viewer.frames.values(), *viewer.lights.values()]
                for task in waiting:
                    self._report(session, _lost(task, reason))
                viewer.frames.clear()
                viewer.lights.clear()
                if viewer.scene is not None and not viewer.ready:  # it may be what ended the process
                    self._report(session, _lost(viewer.scene, reason))
                    viewer.scene = None
                viewer.ready = False

    def take(self, packet: Packet) -> bool:
        """See `Listener`."""
        session = packet.body.get("session")
        if session is None:
            return False
        with self._lock:
            viewer = self._viewers.get(session)
            report = None if viewer is None else _read(viewer, packet)
            if report is not None:
                self._report(session, report)
        return True

    def _send_scene(self, session: str, viewer: Viewer, task: tasks.SceneTask) -> None:
        known, fresh, names = viewer.numbers, {}, {}
        viewer.numbers = {}
        for name, array in task.arrays.items():
            number = known.get(id(array))
            if number is None:
                number = viewer.numbers.get(id(array)) or (str(viewer.counted), array)
                viewer.counted += 1
                fresh[number[0]] = array
            viewer.numbers[id(array)] = number
            names[name] = number[0]
        fresh[_DESCRIPTION] = np.frombuffer(task.description, np.uint8)
        self._send(_scene_packet(session, task, names, fresh))

    def _send(self, packet: Packet) -> bool:
        if self._channel is not None:
            self._channel.send(packet)
        return self._channel is not None


def _scene_packet(session: str, task: tasks.SceneTask, names: Mapping[str, str], arrays: Arrays) -> Packet:
    body = {"session": session, "number": task.number, "arrays": dict(names), "jobs": list(task.jobs)}
    return Packet("scene", body, arrays)


def _read(viewer: Viewer, packet: Packet) -> tasks.PreviewReport | None:
    """What the worker says; None where it is about something that is not wanted any more."""
    body, kind = packet.body, packet.kind
    if kind == "changed":
        return tasks.Changed(body["job"], body["set"])
    if kind == "frame_done":
        frame_task = viewer.frames.pop(body["name"], None)
        bands = tuple((first, end, left, right) for first, end, left, right in body["bands"])
        top, left, height, width = body["rect"]
        frame = tasks.DrawnFrame(packet.arrays["rows"], (top, left, height, width), bands, body["timing"], body["cost"])
        return None if frame_task is None else tasks.FrameDone(frame_task, frame)
    if kind == "light_done":
        light_task = viewer.lights.pop(body["key"], None)
        return None if light_task is None else tasks.LightDone(light_task, {**body["fields"], **packet.arrays})
    scene = viewer.scene
    if kind == "scene_done":
        viewer.ready = viewer.ready or (scene is not None and scene.number == body["number"])
        return None if scene is None or scene.number != body["number"] else tasks.SceneDone(scene)
    return _failure(viewer, body)


def _failure(viewer: Viewer, body: dict[str, Any]) -> tasks.Failure | None:
    task: tasks.FrameTask | tasks.SceneTask | tasks.LightTask | None
    if body["task"] == "frame":
        task = viewer.frames.pop(body["id"], None)
    elif body["task"] == "light":
        task = viewer.lights.pop(body["id"], None)
    else:
        task = viewer.scene if viewer.scene is not None and viewer.scene.number == body["id"] else None
        viewer.ready = viewer.ready or task is not None
    return None if task is None else tasks.Failure(task, body["code"], body["cause"], body["cure"])


def _lost(task: tasks.FrameTask | tasks.SceneTask | tasks.LightTask, reason: str) -> tasks.Failure:
    cause = f"The process that draws {reason}."
    return tasks.Failure(task, "worker", cause, "It starts again by itself; ask for the preview again.")
