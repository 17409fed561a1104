"""What the server does with messages about jobs, their arrays and their views. Knows no socket.

All of it runs in the server's I/O thread. Each request gets one reply; later, events tell what happens to a job, each with
the job's next sequence number.
"""

from __future__ import annotations

import logging
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.job import model as jobs
from backend.job.checkpoints import CheckpointFolder
from backend.job.control import JobControl
from backend.job.live_maps import LEARNED_LIGHT, JobLive
from backend.job.model import FitInputs, FitProgress, FitResult, Job, JobCancelled, JobError, LightShown, MapPreviews
from backend.protocol.light_message import light_message
from backend.protocol.settings import FitSettings, SettingsError
from backend.protocol.watching import LARGEST_WATCHED, SHORTEST_INTERVAL_S
from backend.protocol.wire import (
    CHUNK_BYTES,
    LONGEST_NAME,
    PROTOCOL_VERSION,
    ArrayDescription,
    Limits,
    Message,
    ProtocolError,
    array_from_bytes,
)
from backend.server.capacity import Capacity
from backend.server.store import ArrayStore, StoreError
from backend.server.view_message import SEND_AS_DESCRIBED, read_view

logger = logging.getLogger(__name__)


class JobService:
    """The jobs of all clients. `queue_job` hands a job to the worker; `worker_says` takes the worker's reports."""

    def __init__(
        self,
        queue_job: Callable[[Job], None],
        limits: Limits,
        capacity: Capacity,
        info: dict[str, Any],
        checkpoints: CheckpointFolder | None = None,
        watch_job: Callable[[Job], None] = lambda _job: None,
    ) -> None:
        """watch_job: called with a job when its client starts to watch its maps."""
        self._queue_job = queue_job
        self._limits = limits
        self._capacity = capacity
        self._info = info
        self._checkpoints = checkpoints
        self._watch_job = watch_job
        self.store = ArrayStore(capacity.store_bytes)
        self._jobs: dict[str, Job] = {}
        self._events: deque[Message] = deque()
        self._requests: dict[str, Callable[[Message], Message]] = {
            "hello": self._hello,
            "ping": self._ping,
            "submit": self._submit,
            "put": self._put,
            "view": self._view,
            "end_views": self._end_views,
            "pause": self._pause,
            "resume": self._resume,
            "finish": self._finish_early,
            "watch": self._watch,
            "preview_seen": self._preview_seen,
            "cancel": self._cancel,
            "get_result": self._get_result,
            "fetch": self._fetch,
            "acknowledge": self._acknowledge,
        }

    def handle(self, message: Message, owner: str = "") -> Message:
        """The reply to a request; an error reply where it cannot be carried out. Drain `take_events` after sending it.

        owner: the client's public key.
        """
        try:
            request = self._requests.get(message.type)
            if request is None:
                raise ProtocolError("type", f"There is no request {message.type!r}.", SEND_AS_DESCRIBED)
            reply = self._submit(message, owner) if message.type == "submit" else request(message)
        except (ProtocolError, JobError) as error:
            reply = error_reply(error.code, error.cause, error.cure)
        except StoreError as error:
            reply = error_reply("store", error.cause, error.cure)
        except SettingsError as error:
            reply = error_reply("settings", str(error), f"Set {error.field} to {error.allowed}.")
        reply.session, reply.request = message.session, message.request
        reply.job = reply.job or message.job
        return reply

    def take_events(self) -> list[Message]:
        """The events since the last call, in order."""
        events = list(self._events)
        self._events.clear()
        return events

    def worker_says(
        self, job: Job, what: str | FitProgress | MapPreviews | LightShown | FitResult | JobError | JobCancelled
    ) -> None:
        """Takes a report of the worker. A report on a job that was cancelled meanwhile is ignored."""
        if not isinstance(what, (str, FitProgress, MapPreviews, LightShown)):
            self._release(job)
        if job.is_final:
            return
        if isinstance(what, str):
            job.state = jobs.PAUSED if job.control.paused else jobs.RUNNING
            self._progress(job, FitProgress("start", 0.0, 0, None, None, "The fit starts"))
        elif isinstance(what, FitProgress):
            self._progress(job, what)
        elif isinstance(what, MapPreviews):
            job.previews[what.set_index] = what
            self._send_preview(job)
        elif isinstance(what, LightShown):
            job.previews[LEARNED_LIGHT] = what
            self._send_preview(job)
        elif isinstance(what, FitResult):
            self._take_result(job, what)
        elif isinstance(what, JobError):
            self._fail(job, what)
        else:
            self._finish(job, jobs.CANCELLED, {})

    def client_is_silent(self, session: str) -> bool:
        """Fails this client's jobs that wait for arrays, for views or to be resumed. Returns whether it has any jobs left."""
        mine = [job for job in self._jobs.values() if job.session == session]
        for job in mine:
            waits = job.state in (jobs.UPLOADING, jobs.PAUSED) or len(job.view_indices) != job.views_sent
            if not job.is_final and waits:
                error = JobError("client_gone", "The client fell silent, and the job waits for it.", "Submit it again.")
                self._end_early(job, error, keep_checkpoint=True)
        return bool(mine)

    def live_of(self, job: str, owner: str) -> JobLive | None:
        """The live maps of a job, for clients with its own client's key; None where there is no such job."""
        known = self._jobs.get(job)
        return known.control.live if known is not None and known.owner == owner and not known.is_final else None

    def stop_all(self) -> None:
        """Stops every job, because the server ends."""
        for job in self._jobs.values():
            job.stop(JobCancelled(), keep_checkpoint=True)

    def _hello(self, message: Message) -> Message:
        # A client that connects again has forgotten its job: other clients need not wait for that job.
        for job in list(self._jobs.values()):
            if job.session == message.session and not job.is_final:
                self._end_early(job, JobCancelled(), keep_checkpoint=True)
        limits = {**asdict(self._limits), **asdict(self._capacity)}
        return Message("welcome", {**self._info, "protocol": PROTOCOL_VERSION, "limits": limits})

    def _ping(self, message: Message) -> Message:
        job = self._jobs.get(message.job)
        return Message("pong", {"state": job.state if job and job.session == message.session else None})

    def _submit(self, message: Message, owner: str = "") -> Message:
        settings = FitSettings.from_dict(message.body.get("settings", {}))
        described = message.body.get("arrays")
        if not isinstance(described, dict):
            raise ProtocolError("malformed", "The submit message lacks its arrays.", SEND_AS_DESCRIBED)
        arrays = {name: ArrayDescription.from_dict(values) for name, values in described.items()}
        for name, description in arrays.items():
            if description.nbytes > self._limits.frame_bytes:
                cause = f"{name} has {description.nbytes} bytes; one array may have {self._limits.frame_bytes}."
                raise ProtocolError("oversized", cause, "Reduce the mesh or the environment.")
        view_count = message.body.get("view_count", 0)
        if type(view_count) is not int or view_count < 0:
            raise ProtocolError("malformed", "view_count is not a whole number from 0.", SEND_AS_DESCRIBED)
        if sum(not job.is_final for job in self._jobs.values()) >= self._capacity.live_jobs:
            cause = f"The backend has {self._capacity.live_jobs} jobs already."
            raise JobError("busy", cause, "Wait until one ends, or cancel one.")
        control = JobControl(self._checkpoints)
        job = Job(secrets.token_hex(8), message.session, settings, arrays, view_count, control=control, owner=owner)
        self.store.pin(job.sizes)
        self._jobs[job.id] = job
        missing = [digest for digest in job.sizes if digest not in self.store]
        logger.info("job %s: %d arrays, %d of them missing", job.id, len(arrays), len(missing))
        self._queue_if_complete(job)
        return Message("accepted", {"state": job.state, "missing": missing}, job=job.id)

    def _put(self, message: Message) -> Message:
        data = message.arrays.get("data")
        digest, offset, total = (message.body.get(name) for name in ("hash", "offset", "total"))
        if data is None or data.dtype != np.uint8 or data.ndim != 1 or not isinstance(digest, str):
            raise ProtocolError("malformed", "The put message lacks its hash or its bytes.", SEND_AS_DESCRIBED)
        if type(offset) is not int or type(total) is not int or not 0 <= offset <= offset + data.nbytes <= total:
            raise ProtocolError("chunk", "The piece does not lie within its array.", SEND_AS_DESCRIBED)
        received = self.store.put(digest, offset, total, data.data if data.size else b"")
        for job in self._jobs.values():
            self._queue_if_complete(job)
        return Message("stored", {"hash": digest, "received": received})

    def _view(self, message: Message) -> Message:
        job = self._job_of(message)
        if job.is_final:
            return Message("ok", {"state": job.state})  # it crossed the event that ended the job
        view = read_view(message)
        if view.index in job.view_indices:
            raise ProtocolError("malformed", f"View {view.index} came twice.", SEND_AS_DESCRIBED)
        most = job.view_count or None if job.views_sent is None else job.views_sent
        if most is not None and len(job.view_indices) >= most:
            raise ProtocolError("malformed", f"There are more than the {most} views announced.", SEND_AS_DESCRIBED)
        if job.views.waiting_bytes + view.image.nbytes > self._capacity.view_bytes:
            cause = f"The views that wait would take more than {self._capacity.view_bytes / 2**20:.0f} MiB."
            raise JobError("views_too_large", cause, "Use fewer or smaller views.")
        job.view_indices.add(view.index)
        if not job.views.ended:  # a job that finishes early takes no more views
            job.views.put(view)
        self._end_complete_views(job)
        return Message("ok", {"state": job.state})

    def _end_views(self, message: Message) -> Message:
        job = self._job_of(message)
        count = message.body.get("count")
        if type(count) is not int or count < len(job.view_indices):
            raise ProtocolError("malformed", f"{count} is not the number of views sent.", SEND_AS_DESCRIBED)
        job.views_sent = count
        self._end_complete_views(job)
        return Message("ok", {"state": job.state})

    def _pause(self, message: Message) -> Message:
        job = self._job_of(message)
        if not job.is_final:
            job.control.pause()
            self._say_whether_paused(job)
        return Message("ok", {"state": job.state})

    def _resume(self, message: Message) -> Message:
        job = self._job_of(message)
        if not job.is_final:
            job.control.resume()
            self._say_whether_paused(job)
        return Message("ok", {"state": job.state})

    def _finish_early(self, message: Message) -> Message:
        job = self._job_of(message)
        if not job.is_final:
            job.control.finish()
            self._end_complete_views(job)
            self._say_whether_paused(job)
        return Message("ok", {"state": job.state})

    def _watch(self, message: Message) -> Message:
        job = self._job_of(message)
        size, interval_s = message.body.get("size"), message.body.get("interval_s")
        if type(size) is not int or not 0 <= size <= LARGEST_WATCHED or not isinstance(interval_s, (int, float)):
            raise ProtocolError(
                "malformed", f"Previews have 0 to {LARGEST_WATCHED} pixels, not {size}.", SEND_AS_DESCRIBED
            )
        job.control.live.watch(size, max(float(interval_s), SHORTEST_INTERVAL_S))
        if not job.is_final:
            self._watch_job(job)
        return Message("ok", {"state": job.state})

    def _preview_seen(self, message: Message) -> Message:
        job = self._job_of(message)
        job.preview_sent = False
        self._send_preview(job)
        return Message("ok", {"state": job.state})

    def _cancel(self, message: Message) -> Message:
        job = self._job_of(message)
        if not job.is_final:
            self._end_early(job, JobCancelled())
        return Message("ok", {"state": job.state})

    def _get_result(self, message: Message) -> Message:
        job = self._job_of(message)
        if job.outcome is None:
            raise JobError("not_done", f"Job {job.id} is {job.state}.", "Wait for its final event.")
        self._events.append(job.outcome)
        return Message("ok", {"state": job.state})

    def _fetch(self, message: Message) -> Message:
        job = self._job_of(message)
        name, offset = message.body.get("file"), message.body.get("offset")
        data = job.files.get(name) if isinstance(name, str) else None
        if data is None or type(offset) is not int or not 0 <= offset < len(data):
            raise ProtocolError("file", f"Job {job.id} has no such piece of a file.", SEND_AS_DESCRIBED)
        piece = np.frombuffer(data, np.uint8)[offset : offset + CHUNK_BYTES]
        return Message("piece", {"file": name, "offset": offset}, {"data": piece})

    def _acknowledge(self, message: Message) -> Message:
        job = self._job_of(message)
        if not job.is_final:
            raise JobError("not_done", f"Job {job.id} is {job.state}.", "Wait for its final event.")
        del self._jobs[job.id]
        return Message("ok", {"state": job.state})

    def _job_of(self, message: Message) -> Job:
        job = self._jobs.get(message.job)
        if job is None or job.session != message.session:
            cause = f"The backend does not know job {message.job!r} of this client."
            raise JobError("unknown_job", cause, "Submit it again; a restarted backend knows no earlier jobs.")
        return job

    def _end_complete_views(self, job: Job) -> None:
        """Ends the views when all have arrived, whatever order a retry has brought them in, or when the job finishes early
        with those that have arrived.
        """
        if len(job.view_indices) == job.views_sent or (job.control.finishing and job.view_indices):
            job.views.end()

    def _queue_if_complete(self, job: Job) -> None:
        if job.state != jobs.UPLOADING or any(digest not in self.store for digest in job.sizes):
            return
        arrays = {name: array_from_bytes(self.store.get(d.hash), d) for name, d in job.arrays.items()}
        job.inputs = FitInputs(arrays, job.views, job.view_count)
        job.state = jobs.QUEUED
        ahead = sum(other.state in (jobs.QUEUED, jobs.RUNNING) for other in self._jobs.values()) - 1
        message = f"Waiting for {ahead} earlier job{'s' * (ahead > 1)}" if ahead else "Waiting for the worker"
        self._progress(job, FitProgress("queue", 0.0, 0, None, None, message))
        self._queue_job(job)

    def _take_result(self, job: Job, result: FitResult) -> None:
        size = sum(len(data) for data in result.files.values())
        if size > self._capacity.outcome_bytes or not all(0 < len(name) <= LONGEST_NAME for name in result.files):
            cause = f"The result's {len(result.files)} files of {size / 2**20:.0f} MiB are too large or wrongly named."
            self._fail(job, JobError("result_too_large", cause, "Choose a smaller resolution."))
            return
        job.files = result.files
        files = [{"name": name, "size": len(data), "hash": result.hashes[name]} for name, data in result.files.items()]
        self._finish(job, jobs.DONE, {"metrics": result.metrics, "files": files})

    def _fail(self, job: Job, error: JobError) -> None:
        self._finish(job, jobs.FAILED, {"code": error.code, "cause": error.cause, "cure": error.cure})

    def _end_early(self, job: Job, reason: JobCancelled | JobError, keep_checkpoint: bool = False) -> None:
        """Ends a job from this side: its client is told at once; the worker drops it as soon as it looks."""
        if job.state == jobs.UPLOADING:
            self._release(job)
        job.stop(reason, keep_checkpoint)
        if isinstance(reason, JobError):
            self._fail(job, reason)
        else:
            self._finish(job, jobs.CANCELLED, {})

    def _release(self, job: Job) -> None:
        self.store.unpin(job.sizes)
        job.inputs = None

    def _finish(self, job: Job, state: str, body: dict[str, Any]) -> None:
        job.state = state
        job.outcome = self._event(job, "result" if state == jobs.DONE else state, body, {})
        logger.info("job %s: %s", job.id, state)
        earlier = [known for known in self._jobs.values() if known.is_final and known is not job]
        size = sum(known.files_bytes for known in [*earlier, job])
        while earlier and (len(earlier) >= self._capacity.kept_outcomes or size > self._capacity.outcome_bytes):
            oldest = earlier.pop(0)
            size -= oldest.files_bytes
            del self._jobs[oldest.id]

    def _say_whether_paused(self, job: Job) -> None:
        """Tells the client when a running job has been paused, or a paused one resumed."""
        state = jobs.PAUSED if job.control.paused else jobs.RUNNING
        if job.state in (jobs.RUNNING, jobs.PAUSED) and job.state != state and job.progress is not None:
            job.state = state
            self._progress(job, job.progress)

    def _send_preview(self, job: Job) -> None:
        """Sends the next preview once the client has confirmed the one before, so that none pile up on a slow link."""
        if not job.previews or job.preview_sent or job.is_final:
            return
        preview = job.previews.pop(next(iter(job.previews)))
        if isinstance(preview, LightShown):
            light = light_message("light_preview", preview.fields)
            self._event(job, light.type, light.body, light.arrays)
        else:
            self._event(job, "preview", {"set": preview.set_index}, preview.images)
        job.preview_sent = True

    def _progress(self, job: Job, progress: FitProgress) -> None:
        job.progress = progress
        self._event(job, "progress", {"state": job.state, **asdict(progress)}, {})

    def _event(self, job: Job, kind: str, body: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Message:
        job.seq += 1
        event = Message(kind, body, arrays, job.session, job=job.id, seq=job.seq)
        self._events.append(event)
        return event


def error_reply(code: str, cause: str, cure: str) -> Message:
    """The reply to a request that was not carried out."""
    return Message("error", {"code": code, "cause": cause, "cure": cure})
