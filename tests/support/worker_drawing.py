"""What a worker process draws with in tests, which it imports by its name."""

from __future__ import annotations

from support.preview_harness import StandIn


def make_drawing():
    """The drawing of a scene that is quick to draw."""
    return StandIn().drawing
