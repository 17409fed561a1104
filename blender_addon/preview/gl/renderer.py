# SPDX-License-Identifier: GPL-3.0-or-later
"""Draw the preview (split-sum) on Blender's own GPU: the same picture as the backend's, without a backend.

Needs an active GPU context: in a viewport, in `RenderEngine.render` of an engine with `bl_use_gpu_context`, or after
`gpu.init()`. One thing is approximate: through a surface with alpha only surfaces show that were drawn before it.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from functools import partial
from typing import Any

import gpu
import numpy as np
from numpy.typing import NDArray

from ...common.color_spaces import is_rec709, scene_linear_from_rec709
from ...protocol.frames import NO_DEPTH
from .drawn import DrawnLight, DrawnPart, DrawnScene
from .image import GlImage
from .kept import Kept, Patience
from .looks import WAITING, Looks, PixelsOf, ShownLook, numbers_of
from .mesh import mesh_batch, square_batch
from .shader import UniformBlock, compiled
from .sources import (
    CHANNELS,
    LookPlan,
    ShaderSource,
    mean_source,
    recolored_source,
    sky_source,
    surface_source,
)
from .textures import GlLight, even_light, light_texture, table_texture
from .values import frame_values, part_values, window

LARGEST_SCRATCH = 4096  # samples along a side of the image that holds several samples for each pixel
FRAMES_KEPT = 64  # a mesh that no frame needed for so many frames is freed
UPLOADS_KEPT = 6  # the same for live maps and lights, of which new ones may come with every frame


@contextlib.contextmanager
def drawing_state() -> Iterator[None]:
    """Restore the GPU's state that drawing changes."""
    blend, mask, test = gpu.state.blend_get(), gpu.state.depth_mask_get(), gpu.state.depth_test_get()
    try:
        gpu.state.face_culling_set("NONE")
        gpu.state.front_facing_set(False)
        yield
    finally:
        gpu.state.blend_set(blend)
        gpu.state.depth_mask_set(mask)
        gpu.state.depth_test_set(test)
        # Bind a shader that is never freed: Blender 5.2 binds the last one again, even if it was freed, and crashes.
        gpu.shader.from_builtin("UNIFORM_COLOR").bind()


class GlPreview:
    """Draws scenes. It keeps everything on the GPU between frames, by its key. Use it from one thread."""

    def __init__(self, pixels_of: PixelsOf | None = None) -> None:
        """pixels_of: the pixels of an image of the file, uint8 or float32 [h, w, 4], row 0 at the top, to use in place of the
        texture that Blender makes of it; None for an image: Blender's."""
        self._pixels_of = pixels_of
        self.free()

    def free(self) -> None:
        """Free everything on the GPU; the next frame creates it again."""
        self._frame = 0
        self._meshes: Kept[gpu.types.GPUBatch | None] = Kept()
        self._looks = Looks(self._pixels_of)
        self._lights: Kept[GlLight] = Kept()
        self._shaders: dict[Hashable, gpu.types.GPUShader] = {}
        self._images: OrderedDict[tuple[str, tuple[int, int], str], GlImage] = OrderedDict()
        self._frame_block = UniformBlock()
        self._part_blocks: list[UniformBlock] = []
        self._fixed: dict[str, Any] = {}
        self._patience = Patience()

    def draw(
        self,
        scene: DrawnScene,
        light: DrawnLight | None,
        view: NDArray[Any],
        projection: NDArray[Any],
        size: tuple[int, int],
        channel: str = "shaded",
        spp: int = 1,
        background: str = "none",
        patience: float | None = None,
    ) -> GlImage:
        """Draw a scene under a light (None: an even light) and return the image.

        view, projection  [4, 4], renderer's axes, column vectors, the projection with y flipped
        size              (width, height)
        channel           of CHANNELS; "depth" is the distance along the camera's axis, `NO_DEPTH` where nothing is
        spp               samples along a pixel's side
        background        "light": the light behind everything, and alpha 1; "none"
        patience          seconds after which what is not on the GPU yet waits for the next frame (see `is_complete`): a look
                          is then drawn as it was before, or gray; None: everything is drawn

        The image is RGBA16F (RGBA32F for depth), linear Rec.709, premultiplied, at most 65504. Its first row
        is the picture's lowest, as in Blender's own images. The next frame of this size overwrites it.
        Raises ValueError for an unknown channel or background.
        """
        if channel not in CHANNELS or background not in ("none", "light"):
            raise ValueError(f"there is no channel {channel!r} or no background {background!r}: {', '.join(CHANNELS)}")
        self._frame += 1
        self._looks.begin_frame()
        self._patience.begin(patience)
        spp = 1 if channel == "depth" else spp
        behind = background == "light" and light is not None and channel != "depth"
        image_format = "RGBA32F" if channel == "depth" else "RGBA16F"
        image = self._image("image", size, image_format)
        lit = self._light(light)
        edge = max(1, min(LARGEST_SCRATCH, gpu.capabilities.max_texture_size_get()) // spp)
        with drawing_state():
            if spp == 1:
                self._draw_tile(image, scene, lit, view, projection, size, (0, 0, *size), channel, 1, behind)
            else:
                for top in range(0, size[1], edge):
                    for left in range(0, size[0], edge):
                        tile = (left, top, min(edge, size[0] - left), min(edge, size[1] - top))
                        samples = self._image("samples", (tile[2] * spp, tile[3] * spp), image_format)
                        frame = self._draw_tile(samples, scene, lit, view, projection, size, tile, channel, spp, behind)
                        self._reduce(samples, image, frame)
        self._looks.begin_frame()
        self._give_up()
        return image

    @property
    def is_complete(self) -> bool:
        """Whether everything was there for the last frame; else draw it again."""
        return self._patience.is_complete

    def read(self, image: GlImage) -> NDArray[np.float32]:
        """The drawn image, float32 [h, w, 4], row 0 at the top."""
        return image.read()

    def in_scene_linear(self, texture: gpu.types.GPUTexture) -> gpu.types.GPUTexture:
        """An image as Blender's display wants it: scene linear, as this one if that is linear Rec.709, as by default.

        The next one of this size overwrites it.
        """
        if is_rec709():
            return texture
        matrix = numbers_of(scene_linear_from_rec709())
        shader = self._shader(("recolored", matrix), partial(recolored_source, matrix))
        image = self._image("scene linear", (texture.width, texture.height), "RGBA16F")
        with drawing_state(), image.bind():
            gpu.state.blend_set("NONE")
            gpu.state.depth_mask_set(False)
            gpu.state.depth_test_set("NONE")
            shader.bind()
            shader.uniform_sampler("image", texture)
            self._square().draw(shader)
        return image.texture_color

    def _draw_tile(
        self,
        target: GlImage,
        scene: DrawnScene,
        light: GlLight,
        view: NDArray[Any],
        projection: NDArray[Any],
        size: tuple[int, int],
        tile: tuple[int, int, int, int],
        channel: str,
        spp: int,
        behind: bool,
    ) -> gpu.types.GPUUniformBuf:
        """Draw a tile (left, bottom, width, height) of an image of `size` into all of the target.

        Returns the uniform block `frame`.
        """
        view, projection = np.asarray(view, np.float64), np.asarray(projection, np.float64)
        eye = np.linalg.inv(view)[:3, 3]
        upright = window(size, tile) @ np.diag([1.0, -1.0, 1.0, 1.0]) @ projection
        turn = np.eye(4)
        turn[:3, :3] = view[:3, :3]
        frame = self._frame_block.set(
            frame_values(turn, upright, size, tile, channel, spp, light.irradiance, light.places)
        )
        with target.bind():
            nothing = (NO_DEPTH, NO_DEPTH, NO_DEPTH, 0.0) if channel == "depth" else (0.0, 0.0, 0.0, 0.0)
            target.clear(nothing)
            gpu.state.blend_set("NONE")
            gpu.state.depth_mask_set(False)
            gpu.state.depth_test_set("NONE")
            if behind:
                shader = self._shader("sky", sky_source)
                shader.bind()
                shader.uniform_block("frame", frame)
                shader.uniform_sampler("light_atlas", light.atlas)
                self._square().draw(shader)
            gpu.state.depth_mask_set(True)
            gpu.state.depth_test_set("LESS_EQUAL")
            parts = list(enumerate(scene.parts))
            for number, part in [item for item in parts if _is_opaque(item[1])]:
                self._draw_part(number, part, eye, upright @ turn, frame, light)
            if channel != "depth":
                gpu.state.blend_set("ALPHA_PREMULT")
            for number, part in [item for item in parts if not _is_opaque(item[1])]:
                self._draw_part(number, part, eye, upright @ turn, frame, light)
            gpu.state.depth_test_set("NONE")
            gpu.state.blend_set("NONE")
        return frame

    def _draw_part(
        self,
        number: int,
        part: DrawnPart,
        eye: NDArray[np.float64],
        clip: NDArray[np.float64],
        frame: gpu.types.GPUUniformBuf,
        light: GlLight,
    ) -> None:
        found = self._meshes.get_soon(part.key, self._frame, partial(mesh_batch, part.arrays), self._patience)
        batch = found[0] if found else None
        if batch is None:
            return
        shader, shown = self._shaded(part)
        while len(self._part_blocks) <= number:
            self._part_blocks.append(UniformBlock())
        block = self._part_blocks[number].set(part_values(part.matrix, eye, clip, shown.constants, shown.sizes))
        shader.bind()
        shader.uniform_block("frame", frame)
        shader.uniform_block("part", block)
        shader.uniform_sampler("light_atlas", light.atlas)
        shader.uniform_sampler("ggx_table", self._table("ggx_table"))
        if shown.plan.lobes:
            shader.uniform_sampler("sheen_table", self._table("sheen_table"))
        for slot, texture in enumerate(shown.textures):
            shader.uniform_sampler(f"map_{slot}", texture)
        batch.draw(shader)

    def _reduce(self, samples: GlImage, image: GlImage, frame: gpu.types.GPUUniformBuf) -> None:
        shader = self._shader("mean", mean_source)
        with image.bind():
            gpu.state.depth_mask_set(False)
            shader.bind()
            shader.uniform_block("frame", frame)
            shader.uniform_sampler("samples", samples.texture_color)
            self._square().draw(shader)

    def _shaded(self, part: DrawnPart) -> tuple[gpu.types.GPUShader, ShownLook]:
        """The shader and the look of a part: the one that it had before, or gray, where its own has to wait."""
        for look in (part.look, *self._looks.before(part)):
            for shown in self._looks.get(look, self._frame, self._patience):
                for shader in self._surface_shader(shown.plan):
                    self._looks.remember(part, look, self._frame)
                    return shader, shown
        return self._shader(WAITING.plan, partial(surface_source, WAITING.plan)), WAITING

    def _surface_shader(self, plan: LookPlan) -> tuple[gpu.types.GPUShader, ...]:
        """The shader of a plan; nothing where that has to wait."""
        if plan in self._shaders:
            return (self._shaders[plan],)
        return self._patience.make(lambda: self._shader(plan, partial(surface_source, plan)))

    def _light(self, light: DrawnLight | None) -> GlLight:
        if light is None:
            return self._lights.get(None, self._frame, even_light)
        return self._lights.get(light.key, self._frame, partial(light_texture, light))

    def _shader(self, key: Hashable, make: Callable[[], ShaderSource]) -> gpu.types.GPUShader:
        if key not in self._shaders:
            self._shaders[key] = compiled(make())
        return self._shaders[key]

    def _table(self, name: str) -> gpu.types.GPUTexture:
        if name not in self._fixed:
            self._fixed[name] = table_texture(name)
        return self._fixed[name]

    def _square(self) -> gpu.types.GPUBatch:
        if "square" not in self._fixed:
            self._fixed["square"] = square_batch()
        return self._fixed["square"]

    def _image(self, role: str, size: tuple[int, int], image_format: str) -> GlImage:
        key = (role, size, image_format)
        if key not in self._images:
            while len(self._images) >= 8:
                self._images.popitem(last=False)
            self._images[key] = GlImage(*size, image_format)
        self._images.move_to_end(key)
        return self._images[key]

    def _give_up(self) -> None:
        self._meshes.give_up(self._frame - FRAMES_KEPT)
        self._lights.give_up(self._frame - UPLOADS_KEPT)
        self._looks.give_up(self._frame - UPLOADS_KEPT, self._frame - FRAMES_KEPT)


def _is_opaque(part: DrawnPart) -> bool:
    alpha = part.look.alpha
    return isinstance(alpha, int | float) and alpha >= 1.0
