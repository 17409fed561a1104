"""One question to a backend, for programs that may wait for the answer."""

from __future__ import annotations

import uuid

from ..wire import Message, ProtocolError
from ..zeromq import zmq
from .events import Failed
from .link import Destination, Link, LinkEnded, Timing

_POLL_S = 0.1


def ask(destination: Destination, message: Message, patience_s: float = 10.0) -> Message:
    """Sends a request and returns its reply, which may be an `error`. Raises `LinkEnded` with a `Failed` where none comes."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        link = Link(context, destination, uuid.uuid4().hex, Timing(connect=patience_s))
        link.send(message)
        poller = zmq.Poller()
        poller.register(link.socket, zmq.POLLIN)
        poller.register(link.monitor, zmq.POLLIN)
        while True:
            poller.poll(int(_POLL_S * 1000))
            link.awake(_POLL_S)
            link.watch()
            for reply in link.receive():
                if isinstance(reply, ProtocolError):
                    raise LinkEnded(Failed("garbled", reply.cause, reply.cure))
                if reply.request == message.request:
                    return reply
            link.check_silence()
    finally:
        context.destroy(linger=0)
