"""The part of a farm that speaks with Ray: it starts it or joins a cluster, hands out tasks, and takes what comes."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shutil
import signal
import socket
import tempfile
import time
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from backend.cli.batch_table import FAILED, INTERRUPTED
from backend.cli.errors import CommandError
from backend.cli.farm_host import new_folder, remove_left_folders
from backend.cli.farm_task import FarmResult, FarmTask, do_object, look_into

OBJECT_STORE_BYTES = 100 << 20
"""Ray's own least is 75 MiB; tasks and results here are a few KiB each."""
SHORT_FOLDER, LONGEST_FOLDER = "/tmp/ray", 35
"""Where Ray has its sockets where the path of the temporary folder is too long for a socket."""
MOST_TOLD = 2000
SHARE = 0.25
CANCEL_SECONDS = 25.0
TOLD_SECONDS = 2.0
CONNECT_SECONDS = 5.0
END_SECONDS, POLL_SECONDS = 10.0, 0.05
CLUSTER_CURE = (
    "See whether `ray status` finds it there; if it asks for a token, this machine needs the same (docs/scale.md)."
)
PLACES_SECONDS = 5.0


@dataclass(frozen=True)
class Room:
    """What an object takes: ``cpus`` and ``gpus``, which may be fractions (None: SHARE of a GPU where there is one), and
    ``memory`` in bytes, 0 for any; and where: ``address`` of a cluster, None for this machine with ``workers`` objects at
    once, None for what has room."""

    cpus: float
    gpus: float | None
    memory: int
    address: str | None
    workers: int | None

    @property
    def text(self) -> str:
        """What an object takes, for a person."""
        assert self.gpus is not None  # it is known when Ray runs
        parts = (f"{self.cpus:g} CPU", f"{self.gpus:g} GPUs", f"{self.memory / (1 << 30):g} GiB of memory")
        return ", ".join(part for part in parts if not part.startswith("0 "))


class _Board:
    """What workers say, until it is fetched; the oldest goes where too much is said. An actor of Ray."""

    def __init__(self) -> None:
        self._told: deque[tuple[str, dict[str, Any]]] = deque(maxlen=MOST_TOLD)

    def tell(self, event: str, values: dict[str, Any]) -> None:
        self._told.append((event, values))

    def take(self) -> list[tuple[str, dict[str, Any]]]:
        told = list(self._told)
        self._told.clear()
        return told


def _object(task: FarmTask, board: Any, place: str | None) -> FarmResult:
    return do_object(task, lambda event, values: board.tell.remote(event, values), place)


def _look(blend: str, blender: str | None, version: str, place: str | None) -> FarmResult:
    return look_into(blend, blender, version, place)


class Ray:
    """Ray while the work lasts; use it with ``with``. ``dashboard``: its address; empty where there is none; ``lacks``: what
    no machine of a cluster has, in words; one that has it may come."""

    def __init__(self, room: Room) -> None:
        """Raises CommandError where Ray cannot be started, the cluster does not answer, or no machine has room."""
        _check_address(room.address)
        _use_token(room.address)
        import ray  # an extra
        from ray.exceptions import RayError  # likewise

        self._ray, self._error = ray, RayError
        self._room = room
        self._session: str | None = None
        self._place: str | None = None
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # tells nobody outside
        on_sigterm = signal.getsignal(signal.SIGTERM)
        quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "namespace": "pbrfit"}
        try:
            if room.address is None:
                context = ray.init(**quiet, **self._local())
                self._session = context.address_info.get("session_dir")
            else:
                context = ray.init(**quiet, address=room.address)
        except (KeyboardInterrupt, SystemExit) as error:
            ray.shutdown()
            raise KeyboardInterrupt from error
        except (RayError, ConnectionError, RuntimeError, ValueError, OSError) as error:
            where = "on this machine" if room.address is None else f"at {room.address}"
            cure = "See Ray's own words above." if room.address is None else CLUSTER_CURE
            raise CommandError(f"Ray cannot be used {where}: {error}.", cure) from error
        signal.signal(signal.SIGTERM, on_sigterm)  # Ray has set its own, which ends this process at once
        self.dashboard = f"http://{context.dashboard_url}" if context.dashboard_url else ""
        self._places, self._counted = 0, 0.0
        if room.gpus is None:
            has_gpu = any(node["Resources"].get("GPU") for node in ray.nodes())
            self._room = room = replace(room, gpus=SHARE if has_gpu else 0.0)
        self._asked: Any = None
        wanted = {"num_cpus": room.cpus, "num_gpus": room.gpus, "memory": room.memory or None, "max_retries": 0}
        self._object = self._ray.remote(_object).options(**wanted, name="pbrfit object")
        self._look = self._ray.remote(_look).options(num_cpus=min(room.cpus, 1.0), max_retries=0, name="pbrfit look")
        if room.address is None:
            remove_left_folders()
            self._place = str(new_folder())
        self.lacks = "" if self.places() else f"No machine has {room.text} for an object."
        if self.lacks and room.address is None:
            self._end()
            raise CommandError(self.lacks, "Ask for less with --cpus, --gpus and --memory.")
        self._board = self._ray.remote(_Board).options(num_cpus=0, max_restarts=-1).remote()

    def __enter__(self) -> Ray:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _where: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._ray.shutdown()
        deadline = time.monotonic() + END_SECONDS
        for folder in filter(None, (self._session, self._place)):
            while Path(folder).exists() and time.monotonic() < deadline:  # what was killed may not have ended yet
                shutil.rmtree(folder, ignore_errors=True)
                time.sleep(POLL_SECONDS)

    def _local(self) -> dict[str, Any]:
        """How to start it on this machine: with room for so many objects, whatever cores there are."""
        room, cores = self._room, os.cpu_count() or 1
        workers = room.workers or max(int(cores / room.cpus), 1)
        return {
            "num_cpus": math.ceil(workers * room.cpus),
            "object_store_memory": OBJECT_STORE_BYTES,
            "_temp_dir": SHORT_FOLDER if len(tempfile.gettempdir()) > LONGEST_FOLDER else None,
        }

    def places(self) -> int:
        """How many objects there is room for at once; a cluster may grow."""
        if time.monotonic() - self._counted > PLACES_SECONDS or not self._counted:
            room = self._room
            wanted = {"CPU": room.cpus, "GPU": room.gpus or 0.0, "memory": float(room.memory)}
            self._places = sum(
                int(min((node["Resources"].get(name, 0.0) / one for name, one in wanted.items() if one), default=1.0))
                for node in self._ray.nodes()
                if node["Alive"]
            )
            self._counted = time.monotonic()
        return self._places

    def do_object(self, task: FarmTask) -> Any:
        """Hand out an object; a reference for `finished`."""
        return self._object.remote(task, self._board, self._place)

    def look_into(self, blend: str, blender: str | None, version: str) -> Any:
        """Hand out a look into a file; a reference for `finished`."""
        return self._look.remote(blend, blender, version, self._place)

    def finished(self, references: Collection[Any], seconds: float) -> Iterator[tuple[Any, FarmResult]]:
        """What has ended of these; waits up to so long for the first. A worker that died is a result that says so."""
        done, _ = self._ray.wait(list(references), num_returns=1, timeout=seconds)
        for reference in done:
            yield reference, self._result(reference)

    def told(self, all_of_it: bool) -> list[tuple[str, dict[str, Any]]]:
        """What workers said since the last call. ``all_of_it``: wait for the answer, so that none comes after a result."""
        if self._asked is None:
            self._asked = self._board.take.remote()
        if not self._ray.wait([self._asked], timeout=TOLD_SECONDS if all_of_it else 0)[0]:
            return []
        asked, self._asked = self._asked, None
        with contextlib.suppress(self._error):  # its machine went; another begins
            return list(self._ray.get(asked))
        return []

    def cancel(self, references: Collection[Any]) -> None:
        """Ask those at work to stop, and give them time for it."""
        for reference in references:
            with contextlib.suppress(self._error, ValueError):
                self._ray.cancel(reference)
        if references:
            self._ray.wait(list(references), num_returns=len(references), timeout=CANCEL_SECONDS)

    def _result(self, reference: Any) -> FarmResult:
        from ray.exceptions import RayTaskError, TaskCancelledError  # an extra

        try:
            result = self._ray.get(reference)
            assert isinstance(result, FarmResult)
            return result
        except TaskCancelledError:
            return FarmResult(INTERRUPTED)
        except RayTaskError as error:
            return FarmResult(FAILED, cause=f"The worker could not do it: {error}", cure="Please report it.")
        except self._error as error:
            cause = f"The worker died: {' '.join(str(error).split())}"
            return FarmResult(FAILED, cause=cause, cure="See whether its machine has enough memory.", again=True)


def _check_address(address: str | None) -> None:
    """Raise CommandError where nobody listens: Ray itself would wait for minutes."""
    host, _, port = (address or "").rpartition(":")
    if not host or "://" in host or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except OSError as error:
        raise CommandError(f"Nobody listens at {address}: {error}.", CLUSTER_CURE) from error


def _use_token(address: str | None) -> None:
    """Let Ray send its token, if there is one, as `ray start` does; it looks at the environment when it is imported."""
    token = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    if address is not None and (os.environ.get("RAY_AUTH_TOKEN") or token.is_file()):
        os.environ.setdefault("RAY_AUTH_MODE", "token")
