# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks on Blender's own GPU: their textures, and what their shader samples."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import bpy
import gpu
import numpy as np
from numpy.typing import NDArray

from ...common.color_spaces import is_rec709, rec709_from_scene_linear
from .drawn import DrawnLook, DrawnPart, DrawnTexture, is_texture
from .kept import Kept, Patience
from .sources import COLORS, LookPlan, Matrix
from .textures import Strip, strip_texture
from .values import NO_LOBES, Size

PixelsOf = Callable[[bpy.types.Image], NDArray[Any] | None]
MOST_IMAGE_LEVELS = 16
BASE = {"kd": (1.0, 0.0, 1.0), "alpha": 1.0, "roughness": 0.5, "metallic": 0.0, "openness": 1.0, "normal": None}
MISSING = BASE | NO_LOBES
GRAY = (0.5, 0.5, 0.5)
# What of a lobe has to be there for it to be seen.
LOBE_NAMES = ("coat", "sheen", "emission")


@dataclass
class ShownLook:
    """A look as it is drawn: its plan, its values without textures, its textures and their sizes."""

    plan: LookPlan = field(default_factory=LookPlan)
    constants: dict[str, Any] = field(default_factory=lambda: dict(MISSING))
    textures: list[gpu.types.GPUTexture] = field(default_factory=list)
    sizes: list[Size] = field(default_factory=list)


WAITING = ShownLook(constants=MISSING | {"kd": GRAY})
"""A look whose own textures are not on the GPU yet."""


class Looks:
    """The textures of looks. It keeps live maps on the GPU, by their keys; Blender itself keeps images of the file."""

    def __init__(self, pixels_of: PixelsOf | None = None) -> None:
        """pixels_of: see `GlPreview`."""
        self._pixels_of = pixels_of
        self._strips: Kept[Strip] = Kept()
        self._uploaded: Kept[bool] = Kept()  # by the keys of images that Blender has put on the GPU
        self._before: Kept[DrawnLook] = Kept()
        self._images: dict[int, bpy.types.Image] | None = None

    def begin_frame(self) -> None:
        """Forget which images there are: they may be gone in the next frame."""
        self._images = None

    def give_up(self, uploads_before: int, looks_before: int) -> None:
        """Free the live maps and the looks that no frame since these needed."""
        self._strips.give_up(uploads_before)
        self._uploaded.give_up(looks_before)
        self._before.give_up(looks_before)

    def remember(self, part: DrawnPart, look: DrawnLook, frame: int) -> None:
        """Note with which look a part is drawn."""
        self._before.put(part.place, look, frame)

    def before(self, part: DrawnPart) -> tuple[DrawnLook, ...]:
        """The look that a part was drawn with last, if that was lately."""
        return self._before.peek(part.place)

    def get(self, look: DrawnLook, frame: int, patience: Patience) -> tuple[ShownLook, ...]:
        """A look as it is drawn; nothing where its textures have to wait. What is not in the file is left out."""
        shown = ShownLook()
        numbers: dict[Hashable, int] = {}
        kinds: list[str] = []
        sources: list[tuple[str, int, int | None]] = []
        premultiplied: list[bool] = []
        lobes = any(getattr(look, name) != NO_LOBES[name] for name in LOBE_NAMES)
        for name in MISSING if lobes else BASE:
            value = getattr(look, name)
            if not is_texture(value):
                shown.constants[name] = value
                continue
            pixels = value.pixels
            image = self._image_of(value.image_uid) if pixels is None else None
            if pixels is None and image is None:
                continue
            strip_key = ("strip", value.key, value.encoding)
            if image is not None and self._pixels_of is not None:
                known = strip_key in numbers or self._strips.peek(strip_key)
                # An array of nothing stands for pixels that are on the GPU already.
                pixels = np.empty(0) if known else self._pixels_of(image)
            kind = "image" if pixels is None else "strip"
            key = ("image", value.image_uid) if pixels is None else strip_key
            if key not in numbers:
                try:
                    found = self._texture(value, pixels, image, key, frame, patience)
                except (RuntimeError, ValueError):
                    continue
                if not found:
                    return ()
                numbers[key] = len(kinds)
                premultiplied.append(pixels is None and _is_premultiplied(image))
                kinds.append(kind)
                shown.textures.append(found[0].texture)
                shown.sizes.append(found[0].size)
            sources.append((name, numbers[key], value.channel))
        by_name = {name: number for name, number, _ in sources}
        of_kd = by_name.get("kd")
        divided = of_kd is not None and by_name.get("alpha") == of_kd and premultiplied[of_kd]
        recolored = None
        recolors = tuple(name for name in COLORS if name in by_name and kinds[by_name[name]] == "image")
        if recolors and not is_rec709():
            recolored = numbers_of(rec709_from_scene_linear())  # Blender's textures are scene linear
        shown.plan = LookPlan(tuple(kinds), tuple(sources), divided, recolored, recolors, lobes)
        return (shown,)

    def _texture(
        self,
        value: DrawnTexture,
        pixels: NDArray[Any] | None,
        image: bpy.types.Image | None,
        key: Hashable,
        frame: int,
        patience: Patience,
    ) -> tuple[Strip, ...]:
        """A texture of a look, of pixels or else of an image; nothing where it has to wait."""
        if pixels is not None:
            return self._strips.get_soon(key, frame, partial(strip_texture, pixels, value.encoding), patience)
        # Blender decodes an image and makes its levels here, the first time.
        if not self._uploaded.get_soon(value.key, frame, lambda: bool(gpu.texture.from_image(image)), patience):
            return ()
        return (Strip(gpu.texture.from_image(image), (0.0, 0.0, float(_levels_of(image)), 0.0)),)

    def _image_of(self, uid: int) -> bpy.types.Image | None:
        if self._images is None:
            self._images = {image.session_uid: image for image in bpy.data.images}
        return self._images.get(uid)


def numbers_of(matrix: NDArray[np.float64]) -> Matrix:
    """A matrix for a shader."""
    return tuple(float(value) for value in matrix.ravel())


def _levels_of(image: bpy.types.Image) -> int:
    """How many levels Blender's texture of an image may have. For a DDS file, it has only the levels of the file."""
    return 1 if image.filepath.lower().endswith(".dds") else MOST_IMAGE_LEVELS


def _is_premultiplied(image: bpy.types.Image) -> bool:
    """Whether Blender has multiplied the colors of an image's texture by alpha."""
    return bool(image.is_float and image.alpha_mode in ("STRAIGHT", "PREMUL"))
