"""`python -m benchmarks soak`: many clients with small jobs for many minutes.

Each client has its own key, and submits one job after the other: an array of 256 KiB that stays the same, one that is new,
and two views. A job works for half a second on a core. Every result is compared with what was sent. Another process asks for
a reply ten times a second, as a client does, and the memory of the server and of its worker process is read every two
seconds.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zmq

from backend.cli.errors import CommandError
from backend.protocol.client import events
from backend.protocol.client.client import BackendClient
from backend.protocol.keys import KeyPair, new_keys
from backend.protocol.settings import FitSettings
from backend.protocol.wire import Message, pack
from benchmarks.measure import check_output, circumstances, print_table, write_json
from benchmarks.small_backend import SmallBackend, small_backend

_PATIENCE_S = 180.0
_MEMORY_S = 2.0
_PING_S = 0.1
_FIXED_BYTES = 256 << 10
_IDENTITY = np.eye(4).tolist()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument(
        "--jobs", type=int, default=200, help="in all, at least; further ones follow until the time is over"
    )
    parser.add_argument("--seconds", type=float, default=1200.0)
    parser.add_argument("--json", type=Path, help="write what was measured to this file")


@dataclass
class _Artist:
    """A client, and its job: what it sent, and when."""

    client: BackendClient
    number: int
    fixed: np.ndarray
    fresh: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint8))
    done: int = 0
    submitted: float = 0.0
    busy: bool = False
    longest_s: float = 0.0

    def submit(self) -> None:
        """Send the next job."""
        self.fresh = np.frombuffer(f"client {self.number}, job {self.done}".encode() * 40, np.uint8)
        self.client.submit(FitSettings(), {"a": self.fixed, "b": self.fresh}, 2)
        for index in range(2):
            view = {"index": index, "held_out": False, "view": _IDENTITY, "projection": _IDENTITY}
            self.client.add_view(view, np.full((32, 32, 4), self.done % 50, np.float16))
        self.client.end_views()
        self.submitted, self.busy = time.monotonic(), True

    def poll(self) -> None:
        """Take what has come. Raises CommandError where a job is lost, or its result is not its own."""
        for event in self.client.poll():
            if isinstance(event, events.Result):
                if event.files["0.bin"] != self.fixed.tobytes() or event.files["1.bin"] != self.fresh.tobytes():
                    raise CommandError(f"Client {self.number} has a result that is not its own.", "This is a fault.")
                self.done += 1
                self.busy = False
                self.longest_s = max(self.longest_s, time.monotonic() - self.submitted)
            elif isinstance(event, (events.Failed, events.Disconnected, events.Cancelled)):
                raise CommandError(f"Client {self.number} has lost its job {self.done}: {event}.", "This is a fault.")
        if self.busy and time.monotonic() - self.submitted > _PATIENCE_S:
            raise CommandError(f"Job {self.done} of client {self.number} does not end.", "This is a fault.")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Submit, print, write; returns what was written."""
    check_output(options.json)
    keys = [new_keys() for _ in range(options.clients + 1)]
    with small_backend(keys, "benchmarks.small_backend:busy", keeps=True) as backend:
        near, far = multiprocessing.Pipe()
        pinging = multiprocessing.get_context("spawn").Process(
            target=_ping, args=(backend.address, backend.public_key, keys[-1], far)
        )
        pinging.start()
        artists = [_Artist(BackendClient(keys=key), number, _fixed(number)) for number, key in enumerate(keys[:-1])]
        try:
            for artist in artists:
                artist.client.connect(backend.address, backend.public_key)
            memory, seconds, cpu = _work(artists, backend, options)
            near.send("end")
            pings: list[float] = near.recv()
        finally:
            for artist in artists:
                artist.client.close()
            pinging.kill()
            pinging.join()
    result = _result(artists, memory, pings, options, seconds)
    result["soak"]["server_cpu_s"] = cpu
    print_table("Soak", [["", ""], *([name, str(value)] for name, value in result["soak"].items())])
    if options.json is not None:
        write_json(options.json, circumstances(torch.device("cpu")) | result)
    return result


def _fixed(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 255, _FIXED_BYTES, dtype=np.uint8)


def _work(
    artists: Sequence[_Artist], backend: SmallBackend, options: argparse.Namespace
) -> tuple[list[dict[str, float]], float, float]:
    """What memory was held when, how long it took, and the server's time on a core."""
    memory: list[dict[str, float]] = []
    began, next_look = time.monotonic(), 0.0
    cpu = backend.cpu_seconds()
    while True:
        passed = time.monotonic() - began
        is_over = passed > options.seconds and sum(artist.done for artist in artists) >= options.jobs
        for artist in artists:
            artist.poll()
            if not artist.busy and not is_over:
                artist.submit()
        if is_over and not any(artist.busy for artist in artists):
            return memory, passed, backend.cpu_seconds() - cpu
        if passed > next_look:
            next_look = passed + _MEMORY_S
            held = {"server": backend.memory_mib(), "worker": backend.memory_mib(backend.worker)}
            memory.append({"s": round(passed), **held, "load": os.getloadavg()[0]})
        if not backend.lives:
            raise CommandError(f"The backend has ended: {backend.log.read_text()[-2000:]}", "This is a fault.")
        time.sleep(0.02)


def _ping(address: str, server_key: str, keys: KeyPair, parent: Connection) -> None:
    """Ask ten times a second how the backend is, in a process of its own; sends back the seconds that each reply took."""
    socket = zmq.Context().socket(zmq.DEALER)
    socket.curve_serverkey = server_key.encode()
    socket.curve_publickey, socket.curve_secretkey = keys.public.encode(), keys.secret.encode()
    socket.connect(address)
    taken: list[float] = []
    while not parent.poll(0):
        asked = time.perf_counter()
        socket.send_multipart(pack(Message("ping", session="ping", request=str(len(taken)))))
        taken.append(time.perf_counter() - asked if socket.poll(10_000) and socket.recv_multipart() else 10.0)
        time.sleep(_PING_S)
    parent.send(taken[1:])  # the first includes the handshake


def _result(
    artists: Sequence[_Artist],
    memory: list[dict[str, float]],
    pings: list[float],
    options: argparse.Namespace,
    seconds: float,
) -> dict[str, Any]:
    warm = [held for held in memory if held["s"] > seconds / 6] or memory
    first, last = (
        {name: statistics.median(held[name] for held in part) for name in ("server", "worker")}
        for part in (warm[: len(warm) // 5 + 1], warm[-(len(warm) // 5 + 1) :])
    )
    return {
        "soak": {
            "clients": options.clients,
            "jobs": sum(artist.done for artist in artists),
            "fewest_jobs_of_a_client": min(artist.done for artist in artists),
            "longest_wait_for_a_job_s": max(artist.longest_s for artist in artists),
            "seconds": seconds,
            "pings": len(pings),
            "ping_median_ms": 1e3 * statistics.median(pings),
            "ping_99th_percentile_ms": 1e3 * float(np.percentile(pings, 99)),
            "ping_worst_ms": 1e3 * max(pings),
            "pings_over_100_ms": sum(ping > 0.1 for ping in pings),
            "server_grows_percent": 100 * (last["server"] / first["server"] - 1),
            "worker_grows_percent": 100 * (last["worker"] / first["worker"] - 1) if first["worker"] else None,
            "median_load": statistics.median(held["load"] for held in memory),
        },
        "memory": memory[:: max(1, len(memory) // 40)],
    }


__all__ = ["add_arguments", "run"]
