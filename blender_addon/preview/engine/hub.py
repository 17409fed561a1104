# SPDX-License-Identifier: GPL-3.0-or-later
"""What all viewports of the preview share: the GPU's textures, prepared lights, connections to the backend, and a timer.

The timer runs while a viewport shows the preview. It takes in what the backend sends, and redraws viewports when a frame,
a light or live maps have come, and when a view that stands still can be refined.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Hashable, Iterable
from typing import Protocol

import bpy

from ...common.errors import PbrFitError, first_line
from ...common.redraw import redraw_sidebars
from ...protocol.client import preview_events as events
from ...session import session
from ...settings.preview import BACKEND, preview_regions, redraw_previews
from ..gl.renderer import GlPreview
from ..scene import meshes
from ..scene.baked_looks import baked_looks
from ..scene.images import small_pixels
from ..scene.light import ShownLight, worlds
from ..scene.scene import PreviewScene
from .backend import PreviewBackend
from .connections import BackendConnections
from .lights import PreparedLights

TICK_SECONDS = 0.02
# Keep connections and textures for this time when no viewport shows the preview.
KEPT_SECONDS = 10.0
SOFTWARE_RENDERERS = ("llvmpipe", "softpipe", "swiftshader", "software")


class ShownViewport(Protocol):
    """What the hub needs of a viewport (`viewport.Viewport`).

    name: of its frames; group: viewports of one group show the same scene; region: the pointer of the region it draws;
    lacks_light: whether its light is not prepared yet; label: what the picture is, if the artist must be told.
    """

    name: str
    group: str
    region: int
    lacks_light: bool
    label: str

    @property
    def notes(self) -> tuple[str, ...]:
        """How the picture differs from what Blender would show."""

    def take_frame(self, frame: events.PreviewFrame) -> None:
        """Take in a frame that this viewport asked the backend for."""

    def ask_again(self) -> None:
        """Note that there is something newer to show than the backend's last frame."""

    def scene_changed(self) -> None:
        """Note that the live maps have changed."""

    def wants_drawing(self, now: float) -> bool:
        """Whether another frame would show more, though nothing has changed."""

    def free(self) -> None:
        """Free what is on the GPU."""


class PreviewHub:
    """See above. For Blender's main thread."""

    def __init__(self) -> None:
        self.viewports: weakref.WeakSet[ShownViewport] = weakref.WeakSet()
        self.connections = BackendConnections()
        self._lights = PreparedLights(self.connections)
        self._drawing: GlPreview | None = None
        self._said: Hashable = ()
        self._seen: Hashable = ()
        self._shown_at = time.monotonic()

    @property
    def drawing(self) -> GlPreview:
        """The renderer on Blender's own GPU; all viewports share its textures."""
        if self._drawing is None:
            # Software takes a second for each texture that Blender makes of an image.
            self._drawing = GlPreview(small_pixels if is_software_renderer() else None)
        return self._drawing

    def joined(self, viewport: ShownViewport) -> None:
        """Note that a viewport is being drawn, and keep the timer running for it."""
        self.viewports.add(viewport)
        self._shown_at = time.monotonic()
        start_timer()

    def used(self) -> None:
        """Note that something else than a viewport of the preview uses this, so that nothing is freed."""
        self._shown_at = time.monotonic()

    def light(self, scene: PreviewScene) -> ShownLight | None:
        """The prepared light of a scene; None while the backend prepares it, or if nothing can prepare it."""
        return self._lights.of(scene)

    @property
    def can_stream(self) -> bool:
        """Whether the backend can draw, as far as known."""
        return self.connections.can_stream

    def show(self, group: str, scene: PreviewScene) -> PreviewBackend | None:
        """Give this scene to the connection of a group of viewports and return the connection; None while there is none."""
        return self.connections.show(group, scene)

    # Events -----------------------------------------------------------------------------------------------------

    def poll(self) -> None:
        """Take in what the backend has sent."""
        before = self.connections.trouble
        for group, event in self.connections.poll():
            self._redraw(self._take(group, event))
        if self.connections.trouble is not before:
            self._lights.forget_questions()
            self._redraw(self.viewports)

    def _take(self, group: str, event: events.PreviewEvent) -> Iterable[ShownViewport]:
        """Take in an event; returns the viewports that it changes."""
        of_group = [viewport for viewport in self.viewports if viewport.group == group]
        if isinstance(event, events.PreviewFrame):
            asking = [viewport for viewport in of_group if viewport.name == event.viewport]
            for viewport in asking:
                viewport.take_frame(event)
            return asking
        if isinstance(event, events.MapsChanged | events.SceneReady):
            for viewport in of_group:
                viewport.ask_again()
            return of_group
        if isinstance(event, events.PreparedLight):
            self._lights.take(event)
        elif isinstance(event, events.FrameFailed | events.PreviewFailed):
            self.connections.refusal = PbrFitError(event.cause, event.cure)
        return list(self.viewports)

    def connect_again(self) -> None:
        """Forget that the backend was lost: the next frame starts it or connects to it."""
        self.connections.forget_trouble()
        self._lights.forget_questions()
        for viewport in self.viewports:
            viewport.ask_again()

    # The timer --------------------------------------------------------------------------------------------------

    def tick(self) -> bool:
        """Do what is due now; False if there is no need to call it again."""
        now = time.monotonic()
        regions = {region.as_pointer() for _, region in preview_regions()}
        shown = [viewport for viewport in self.viewports if viewport.region in regions]
        if shown:
            self._shown_at = now
        elif now > self._shown_at + KEPT_SECONDS:
            self.free()
            return False
        if self.connections.can_try_again:
            self.connect_again()
        self.poll()
        self._say()
        self._redraw([viewport for viewport in shown if viewport.wants_drawing(now)])
        came = [worlds().poll(), meshes.poll(), baked_looks().poll()]
        current = session.current()
        seen = (id(current), current.maps.version, current.status.state) if current is not None else ()
        if any(came) or seen != self._seen:
            self._seen = seen
            for viewport in shown:
                viewport.scene_changed()
            self._redraw(shown)
        return True

    def _say(self) -> None:
        """Redraw viewports and sidebars if the `lines` or `notes` that they show have changed."""
        scenes = {window.scene for window in bpy.context.window_manager.windows}
        said = (*(line for scene in scenes for line in self.lines(scene)), *self.notes())
        if said != self._said:
            self._said = said
            redraw_sidebars()
            redraw_previews()

    def _redraw(self, viewports: Iterable[ShownViewport]) -> None:
        wanted = {viewport.region for viewport in viewports}
        for _, region in preview_regions():
            if region.as_pointer() in wanted:
                region.tag_redraw()

    def free(self) -> None:
        """End the connections, and free everything on the GPU."""
        self.connections.disconnect()
        self._lights.forget_questions()
        for viewport in self.viewports:
            viewport.free()
        if self._drawing is not None:
            self._drawing.free()
            self._drawing = None
        self._lights.free()
        meshes.forget()

    # What it says -----------------------------------------------------------------------------------------------

    def lines(self, scene: bpy.types.Scene) -> list[tuple[str, str]]:
        """Status lines about the backend and the light, each with an icon; those with INFO are only for panels."""
        said = []
        wants_backend = scene.pbrfit_preview.draw_with == BACKEND
        preparing = any(viewport.lacks_light for viewport in self.viewports)
        trouble = self.connections.trouble or self.connections.refusal
        if trouble is not None and (wants_backend or preparing):
            said.append((trouble.cause.splitlines()[0], "ERROR"))
            if wants_backend:
                said.append(("Blender's GPU draws meanwhile.", "NONE"))
            said.append((trouble.cure, "INFO"))
        elif preparing:
            said.append((self.connections.waiting or "The light is being prepared.", "SORTTIME"))
        elif wants_backend and not self.connections.any_connected:
            said.append((self.connections.waiting, "SORTTIME"))
        return said

    def lack_of_light(self) -> list[str]:
        """Why a light that was asked for is not there, in sentences: what is waited for, or the trouble and its cure."""
        trouble = self.connections.trouble or self.connections.refusal
        if trouble is not None:
            return [first_line(trouble.cause), trouble.cure]
        return [self.connections.waiting or "The light is being prepared."]

    def notes(self) -> list[str]:
        """How the picture differs from what Blender would show."""
        return list({note: None for viewport in self.viewports for note in viewport.notes})


_hub: PreviewHub | None = None


def hub() -> PreviewHub:
    """The only one of this Blender; created on first use."""
    global _hub
    if _hub is None:
        _hub = PreviewHub()
    return _hub


def tick() -> float | None:
    """Blender's timer; None ends it."""
    return TICK_SECONDS if _hub is not None and _hub.tick() else None


def start_timer() -> None:
    """Call `tick` from now on, until nothing has been shown for a while and everything is freed."""
    if not bpy.app.background and not bpy.app.timers.is_registered(tick):
        bpy.app.timers.register(tick, first_interval=TICK_SECONDS, persistent=True)


def viewport_of(region: bpy.types.Region) -> ShownViewport | None:
    """The viewport in a region; None if the region does not show the preview."""
    if _hub is None or region.as_pointer() not in {shown.as_pointer() for _, shown in preview_regions()}:
        return None
    return next((viewport for viewport in _hub.viewports if viewport.region == region.as_pointer()), None)


def can_connect() -> bool:
    """Whether the backend is lost, so that connecting again makes sense."""
    return _hub is not None and not _hub.can_stream


def connect_again() -> None:
    """Forget that the backend was lost: the next frame starts it or connects to it."""
    if _hub is not None:
        _hub.connect_again()


def lines(scene: bpy.types.Scene) -> list[tuple[str, str]]:
    """Status lines about the backend and the light, each with an icon; those with INFO are only for panels."""
    return _hub.lines(scene) if _hub is not None else []


def notes() -> list[str]:
    """How the picture differs from what Blender would show."""
    return _hub.notes() if _hub is not None else []


def is_software_renderer() -> bool:
    """Whether the processor draws because there is no GPU: too slow for large frames while the view moves."""
    import gpu  # late: without a window some Blenders have none before the first render

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
    """Do nothing: nothing runs before a viewport is drawn."""


def unregister() -> None:
    """Leave nothing behind."""
    close_hub()
