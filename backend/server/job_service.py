"""What the server does with messages about jobs, their arrays and their views. Knows no socket.

All of it runs in the server's I/O thread. Each request gets one reply; later, events tell what happens to a job, each with
the job's next sequence number.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

from backend.job import model as jobs
from backend.job.checkpoints import CheckpointFolder
from backend.job.control import JobControl
from backend.job.live_maps import LEARNED_LIGHT, JobLive
from backend.job.model import FitInputs, FitProgress, FitResult, Job, JobCancelled, JobError, LightShown, MapPreviews
from backend.protocol.settings import SettingsError
from backend.protocol.wire import PROTOCOL_VERSION, Limits, Message, ProtocolError, array_from_bytes
from backend.server.capacity import Capacity
from backend.server.job_events import JobEvents
from backend.server.job_inputs import JobInputs
from backend.server.job_requests import ending, error_reply, read_attach, read_received, read_submit, read_watch
from backend.server.job_table import JobTable, described_files, piece_of, unknown
from backend.server.kept_contents import KeptContents
from backend.server.sessions import Caller
from backend.server.sharing import Sharing
from backend.server.store import StoreError, Stores
from backend.server.turns import Turns
from backend.server.view_message import SEND_AS_DESCRIBED
from backend.server.workers import Runner

logger = logging.getLogger(__name__)


class JobService:
    """The jobs of all clients. `worker_says` takes the worker's reports.

    Whoever asks is its key and its session's name together: what another key owns is to it as if it did not exist.
    running: the jobs that the workers have. info: of the welcome. refuses: whether new jobs are refused, because the server
    ends. ended: jobs that are over, by state.
    """

    def __init__(
        self,
        runner: Runner,
        limits: Limits,
        capacity: Capacity,
        info: dict[str, Any],
        checkpoints: CheckpointFolder | None = None,
        watch_job: Callable[[Job], None] = lambda _job: None,
        sharing: Sharing | None = None,
        kept: KeptContents | None = None,
    ) -> None:
        """runner: runs the jobs, each when its turn comes. watch_job: called with a job when its client starts to watch
        its maps. sharing: how the keys share what there is; None: one key may have all. kept: the arrays on disk; None:
        none are.
        """
        self._runner = runner
        self._limits = limits
        self._capacity = capacity
        self.info = info
        self.refuses = False
        self.ended: Counter[str] = Counter()
        self._checkpoints = checkpoints
        self._watch_job = watch_job
        self._sharing = Sharing() if sharing is None else sharing
        self.stores = Stores(capacity.store_bytes, self._sharing)
        self.jobs = JobTable(capacity, self._sharing)
        self._inputs = JobInputs(self.stores, self.jobs, limits, kept, self._queue_if_complete, self._answer_later)
        self._turns = Turns()
        self.running: list[Job] = []
        self._events = JobEvents()
        self._asked: set[tuple[Caller, str]] = set()  # requests that are answered later
        self._answers: list[tuple[Caller, Message]] = []
        self._requests: dict[str, Callable[[Message, str], Message | None]] = {
            "hello": self._hello,
            "ping": self._ping,
            "submit": self._submit,
            "attach": self._attach,
            "put": self._inputs.put,
            "view": self._inputs.view,
            "end_views": self._inputs.end_views,
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

    def handle(self, message: Message, owner: str = "") -> Message | None:
        """The reply to a request; an error reply where it cannot be carried out. None: it comes later, from `take_answers`.

        Drain `take_events` after sending it. owner: the client's public key.
        """
        asked = Caller(owner, message.session), message.request
        if asked in self._asked:
            return None
        request = self._requests.get(message.type)
        reply = self._reply(message, partial(_refuse_type if request is None else request, message, owner))
        if reply is None:
            self._asked.add(asked)
        return reply

    def _reply(self, message: Message, carry_out: Callable[[], Message | None]) -> Message | None:
        try:
            reply = carry_out()
        except (ProtocolError, JobError) as error:
            reply = error_reply(error.code, error.cause, error.cure)
        except StoreError as error:
            reply = error_reply("store", error.cause, error.cure)
        except SettingsError as error:
            reply = error_reply("settings", str(error), f"Set {error.field} to {error.allowed}.")
        if reply is not None:
            reply.session, reply.request = message.session, message.request
            reply.job = reply.job or message.job
        return reply

    def _answer_later(self, message: Message, owner: str, carry_out: Callable[[], Message]) -> None:
        caller = Caller(owner, message.session)
        self._asked.discard((caller, message.request))
        reply = self._reply(message, carry_out)
        if reply is not None:
            self._answers.append((caller, reply))

    def take_answers(self) -> list[tuple[Caller, Message]]:
        """The replies that were to come later, since the last call. Send them before the events."""
        answers, self._answers = self._answers, []
        return answers

    def take_events(self) -> list[tuple[Caller, Message]]:
        """The events since the last call, in order, each with whom it is for."""
        return self._events.take()

    def worker_says(
        self, job: Job, what: str | FitProgress | MapPreviews | LightShown | FitResult | JobError | JobCancelled
    ) -> None:
        """Takes a report of the worker. A report on a job that was cancelled meanwhile is ignored."""
        if not isinstance(what, (str, FitProgress, MapPreviews, LightShown)):
            self._inputs.release(job)
            self.running.remove(job)
            self.start_waiting()
        if job.is_final:
            return
        if isinstance(what, str):
            job.state = jobs.PAUSED if job.control.paused else jobs.RUNNING
            self._events.progress(job, FitProgress("start", 0.0, 0, None, None, "The fit starts"))
        elif isinstance(what, FitProgress):
            self._events.progress(job, what)
        elif isinstance(what, MapPreviews):
            job.previews[what.set_index] = what
            self._events.preview(job)
        elif isinstance(what, LightShown):
            job.previews[LEARNED_LIGHT] = what
            self._events.preview(job)
        elif isinstance(what, FitResult):
            self._take_result(job, what)
        elif isinstance(what, JobError):
            self._fail(job, what)
        elif job.control.leaving:
            self._fail(job, ending())
        else:
            self._finish(job, jobs.CANCELLED, {})

    def client_is_silent(self, caller: Caller) -> bool:
        """Fails this client's jobs that wait for arrays, for views or to be resumed. Returns whether it has any jobs left."""
        mine = self.jobs.of(caller)
        for job in mine:
            waits = job.state in (jobs.UPLOADING, jobs.PAUSED) or len(job.view_indices) != job.views_sent
            if not job.is_final and waits:
                error = JobError("client_gone", "The client fell silent, and the job waits for it.", "Submit it again.")
                self.end_early(job, error, keep_checkpoint=True)
        return bool(mine)

    def live_of(self, job: str, owner: str) -> JobLive | None:
        """The live maps of a job, for clients with its own client's key; None where there is no such job."""
        known = self.jobs.find_of_key(job, owner)
        return known.control.live if known is not None and not known.is_final else None

    def end_key(self, key: str) -> None:
        """Ends and forgets all that belongs to a key, which may no longer connect."""
        for job in self.jobs.of_key(key):
            if not job.is_final:
                self.end_early(job, JobCancelled())
            self.jobs.remove(job)
        self._inputs.forget(key)

    def stop_all(self) -> None:
        """Stops every job, because the server ends."""
        for job in self.jobs:
            job.stop(JobCancelled(), keep_checkpoint=True)

    def _hello(self, message: Message, owner: str) -> Message:
        # A client that connects again has forgotten its job, unless it says that it will attach to it: other clients need
        # not wait for that job.
        for job in self.jobs.of(Caller(owner, message.session)):
            if not job.is_final and job.id != message.job:
                self.end_early(job, JobCancelled(), keep_checkpoint=True)
        limits = {**asdict(self._limits), **asdict(self._capacity)}
        return Message("welcome", {**self.info, "protocol": PROTOCOL_VERSION, "limits": limits})

    def _ping(self, message: Message, owner: str) -> Message:
        read_received(message)  # the server forgets their replies
        job = self.jobs.find(message.job, Caller(owner, message.session))
        return Message("pong", {"state": None if job is None else job.state})

    def _submit(self, message: Message, owner: str) -> Message | None:
        if self.refuses:
            raise ending()
        asked = read_submit(message, self._limits)
        self.jobs.check_room(owner)
        control = JobControl(self._checkpoints)
        job = Job(secrets.token_hex(8), message.session, asked.settings, asked.arrays, asked.view_count)
        job.control, job.owner = control, owner
        self._runner.check(job)
        self._inputs.store(job).pin(job.sizes)
        self.jobs.add(job)
        accept = partial(self._accept, job)
        if self._inputs.load(job, partial(self._answer_later, message, owner, accept)):
            job.is_accepted = False
            return None
        return accept()

    def _accept(self, job: Job) -> Message:
        missing = self._inputs.missing(job)
        logger.info("job %s: %d arrays, %d missing", job.id, len(job.arrays), len(missing), extra=job.about)
        for other in self.jobs.of_key(job.owner):  # what came from the disk may be what others wait for
            self._queue_if_complete(other)
        if not job.is_accepted:
            self._events.accept(job)
        return Message("accepted", {"state": job.state, "missing": missing}, job=job.id)

    def _attach(self, message: Message, owner: str) -> Message:
        """A client is back, or another of the same key goes on with the job."""
        last_seq = read_attach(message)
        job = self.jobs.find_of_key(message.job, owner)
        if job is None:
            raise unknown(message.job)
        self._events.attach(job, message.session, last_seq)
        waits = job.state == jobs.UPLOADING
        missing = self._inputs.missing(job) if waits else []
        body = {"state": job.state, "seq": job.seq, "missing": missing, "views": len(job.view_indices)}
        return Message("attached", body)

    def _pause(self, message: Message, owner: str) -> Message:
        job = self.jobs.known(message, owner)
        if not job.is_final:
            job.control.pause()
            self._say_whether_paused(job)
        return Message("ok", {"state": job.state})

    def _resume(self, message: Message, owner: str) -> Message:
        job = self.jobs.known(message, owner)
        if not job.is_final:
            job.control.resume()
            self._say_whether_paused(job)
        return Message("ok", {"state": job.state})

    def _finish_early(self, message: Message, owner: str) -> Message:
        job = self.jobs.known(message, owner)
        if not job.is_final:
            job.control.finish()
            self._inputs.end_complete_views(job)
            self._say_whether_paused(job)
        return Message("ok", {"state": job.state})

    def _watch(self, message: Message, owner: str) -> Message:
        job = self.jobs.known(message, owner)
        size, interval_s = read_watch(message)
        job.control.live.watch(size, interval_s)
        if not job.is_final:
            self._watch_job(job)
        return Message("ok", {"state": job.state})

    def _preview_seen(self, message: Message, owner: str) -> Message:
        job = self.jobs.known(message, owner)
        job.preview_sent = False
        self._events.preview(job)
        return Message("ok", {"state": job.state})

    def _cancel(self, message: Message, owner: str) -> Message:
        job = self.jobs.known(message, owner)
        if not job.is_final:
            self.end_early(job, JobCancelled())
        return Message("ok", {"state": job.state})

    def _get_result(self, message: Message, owner: str) -> Message:
        job = self.jobs.known(message, owner)
        if job.outcome is None:
            raise JobError("not_done", f"Job {job.id} is {job.state}.", "Wait for its final event.")
        self._events.repeat_outcome(job)
        return Message("ok", {"state": job.state})

    def _fetch(self, message: Message, owner: str) -> Message:
        return piece_of(self.jobs.known(message, owner), message)

    def _acknowledge(self, message: Message, owner: str) -> Message:
        job = self.jobs.known(message, owner)
        if not job.is_final:
            raise JobError("not_done", f"Job {job.id} is {job.state}.", "Wait for its final event.")
        self.jobs.remove(job)
        return Message("ok", {"state": job.state})

    def _queue_if_complete(self, job: Job) -> None:
        if job.state != jobs.UPLOADING or self._inputs.missing(job):
            return
        store = self._inputs.store(job)
        arrays = {name: array_from_bytes(store.get(d.hash), d) for name, d in job.arrays.items()}
        job.inputs = FitInputs(arrays, job.views, job.view_count)
        job.state = jobs.QUEUED
        self._turns.add(job)
        ahead = self._turns.ahead_of(job) + max(0, len(self.running) + 1 - self._runner.count)
        message = f"Waiting for {ahead} earlier job{'s' if ahead > 1 else ''}" if ahead else "Waiting for the worker"
        self._events.progress(job, FitProgress("queue", 0.0, 0, None, None, message))
        self.start_waiting()

    def start_waiting(self) -> None:
        """Hands the jobs whose turn it is to the workers that are free: so the order stays ours while jobs wait."""
        while len(self.running) < self._runner.count and (job := self._turns.next(self._runner.can_take)) is not None:
            self.running.append(job)
            self._runner.submit(job)

    def _take_result(self, job: Job, result: FitResult) -> None:
        try:
            files = described_files(result, self._capacity)
        except JobError as error:
            self._fail(job, error)
            return
        job.files = result.files
        self._finish(job, jobs.DONE, {"metrics": result.metrics, "files": files})

    def _fail(self, job: Job, error: JobError) -> None:
        self._finish(job, jobs.FAILED, {"code": error.code, "cause": error.cause, "cure": error.cure})

    def end_early(self, job: Job, reason: JobCancelled | JobError, keep_checkpoint: bool = False) -> None:
        """Ends a job from this side: its client is told at once; the worker drops it as soon as it looks."""
        if job.state == jobs.UPLOADING:
            self._inputs.release(job)
        elif job in self._turns:
            self._turns.remove(job)
            self._inputs.release(job)
        job.stop(reason, keep_checkpoint)
        if isinstance(reason, JobError):
            self._fail(job, reason)
        else:
            self._finish(job, jobs.CANCELLED, {})

    def _finish(self, job: Job, state: str, body: dict[str, Any]) -> None:
        job.state = state
        job.ended = time.monotonic()
        self.ended[state] += 1
        self._events.end(job, "result" if state == jobs.DONE else state, body)
        logger.info("job %s: %s", job.id, state, extra=job.about)
        self._inputs.over(job)
        self.jobs.forget_outcomes(job)

    def _say_whether_paused(self, job: Job) -> None:
        """Tells the client when a running job has been paused, or a paused one resumed."""
        state = jobs.PAUSED if job.control.paused else jobs.RUNNING
        if job.state in (jobs.RUNNING, jobs.PAUSED) and job.state != state and job.progress is not None:
            job.state = state
            self._events.progress(job, job.progress)


def _refuse_type(message: Message, _owner: str) -> Message:
    raise ProtocolError("type", f"There is no request {message.type!r}.", SEND_AS_DESCRIBED)
