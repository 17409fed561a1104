# SPDX-License-Identifier: GPL-3.0-or-later
"""Draw the preview (split-sum) on Blender's own GPU: the same picture as the backend's, without a backend.

Needs an active GPU context: in a viewport, in `RenderEngine.render` of an engine with `bl_use_gpu_context`, or after
`gpu.init()`. One thing is approximate: through a surface with alpha only surfaces show that were drawn before it.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

import bpy
import gpu
import numpy as np
from numpy.typing import NDArray

from ...common.color_spaces import is_rec709, rec709_from_scene_linear, scene_linear_from_rec709
from ...protocol.frames import NO_DEPTH
from .drawn import DrawnLight, DrawnLook, DrawnPart, DrawnScene, is_texture
from .image import GlImage
from .mesh import mesh_batch, square_batch
from .shader import UniformBlock, compiled
from .sources import (
    CHANNELS,
    COLORS,
    LookPlan,
    Matrix,
    ShaderSource,
    mean_source,
    recolored_source,
    sky_source,
    surface_source,
)
from .textures import GlLight, Strip, even_light, light_texture, strip_texture, table_texture
from .values import NO_LOBES, Size, frame_values, part_values, window

LARGEST_SCRATCH = 4096  # samples along a side of the image that holds several samples for each pixel
MOST_IMAGE_LEVELS = 16
FRAMES_KEPT = 64  # a mesh that no frame needed for so many frames is freed
UPLOADS_KEPT = 6  # the same for live maps and lights, of which new ones may come with every frame
BASE = {"kd": (1.0, 0.0, 1.0), "alpha": 1.0, "roughness": 0.5, "metallic": 0.0, "openness": 1.0, "normal": None}
MISSING = BASE | NO_LOBES
# What of a lobe has to be there for it to be seen.
LOBE_NAMES = ("coat", "sheen", "emission")


Thing = TypeVar("Thing")
PixelsOf = Callable[[bpy.types.Image], NDArray[Any] | None]


@dataclass
class _Entry(Generic[Thing]):
    """A thing, and the last frame that needed it."""

    thing: Thing
    frame: int


class _Kept(Generic[Thing]):
    """Things by their keys; those that no frame needed for a while can be freed."""

    def __init__(self) -> None:
        self._things: dict[Hashable, _Entry[Thing]] = {}

    def __len__(self) -> int:
        return len(self._things)

    def get(self, key: Hashable, frame: int, make: Callable[[], Thing]) -> Thing:
        """The thing with this key; `make` creates it if there is none."""
        if key not in self._things:
            self._things[key] = _Entry(make(), frame)
        entry = self._things[key]
        entry.frame = frame
        return entry.thing

    def has(self, key: Hashable) -> bool:
        """Whether there is a thing with this key."""
        return key in self._things

    def give_up(self, before: int) -> None:
        """Free what no frame since `before` needed."""
        self._things = {key: entry for key, entry in self._things.items() if entry.frame >= before}


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
        self._meshes: _Kept[gpu.types.GPUBatch | None] = _Kept()
        self._strips: _Kept[Strip] = _Kept()
        self._lights: _Kept[GlLight] = _Kept()
        self._shaders: dict[Hashable, gpu.types.GPUShader] = {}
        self._images: OrderedDict[tuple[str, tuple[int, int], str], GlImage] = OrderedDict()
        self._frame_block = UniformBlock()
        self._part_blocks: list[UniformBlock] = []
        self._fixed: dict[str, Any] = {}
        # Only for this frame: images may be gone in the next.
        self._uids: dict[int, bpy.types.Image] | None = None

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
    ) -> GlImage:
        """Draw a scene under a light (None: an even light) and return the image.

        view, projection  [4, 4], renderer's axes, column vectors, the projection with y flipped
        size              (width, height)
        channel           of CHANNELS; "depth" is the distance along the camera's axis, `NO_DEPTH` where nothing is
        spp               samples along a pixel's side
        background        "light": the light behind everything, and alpha 1; "none"

        The image is RGBA16F (RGBA32F for depth), linear Rec.709, premultiplied, at most 65504. Its first row
        is the picture's lowest, as in Blender's own images. The next frame of this size overwrites it.
        Raises ValueError for an unknown channel or background.
        """
        if channel not in CHANNELS or background not in ("none", "light"):
            raise ValueError(f"there is no channel {channel!r} or no background {background!r}: {', '.join(CHANNELS)}")
        self._frame += 1
        self._uids = None
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
        self._uids = None
        self._give_up()
        return image

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
        batch = self._meshes.get(part.key, self._frame, partial(mesh_batch, part.arrays))
        if batch is None:
            return
        plan, constants, textures, sizes = self._look(part.look)
        shader = self._shader(plan, partial(surface_source, plan))
        while len(self._part_blocks) <= number:
            self._part_blocks.append(UniformBlock())
        block = self._part_blocks[number].set(part_values(part.matrix, eye, clip, constants, sizes))
        shader.bind()
        shader.uniform_block("frame", frame)
        shader.uniform_block("part", block)
        shader.uniform_sampler("light_atlas", light.atlas)
        shader.uniform_sampler("ggx_table", self._table("ggx_table"))
        if plan.lobes:
            shader.uniform_sampler("sheen_table", self._table("sheen_table"))
        for slot, texture in enumerate(textures):
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

    def _look(self, look: DrawnLook) -> tuple[LookPlan, dict[str, Any], list[gpu.types.GPUTexture], list[Size]]:
        """The plan of a look, its constants, and its textures with their sizes."""
        constants: dict[str, Any] = dict(MISSING)
        numbers: dict[Hashable, int] = {}
        kinds: list[str] = []
        textures: list[gpu.types.GPUTexture] = []
        sizes: list[Size] = []
        sources: list[tuple[str, int, int | None]] = []
        premultiplied: dict[int, bool] = {}
        lobes = any(getattr(look, name) != NO_LOBES[name] for name in LOBE_NAMES)
        for name in MISSING if lobes else BASE:
            value = getattr(look, name)
            if not is_texture(value):
                constants[name] = value
                continue
            pixels = value.pixels
            image = self._image_of(value.image_uid) if pixels is None else None
            if pixels is None and image is None:
                continue
            if image is not None and self._pixels_of is not None:
                strip_key = ("strip", value.key, value.encoding)
                known = strip_key in numbers or self._strips.has(strip_key)
                # An array of nothing stands for pixels that are on the GPU already.
                pixels = np.empty(0) if known else self._pixels_of(image)
            kind = "image" if pixels is None else "strip"
            key = (kind, value.image_uid) if pixels is None else (kind, value.key, value.encoding)
            if key not in numbers:
                if pixels is None:
                    try:
                        texture, size = gpu.texture.from_image(image), (0.0, 0.0, float(_levels_of(image)), 0.0)
                    except (RuntimeError, ValueError):
                        continue
                else:
                    strip = self._strips.get(key, self._frame, partial(strip_texture, pixels, value.encoding))
                    texture, size = strip.texture, strip.size
                numbers[key] = len(kinds)
                premultiplied[len(kinds)] = pixels is None and _is_premultiplied(image)
                kinds.append(kind)
                textures.append(texture)
                sizes.append(size)
            sources.append((name, numbers[key], value.channel))
        by_name = {name: number for name, number, _ in sources}
        of_kd = by_name.get("kd")
        divided = of_kd is not None and by_name.get("alpha") == of_kd and premultiplied[of_kd]
        recolored, recolors = (
            None,
            tuple(name for name in COLORS if name in by_name and kinds[by_name[name]] == "image"),
        )
        if recolors and not is_rec709():
            recolored = numbers_of(rec709_from_scene_linear())  # Blender's textures are scene linear
        plan = LookPlan(tuple(kinds), tuple(sources), divided, recolored, recolors, lobes)
        return plan, constants, textures, sizes

    def _image_of(self, uid: int) -> bpy.types.Image | None:
        if self._uids is None:
            self._uids = {image.session_uid: image for image in bpy.data.images}
        return self._uids.get(uid)

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
        for kept in (self._strips, self._lights):
            kept.give_up(self._frame - UPLOADS_KEPT)


def numbers_of(matrix: NDArray[np.float64]) -> Matrix:
    """A matrix for a shader."""
    return tuple(float(value) for value in matrix.ravel())


def _is_opaque(part: DrawnPart) -> bool:
    alpha = part.look.alpha
    return isinstance(alpha, int | float) and alpha >= 1.0


def _levels_of(image: bpy.types.Image) -> int:
    """How many levels Blender's texture of an image may have. For a DDS file, it has only the levels of the file."""
    return 1 if image.filepath.lower().endswith(".dds") else MOST_IMAGE_LEVELS


def _is_premultiplied(image: bpy.types.Image) -> bool:
    """Whether Blender has multiplied the colors of an image's texture by alpha."""
    return bool(image.is_float and image.alpha_mode in ("STRAIGHT", "PREMUL"))
