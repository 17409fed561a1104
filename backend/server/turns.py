"""Whose job is next: the keys take turns, and each key's jobs stay in their order."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable

from backend.job.model import Job


class Turns:
    """The jobs that wait for a worker. However many jobs a key has, one of each other key runs between two of them."""

    def __init__(self) -> None:
        # The key whose turn is next comes first.
        self._waiting: OrderedDict[str, deque[Job]] = OrderedDict()

    def __contains__(self, job: Job) -> bool:
        return job in self._waiting.get(job.owner, ())

    def add(self, job: Job) -> None:
        """Puts a job behind the others of its key; a key that had none comes after all others."""
        self._waiting.setdefault(job.owner, deque()).append(job)

    def remove(self, job: Job) -> None:
        """Takes a job out. Raises ValueError where it does not wait."""
        mine = self._waiting.get(job.owner, deque())
        mine.remove(job)
        if not mine:
            del self._waiting[job.owner]

    def next(self, may_run: Callable[[Job], bool] = lambda _job: True) -> Job | None:
        """Takes out the job whose turn it is; its key then comes last. None where no job waits that may run now.

        may_run: whether a job may; one that may not, since the device that it wants is taken, holds up no other.
        """
        for key, mine in self._waiting.items():
            for job in mine:
                if may_run(job):
                    self._waiting.move_to_end(key)
                    self.remove(job)
                    return job
        return None

    def ahead_of(self, job: Job) -> int:
        """How many of the waiting jobs have their turn before this one, if no more come."""
        mine = list(self._waiting[job.owner]).index(job)
        keys = list(self._waiting)
        own = keys.index(job.owner)
        return mine + sum(
            min(len(jobs), mine + (place < own))
            for place, (key, jobs) in enumerate(self._waiting.items())
            if key != job.owner
        )
