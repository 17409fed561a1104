"""The worker process: it runs jobs in one thread, draws previews in another, and speaks with the server through two pipes.

It ends when the server's end of the pipes is gone, however that went.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import io
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from backend.job.checkpoints import CheckpointFolder
from backend.job.control import JobControl
from backend.job.failures import DEVICE, UNEXPECTED
from backend.job.live_maps import JobLive
from backend.job.model import (
    FitInputs,
    FitProgress,
    FitResult,
    Job,
    JobCancelled,
    JobError,
    LightShown,
    MapPreviews,
    ViewInput,
    ViewStream,
)
from backend.job.worker import JobReport, Worker
from backend.preview import tasks
from backend.preview.worker import PreviewWorker
from backend.protocol.frames import FrameRequest
from backend.protocol.settings import FitSettings
from backend.worker.channel import Arrays, Channel, Packet
from backend.worker.log_relay import LogRelay
from backend.worker.plan import WorkerPlan, named
from backend.worker.pulse import ANSWER, ASK

_LOST_DEVICE, _GONE = 3, 0
_OOM_SCORE = "700"

logger = logging.getLogger(__name__)


class _CountedViews(ViewStream):
    """The views of a job, which tells when the job takes one."""

    def __init__(self, taken: Callable[[int], None]) -> None:
        super().__init__()
        self._taken = taken

    def __next__(self) -> ViewInput:
        view = super().__next__()
        self._taken(view.image.nbytes)
        return view


class Host:
    """What the worker process does with the server's packets. All of it but `report` runs in the thread that reads them."""

    def __init__(self, channel: Channel, plan: WorkerPlan) -> None:
        self._channel = channel
        self._plan = plan
        self._checkpoints = CheckpointFolder(plan.checkpoints, plan.checkpoint_interval_s) if plan.checkpoints else None
        self._jobs: dict[str, Job] = {}
        # A scene may show a job that has not begun.
        self._lives: WeakValueDictionary[str, JobLive] = WeakValueDictionary()
        # The arrays of each session's scene by number: those that stay are not sent again.
        self._arrays: dict[str, Arrays] = {}
        self._worked = time.monotonic()
        if plan.joined > 1:  # the other processes of its jobs start now
            run_job = named(plan.run_joined)(plan.joined)
        else:
            run_job = named(plan.run_job) if "torch" in sys.modules else _late(plan.run_job)
        self._worker = Worker(run_job, self._report, owns_arrays=True)
        self._drawer = PreviewWorker(_late(plan.make_drawing), self._report_preview, lambda: self._worker.running)
        self._packets: dict[str, Callable[[Packet], None]] = {
            ASK: self._answer,
            "job": self._take_job,
            "inputs": self._take_inputs,
            "view": self._take_view,
            "end_views": self._end_views,
            "wish": self._take_wish,
            "watch": self._watch,
            "scene": self._take_scene,
            "frame": self._take_frame,
            "seen": self._take_seen,
            "light": self._take_light,
            "drop": self._drop,
        }

    def running_job(self) -> str:
        """The id of the job that runs now; empty where none does. Any thread may ask."""
        job = self._worker.running
        return "" if job is None else job.id

    def run(self) -> None:
        """Serve until the server is gone."""
        threading.Thread(target=self._release_when_idle, name="pbrfit-idle", daemon=True).start()
        while (packet := self._channel.receive()) is not None:
            try:
                self._packets[packet.kind](packet)
            except Exception:  # one packet must not end what others do
                logger.exception("the packet %s failed", packet.kind)
            del packet  # its arrays must not wait here for the next one

    def _answer(self, packet: Packet) -> None:
        self._channel.urge(Packet(ANSWER, {"device_bytes": _device_bytes()}))

    # Jobs

    def _take_job(self, packet: Packet) -> None:
        body, name = packet.body, packet.body["job"]
        control = JobControl(self._checkpoints)
        control.live = self._lives.setdefault(name, control.live)
        control.economy = body["economy"]
        control.named = lambda key: self._channel.send(Packet("checkpoint", {"job": name, "name": key}))
        views = _CountedViews(lambda size: self._channel.urge(Packet("taken", {"job": name, "bytes": size})))
        settings = FitSettings.from_dict(body["settings"])
        job = self._jobs[name] = Job(name, "", settings, {}, body["view_count"], views, control)
        for wish in body["wishes"]:
            _obey(job, wish, body["keeps"])
        self._watch(packet)

    def _take_inputs(self, packet: Packet) -> None:
        job = self._jobs.get(packet.body["job"])
        if job is not None:
            job.inputs = FitInputs(packet.arrays, job.views, job.view_count)
            self._worker.submit(job)

    def _take_view(self, packet: Packet) -> None:
        job, body, arrays = self._jobs.get(packet.body["job"]), packet.body, packet.arrays
        if job is not None:
            camera = arrays["view"], arrays["projection"]
            view = ViewInput(body["index"], body["held_out"], *camera, arrays["image"], body["content"], body["light"])
            job.views.put(view)

    def _end_views(self, packet: Packet) -> None:
        job = self._jobs.get(packet.body["job"])
        if job is not None:
            job.views.end()

    def _take_wish(self, packet: Packet) -> None:
        job = self._jobs.get(packet.body["job"])
        if job is not None:
            _obey(job, packet.body["wish"], packet.body["keeps"])

    def _watch(self, packet: Packet) -> None:
        job = self._jobs.get(packet.body["job"])
        if job is not None:
            job.control.live.watch(packet.body["size"], packet.body["interval_s"])
            if packet.body["size"]:
                self._drawer.watch(job)

    def _report(self, job: Job, what: JobReport) -> None:
        self._worked = time.monotonic()
        if isinstance(what, str):
            return  # the server has said so already
        if isinstance(what, FitProgress):
            self._channel.send(Packet("progress", {"job": job.id, "progress": asdict(what)}))
        elif isinstance(what, MapPreviews):
            self._channel.send(Packet("maps", {"job": job.id, "set": what.set_index}, dict(what.images)))
        elif isinstance(what, LightShown):
            self._channel.send(_with_arrays("light_shown", {"job": job.id}, what.fields))
        else:
            self._end(job, what)

    def _end(self, job: Job, what: FitResult | JobError | JobCancelled) -> None:
        self._jobs.pop(job.id, None)
        job.state = "done"  # the previews need it no more
        self._drawer.wake()
        if isinstance(what, FitResult):
            files = {name: np.frombuffer(data, np.uint8) for name, data in what.files.items()}
            self._channel.send(Packet("result", {"job": job.id, "metrics": what.metrics, "hashes": what.hashes}, files))
        elif isinstance(what, JobError):
            body = {"job": job.id, "code": what.code, "cause": what.cause, "cure": what.cure}
            self._channel.send(Packet("failed", body))
            # Only a new process can use a GPU again that failed, and so it is with others that are out of step.
            if what.code == DEVICE or (self._plan.joined > 1 and what.code in UNEXPECTED):
                self._channel.close(patience_s=5.0)
                os._exit(_LOST_DEVICE)
        else:
            self._channel.send(Packet("cancelled", {"job": job.id}))
        job.inputs = None

    # Previews

    def _take_scene(self, packet: Packet) -> None:
        body, session = packet.body, packet.body["session"]
        known = self._arrays.get(session, {}) | packet.arrays
        numbers: dict[str, str] = body["arrays"]
        self._arrays[session] = {number: known[number] for number in numbers.values()}
        arrays = {name: known[number] for name, number in numbers.items()}
        lives = {name: self._lives.setdefault(name, JobLive()) for name in body["jobs"]}
        description = known["description"].data
        self._drawer.set_scene(session, tasks.SceneTask(body["number"], description, arrays, lives))

    def _take_frame(self, packet: Packet) -> None:
        task = tasks.FrameTask(packet.body["name"], FrameRequest.from_dict(packet.body["request"]))
        replaced = self._drawer.draw(packet.body["session"], task)
        if replaced is not None:
            failure = tasks.Failure(replaced, "replaced", "A later request has taken this frame's place.", "")
            self._report_preview(packet.body["session"], failure)

    def _take_seen(self, packet: Packet) -> None:
        self._drawer.seen(packet.body["session"], packet.body["viewport"], packet.body["name"])

    def _take_light(self, packet: Packet) -> None:
        task = tasks.LightTask(packet.body["key"], packet.arrays["environment"])
        self._drawer.prefilter(packet.body["session"], task)

    def _drop(self, packet: Packet) -> None:
        self._arrays.pop(packet.body["session"], None)
        self._drawer.drop(packet.body["session"])

    def _report_preview(self, session: str, report: tasks.PreviewReport) -> None:
        self._worked = time.monotonic()
        body: dict[str, Any] = {"session": session}
        if isinstance(report, tasks.Changed):
            self._channel.send(Packet("changed", {**body, "job": report.job, "set": report.set_index}))
        elif isinstance(report, tasks.FrameDone):
            frame = report.frame
            body |= {"name": report.task.name, "rect": frame.rect, "bands": frame.bands}
            body |= {"timing": frame.timing, "cost": frame.cost}
            self._channel.send(Packet("frame_done", body, {"rows": frame.rows}))
        elif isinstance(report, tasks.SceneDone):
            self._channel.send(Packet("scene_done", {**body, "number": report.task.number}))
        elif isinstance(report, tasks.LightDone):
            self._channel.send(_with_arrays("light_done", {**body, "key": report.task.key}, report.light))
        else:
            place = _place_of(report.task)
            said = {"code": report.code, "cause": report.cause, "cure": report.cure}
            self._channel.send(Packet("preview_failed", body | place | said))

    def _release_when_idle(self) -> None:
        released = self._worked
        while True:
            time.sleep(self._plan.idle_s / 4)
            idle = not self._jobs and time.monotonic() - self._worked > self._plan.idle_s
            torch = sys.modules.get("torch")
            if idle and released != self._worked and torch is not None:
                released = self._worked
                gc.collect()
                if torch.cuda.is_initialized():
                    torch.cuda.empty_cache()


def _device_bytes() -> int | None:
    """The memory of a GPU that this process keeps; None where it uses none."""
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)  # absent while torch is being imported
    if cuda is None or not cuda.is_initialized():
        return None
    return int(cuda.memory_reserved())


def _obey(job: Job, wish: str, keeps: bool) -> None:
    if wish == "stop":
        job.stop(JobCancelled(), keeps)
    elif wish == "leave":
        job.leave(JobCancelled())
    else:
        getattr(job.control, wish)()


def _late(name: str) -> Callable[..., Any]:
    """A function that imports the named one when it is called."""
    return lambda *arguments: named(name)(*arguments)


def _with_arrays(kind: str, body: dict[str, Any], fields: dict[str, Any]) -> Packet:
    arrays = {name: value for name, value in fields.items() if isinstance(value, np.ndarray)}
    plain = {name: value for name, value in fields.items() if name not in arrays}
    return Packet(kind, {**body, "fields": plain}, arrays)


def _place_of(task: tasks.FrameTask | tasks.SceneTask | tasks.LightTask) -> dict[str, Any]:
    """Which task it is."""
    if isinstance(task, tasks.FrameTask):
        return {"task": "frame", "id": task.name}
    if isinstance(task, tasks.SceneTask):
        return {"task": "scene", "id": task.number}
    return {"task": "light", "id": task.key}


def main() -> None:
    """The program of the worker process: its pipes are where standard input and output were."""
    for number in (signal.SIGINT, signal.SIGTERM):  # for the server, which ends this process
        signal.signal(number, signal.SIG_IGN)
    faulthandler.enable()
    reading, writing = (io.FileIO(os.dup(number), mode) for number, mode in ((0, "rb"), (1, "wb")))
    os.dup2(2, 1)  # what a library prints must not get among the packets
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    channel = Channel(reading, writing)
    first = channel.receive()
    if first is None:
        return
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write(_OOM_SCORE)  # where memory runs out, this process goes, not the server
    plan = WorkerPlan(**first.body["plan"])
    relay = LogRelay(channel)
    handlers = [relay] if plan.relays_log else None
    logging.basicConfig(level=first.body["log_level"], format="%(asctime)s %(name)s: %(message)s", handlers=handlers)
    device: dict[str, str] = {}
    try:
        # What a fit needs is imported now, so that the first one need not wait for it.
        device = named(plan.find_device)()
        if device:
            named(plan.run_job)
    except Exception:  # the first job's client will be told again
        logger.exception("the fit cannot be imported")
    host = Host(channel, replace(plan))
    relay.job = host.running_job
    channel.send(Packet("ready", {"pid": os.getpid(), "device": device}))
    host.run()
    os._exit(_GONE)  # a running computation would delay the interpreter's end
