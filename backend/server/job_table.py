"""All jobs that the server knows, and whose they are."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from backend.job.model import FitResult, Job, JobError
from backend.protocol.transfer import piece_message
from backend.protocol.wire import CHUNK_BYTES, LONGEST_NAME, Message, ProtocolError
from backend.server.capacity import Capacity
from backend.server.sessions import Caller
from backend.server.sharing import Sharing, largest_holder
from backend.server.view_message import SEND_AS_DESCRIBED


def caller_of(job: Job) -> Caller:
    """The client whose job it is."""
    return Caller(job.owner, job.session)


class JobTable:
    """The jobs by id. What it has of another client, it does not find; what a key may add depends on what the others have."""

    def __init__(self, capacity: Capacity, sharing: Sharing) -> None:
        self._capacity = capacity
        self._sharing = sharing
        self._jobs: dict[str, Job] = {}

    def __iter__(self) -> Iterator[Job]:
        return iter(list(self._jobs.values()))

    def add(self, job: Job) -> None:
        """Keeps a job."""
        self._jobs[job.id] = job

    def remove(self, job: Job) -> None:
        """Forgets a job, if it is there."""
        self._jobs.pop(job.id, None)

    def find(self, job: str, caller: Caller) -> Job | None:
        """The job of this id, where it is this client's."""
        found = self._jobs.get(job)
        return found if found is not None and caller_of(found) == caller else None

    def find_of_key(self, job: str, key: str) -> Job | None:
        """The job of this id, where it belongs to this key, whatever its session."""
        found = self._jobs.get(job)
        return found if found is not None and found.owner == key else None

    def known(self, message: Message, key: str) -> Job:
        """The job that a request is about. Raises `JobError` where the client that sent it has no such job."""
        job = self.find(message.job, Caller(key, message.session))
        if job is None:
            raise unknown(message.job)
        return job

    def of(self, caller: Caller) -> list[Job]:
        """A client's jobs."""
        return [job for job in self if caller_of(job) == caller]

    def of_key(self, key: str) -> list[Job]:
        """The jobs of all clients with this key."""
        return [job for job in self if job.owner == key]

    def check_room(self, key: str) -> None:
        """Raises `JobError` where this key may not have one more job that is not final."""
        live = [job for job in self if not job.is_final]
        mine = sum(job.owner == key for job in live)
        if mine >= self._sharing.most(self._capacity.live_jobs, len(live) - mine):
            cause = f"The backend has {len(live)} jobs already, {mine} of them of this client's key."
            raise JobError("busy", cause, "Wait until one ends, or cancel one.")

    def check_view_room(self, key: str, nbytes: int) -> None:
        """Raises `JobError` where so many more bytes of views may not wait for this key's jobs."""
        mine = sum(job.views.waiting_bytes for job in self if job.owner == key)
        others = sum(job.views.waiting_bytes for job in self if job.owner != key)
        most = self._sharing.most(self._capacity.view_bytes, others)
        if mine + nbytes > most:
            cause = f"The views that wait would take more than {most / 2**20:.0f} MiB."
            raise JobError("views_too_large", cause, "Use fewer or smaller views.")

    def forget_old_outcomes(self) -> None:
        """Forgets jobs that have been over for so long that nobody will ask for them."""
        oldest = time.monotonic() - self._capacity.outcome_s
        for job in self:
            if job.is_final and job.ended < oldest:
                self.remove(job)

    def forget_outcomes(self, latest: Job) -> None:
        """Forgets jobs that are over, where too much is kept for clients: the oldest of the key that keeps the most.

        latest: the job that has just ended; it stays.
        """
        kept = [job for job in self if job.is_final]
        while len(kept) > 1:
            too_many = len(kept) > self._capacity.kept_outcomes
            if not too_many and sum(job.files_bytes for job in kept) <= self._capacity.outcome_bytes:
                return
            held: dict[str, int] = {}
            for job in kept:
                held[job.owner] = held.get(job.owner, 0) + (1 if too_many else job.files_bytes)
            most = largest_holder(held)
            earlier = [job for job in kept if job is not latest]
            oldest = next((job for job in earlier if job.owner == most), earlier[0])
            kept.remove(oldest)
            self.remove(oldest)


def unknown(job: str) -> JobError:
    """The answer for a job that there is not, and for one of another key."""
    cause = f"The backend does not know job {job!r} of this client."
    return JobError("unknown_job", cause, "Submit it again; a restarted backend knows no earlier jobs.")


def described_files(result: FitResult, capacity: Capacity) -> list[dict[str, Any]]:
    """A result's files as its event describes them. Raises `JobError` where they are too large or wrongly named."""
    size = sum(len(data) for data in result.files.values())
    if size > capacity.outcome_bytes or not all(0 < len(name) <= LONGEST_NAME for name in result.files):
        cause = f"The result's {len(result.files)} files of {size / 2**20:.0f} MiB are too large or wrongly named."
        raise JobError("result_too_large", cause, "Choose a smaller resolution.")
    return [{"name": name, "size": len(data), "hash": result.hashes[name]} for name, data in result.files.items()]


def piece_of(job: Job, message: Message) -> Message:
    """The reply to a `fetch`. Raises `ProtocolError` where the job has no such piece."""
    name, offset = message.body.get("file"), message.body.get("offset")
    data = job.files.get(name) if isinstance(name, str) else None
    if data is None or type(offset) is not int or not 0 <= offset < len(data):
        raise ProtocolError("file", f"Job {job.id} has no such piece of a file.", SEND_AS_DESCRIBED)
    piece = np.frombuffer(data, np.uint8)[offset : offset + CHUNK_BYTES]
    return piece_message("piece", {"file": name, "offset": offset}, piece)
