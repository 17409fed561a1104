"""The report's renders: the artist's file and the fitted one, each in its own scene, side by side in the same light."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.cli.blender_task import Blender, run_script
from backend.cli.report import ViewError, measure_view
from backend.cli.terminal import Progress

REPORT_SAMPLES = {"draft": 16, "standard": 32, "high": 128}
LARGEST_REPORT_SIZE = 256
"""The largest width and height of the report's renders in pixels: they are many, and samples lower noise, not pixels."""

REPORT_SEEDS = (900001, 900002)

BLACK = 1e-4
"""Linear values below this are black: less than a third of a step of 8-bit sRGB."""

Renders = dict[str, list[list[NDArray[np.float32]]]]
"""Views under one light: "original" and "fitted", each [seed][view], float32 [h, w, 4], linear, premultiplied."""


def render_for_report(
    blender: Blender, work: Path, files: dict[str, Path], result: dict[str, Any], progress: Progress
) -> dict[str, Renders]:
    """Render the held-out views of both files, in their own world ("heldout") and under an HDRI ("relit").

    files: "original" and "fitted". result: what drive.py says about the fit. Each view is rendered with two seeds. Raises
    CommandError.
    """
    views = result["held_out_views"]
    lights = {"heldout": None, "relit": result["relit_hdri"]}
    plans = [
        {
            "blend": str(path),
            "scene": result["scene"],
            "view_layer": result["view_layer"],
            "object": result["object"],
            "size": min(result["settings"]["view_size"], LARGEST_REPORT_SIZE),
            "samples": REPORT_SAMPLES[result["settings"]["quality"]],
            "output": str(work / which),
            "lights": lights,
            "seeds": REPORT_SEEDS,
            "views": views,
        }
        for which, path in files.items()
    ]
    count = len(plans) * len(lights) * len(REPORT_SEEDS) * len(views)
    began, rendered = time.monotonic(), 0
    progress.show("Rendering the report", 0.0)
    instructions = {**plans[0], "plans": plans[1:]}
    for event in run_script(blender, "command_line/judge.py", instructions, work, grace_seconds=0.0):
        if "file" in event:
            rendered += 1
            left = (time.monotonic() - began) / rendered * (count - rendered) if rendered > 2 else None
            progress.show("Rendering the report", rendered / count, left, message=f"{rendered}/{count}")
    return {
        light: {
            which: [
                [np.load(work / which / f"{light}_{seed}_{view['index']:04d}.npy") for view in views]
                for seed in REPORT_SEEDS
            ]
            for which in files
        }
        for light in lights
    }


def measure(renders: Renders) -> list[ViewError | None]:
    """The error of each view under one light; None where it does not show the object, or all views are black.

    A black object looks the same with any material: its PSNR would be perfect.
    """
    if is_black(renders):
        return [None] * len(renders["original"][0])
    seeds_of_original = zip(*renders["original"], strict=True)
    seeds_of_fitted = zip(*renders["fitted"], strict=True)
    return [measure_view(original, fitted) for original, fitted in zip(seeds_of_original, seeds_of_fitted, strict=True)]


def is_black(renders: Renders) -> bool:
    """Whether the original is black in all views of a light, so that any material would look the same."""
    return all(float(image[..., :3].max(initial=0.0)) < BLACK for views in renders["original"] for image in views)
