"""The client's I/O thread: one link, one job at a time, heartbeats."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from ..light_message import read_light
from ..settings import FitSettings
from ..transfer import Download, Uploads
from ..wire import ArrayDescription, Limits, Message, ProtocolError, describe
from . import events
from .link_loop import LinkLoop, LoopSetup, failure_of

# Requests that name a job and nothing else.
_WISHES = ("pause", "resume", "finish", "preview_seen")
# Requests that the backend may refuse because their job has just ended.
_LATE = (*_WISHES, "watch", "cancel", "acknowledge", "get_result")

logger = logging.getLogger(__name__)


class _ClientJob:
    """What the connection knows about its job. `job` is empty until the backend accepts the message `submit`; a job that an
    earlier connection submitted has no such message.
    """

    def __init__(self, submit: Message | None, arrays: dict[str, NDArray[Any]], job: str = "") -> None:
        self.submit = submit
        self.arrays = arrays  # by hash
        self.job = job
        self.views = 0
        self.cancelled = False
        self.last_seq = 0
        self.uploads = Uploads({})
        # Views whose image was only named, by request: the backend may have it on disk.
        self.offered: dict[str, tuple[dict[str, Any], NDArray[Any], ArrayDescription]] = {}
        self.download: Download | None = None
        self.result: dict[str, Any] = {}
        self.deferred: list[tuple[str, Any]] = []


class Connection(LinkLoop[events.Event]):
    """The link of a `BackendClient`: jobs, one at a time."""

    def __init__(self, setup: LoopSetup, emit: Callable[[events.Event], None], job: str = "") -> None:
        """job: the one to attach to; empty: none."""
        super().__init__(setup, emit)
        self._largest_image = Limits().frame_bytes
        self._offers_views = False
        self._job = _ClientJob(None, {}, job) if job else None
        self._watch: dict[str, Any] = {"size": 0, "interval_s": 0.0}

    def _linked_again(self) -> None:
        if self._job is not None and self._job.job:
            self._send_attach(self._job)

    def _lost_or_back(self, is_lost: bool) -> None:
        self._emit(events.ConnectionLost() if is_lost else events.ConnectionBack())

    def _send_attach(self, job: _ClientJob) -> None:
        """Asks for what the backend has said of the job meanwhile. It is asked before requests that it may have refused since:
        how the job has ended comes before that.
        """
        self._send(Message("attach", {"last_seq": job.last_seq}, job=job.job))

    def _job_name(self) -> str:
        return self._job.job if self._job else ""

    def _is_done(self) -> bool:
        return self._job is None

    def _say_farewell(self) -> None:
        self._cancel()

    def _take_garbled(self, error: ProtocolError) -> None:
        if self._job is not None:
            self._fail_job(self._job, events.Failed("garbled", error.cause, error.cure))

    # Commands of the main thread

    def _carry_out(self, name: str, value: Any) -> None:
        if name == "submit":
            self._submit(*value)
        elif name == "cancel":
            self._cancel()
        elif name == "watch":
            self._watch = value
            if self._job is not None and self._job.job and not self._job.cancelled:
                self._send(Message("watch", value, job=self._job.job))
        elif self._job is not None and not self._job.cancelled:
            self._send_for_job(self._job, name, value)

    def _submit(self, settings: FitSettings, arrays: dict[str, NDArray[Any]], view_count: int) -> None:
        self._abandon_job()
        descriptions = {name: describe(array) for name, array in arrays.items()}
        body = {
            "settings": settings.to_dict(),
            "arrays": {name: description.to_dict() for name, description in descriptions.items()},
            "view_count": view_count,
        }
        submit = Message("submit", body)
        self._job = _ClientJob(submit, {descriptions[name].hash: array for name, array in arrays.items()})
        self._send(submit)

    def _cancel(self) -> None:
        job = self._job
        if job is None:
            return
        job.cancelled = True
        job.deferred.clear()
        if job.download is not None:  # the job is done, only its files are not here
            self._finish(job, events.Cancelled())
        elif job.job:
            self._send(Message("cancel", job=job.job))

    def _send_for_job(self, job: _ClientJob, name: str, value: Any) -> None:
        if not job.job:
            job.deferred.append((name, value))
        elif name == "end_views":
            self._send(Message("end_views", {"count": job.views}, job=job.job))
        elif name in _WISHES:
            self._send(Message(name, job=job.job))
        else:
            view, image = value
            if image.nbytes > self._largest_image:
                cause = f"The image of view {view.get('index')} has {image.nbytes} bytes; allowed are "
                failure = events.Failed("oversized", f"{cause}{self._largest_image}.", "Render smaller views.")
                self._fail_job(job, failure)
                return
            job.views += 1
            if self._offers_views:
                described = describe(image)
                offer = Message("view", {**view, "image": described.to_dict()}, job=job.job)
                self._send(offer)
                job.offered[offer.request] = view, image, described
            else:
                self._send(Message("view", view, {"image": image}, job=job.job), image.nbytes)

    # What the backend says

    def _take_message(self, message: Message) -> None:
        request = self._link.answered(message.request)
        body = message.body
        if message.type == "error":
            self._take_error(request, body)
        elif message.type == "welcome" and request is not None:
            self._link.connected = True
            self._largest_image = body["limits"]["frame_bytes"]
            self._offers_views = bool(body.get("keeps_views"))
            self._emit(events.Connected(body))
            if self._job is not None:
                self._send_attach(self._job)
        elif message.type == "accepted" and request is not None:
            self._accepted(request, message)
        elif message.type == "attached" and request is not None:
            self._attached(request)
        elif message.type == "stored" and request is not None:
            self._uploaded(request, body)
        elif message.type == "piece" and request is not None:
            self._downloaded(request, message)
        elif self._job is None or not message.job or message.job != self._job.job:
            return
        elif message.type == "ok":
            self._answered(self._job, message)
        elif message.type == "pong":
            self._compare_state(self._job, body.get("state"))
        elif message.seq > self._job.last_seq:
            self._job.last_seq = message.seq
            self._take_event(self._job, message)

    def _take_error(self, request: Message | None, body: dict[str, Any]) -> None:
        refusal = self._refusal(request, body)
        job = self._job
        if request is None or job is None or request.type in _LATE:
            return  # a late request crossed the end of its job
        if request.type == "attach":
            if request.job == job.job and refusal.code == "unknown_job":
                self._compare_state(job, None)
            return  # a backend of an earlier version knows no attach
        if request is job.submit or (job.job and request.job == job.job):
            self._fail_job(job, refusal)

    def _accepted(self, request: Message, message: Message) -> None:
        job = self._job
        if job is None or request is not job.submit:
            self._abandon(message.job)
            return
        job.job = message.job
        self._emit(events.Accepted(job.job))
        if job.cancelled:
            self._send(Message("cancel", job=job.job))
            return
        missing = [digest for digest in message.body.get("missing", []) if digest in job.arrays]
        if self._watch["size"]:
            self._send(Message("watch", self._watch, job=job.job))
        job.uploads = Uploads({digest: job.arrays[digest] for digest in missing})
        job.arrays = {}
        self._send_pieces(job)
        for name, value in job.deferred:
            if self._job is job:  # a view that is refused ends the job
                self._send_for_job(job, name, value)

    def _answered(self, job: _ClientJob, message: Message) -> None:
        """Sends the image of a view that the backend does not have."""
        offered = job.offered.pop(message.request, None)
        if offered is not None and message.body.get("missing") and not job.cancelled:
            view, image, described = offered
            whole = Message("view", view, {"image": image}, job=job.job, descriptions={"image": described})
            self._send(whole, image.nbytes)

    def _attached(self, request: Message) -> None:
        job = self._job
        if job is not None and request.job == job.job and job.submit is None:
            self._emit(events.Accepted(job.job))

    def _send_pieces(self, job: _ClientJob) -> None:
        for message in job.uploads.messages():
            message.job = job.job
            self._send(message, message.arrays["data"].nbytes)

    def _uploaded(self, request: Message, body: dict[str, Any]) -> None:
        job = self._job
        if job is None or request.job != job.job or job.cancelled:
            return
        job.uploads.stored(body)
        done, total = job.uploads.received_bytes, job.uploads.total_bytes
        text = f"Uploaded {done / 2**20:.1f} of {total / 2**20:.1f} MiB"
        self._emit(events.Progress("uploading", "upload", done / total if total else 1.0, 0, None, None, text))
        self._send_pieces(job)

    def _downloaded(self, request: Message, message: Message) -> None:
        job = self._job
        if job is None or request.job != job.job or job.download is None:
            return
        try:
            job.download.take(request, message.arrays.get("data"))
            self._go_on_fetching(job, job.download)
        except ProtocolError as error:
            self._fail_job(job, events.Failed("garbled", error.cause, error.cure))

    def _go_on_fetching(self, job: _ClientJob, download: Download) -> None:
        if download.done:
            self._finish(job, events.Result(download.files(), job.result))
            return
        for message, size in download.messages():
            message.job = job.job
            self._send(message, size)
        done, total = download.received_bytes, download.total_bytes
        if done:
            text = f"Received {done / 2**20:.1f} of {total / 2**20:.1f} MiB"
            self._emit(events.Progress("running", "download", done / total, 0, None, None, text))

    def _compare_state(self, job: _ClientJob, state: str | None) -> None:
        """Asks again for an outcome that was lost with a connection: the heartbeat tells the job's state."""
        if state is None:
            cause = "The backend does not know the job any more: it has been restarted, or the job is long over."
            self._fail_job(job, events.Failed("job_lost", cause, "Start the job again."))
        elif state in ("done", "failed", "cancelled") and job.download is None:
            self._send(Message("get_result", job=job.job))

    def _take_event(self, job: _ClientJob, message: Message) -> None:
        body = message.body
        if message.type == "progress" and not job.cancelled:
            names = ("state", "phase", "fraction", "iteration", "psnr_db", "seconds_left", "message")
            values: list[Any] = [body.get(name) for name in names]
            self._emit(events.Progress(*values))
        elif message.type == "preview":
            self._send(Message("preview_seen", job=job.job))
            for name, image in message.arrays.items():
                self._emit(events.MapPreview(body.get("set", 0), name, image))
        elif message.type == "light_preview":
            self._send(Message("preview_seen", job=job.job))
            self._take_light(message)
        elif message.type == "result":
            try:
                job.download = Download(body.get("files"))
                job.result = body.get("metrics", {})
                self._go_on_fetching(job, job.download)
            except ProtocolError as error:
                self._fail_job(job, events.Failed("garbled", error.cause, error.cure))
        elif message.type == "failed":
            self._finish(job, failure_of(body))
        elif message.type == "cancelled":
            self._finish(job, events.Cancelled())

    def _take_light(self, message: Message) -> None:
        try:
            self._emit(events.LightPreview(**read_light(message)))
        except ProtocolError as error:
            logger.warning("dropped a light: %s", error)

    def _finish(self, job: _ClientJob, event: events.Event) -> None:
        """Reports how the job has ended, and lets the backend forget it."""
        self._send(Message("acknowledge", job=job.job))
        self._job = None
        self._emit(event)

    def _fail_job(self, job: _ClientJob, failure: events.Failed) -> None:
        """Gives the job up, for a reason that arose on this side or in the reply to a request."""
        self._abandon_job()
        self._emit(events.Cancelled() if job.cancelled else failure)

    def _abandon_job(self) -> None:
        if self._job is not None and self._job.job:
            self._abandon(self._job.job)
        self._job = None

    def _abandon(self, job: str) -> None:
        self._send(Message("cancel", job=job))
        self._send(Message("acknowledge", job=job))
