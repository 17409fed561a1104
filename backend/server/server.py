"""The backend's server: an encrypted ROUTER socket in one I/O thread; jobs and previews in processes beside it.

This process never computes, so it answers pings and cancels while a fit runs. It drops, counts and logs a message that
cannot be understood, answers it with an error where the sender is known, and goes on.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import zmq

from backend.job.checkpoints import CheckpointFolder
from backend.job.model import Job, RunJob
from backend.job.worker import JobReport
from backend.preview.tasks import PreviewReport
from backend.protocol.keys import KeyPair
from backend.protocol.status import BackendStatus
from backend.protocol.wakeup import Wakeup
from backend.protocol.wire import Buffer, Limits, Message, ProtocolError, pack, unpack
from backend.server.address_file import ServerError
from backend.server.capacity import Capacity
from backend.server.connections import Connections
from backend.server.door import BACKLOG, Door, DoorLimits, host_and_port
from backend.server.drain import Drain
from backend.server.gatekeeper import Admitted, AuthorizedKeys, Gatekeeper
from backend.server.job_requests import error_reply, read_received
from backend.server.job_service import JobService
from backend.server.kept_contents import KeptContents
from backend.server.preview_service import PreviewService
from backend.server.sessions import Caller, Sessions
from backend.server.sharing import Sharing
from backend.server.status_service import StatusService, StatusSources
from backend.server.unread import cost_of
from backend.server.workers import Workers
from backend.worker.process import WorkerProcess

if TYPE_CHECKING:
    from backend.preview.drawing import Drawing

HOUSEKEEPING_INTERVAL_S = 0.5
LOG_INTERVAL_S = 1.0
WORKER_GRACE_S = 1.0
# A client that sees a preview sends something every two seconds.
PREVIEW_SILENCE_S = 30.0
# Repeats of these requests are carried out again: they change nothing, or their replies are large or come later.
_NOT_KEPT = ("ping", "fetch", "frame", "status")
# Of each client so many whole messages wait in libzmq before they are read: few, since each may be as large as the limits allow.
RECEIVE_QUEUE_LENGTH = 4
# After so many messages it is the turn of the worker's reports.
MESSAGES_AT_ONCE = 64

logger = logging.getLogger(__name__)


def software_version() -> str:
    """The installed version of PBRfit, or "source" when it runs from a source tree that is not installed."""
    try:
        return importlib.metadata.version("pbrfit")
    except importlib.metadata.PackageNotFoundError:
        return "source"


class Server:
    """Binds on construction (raises `ServerError`), serves in `run`; `stop` may be called from any thread.

    address: where it listens, with the port that was chosen. dropped: by code, how many messages were dropped and how many
    connections were refused ("key", "handshake"). keys: its own. authorized: the keys of the clients that it serves.
    workers: who runs jobs and draws previews. publish: called with the status twice a second, where it is set.
    """

    def __init__(
        self,
        address: str,
        run_job: RunJob | Sequence[WorkerProcess],
        keys: KeyPair,
        authorized: AuthorizedKeys,
        limits: Limits = Limits(),  # noqa: B008 (frozen)
        capacity: Capacity = Capacity(),  # noqa: B008 (frozen)
        checkpoints: CheckpointFolder | None = None,
        device: dict[str, str] | None = None,
        make_drawing: Callable[[], Drawing] | None = None,
        door: DoorLimits = DoorLimits(),  # noqa: B008 (frozen)
        owner_keys: Iterable[str] = (),
    ) -> None:
        """run_job: the processes where jobs run and previews are drawn; or what a job runs, in threads of this process.

        device: `device` and `device_name` of the device where jobs run by default, for the welcome; None: not known.
        make_drawing: called in the preview thread for the first preview, where that is of this process.
        owner_keys: public keys that may ask for the status of everything, beside the server's own.
        """
        self.dropped: dict[str, int] = {}
        self.publish: Callable[[BackendStatus], None] | None = None
        self._limits = limits
        self._silence_s = capacity.silence_s
        self._admitted = Admitted(authorized, (keys.public, *owner_keys))
        self._connections = Connections()
        self._sessions = Sessions(capacity.sessions, capacity.key_sessions, self._session_ended)
        self._reports: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._wants_to_drain = False
        self._drain: Drain | None = None
        self._logged_drop = self._logged_fault = -LOG_INTERVAL_S
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.linger = 0
        self._socket.maxmsgsize = max(limits.frame_bytes, limits.header_bytes)
        self._socket.rcvhwm = RECEIVE_QUEUE_LENGTH
        self._gatekeeper = Gatekeeper(self._socket, keys, self._admitted, self._count_dropped)
        self._wakeup = Wakeup()
        try:
            self._door = Door(*host_and_port(address), door, self._turned_away)
        except (OSError, ValueError) as error:
            self._context.destroy(linger=0)
            self._wakeup.close()
            cure = "Use tcp://127.0.0.1:* for a free port, or an address of this machine whose port is free."
            raise ServerError(f"The backend cannot listen at {address}: {error}.", cure) from error
        self._socket.backlog = BACKLOG
        self._socket.bind(self._door.inner)
        self.address = self._door.address
        if callable(run_job):
            self.workers = Workers.in_threads(run_job, self._job_report, self._preview_report, make_drawing)
        else:
            self.workers = Workers.in_processes(run_job, self._job_report, self._preview_report, self._place_is_free)
        drawer = self.workers.drawer
        self.worker_ended = False
        unknown = {"device": "", "device_name": ""}
        info = {"version": software_version(), "pid": os.getpid(), **(device or unknown)}
        sharing = Sharing(lambda: len(authorized) <= 1)
        self._kept = None if checkpoints is None else KeptContents(checkpoints.path, capacity.kept_bytes, self._report)
        info["keeps_views"] = self._kept is not None
        runner, watch = self.workers.runner, drawer.watch
        self._service = JobService(runner, limits, capacity, info, checkpoints, watch, sharing, self._kept)
        self._previews = PreviewService(self._service.stores, drawer, limits, self._service.live_of, capacity, sharing)
        version, statuses = str(info["version"]), self.workers.statuses
        sources = StatusSources(
            version, self._service, self._sessions, authorized, self.dropped, statuses, capacity.store_bytes
        )
        self._status = StatusService(sources)

    def run(self, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Serves until `stop`, or until `should_stop`, called twice a second, returns True; then closes everything."""
        self._door.start(self._socket.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0"))
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._wakeup.fileno(), zmq.POLLIN)
        for socket in self._gatekeeper.sockets:
            poller.register(socket, zmq.POLLIN)
        next_housekeeping = time.monotonic()
        try:
            while not self._stopping.is_set():
                poller.poll(int(HOUSEKEEPING_INTERVAL_S * 1000))
                self._wakeup.clear()
                self._go_on_after(self._gatekeeper.work)
                self._go_on_after(self._take_reports)
                self._go_on_after(self._receive)
                if self._wants_to_drain and self._drained():
                    break
                late_s = time.monotonic() - next_housekeeping
                if late_s >= 0:
                    next_housekeeping = time.monotonic() + HOUSEKEEPING_INTERVAL_S
                    if late_s > HOUSEKEEPING_INTERVAL_S:
                        self._sessions.excuse(late_s)
                    if should_stop():
                        break
                    self._go_on_after(self._keep_house)
        finally:
            self.close()

    def close(self) -> None:
        """Stops all jobs and closes everything; `run` calls it at its end.

        Afterwards `worker_ended` says whether the worker has ended; False means that a job does not stop. A second call does
        nothing.
        """
        if self._context.closed:
            return
        self._door.close()
        self._service.stop_all()
        self._context.destroy(linger=0)
        self.worker_ended = self.workers.close(WORKER_GRACE_S)
        if self._kept is not None:
            self._kept.close(WORKER_GRACE_S)
        self._wakeup.close()

    def stop(self) -> None:
        """Makes `run` return soon. For any thread."""
        self._stopping.set()
        self._wakeup.set()

    def drain(self) -> None:
        """Makes `run` return within `drain.LEAVE_S` and `drain.FETCH_S`: no new jobs, those that run keep where they are.

        For any thread, and for a signal's handler.
        """
        self._wants_to_drain = True
        self._wakeup.set()

    def _drained(self) -> bool:
        if self._drain is None:
            self._drain = Drain(self._service)
        is_over = self._drain.is_over()
        self._send_events()
        return is_over

    def _job_report(self, job: Job, what: JobReport) -> None:
        self._report(partial(self._service.worker_says, job, what))

    def _preview_report(self, session: str, report: PreviewReport) -> None:
        self._report(partial(self._previews.worker_says, session, report))

    def _place_is_free(self) -> None:
        """A worker process has started, or a job has gone from one to another."""
        self._report(lambda: self._service.start_waiting())

    def _turned_away(self, code: str, what: str) -> None:
        """Called in the door's thread."""
        self._report(partial(self._count_dropped, code, what))

    def _report(self, take: Callable[[], None]) -> None:
        """Called in other threads: has the I/O thread take a report on a job or a session."""
        self._reports.put(take)
        self._wakeup.set()

    def _take_reports(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._go_on_after(self._reports.get_nowait())
        self._send_events()

    def _go_on_after(self, work: Callable[[], None]) -> None:
        """Whatever our own code makes of a report or of its housekeeping, the other clients' jobs go on."""
        try:
            work()
        except Exception:
            self.dropped["internal"] = self.dropped.get("internal", 0) + 1
            if time.monotonic() - self._logged_fault >= LOG_INTERVAL_S:
                self._logged_fault = time.monotonic()
                logger.exception("a part of the server failed; it goes on")

    def _receive(self) -> None:
        for _ in range(MESSAGES_AT_ONCE):
            try:
                route, *frames = self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            key = str(route.get("User-Id"))  # as the gatekeeper named it
            inside = self._connections.note(key, route)
            buffers: list[Buffer] = [frame.buffer for frame in frames]
            self._door.taken(inside, key, cost_of(buffers))
            if key not in self._admitted:
                self._revoke(key)
                continue
            self._take_message(route.bytes, key, buffers)

    def _take_message(self, route: bytes, key: str, frames: list[Buffer]) -> None:
        try:
            message = unpack(frames, self._limits)
            if not message.session or not message.request:
                raise ProtocolError("malformed", "The header names no session or no request.", session=message.session)
        except ProtocolError as error:
            self._drop(route, error, key)
            return
        except Exception:  # whatever a message makes of our code, the other clients' jobs go on
            logger.exception("a message could not be read", extra={"key": key})
            self._drop(route, ProtocolError("malformed", "The message cannot be read.", "Use a client of PBRfit."), key)
            return
        session = self._sessions.heard(Caller(key, message.session), route)
        reply = session.reply_to(message.request)
        if reply is None:
            try:
                reply = self._handled(message, key)
            except Exception as error:  # our fault must not end the other clients' jobs
                logger.exception("request %s failed", message.type, extra={"job": message.job, "key": key})
                cause = f"The backend could not handle {message.type}: {error}."
                failure = error_reply("internal", cause, "Please report this as a fault of PBRfit.")
                failure.session, failure.request, failure.job = message.session, message.request, message.job
                reply = pack(failure)
            if reply and message.type not in _NOT_KEPT:
                session.keep_reply(message.request, reply)
        if reply:
            self._send(route, reply)
        self._send_events()

    def _handled(self, message: Message, key: str) -> list[Buffer]:
        """The reply's frames; none where the reply comes later."""
        is_owner = key in self._admitted.owner_keys
        if message.type == "status":
            return pack(self._status.reply(message, key, is_owner))
        if message.type == "drain" and is_owner:
            self.drain()
            return pack(Message("ok", {}, session=message.session, request=message.request))
        if is_owner and key not in self._admitted.authorized:
            refusal = error_reply("owner", "The owner's key is for the status alone.", "Connect with a client's key.")
            refusal.session, refusal.request = message.session, message.request
            return pack(refusal)
        if self._previews.handles(message.type):
            reply = self._previews.handle(message, key)
            return [] if reply is None else pack(reply)
        if message.type == "hello":
            self._previews.drop(Caller(key, message.session))
        reply = self._service.handle(message, key)
        if reply is None:
            return []
        if reply.type == "pong":
            session = self._sessions.get(Caller(key, message.session))
            if session is not None:
                session.note_received(read_received(message))
            reply.body["scene"] = self._previews.ready_scene(Caller(key, message.session))
        elif message.type == "put":
            self._previews.contents_changed(key)
        return pack(reply)

    def _revoke(self, key: str) -> None:
        """Ends all that a key has, and its connections: it was taken out of the authorized keys."""
        self._count_dropped("key", f"a client whose key is not authorized any more: {key}", key)
        for caller in self._sessions.of_key(key):
            self._previews.drop(caller)
            self._sessions.remove(caller)
        self._service.end_key(key)
        self._connections.close(key)

    def _session_ended(self, caller: Caller) -> None:
        """Called when a session has made way for others of its key."""
        self._service.client_is_silent(caller)
        self._previews.drop(caller)

    def _count_dropped(self, code: str, what: str, key: str = "") -> None:
        self.dropped[code] = self.dropped.get(code, 0) + 1
        if time.monotonic() - self._logged_drop >= LOG_INTERVAL_S:  # a flood must not fill the disk
            self._logged_drop = time.monotonic()
            logger.warning("dropped %s (dropped so far: %s)", what, self.dropped, extra={"key": key})

    def _drop(self, route: bytes, error: ProtocolError, key: str) -> None:
        self._count_dropped(error.code, f"a message: {error}", key)
        reply = error_reply(error.code, error.cause, error.cure)
        reply.session, reply.request = error.session, error.request
        self._send(route, pack(reply))

    def _send_events(self) -> None:
        for caller, answer in self._service.take_answers():
            session = self._sessions.get(caller)
            if session is not None:
                frames = pack(answer)
                session.keep_reply(answer.request, frames)
                self._send(session.route, frames)
        for caller, event in [*self._service.take_events(), *self._previews.take_events()]:
            session = self._sessions.get(caller)
            if session is not None:
                self._send(session.route, pack(event))

    def _send(self, route: bytes, frames: list[Buffer]) -> None:
        # Where a client is gone or does not read, the message is dropped; results wait until it asks for them.
        with contextlib.suppress(zmq.Again):
            self._socket.send_multipart([route, *frames], zmq.NOBLOCK, copy=False)

    def _keep_house(self) -> None:
        self._forget_silent_sessions()
        self._service.jobs.forget_old_outcomes()
        if self.publish is not None:
            self.publish(self._status.whole())

    def _forget_silent_sessions(self) -> None:
        for key in {*self._sessions.keys, *self._connections.keys}:
            if key not in self._admitted:
                self._revoke(key)
        silent = set(self._sessions.silent_for(PREVIEW_SILENCE_S))
        for caller in self._previews.sessions:
            if caller in silent or self._sessions.get(caller) is None:
                self._previews.drop(caller)
        gone = set(self._sessions.silent_for(self._silence_s))
        for caller in gone:
            if not self._service.client_is_silent(caller):
                self._sessions.remove(caller)
        for key in {caller.key for caller in gone}:
            if gone.issuperset(self._sessions.of_key(key)):
                self._service.stores.forget(key)
        self._send_events()
