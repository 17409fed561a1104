"""Finished maps as the files that travel and that artists keep."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from render.core.color import linear_to_srgb
from render.core.image_io import encode_image
from render.material.material import ALPHA, KD, METALLIC, NORMAL, ROUGHNESS, MaterialMaps

_ROWS = 256
_Level = TypeVar("_Level", np.uint8, np.uint16)


def encode_maps(maps: MaterialMaps, openness: torch.Tensor) -> dict[str, bytes]:
    """The PNG files of a material: `kd.png`, `orm.png`, `normal.png`.

    openness  [R, R], 1 where nothing occludes; it becomes the red channel of ORM, as glTF wants it
    """
    texels = maps.texels
    kd = linear_to_srgb(texels[..., KD])
    if maps.has_alpha:
        kd = torch.cat([kd, texels[..., ALPHA]], dim=-1)
    orm = torch.cat([openness[..., None], texels[..., ROUGHNESS], texels[..., METALLIC]], dim=-1)
    normal = texels[..., NORMAL] * 0.5 + 0.5
    return {
        "kd.png": encode_image(".png", _quantize(kd, np.uint8)),
        "orm.png": encode_image(".png", _quantize(orm, np.uint8)),
        "normal.png": encode_image(".png", _quantize(normal, np.uint16)),
    }


def _quantize(values: torch.Tensor, dtype: type[_Level]) -> NDArray[_Level]:
    """Values, cut to 0..1, in all levels of a whole-number type."""
    largest = np.iinfo(dtype).max
    levels = np.empty(values.shape, dtype)
    for first in range(0, len(values), _ROWS):  # in parts, since large maps take four times as much in between
        rows = values[first : first + _ROWS].clamp(0, 1).cpu().double().numpy()
        levels[first : first + _ROWS] = (rows * largest + 0.5).astype(dtype)
    return levels
