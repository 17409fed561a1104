"""Two paired clients that send nearly right messages to one backend, and look at every reply for what is not theirs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from random import Random

import numpy as np
import zmq

from backend.protocol.keys import KeyPair, new_keys
from backend.protocol.wire import Buffer, Message, content_hash, describe, pack, unpack
from benchmarks.fuzz_messages import Known, Speaker, contents_of, endings
from benchmarks.small_backend import SmallBackend

PATIENCE_S = 30.0
MARKS = ("QmarkOfTheFirst", "QmarkOfTheOther")


class FaultFound(AssertionError):
    """The backend did what it must not."""


@dataclass
class Heard:
    """What came back: replies and events by type, error codes, and the causes of those that are faults of ours."""

    types: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    internal: Counter[str] = field(default_factory=Counter)


class FuzzClient:
    """A paired client. `others`: the marks that must never come back to it."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], backend: SmallBackend, keys: KeyPair, mark: str, known: Known
    ) -> None:
        self.mark = mark
        self.known = known
        self.jobs: set[str] = set()
        self.heard = Heard()
        self.requests = 0
        self._others = [other.encode() for other in (*MARKS, "witness") if other != mark]
        self._sessions: set[str] = set()
        self._syncs = 0
        self.socket = context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.sndhwm = self.socket.rcvhwm = 0
        self.socket.curve_serverkey = backend.public_key.encode()
        self.socket.curve_publickey, self.socket.curve_secretkey = keys.public.encode(), keys.secret.encode()
        self.socket.connect(backend.address)

    def say(self, random: Random, count: int) -> None:
        """Send so many messages, and hear all that comes until the backend has taken the last."""
        speaker = Speaker(random, self.mark, self.known, self.requests)
        said = [speaker.message() for _ in range(count)]
        self.requests = speaker.requests
        self.send(said)

    def end_all(self, number: int) -> None:
        """End all that this client has."""
        sessions, self._sessions = self._sessions, set()
        self.send(endings(sorted(sessions), number))

    def send(self, said: list[list[Buffer]]) -> None:
        """Send messages, and hear all that comes until the backend has taken the last."""
        for frames in said:
            self.socket.send_multipart(frames)
        self._syncs += 1
        name = f"sync{self._syncs}"
        self.socket.send_multipart(pack(Message("ping", session="sync", request=name)))
        while True:
            if not self.socket.poll(int(PATIENCE_S * 1000)):
                raise FaultFound(f"no answer for {PATIENCE_S:.0f} s after {[bytes(one[0][:400]) for one in said]}")
            frames = self.socket.recv_multipart()
            message = self._checked(frames)
            if message.request == name and message.session == "sync":
                return

    def _checked(self, frames: list[bytes]) -> Message:
        """The message; raises `FaultFound` where it is not well formed, or holds what is another client's."""
        for other in self._others:
            if any(other in frame for frame in frames):
                raise FaultFound(f"{other!r} came to {self.mark}: {frames[0][:400]!r}")
        message = unpack(frames)
        self.heard.types[message.type] += 1
        if message.type == "accepted":
            self.jobs.add(message.job)
            self._sessions.add(message.session)
            self.known.note_job(message.job, self.mark, message.session)
        elif message.type in ("attached", "scene_taken", "light_taken"):
            self._sessions.add(message.session)  # an attached job belongs to another session than before
            if message.type == "attached":
                self._check_owner(message)
        elif message.type == "error":
            code = str(message.body["code"])
            self.heard.codes[code] += 1
            if code == "internal":
                self.heard.internal[str(message.body["cause"])[:200]] += 1
            if not message.body["cause"]:
                raise FaultFound(f"an error without a cause: {message.body}")
        elif message.seq or (message.type in ("ok", "piece") and message.job) or message.body.get("state"):
            self._check_owner(message)
        return message

    def _check_owner(self, message: Message) -> None:
        kept = message.type == "ok" and "state" not in message.body  # of requests about no job
        if not kept and message.job not in self.jobs:
            raise FaultFound(f"{message.type} of job {message.job} came to {self.mark}, whose it is not")


class Fuzzing:
    """Two such clients and an honest witness at one backend. sent: how many messages."""

    def __init__(self, backend: SmallBackend, keys: tuple[KeyPair, KeyPair, KeyPair]) -> None:
        self._backend = backend
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._known = Known([content for mark in MARKS for content in contents_of(mark)])
        self.clients = [
            FuzzClient(self._context, backend, key, mark, self._known) for key, mark in zip(keys, MARKS, strict=False)
        ]
        self._witness = FuzzClient(self._context, backend, keys[2], "witness", self._known)
        self._events: list[Message] = []
        self._witnessed = 0
        self.sent = 0

    def close(self) -> None:
        """End the connections."""
        self._context.destroy(linger=0)

    def burst(self, random: Random, count: int) -> None:
        """So many messages of each client."""
        for client in self.clients:
            client.say(random, count)
            self.sent += count
        if not self._backend.lives:
            raise FaultFound(f"the backend has ended: {self._backend.log.read_text()[-3000:]}")

    def settle(self) -> None:
        """End all jobs, and have an honest client get the right result of an honest one."""
        for client in self.clients:
            client.end_all(self.sent)
        self._witnessed += 1
        array = np.frombuffer(f"witness {self._witnessed}".encode(), np.uint8)
        self._honest_job(array)

    def _honest_job(self, array: np.ndarray) -> None:
        witness, session = self._witness, f"witness{self._witnessed % 8}"
        image = np.full((4, 4, 4), self._witnessed % 100, np.float16)
        matrix = np.eye(4).tolist()
        submit = {"settings": {}, "arrays": {"a": describe(array).to_dict()}, "view_count": 1}
        job = self._asked(Message("submit", submit, session=session)).job
        put = {"hash": content_hash(array), "offset": 0, "total": array.nbytes}
        self._asked(Message("put", put, {"data": array}, session))
        view = {"index": 0, "held_out": False, "view": matrix, "projection": matrix}
        self._asked(Message("view", view, {"image": image}, session, job=job))
        self._asked(Message("end_views", {"count": 1}, session=session, job=job))
        while not any(event.type == "result" and event.job == job for event in self._events):
            if not witness.socket.poll(int(PATIENCE_S * 1000)):
                raise FaultFound("an honest client's job does not end")
            self._events.append(unpack(witness.socket.recv_multipart()))
            if self._events[-1].type in ("failed", "cancelled", "error"):
                raise FaultFound(f"an honest client's job failed: {self._events[-1].body}")
        self._events.clear()
        piece = self._asked(Message("fetch", {"file": "0.bin", "offset": 0}, session=session, job=job))
        if piece.arrays["data"].tobytes() != array.tobytes():
            raise FaultFound("an honest client's result is not right")
        self._asked(Message("acknowledge", session=session, job=job))

    def _asked(self, message: Message) -> Message:
        witness = self._witness
        witness.requests += 1
        message.request = f"w{witness.requests}"
        witness.socket.send_multipart(pack(message))
        while witness.socket.poll(int(PATIENCE_S * 1000)):
            reply = unpack(witness.socket.recv_multipart())
            if reply.request == message.request:
                if reply.type == "error":
                    raise FaultFound(f"an honest client's {message.type} is refused: {reply.body}")
                return reply
            self._events.append(reply)
        raise FaultFound(f"an honest client's {message.type} is not answered")

    @property
    def internal(self) -> Counter[str]:
        """Faults of ours that the backend has answered with."""
        return sum((client.heard.internal for client in self.clients), Counter())


def three_keys() -> tuple[KeyPair, KeyPair, KeyPair]:
    """Of two clients that fuzz, and of the witness."""
    return new_keys(), new_keys(), new_keys()


__all__ = ["FaultFound", "FuzzClient", "Fuzzing", "three_keys"]
