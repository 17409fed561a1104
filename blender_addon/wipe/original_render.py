# SPDX-License-Identifier: GPL-3.0-or-later
"""The originals as Cycles renders them from the camera of a view, in a second Blender: first small, then in full size."""

from __future__ import annotations

import math
import shutil
import tempfile
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from ..common.errors import PbrFitError
from ..common.render_devices import DeviceUsed, wanted_devices
from ..references.copied_file import save_copy
from ..references.process import ReferenceRenderer, ViewRendered

SMALL_SAMPLES, SAMPLES = 16, 64
SMALLER = 3  # times, along a side


class OriginalRender:
    """One render of originals. image: the last one that has come, float32 [h, w, 4], premultiplied, linear, row 0 at the top;
    done: whether nothing more will come; error: why, if something is wrong."""

    def __init__(self, context: bpy.types.Context, plan: dict[str, Any], view: dict[str, Any]) -> None:
        """Start; returns once a copy of the file is saved. Raises PbrFitError if that fails.

        plan: the objects and materials; view: of `camera_view`.
        """
        self.image: NDArray[np.float32] | None = None
        self.done = False
        self.error: PbrFitError | None = None
        self._renderer: ReferenceRenderer | None = None
        self._folder = Path(tempfile.mkdtemp(prefix="pbrfit_original_", dir=bpy.app.tempdir or None))
        width, height = view["size"]
        small = [max(1, width // SMALLER), max(1, height // SMALLER)]
        try:
            copy = save_copy(self._folder / "copy")
            devices = wanted_devices(context.preferences, context.scene.pbrfit.render_device)
            shared = {
                "blend": str(copy.path),
                "cache_folders": copy.folders,
                "use_scripts": not bpy.app.autoexec_fail,
                "scene": context.scene.name,
                "view_layer": context.view_layer.name,
                "output": str(self._folder),
                "devices": devices.to_json(),
                "views": [
                    view | {"index": 0, "size": small, "samples": SMALL_SAMPLES},
                    view | {"index": 1, "samples": SAMPLES},
                ],
            }
            self._renderer = ReferenceRenderer(shared | plan, self._folder)
        except PbrFitError:
            self.stop()
            raise

    def poll(self) -> bool:
        """Take in what has come; returns whether anything has. Never waits."""
        if self._renderer is None:
            return False
        came = False
        try:
            for finished in self._renderer.poll():
                if isinstance(finished, ViewRendered):
                    self.image, self.done, came = finished.image, finished.index == 1, True
                elif isinstance(finished, DeviceUsed):
                    came = True
        except PbrFitError as error:
            self.error = error
        if self.done or self.error is not None:
            self.stop()
            return True
        return came

    def stop(self) -> None:
        """Kill the second Blender; the image stays."""
        self.done = True
        if self._renderer is not None:
            self._renderer.stop()
            self._renderer = None
        shutil.rmtree(self._folder, ignore_errors=True)


def camera_view(view: NDArray[np.float64], projection: NDArray[np.float64], size: tuple[int, int]) -> dict[str, Any]:
    """The camera of a 3D view as the second Blender takes it (an entry of `views` in its plan).

    view, projection: the view's world-to-camera matrix and its window matrix [4, 4], as Blender has them.
    """
    width, height = size
    matrix = np.linalg.inv(view)
    found: dict[str, Any] = {"size": [width, height]}
    if projection[3, 3] == 0.0:
        near, far = projection[2, 3] / (projection[2, 2] - 1.0), projection[2, 3] / (projection[2, 2] + 1.0)
        shift = 0.5 * projection[0, 2], 0.5 * projection[1, 2] * height / width
        found["fov"] = 2.0 * math.atan(1.0 / projection[0, 0])
    else:
        near, far = (projection[2, 3] + 1.0) / projection[2, 2], (projection[2, 3] - 1.0) / projection[2, 2]
        shift = -0.5 * projection[0, 3], -0.5 * projection[1, 3] * height / width
        found["width"] = 2.0 / projection[0, 0]
        # Such a view also shows what is behind its eye, and no camera does.
        behind = max(0.0, -near)
        matrix[:3, 3] += behind * matrix[:3, 2]
        near, far = near + behind, far + behind
    return found | {
        "matrix_world": matrix.tolist(),
        "clip_start": max(float(near), 1e-3),
        "clip_end": float(far),
        "shift": [float(part) for part in shift],
    }
