"""The client's I/O thread: one DEALER socket, one job at a time, heartbeats."""

from __future__ import annotations

import logging
import math
import queue
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import zmq
from zmq.utils.monitor import recv_monitor_message

from . import events
from .settings import FitSettings
from .wakeup import Wakeup
from .wire import ArrayDescription, Limits, Message, ProtocolError, array_bytes, describe, pack, unpack

SLOWEST_BYTES_PER_SECOND = 1e6
FAREWELL_S = 0.3
LONGEST_POLL_S = 0.5

_START_AGAIN = "Start the backend again and repeat the job; the end of its log may say why it stopped."

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Timing:
    """Seconds. connect: for the backend's first word. ping: between heartbeats. silence: after which the backend
    counts as gone; while data is on its way to it, one second more for each megabyte not yet confirmed.
    """

    connect: float = 10.0
    ping: float = 2.0
    silence: float = 10.0


class _Ended(Exception):
    """The connection is over; the reason has been told."""


class _ClientJob:
    """What the connection knows of its job. `job` is empty until the backend accepts the message `submit`."""

    def __init__(self, submit: Message, arrays: dict[str, np.ndarray]) -> None:
        self.submit = submit
        self.arrays = arrays  # by hash
        self.job = ""
        self.views = 0
        self.cancelled = False
        self.last_seq = 0
        self.upload_bytes = 0
        self.uploaded_bytes = 0
        self.deferred: list[tuple[str, Any]] = []


class Connection:
    """Connects, sends what the commands ask for and tells `emit` what comes back, until `close` or a failure.

    commands: (name, value) pairs, each followed by `wakeup.set()`; read once the backend has answered.
    """

    def __init__(
        self,
        address: str,
        session: str,
        timing: Timing,
        commands: queue.SimpleQueue,
        wakeup: Wakeup,
        emit: Callable[[events.Event], None],
    ) -> None:
        self._address = address
        self._session = session
        self._timing = timing
        self._commands = commands
        self._wakeup = wakeup
        self._emit = emit
        self._limits = Limits()
        self._largest_image = self._limits.frame_bytes
        self._linked = False
        self._held_back = False
        self._connected = False
        self._closing_until = math.inf
        self._last_awake = self._last_heard = time.monotonic()
        self._waiting: deque[tuple[str, Any]] = deque()
        self._job: _ClientJob | None = None
        self._next_request = time.time_ns()  # never repeated within the session, also not by a later connection
        self._unanswered: dict[str, tuple[Message, int]] = {}
        self._socket: zmq.Socket
        self._monitor: zmq.Socket

    def run(self) -> None:
        """The I/O thread: returns when the connection is over."""
        context = zmq.Context()
        try:
            self._open(context)
            self._loop()
        except _Ended:
            pass
        except Exception as error:
            logger.exception("the connection to the backend failed")
            cause = f"The connection to the backend stopped with {type(error).__name__}: {error}."
            self._emit(events.Failed("internal", cause, "This is a fault of PBRfit; please report it."))
        finally:
            context.destroy(linger=0)
            self._wakeup.close()

    def _open(self, context: zmq.Context) -> None:
        self._socket = context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.maxmsgsize = self._limits.frame_bytes
        self._socket.sndhwm = 0  # the arrays are in memory anyway, and a send must not wait
        # Nothing is queued without a link: what was not answered is sent again, in order, when there is one.
        self._socket.immediate = True
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
        self._monitor.linger = 0
        try:
            if not self._address.startswith("tcp://"):
                raise zmq.ZMQError(zmq.EINVAL)
            self._socket.connect(self._address)
        except zmq.ZMQError as error:
            cause = f"{self._address!r} is not an address of a backend ({error})."
            self._end(events.Failed("address", cause, "Give an address such as tcp://127.0.0.1:5555."))
        self._send(Message("hello", {"client": "pbrfit"}))

    def _loop(self) -> None:
        poller = zmq.Poller()
        for waking in (self._socket, self._monitor, self._wakeup.fileno()):
            poller.register(waking, zmq.POLLIN)
        next_ping = 0.0
        while True:
            patience = min(LONGEST_POLL_S, self._timing.ping / 2, max(0.0, self._closing_until - time.monotonic()))
            poller.modify(self._socket, zmq.POLLIN | zmq.POLLOUT if self._held_back else zmq.POLLIN)
            poller.poll(patience * 1000)
            now = time.monotonic()
            # Blender may hold the interpreter's lock for long, and hashing takes its time: seconds in which this
            # thread could not listen are no silence of the backend.
            self._last_heard = min(now, self._last_heard + max(0.0, now - self._last_awake - patience))
            self._last_awake = now
            self._wakeup.clear()
            self._watch_link()
            self._receive()
            self._take_commands()
            if self._connected and now >= next_ping:
                next_ping = now + self._timing.ping
                self._send(Message("ping", job=self._job.job if self._job else ""))
            if now >= self._closing_until or (self._closing_until < math.inf and self._job is None):
                raise _Ended
            self._check_silence(now - self._last_heard)

    def _watch_link(self) -> None:
        while self._monitor.poll(0):
            self._linked = recv_monitor_message(self._monitor)["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED
            self._held_back = self._linked
            if not self._linked:
                self._last_heard = time.monotonic()  # a lost link gets the whole time to come back
        # The monitor may tell of a link before the socket can send over it: then it is tried again once it can.
        if self._held_back:
            self._held_back = False
            for message, _ in self._unanswered.values():
                self._transmit(message)

    def _check_silence(self, silence: float) -> None:
        if not self._connected and silence > self._timing.connect:
            cause = f"No backend answered at {self._address} within {self._timing.connect:g} seconds."
            if self._linked:
                cause = f"What listens at {self._address} does not answer as a PBRfit backend."
            cure = "Check that the backend runs and that the address is right, or let PBRfit start one itself."
            self._end(events.Failed("unreachable", cause, cure))
        patience = self._timing.silence
        if self._linked:
            patience += sum(size for _, size in self._unanswered.values()) / SLOWEST_BYTES_PER_SECOND
        if self._connected and silence > patience:
            self._end(events.Disconnected(f"The backend has not answered for {silence:.1f} seconds. {_START_AGAIN}"))

    def _end(self, event: events.Event) -> None:
        self._emit(event)
        raise _Ended

    def _send(self, message: Message, size: int = 0) -> None:
        """Sends a request; `size` is what it adds to the bytes on their way."""
        self._next_request += 1
        message.session, message.request = self._session, str(self._next_request)
        if message.type != "ping":
            self._unanswered[message.request] = (message, size)
        self._transmit(message)

    def _transmit(self, message: Message) -> None:
        if self._held_back:  # after those that are held back already, in order
            return
        try:
            self._socket.send_multipart(pack(message), zmq.NOBLOCK, copy=False)
        except zmq.Again:
            self._held_back = self._linked  # no link: all is sent when there is one

    # Commands of the main thread

    def _take_commands(self) -> None:
        """Carries out the commands; before the backend has answered they wait, save `close`."""
        while not self._commands.empty():
            command = self._commands.get_nowait()
            if command[0] == "close" and not self._connected:
                raise _Ended
            self._waiting.append(command)
        while self._waiting and self._connected:
            name, value = self._waiting.popleft()
            if name == "submit":
                self._submit(*value)
            elif name == "close":
                self._cancel()
                self._closing_until = time.monotonic() + FAREWELL_S
            elif name == "cancel":
                self._cancel()
            elif self._job is not None and not self._job.cancelled:
                self._send_for_job(name, value)

    def _submit(self, settings: FitSettings, arrays: dict[str, np.ndarray], view_count: int) -> None:
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
        if self._job is None:
            return
        self._job.cancelled = True
        self._job.deferred.clear()
        if self._job.job:
            self._send(Message("cancel", job=self._job.job))

    def _send_for_job(self, name: str, value: Any) -> None:
        job = self._job
        if not job.job:
            job.deferred.append((name, value))
        elif name == "end_views":
            self._send(Message("end_views", {"count": job.views}, job=job.job))
        else:
            view, image = value
            if image.nbytes > self._largest_image:
                cause = f"The image of view {view.get('index')} has {image.nbytes} bytes; allowed are "
                self._fail_job("oversized", f"{cause}{self._largest_image}.", "Render smaller views.")
                return
            job.views += 1
            self._send(Message("view", view, {"image": image}, job=job.job), image.nbytes)

    # What the backend says

    def _receive(self) -> None:
        while True:
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            self._last_heard = time.monotonic()
            try:
                message = unpack([frame.buffer for frame in frames], self._limits)
            except ProtocolError as error:
                self._misunderstood(error)
                continue
            self._take_message(message)

    def _misunderstood(self, error: ProtocolError) -> None:
        if error.code == "version":
            self._end(events.Failed("version", error.cause, error.cure))
        logger.warning("dropped a message of the backend: %s", error)
        if self._job is not None:
            self._fail_job("garbled", error.cause, error.cure)

    def _take_message(self, message: Message) -> None:
        request, _ = self._unanswered.pop(message.request, (None, 0))
        body = message.body
        if message.type == "error":
            self._take_error(request, body)
        elif message.type == "welcome" and request is not None:
            self._connected = True
            self._largest_image = body["limits"]["frame_bytes"]
            self._emit(events.Connected(body))
        elif message.type == "accepted" and request is not None:
            self._accepted(request, message)
        elif message.type == "stored" and request is not None:
            self._uploaded(request)
        elif self._job is None or not message.job or message.job != self._job.job:
            return
        elif message.type == "pong":
            self._compare_state(body.get("state"))
        elif message.seq > self._job.last_seq:
            self._job.last_seq = message.seq
            self._take_event(message)

    def _take_error(self, request: Message | None, body: dict[str, Any]) -> None:
        code, cause, cure = (str(body.get(name, "")) for name in ("code", "cause", "cure"))
        if code == "version" or (request is not None and request.type == "hello"):
            self._end(events.Failed(code, cause, cure))
        job = self._job
        if request is None or job is None or request.type in ("cancel", "acknowledge", "get_result"):
            return  # the last three crossed the end of their job
        if request is job.submit or (job.job and request.job == job.job):
            self._fail_job(code, cause, cure)

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
        job.upload_bytes = sum(job.arrays[digest].nbytes for digest in missing)
        for digest in missing:
            self._put(digest, job.arrays[digest])
        job.arrays = {}
        for name, value in job.deferred:
            if self._job is job:  # a view that is refused ends the job
                self._send_for_job(name, value)

    def _put(self, digest: str, array: np.ndarray) -> None:
        data = array_bytes(array)
        description = ArrayDescription("uint8", data.shape, digest)
        message = Message("put", {"hash": digest, "offset": 0, "total": data.nbytes}, {"data": data})
        message.job, message.descriptions = self._job.job, {"data": description}
        self._send(message, data.nbytes)

    def _uploaded(self, request: Message) -> None:
        job = self._job
        if job is None or request.job != job.job or job.cancelled:
            return
        job.uploaded_bytes += request.body["total"]
        fraction = job.uploaded_bytes / job.upload_bytes if job.upload_bytes else 1.0
        text = f"Uploaded {job.uploaded_bytes / 2**20:.1f} of {job.upload_bytes / 2**20:.1f} MiB"
        self._emit(events.Progress("uploading", "upload", fraction, 0, None, None, text))

    def _compare_state(self, state: str | None) -> None:
        """The heartbeat tells the job's state: so an outcome that was lost with a connection is asked for again."""
        if state is None:
            cause = "The backend no longer knows the job: it has been restarted."
            self._fail_job("job_lost", cause, "Start the job again.")
        elif state in ("done", "failed", "cancelled"):
            self._send(Message("get_result", job=self._job.job))

    def _take_event(self, message: Message) -> None:
        body = message.body
        if message.type == "progress" and not self._job.cancelled:
            names = ("state", "phase", "fraction", "iteration", "psnr_db", "seconds_left", "message")
            self._emit(events.Progress(*(body.get(name) for name in names)))
        elif message.type == "result":
            files = {name: array.tobytes() for name, array in message.arrays.items()}
            self._finish(events.Result(files, body.get("metrics", {})))
        elif message.type == "failed":
            self._finish(events.Failed(*(str(body.get(name, "")) for name in ("code", "cause", "cure"))))
        elif message.type == "cancelled":
            self._finish(events.Cancelled())

    def _finish(self, event: events.Event) -> None:
        """The job has ended and this end knows how: tell, and let the backend forget it."""
        self._send(Message("acknowledge", job=self._job.job))
        self._job = None
        self._emit(event)

    def _fail_job(self, code: str, cause: str, cure: str) -> None:
        """The job cannot go on, for a reason that arose on this side or in a request's reply."""
        event = events.Cancelled() if self._job.cancelled else events.Failed(code, cause, cure)
        self._abandon_job()
        self._emit(event)

    def _abandon_job(self) -> None:
        if self._job is not None and self._job.job:
            self._abandon(self._job.job)
        self._job = None

    def _abandon(self, job: str) -> None:
        self._send(Message("cancel", job=job))
        self._send(Message("acknowledge", job=job))
