# SPDX-License-Identifier: GPL-3.0-or-later
"""The maps of a session's jobs as they grow, and who watches them."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass

import numpy as np

from ..protocol.client import events
from ..protocol.client.client import BackendClient
from .fit_queue import FitJob

WATCHED_SIZE = 512
WATCHED_INTERVAL_S = 0.1
LEASE_SECONDS = 2.0
NOBODY = (0, 0.5)

_numbers = itertools.count(1)


@dataclass(frozen=True)
class GrowingMap:
    """A map as it is now: uint8 [h, w, 4], row 0 at the top; key: names these very pixels in this Blender."""

    key: str
    image: np.ndarray


@dataclass(frozen=True)
class SetInTheMaking:
    """A set of maps that is not assigned yet, for a slot of an object.

    tile: UDIM tile, 0: none; uv_map: what it is read through; job: identifier of the backend's job while that runs, else
    empty; number: of the set in its job; maps: by name (kd, orm, normal), as far as they have come; alpha: whether the
    base colour's alpha will be used.
    """

    tile: int
    uv_map: str
    job: str
    number: int
    maps: dict[str, GrowingMap]
    alpha: bool


class GrowingMaps:
    """What the jobs of a session have shown so far.

    version: counts the changes; light: the learned light of the current job as it is now, if it learns one.
    """

    def __init__(self) -> None:
        self.version = 0
        self.light: events.LightPreview | None = None
        self._job = ""
        self._of_jobs: list[dict[tuple[int, str], GrowingMap]] = []
        self._wanted = NOBODY
        self._wanted_until = 0.0
        self._told: tuple[BackendClient | None, tuple[int, float]] = (None, NOBODY)

    @property
    def light_job(self) -> str:
        """The identifier of the running job, where it has shown a light that it learns; else empty."""
        return self._job if self.light is not None else ""

    @property
    def previews(self) -> dict[tuple[int, str], np.ndarray]:
        """The maps of the current job, uint8 [h, w, 4], row 0 at the top, by set and by name (kd, orm or normal)."""
        return {place: item.image for place, item in self._of_jobs[-1].items()} if self._of_jobs else {}

    def begin(self, number: int) -> None:
        """The job of this number, from 1, begins, or begins again."""
        self._of_jobs = [*self._of_jobs[: number - 1], *({} for _ in range(number - 1 - len(self._of_jobs))), {}]
        self._job = ""
        self.light = None
        self.version += 1

    def take(self, event: events.Event) -> None:
        """Take in what the backend says of the current job; anything but its number, its maps and its light is left."""
        if isinstance(event, events.Accepted):
            self._job = event.job
        elif isinstance(event, events.MapPreview):
            self._of_jobs[-1][event.set_index, event.name] = GrowingMap(f"making/{next(_numbers)}", event.image)
        elif isinstance(event, events.LightPreview):
            self.light = event
        elif isinstance(event, events.Result | events.Failed | events.Cancelled):
            self._job = ""
        else:
            return
        self.version += 1

    def watch(self, size: int = WATCHED_SIZE, interval_s: float = WATCHED_INTERVAL_S) -> None:
        """Somebody looks at the maps: for two seconds from now they come in up to `size` pixels, this often at most."""
        self._wanted, self._wanted_until = (size, interval_s), time.monotonic() + LEASE_SECONDS

    def tell(self, client: BackendClient) -> None:
        """Tell a connected backend who watches, where that has changed."""
        wanted = self._wanted if time.monotonic() < self._wanted_until else NOBODY
        told = self._told[1] if self._told[0] is client else NOBODY
        if wanted != told:
            client.watch(*wanted)
        self._told = (client, wanted)

    def of_slots(self, jobs: list[FitJob]) -> dict[tuple[int, int], list[SetInTheMaking]]:
        """The sets of the jobs by object (its session_uid) and slot; those of failed jobs are left out."""
        found: dict[tuple[int, int], list[SetInTheMaking]] = {}
        for place, job in enumerate(jobs):
            if job.error is not None:
                continue
            shown = self._of_jobs[place] if place < len(self._of_jobs) else {}
            running = self._job if place == len(self._of_jobs) - 1 else ""
            for number, item in enumerate(job.plan.sets):
                maps = {name: shown[number, name] for name in ("kd", "orm", "normal") if (number, name) in shown}
                for slot in item.slots:
                    uv_map = item.uv_maps[slot.object_uid]
                    made = SetInTheMaking(item.tile, uv_map, running, number, maps, job.options.alpha)
                    found.setdefault((slot.object_uid, slot.slot_index), []).append(made)
        return found
