"""How much of something limited one key may hold, so that no client takes the places of the others."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)


class Sharing:
    """The one rule by which keys share the server's limits.

    alone: says whether at most one key may connect; then that key may have all. Where several may, a key may hold at most as
    much as is still free beside it: half of the whole while the others hold nothing, a third each where two want all they can
    get. So something is always left for whoever comes next, and what the others have is never touched.
    """

    def __init__(self, alone: Callable[[], bool] = lambda: True) -> None:
        self._alone = alone

    def most(self, limit: int, others: int) -> int:
        """How much a key may hold of `limit`, where the other keys hold `others`."""
        free = max(0, limit - others)
        return free if self._alone() else (free + 1) // 2


def largest_holder(held: Mapping[KeyT, int]) -> KeyT:
    """Who holds the most, the first of equals: what is kept only as long as there is room goes there first.

    Raises ValueError where nobody holds anything.
    """
    return max(held, key=lambda key: held[key])
