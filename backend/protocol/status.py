"""What a backend says of itself: the body of the reply `status`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

PartT = TypeVar("PartT")


@dataclass(frozen=True)
class JobStatus:
    """A job. client: the public key that it belongs to. age_s: since it was submitted. nbytes: its arrays, the views that
    wait, and the files of its result.
    """

    id: str = ""
    client: str = ""
    state: str = ""
    phase: str = ""
    fraction: float = 0.0
    iteration: int = 0
    psnr_db: float | None = None
    seconds_left: float | None = None
    message: str = ""
    age_s: float = 0.0
    nbytes: int = 0


@dataclass(frozen=True)
class ClientStatus:
    """A key that has something here. name: that of the file of authorized keys. silent_s: since its last message; None: it
    has no session. store_bytes: arrays that are held for it. promised_bytes: those that its jobs and scenes announced.
    """

    key: str = ""
    name: str = ""
    sessions: int = 0
    silent_s: float | None = None
    jobs: int = 0
    store_bytes: int = 0
    promised_bytes: int = 0


@dataclass(frozen=True)
class WorkerStatus:
    """The worker process of a device. pid: 0 where there is none. losses: how often one was lost. last_loss: how it went.
    memory_bytes, device_bytes: what it has of the machine's memory and of the GPU's; None where not known. device: its name here;
    device_name: its model. job: the one that runs; empty where it is free. jobs, busy_s: how many it has run, and for how long in
    all. previews: sessions that it draws for. memory_limit: of the machine's memory; None: there is none.
    """

    pid: int = 0
    losses: int = 0
    last_loss: str = ""
    memory_bytes: int | None = None
    device_bytes: int | None = None
    device: str = ""
    device_name: str = ""
    job: str = ""
    jobs: int = 0
    busy_s: float = 0.0
    previews: int = 0
    memory_limit: int | None = None


@dataclass(frozen=True)
class BackendStatus:
    """All of it.

    whole: False for a client, which sees only what is its own. ended: jobs that are over, by state, since the start.
    dropped: messages and connections, by code. memory_bytes: of the server's process; None where not known.
    """

    version: str = ""
    pid: int = 0
    uptime_s: float = 0.0
    device: str = ""
    device_name: str = ""
    draining: bool = False
    whole: bool = False
    memory_bytes: int | None = None
    store_bytes: int = 0
    store_capacity: int = 0
    workers: tuple[WorkerStatus, ...] = ()
    jobs: tuple[JobStatus, ...] = ()
    clients: tuple[ClientStatus, ...] = ()
    ended: Mapping[str, int] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> BackendStatus:
        """Reads what a backend of any version says: what is not known here is left out. Raises TypeError or ValueError."""
        status = _part(cls, values)
        parts = {
            "workers": tuple(_part(WorkerStatus, worker) for worker in values.get("workers", ())),
            "jobs": tuple(_part(JobStatus, job) for job in values.get("jobs", ())),
            "clients": tuple(_part(ClientStatus, client) for client in values.get("clients", ())),
        }
        return cls(**{**{item.name: getattr(status, item.name) for item in fields(cls)}, **parts})


def _part(kind: type[PartT], values: object) -> PartT:
    if not isinstance(values, Mapping):
        raise TypeError(f"{values!r} is no {kind.__name__}")
    return kind(**{item.name: values[item.name] for item in fields(kind) if item.name in values})  # type: ignore[arg-type]
