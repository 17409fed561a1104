"""What the clients' I/O threads share: a link, commands of the main thread, heartbeats, a farewell."""

from __future__ import annotations

import logging
import math
import queue
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ..wakeup import Wakeup
from ..wire import Message, ProtocolError
from ..zeromq import zmq
from . import events
from .link import Destination, Link, LinkEnded, Timing

FAREWELL_S = 0.3
LONGEST_POLL_S = 0.5

Commands = queue.SimpleQueue[tuple[str, Any]]
"""A client's wishes: names and values."""

EventT = TypeVar("EventT")
"""The events of a client."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoopSetup:
    """What a loop begins with: whom it connects to under which session name, and how the main thread's commands reach it.

    commands: (name, value) pairs, each followed by `wakeup.set()`; carried out once the backend has answered.
    """

    destination: Destination
    session: str
    timing: Timing
    commands: Commands
    wakeup: Wakeup


class LinkLoop(Generic[EventT]):
    """Connects, carries out the commands and hands what comes back to `emit`, until `close` or a failure.

    A subclass decides what commands and messages do.
    """

    def __init__(self, setup: LoopSetup, emit: Callable[[EventT | events.Failed | events.Disconnected], None]) -> None:
        self._destination = setup.destination
        self._session = setup.session
        self._timing = setup.timing
        self._commands = setup.commands
        self._wakeup = setup.wakeup
        self._emit = emit
        self._closing_until = math.inf
        self._waiting: deque[tuple[str, Any]] = deque()
        self._was_lost = False
        self._link: Link

    def run(self) -> None:
        """The I/O thread: returns when the connection is over."""
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        try:
            self._link = Link(context, self._destination, self._session, self._timing)
            self._link.came_back = self._linked_again
            self._link.send(Message("hello", {"client": "pbrfit"}, job=self._job_name()))
            self._loop()
        except LinkEnded as ended:
            if ended.event is not None:
                self._emit(ended.event)
        except Exception as error:
            logger.exception("the connection to the backend failed")
            cause = f"The connection to the backend stopped with {type(error).__name__}: {error}."
            self._emit(events.Failed("internal", cause, "This is a fault of PBRfit; please report it."))
        finally:
            context.destroy(linger=0)
            self._wakeup.close()

    def _loop(self) -> None:
        link, poller = self._link, zmq.Poller()
        for waking in (link.socket, link.monitor, self._wakeup.fileno()):
            poller.register(waking, zmq.POLLIN)
        next_ping = 0.0
        while True:
            patience = min(LONGEST_POLL_S, self._timing.ping / 2, max(0.0, self._closing_until - time.monotonic()))
            poller.modify(link.socket, zmq.POLLIN | zmq.POLLOUT if link.held_back else zmq.POLLIN)
            poller.poll(int(patience * 1000))
            now = link.awake(patience)
            self._wakeup.clear()
            link.watch()
            for message in link.receive():
                self._say_whether_lost()
                if isinstance(message, Message):
                    self._take_message(message)
                else:
                    self._take_garbled(message)
            self._take_commands()
            if link.connected and now >= next_ping:
                next_ping = now + self._timing.ping
                link.ping(self._job_name())
            if now >= self._closing_until or (self._closing_until < math.inf and self._is_done()):
                raise LinkEnded
            link.check_silence()
            self._say_whether_lost()

    def _say_whether_lost(self) -> None:
        if self._link.lost != self._was_lost:
            self._was_lost = self._link.lost
            self._lost_or_back(self._was_lost)

    def _send(self, message: Message, size: int = 0) -> None:
        self._link.send(message, size)

    def _take_commands(self) -> None:
        """Carries out the commands. Before the backend has answered, all of them wait except `close`."""
        while not self._commands.empty():
            command = self._commands.get_nowait()
            if command[0] == "close" and not self._link.connected:
                raise LinkEnded
            self._waiting.append(command)
        while self._waiting and self._link.connected:
            name, value = self._waiting.popleft()
            if name == "close":
                self._say_farewell()
                self._closing_until = time.monotonic() + FAREWELL_S
            else:
                self._carry_out(name, value)

    def _carry_out(self, name: str, value: Any) -> None:
        """Carries out a command of the main thread."""
        raise NotImplementedError

    def _take_message(self, message: Message) -> None:
        """Takes a message of the backend."""
        raise NotImplementedError

    def _take_garbled(self, error: ProtocolError) -> None:
        """Takes the reason why a message could not be understood."""

    def _linked_again(self) -> None:
        """Called when there is a new link in place of one that was lost, before unanswered requests are sent again."""

    def _lost_or_back(self, is_lost: bool) -> None:
        """Called when the backend has fallen silent, and when it answers again."""

    def _job_name(self) -> str:
        """The job that heartbeats ask about; empty where there is none."""
        return ""

    def _say_farewell(self) -> None:
        """Sends the last messages before the connection is closed."""

    def _is_done(self) -> bool:
        """Whether the connection can be closed, once `close` was called."""
        return True

    @staticmethod
    def _refusal(request: Message | None, body: dict[str, Any]) -> events.Failed:
        """What an error message says. Raises `LinkEnded` where it ends the connection."""
        refusal = failure_of(body)
        if refusal.code == "version" or (request is not None and request.type == "hello"):
            raise LinkEnded(refusal)
        return refusal


def failure_of(body: dict[str, Any]) -> events.Failed:
    """The failure that a message describes."""
    return events.Failed(*(str(body.get(name, "")) for name in ("code", "cause", "cure")))
