# SPDX-License-Identifier: GPL-3.0-or-later
"""Estimate how long a fit takes and how much memory the backend needs, from the settings only: `past_fits` learns from there.

The factors come from the demo on two cores (benchmarks/results/demo_2_cores.json: 71 million path samples in 93 to 109 s, an
iteration 0.08 s, the table of 1.8 million samples 8 s and 0.34 GB, the bake of a megatexel 28 s, the comparison 20 s) and from
fits on an H200 (docs/performance.md). They can be wrong by a factor of two: the artist's shaders and processor decide.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..protocol.quality import HELD_OUT_SAMPLES, QUALITIES
from ..settings.map_shape import texel_count
from ..settings.properties import learns_light
from ..settings.start import BAKE, GRAY

COVERED = 0.23  # part of a view's pixels that show the object
CYCLES_CORE_SECONDS = 2.6e-6  # a path sample
START_SECONDS = 6.0
BAKE_CORE_SECONDS = 5.4e-5  # a texel
COMPARISON_CORE_SECONDS = 40.0
ITERATION_CORE_SECONDS = 0.16
LEARNED_FACTOR = 1.7
CORRECTION = 0.4  # of a fit's iterations
SHADOW_CORE_SECONDS = (0.1, 1.5e-6)  # a direction; each triangle of it
TABLE_CORE_SECONDS = 9e-6  # a sample
GPU_SECONDS = 6.0  # to start, and to compile the kernels
GPU_ITERATION_SECONDS = (0.0006, 0.0026)  # light known, learned
BASE_BYTES = 0.5e9
SAMPLE_BYTES = (
    950.0,
    190.0,
)  # on a CPU, which keeps the taps of every lookup (1.4 GB for 1.1 million samples), and on a GPU
TEXEL_BYTES = 170.0
LEARNED_BYTES = 1.9e9
TRIANGLE_BYTES = 600.0


PARTS = {
    "start": ("export", "start", "apply"),
    "bake": ("bake",),
    "compare": ("compare",),
    "render": ("render", "check"),
    "fit": ("fit", "correct"),
}
"""The parts of a fit that are estimated each by itself, and the phases of a session that each is measured by."""
Seconds = dict[str, float]


@dataclass(frozen=True)
class Estimate:
    """seconds: from the click to the maps; memory_bytes: of the backend, on its device."""

    seconds: float
    memory_bytes: float

    def text(self) -> str:
        """The time in words, for the panel."""
        return f"About {rounded_time(self.seconds)}"

    def memory_text(self) -> str:
        """The memory in words, for the panel."""
        return f"{self.memory_bytes / 1e9:.1f} GB of memory"


def seconds_of_parts(settings: Any, triangles: int, sets: int, on_gpu: bool, cores: int | None = None) -> Seconds:
    """How long each part of one fit takes, from the settings only: see `estimate`."""
    cores = cores or os.cpu_count() or 1
    pixels = settings.view_size**2
    paths = pixels * settings.samples * (settings.views + HELD_OUT_SAMPLES * settings.held_out_views)
    found = {"start": START_SECONDS, "render": renders(settings) * paths * CYCLES_CORE_SECONDS / cores}
    if settings.start == BAKE:
        found["bake"] = sets * texel_count(settings) * BAKE_CORE_SECONDS / cores
    if settings.start != GRAY or corrections(settings):
        found["compare"] = COMPARISON_CORE_SECONDS / cores
    quality = QUALITIES[settings.quality]
    fits, iterations = 1 + corrections(settings), quality.iterations * (1.0 + CORRECTION * corrections(settings))
    if on_gpu:
        found["fit"] = GPU_SECONDS + 5 * iterations * GPU_ITERATION_SECONDS[int(learns_light(settings))]
    else:
        shadows = quality.shadow_directions * (SHADOW_CORE_SECONDS[0] + triangles * SHADOW_CORE_SECONDS[1])
        fit = iterations * ITERATION_CORE_SECONDS * (LEARNED_FACTOR if learns_light(settings) else 1.0)
        found["fit"] = (fits * shadows + fit + fits * covered_samples(settings) * TABLE_CORE_SECONDS) / cores
    return found


def estimate(settings: Any, triangles: int, sets: int, on_gpu: bool, cores: int | None = None) -> Estimate:
    """Estimate one fit from the scene's `settings`, its evaluated triangles, its sets of maps, and the backend's device."""
    memory = BASE_BYTES + covered_samples(settings) * SAMPLE_BYTES[int(on_gpu)]
    memory += sets * texel_count(settings) * TEXEL_BYTES
    memory += triangles * TRIANGLE_BYTES + (LEARNED_BYTES if learns_light(settings) and on_gpu else 0.0)
    return Estimate(sum(seconds_of_parts(settings, triangles, sets, on_gpu, cores).values()), memory)


def covered_samples(settings: Any) -> float:
    """How many pixels of all views show the object."""
    return float(COVERED * settings.view_size**2 * settings.views)


def measured_parts(phases: Mapping[str, float]) -> Seconds:
    """How long each part took, from the seconds of a session's phases."""
    return {part: sum(phases.get(phase, 0.0) for phase in own) for part, own in PARTS.items()}


def corrections(settings: Any) -> int:
    """How many corrections may be made: a fit that learns its light has none."""
    return 0 if learns_light(settings) else int(settings.rounds)


def renders(settings: Any) -> float:
    """How often all views are rendered with all of their samples, if each correction that may be made is made."""
    rounds = corrections(settings)
    if not rounds:
        return 1.0
    # The fit has half of the views. With the bake, a view is two renders of half the samples. A correction renders the fitted
    # maps in all views, and the first one also brings the other half of the views.
    begins_with_bake = settings.start != GRAY  # or with maps, which are rendered as a bake is
    once = 0.5 if begins_with_bake else 1.0
    return 1.0 + once * rounds - (0.25 if begins_with_bake else 0.0)


def rounded_time(seconds: float) -> str:
    """A time, rounded: "40 s", "3 min", "1.5 h"."""
    if seconds < 90.0:
        return f"{max(10, round(seconds / 10.0) * 10)} s"
    if seconds < 5400.0:
        return f"{round(seconds / 60.0)} min"
    return f"{math.ceil(seconds / 1800.0) / 2:g} h"
