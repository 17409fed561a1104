"""What the preview thread is asked to do, and what it reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from backend.job.live_maps import JobLive
from backend.protocol.frames import FrameRequest

if TYPE_CHECKING:
    from backend.preview.drawing import DrawnFrame


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
    description: bytes
    arrays: Mapping[str, NDArray[Any]]
    jobs: Mapping[str, JobLive]


@dataclass(frozen=True)
class LightTask:
    """A light to prefilter: an environment, float32 [H, W, 3]. key: its hash."""

    key: str
    environment: NDArray[np.float32]


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
