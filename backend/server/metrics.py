"""Numbers for Prometheus at http://127.0.0.1:PORT/metrics. They name no key, since all users of the machine can read them.

Threads of their own answer, from the latest status that the I/O thread has left here: so nobody who asks, however slowly,
holds the I/O thread up.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from backend.protocol.status import BackendStatus, WorkerStatus
from backend.server.address_file import ServerError

MOST_CONNECTIONS = 8
PATIENCE_S = 2.0
_LONGEST_REQUEST = 8192
_HOSTS = {"127.0.0.1", "localhost"}

logger = logging.getLogger(__name__)


class Metrics:
    """Listens on construction, at 127.0.0.1 alone. Raises `ServerError` where it cannot. port: 0 takes any that is free."""

    def __init__(self, port: int) -> None:
        try:
            self._listener = socket.create_server(("127.0.0.1", port), backlog=2 * MOST_CONNECTIONS)
        except (OSError, OverflowError) as error:
            cause = f"The metrics cannot be served at 127.0.0.1:{port}: {error}."
            raise ServerError(cause, "Give --metrics a port of this machine that is free.") from error
        self.port: int = self._listener.getsockname()[1]
        self._latest: tuple[BackendStatus, float] = BackendStatus(), time.monotonic()
        self._places = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="pbrfit-metrics", daemon=True)
        self._thread.start()

    def take(self, status: BackendStatus) -> None:
        """What to answer from now on."""
        self._latest = status, time.monotonic()

    def close(self) -> None:
        """Listens no more."""
        self._closing = True
        with contextlib.suppress(OSError):  # wakes the thread
            socket.create_connection(("127.0.0.1", self.port), PATIENCE_S).close()
        self._thread.join(PATIENCE_S)
        self._listener.close()

    def _run(self) -> None:
        while not self._closing:
            try:
                client, _ = self._listener.accept()
            except OSError:  # too many open files, or closed
                if not self._closing:
                    time.sleep(PATIENCE_S / 4)
                continue
            if self._closing or not self._places.acquire(blocking=False):
                client.close()
                continue
            threading.Thread(target=self._serve, args=(client,), name="pbrfit-metrics-reply", daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            with client, contextlib.suppress(OSError):
                deadline = time.monotonic() + PATIENCE_S
                reply = self._reply(_request(client, deadline))
                client.settimeout(max(0.01, deadline - time.monotonic()))
                client.sendall(reply)
        except Exception:
            logger.exception("a request for the metrics failed")
        finally:
            self._places.release()

    def _reply(self, request: bytes) -> bytes:
        first, *lines = request.decode("latin-1").split("\r\n")
        words = first.split(" ")
        if len(words) != 3 or words[0] != "GET":
            return _http("405 Method Not Allowed", "Only GET.\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        host = headers.get("host", "127.0.0.1").rsplit(":", 1)[0]
        if host not in _HOSTS:  # a page in a browser, under a name that leads here
            return _http("403 Forbidden", "Ask for 127.0.0.1.\n")
        if words[1].partition("?")[0] != "/metrics":
            return _http("404 Not Found", "See /metrics.\n")
        status, taken = self._latest
        return _http("200 OK", metrics_text(status, time.monotonic() - taken))


def metrics_text(status: BackendStatus, age_s: float = 0.0) -> str:
    """A status in Prometheus' text format."""
    running = Counter(job.state for job in status.jobs)
    states = {state: running[state] for state in ("uploading", "queued", "running", "paused")}
    parts = [
        _family("info", "gauge", "The backend.", "version", {status.version: 1}),
        _family("uptime_seconds", "gauge", "Since the start.", "", {"": status.uptime_s}),
        _family("status_age_seconds", "gauge", "How old these numbers are.", "", {"": age_s}),
        _family("draining", "gauge", "Whether it takes no more jobs, because it ends.", "", {"": int(status.draining)}),
        _family("jobs", "gauge", "Jobs that are not over.", "state", states),
        _family("jobs_ended_total", "counter", "Jobs that are over.", "state", status.ended),
        _family("clients", "gauge", "Keys that have something here.", "", {"": len(status.clients)}),
        _family(
            "sessions", "gauge", "Sessions of all keys.", "", {"": sum(known.sessions for known in status.clients)}
        ),
        _family("store_bytes", "gauge", "Arrays that are held.", "", {"": status.store_bytes}),
        _family("store_capacity_bytes", "gauge", "How many may be.", "", {"": status.store_capacity}),
        _family("memory_bytes", "gauge", "Resident memory of the server's process.", "", {"": status.memory_bytes}),
        *_worker_families(status.workers),
        _family("dropped_total", "counter", "Messages and connections.", "code", status.dropped),
    ]
    return "".join(line for part in parts for line in part)


def _worker_families(workers: Sequence[WorkerStatus]) -> Iterator[Iterable[str]]:
    """What each worker process does, by its device."""

    def family(name: str, kind: str, about: str, value: Callable[[WorkerStatus], float | int | None]) -> Iterable[str]:
        return _family(name, kind, about, "device", {worker.device: value(worker) for worker in workers})

    models = [(worker.device, worker.device_name) for worker in workers if worker.device_name]
    yield _family(
        "device_info", "gauge", "The devices, and their models.", ("device", "name"), dict.fromkeys(models, 1)
    )
    yield family("worker_up", "gauge", "Whether the process runs.", lambda worker: int(bool(worker.pid)))
    yield family("worker_losses_total", "counter", "Processes that were lost.", lambda worker: worker.losses)
    yield family("worker_memory_bytes", "gauge", "Resident memory.", lambda worker: worker.memory_bytes)
    yield family("worker_memory_limit_bytes", "gauge", "How much it may be.", lambda worker: worker.memory_limit)
    yield family("device_memory_bytes", "gauge", "Of the GPU.", lambda worker: worker.device_bytes)
    yield family("device_busy", "gauge", "Whether it has a job.", lambda worker: int(bool(worker.job)))
    yield family("device_busy_seconds_total", "counter", "For how long it had jobs.", lambda worker: worker.busy_s)
    yield family("device_jobs_total", "counter", "Jobs that it had.", lambda worker: worker.jobs)
    yield family("device_previews", "gauge", "Sessions that it draws for.", lambda worker: worker.previews)


def _family(
    name: str, kind: str, about: str, label: str | tuple[str, ...], values: Mapping[Any, float | int | None]
) -> Iterable[str]:
    """A family of numbers. values: by what the label says, or all labels; where there is none, by nothing."""
    known = {of: value for of, value in values.items() if value is not None}
    if known:
        yield f"# HELP pbrfit_{name} {about}\n# TYPE pbrfit_{name} {kind}\n"
    for of, value in known.items():
        pairs = zip(label, of, strict=True) if isinstance(label, tuple) else [(label, of)] if label else []
        labels = ",".join(f'{one}="{_escaped(text)}"' for one, text in pairs)
        yield f"pbrfit_{name}{f'{{{labels}}}' if labels else ''} {value:.10g}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _request(client: socket.socket, deadline: float) -> bytes:
    """The head of a request. Raises OSError where it does not come in time, or is too long."""
    request = b""
    while b"\r\n\r\n" not in request:
        left = deadline - time.monotonic()
        if left <= 0 or len(request) > _LONGEST_REQUEST:
            raise TimeoutError
        client.settimeout(left)
        piece = client.recv(_LONGEST_REQUEST)
        if not piece:
            raise ConnectionResetError
        request += piece
    return request.partition(b"\r\n\r\n")[0]


def _http(status: str, text: str) -> bytes:
    body = text.encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
