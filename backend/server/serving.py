"""`serve`: a server with its worker processes, from its start to its end."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from backend.job.checkpoints import CheckpointFolder
from backend.protocol.keys import KeyPair, new_keys
from backend.server.address_file import ServerError
from backend.server.address_file import address_file as address_file_of
from backend.server.devices import AUTO, device_plans
from backend.server.door import DoorLimits
from backend.server.gatekeeper import AuthorizedKeys
from backend.server.metrics import Metrics
from backend.server.parent_watch import parent_watch
from backend.server.server import WORKER_GRACE_S, Server, software_version
from backend.server.threads import raise_file_limit, yield_idle_threads
from backend.server.workers import described
from backend.worker.plan import WorkerPlan
from backend.worker.process import WorkerProcess

WORKER_START_S = 50.0

logger = logging.getLogger(__name__)


def serve(
    address: str = "tcp://127.0.0.1:*",
    address_file: str | os.PathLike[str] | None = None,
    parent_pid: int | None = None,
    *,
    plan: WorkerPlan = WorkerPlan(),  # noqa: B008 (frozen)
    keys: KeyPair | None = None,
    authorized: AuthorizedKeys,
    checkpoints: CheckpointFolder | None = None,
    metrics_port: int | None = None,
    relays_log: bool = False,
    devices: Sequence[str] = AUTO,
    worker_memory: int | None = None,
    door: DoorLimits = DoorLimits(),  # noqa: B008 (frozen)
    listening: Callable[[str, str], None] = lambda _address, _public_key: None,
) -> None:
    """Runs the backend until it is interrupted, or until process `parent_pid` is gone.

    address: tcp address to listen at; port `*` is any free one. address_file: once the server listens, JSON with address,
    public_key, pid, version and keys that may ask for the status is written there, whole or not at all, readable by this user
    only, and removed at the end.
    plan: what the worker processes run, which are ready before the server listens. devices: as `devices.read_devices` has them;
    each gets a process. worker_memory: how many bytes of the machine's memory each may take; None: its share.
    keys: the server's; None: new ones. door: what connections may cost.
    authorized: the clients that may connect. checkpoints: where to keep what jobs need to go on after a crash. listening:
    called with the address and the public key once the server listens. metrics_port: where Prometheus may ask; None: nowhere.
    relays_log: whether this process writes the worker's log too. Raises `ServerError`.
    """
    yield_idle_threads()
    raise_file_limit()
    lives = parent_watch(parent_pid) if parent_pid is not None else lambda: True
    keys, owner = keys or new_keys(), new_keys()
    plan = replace(plan, relays_log=relays_log)
    if checkpoints is not None:
        plan = replace(plan, checkpoints=str(checkpoints.path.resolve()), checkpoint_interval_s=checkpoints.interval_s)
    plans = device_plans(devices, plan, worker_memory)
    metrics = None if metrics_port is None else Metrics(metrics_port)
    workers = [WorkerProcess(one) for one in plans]
    ready_until = time.monotonic() + WORKER_START_S
    for worker in workers:
        if not worker.wait_ready(max(0.0, ready_until - time.monotonic())):
            logger.error(
                "the worker process of %s does not start: it %s", worker.name, worker.last_loss or "says nothing"
            )
    try:
        server = Server(
            address,
            workers,
            keys,
            authorized,
            checkpoints=checkpoints,
            device=described(workers),
            door=door,
            owner_keys=[owner.public],
        )
    except ServerError:
        for worker in workers:
            worker.close(WORKER_GRACE_S)
        if metrics is not None:
            metrics.close()
        raise
    values = {
        "address": server.address,
        "public_key": keys.public,
        "pid": os.getpid(),
        "version": software_version(),
        "owner_key": {"public": owner.public, "secret": owner.secret},
    }
    with contextlib.ExitStack() as stack:
        stack.callback(server.close)
        if metrics is not None:
            stack.callback(metrics.close)
            server.publish = metrics.take
            logger.info("metrics at http://127.0.0.1:%d/metrics", metrics.port)
        if address_file is not None:
            stack.enter_context(address_file_of(Path(address_file), values))
        logger.info("listening at %s, public key %s", server.address, keys.public)
        listening(server.address, keys.public)
        if parent_pid is None:
            stack.enter_context(_drained_by_sigterm(server))
        with contextlib.suppress(KeyboardInterrupt):
            server.run(lambda: not lives())
    if not server.worker_ended:
        logging.shutdown()
        os._exit(0)  # a running computation of torch would delay the interpreter's end


@contextlib.contextmanager
def _drained_by_sigterm(server: Server) -> Iterator[None]:
    """The first SIGTERM lets the jobs keep where they are, the second ends the server at once, as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def drain(_signal: int, _frame: object) -> None:
        signal.signal(signal.SIGTERM, _interrupt)
        server.drain()

    before = signal.signal(signal.SIGTERM, drain)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt
