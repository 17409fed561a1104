"""The maps of a running fit for those who watch it: who wants them, and the latest copies. It computes with no tensors.

The fit's thread asks `wanted` in every iteration and leaves copies; the preview thread takes them. The fit makes a copy
only when the one before has been taken, so that a slow reader piles nothing up, and only as often as the share of the
fit's time allows.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from backend.job.snapshot import Snapshot
from backend.job.time_share import TimeShare

# Shares of the fit's time: to copy, encode and send maps, and the same together with drawing frames.
MAPS_SHARE = 0.03
PREVIEW_SHARE = 0.045
SHORTEST_INTERVAL_S = 0.1
LIGHT_INTERVAL_S = 1.0
FULL_SIZE = 1 << 30
LEARNED_LIGHT = -1


@dataclass(frozen=True)
class LiveMaps:
    """A copy of a set's maps; `serial` counts the copies of the job."""

    set_index: int
    serial: int
    snapshot: Snapshot

    @property
    def is_there(self) -> bool:
        """Whether it can be read without waiting."""
        return self.snapshot.is_there


class JobLive:
    """One for each job. Any thread may call it."""

    def __init__(self) -> None:
        self.maps_share = TimeShare(MAPS_SHARE)
        self.preview_share = TimeShare(PREVIEW_SHARE)
        self.changed: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self._size, self._interval_s = 0, SHORTEST_INTERVAL_S
        self._followers: set[str] = set()
        self._serial = 0
        self._to_show: dict[int, LiveMaps] = {}
        self._latest: dict[int, LiveMaps] = {}
        self._untaken: set[int] = set()
        self._next_show = self._next_copy = self._next_light = 0.0

    @property
    def size(self) -> int:
        """The largest height and width of the previews that the job's client watches; 0: it watches none."""
        return self._size

    @property
    def interval_s(self) -> float:
        """Seconds between the previews that the job's client watches."""
        return self._interval_s

    @property
    def is_watched(self) -> bool:
        """Whether anybody wants copies of the maps. If nobody does, the job shows small previews itself."""
        return bool(self._size or self._followers)

    def watch(self, size: int, interval_s: float) -> None:
        """Ask for previews of this size every `interval_s` seconds; size 0 ends it."""
        with self._lock:
            self._size, self._interval_s = size, interval_s
            self._to_show.clear()
            self._next_show = 0.0

    def follow(self, session: str) -> None:
        """Ask for copies for the scene of a session, until `unfollow`."""
        with self._lock:
            self._followers.add(session)

    def unfollow(self, session: str) -> None:
        """The scene of a session needs no more copies."""
        with self._lock:
            self._followers.discard(session)
            if not self._followers:
                self._latest.clear()
                self._untaken.clear()

    def wanted(self, set_index: int) -> int:
        """The size at which the fit shall leave a copy of a set's maps now; 0: none."""
        if not self.is_watched:
            return 0
        now = time.monotonic()
        with self._lock:
            size = self._wanted(set_index, now)
        return size if size and self.maps_share.wait_s() == 0 else 0

    def _wanted(self, set_index: int, now: float) -> int:
        if self._followers and set_index not in self._untaken and now >= self._next_copy:
            return FULL_SIZE
        is_due = self._size and set_index not in self._to_show and now >= self._next_show
        return self._size if is_due else 0

    def leave(self, set_index: int, snapshot: Snapshot, size: int) -> None:
        """Leave a copy at the size that was wanted. It replaces one that nobody has taken."""
        now = time.monotonic()
        with self._lock:
            self._serial += 1
            maps = LiveMaps(set_index, self._serial, snapshot)
            if self._followers and size == FULL_SIZE:
                self._latest[set_index] = maps
                self._untaken.add(set_index)
                self._next_copy = now + SHORTEST_INTERVAL_S
            if self._size and (now >= self._next_show or set_index in self._to_show):
                self._to_show[set_index] = maps
                self._next_show = now + self._interval_s
        self.changed()

    @property
    def is_awaited(self) -> bool:
        """Whether a GPU has yet to finish a copy."""
        with self._lock:
            return not all(maps.is_there for maps in [*self._to_show.values(), *self._latest.values()])

    def take_to_show(self) -> tuple[LiveMaps, int, bool] | None:
        """The next copy to make a preview of, the preview's size, and whether it is time to show the light. None: no copy."""
        with self._lock:
            set_index = next((index for index, maps in self._to_show.items() if maps.is_there), None)
            if set_index is None:
                return None
            maps, now = self._to_show.pop(set_index), time.monotonic()
            shows_light = now >= self._next_light
            if shows_light:
                self._next_light = now + LIGHT_INTERVAL_S
            return maps, self._size, shows_light

    def latest(self) -> list[LiveMaps]:
        """The latest copy of each set, where it can be read without waiting."""
        with self._lock:
            return [maps for maps in self._latest.values() if maps.is_there]

    def take(self, maps: LiveMaps) -> None:
        """A scene shows this copy: the fit may make a newer one. A copy that nobody else follows is not kept."""
        with self._lock:
            self._untaken.discard(maps.set_index)
            if len(self._followers) == 1 and self._latest.get(maps.set_index) is maps:
                del self._latest[maps.set_index]

    def spend(self, seconds: float) -> None:
        """Count the seconds that maps have cost."""
        self.maps_share.spend(seconds)
        self.preview_share.spend(seconds)
