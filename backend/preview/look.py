"""The look of a part in the preview: the maps that come of its description."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from backend.protocol.errors import CauseAndCure
from backend.protocol.scene_description import COLORS, LINEAR, SRGB, Arrays, LookDescription, TextureDescription
from render.core.color import srgb_to_linear
from render.core.image_io import ImageError, decode_image
from render.material.material import KD, METALLIC, NORMAL, ROUGHNESS, MaterialLayout, MaterialMaps, material_layout
from render.preview.parts import MapRows, map_rows
from render.texture.fixed_lookup import mip_count
from render.texture.map_size import MapSize, map_size
from render.texture.sampling import shrink_axis

# Maps are at most so large: 0.8 GB each with all their levels.
LARGEST_MAPS = 4096
# Of one image: 16384 x 8192.
MOST_PIXELS = 1 << 27
# All images of a scene, unpacked; on a machine with less memory, half of that.
MOST_IMAGE_BYTES = 8 << 30
# Square images of one size are shown as they are where their coarsest level has at most so many texels a side.
_COARSEST = 64
# Rec.709: how Blender makes a number of a color.
_LUMINANCE = (0.2126, 0.7152, 0.0722)


class PreviewError(CauseAndCure):
    """A scene that cannot be shown."""


@dataclass(frozen=True, eq=False)
class BoundLook:
    """A look together with the arrays of its textures."""

    look: LookDescription
    arrays: Arrays

    def array(self, texture: TextureDescription) -> NDArray[Any]:
        """The array of one of its textures."""
        return self.arrays[texture.array]

    @property
    def textures(self) -> tuple[NDArray[Any], ...]:
        """The arrays of all its textures."""
        return tuple(self.array(texture) for texture in self.look.textures)

    @property
    def key(self) -> tuple[object, ...]:
        """The same for looks of the same values and the very same arrays, while these live."""
        values = (getattr(self.look, item.name) for item in fields(self.look))
        return tuple(
            (id(self.array(value)), value.channel, value.encoding) if isinstance(value, TextureDescription) else value
            for value in values
        )


class Images:
    """Images of arrays on a device, decoded once for as long as they are in use: uint8 or float32 [h, w, 4]."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._most_bytes = min(MOST_IMAGE_BYTES, _memory_bytes() // 2)
        # The array is kept, so that no other can have its id.
        self._known: dict[int, tuple[NDArray[Any], torch.Tensor]] = {}

    def of(self, array: NDArray[Any]) -> torch.Tensor:
        """The image that an array is, or that the file in it has. Raises `PreviewError`."""
        if id(array) not in self._known:
            image = _decoded(array)
            held = sum(known.nbytes for _, known in self._known.values())
            if held + image.nbytes > self._most_bytes:
                cause = f"The scene's images take more than {self._most_bytes / 2**30:.1f} GiB."
                raise PreviewError(cause, "Use fewer or smaller images, or hide some objects.")
            self._known[id(array)] = (array, image.to(self._device))
        return self._known[id(array)][1]

    def keep(self, arrays: list[NDArray[Any]]) -> None:
        """Forget all others."""
        used = {id(array) for array in arrays}
        self._known = {key: value for key, value in self._known.items() if key in used}


def _memory_bytes() -> int:
    """The memory of this machine; where that cannot be told, enough."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 2 * MOST_IMAGE_BYTES


def _decoded(array: NDArray[Any]) -> torch.Tensor:
    if array.ndim == 3:
        return torch.from_numpy(np.array(array, np.uint8 if array.dtype == np.uint8 else np.float32))
    try:
        image = decode_image(array, "The file of a texture", MOST_PIXELS)
    except ImageError as error:
        raise PreviewError(f"{error}.", "Scale the image down, save it as PNG, or pack it again.") from error
    if image.dtype != np.uint8:
        largest = np.iinfo(image.dtype).max if image.dtype.kind == "u" else 1
        image = image.astype(np.float32) / np.float32(largest)
    if image.shape[2] == 1:
        image = image.repeat(3, axis=2)
    if image.shape[2] == 3:
        opaque = np.full_like(image[..., :1], 255 if image.dtype == np.uint8 else 1)
        image = np.concatenate([image, opaque], axis=2)
    return torch.from_numpy(np.ascontiguousarray(image))


def look_size(bound: BoundLook, images: Images) -> MapSize:
    """The size of a look's maps: that of its images where they agree, else the next power of two for both edges."""
    shapes = (images.of(array).shape for array in bound.textures)
    return _size_for({(shape[0], shape[1]) for shape in shapes})


@torch.no_grad()
def look_rows(bound: BoundLook, images: Images, device: torch.device, size: MapSize) -> MapRows:
    """The maps of a look, all of one size: smaller images are enlarged bilinearly, larger ones averaged.

    Normals are kept as the image has them, so that they are filtered as Blender filters them. Raises `PreviewError`.
    """
    look = bound.look

    def values(name: str) -> torch.Tensor:
        """[H, W, 3 or 1], or without an image [3 or 1]."""
        value = getattr(look, name)
        if isinstance(value, TextureDescription):
            return _values(value, images.of(bound.array(value)), name in COLORS, size)
        return torch.tensor(value, device=device).reshape(-1)

    layout = _layout_of(look)
    texels = torch.empty(*size, layout.channels, device=device)
    texels[..., KD], texels[..., ROUGHNESS], texels[..., METALLIC] = (
        values("kd"),
        values("roughness"),
        values("metallic"),
    )
    if layout.alpha is not None:
        texels[..., layout.alpha] = values("alpha").clamp(0, 1)
    if look.normal is None:
        texels[..., NORMAL] = torch.tensor([0.0, 0.0, 1.0], device=device)
    else:
        texels[..., NORMAL] = _values(look.normal, images.of(bound.array(look.normal)), True, size) * 2 - 1
    texels[..., ROUGHNESS.start : METALLIC.stop].clamp_(0, 1)
    if layout.emission is not None:
        texels[..., layout.emission] = (values("emission") * values("emission_strength")).clamp(min=0)
    if layout.coat is not None:
        weight, rough = (texels[..., at : at + 1] for at in range(layout.coat.start, layout.coat.stop))
        weight[:], rough[:] = values("coat").clamp(0, 1), values("coat_roughness").clamp(0, 1)
    if layout.sheen is not None:
        color, rough = texels[..., layout.sheen][..., :3], texels[..., layout.sheen][..., 3:]
        color[:] = (values("sheen_tint") * values("sheen").clamp(0, 1)).clamp(0, 1)
        rough[:] = values("sheen_roughness").clamp(0, 1)
    openness: torch.Tensor | None
    if isinstance(look.openness, TextureDescription):
        openness = _values(look.openness, images.of(bound.array(look.openness)), False, size)[..., 0].clamp(0, 1)
    else:
        openness = None if look.openness == 1.0 else torch.full((1, 1), look.openness, device=device)
    return map_rows(MaterialMaps(texels, layout), openness, device)


def _layout_of(look: LookDescription) -> MaterialLayout:
    """What of a look is not as in every material."""
    return material_layout(
        alpha=look.alpha != 1.0,
        emission=look.emission != (0.0, 0.0, 0.0) and look.emission_strength != 0.0,
        coat=look.coat != 0.0,
        sheen=look.sheen != 0.0,
    )


def _size_for(sizes: set[tuple[int, int]]) -> MapSize:
    if not sizes:
        return MapSize(1, 1)
    size = MapSize(*next(iter(sizes)))
    if len(sizes) == 1 and size.halved(mip_count(size) - 1).longer <= _COARSEST:
        return size
    return map_size(1 << (max(map(max, sizes)) - 1).bit_length())


def _values(texture: TextureDescription, image: torch.Tensor, is_color: bool, size: MapSize) -> torch.Tensor:
    """Linear values [H, W, 3 or 1] of an image [h, w, 4]."""
    if texture.channel is None:
        values = _linear(image[..., :3], texture.encoding)
        if not is_color:
            values = (values * values.new_tensor(_LUMINANCE)).sum(-1, keepdim=True)
    else:
        # Alpha is never encoded.
        encoding = LINEAR if texture.channel == 3 else texture.encoding
        values = _linear(image[..., texture.channel : texture.channel + 1], encoding)
    return _resampled(values, size)


def _linear(values: torch.Tensor, encoding: str) -> torch.Tensor:
    if values.dtype == torch.uint8:
        table = torch.arange(256, device=values.device) / 255
        return (srgb_to_linear(table) if encoding == SRGB else table)[values.int()]
    values = values.nan_to_num(nan=0.0, posinf=65504.0, neginf=0.0)
    return srgb_to_linear(values) if encoding == SRGB else values


def _resampled(image: torch.Tensor, size: MapSize) -> torch.Tensor:
    """[h, w, C] -> [H, W, C]: each axis averaged, or enlarged bilinearly over the seam that wrapping has."""
    for axis, edge in enumerate(size):
        image = shrink_axis(image, axis, edge) if image.shape[axis] >= edge else _enlarged(image, axis, edge)
    return image


def _enlarged(image: torch.Tensor, axis: int, size: int) -> torch.Tensor:
    old = image.shape[axis]
    place = (torch.arange(size, device=image.device, dtype=torch.float64) + 0.5) * (old / size) - 0.5
    low = place.floor()
    share = (place - low).to(image.dtype).reshape([-1 if number == axis else 1 for number in range(3)])
    low = low.long()
    return torch.lerp(image.index_select(axis, low % old), image.index_select(axis, (low + 1) % old), share)
