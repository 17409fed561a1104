# SPDX-License-Identifier: GPL-3.0-or-later
"""The world's light for the preview, and prepared lights kept on disk, so that the GPU can draw without a backend.

Simple worlds are read directly. A second Blender in the background renders any other world to an image; until that is
there, the last light stays. The backend prepares (prefilters) a light. The result is kept in the extension's own folder
of the user, under the hash of the light, so each light is prepared once.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import tempfile
import time
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, NamedTuple

import bpy
import numpy as np
from numpy.typing import NDArray

from ...common.errors import PbrFitError
from ...common.main_thread import in_main_thread
from ...common.package import ADDON
from ...export.world import RENDERED_SIZE, SimpleWorld, constant_world, simple_world
from ...protocol.client.events import LightPreview
from ...protocol.client.preview_events import PreparedLight
from ...protocol.wire import content_hash
from ...references.process import EnvironmentRendered, ReferenceRenderer
from .images import image_changes
from .scene import Environment

CONSTANT_SIZE = (32, 64)
SETTLED_SECONDS = 0.5  # render a world once it has not changed for this time
ENVIRONMENTS_KEPT = 4
LIGHTS_KEPT = 16
LIGHTS_FOLDER = "lights-1"  # use another number when lights are prepared in another way
POLL_SECONDS = 0.05

ShownLight = PreparedLight | LightPreview
"""The light of the world as the backend prepared it, or the light that a running fit learns."""


def environment_of(radiance: NDArray[Any]) -> Environment:
    """Radiance float32 [H, W, 3] with its name."""
    radiance = np.ascontiguousarray(radiance, dtype=np.float32)
    return Environment(content_hash(radiance), radiance)


# The world ----------------------------------------------------------------------------------------------------------


class _WantedWorld(NamedTuple):
    """A world to render: its state, its number (session_uid), and when it was first asked for, monotonic seconds."""

    state: Hashable
    uid: int
    since: float


class WorldLights:
    """The light of the open file's worlds. For the main thread; a timer calls `poll`."""

    def __init__(self) -> None:
        self._rendering: Hashable = None
        self._renderer: ReferenceRenderer | None = None
        self._folder: Path | None = None
        self._forget()

    def _forget(self) -> None:
        self.error: PbrFitError | None = None
        self._known: OrderedDict[Hashable, Environment | None] = OrderedDict()
        self._changes: dict[int, int] = {}
        self._shown: dict[int, Environment] = {}
        self._wanted: _WantedWorld | None = None

    def note_change(self, changed: bpy.types.ID) -> None:
        """Take in that a world, node tree or image of the file has changed."""
        trees = {world.node_tree: world for world in bpy.data.worlds if world.node_tree is not None}
        if isinstance(changed, bpy.types.World):
            worlds = [changed]
        elif changed in trees:
            worlds = [trees[changed]]
        else:
            worlds = [] if changed.is_embedded_data else list(bpy.data.worlds)
        for world in worlds:
            self._changes[world.session_uid] = self._changes.get(world.session_uid, 0) + 1

    def environment(self, world: bpy.types.World | None) -> Environment | None:
        """A world's light, black without a world; while it is rendered, the world's last light; None if there is none yet.

        world: of the file; evaluated if it is animated.
        """
        uid = world.original.session_uid if world is not None else 0
        simple, constant = simple_world(world), constant_world(world)
        if constant is not None:
            state: Hashable = constant
        elif simple is not None:
            state = (simple.state, image_changes(simple.image))
        else:
            state = (uid, self._changes.get(uid, 0))
        if state not in self._known:
            self._find(state, uid, simple, constant)
        known = self._known.get(state)
        if known is not None:
            self._known.move_to_end(state)
            self._shown[uid] = known
        return self._shown.get(uid)

    @property
    def waiting(self) -> bool:
        """Whether a second Blender renders the light of a world, or will."""
        return self._wanted is not None or self._renderer is not None

    def _find(
        self, state: Hashable, uid: int, simple: SimpleWorld | None, constant: tuple[float, float, float] | None
    ) -> None:
        if constant is not None:
            self._keep(state, np.broadcast_to(np.array(constant, dtype=np.float32), (*CONSTANT_SIZE, 3)))
            return
        radiance = simple.radiance() if simple is not None else None
        if radiance is not None:
            self._keep(state, radiance)
        elif self._rendering != state and (self._wanted is None or self._wanted.state != state):
            self._wanted = _WantedWorld(state, uid, time.monotonic())

    def _keep(self, state: Hashable, radiance: NDArray[Any] | None) -> None:
        self._known[state] = environment_of(radiance) if radiance is not None else None
        while len(self._known) > ENVIRONMENTS_KEPT:
            self._known.popitem(last=False)

    def poll(self) -> bool:
        """Go on with rendering a world, if there is one to render; return whether a light has come. Never waits."""
        came = False
        if self._renderer is not None and self._wanted is not None:
            self._stop()  # the world has changed
        if self._renderer is not None:
            try:
                finished = self._renderer.poll()
            except PbrFitError as error:
                self.error = error
                self._keep(self._rendering, None)  # not again until the world changes
                self._stop()
                return True
            for item in finished:
                if isinstance(item, EnvironmentRendered):
                    self._keep(self._rendering, np.nan_to_num(item.radiance, posinf=0.0, neginf=0.0))
                    self.error = None
                    came = True
            if came:
                self._stop()
        elif self._wanted is not None and time.monotonic() - self._wanted.since >= SETTLED_SECONDS:
            state, uid, _ = self._wanted
            self._wanted = None
            world = next((item for item in bpy.data.worlds if item.session_uid == uid), None)
            if world is not None:
                self._start(state, world)
        return came

    def finish(self, world: bpy.types.World | None, stopped: Callable[[], bool] = lambda: False) -> Environment | None:
        """Wait for the light of a world as it is now, or until `stopped`; for final renders. Raises PbrFitError."""
        found = self.environment(world)
        if self._wanted is not None:
            self._wanted = self._wanted._replace(since=0.0)
        while self.waiting and not stopped():
            in_main_thread(self.poll)  # it writes a file
            time.sleep(POLL_SECONDS)
        if self.error is not None:
            raise self.error
        return self.environment(world) or found

    def _start(self, state: Hashable, world: bpy.types.World) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="pbrfit_world_", dir=bpy.app.tempdir or None))
        copy = self._folder / "world.blend"
        plan = {
            "blend": str(copy),
            "world": world.name,
            "output": str(self._folder),
            "environment": list(RENDERED_SIZE),
            "views": [],
        }
        self._rendering = state
        try:
            # Only the world, with what it needs: the file may be large.
            bpy.data.libraries.write(str(copy), {world}, path_remap="ABSOLUTE", fake_user=True)
            self._renderer = ReferenceRenderer(plan, self._folder)
        except (OSError, RuntimeError, PbrFitError) as error:
            if isinstance(error, PbrFitError):
                self.error = error
            else:
                cause = f"PBRfit could not save a copy of the world for rendering: {error}."
                self.error = PbrFitError(cause, "Make room in the temporary directory.")
            self._keep(state, None)
            self._stop()

    def _stop(self) -> None:
        if self._renderer is not None:
            self._renderer.stop()
            self._renderer = None
        self._rendering = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def close(self) -> None:
        """End what runs, and forget everything."""
        self._stop()
        self._forget()


_worlds = WorldLights()


def worlds() -> WorldLights:
    """The lights of the open file's worlds."""
    return _worlds


# Prepared lights on disk --------------------------------------------------------------------------------------------


def lights_folder(create: bool = False) -> Path | None:
    """Where prepared lights are kept, in the user's folder of the extension; None if there is no such folder."""
    try:
        return Path(bpy.utils.extension_path_user(ADDON, path=LIGHTS_FOLDER, create=create))
    except (ValueError, OSError):
        return None


def kept_light(key: str) -> PreparedLight | None:
    """A prepared light from disk, or None."""
    folder = lights_folder()
    path = folder / f"{key}.npz" if folder is not None else None
    if path is None or not path.is_file():
        return None
    try:
        with np.load(path) as stored:
            light = PreparedLight(
                key=key,
                atlas=stored["atlas"],
                irradiance=stored["irradiance"],
                places=tuple((int(side), int(row), int(column)) for side, row, column in stored["places"]),
                roughnesses=tuple(float(value) for value in stored["roughnesses"]),
            )
        os.utime(path)  # the lights used last are kept
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        with contextlib.suppress(OSError):
            path.unlink()
        return None
    return light


def keep_light(light: PreparedLight) -> None:
    """Keep a prepared light on disk; the sixteen files used last stay. Raises OSError if it cannot be written."""
    folder = lights_folder(create=True)
    if folder is None:
        return
    part = folder / f"{light.key}.{os.getpid()}.{next(_parts)}.part"
    try:
        with open(part, "wb") as file:
            np.savez(
                file,
                atlas=light.atlas,
                irradiance=light.irradiance,
                places=np.array(light.places, dtype=np.int64),
                roughnesses=np.array(light.roughnesses, dtype=np.float64),
            )
        part.replace(folder / f"{light.key}.npz")
    finally:
        part.unlink(missing_ok=True)
    kept = sorted(folder.glob("*.npz"), key=modified, reverse=True)
    for path in kept[LIGHTS_KEPT:]:
        with contextlib.suppress(OSError):  # another Blender may read it
            path.unlink()


def modified(path: Path) -> float:
    """When a file was last used; 0 if another Blender has removed it."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


_parts = itertools.count()


def register() -> None:
    """Do nothing: nothing runs before a world is shown."""


def unregister() -> None:
    """End what runs."""
    _worlds.close()
