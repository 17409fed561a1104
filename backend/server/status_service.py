"""What the server says of itself: all to its owner, and to a client what is the client's own. Belongs to the I/O thread."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from backend.job.model import Job
from backend.protocol.status import BackendStatus, ClientStatus, JobStatus, WorkerStatus
from backend.protocol.wire import Message
from backend.server.gatekeeper import AuthorizedKeys
from backend.server.job_service import JobService
from backend.server.sessions import Sessions
from backend.worker.process_memory import process_memory

_LONGEST_TEXT = 200


@dataclass(frozen=True)
class StatusSources:
    """Where the status comes from. dropped: by code. workers: tells what each worker process does."""

    version: str
    service: JobService
    sessions: Sessions
    authorized: AuthorizedKeys
    dropped: Mapping[str, int]
    workers: Callable[[], tuple[WorkerStatus, ...]]
    store_capacity: int


class StatusService:
    """Answers `status`."""

    def __init__(self, sources: StatusSources) -> None:
        self._sources = sources
        self._began = time.monotonic()

    def reply(self, message: Message, key: str, is_owner: bool) -> Message:
        """The reply to `status`. is_owner: the key shows that whoever asks can read the server's own files."""
        body = (self.whole() if is_owner else self.of_client(key)).to_dict()
        return Message("status", body, session=message.session, request=message.request)

    def whole(self) -> BackendStatus:
        """All that there is to say."""
        sources = self._sources
        held = sources.service.stores.held()
        jobs = list(sources.service.jobs)
        keys = dict.fromkeys([*sources.sessions.keys, *(job.owner for job in jobs), *held])
        clients = (self._client(key, jobs, held.get(key, (0, 0))) for key in keys if key in sources.authorized)
        return self._status(
            whole=True,
            jobs=tuple(_job(job) for job in jobs),
            clients=tuple(clients),
            memory_bytes=process_memory(os.getpid()),
            store_bytes=sum(content for content, _ in held.values()),
            store_capacity=sources.store_capacity,
            workers=sources.workers(),
            ended=dict(sources.service.ended),
            dropped=dict(sources.dropped),
        )

    def of_client(self, key: str) -> BackendStatus:
        """What a client may see: its own, and what the welcome says of the backend."""
        held = self._sources.service.stores.held().get(key, (0, 0))
        jobs = [job for job in self._sources.service.jobs if job.owner == key]
        return self._status(jobs=tuple(_job(job) for job in jobs), clients=(self._client(key, jobs, held),))

    def _status(self, **values: object) -> BackendStatus:
        sources = self._sources
        device = sources.service.info
        return BackendStatus(
            version=sources.version,
            pid=os.getpid(),
            uptime_s=time.monotonic() - self._began,
            device=str(device["device"]),
            device_name=str(device["device_name"]),
            draining=sources.service.refuses,
            **values,  # type: ignore[arg-type]
        )

    def _client(self, key: str, jobs: list[Job], held: tuple[int, int]) -> ClientStatus:
        sessions = [found for name in self._sources.sessions.of_key(key) if (found := self._sources.sessions.get(name))]
        heard = max((session.last_heard for session in sessions), default=None)
        return ClientStatus(
            key,
            self._sources.authorized.name_of(key)[:_LONGEST_TEXT],
            len(sessions),
            None if heard is None else time.monotonic() - heard,
            sum(job.owner == key for job in jobs),
            *held,
        )


def _job(job: Job) -> JobStatus:
    values = {}
    if job.progress is not None:
        names = ("phase", "fraction", "iteration", "psnr_db", "seconds_left")
        values = {name: getattr(job.progress, name) for name in names}
        values["message"] = job.progress.message[:_LONGEST_TEXT]
    return JobStatus(
        job.id,
        job.owner,
        job.state,
        **values,
        age_s=time.monotonic() - job.came,
        nbytes=sum(job.sizes.values()) + job.views.waiting_bytes + job.files_bytes,
    )
