"""A real server on loopback in this process, a raw socket to speak to it, and the client as Blender uses it."""

from __future__ import annotations

import contextlib
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator

import numpy as np
import zmq

from backend.job.model import FitInputs, FitProgress, FitResult
from backend.protocol.client.client import BackendClient
from backend.protocol.client.events import Event, Failed, Progress
from backend.protocol.client.link import Timing
from backend.protocol.keys import KeyPair, new_keys
from backend.protocol.settings import FitSettings
from backend.protocol.wire import Buffer, Limits, Message, content_hash, describe, pack, unpack
from backend.server.capacity import Capacity
from backend.server.gatekeeper import AuthorizedKeys
from backend.server.server import Server

FIT_PATIENCE_S = 90.0
PATIENCE_S = 5.0  # how long a test waits for what takes milliseconds on an idle machine
IDENTITY = np.eye(4).tolist()
ONE_MIB = 1 << 20
SERVER_KEYS, CLIENT_KEYS = new_keys(), new_keys()


def average_views(
    inputs: FitInputs, settings: FitSettings, report: Callable[[FitProgress], None], cancelled: Callable[[], bool]
) -> FitResult:
    """A small honest job: the mean of the views' images, and the sum of each array."""
    means = []
    for view in inputs.views:
        means.append(float(view.image.astype(np.float64).mean()))
        fraction = len(means) / max(inputs.view_count, len(means))
        report(FitProgress("average", fraction, len(means), None, None, "Averaging"))
    metrics = {"mean": float(np.mean(means)) if means else None, "views": len(means), "resolution": settings.resolution}
    metrics["sums"] = {name: float(array.sum()) for name, array in inputs.arrays.items()}
    return FitResult({"mean.txt": repr(metrics["mean"]).encode(), "empty.bin": b""}, metrics)


@contextlib.contextmanager
def running_server(
    run_job: Callable = average_views, address: str = "tcp://127.0.0.1:*", **options: object
) -> Iterator[Server]:
    options.setdefault("limits", Limits(header_bytes=ONE_MIB // 16, frame_bytes=4 * ONE_MIB))
    options.setdefault("authorized", AuthorizedKeys([CLIENT_KEYS.public]))
    server = Server(address, run_job, SERVER_KEYS, **options)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


class RawClient:
    """A DEALER socket that can send anything, and reads what comes back."""

    def __init__(self, address: str, keys: KeyPair = CLIENT_KEYS) -> None:
        self.session = uuid.uuid4().hex
        self._context = zmq.Context()
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.curve_serverkey = SERVER_KEYS.public.encode()
        self.socket.curve_publickey, self.socket.curve_secretkey = keys.public.encode(), keys.secret.encode()
        self.socket.connect(address)
        self._requests = 0
        self.events: list[Message] = []

    def frames(self, kind: str, body: dict | None = None, job: str = "", **arrays: np.ndarray) -> list[Buffer]:
        self._requests += 1
        return pack(Message(kind, body or {}, arrays, self.session, f"r{self._requests}", job))

    def send(self, frames: list[Buffer]) -> None:
        self.socket.send_multipart(frames)

    def receive(self) -> Message:
        assert self.socket.poll(PATIENCE_S * 1000), "the server did not answer"
        return unpack(self.socket.recv_multipart())

    def request(self, kind: str, body: dict | None = None, job: str = "", **arrays: np.ndarray) -> Message:
        """Sends a request and returns its reply; events that come meanwhile are kept."""
        return self.exchange(self.frames(kind, body, job, **arrays))

    def exchange(self, frames: list[Buffer]) -> Message:
        self.send(frames)
        wanted = json.loads(bytes(frames[0]))["request"]
        while (message := self.receive()).request != wanted:
            self.events.append(message)
        return message

    def event(self, kind: str) -> Message:
        """The next event of this kind; those before it are skipped."""
        while True:
            message = self.events.pop(0) if self.events else self.receive()
            if message.type == kind:
                return message

    def send_view(self, job: str, index: int, value: float = 1.0) -> Message:
        body = {"index": index, "held_out": False, "view": IDENTITY, "projection": IDENTITY}
        return self.request("view", body, job, image=np.full((4, 4, 4), value, np.float16))

    def file(self, result: Message, name: str) -> bytes:
        """A file of a result, fetched piece by piece."""
        (described,) = (file for file in result.body["files"] if file["name"] == name)
        data = b""
        while len(data) < described["size"]:
            data += self.request("fetch", {"file": name, "offset": len(data)}, result.job).arrays["data"].tobytes()
        assert content_hash(data) == described["hash"]
        return data

    def close(self) -> None:
        self._context.destroy(linger=0)


@contextlib.contextmanager
def raw_client(address: str, keys: KeyPair = CLIENT_KEYS) -> Iterator[RawClient]:
    client = RawClient(address, keys)
    try:
        yield client
    finally:
        client.close()


PATIENT = Timing(connect=PATIENCE_S, ping=0.1, silence=PATIENCE_S)
ATTENTIVE = Timing(connect=PATIENCE_S, ping=0.1, silence=0.6)  # where a silence after the first word is tested
QUICK = Timing(connect=0.4, ping=0.1, silence=0.6)  # where nobody answers


class PolledClient(BackendClient):
    """The client, and the events that a test has polled but not looked at yet."""

    def __init__(self, timing: Timing) -> None:
        super().__init__(timing, CLIENT_KEYS)
        self.polled: list[Event] = []


@contextlib.contextmanager
def connected_client(
    address: str, timing: Timing = PATIENT, server_key: str = SERVER_KEYS.public
) -> Iterator[PolledClient]:
    client = PolledClient(timing)
    client.connect(address, server_key)
    try:
        yield client
    finally:
        client.close()


def wait_for(client: PolledClient, *kinds: type, patience_s: float = PATIENCE_S) -> list[Event]:
    """Polls as Blender's timer does until an event of one of these kinds comes; all events until then, it last."""
    seen: list[Event] = []
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        client.polled += client.poll()
        while client.polled:
            seen.append(client.polled.pop(0))
            if isinstance(seen[-1], kinds):
                return seen
        time.sleep(0.002)
    raise AssertionError(f"none of {kinds} came, only {seen}")


def progress_until(
    client: PolledClient, condition: Callable[[Progress], bool], patience_s: float = PATIENCE_S
) -> Progress:
    """The first progress that meets the condition."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        event = wait_for(client, Progress, Failed, patience_s=patience_s)[-1]
        assert isinstance(event, Progress), event
        if condition(event):
            return event
    raise AssertionError("the progress waited for did not come")


def add_view(client: BackendClient, index: int, value: float = 1.0) -> None:
    view = {"index": index, "held_out": index == 0, "view": IDENTITY, "projection": IDENTITY}
    client.add_view(view, np.full((8, 8, 4), value, np.float16))


def small_capacity(**values: float) -> Capacity:
    return Capacity(**{"store_bytes": 8 * ONE_MIB, "view_bytes": 8 * ONE_MIB, **values})


def submit(
    raw: RawClient, arrays: dict[str, np.ndarray] | None = None, view_count: int = 0, settings: dict | None = None
) -> Message:
    arrays = arrays or {}
    described = {name: describe(array).to_dict() for name, array in arrays.items()}
    return raw.request("submit", {"settings": settings or {}, "arrays": described, "view_count": view_count})


def put(raw: RawClient, array: np.ndarray, **changes: object) -> Message:
    data = array.reshape(-1).view(np.uint8)
    body = {"hash": describe(array).hash, "offset": 0, "total": data.nbytes, **changes}
    return raw.request("put", body, data=data)


def run_to_result(raw: RawClient, value: float = 1.0) -> Message:
    job = submit(raw).job
    raw.send_view(job, 0, value)
    raw.request("end_views", {"count": 1}, job)
    return raw.event("result")


def assert_lives(raw: RawClient) -> None:
    assert raw.request("ping").type == "pong"
