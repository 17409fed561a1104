# SPDX-License-Identifier: GPL-3.0-or-later
"""How sure a bake is of its values, texel by texel: a fit that starts from them holds on to what is known.

Where one closure of a mix shows alone, the bake has that closure's own inputs, which are right. Between the closures of a mix
it can only guess. So the shares w of the closures are baked too, and the texel is as sure as the sum of their squares (the
inverse of the number of closures that take part): 1 where one shows alone, 1/2 where two show alike. What it gets wrong: two
closures that agree in an input are taken for as doubtful as any others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..closures.parameters import NORMAL
from ..closures.reading import ENERGY, Reading, origins
from ..protocol.map_shape import MapSize
from .fields import Baked, divided
from .quantities import MOST_SHARES, SHARES, WEIGHT, Pass

Array = NDArray[np.float32]


def share_passes(sets: Sequence[Sequence[Reading]]) -> list[Pass]:
    """The passes that tell how sure the bakes of sets of materials are; none where that is known without."""
    most = max((closures_of(reading) for readings in sets if not alike(readings) for reading in readings), default=0)
    names = SHARES[: min(most, MOST_SHARES)]
    return [Pass(names[start : start + 3]) for start in range(0, len(names), 3)]


def surety_of(baked: Baked, readings: Sequence[Reading], tile: int, size: MapSize) -> Array:
    """How sure the base color, roughness and metallic are, and the normal: 0..1, float32 [H, W, 2]."""
    surety = np.empty((*size, 2), np.float32)
    if alike(readings):
        surety[..., 0] = readings[0].certain if readings else 1.0
    else:
        found = [baked.fields[name][tile] for name in SHARES if name in baked.fields]
        if WEIGHT in baked.fields:
            found = [divided(share, baked.fields[WEIGHT][tile]) for share in found]
        surety[..., 0] = np.clip(np.square(found).sum(axis=0), 0.0, 1.0)
    one_normal = all(len(origins(reading, NORMAL)) <= 1 for reading in readings)
    surety[..., 1] = 1.0 if one_normal else surety[..., 0]
    return surety


def closures_of(reading: Reading) -> int:
    """How many closures a bake makes one, guessing."""
    return len(reading.scattering) if reading.way == ENERGY else 1


def alike(readings: Sequence[Reading]) -> bool:
    """Whether the values of materials are as sure as each other everywhere."""
    return all(closures_of(reading) == 1 or not reading.certain for reading in readings) and (
        len({reading.certain for reading in readings}) < 2
    )
