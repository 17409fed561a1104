"""The client of the backend's previews, for a main thread that must never wait: scenes up, frames down."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..frames import FrameRequest
from ..keys import KeyPair
from ..scene_description import SceneDescription
from ..wire import ProtocolError
from .events import Disconnected, Failed
from .link import Timing
from .link_loop import LoopSetup
from .polled_client import PolledClient, check_arrays
from .preview_connection import PreviewConnection
from .preview_events import (
    MapsChanged,
    PreviewEvent,
    PreviewFailed,
    PreviewFrame,
    PreviewLost,
)


class PreviewClient(PolledClient[PreviewEvent]):
    """A connection to a backend that draws a scene. No method waits for the backend.

    Call all methods from one thread. Arrays are not copied: do not write to an array after handing it over. What happens
    comes out of `poll`; of each viewport only the latest frame. `PreviewFailed` with code "unreachable", "address", "key",
    "version" or "internal" and `PreviewLost` end the connection, and `connect` starts a new one, for which the scene must
    be set again.

    keys: the client's own, which the backend must know; without them, new ones are made. A scene shows the jobs of clients
    with the same keys. session: a name that belongs to this client alone, not that of a `BackendClient`; without one, it
    is random.
    """

    _thread_name = "pbrfit-preview-client"

    def __init__(
        self,
        keys: KeyPair | None = None,
        session: str = "",
        timing: Timing = Timing(),  # noqa: B008 (frozen)
    ) -> None:
        super().__init__(keys, session, timing)

    def connect(self, address: str, server_key: str) -> None:
        """Starts to connect; `PreviewConnected` or `PreviewFailed` follows. An earlier connection is closed."""
        self._start(address, server_key)

    def set_scene(self, description: SceneDescription, arrays: dict[str, NDArray[Any]]) -> None:
        """Sets what frames show from now on; only the latest counts.

        Only arrays that the backend does not have are uploaded; an array that is handed over again is not hashed again.
        `SceneReady` or `PreviewFailed` follows. Raises `ProtocolError` for an array whose dtype or name cannot travel,
        RuntimeError before `connect`.
        """
        check_arrays(arrays)
        self._command("scene", (description, dict(arrays)))

    def request_frame(self, request: FrameRequest) -> None:
        """Asks for a frame; `PreviewFrame` or `FrameFailed` follows, unless a later request of the viewport replaces it."""
        self._command("frame", request)

    def request_light(self, environment: NDArray[np.float32]) -> None:
        """Asks the backend to prefilter an environment as a fit does.

        environment: float32 [H, W, 3], equirectangular, row 0 at the top, linear. `PreparedLight` or `PreviewFailed` with
        code "light" follows. Raises `ProtocolError` for another array.
        """
        if environment.dtype != np.float32 or environment.ndim != 3 or environment.shape[2] != 3:
            raise ProtocolError(
                "light", f"An environment is float32 [H, W, 3], not {environment.dtype} {environment.shape}."
            )
        self._command("light", environment)

    def _new_loop(self, setup: LoopSetup) -> PreviewConnection:
        return PreviewConnection(setup, self._take)

    def _take(self, event: PreviewEvent | Failed | Disconnected) -> None:
        """Called in the I/O thread. The link tells of its end by events of its own."""
        if isinstance(event, Failed):
            event = PreviewFailed(event.code, event.cause, event.cure)
        elif isinstance(event, Disconnected):
            event = PreviewLost(event.reason)
        self._emit(event)

    def _place_of(self, event: PreviewEvent) -> Hashable | None:
        if isinstance(event, PreviewFrame):
            return event.viewport
        return event if isinstance(event, MapsChanged) else None
