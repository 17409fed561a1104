"""Finished maps as the files that travel and that artists keep."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from backend.protocol.png import png
from render.core.color import linear_to_srgb
from render.material.material import ALPHA, KD, METALLIC, NORMAL, ROUGHNESS, MaterialMaps

_ROWS = 256
_Level = TypeVar("_Level", np.uint8, np.uint16)
_Made = TypeVar("_Made")
_Run = Callable[[Callable[[int], _Made], Sequence[int]], list[_Made]]


def encode_maps(maps: MaterialMaps, openness: torch.Tensor) -> dict[str, bytes]:
    """The PNG files of a material: `kd.png`, `orm.png`, `normal.png`.

    openness  [H, W], 1 where nothing occludes; it becomes the red channel of ORM, as glTF wants it

    In as many threads as there are cores; the bytes are the same with any number of them.
    """
    texels = maps.texels
    kd = linear_to_srgb(texels[..., KD])
    if maps.has_alpha:
        kd = torch.cat([kd, texels[..., ALPHA]], dim=-1)
    orm = torch.cat([openness[..., None], texels[..., ROUGHNESS], texels[..., METALLIC]], dim=-1)
    normal = texels[..., NORMAL] * 0.5 + 0.5
    with ThreadPoolExecutor(os.cpu_count() or 1, "pbrfit-encoding") as threads:

        def run(work: Callable[[int], _Made], numbers: Sequence[int]) -> list[_Made]:
            return list(threads.map(work, numbers))

        return {
            "kd.png": png(_quantize(kd, np.uint8, run), True, run),
            "orm.png": png(_quantize(orm, np.uint8, run), False, run),
            "normal.png": png(_quantize(normal, np.uint16, run), False, run),
        }


def _quantize(values: torch.Tensor, dtype: type[_Level], run: _Run[None]) -> NDArray[_Level]:
    """Values, cut to 0..1, in all levels of a whole-number type."""
    largest = np.iinfo(dtype).max
    given, levels = values.cpu().numpy(), np.empty(values.shape, dtype)

    def band(top: int) -> None:
        rows = np.clip(given[top : top + _ROWS], 0, 1).astype(np.float64)
        levels[top : top + _ROWS] = (rows * largest + 0.5).astype(dtype)

    run(band, range(0, len(given), _ROWS))
    return levels
