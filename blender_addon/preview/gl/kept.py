# SPDX-License-Identifier: GPL-3.0-or-later
"""What stays on the GPU between frames, and how much that is new one frame may make.

To compile a shader, or to put a mesh or an image on the GPU, takes Blender's main thread from milliseconds to seconds. So a
frame makes new things only for a while, and what is missing after that comes in the next frames: between them Blender reacts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

Thing = TypeVar("Thing")


class Patience:
    """How long one frame may still work for new things. is_complete: whether nothing had to wait for a later frame."""

    def __init__(self) -> None:
        self.begin(None)

    def begin(self, seconds: float | None) -> None:
        """Begin a frame that may make new things until so many seconds are spent; None: everything."""
        self._left = seconds
        self.is_complete = True

    def make(self, make: Callable[[], Thing]) -> tuple[Thing, ...]:
        """A new thing, or nothing where that has to wait for a later frame."""
        if self._left is not None and self._left <= 0.0:
            self.is_complete = False
            return ()
        began = time.perf_counter()
        made = make()
        if self._left is not None:
            self._left -= time.perf_counter() - began
        return (made,)


@dataclass
class _Entry(Generic[Thing]):
    """A thing, and the last frame that needed it."""

    thing: Thing
    frame: int


class Kept(Generic[Thing]):
    """Things by their keys; those that no frame needed for a while can be freed."""

    def __init__(self) -> None:
        self._things: dict[Hashable, _Entry[Thing]] = {}

    def __len__(self) -> int:
        return len(self._things)

    def get(self, key: Hashable, frame: int, make: Callable[[], Thing]) -> Thing:
        """The thing with this key; `make` creates it if there is none."""
        if key not in self._things:
            self._things[key] = _Entry(make(), frame)
        entry = self._things[key]
        entry.frame = frame
        return entry.thing

    def get_soon(self, key: Hashable, frame: int, make: Callable[[], Thing], patience: Patience) -> tuple[Thing, ...]:
        """The same, but nothing where it has to be made and that has to wait for a later frame."""
        if key in self._things:
            return (self.get(key, frame, make),)
        for made in patience.make(make):
            self._things[key] = _Entry(made, frame)
            return (made,)
        return ()

    def put(self, key: Hashable, thing: Thing, frame: int) -> None:
        """Keep a thing under this key, in place of another."""
        self._things[key] = _Entry(thing, frame)

    def peek(self, key: Hashable) -> tuple[Thing, ...]:
        """The thing with this key, if there is one; no frame needs it for that."""
        return (self._things[key].thing,) if key in self._things else ()

    def give_up(self, before: int) -> None:
        """Free what no frame since `before` needed."""
        self._things = {key: entry for key, entry in self._things.items() if entry.frame >= before}
