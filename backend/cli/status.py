"""``pbrfit status`` and ``pbrfit stop``: what a backend does, for its owner, and its end."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from backend.cli.errors import CommandError
from backend.cli.key_arguments import default_key_file
from backend.cli.terminal import duration
from backend.protocol.client.ask import ask
from backend.protocol.client.events import Disconnected
from backend.protocol.client.link import Destination, LinkEnded
from backend.protocol.key_text import is_key
from backend.protocol.keys import KeyPair, kept_keys
from backend.protocol.private_files import KeyFileError, open_trusted
from backend.protocol.status import BackendStatus, ClientStatus, JobStatus, WorkerStatus
from backend.protocol.wire import Message

_EVERYWHERE = {"tcp://0.0.0.0": "tcp://127.0.0.1", "tcp://[::]": "tcp://[::1]"}
_START = "Start it, or look for its address in its log."
_SHORT_KEY = 8


def run_status(chosen: argparse.Namespace) -> int:
    """``pbrfit status``."""
    reply = _asked(chosen, "status")
    try:
        status = BackendStatus.from_dict(reply.body)
        text = status_text(status)
    except (TypeError, ValueError, AttributeError) as error:
        raise CommandError(f"The backend's status cannot be read: {error}.", "Use the same version on both.") from error
    print(json.dumps(reply.body, indent=2) if chosen.json else text)
    return 0


def run_stop(chosen: argparse.Namespace) -> int:
    """``pbrfit stop``."""
    _asked(chosen, "drain")
    print("The backend takes no more jobs, lets those that run keep what they need to go on, and ends.")
    return 0


ACTIONS: dict[str, Callable[[argparse.Namespace], int]] = {"status": run_status, "stop": run_stop}
"""What is carried out by each command."""


def status_text(status: BackendStatus) -> str:
    """The status for people."""
    name = " ".join(filter(None, (status.device, status.device_name and f"({status.device_name})"))) or "not known"
    rows = [
        ("backend", f"PBRfit {status.version}, process {status.pid}{', ending' * status.draining}"),
        ("runs for", _long(status.uptime_s)),
        ("device", name),
    ]
    if status.whole:
        rows.append(("memory", f"server {_size(status.memory_bytes)}, arrays {_size(status.store_bytes)}"))
        rows[-1] = ("memory", f"{rows[-1][1]} of {_size(status.store_capacity)}")
        rows += [
            ("lost", f"{worker.device} {worker.losses} times; the last one {worker.last_loss}")
            for worker in status.workers
            if worker.losses
        ]
        rows.append(("jobs ended", _counts(status.ended)))
        rows.append(("dropped", _counts(status.dropped)))
    names = {client.key: client.name for client in status.clients}
    lines = [f"{title:<11} {text}" for title, text in rows]
    lines += ["", "Jobs" if status.whole else "Your jobs"]
    lines += _table([("job", "client", "state", "done", "phase", "PSNR", "left", "age", "size")], status.jobs, names)
    if status.whole:
        lines += ["", "Devices", *_device_lines(status.workers)]
        lines += ["", "Clients", *_client_lines(status.clients)]
    return "\n".join(lines)


def _device_lines(workers: Iterable[WorkerStatus]) -> list[str]:
    rows = [
        (
            worker.device,
            worker.device_name,
            str(worker.pid) if worker.pid else "none",
            worker.job or "free",
            str(worker.jobs),
            duration(worker.busy_s),
            str(worker.previews),
            _size(worker.memory_bytes) + (f" of {_size(worker.memory_limit)}" if worker.memory_limit else ""),
            "" if worker.device_bytes is None else _size(worker.device_bytes),
        )
        for worker in workers
    ]
    head = ("device", "name", "process", "job", "jobs", "busy for", "previews", "memory", "on the GPU")
    return _columns([head, *rows]) if rows else ["  none"]


def _table(head: Sequence[tuple[str, ...]], jobs: Iterable[JobStatus], names: dict[str, str]) -> list[str]:
    rows = [
        (
            job.id,
            names.get(job.client) or job.client[:_SHORT_KEY],
            job.state,
            f"{job.fraction * 100:.0f}%",
            f"{job.phase} {job.iteration or ''}".strip(),
            "" if job.psnr_db is None else f"{job.psnr_db:.1f} dB",
            "" if job.seconds_left is None else duration(job.seconds_left),
            _long(job.age_s),
            _size(job.nbytes),
        )
        for job in jobs
    ]
    return _columns([*head, *rows]) if rows else ["  none"]


def _client_lines(clients: Iterable[ClientStatus]) -> list[str]:
    rows = [
        (
            client.key,
            client.name,
            str(client.sessions),
            "gone" if client.silent_s is None else duration(client.silent_s),
            str(client.jobs),
            _size(client.store_bytes),
        )
        for client in clients
    ]
    return _columns([("key", "name", "sessions", "silent for", "jobs", "arrays"), *rows]) if rows else ["  none"]


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    shown = [tuple(_plain(cell) for cell in row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    return [
        "  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in shown
    ]


def _plain(text: str) -> str:
    """Without what would move a terminal's cursor: names and messages come from elsewhere."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _counts(counts: object) -> str:
    return ", ".join(f"{count} {_plain(str(name))}" for name, count in dict(counts).items()) or "none"  # type: ignore[call-overload]


def _size(nbytes: int | None) -> str:
    if nbytes is None:
        return "not known"
    return f"{nbytes / 2**30:.1f} GiB" if nbytes >= 2**30 else f"{nbytes / 2**20:.1f} MiB"


def _long(seconds: float) -> str:
    hours = int(seconds // 3600)
    return duration(seconds) if hours < 1 else f"{hours // 24} d {hours % 24} h" if hours >= 24 else f"{hours} h"


def _asked(chosen: argparse.Namespace, question: str) -> Message:
    """A backend's reply. Raises CommandError where there is none, or it is an error."""
    try:
        destination = _of_file(chosen.address_file) if chosen.address_file is not None else _of_keys(chosen)
    except KeyFileError as error:
        raise CommandError(error.cause, error.cure) from error
    try:
        reply = ask(destination, Message(question))
    except LinkEnded as ended:
        event = ended.event
        cause = "The backend does not answer." if event is None or isinstance(event, Disconnected) else event.cause
        raise CommandError(cause, _START if event is None or isinstance(event, Disconnected) else event.cure) from ended
    if reply.type == "error":
        raise CommandError(str(reply.body.get("cause")), str(reply.body.get("cure")))
    return reply


def _of_file(path: Path) -> Destination:
    try:
        with open_trusted(path, secret=True) as file:
            values = json.load(file)
        keys = KeyPair(values["owner_key"]["public"], values["owner_key"]["secret"])
        address, server_key = str(values["address"]), values["public_key"]
    except OSError as error:
        cause = f"The address file {path} cannot be read: {error.strerror}."
        raise CommandError(cause, "Give the file that the backend got with --address-file, while it runs.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise CommandError(f"{path} is no address file of this version.", _START) from error
    return Destination(_here(address), _checked(server_key), KeyPair(_checked(keys.public), _checked(keys.secret)))


def _of_keys(chosen: argparse.Namespace) -> Destination:
    path = default_key_file() if chosen.key_file is None else chosen.key_file
    if not path.exists():
        raise CommandError(f"There are no keys in {path} to ask with.", "Give --key-file, or --address-file.")
    keys = kept_keys(path)
    if chosen.address.endswith(":*"):
        raise CommandError("The address lacks its port.", "Give HOST:PORT, such as 127.0.0.1:5555.")
    return Destination(_here(chosen.address), chosen.public_key or keys.public, keys)


def _here(address: str) -> str:
    """Where to connect: a backend that listens everywhere listens on this machine too."""
    host, _, port = address.rpartition(":")
    return f"{_EVERYWHERE.get(host, host)}:{port}"


def _checked(key: object) -> str:
    if not is_key(key):
        raise CommandError("The address file holds no keys.", _START)
    return str(key)
