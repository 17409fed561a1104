"""What `BackendClient.poll` hands to Blender's main thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Connected:
    """The backend answered. `info` holds its `version`, `protocol`, `pid`, `limits`, and `device` ("cuda" or "cpu") and
    `device_name`, both empty where the backend cannot tell."""

    info: dict[str, Any]


@dataclass(frozen=True)
class Accepted:
    """The backend took the job and gave it the identifier `job`."""

    job: str


@dataclass(frozen=True)
class Progress:
    """Where the job is; only the latest counts.

    state: uploading, queued, running or paused. phase: what it does, in one word. fraction: 0..1 of the phase.
    iteration: of the optimizer, 0 before it. psnr_db and seconds_left: None while unknown.
    """

    state: str
    phase: str
    fraction: float
    iteration: int
    psnr_db: float | None
    seconds_left: float | None
    message: str


@dataclass(frozen=True)
class MapPreview:
    """A map as it is now, small; only the latest of each set and name counts.

    set_index: which set of maps. name: kd (encoded in sRGB, to be shown), orm or normal. image: uint8 [h, w, 4], row 0 at
    the top, at most 128 pixels high and wide, or as large as `BackendClient.watch` asks for.
    """

    set_index: int
    name: str
    image: NDArray[np.uint8]


@dataclass(frozen=True)
class LightPreview:
    """The light that a job learns, as it is now; only the latest counts. It comes to those who `watch`.

    The fields are those of `preview_events.PreparedLight`; a changed light has another key.
    """

    key: str
    atlas: NDArray[np.float16]
    irradiance: NDArray[np.float32]
    places: tuple[tuple[int, int, int], ...]
    roughnesses: tuple[float, ...]


@dataclass(frozen=True)
class Result:
    """The job is done: the bytes of its files by name, and what the fit measured.

    With one set of maps the files are kd.png, orm.png and normal.png, with several 0/kd.png, 1/kd.png and so on;
    environment.exr is there where the light was learned.
    """

    files: dict[str, bytes]
    metrics: dict[str, Any]


@dataclass(frozen=True)
class Failed:
    """The job, or the connection before it, failed. `code` is for programs, `cause` and `cure` are sentences."""

    code: str
    cause: str
    cure: str


@dataclass(frozen=True)
class Cancelled:
    """The job was cancelled; no more events of it follow."""


@dataclass(frozen=True)
class Disconnected:
    """The backend fell silent, and the client has given up. It has closed its socket; `connect` starts again. The job may
    go on without it: `BackendClient.connect` can attach to it."""

    reason: str


@dataclass(frozen=True)
class ConnectionLost:
    """The backend does not answer; the client tries to reach it again. `ConnectionBack` or `Disconnected` follows."""


@dataclass(frozen=True)
class ConnectionBack:
    """The backend answers again. The job goes on as if nothing had been; what it said meanwhile follows."""


Event = (
    Connected
    | Accepted
    | Progress
    | MapPreview
    | LightPreview
    | Result
    | Failed
    | Cancelled
    | Disconnected
    | ConnectionLost
    | ConnectionBack
)
