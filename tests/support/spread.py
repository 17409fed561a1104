"""Which of many alike tests run in every Blender: a spread of them; all run in one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def spread(names: Iterable[str], one_in: int, always: Iterable[str] = ()) -> list[Any]:
    """The names as parameters of a test; all but each `one_in`-th, and those of `always`, are marked `any_blender`."""
    kept = frozenset(always)
    return [
        name if number % one_in == 0 or name in kept else pytest.param(name, marks=pytest.mark.any_blender)
        for number, name in enumerate(names)
    ]


def chosen(request: pytest.FixtureRequest, argument: str) -> list[str]:
    """The values of a parameter with which tests of the fixture's file run this time, each once, in their order."""
    items = [item for item in request.session.items if item.path == request.path and hasattr(item, "callspec")]
    return list(dict.fromkeys(item.callspec.params[argument] for item in items if argument in item.callspec.params))
