"""The client's end of a connection: one encrypted DEALER socket.

It sends unanswered requests again when a lost link is back, and decides when a silent backend counts as gone.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..key_text import is_key
from ..keys import KeyPair
from ..wire import MOST_RECEIVED, Limits, Message, ProtocolError, pack, unpack
from ..zeromq import recv_monitor_message, zmq
from . import events

SLOWEST_BYTES_PER_SECOND = 1e6

_START_AGAIN = "Start the backend again and repeat the job; the end of its log may say why it stopped."
_CHECK_ADDRESS = "Check that the backend runs and that the address is right, or let PBRfit start one itself."
_CHECK_KEYS = (
    "Copy the public key that the backend printed when it started into the preferences, and add this client's public "
    "key to the backend's file of authorized keys."
)

logger = logging.getLogger(__name__)


def _monitored() -> int:
    """What a link is told of its socket."""
    return (
        zmq.EVENT_CONNECTED
        | zmq.EVENT_DISCONNECTED
        | zmq.EVENT_HANDSHAKE_SUCCEEDED
        | zmq.EVENT_HANDSHAKE_FAILED_AUTH
        | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
        | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    )


@dataclass(frozen=True)
class Timing:
    """How long to wait, in seconds.

    connect: for the backend's first message. ping: between heartbeats. silence: after so long the backend counts as gone;
    while data is on its way to it, one second more for each megabyte not yet confirmed. retry: for so long after that the
    client tries to reach it again before it gives up; 0: not at all.
    """

    connect: float = 10.0
    ping: float = 2.0
    silence: float = 10.0
    retry: float = 0.0

    @property
    def unlinked(self) -> float:
        """After so long without a link, and without an answer, a connection that is tried again counts as lost."""
        return min(1.5 * self.ping, self.silence)


REMOTE = Timing(retry=600.0)
"""For a backend on another machine: it goes on while the network is gone or this machine sleeps."""


@dataclass(frozen=True)
class Destination:
    """Where to connect: the backend's address and public key, and the client's own keys."""

    address: str
    server_key: str
    keys: KeyPair


class LinkEnded(Exception):
    """The connection is over. `event` says why; None where the main thread has asked for it."""

    def __init__(self, event: events.Failed | events.Disconnected | None = None) -> None:
        super().__init__(event)
        self.event = event


class Link:
    """Belongs to the I/O thread, which polls `socket` and `monitor`; `linked` says whether bytes can travel.

    connected: whether the backend has answered; the link's owner sets it. lost: whether it does not answer any more, and
    is tried again. unanswered: requests by name, each with the bytes that it adds to those on their way. came_back: called
    when there is a link in place of one that was lost, before unanswered requests are sent again; the owner may set it.
    """

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], destination: Destination, session: str, timing: Timing
    ) -> None:
        self.connected = False
        self.linked = False
        self.held_back = False
        self.came_back: Callable[[], None] = lambda: None
        self.unanswered: dict[str, tuple[Message, int]] = {}
        self._received: list[str] = []
        self._address = destination.address
        self._session = session
        self._timing = timing
        self._limits = Limits()
        self._reached = False
        self._refused = False
        self._lost_since: float | None = None
        self._next_attempt = 0.0
        self._last_awake = self._last_heard = time.monotonic()
        self._next_request = time.time_ns()  # never repeated within the session, not even by a later connection
        self.socket = context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.maxmsgsize = self._limits.frame_bytes
        self.socket.sndhwm = 0  # the arrays are in memory anyway, and a send must not wait
        # Without a link nothing is queued: when there is one, unanswered requests are sent again, in order.
        self.socket.immediate = True
        self.monitor = self.socket.get_monitor_socket(_monitored())
        self.monitor.linger = 0
        self._connect(destination)

    @property
    def lost(self) -> bool:
        """Whether the backend has fallen silent."""
        return self._lost_since is not None

    def _connect(self, destination: Destination) -> None:
        if not is_key(destination.server_key):
            shown = f"{destination.server_key!r} is not one" if destination.server_key else "none was given"
            cause = f"The public key of the backend at {self._address} is needed, and {shown}."
            raise LinkEnded(events.Failed("key", cause, _CHECK_KEYS))
        self.socket.curve_serverkey = destination.server_key.encode()
        self.socket.curve_publickey = destination.keys.public.encode()
        self.socket.curve_secretkey = destination.keys.secret.encode()
        try:
            if not self._address.startswith("tcp://"):
                raise zmq.ZMQError(zmq.EINVAL)
            self.socket.connect(self._address)
        except zmq.ZMQError as error:
            cause = f"{self._address!r} is not an address of a backend ({error})."
            raise LinkEnded(events.Failed("address", cause, "Give an address such as tcp://127.0.0.1:5555.")) from error

    def awake(self, patience: float) -> float:
        """Notes that the thread is awake, after it meant to wait for `patience` seconds at most. Returns the time.

        Blender may hold the interpreter's lock for long, and hashing takes time: seconds in which this thread could not
        listen do not count as silence of the backend.
        """
        now = time.monotonic()
        away = max(0.0, now - self._last_awake - patience)
        self._last_heard = min(now, self._last_heard + away)
        if self._lost_since is not None:
            self._lost_since += away
        self._last_awake = now
        return now

    def watch(self) -> None:
        """Follows the state of the link; when there is a new one, sends unanswered requests again."""
        is_back = False
        while self.monitor.poll(0):
            event = recv_monitor_message(self.monitor)["event"]
            if event == zmq.EVENT_CONNECTED:
                self._reached = True
            elif event == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
                self._refused = True
            elif event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:  # libzmq does not try again
                cause = f"The backend at {self._address} does not know this client's public key."
                raise LinkEnded(events.Failed("key", cause, _CHECK_KEYS))
            elif event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:  # nor after this
                cause = f"What listens at {self._address} does not answer as a PBRfit backend."
                raise LinkEnded(events.Failed("unreachable", cause, _CHECK_ADDRESS))
            else:
                if self.linked:
                    self._last_heard = time.monotonic()  # a lost link has the full time to come back
                self.linked = self.held_back = event == zmq.EVENT_HANDSHAKE_SUCCEEDED
                is_back = self.linked and self.connected
        # The monitor may report a link before the socket can send over it: then this is tried again.
        if self.held_back:
            self.held_back = False
            again = [message for message, _ in self.unanswered.values()]
            if is_back:
                self.came_back()
            for message in again:
                self._transmit(message)

    def check_silence(self) -> None:
        """Raises `LinkEnded` when the backend has been silent for too long; before that, tries to reach it again."""
        silence = self._last_awake - self._last_heard
        if not self.connected and silence > self._timing.connect:
            raise LinkEnded(self._never_answered())
        patience = self._timing.silence
        if self.linked:
            patience += sum(size for _, size in self.unanswered.values()) / SLOWEST_BYTES_PER_SECOND
        elif self._timing.retry:
            patience = self._timing.unlinked
        if not self.connected or (silence <= patience and not self.lost):
            return
        since = self._lost_since = self._lost_since or self._last_heard
        silence = self._last_awake - since
        if silence > patience + self._timing.retry:
            reason = f"The backend has not answered for {silence:.1f} seconds. {_START_AGAIN}"
            raise LinkEnded(events.Disconnected(reason))
        if self._last_awake >= self._next_attempt:
            self._begin_again()

    def _begin_again(self) -> None:
        """Gives up the link for a new one: a network that was gone, or a machine that slept, often leaves one that is dead
        and does not know it. Where no link comes about, libzmq tries by itself too.
        """
        self._next_attempt = self._last_awake + self._timing.silence
        self.linked = self.held_back = False
        with contextlib.suppress(zmq.ZMQError):  # it may be gone already
            self.socket.disconnect(self._address)
        self.socket.connect(self._address)

    def _never_answered(self) -> events.Failed:
        if self.linked:
            cause = f"What listens at {self._address} does not answer as a PBRfit backend."
        elif self._refused:
            cause = (
                f"What listens at {self._address} ends each connection: its public key is another, or it is no PBRfit."
            )
            return events.Failed("key", cause, _CHECK_KEYS)
        elif self._reached:
            cause = f"What listens at {self._address} does not answer as a PBRfit backend."
        else:
            cause = f"No backend answered at {self._address} within {self._timing.connect:g} seconds."
        return events.Failed("unreachable", cause, _CHECK_ADDRESS)

    def send(self, message: Message, size: int = 0) -> None:
        """Sends a request; `size` is the number of bytes that it adds to those on their way."""
        self._next_request += 1
        message.session, message.request = self._session, str(self._next_request)
        if message.type != "ping":
            self.unanswered[message.request] = (message, size)
        self._transmit(message)

    def ping(self, job: str) -> None:
        """Sends a heartbeat, about a job or none. It says which replies have come, so that the backend need not keep them."""
        told, self._received = self._received[:MOST_RECEIVED], self._received[MOST_RECEIVED:]
        self.send(Message("ping", {"received": told} if told else {}, job=job))

    def answered(self, request: str) -> Message | None:
        """Takes the unanswered request of this name, whose reply has come; None where there is none, or no more."""
        message, _ = self.unanswered.pop(request, (None, 0))
        if message is not None:
            self._received.append(request)
        return message

    def _transmit(self, message: Message) -> None:
        if self.held_back:  # it follows those that are held back already, in order
            return
        try:
            # With a copy: without one pyzmq starts a thread that outlives the connection and, in Blender, the add-on.
            self.socket.send_multipart(pack(message), zmq.NOBLOCK)
        except zmq.Again:
            self.held_back = self.linked  # without a link: everything is sent when there is one

    def receive(self) -> Iterator[Message | ProtocolError]:
        """The messages that have come; for each that cannot be understood, the reason."""
        while True:
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            self._last_heard = time.monotonic()
            self._lost_since = None
            try:
                yield unpack([frame.buffer for frame in frames], self._limits)
            except ProtocolError as error:
                if error.code == "version":
                    raise LinkEnded(events.Failed("version", error.cause, error.cure)) from error
                logger.warning("dropped a message of the backend: %s", error)
                yield error
