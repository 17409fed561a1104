# SPDX-License-Identifier: GPL-3.0-or-later
"""What all viewports of the preview share: the GPU's textures, prepared lights, connections to the backend, and a timer.

The timer runs while a viewport shows the preview. It takes in what the backend sends and has viewports drawn anew: when
a frame, a light or maps of a running fit have come, and when a view that stands still can be refined.
"""

from __future__ import annotations

import contextlib
import time
import weakref
from collections import OrderedDict
from collections.abc import Hashable
from typing import TYPE_CHECKING

import bpy

from . import session
from .backend_process import local_backend_runs
from .engine_settings import BACKEND, preview_regions, redraw_previews
from .errors import PbrFitError
from .gl_preview import GlPreview
from .operators import redraw_sidebars
from .preferences import addon_preferences
from .preview_backend import PreviewBackend
from .preview_light import keep_light, kept_light, worlds
from .preview_scene import Environment, PreviewScene, description
from .protocol import preview_events as events

if TYPE_CHECKING:
    from .engine_viewport import Viewport

TICK_SECONDS = 0.02
CONNECT = 'Press "Connect Again" in the tab PBRfit.'
# Without a viewport that shows the preview, connections and textures are kept for so long.
KEPT_SECONDS = 10.0
LIGHTS_KEPT = 4
# A backend that was lost and runs again is not asked before so long.
AGAIN_SECONDS = 3.0
SOFTWARE_RENDERERS = ("llvmpipe", "softpipe", "swiftshader", "software")


class PreviewHub:
    """See above. Use it from Blender's main thread."""

    def __init__(self) -> None:
        self.viewports: weakref.WeakSet[Viewport] = weakref.WeakSet()
        self.trouble: PbrFitError | None = None  # with the connection
        self.refusal: PbrFitError | None = None  # of a scene, a frame or a light
        self._drawing: GlPreview | None = None
        self._backends: dict[str, PreviewBackend] = {}
        self._scenes: dict[str, Hashable] = {}
        self._lights: OrderedDict[str, events.PreparedLight] = OrderedDict()
        self._asked_lights: set[str] = set()
        self._lost_at = 0.0
        self._said: tuple = ()
        self._previews_seen: tuple = ()
        self._shown_at = time.monotonic()

    # Drawing ----------------------------------------------------------------------------------------------------

    @property
    def drawing(self) -> GlPreview:
        """What draws on Blender's own GPU; its textures are shared by all viewports."""
        if self._drawing is None:
            self._drawing = GlPreview()
        return self._drawing

    def joined(self, viewport: Viewport) -> None:
        """A viewport is being drawn: keep the timer running for it."""
        self.viewports.add(viewport)
        self._shown_at = time.monotonic()
        if not bpy.app.background and not bpy.app.timers.is_registered(tick):
            bpy.app.timers.register(tick, first_interval=TICK_SECONDS, persistent=True)

    # The light --------------------------------------------------------------------------------------------------

    def light(self, scene: PreviewScene) -> events.PreparedLight | None:
        """The prepared light of a scene; None while it is made, or where nothing can make it."""
        if scene.learned is not None:
            return scene.learned
        environment = scene.environment
        if environment is None:
            return None
        if environment.key not in self._lights:
            found = kept_light(environment.key)
            if found is None:
                self._ask_light(environment)
                return None
            self._take_light(found)
        self._lights.move_to_end(environment.key)
        return self._lights[environment.key]

    def _ask_light(self, environment: Environment) -> None:
        backend = self.backend("light")
        if backend is not None and backend.connected and environment.key not in self._asked_lights:
            self._asked_lights.add(environment.key)
            backend.client.request_light(environment.radiance)

    def _take_light(self, light: events.PreparedLight) -> None:
        self._asked_lights.discard(light.key)
        self._lights[light.key] = light
        while len(self._lights) > LIGHTS_KEPT:
            self._lights.popitem(last=False)

    # The backend ------------------------------------------------------------------------------------------------

    def backend(self, group: str) -> PreviewBackend | None:
        """The connection for viewports that show the same; started where there is none. None where it is lost."""
        if group not in self._backends and self.trouble is None:
            try:
                self._backends[group] = PreviewBackend(addon_preferences(bpy.context))
            except PbrFitError as error:
                self.lose(error)
        return self._backends.get(group)

    @property
    def can_stream(self) -> bool:
        """Whether nothing is known that keeps the backend from drawing."""
        return self.trouble is None and self.refusal is None

    def show(self, group: str, scene: PreviewScene) -> PreviewBackend | None:
        """The connection, once it has been given this scene to draw."""
        backend = self.backend(group)
        if backend is None or not backend.connected:
            return None
        content = content_of(scene)
        if self._scenes.get(group) != content:
            self._scenes[group] = content
            self.refusal = None
            backend.client.set_scene(*description(scene))
        return backend

    def lose(self, error: PbrFitError) -> None:
        """The backend is gone: say so, and draw without it."""
        self.trouble = error
        self._lost_at = time.monotonic()
        self.disconnect()

    def disconnect(self) -> None:
        """End all connections. The backend itself stays."""
        for backend in self._backends.values():
            backend.close()
        self._backends.clear()
        self._scenes.clear()
        self._asked_lights.clear()

    def connect_again(self) -> None:
        """Forget that the backend was lost: the next frame starts it, or connects to it."""
        self.disconnect()
        self.trouble = self.refusal = None
        for viewport in self.viewports:
            viewport.ask_again()

    def poll(self) -> None:
        """Take in what the backend has sent."""
        for group, backend in list(self._backends.items()):
            try:
                for event in backend.poll():
                    self._take(group, event)
            except PbrFitError as error:
                if backend.connected:
                    first, *_ = error.cause.splitlines()
                    error = PbrFitError(first.removesuffix(" Its last words:"), CONNECT)
                self.lose(error)
                self._redraw(list(self.viewports))
                return

    def _take(self, group: str, event: events.PreviewEvent) -> None:
        mine = [viewport for viewport in self.viewports if viewport.group == group]
        if isinstance(event, events.PreviewFrame):
            mine = [viewport for viewport in mine if viewport.name == event.viewport]
            for viewport in mine:
                viewport.take_frame(event)
        elif isinstance(event, events.PreparedLight):
            self._take_light(event)
            with contextlib.suppress(OSError):
                keep_light(event)
            mine = list(self.viewports)
        elif isinstance(event, events.MapsChanged | events.SceneReady):
            for viewport in mine:
                viewport.ask_again()
        elif isinstance(event, events.PreviewConnected):
            mine = list(self.viewports)
        elif isinstance(event, events.FrameFailed | events.PreviewFailed):
            self.refusal = PbrFitError(event.cause, event.cure)
            mine = list(self.viewports)
        self._redraw(mine)

    # The timer --------------------------------------------------------------------------------------------------

    def tick(self) -> bool:
        """Once in a while; false where it need not be called again."""
        now = time.monotonic()
        regions = {region.as_pointer() for _, region in preview_regions()}
        shown = [viewport for viewport in self.viewports if viewport.region in regions]
        if shown:
            self._shown_at = now
        elif now > self._shown_at + KEPT_SECONDS:
            self.free()
            return False
        if self.trouble is not None and local_backend_runs() and now > self._lost_at + AGAIN_SECONDS:
            self.connect_again()  # a fit has started it again
        self.poll()
        self._say()
        self._redraw([viewport for viewport in shown if viewport.wants_refining(now)])
        came = worlds().poll()
        current = session.current()
        seen = (id(current), current.maps.version, current.status.state) if current is not None else ()
        if came or seen != self._previews_seen:
            self._previews_seen = seen
            for viewport in shown:
                viewport.scene_changed()
            self._redraw(shown)
        return True

    def _say(self) -> None:
        """Have what is said drawn anew where it has changed, in the sidebars too."""
        scenes = {window.scene for window in bpy.context.window_manager.windows}
        said = (*(line for scene in scenes for line in self.lines(scene)), *self.notes())
        if said != self._said:
            self._said = said
            redraw_sidebars()
            redraw_previews()

    def _redraw(self, viewports: list[Viewport]) -> None:
        wanted = {viewport.region for viewport in viewports}
        for _, region in preview_regions():
            if region.as_pointer() in wanted:
                region.tag_redraw()

    def free(self) -> None:
        """Give up connections and everything on the GPU."""
        self.disconnect()
        for viewport in self.viewports:
            viewport.free()
        if self._drawing is not None:
            self._drawing.free()
            self._drawing = None
        self._lights.clear()

    # What it says -----------------------------------------------------------------------------------------------

    def lines(self, scene: bpy.types.Scene) -> list[tuple[str, str]]:
        """What is to be said of the backend and the light, each with an icon; INFO: in the panels alone."""
        said = []
        wants_backend = scene.pbrfit_preview.draw_with == BACKEND
        preparing = any(viewport.lacks_light for viewport in self.viewports)
        trouble = self.trouble or self.refusal
        if trouble is not None and (wants_backend or preparing):
            said.append((trouble.cause.splitlines()[0], "ERROR"))
            if wants_backend:
                said.append(("Blender's GPU draws meanwhile.", "NONE"))
            said.append((trouble.cure, "INFO"))
        elif preparing:
            said.append(("The light is being prepared.", "SORTTIME"))
        elif wants_backend and not any(backend.connected for backend in self._backends.values()):
            said.append(("Connecting to the backend.", "SORTTIME"))
        return said

    def notes(self) -> list[str]:
        """What is shown otherwise than Blender would."""
        return list({note: None for viewport in self.viewports for note in viewport.notes})


def content_of(scene: PreviewScene) -> Hashable:
    """Equal for scenes that the backend is told of alike: maps in the making it has itself."""
    parts = tuple((part.key, part.matrix.tobytes(), part.fallback or part.look, part.job) for part in scene.parts)
    return parts, scene.environment, scene.light_job


_hub: PreviewHub | None = None


def hub() -> PreviewHub:
    """The one of this Blender, made when it is first asked for."""
    global _hub
    if _hub is None:
        _hub = PreviewHub()
    return _hub


def tick() -> float | None:
    """Blender's timer; None ends it."""
    return TICK_SECONDS if _hub is not None and _hub.tick() else None


def viewport_of(region: bpy.types.Region) -> Viewport | None:
    """The viewport that is drawn in a region; None where that does not show the preview."""
    if _hub is None or region.as_pointer() not in {shown.as_pointer() for _, shown in preview_regions()}:
        return None
    return next((viewport for viewport in _hub.viewports if viewport.region == region.as_pointer()), None)


def can_connect() -> bool:
    """Whether the backend is lost, so that connecting again makes sense."""
    return _hub is not None and (_hub.trouble or _hub.refusal) is not None


def connect_again() -> None:
    """Forget that the backend was lost: the next frame starts it, or connects to it."""
    if _hub is not None:
        _hub.connect_again()


def lines(scene: bpy.types.Scene) -> list[tuple[str, str]]:
    """What is to be said of the backend and the light, each with an icon; INFO: in the panels alone."""
    return _hub.lines(scene) if _hub is not None else []


def notes() -> list[str]:
    """What is shown otherwise than Blender would."""
    return _hub.notes() if _hub is not None else []


def is_software_renderer() -> bool:
    """Whether there is no GPU and the processor draws: too slow for large frames while the view moves."""
    import gpu

    return any(name in gpu.platform.renderer_get().lower() for name in SOFTWARE_RENDERERS)


def close_hub() -> None:
    """End the timer, the connections and everything on the GPU."""
    global _hub
    if bpy.app.timers.is_registered(tick):
        bpy.app.timers.unregister(tick)
    if _hub is not None:
        _hub.free()
        _hub = None


def register() -> None:
    """Nothing runs before a viewport is drawn."""


def unregister() -> None:
    """Leave nothing behind."""
    close_hub()
