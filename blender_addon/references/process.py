# SPDX-License-Identifier: GPL-3.0-or-later
"""The reference renders: a second Blender without a window works on a copy of the file and delivers finished views.

This Blender stays free. The copy, the plan and the renders are in one temporary directory, which the caller owns and
removes. The renders stay there, so that they can be sent to the backend again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..common.package import shipped_file
from ..common.render_devices import DeviceUsed
from ..common.second_blender import SecondBlender

SCRIPT = shipped_file("references/render_references.py")


@dataclass(frozen=True)
class EnvironmentRendered:
    """The world as an equirectangular image float32 [H, W, 3], row 0 = top."""

    radiance: NDArray[np.float32]


@dataclass(frozen=True)
class LightsMade:
    """The Studio lights: see `studio_designs.studio_lights`."""

    lights: NDArray[np.float32]


@dataclass(frozen=True)
class MeshExported:
    """The mesh as it is rendered: its wire arrays by name, and the sphere around it in Blender's axes: center float64 [3]
    and radius, for which the views are planned; overlap: the share, 0..1, of a set of maps in which faces lie over each
    other, known only if the viewport shows another mesh."""

    arrays: dict[str, NDArray[Any]]
    center: NDArray[np.float64]
    radius: float
    overlap: float


@dataclass(frozen=True)
class ViewRendered:
    """A finished view: float32 [h, w, 4], premultiplied, linear, row 0 = top, and the seconds its render took."""

    index: int
    image: NDArray[np.float32]
    seconds: float


@dataclass(frozen=True)
class CandidateRendered:
    """A finished view of what a fit begins with; its pixels are in a file of the group's folder."""

    index: int


@dataclass(frozen=True)
class CandidateRead:
    """The texels of what a round begins with, by the names of arrays on the wire: see candidate_start.py."""

    arrays: dict[str, NDArray[np.float16]]


Finished = (
    DeviceUsed | EnvironmentRendered | LightsMade | MeshExported | ViewRendered | CandidateRendered | CandidateRead
)


class ReferenceRenderer(SecondBlender[Finished]):
    """Renders one plan in a second Blender; see render_references.py for the plan and the files."""

    def __init__(self, plan: dict[str, Any], directory: Path) -> None:
        """Write the plan to `directory` and start; returns at once. Raises PbrFitError if the program cannot start."""
        self._directory = directory
        super().__init__(SCRIPT, plan, directory, self._read_entry)

    def _read_entry(self, entry: dict[str, Any]) -> Iterator[Finished]:
        if "device" in entry:
            yield DeviceUsed.from_json(entry)
        elif "environment" in entry:
            yield EnvironmentRendered(np.load(self._directory / entry["environment"]))
        elif "lights" in entry:
            yield LightsMade(np.load(self._directory / entry["lights"]))
        elif "mesh" in entry:
            with np.load(self._directory / entry["mesh"]) as stored:
                arrays = {name: stored[name] for name in stored}
            yield MeshExported(arrays, np.array(entry["center"]), entry["radius"], entry["overlap"])
        elif "candidate" in entry:
            yield CandidateRendered(entry["candidate"])
        elif "start" in entry:
            with np.load(self._directory / entry["start"]) as stored:
                yield CandidateRead({name: stored[name] for name in stored})
        elif "view" in entry:
            image = np.load(self._directory / entry["file"])
            yield ViewRendered(entry["view"], image, entry["seconds"])
