# SPDX-License-Identifier: GPL-3.0-or-later
"""A second Blender without a window that runs a script of the add-on on a copy of the file, while this one stays free.

The script's only argument is a plan, a JSON file. It says what it has done in lines on stdout: the word PBRFIT and JSON.
{"done": true} or {"error": {"cause", "cure"}} is the last one; an error with "gpu" (true) may not come again with another
device to render with. The caller owns the folder of the plan and removes it.
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

import bpy

from .errors import LAST_WORDS, PbrFitError, log_tail
from .processes import end_process, start_process

LINE_PREFIX = "PBRFIT "
Finished = TypeVar("Finished")


class BlenderDied(PbrFitError):
    """The second Blender ended without a message, or its GPU failed: another one may do what is missing."""


def second_blender_command(script: Path, plan: Path) -> list[str]:
    """The command line of the second Blender; if Blender is a Python module, that of this Python."""
    if bpy.app.binary_path:
        start = [bpy.app.binary_path, "--background", "--factory-startup", "--python", str(script), "--"]
        return [*start, str(plan)]
    return [sys.executable, str(script), str(plan)]


class SecondBlender(Generic[Finished]):
    """Carries out one plan; `poll` hands over what has finished."""

    def __init__(
        self, script: Path, plan: dict[str, Any], directory: Path, read: Callable[[dict[str, Any]], Iterator[Finished]]
    ) -> None:
        """Write the plan to `directory` and start; returns at once. Raises PbrFitError if the program cannot start.

        read: makes what has finished out of a line; it is called in another thread, and may read files.
        """
        self._log = directory / f"{script.stem}.log"
        self._read_line = read
        self._finished: queue.SimpleQueue[Finished | PbrFitError] = queue.SimpleQueue()
        self._failure: PbrFitError | None = None
        self._stopped = threading.Event()
        plan_file = directory / "plan.json"
        try:
            plan_file.write_text(json.dumps(plan), encoding="utf-8")
            with open(self._log, "wb") as log:
                command = second_blender_command(script, plan_file)
                # The script ends when its input does: so it does not outlive this Blender, even if that is killed.
                self._process = start_process(command, directory, subprocess.PIPE, log, subprocess.PIPE)
        except OSError as error:
            raise PbrFitError(
                f"The windowless Blender cannot start: {error.strerror}.",
                "Check that this Blender is still installed where you started it, and that the disk has room.",
            ) from error
        self._thread = threading.Thread(target=self._read, name="PBRfit second Blender", daemon=True)
        self._thread.start()

    def poll(self) -> list[Finished]:
        """What has finished since the last call; never blocks.

        Raises PbrFitError if the work failed, BlenderDied if the process ended without saying why; what had finished before
        is handed over first.
        """
        finished: list[Finished] = []
        while self._failure is None and not self._finished.empty():
            item = self._finished.get()
            if isinstance(item, PbrFitError):
                self._failure = item
            else:
                finished.append(item)
        if self._failure is not None and not finished:
            failure, self._failure = self._failure, None
            raise failure
        return finished

    def stop(self) -> None:
        """Kill the process if it still runs, and wait for the reader to end."""
        self._stopped.set()
        end_process(self._process, patience=0.0)
        self._thread.join()
        if self._process.stdin is not None:
            self._process.stdin.close()

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
                cause = f"PBRfit cannot read what the windowless Blender has made: {error}."
                self._finished.put(PbrFitError(cause, "Make room in the temporary directory and try again."))
        finally:
            output.close()
        status = self._process.wait()
        if not done and not self._stopped.is_set():
            cause = f"The windowless Blender ended with status {status}."
            tail = log_tail(self._log)
            cause += f"{LAST_WORDS}\n{tail}\n" if tail else ""
            self._finished.put(BlenderDied(cause, "Check that Cycles can render this file: press F12."))

    def _hand_over(self, entry: dict[str, Any]) -> None:
        if "error" in entry:
            kind = BlenderDied if entry["error"].get("gpu") else PbrFitError
            self._finished.put(kind(entry["error"]["cause"], entry["error"]["cure"]))
            return
        for item in self._read_line(entry):
            self._finished.put(item)
