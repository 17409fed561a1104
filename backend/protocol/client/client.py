"""The client of the backend's jobs, for a main thread that must never wait.

The main thread only fills a queue of commands and drains a queue of events; hashing, sending and receiving happen in
one I/O thread (`connection.py`), which owns the socket.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from numpy.typing import NDArray

from ..keys import KeyPair
from ..settings import FitSettings
from ..watching import LARGEST_WATCHED, SHORTEST_INTERVAL_S
from ..wire import check_dtype
from .connection import Connection
from .events import Event, LightPreview, MapPreview
from .link import Timing
from .link_loop import LoopSetup
from .polled_client import PolledClient, check_arrays


class BackendClient(PolledClient[Event]):
    """One connection to a backend and at most one job on it. No method waits for the backend.

    Call all methods from one thread. Arrays are not copied: do not write to an array after handing it over.
    A connection that is lost is tried again for as long as `timing` says (`ConnectionLost`, `ConnectionBack`): requests are
    sent again, and what the job has said meanwhile is asked for.
    What happens comes out of `poll`; of each map, and of the light, only the latest preview. `Failed` with code
    "unreachable", "address", "key", "version" or "internal" and `Disconnected` end the connection, and `connect` starts a
    new one.

    keys: the client's own, which the backend must know; without them, new ones are made. public_key: the public one of
    them. session: a name of up to 64 characters that belongs to this client alone; without one, it is random. A client
    that connects under the name of an earlier one ends what that one has left running there; its checkpoint stays.
    """

    def __init__(
        self,
        timing: Timing = Timing(),  # noqa: B008 (frozen)
        keys: KeyPair | None = None,
        session: str = "",
    ) -> None:
        super().__init__(keys, session, timing)
        self._attach_to = ""

    def connect(self, address: str, server_key: str = "", job: str = "") -> None:
        """Starts to connect to an address such as tcp://127.0.0.1:5555; `Connected` or `Failed` follows.

        server_key: the backend's public key, Z85 text. An earlier connection of this client is closed. job: a job of this
        client's key that runs or has ended: `Accepted` follows, then what has happened to it and what does, its result
        included; where there is no such job any more, `Failed` with code "job_lost".
        """
        self._attach_to = job
        self._start(address, server_key)

    def submit(self, settings: FitSettings, arrays: dict[str, NDArray[Any]], view_count: int = 0) -> None:
        """Submits a job; only arrays that the backend does not have are uploaded. An earlier job is cancelled.

        view_count: how many views will follow, 0 if unknown; then `end_views` alone says when they end.
        Raises `ProtocolError` for an array whose dtype or name cannot travel, RuntimeError before `connect`.
        `Progress` (uploading), `Accepted` and the job's events follow.
        """
        check_arrays(arrays)
        self._command("submit", (settings, dict(arrays), view_count))

    def add_view(self, view: dict[str, Any], image: NDArray[Any]) -> None:
        """Sends one view of the job: `index`, `held_out`, `view` and `projection` (4x4 nested lists),
        and its image, float16 or float32 [h, w, 4], or [h, w, 8] with the same view of the baked start. May be called
        before the job is accepted.
        """
        check_dtype("image", image)
        self._command("view", (dict(view), image))

    def end_views(self) -> None:
        """Says that no more views follow."""
        self._command("end_views", None)

    def cancel(self) -> None:
        """Cancels the job; `Cancelled` follows unless the job ends first. Without a job nothing happens."""
        self._command("cancel", None)

    def pause(self) -> None:
        """Makes the job rest where it is; the worker stays with it. `Progress` with state "paused" follows."""
        self._command("pause", None)

    def resume(self) -> None:
        """Lets a paused job go on."""
        self._command("resume", None)

    def finish(self) -> None:
        """Ends the fit early with the maps as they are: `Result` follows soon. A paused job goes on to its end.

        Where the fit has not begun, it uses only the views that have arrived, and is a short one.
        """
        self._command("finish", None)

    def watch(self, size: int, interval_s: float = 0.2) -> None:
        """Asks for larger and more frequent previews of this client's jobs, from now on and for later jobs too.

        size: their height and width at most, up to 1024 pixels; 0: the usual previews (128 pixels, every half second).
        interval_s: seconds between the previews of a job, 0.05 at least. The backend sends fewer where they would slow the
        fit. While a job learns its light, `LightPreview` comes too, once a second at most. Raises ValueError for other
        values, RuntimeError before `connect`.
        """
        if not 0 <= size <= LARGEST_WATCHED or not interval_s >= SHORTEST_INTERVAL_S:
            raise ValueError(
                f"previews have 0 to {LARGEST_WATCHED} pixels, every {SHORTEST_INTERVAL_S} s at most, not {size}, {interval_s}"
            )
        self._command("watch", {"size": int(size), "interval_s": float(interval_s)})

    def _new_loop(self, setup: LoopSetup) -> Connection:
        return Connection(setup, self._emit, self._attach_to)

    def _place_of(self, event: Event) -> Hashable | None:
        if isinstance(event, MapPreview):
            return event.set_index, event.name
        return "light" if isinstance(event, LightPreview) else None
