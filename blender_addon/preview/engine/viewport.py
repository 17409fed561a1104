# SPDX-License-Identifier: GPL-3.0-or-later
"""One region of a 3D view in Rendered shading: collects what it shows, draws it or takes the backend's frames.

While the view moves, a pixel has one sample; if the pixels come from the backend or there is no GPU, there are also only a
quarter as many. Once the view stands still, it is refined in steps. Nothing here waits for the backend.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Hashable
from dataclasses import dataclass, replace

import bpy
import gpu
import numpy as np
from gpu_extras.presets import draw_texture_2d
from numpy.typing import NDArray

from ...protocol.client.preview_events import PreviewFrame
from ...protocol.frames import FrameRequest
from ...settings.preview import BACKEND, CHANNELS, SAMPLES, SHADED
from ..gl.targets import KeptImage, texture_of_frame
from ..scene.cameras import ImageCamera, Window, viewport_camera
from ..scene.collector import PreviewCollector
from ..scene.light import ShownLight
from ..scene.scene import PreviewScene
from .hub import hub, is_software_renderer
from .references import NearestReference

# A view that has not changed for this time stands still.
STILL_SECONDS = 0.15
# Without a GPU, more samples would block Blender for seconds.
SOFTWARE_SAMPLES = 2
LAYERS = 4
# A frame makes new things on the GPU for so long; the rest comes with the next frames, between which Blender reacts.
PATIENCE_SECONDS = 0.03

_names = itertools.count(1)
_numbers = itertools.count(1)


@dataclass(frozen=True)
class _Asked:
    """What a frame of the backend was asked for. Blender's GPU draws the light behind it, so that it need not travel."""

    camera: ImageCamera
    channel: str
    background: str


class Viewport:
    """What a render engine keeps for its region between frames. For Blender's main thread."""

    def __init__(self) -> None:
        self.name = f"viewport {next(_names)}"
        self.group = ""
        self.region = 0
        self.lacks_light = False
        self.label = ""
        self.drawn = self.collected = 0  # how often; for measurements
        self._collector = PreviewCollector()
        self._scene: PreviewScene | None = None
        self._is_current = False
        self._seen: tuple[Hashable, ...] | None = None
        self._changed_at = 0.0
        self._level = 0
        self._levels: list[tuple[int, int]] = [(1, 1)]
        self._kept: KeptImage | None = None
        self._kept_key: Hashable = None
        self._is_complete = True
        self._frame: PreviewFrame | None = None
        self._frame_asked: _Asked | None = None
        self._frame_image: KeptImage | None = None
        self._frame_is_drawn = False
        self._streams = False
        self._asked: Hashable = None
        self._waiting: dict[int, _Asked] = {}
        self._reference = NearestReference()

    # What Blender and the hub report ----------------------------------------------------------------------------

    def update(self, depsgraph: bpy.types.Depsgraph) -> None:
        """Take in that the scene has changed."""
        self._collector.note_updates(depsgraph)
        self._is_current = False

    def scene_changed(self) -> None:
        """Note that the live maps have changed: collect the scene again."""
        self._is_current = False

    def take_frame(self, frame: PreviewFrame) -> None:
        """Take in a frame of the backend; the next `draw` shows it."""
        asked = self._waiting.pop(frame.number, None)
        if asked is not None:
            self._frame, self._frame_asked, self._frame_is_drawn = frame, asked, False
        self._waiting = {number: value for number, value in self._waiting.items() if number > frame.number}

    def ask_again(self) -> None:
        """Note that there is something newer to show than the backend's last frame."""
        self._asked = None

    def wants_drawing(self, now: float) -> bool:
        """Whether another frame would show more, though nothing has changed."""
        return not self._is_complete or self.wants_refining(now)

    def wants_refining(self, now: float) -> bool:
        """Whether the view stands still and can be drawn more finely. Never while the backend still draws a frame, or while
        something is still to come to the GPU."""
        if not self._is_complete:
            return False
        if self._streams and self._waiting and hub().can_stream:
            return False
        return self._level + 1 < len(self._levels) and now > self._changed_at + STILL_SECONDS

    @property
    def notes(self) -> tuple[str, ...]:
        """How the picture differs from what Blender would show."""
        return self._scene.notes if self._scene is not None else ()

    def free(self) -> None:
        """Free what is on the GPU."""
        self._kept = self._kept_key = self._frame = self._frame_image = self._asked = None
        self._is_complete = True
        self._frame_is_drawn = False
        self._reference.free()

    # Drawing ----------------------------------------------------------------------------------------------------

    def draw(self, engine: bpy.types.RenderEngine, context: bpy.types.Context, depsgraph: bpy.types.Depsgraph) -> None:
        """Draw the region."""
        framebuffer = gpu.state.active_framebuffer_get()
        self.region = context.region.as_pointer()
        hub().joined(self)
        scene = depsgraph.scene
        camera = viewport_camera(context, scene)
        if camera is None:
            return
        shown = self._scene
        if not self._is_current or shown is None:
            shown = self._scene = self._collector.collect(depsgraph, context.space_data)
            self._is_current = True
            self.collected += 1
        space = context.space_data
        self.group = f"{scene.session_uid} {context.view_layer.name} {space.as_pointer() if space.local_view else 0}"
        settings = scene.pbrfit_preview
        self.lacks_light, self.label = False, ""
        if settings.show in CHANNELS:
            texture, window = self._picture(scene, shown, camera)
        else:
            self._is_complete = True
            texture, window, self.label = self._reference.picture(
                settings.show, shown, self._light(shown), camera, (context.region.width, context.region.height)
            )
        if texture is None:
            return
        self.drawn += 1
        texture = hub().drawing.in_scene_linear(texture)
        # Bind Blender's framebuffer again: drawing into other images unbinds it.
        with framebuffer.bind():
            blend = gpu.state.blend_get()
            gpu.state.blend_set("ALPHA_PREMULT")
            engine.bind_display_space_shader(depsgraph.scene_eval)
            draw_texture_2d(texture, (window.x, window.y), window.width, window.height)
            engine.unbind_display_space_shader()
            gpu.state.blend_set(blend)

    def _light(self, shown: PreviewScene) -> ShownLight | None:
        light = hub().light(shown)
        self.lacks_light = light is None and bool(shown.parts)
        return light

    def _picture(
        self, scene: bpy.types.Scene, shown: PreviewScene, camera: ImageCamera
    ) -> tuple[gpu.types.GPUTexture | None, Window]:
        """The texture that shows the scene through the camera, and its place in the region."""
        settings = scene.pbrfit_preview
        channel = CHANNELS[settings.show]
        background = "light" if settings.show == SHADED and not scene.render.film_transparent else "none"
        by_backend = settings.draw_with == BACKEND
        self._note_view(camera, (channel, background, by_backend, id(shown)), settings, by_backend)
        if by_backend:
            self._ask_backend(shown, camera, channel, background)
            asked = self._frame_asked
            if (
                self._frame is not None
                and asked is not None
                and hub().can_stream
                and (asked.channel, asked.background) == (channel, background)
            ):
                self._is_complete = True
                return self._framed(shown, self._frame, asked), asked.camera.window
        light = self._light(shown)
        share, spp = self._levels[self._level]
        key = (camera.signature, channel, background, share, spp, id(shown), light.key if light else "")
        if self._kept is None or self._kept_key != key or not self._is_complete:
            size, drawing = shared_size(camera.size, share), hub().drawing
            image = drawing.draw(
                shown, light, camera.view, camera.projection, size, channel, spp, background, PATIENCE_SECONDS
            )
            self._is_complete = drawing.is_complete
            if self._kept is None or self._kept.size != size:
                self._kept = KeptImage(size)
            self._kept.take(image.texture_color)
            self._kept_key = key
        return self._kept.texture, camera.window

    def _framed(self, shown: PreviewScene, frame: PreviewFrame, asked: _Asked) -> gpu.types.GPUTexture:
        """The backend's frame, over the light if the background shows it; put together once."""
        light = self._light(shown) if asked.background == "light" else None
        if self._frame_is_drawn and self._frame_image is not None:
            return self._frame_image.texture
        size = (frame.width, frame.height)
        if self._frame_image is None or self._frame_image.size != size:
            self._frame_image = KeptImage(size)
        sky = None
        if light is not None:
            camera, nothing = asked.camera, replace(shown, parts=())
            sky = hub().drawing.draw(nothing, light, camera.view, camera.projection, size, background="light")
        self._frame_image.take(sky.texture_color if sky is not None else None)
        top, left, height, _ = frame.rect
        if frame.rows.size:
            self._frame_image.lay_over(texture_of_frame(frame.rows), left, frame.height - top - height)
        # If the light behind it is still missing, draw it again once the light is there.
        self._frame_is_drawn = light is not None or asked.background == "none"
        return self._frame_image.texture

    def _note_view(
        self,
        camera: ImageCamera,
        content: tuple[Hashable, ...],
        settings: bpy.types.PropertyGroup,
        by_backend: bool,
    ) -> None:
        """Start coarsely if something has changed; go on to the next step if not."""
        now = time.monotonic()
        self._streams = by_backend
        finest = SAMPLES[settings.viewport_samples]
        software = is_software_renderer()
        if software and not by_backend:
            finest = min(finest, SOFTWARE_SAMPLES)
        steps = [(1, spp) for spp in (1, 2, 4) if spp <= finest]
        self._levels = [(2, 1), *steps] if by_backend or software else steps
        seen = (camera.signature, *content)
        if seen != self._seen:
            moved = self._seen is not None and camera.signature != self._seen[0]
            self._seen, self._changed_at = seen, now
            # New maps and lights must not make a view coarse that stands still.
            first_full = 1 if self._levels[0][0] > 1 else 0
            self._level = 0 if moved else min(first_full, len(self._levels) - 1)
        elif self.wants_refining(now):
            self._level += 1
            self._changed_at = now
        self._level = min(self._level, len(self._levels) - 1)

    def _ask_backend(self, shown: PreviewScene, camera: ImageCamera, channel: str, background: str) -> None:
        """Ask for the frame that is wanted now, if that was not done yet."""
        backend = hub().show(self.group, shown)
        if backend is None:
            self._asked = None
            return
        share, spp = self._levels[self._level]
        wanted = (camera.signature, channel, background, share, spp, id(shown))
        if self._asked == wanted:
            return
        self._asked = wanted
        number = next(_numbers)
        self._waiting[number] = _Asked(camera, channel, background)
        width, height = shared_size(camera.size, share)
        backend.client.request_frame(
            FrameRequest(
                viewport=self.name,
                number=number,
                view=as_rows(camera.view),
                projection=as_rows(camera.projection),
                width=width,
                height=height,
                spp=spp,
                channel=channel,
                layers=LAYERS,
            )
        )


def shared_size(size: tuple[int, int], share: int) -> tuple[int, int]:
    """Width and height of an image with one pixel for every `share` pixels along each side, rounded up."""
    return max(1, -(-size[0] // share)), max(1, -(-size[1] // share))


def as_rows(matrix: NDArray[np.float64]) -> tuple[tuple[float, ...], ...]:
    """A matrix as rows of numbers."""
    return tuple(tuple(float(value) for value in row) for row in matrix)
