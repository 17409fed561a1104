"""What clients are told of their jobs, in order, and what of it is told again to one that attaches to its job."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict
from typing import Any

from numpy.typing import NDArray

from backend.job.model import FitProgress, Job, LightShown
from backend.protocol.light_message import light_message
from backend.protocol.wire import Message
from backend.server.job_table import caller_of
from backend.server.sessions import Caller

PROGRESS = "progress"
MOST_KEPT_EVENTS = 256


class JobEvents:
    """The events of all jobs on their way to the clients. Each has its job's next number.

    Kept for whoever attaches later: the final event, and of each state and phase of the job the last progress; of a job
    that changes them very often, the latest 256. Previews are not kept: the next one replaces them.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[Caller, Message]] = deque()

    def take(self) -> list[tuple[Caller, Message]]:
        """The events since the last call, in order, each with whom it is for."""
        events = list(self._waiting)
        self._waiting.clear()
        return events

    def progress(self, job: Job, progress: FitProgress) -> None:
        """Tells where a job is."""
        job.progress = progress
        event = self._tell(job, PROGRESS, {"state": job.state, **asdict(progress)}, {})
        if job.told and _place_of(job.told[-1]) == _place_of(event):
            job.told.pop()
        self._keep(job, event)

    def end(self, job: Job, kind: str, body: dict[str, Any]) -> None:
        """Tells how a job has ended. Its state says so already."""
        job.outcome = self._tell(job, kind, body, {})
        self._keep(job, job.outcome)

    def repeat_outcome(self, job: Job) -> None:
        """Tells once more how a job has ended; not where it has not."""
        if job.outcome is not None:
            self._waiting.append((caller_of(job), job.outcome))

    def preview(self, job: Job) -> None:
        """Sends the next preview once the client has confirmed the one before, so that none pile up on a slow link."""
        if not job.previews or job.preview_sent or job.is_final:
            return
        preview = job.previews.pop(next(iter(job.previews)))
        if isinstance(preview, LightShown):
            light = light_message("light_preview", preview.fields)
            self._tell(job, light.type, light.body, light.arrays)
        else:
            self._tell(job, "preview", {"set": preview.set_index}, preview.images)
        job.preview_sent = True

    def accept(self, job: Job) -> None:
        """The client now learns of its job: it is told what has happened to it meanwhile."""
        job.is_accepted = True
        self.attach(job, job.session, 0)

    def attach(self, job: Job, session: str, last_seq: int) -> None:
        """Has this session of the job's key get the events from now on, and at once those it has not: after `last_seq`."""
        job.session = session
        job.preview_sent = False  # the last one may have been lost with the connection
        for event in job.told:
            if event.seq > last_seq:
                event.session = session
                self._waiting.append((caller_of(job), event))
        self.preview(job)

    def _tell(self, job: Job, kind: str, body: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Message:
        job.seq += 1
        event = Message(kind, body, arrays, job.session, job=job.id, seq=job.seq)
        if job.is_accepted:
            self._waiting.append((caller_of(job), event))
        return event

    @staticmethod
    def _keep(job: Job, event: Message) -> None:
        job.told.append(event)
        while len(job.told) > MOST_KEPT_EVENTS:
            job.told.popleft()


def _place_of(event: Message) -> tuple[str, Any, Any]:
    """Events of one place replace each other."""
    return event.type, event.body.get("state"), event.body.get("phase")
