# SPDX-License-Identifier: GPL-3.0-or-later
"""The live maps: the maps of a session's fits while they run, and who watches them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..protocol.client import events
from ..protocol.client.client import BackendClient
from .fit_queue import GroupFit

WATCHED_SIZE = 512
WATCHED_INTERVAL_S = 0.1
LEASE_SECONDS = 2.0
NOBODY = (0, 0.5)

_numbers = itertools.count(1)


@dataclass(frozen=True)
class LiveMap:
    """A map as it is now: uint8 [h, w, 4], row 0 at the top; key: names exactly these pixels in this Blender."""

    key: str
    image: NDArray[np.uint8]


@dataclass(frozen=True)
class LiveSet:
    """A set of maps that is not assigned yet, for a slot of an object.

    tile: UDIM tile, 0: none; uv_map: the UV map that reads it; job: identifier of the backend's job while that runs, else
    empty; number: of the set in its job; maps: by name (kd, orm, normal), those that have come; alpha: whether the
    assigned material will use the base color's alpha.
    """

    tile: int
    uv_map: str
    job: str
    number: int
    maps: dict[str, LiveMap]
    alpha: bool


class LiveMaps:
    """What the fits of a session have shown so far.

    version: counts the changes; light: the learned light of the current fit as it is now, if it learns one.
    """

    def __init__(self) -> None:
        self.version = 0
        self.light: events.LightPreview | None = None
        self._job = ""
        self._of_fits: list[dict[tuple[int, str], LiveMap]] = []
        self._wanted = NOBODY
        self._wanted_until = 0.0
        self._told: tuple[BackendClient | None, tuple[int, float]] = (None, NOBODY)

    @property
    def job(self) -> str:
        """The identifier of the backend's running job; empty without."""
        return self._job

    @property
    def light_job(self) -> str:
        """The identifier of the backend's running job if it has shown a light that it learns; else empty."""
        return self._job if self.light is not None else ""

    @property
    def images(self) -> dict[tuple[int, str], NDArray[np.uint8]]:
        """The maps of the current fit, uint8 [h, w, 4], row 0 at the top, by set and by name (kd, orm or normal)."""
        return {place: item.image for place, item in self._of_fits[-1].items()} if self._of_fits else {}

    def begin(self, number: int) -> None:
        """Begin the fit of this number, from 1, or begin it again."""
        self._of_fits = [*self._of_fits[: number - 1], *({} for _ in range(number - 1 - len(self._of_fits))), {}]
        self._job = ""
        self.light = None
        self.version += 1

    def take(self, event: events.Event) -> None:
        """Take in an event of the current fit's job: its identifier, a map, a light, or its end. Ignore all others."""
        if isinstance(event, events.Accepted):
            self._job = event.job
        elif isinstance(event, events.MapPreview):
            self._of_fits[-1][event.set_index, event.name] = LiveMap(f"live/{next(_numbers)}", event.image)
        elif isinstance(event, events.LightPreview):
            self.light = event
        elif isinstance(event, events.Result | events.Failed | events.Cancelled):
            self._job = ""
        else:
            return
        self.version += 1

    def watch(self, size: int = WATCHED_SIZE, interval_s: float = WATCHED_INTERVAL_S) -> None:
        """Ask for maps of up to `size` pixels, at most this often, for the next two seconds: somebody looks at them."""
        self._wanted, self._wanted_until = (size, interval_s), time.monotonic() + LEASE_SECONDS

    def tell(self, client: BackendClient) -> None:
        """Tell a connected backend who watches, if that has changed."""
        wanted = self._wanted if time.monotonic() < self._wanted_until else NOBODY
        told = self._told[1] if self._told[0] is client else NOBODY
        if wanted != told:
            client.watch(*wanted)
        self._told = (client, wanted)

    def of_slots(self, fits: Iterable[GroupFit]) -> dict[tuple[int, int], list[LiveSet]]:
        """The sets of the fits by object (its session_uid) and slot, without those of failed fits."""
        found: dict[tuple[int, int], list[LiveSet]] = {}
        for place, fit in enumerate(fits):
            if fit.error is not None:
                continue
            shown = self._of_fits[place] if place < len(self._of_fits) else {}
            running = self._job if place == len(self._of_fits) - 1 else ""
            for number, item in enumerate(fit.plan.sets):
                maps = {name: shown[number, name] for name in ("kd", "orm", "normal") if (number, name) in shown}
                for slot in item.slots:
                    uv_map = item.uv_maps[slot.object_uid]
                    live = LiveSet(item.tile, uv_map, running, number, maps, fit.options.alpha)
                    found.setdefault((slot.object_uid, slot.slot_index), []).append(live)
        return found
