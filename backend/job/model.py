"""A job: its inputs, what it reports and returns, and its state.

The fit sees `FitInputs`, `FitProgress`, `FitResult` and the two exceptions. The server keeps a `Job` for each.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.job.control import JobControl
from backend.protocol.errors import CauseAndCure
from backend.protocol.settings import FitSettings
from backend.protocol.wire import ArrayDescription, Buffer, Message

UPLOADING = "uploading"
QUEUED = "queued"
RUNNING = "running"
PAUSED = "paused"
DONE = "done"
FAILED = "failed"
CANCELLED = "cancelled"
MOST_LIGHTS = 8
FINAL_STATES = (DONE, FAILED, CANCELLED)


class JobCancelled(Exception):
    """Raised inside a job that was cancelled; the job does not catch it."""


class JobError(CauseAndCure):
    """A job failed for a reason that a person can act on. `code` is for programs; `cause` and `cure` are sentences."""

    def __init__(self, code: str, cause: str, cure: str) -> None:
        super().__init__(cause, cure)
        self.code = code


@dataclass
class ViewInput:
    """One reference image and its camera (renderer axes, OpenGL camera and clip space, y flipped: row 0 is the top).

    index: the view's number in the plan. held_out: whether it only measures, and the fit does not see it.
    view, projection: float32 [4, 4], of column vectors. image: float16 or float32 [h, w, 4], linear Rec.709,
    premultiplied alpha, row 0 at the top; or [h, w, 8] with the same view of the baked start. light: the number of the light
    that it is in, 0 for the scene's own. content: the hash of the image's bytes, empty while unknown.
    """

    index: int
    held_out: bool
    view: NDArray[Any]
    projection: NDArray[Any]
    image: NDArray[Any]
    content: str = ""
    light: int = 0


@dataclass
class FitInputs:
    """What a job fits. The arrays are the job's own copies.

    views: iterating blocks until the next view arrives and ends after the last one. It raises `JobCancelled` when the
    job is cancelled and `JobError` when no more views can come. view_count: how many were announced, 0 if unknown.
    control: whether the artist wants the job to finish early, and where previews go.
    """

    arrays: dict[str, NDArray[Any]]
    views: Iterator[ViewInput]
    view_count: int
    control: JobControl = field(default_factory=JobControl)


@dataclass
class FitProgress:
    """Where a job is. `backend.protocol.client.events.Progress`, which adds the job's state, explains the fields."""

    phase: str
    fraction: float
    iteration: int
    psnr_db: float | None
    seconds_left: float | None
    message: str


@dataclass
class MapPreviews:
    """A set of maps now: images uint8 [h, w, 4] by name."""

    set_index: int
    images: dict[str, NDArray[np.uint8]]


@dataclass
class LightShown:
    """The light that a job learns, now: the fields of a `protocol.client.preview_events.PreparedLight`."""

    fields: dict[str, Any]


@dataclass
class FitResult:
    """What a job leaves: the bytes of its files by file name, and JSON values that it measured. The worker adds the hashes."""

    files: Mapping[str, Buffer]
    metrics: dict[str, Any]
    hashes: dict[str, str] = field(default_factory=dict)


# Both wait while the job is paused.
ReportProgress = Callable[[FitProgress], None]
IsCancelled = Callable[[], bool]
RunJob = Callable[[FitInputs, FitSettings, ReportProgress, IsCancelled], FitResult]


class ViewStream:
    """The views of a job, from the I/O thread that receives them to the worker that iterates over them."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._waiting: deque[ViewInput] = deque()
        self._waiting_bytes = 0
        self._ended = False
        self._stop: Exception | None = None

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the images that have arrived and that nobody has taken yet."""
        with self._condition:
            return self._waiting_bytes

    @property
    def ended(self) -> bool:
        """Whether `end` was called."""
        with self._condition:
            return self._ended

    def put(self, view: ViewInput) -> None:
        """Add a view that has arrived."""
        with self._condition:
            self._waiting.append(view)
            self._waiting_bytes += view.image.nbytes
            self._condition.notify_all()

    def end(self) -> None:
        """No more views follow: iteration ends after the waiting ones."""
        with self._condition:
            self._ended = True
            self._condition.notify_all()

    def stop(self, reason: Exception) -> None:
        """Make the iterator raise `reason` at once, also in a worker that waits in it; drop the waiting views."""
        with self._condition:
            self._stop = reason
            self._waiting.clear()
            self._waiting_bytes = 0
            self._condition.notify_all()

    def __iter__(self) -> Iterator[ViewInput]:
        return self

    def __next__(self) -> ViewInput:
        with self._condition:
            self._condition.wait_for(lambda: bool(self._waiting) or self._ended or self._stop is not None)
            if self._stop is not None:
                raise self._stop
            if not self._waiting:
                raise StopIteration
            view = self._waiting.popleft()
            self._waiting_bytes -= view.image.nbytes
            return view


@dataclass
class Job:
    """One job as the server keeps it. Its fields belong to the I/O thread, except `views`, `control` and `inputs`,
    which the worker reads while it runs the job.

    view_contents: the hashes of the images that have come. views_sent: how many views the client has sent in all, None until
    it says so. progress: the last that was reported. owner: the public key of its client. previews: the latest of each set
    (-1: the light) that waits to be sent, because the client has not confirmed the one before (`preview_sent`). came: when
    it was submitted, on the monotonic clock. outcome: the final event; ended: when it came, on the same clock. files: those
    of the result. All stay until the client acknowledges them. told: events that are told again to a client that attaches
    to the job. is_accepted: whether the client has its id; before that it is told nothing.
    """

    id: str
    session: str
    settings: FitSettings
    arrays: dict[str, ArrayDescription]
    view_count: int
    views: ViewStream = field(default_factory=ViewStream)
    control: JobControl = field(default_factory=JobControl)
    inputs: FitInputs | None = None
    state: str = UPLOADING
    view_indices: set[int] = field(default_factory=set)
    view_contents: set[str] = field(default_factory=set)
    views_sent: int | None = None
    seq: int = 0
    progress: FitProgress | None = None
    owner: str = ""
    came: float = field(default_factory=time.monotonic)
    previews: dict[int, MapPreviews | LightShown] = field(default_factory=dict)
    preview_sent: bool = False
    outcome: Message | None = None
    ended: float = 0.0
    told: deque[Message] = field(default_factory=deque)
    is_accepted: bool = True
    files: Mapping[str, Buffer] = field(default_factory=dict)

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of each distinct content by hash."""
        return {description.hash: description.nbytes for description in self.arrays.values()}

    @property
    def about(self) -> dict[str, str]:
        """What a line of the log about it carries."""
        return {"job": self.id, "key": self.owner}

    @property
    def files_bytes(self) -> int:
        """Bytes of the result's files."""
        return sum(len(data) for data in self.files.values())

    @property
    def is_final(self) -> bool:
        """Whether the job has ended, in any way."""
        return self.state in FINAL_STATES

    def leave(self, reason: Exception) -> None:
        """As `stop`, but the worker first writes a last checkpoint."""
        self.control.leave()
        self.views.stop(reason)

    def stop(self, reason: Exception, keep_checkpoint: bool = False) -> None:
        """Tell the worker to leave the job as soon as it looks."""
        self.control.stop(keep_checkpoint)
        self.views.stop(reason)
