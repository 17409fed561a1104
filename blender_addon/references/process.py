# SPDX-License-Identifier: GPL-3.0-or-later
"""The reference renders: a second Blender without a window works on a copy of the file and delivers finished views.

This Blender stays free. The copy, the plan and the renders are in one temporary directory, which the caller owns and
removes. The renders stay there, so that they can be sent to the backend again.
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from ..common.errors import PbrFitError, log_tail
from ..common.package import shipped_file
from ..common.processes import end_process, start_process

LINE_PREFIX = "PBRFIT "
SCRIPT = shipped_file("references/render_references.py")


@dataclass(frozen=True)
class EnvironmentRendered:
    """The world as an equirectangular image float32 [H, W, 3], row 0 = top."""

    radiance: NDArray[np.float32]


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


Finished = EnvironmentRendered | MeshExported | ViewRendered


class RendererDied(PbrFitError):
    """The second Blender ended without a message: another one may render what is missing."""


def second_blender_command(plan: Path) -> list[str]:
    """The command line of the second Blender; if Blender is a Python module, that of this Python."""
    if bpy.app.binary_path:
        start = [bpy.app.binary_path, "--background", "--factory-startup", "--python", str(SCRIPT), "--"]
        return [*start, str(plan)]
    return [sys.executable, str(SCRIPT), str(plan)]


class ReferenceRenderer:
    """Renders one plan in a second Blender; see render_references.py for the plan and the files."""

    def __init__(self, plan: dict[str, Any], directory: Path) -> None:
        """Write the plan to `directory` and start; returns at once. Raises PbrFitError if the program cannot start."""
        self._directory = directory
        self._log = directory / "references.log"
        self._finished: queue.SimpleQueue[Finished | PbrFitError] = queue.SimpleQueue()
        self._stopped = threading.Event()
        plan_file = directory / "plan.json"
        plan_file.write_text(json.dumps(plan), encoding="utf-8")
        try:
            with open(self._log, "wb") as log:
                self._process = start_process(second_blender_command(plan_file), directory, subprocess.PIPE, log)
        except OSError as error:
            raise PbrFitError(
                f"The windowless Blender for the references cannot start: {error.strerror}.",
                "Check that this Blender is still installed where you started it.",
            ) from error
        self._thread = threading.Thread(target=self._read, name="PBRfit references", daemon=True)
        self._thread.start()

    def poll(self) -> list[Finished]:
        """What has finished since the last call; never blocks.

        Raises PbrFitError if rendering failed, RendererDied if the process ended without saying why.
        """
        finished: list[Finished] = []
        while not self._finished.empty():
            item = self._finished.get()
            if isinstance(item, PbrFitError):
                raise item
            finished.append(item)
        return finished

    def stop(self) -> None:
        """Kill the process if it still runs, and wait for the reader to end."""
        self._stopped.set()
        end_process(self._process, patience=0.0)
        self._thread.join()

    def _read(self) -> None:
        output = self._process.stdout
        assert output is not None  # it was started with a pipe
        done = False
        try:
            for raw in output:
                line = raw.decode("utf-8", errors="replace")
                if line.startswith(LINE_PREFIX):
                    entry = json.loads(line[len(LINE_PREFIX) :])
                    done = done or "done" in entry or "error" in entry
                    self._hand_over(entry)
        except Exception as error:  # the main thread must know, whatever it is
            done = True
            if not self._stopped.is_set():
                cause = f"PBRfit cannot read a reference render: {error}."
                self._finished.put(PbrFitError(cause, "Make room in the temporary directory and try again."))
        finally:
            output.close()
        status = self._process.wait()
        if not done and not self._stopped.is_set():
            cause = f"The windowless Blender for the references ended with status {status}."
            tail = log_tail(self._log)
            cause += f" Its last words:\n{tail}\n" if tail else ""
            self._finished.put(RendererDied(cause, "Check that Cycles can render this file: press F12."))

    def _hand_over(self, entry: dict[str, Any]) -> None:
        if "environment" in entry:
            self._finished.put(EnvironmentRendered(np.load(self._directory / entry["environment"])))
        elif "mesh" in entry:
            with np.load(self._directory / entry["mesh"]) as stored:
                arrays = {name: stored[name] for name in stored}
            self._finished.put(MeshExported(arrays, np.array(entry["center"]), entry["radius"], entry["overlap"]))
        elif "view" in entry:
            image = np.load(self._directory / entry["file"])
            self._finished.put(ViewRendered(entry["view"], image, entry["seconds"]))
        elif "error" in entry:
            self._finished.put(PbrFitError(entry["error"]["cause"], entry["error"]["cure"]))
