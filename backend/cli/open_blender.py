"""One Blender that carries out several requests, one after the other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from backend.cli.blender_task import Blender, BlenderTask, addon_file

SCRIPT = "command_line/drive_several.py"
MOST_REQUESTS = 40
"""After so many a Blender is replaced: what one leaves in memory does not add up over a long batch."""


class OpenBlender:
    """A `Host` whose Blender stays for the next request. It starts with the first one, and again after any error and after
    MOST_REQUESTS: so no request suffers from what another one left."""

    def __init__(self, blender: Blender, work: Path, extension: Path, setup: dict[str, Any]) -> None:
        """work: a folder that the caller removes; extension: of `build_extension`; setup: further values of each request."""
        self.blender = blender
        self.work = work
        self._setup = {"extension": str(extension), **setup}
        self._task: BlenderTask | None = None
        self._count = 0

    def events(self, instructions: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Carry out a request of drive_several.py. Yields its events; raises CommandError as they do."""
        self._count += 1
        path = self.work / f"request-{self._count}.json"
        path.write_text(json.dumps(instructions | self._setup), encoding="utf-8")
        if self._count % MOST_REQUESTS == 0:
            self.close()
        try:
            if self._task is None:
                self._task = BlenderTask(self.blender, addon_file(SCRIPT), path, self.work)
            self._task.send(str(path))
            yield from self._task.events()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End its Blender."""
        task, self._task = self._task, None
        if task is not None:
            task.end()
