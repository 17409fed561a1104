"""`python -m benchmarks upload`: how fast an array reaches a backend on the same machine, beside what takes the time.

A real backend, the client that Blender uses, and an array that the backend does not have. Beside it: libzmq alone, plain and with
CURVE, between two threads of one process, and hashing and copying alone. Each figure is the median of the repeats.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zmq

from backend.cli.errors import CommandError
from backend.protocol.client import events
from backend.protocol.client.client import BackendClient
from backend.protocol.keys import new_keys
from backend.protocol.settings import FitSettings
from backend.protocol.wire import CHUNK_BYTES
from benchmarks.measure import check_output, circumstances, print_table, write_json
from benchmarks.small_backend import SmallBackend, small_backend

_PATIENCE_S = 60.0
_MB = 1e6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--megabytes", type=int, default=100, help="size of the array")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", type=Path, help="write what was measured to this file")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Upload, print, write; returns what was written."""
    if options.repeats < 1 or options.megabytes < 1:
        raise CommandError("Nothing is to be measured.", "Give --repeats and --megabytes of at least 1.")
    check_output(options.json)
    size = options.megabytes * 1_000_000
    keys = new_keys()
    uploads: list[dict[str, float]] = []
    with small_backend([keys]) as backend:
        client = BackendClient(keys=keys)
        client.connect(backend.address, backend.public_key)
        try:
            uploads = [_upload(client, backend, size, number) for number in range(options.repeats + 1)][1:]
        finally:
            client.close()
    alone = {
        "libzmq without CURVE": _median(lambda: _through_zmq(size, False), options.repeats),
        "libzmq with CURVE": _median(lambda: _through_zmq(size, True), options.repeats),
        "blake2b": _median(lambda: _timed(lambda: hashlib.blake2b(_CONTENT, digest_size=32).digest(), size), 9),
        "SHA-256 of OpenSSL": _median(lambda: _timed(lambda: hashlib.sha256(_CONTENT).digest(), size), 9),
    }
    median = {name: statistics.median(one[name] for one in uploads) for name in uploads[0]}
    result = circumstances(torch.device("cpu")) | {
        "versions_of_zmq": {"pyzmq": zmq.__version__, "libzmq": zmq.zmq_version()},
        "megabytes": options.megabytes,
        "repeats": options.repeats,
        "upload": median | {"mb_per_s": options.megabytes / median["seconds"]},
        "fastest_and_slowest_mb_per_s": [
            options.megabytes / pick(one["seconds"] for one in uploads) for pick in (min, max)
        ],
        "alone_mb_per_s": {name: options.megabytes / seconds for name, seconds in alone.items()},
    }
    rows = [[name, f"{value:.3f}"] for name, value in result["upload"].items()]
    rows += [[f"{name} alone, MB/s", f"{value:.0f}"] for name, value in result["alone_mb_per_s"].items()]
    print_table(f"{options.megabytes} MB over 127.0.0.1", [["", ""], *rows])
    if options.json is not None:
        write_json(options.json, result)
    return result


def _upload(client: BackendClient, backend: SmallBackend, size: int, number: int) -> dict[str, float]:
    """Seconds from the backend's acceptance to its having all, with the client's hashing before, and each one's CPU time."""
    array = np.random.default_rng(number).integers(0, 255, size, dtype=np.uint8)
    began, server, own = time.perf_counter(), backend.cpu_seconds(), time.process_time()
    accepted = began
    client.submit(FitSettings(), {"a": array}, 1)
    while time.perf_counter() - began < _PATIENCE_S:
        for event in client.poll():
            if isinstance(event, events.Accepted):
                accepted = time.perf_counter()
            elif isinstance(event, events.Failed | events.Disconnected):
                raise CommandError(f"The upload failed: {event}.", "Look at `pbrfit doctor`.")
            elif isinstance(event, events.Progress) and event.phase == "upload" and event.fraction == 1.0:
                ended = time.perf_counter()
                taken = {"server_cpu_s": backend.cpu_seconds() - server, "client_cpu_s": time.process_time() - own}
                client.cancel()
                _wait_for_end(client)
                return {"seconds": ended - accepted, "with_hashing_s": ended - began, **taken}
        time.sleep(0.0005)
    raise CommandError("The upload does not end.", "Look at `pbrfit doctor`.")


def _wait_for_end(client: BackendClient) -> None:
    deadline = time.perf_counter() + _PATIENCE_S
    while time.perf_counter() < deadline:
        if any(isinstance(event, events.Cancelled) for event in client.poll()):
            return
        time.sleep(0.001)
    raise CommandError("A cancelled job does not end.", "Look at `pbrfit doctor`.")


def _through_zmq(size: int, curve: bool) -> float:
    """Seconds for as many bytes in pieces as large as PBRfit's, between two contexts of this process."""
    near, far = zmq.Context(), zmq.Context()
    sink, source = near.socket(zmq.ROUTER), far.socket(zmq.DEALER)
    if curve:
        keys, own = new_keys(), new_keys()
        sink.curve_server = True
        sink.curve_secretkey, sink.curve_publickey = keys.secret.encode(), keys.public.encode()
        source.curve_serverkey = keys.public.encode()
        source.curve_publickey, source.curve_secretkey = own.public.encode(), own.secret.encode()
    source.connect(f"tcp://127.0.0.1:{sink.bind_to_random_port('tcp://127.0.0.1')}")
    source.send(b"ready")
    sink.recv_multipart()
    pieces = [_CONTENT[first : first + CHUNK_BYTES] for first in range(0, size, CHUNK_BYTES)]
    began = time.perf_counter()
    thread = threading.Thread(target=lambda: [source.send(piece) for piece in pieces])
    thread.start()
    for _ in pieces:
        sink.recv_multipart(copy=False)
    seconds = time.perf_counter() - began
    thread.join()
    near.destroy(linger=0)
    far.destroy(linger=0)
    return seconds


_CONTENT = np.random.default_rng(0).integers(0, 255, 16 << 20, dtype=np.uint8).tobytes() * 8


def _timed(work: Callable[[], object], size: int) -> float:
    """Seconds for so many bytes of what takes all of `_CONTENT`."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * size / len(_CONTENT)


def _median(work: Callable[[], float], repeats: int) -> float:
    return statistics.median(work() for _ in range(repeats))


__all__ = ["add_arguments", "run"]
