"""What the preview service needs of whoever draws."""

from __future__ import annotations

from typing import Protocol

from backend.job.model import Job
from backend.preview import tasks


class Drawer(Protocol):
    """Who draws: `backend.preview.worker.PreviewWorker`, here or in the worker process."""

    def set_scene(self, session: str, task: tasks.SceneTask) -> None: ...

    def draw(self, session: str, task: tasks.FrameTask) -> tasks.FrameTask | None: ...

    def seen(self, session: str, viewport: str, name: str) -> None: ...

    def prefilter(self, session: str, task: tasks.LightTask) -> None: ...

    def watch(self, job: Job) -> None: ...

    def drop(self, session: str) -> None: ...

    def close(self, timeout_s: float) -> bool: ...
