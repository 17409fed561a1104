"""Previews drawn by several worker processes: which of them draws for whom.

A scene that shows a running job is drawn where the job runs, since only there its maps are; any other where the least goes on.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence

from backend.job.model import Job
from backend.preview import tasks
from backend.worker.process import WorkerProcess
from backend.worker.remote_preview import RemotePreview


class RemotePreviews:
    """As `backend.preview.worker.PreviewWorker`, in other processes. Any thread may call it."""

    def __init__(self, processes: Sequence[WorkerProcess], report: Callable[[str, tasks.PreviewReport], None]) -> None:
        self._processes = processes
        self._drawers = [RemotePreview(process, report) for process in processes]
        self._lock = threading.RLock()
        # Of each session its process, and the jobs that its scene shows; of each running job its process.
        self._places: dict[str, int] = {}
        self._shown: dict[str, tuple[str, ...]] = {}
        self._jobs: dict[str, int] = {}

    def set_scene(self, session: str, task: tasks.SceneTask) -> None:
        """Loads a scene. It replaces one that has not been started."""
        with self._lock:
            self._shown[session] = tuple(task.jobs)
            number = self._job_place(session)
            self._drawer(session, self._least_busy(session) if number is None else number).set_scene(session, task)

    def draw(self, session: str, task: tasks.FrameTask) -> tasks.FrameTask | None:
        """Draws a frame when its turn comes. A waiting frame that it replaces is reported as a failure."""
        with self._lock:
            return self._drawer(session).draw(session, task)

    def seen(self, session: str, viewport: str, name: str) -> None:
        """Notes that a frame has arrived: the next of its viewport may be drawn."""
        with self._lock:
            self._drawer(session).seen(session, viewport, name)

    def prefilter(self, session: str, task: tasks.LightTask) -> None:
        """Prefilters a light."""
        with self._lock:
            self._drawer(session).prefilter(session, task)

    def watch(self, job: Job) -> None:
        """Makes previews of the copies that a job leaves, while its client watches. A job that comes to a process later is told
        then.
        """
        with self._lock:
            if job.id in self._jobs:
                self._drawers[self._jobs[job.id]].watch(job)

    def drop(self, session: str) -> None:
        """Forgets a session."""
        with self._lock:
            self._shown.pop(session, None)
            number = self._places.pop(session, None)
            if number is not None:
                self._drawers[number].drop(session)

    def close(self, timeout_s: float) -> bool:
        """Nothing is left to end here: the processes are closed by themselves."""
        return True

    def job_is_at(self, job: Job, number: int | None) -> None:
        """A job has come to the process of this number; None: it has left. The scenes that show it follow."""
        with self._lock:
            if number is None:
                self._jobs.pop(job.id, None)
                return
            self._jobs[job.id] = number
            for session, jobs in self._shown.items():
                if job.id in jobs:
                    self._drawer(session, self._job_place(session))

    def counts(self) -> list[int]:
        """How many sessions each process draws for."""
        with self._lock:
            counted = Counter(self._places.values())
            return [counted[number] for number in range(len(self._drawers))]

    def _drawer(self, session: str, number: int | None = None) -> RemotePreview:
        """Who draws for a session. number: who is to, from now on."""
        before = self._places.get(session)
        if number is None:
            number = self._least_busy(session) if before is None else before
        if before is not None and before != number:
            viewer = self._drawers[before].take_out(session)
            if viewer is not None:
                self._drawers[number].take_over(session, viewer)
        self._places[session] = number
        return self._drawers[number]

    def _job_place(self, session: str) -> int | None:
        """Where the first of its scene's jobs that runs is."""
        return next((self._jobs[job] for job in self._shown.get(session, ()) if job in self._jobs), None)

    def _least_busy(self, session: str) -> int:
        """Where a process is there, no job runs, and few others look; a session stays where it is while that is as good."""
        busy, others = set(self._jobs.values()), Counter(self._places.values())
        here = self._places.get(session)

        def load(number: int) -> tuple[bool, bool, bool, int]:
            return (not self._processes[number].is_ready, number in busy, number != here, others[number])

        return min(range(len(self._drawers)), key=load)
