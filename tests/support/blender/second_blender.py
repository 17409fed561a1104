"""Several fits' references in one second Blender, small: what it exports and renders, or why it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

LINE_PREFIX = "PBRFIT "
TIMEOUT_S = 300.0


@dataclass
class Outcome:
    """What became of a plan. error: cause and cure, or None; arrays: of the mesh; views: cameras for Blender, as dicts of
    `matrix_world` and `fov`; images: float32 [size, size, 4] of each."""

    error: tuple[str, str] | None = None
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    views: list[dict[str, Any]] = field(default_factory=list)
    images: list[NDArray[np.float32]] = field(default_factory=list)

    @property
    def positions(self) -> NDArray[np.float64]:
        """The exported vertices in Blender's axes, float64 [V, 3]; the renderer's are (-Y, Z, -X)."""
        x, y, z = self.arrays["vertex_position"].astype(np.float64).T
        return np.stack([-z, -x, y], axis=1)


def small(render_plan: dict[str, Any], views: int, size: int, samples: int) -> dict[str, Any]:
    """The plan of a fit with a few small views, and without the world's light."""
    cameras = {"training": views, "held_out": 0, "seed": 0, "samples": samples, "held_out_samples": samples}
    return render_plan | {"cameras": cameras, "size": size, "samples": samples, "threads": 1, "environment": None}


def render(process: Any, views: Any, plans: Sequence[dict[str, Any]], folder: Path) -> list[Outcome]:
    """Carry out plans, one after the other; a new process goes on after one that was refused.

    process, views: the add-on's modules of these names in its folder `references`.
    """
    outcomes: list[Outcome] = []
    while len(outcomes) < len(plans):
        outcomes += _run(process, views, plans[len(outcomes) :], folder)
    return outcomes


def _run(process: Any, views: Any, plans: Sequence[dict[str, Any]], folder: Path) -> list[Outcome]:
    """The outcomes of the plans that one process carries out: all, or those up to the first that it refuses."""
    file = folder / "plans.json"
    file.write_text(json.dumps({**plans[0], "plans": list(plans[1:])}), encoding="utf-8")
    second_blender = sys.modules[process.SecondBlender.__module__]
    command = second_blender.second_blender_command(process.SCRIPT, file)
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    lines = [line for line in result.stdout.splitlines() if line.startswith(LINE_PREFIX)]
    outcomes: list[Outcome] = []
    for entry in (json.loads(line.removeprefix(LINE_PREFIX)) for line in lines):
        number = entry.get("plan", 0)
        if "mesh" in entry:
            outcomes.append(_exported(entry, plans[number], views))
        elif "view" in entry:
            outcomes[number].images.append(np.load(Path(plans[number]["output"]) / entry["file"]))
        elif "error" in entry:
            error = (entry["error"]["cause"], entry["error"]["cure"])
            # The plan that fails says no more lines than those before it.
            if outcomes and len(outcomes[-1].images) < len(outcomes[-1].views):
                outcomes[-1].error = error
            else:
                outcomes.append(Outcome(error))
    assert outcomes, f"the second Blender said nothing:\n{result.stdout[-1000:]}\n{result.stderr[-3000:]}"
    last = outcomes[-1]
    assert last.error or len(last.images) == len(last.views), f"it ended early:\n{result.stderr[-3000:]}"
    return outcomes


def _exported(entry: dict[str, Any], plan: dict[str, Any], views: Any) -> Outcome:
    with np.load(Path(plan["output"]) / entry["mesh"]) as stored:
        arrays = {name: stored[name] for name in stored}
    cameras = plan["cameras"]
    planned = views.plan_views(np.array(entry["center"]), entry["radius"], cameras["training"], cameras["held_out"], 0)
    return Outcome(None, arrays, [view.for_blender() for view in planned])
