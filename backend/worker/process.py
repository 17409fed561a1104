"""The worker process as the server sees it: started, watched, and started again when it is gone."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
import threading
import time
from typing import Protocol, cast

from backend.worker.channel import Channel, Packet
from backend.worker.memory_watch import MemoryWatch
from backend.worker.plan import WorkerPlan
from backend.worker.pulse import ANSWER, ASK, Pulse

# A worker that lived as long as this did not fail at its start.
_LIVED_S = 20.0
_SHORTEST_WAIT_S, _LONGEST_WAIT_S = 0.25, 30.0
_PROGRAM = "import sys; sys.path[:] = sys.argv[1:]; from backend.worker.host import main; main()"
if sys.platform == "win32":
    _NO_WINDOW = subprocess.CREATE_NO_WINDOW
else:
    _NO_WINDOW = 0
_KILLED = 9

logger = logging.getLogger(__name__)


class Listener(Protocol):
    """Who speaks with the worker. All is called in the thread that watches it."""

    def started(self, channel: Channel) -> None:
        """There is a new worker process, which knows nothing yet."""
        ...

    def ready(self) -> None:
        """The new process has imported what it needs."""
        ...

    def take(self, packet: Packet) -> bool:
        """Take a packet of the worker. Returns whether it was for this listener."""
        ...

    def lost(self, reason: str) -> None:
        """The worker process is gone, and all that it had; `reason` is a part of a sentence."""
        ...


class WorkerProcess:
    """Keeps a worker process running until `close`.

    name: of its device. device: what it computes on. losses: how often a process was lost. last_loss: how the last one went, a
    part of a sentence. lost_for_memory: whether that was ended because it took more memory than it may. device_bytes: the
    memory that it takes of a GPU; None where not known.
    """

    def __init__(self, plan: WorkerPlan) -> None:
        self.plan = plan
        self.name = plan.device
        self.device: dict[str, str] = {}
        self.last_loss = ""
        self.lost_for_memory = False
        self.losses = 0
        self.device_bytes: int | None = None
        self._listeners: list[Listener] = []
        self._lock = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._ready = threading.Event()
        self._closing = threading.Event()
        self._told = ""
        self._over_memory = False
        self._pulse = Pulse(plan.hung_s, self._ask, self._is_hung)
        self._memory = (
            MemoryWatch(plan.memory_bytes, lambda: self.pid, self._takes_too_much) if plan.memory_bytes else None
        )
        self._thread = threading.Thread(target=self._watch, name="pbrfit-watch", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        """Of the process that runs now; 0: none."""
        process = self._process
        return 0 if process is None else process.pid

    @property
    def is_ready(self) -> bool:
        """Whether the process that runs now has imported what it needs."""
        return self._ready.is_set()

    def attach(self, listener: Listener) -> None:
        """Tell a listener of all packets from now on."""
        with self._lock:
            self._listeners.append(listener)
            if self._channel is not None:
                listener.started(self._channel)
                if self._ready.is_set():
                    listener.ready()

    def wait_ready(self, patience_s: float) -> bool:
        """Wait until the worker has imported what it needs. Returns whether it has."""
        return self._ready.wait(patience_s)

    def kill(self, reason: str) -> None:
        """End the process at once, with what it does; a new one follows. reason: for the log, a part of a sentence."""
        with self._lock:
            self._told = reason
            if self._process is not None:
                self._process.kill()

    def close(self, patience_s: float) -> bool:
        """End the process for good. Returns whether it has ended."""
        self._closing.set()
        self._pulse.close()
        if self._memory is not None:
            self._memory.close()
        with self._lock:
            if self._process is not None:
                self._process.kill()
        self._thread.join(patience_s)
        return not self._thread.is_alive()

    def _ask(self) -> None:
        channel = self._channel
        if channel is not None:
            channel.urge(Packet(ASK))

    def _is_hung(self, silent_s: float) -> None:
        logger.error("the worker process %d has not answered for %.0f s", self.pid, silent_s)
        self.kill(f"did not answer for {silent_s:.0f} s")

    def _takes_too_much(self, taken: int) -> None:
        with self._lock:
            self._over_memory = True
            self.kill(f"took {taken / 2**30:.2f} GiB of memory, and it may take {self.plan.memory_bytes / 2**30:.2f}")

    def _watch(self) -> None:
        failures = 0
        while not self._closing.is_set():
            began = time.monotonic()
            reason = self._live()
            if self._closing.is_set():
                return
            was_well = self._ready.is_set() or time.monotonic() - began > _LIVED_S
            failures = 0 if was_well else failures + 1
            logger.warning("the worker process%s is gone: it %s", self._of_device, reason)
            with self._lock:
                self._ready.clear()
                self.last_loss, self.device_bytes = reason, None
                self.lost_for_memory, self._over_memory = self._over_memory, False
                self.losses += 1
                for listener in self._listeners:
                    listener.lost(reason)
            if failures:
                self._closing.wait(min(_LONGEST_WAIT_S, _SHORTEST_WAIT_S * 2**failures))

    @property
    def _of_device(self) -> str:
        return "" if self.name == "auto" else f" of {self.name}"

    def _live(self) -> str:
        """Start a process and take its packets until it is gone. Returns how it went."""
        command = [sys.executable, "-c", _PROGRAM, *self.plan.python_path]
        try:
            process = subprocess.Popen(
                command,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                creationflags=_NO_WINDOW,
                env={**os.environ, **self.plan.environment},
            )
        except OSError as error:
            return f"could not start ({error.strerror})"
        reading, writing = cast(io.RawIOBase, process.stdout), cast(io.RawIOBase, process.stdin)
        channel = Channel(reading, writing)
        level = logging.getLogger().level
        channel.urge(Packet("plan", {"plan": self.plan.to_dict(), "log_level": level}))
        with self._lock:
            self._process, self._channel, self._told = process, channel, ""
            if self._closing.is_set():
                process.kill()
            self._pulse.started()
            for listener in self._listeners:
                listener.started(channel)
        try:
            while self._deliver_next(channel):
                pass
        except Exception:  # a broken worker must not end the watch
            logger.exception("the worker's packets cannot be read")
        self._pulse.lost()
        channel.close()
        process.kill()
        status = process.wait()
        with self._lock:
            self._process = self._channel = None
        for pipe in (reading, writing):
            pipe.close()
        return self._told or _how_it_ended(status)

    def _deliver_next(self, channel: Channel) -> bool:
        """Take the next packet; returns False when the worker is gone. Nothing holds the packet's arrays afterwards."""
        packet = channel.receive()
        if packet is not None:
            self._deliver(packet)
        return packet is not None

    def _deliver(self, packet: Packet) -> None:
        if packet.kind == ANSWER:
            self._pulse.answered()
            self.device_bytes = packet.body["device_bytes"]
            return
        if packet.kind == "ready":
            self._pulse.answered()
            self.device = dict(packet.body["device"])
            if self.name.startswith("cuda") and self.device.get("device") == "cpu":
                self.kill("does not find its GPU")  # its jobs would run on the processor, and nobody would know
                return
            logger.info("worker process %d%s is ready", packet.body["pid"], self._of_device)
            with self._lock:
                self._ready.set()
                for listener in self._listeners:
                    listener.ready()
            return
        with self._lock:
            if not any(listener.take(packet) for listener in self._listeners):
                logger.warning("nobody takes the worker's packet %s", packet.kind)


def _how_it_ended(status: int) -> str:
    if status == -_KILLED:
        return "was killed (signal 9), as a system does where memory runs out"
    if status < 0:
        return f"was ended by signal {-status}"
    return f"ended with status {status}"
