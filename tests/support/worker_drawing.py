"""What a worker process draws with in tests, which it imports by its name."""

from __future__ import annotations

import time

from support.preview_harness import StandIn

from backend.job.map_previews import MapPreviewer
from backend.job.model import FitResult
from render.material.material import KD, initial_maps


def make_drawing():
    """The drawing of a scene that is quick to draw."""
    return StandIn().drawing


def grow(inputs, settings, report, cancelled):
    """A job whose maps become brighter with every step of a hundredth of a second."""
    previewer = MapPreviewer(inputs.control, 0, None)
    maps = initial_maps(64, alpha=False)
    step = 0
    while not (cancelled() or inputs.control.finishing):
        step += 1
        maps.texels[..., KD] = min(step, 1000) / 1000
        previewer.offer(maps)
        time.sleep(0.01)
    return FitResult({}, {"steps": step})
