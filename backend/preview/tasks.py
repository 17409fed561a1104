"""What the preview thread is asked to do, and what it reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.job.live_maps import JobLive
from backend.protocol.frames import FrameRequest
from backend.protocol.wire import Buffer


@dataclass(frozen=True)
class FrameTask:
    """A frame to draw. name: of the request that asked for it."""

    name: str
    request: FrameRequest


@dataclass(frozen=True)
class SceneTask:
    """A scene to load: its JSON, its arrays, and the jobs whose maps it may show.

    number: the client's, which counts its scenes.
    """

    number: int
    description: Buffer
    arrays: Mapping[str, NDArray[Any]]
    jobs: Mapping[str, JobLive]


@dataclass(frozen=True)
class LightTask:
    """A light to prefilter: an environment, float32 [H, W, 3]. key: its hash."""

    key: str
    environment: NDArray[np.float32]


@dataclass(frozen=True)
class DrawnFrame:
    """A frame in the main memory; nobody writes to it any more.

    rows: the part that is not empty, float16 or float32 [h, w, 4]. rect: its top, left, height and width. bands: of each
    band of the rows, the first row, the end row, the first column and the end column that show something. timing: seconds
    `render` and `copy`. cost: seconds that a fit beside it may have lost.
    """

    rows: NDArray[Any]
    rect: tuple[int, int, int, int]
    bands: tuple[tuple[int, int, int, int], ...]
    timing: dict[str, float]
    cost: float


@dataclass(frozen=True)
class FrameDone:
    """A frame that was drawn."""

    task: FrameTask
    frame: DrawnFrame


@dataclass(frozen=True)
class SceneDone:
    """A scene that was loaded."""

    task: SceneTask


@dataclass(frozen=True)
class LightDone:
    """A light that was prefiltered: the fields of a `PreparedLight`."""

    task: LightTask
    light: dict[str, Any]


@dataclass(frozen=True)
class Failure:
    """A task that could not be done."""

    task: FrameTask | SceneTask | LightTask
    code: str
    cause: str
    cure: str


@dataclass(frozen=True)
class Changed:
    """A job has newer maps (set -1: a newer light) than the frames of a scene show."""

    job: str
    set_index: int


PreviewReport = FrameDone | SceneDone | LightDone | Failure | Changed
"""What the preview thread reports about a session."""
