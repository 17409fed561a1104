"""What the client knows of the materials before the fit: for each set the maps of a bake, and how sure they are.

The arrays `start_N` and `surety_N` of set N, and `lobes_N` where anything lies over the base, are at the resolution of the
job's maps. A set without them begins with an even gray surface.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from backend.fit.baked_start import BakedStart
from backend.fit.objective import LOBES
from backend.job.atlas import Atlas
from backend.job.model import JobError
from backend.protocol.settings import FitSettings
from render.material.material import ALPHA, METALLIC, NORMAL, project_
from render.texture.map_size import MapSize

# How firmly a value holds to its start falls to a half where the surety is less than 1 by this much.
_DOUBT = 0.02


class Known(Protocol):
    """What is known before a fit."""

    def start(self, alpha: bool, resolution: MapSize, device: torch.device) -> BakedStart:
        """The start of a fit, at its resolution. alpha: whether the maps have alpha."""
        ...


@dataclass(frozen=True)
class KnownSet:
    """The arrays of one set: texels float16 [H, W, 9], surety float16 [H, W, 2], lobes float16 [H, W, 9] or None."""

    texels: NDArray[np.float16]
    surety: NDArray[np.float16]
    lobes: NDArray[np.float16] | None = None

    def start(self, alpha: bool, resolution: MapSize, device: torch.device) -> BakedStart:
        """The start of a fit, at its resolution. alpha: whether the maps have alpha."""
        channels = ALPHA.stop if alpha else NORMAL.stop
        texels = torch.from_numpy(self.texels[..., :channels]).to(device).float()
        surety = torch.from_numpy(self.surety).to(device).float()
        stiffness = torch.empty_like(texels)
        # Of what is not sure at all nothing says that it is right: a round of correction begins with an earlier fit's values.
        firm = torch.where(surety > 0, 1 / (1 + (1 - surety) / _DOUBT), 0.0)
        stiffness[..., : METALLIC.stop] = firm[..., :1]
        stiffness[..., NORMAL] = firm[..., 1:]
        stiffness[..., NORMAL.stop :] = firm[..., :1]
        project_(texels)
        lobes = None if self.lobes is None else torch.from_numpy(self.lobes).to(device).float().clamp(min=0)
        return BakedStart(texels, stiffness, lobes).at(resolution)


@dataclass(frozen=True)
class KnownSets:
    """What is known of some of the sets that share an atlas, by their numbers."""

    atlas: Atlas
    sets: Mapping[int, KnownSet]

    def start(self, alpha: bool, resolution: MapSize, device: torch.device) -> BakedStart:
        """The start of the fit of all sets together. resolution: of the atlas or less."""
        tiles = {number: known.start(alpha, self.atlas.tile, device) for number, known in self.sets.items()}
        return self.atlas.start(tiles, device, alpha).at(resolution)


def known_sets(arrays: dict[str, NDArray[Any]], settings: FitSettings, count: int) -> dict[int, KnownSet]:
    """What the arrays say of each of `count` sets, by its number. Raises `JobError` for arrays that cannot be used."""
    found = {}
    for number in range(count):
        if f"start_{number}" in arrays:
            height, width = settings.map_size
            texels = _checked(arrays, f"start_{number}", (height, width, ALPHA.stop))
            surety = _checked(arrays, f"surety_{number}", (height, width, 2))
            lobes = None
            if f"lobes_{number}" in arrays:
                lobes = _checked(arrays, f"lobes_{number}", (height, width, LOBES.channels - NORMAL.stop))
            found[number] = KnownSet(texels, surety, lobes)
    return found


def _checked(arrays: dict[str, NDArray[Any]], name: str, shape: tuple[int, ...]) -> NDArray[np.float16]:
    array = arrays.get(name)
    if array is None or array.dtype != np.float16 or array.shape != shape or not np.isfinite(array).all():
        given = "missing" if array is None else f"{array.dtype} {list(array.shape)}"
        raise JobError(
            "start",
            f"The array {name} is {given} where finite float16 {list(shape)} belong.",
            "Bake the start at the resolution of the fit's maps.",
        )
    return array
