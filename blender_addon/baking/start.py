# SPDX-License-Identifier: GPL-3.0-or-later
"""What a fit begins with: the values of a bake before they are rounded for files, and how sure they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..closures.parameters import ALPHA, BASE_COLOR, EMISSION, NORMAL, neutral
from ..closures.reading import Reading
from ..common.color_spaces import to_rec709
from ..protocol.map_shape import MapSize
from .fields import Baked, Inputs
from .surety import surety_of

FLAT = (0.5, 0.5, 1.0)
UPRIGHT = np.array((0.0, 0.0, 1.0), np.float32)
CHANNELS = 9
BRIGHTEST = 60000.0  # of what float16 holds


def write_start(
    path: Path, inputs: Inputs, baked: Baked, readings: Sequence[Reading], tile: int, size: MapSize
) -> None:
    """Write the start of the fit of one set of maps: arrays float16 [H, W, ...], row 0 at the top.

    ``texels`` [..., 9]: linear Rec.709 base color, roughness, metallic, unit normal in tangent space (OpenGL), alpha;
    ``surety`` [..., 2]: see surety.py; ``lobes`` [..., 9], only where there is any: see `lobes_of`. Raises OSError if it
    cannot be written.
    """
    arrays = {"texels": texels_of(inputs, tile, size), "surety": surety_of(baked, readings, tile, size)}
    lobes = lobes_of(inputs, tile, size)
    if lobes is not None:
        arrays["lobes"] = lobes
    with open(path, "wb") as file:
        np.savez(file, **{name: values.astype(np.float16) for name, values in arrays.items()})


def texels_of(inputs: Inputs, tile: int, size: MapSize) -> NDArray[np.float32]:
    """The texels of a fit, float32 [H, W, 9]."""
    texels = np.empty((*size, CHANNELS), np.float32)
    texels[..., 0:3] = np.clip(to_rec709(values_of(inputs, BASE_COLOR, tile, size)), 0.0, 1.0)
    for place, name in ((3, "Roughness"), (4, "Metallic"), (8, ALPHA)):
        texels[..., place] = values_of(inputs, name, tile, size)[..., 0]
    encoded = inputs.fields[NORMAL][tile] if NORMAL in inputs.fields else np.full((*size, 3), FLAT, np.float32)
    vectors = encoded * 2.0 - 1.0
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    texels[..., 5:8] = np.divide(vectors, lengths, out=np.tile(UPRIGHT, (*size, 1)), where=lengths > 0)
    return texels


def lobes_of(inputs: Inputs, tile: int, size: MapSize) -> NDArray[np.float32] | None:
    """What lies over the base, float32 [H, W, 9]: emitted light (linear Rec.709), coat weight and roughness, sheen
    color (weight times tint) and roughness; None where nothing does."""
    emission = np.clip(to_rec709(values_of(inputs, EMISSION, tile, size)), 0.0, BRIGHTEST)
    sheen = values_of(inputs, "Sheen Weight", tile, size) * to_rec709(values_of(inputs, "Sheen Tint", tile, size))
    scalars = ("Coat Weight", "Coat Roughness", "Sheen Roughness")
    coat, coat_roughness, sheen_roughness = (values_of(inputs, name, tile, size)[..., :1] for name in scalars)
    if not (emission.any() or coat.any() or sheen.any()):
        return None
    parts = [emission, coat, coat_roughness, np.clip(sheen, 0.0, 1.0), sheen_roughness]
    found: NDArray[np.float32] = np.concatenate(parts, axis=-1).astype(np.float32)
    return found


def values_of(inputs: Inputs, name: str, tile: int, size: MapSize) -> NDArray[np.float32]:
    """An input everywhere, float32 [H, W, 3]; a scalar is three equal numbers."""
    found = inputs.fields.get(name, {}).get(tile)
    if found is None:
        number = inputs.constants.get(name, neutral(name))
        return np.broadcast_to(np.array(number, np.float32), (*size, 3)).copy()
    return found if found.ndim == 3 else np.repeat(found[..., None], 3, axis=-1)
