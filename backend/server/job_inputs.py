"""The arrays and views of jobs: uploaded by their clients, or found on disk, where an earlier upload has left them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from backend.job.model import Job
from backend.protocol.wire import Buffer, Limits, Message, ProtocolError, array_bytes, array_from_bytes
from backend.server.job_requests import read_put
from backend.server.job_table import JobTable
from backend.server.kept_contents import KeptContents
from backend.server.store import ArrayStore, Stores
from backend.server.view_message import SEND_AS_DESCRIBED, read_offer, read_view

AnswerLater = Callable[[Message, str, Callable[[], Message]], None]
"""Has the service answer a client's request (with its key) that got no reply at first."""


class JobInputs:
    """Takes what jobs need. A request whose reply needs the disk returns None; the reply comes later."""

    def __init__(
        self,
        stores: Stores,
        jobs: JobTable,
        limits: Limits,
        kept: KeptContents | None,
        arrived: Callable[[Job], None],
        answer_later: AnswerLater,
    ) -> None:
        """kept: what is on disk; None: nothing. arrived: called with each job that may have all its arrays now."""
        self.stores = stores
        self._jobs = jobs
        self._limits = limits
        self._kept = kept
        self._arrived = arrived
        self._answer_later = answer_later

    def store(self, job: Job) -> ArrayStore:
        """The store of a job's key."""
        return self.stores.of(job.owner)

    def missing(self, job: Job) -> list[str]:
        """The hashes of the job's arrays that are not there."""
        store = self.store(job)
        return [digest for digest in job.sizes if digest not in store]

    def load(self, job: Job, then: Callable[[], None]) -> bool:
        """Takes the arrays of a job that are on disk from there. Returns whether there are any; after them it calls `then`.

        The job has pinned its arrays. It may end meanwhile.
        """
        if self._kept is None:
            return False
        store, wanted = self.store(job), []
        for digest, size in job.sizes.items():
            if digest in store:
                self._kept.keep(job.owner, digest, store.get(digest))
            elif self._kept.holds(job.owner, digest, size):
                wanted.append(digest)
        awaited = set(wanted)

        def loaded(digest: str, data: Buffer | None) -> None:
            awaited.discard(digest)
            if data is not None:
                store.take(digest, data)
            if not awaited:
                then()

        for digest in wanted:
            self._kept.load(job.owner, digest, job.sizes[digest], partial(loaded, digest))
        return bool(wanted)

    def put(self, message: Message, owner: str) -> Message:
        """The reply to a `put`."""
        piece = read_put(message)
        store = self.stores.of(owner)
        received = store.put(piece.digest, piece.offset, piece.total, piece.data)
        if received == piece.total:
            mine = self._jobs.of_key(owner)
            if self._kept is not None and any(piece.digest in job.sizes for job in mine):
                self._kept.keep(owner, piece.digest, store.get(piece.digest))
            for job in mine:
                self._arrived(job)
        return Message("stored", {"hash": piece.digest, "received": received})

    def view(self, message: Message, owner: str) -> Message | None:
        """The reply to a `view`, which has its image, or offers it by its hash."""
        job = self._jobs.known(message, owner)
        if job.is_final:
            return Message("ok", {"state": job.state})  # it crossed the event that ended the job
        if "image" not in message.arrays and "image" in message.body:
            return self._offered(job, message, owner)
        view = read_view(message)
        if view.index in job.view_indices:
            raise ProtocolError("malformed", f"View {view.index} came twice.", SEND_AS_DESCRIBED)
        announced = job.view_count or None if job.views_sent is None else job.views_sent
        if announced is not None and len(job.view_indices) >= announced:
            raise ProtocolError("malformed", f"There are more than the {announced} views announced.", SEND_AS_DESCRIBED)
        self._jobs.check_view_room(owner, view.image.nbytes)
        job.view_indices.add(view.index)
        job.view_contents.add(view.content)
        if self._kept is not None:
            self._kept.keep(owner, view.content, array_bytes(view.image).data)
        if not job.views.ended:  # a job that finishes early takes no more views
            job.views.put(view)
        self.end_complete_views(job)
        return Message("ok", {"state": job.state})

    def end_views(self, message: Message, owner: str) -> Message:
        """The reply to an `end_views`."""
        job = self._jobs.known(message, owner)
        count = message.body.get("count")
        if type(count) is not int or count < len(job.view_indices):
            raise ProtocolError("malformed", f"{count} is not the number of views sent.", SEND_AS_DESCRIBED)
        job.views_sent = count
        self.end_complete_views(job)
        return Message("ok", {"state": job.state})

    def end_complete_views(self, job: Job) -> None:
        """Ends the views when all have arrived, whatever order a retry has brought them in, or when the job finishes early
        with those that have arrived.
        """
        if len(job.view_indices) == job.views_sent or (job.control.finishing and job.view_indices):
            job.views.end()

    def release(self, job: Job) -> None:
        """The job needs its arrays no more."""
        self.store(job).unpin(job.sizes)
        job.inputs = None

    def over(self, job: Job) -> None:
        """The job has ended: unless it is to go on later, its views are not kept on disk. Its arrays may be of use to others."""
        if self._kept is None or job.control.keeps_checkpoint:
            return
        others = [other for other in self._jobs.of_key(job.owner) if other is not job and not other.is_final]
        self._kept.drop(job.owner, job.view_contents.difference(*(other.view_contents for other in others)))

    def forget(self, key: str) -> None:
        """Drops all that a key has, in memory and on disk."""
        self.stores.forget(key)
        if self._kept is not None:
            self._kept.forget(key)

    def _offered(self, job: Job, message: Message, owner: str) -> Message | None:
        image = read_offer(message, self._limits)
        missing = Message("ok", {"state": job.state, "missing": True})
        if self._kept is None or not self._kept.holds(owner, image.hash, image.nbytes):
            return missing
        self._jobs.check_view_room(owner, image.nbytes)

        def answer(data: Buffer | None) -> Message:
            if data is None:
                return missing
            message.arrays, message.descriptions = {"image": array_from_bytes(data, image)}, {"image": image}
            reply = self.view(message, owner)
            assert reply is not None  # it has its image now
            return reply

        self._kept.load(
            owner,
            image.hash,
            image.nbytes,
            lambda data: self._answer_later(message, owner, partial(answer, data)),
        )
        return None
