# SPDX-License-Identifier: GPL-3.0-or-later
"""What was baked, as values of the inputs of the Principled BSDF: a number where they are the same everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..closures.parameters import ALPHA, BASE_COLOR, EMISSION, KEPT, NORMALS, neutral
from ..closures.reading import ENERGY, Reading
from ..closures.values import Triple
from ..common.material_recipe import OCCLUSION
from .cycles_bake import Texels
from .energy import one_closure, roughness_of, specular_level_of
from .margins import Margin, is_far
from .quantities import (
    DIRECTION,
    FROM_SUMS,
    SCATTERED,
    SUMS,
    TRANSPARENCY,
    WEIGHT,
    Pass,
    shared_constant,
    turns,
    varies,
)
from .tangents import ROTATION, rotation_of

Array = NDArray[np.float32]
Field = dict[int, Array]
"""An input by tile: [H, W], or [H, W, 3] for a color, a vector or a normal."""
SAME = 1e-4  # of the largest value: 40 times less than a step of 8 bits
FLAT = 1e-4  # of a normal's components: 0.01 degrees
OWN_NORMAL = (0.5, 0.5, 1.0)  # of the surface, encoded
BOUNDLESS = {
    *("IOR", "Coat IOR", "Subsurface IOR", "Subsurface Scale", "Subsurface Radius"),
    *("Thin Film Thickness", "Thin Film IOR"),
}
"""Inputs that may be larger than 1. Maps of all others hold what is between 0 and 1, which is what they mean."""


@dataclass
class Baked:
    """What was baked into one canvas. fields: by quantity, filled where no face is; covered: by tile, which texels faces
    cover, bool [H, W]; openness: by tile, [H, W], None if it was not baked or all is open; geometry,
    scales: what geometry.py makes, by name, and what the ranges of these maps stand for."""

    fields: dict[str, Field] = field(default_factory=dict)
    covered: dict[int, NDArray[np.bool_]] = field(default_factory=dict)
    openness: Field | None = None
    geometry: dict[str, Field] = field(default_factory=dict)
    scales: dict[str, float] = field(default_factory=dict)
    _margins: dict[int, Margin] = field(default_factory=dict)

    def add(self, baked: Pass, tiles: dict[int, Texels]) -> None:
        """Take in what a pass has baked."""
        for tile, texels in tiles.items():
            known = self.covered.get(tile)
            self.covered[tile] = texels.covered if known is None else known | texels.covered
            # Another pass, with other points in each texel, may cover other texels at the borders of faces.
            values = self._margins.setdefault(tile, Margin()).fill(texels.values, texels.covered)
            whole = baked.is_whole or baked.is_normal
            for place, name in enumerate(baked.names):
                self.fields.setdefault(name, {})[tile] = values if whole else np.ascontiguousarray(values[..., place])


@dataclass(frozen=True)
class Inputs:
    """The inputs of a Principled BSDF: constants and fields by name; an input that is in neither has no effect.

    uv_tangent: its tangent is that of the UV map.
    """

    constants: dict[str, Triple]
    fields: dict[str, Field]
    uv_tangent: bool = False


def inputs_of(target: str, baked: Baked, readings: Sequence[Reading]) -> Inputs:
    """The inputs for a canvas with these materials."""
    fields = _as_one_closure(baked, readings)
    constants: dict[str, Triple] = {}
    kept: dict[str, Field] = {}
    for name in KEPT[target]:
        if name in NORMALS:
            if varies(name, readings) and not _is_flat(fields[name], baked):
                kept[name] = fields[name]
            continue
        if not any(reading.is_active(name) for reading in readings):
            continue
        baked_only = (name in FROM_SUMS and _any_energy(readings)) or (name == ROTATION and any(map(turns, readings)))
        known = None if baked_only else shared_constant(name, readings)
        if known is not None:
            constants[name] = known
        elif name in fields:
            same = _uniform(fields[name], baked)
            if same is None:
                kept[name] = fields[name]
            else:
                constants[name] = same
    if baked.openness is not None:
        kept[OCCLUSION] = baked.openness
    kept |= baked.geometry
    constants |= {name: (scale, scale, scale) for name, scale in baked.scales.items()}
    return Inputs(constants, kept, ROTATION in KEPT[target] and any(map(turns, readings)))


def without_far_texels(inputs: Inputs, baked: Baked, width: int) -> Inputs:
    """The inputs with the values of a new node in the texels that are more than `width` texels away from any face."""
    far = {tile: is_far(covered, width) for tile, covered in baked.covered.items()}
    fields = {
        name: {tile: _as_new(name, values, far[tile]) for tile, values in found.items()}
        for name, found in inputs.fields.items()
    }
    return replace(inputs, fields=fields)


def _as_new(name: str, values: Array, chosen: NDArray[np.bool_]) -> Array:
    """A field with the value of a new node in the chosen texels, bool [H, W]."""
    new = OWN_NORMAL if name in NORMALS else neutral(name)
    changed = values.copy()
    changed[chosen] = new[0] if values.ndim == 2 else new
    return changed


def _any_energy(readings: Sequence[Reading]) -> bool:
    return any(reading.way == ENERGY for reading in readings)


def _as_one_closure(baked: Baked, readings: Sequence[Reading]) -> dict[str, Field]:
    """The fields of inputs, in place of those of sums over closures."""
    fields = {name: dict(found) for name, found in baked.fields.items()}
    weights = fields.pop(WEIGHT, None)
    for name, found in fields.items():
        for tile, values in found.items():
            if name == DIRECTION:
                found[tile] = rotation_of(values)
            elif name == TRANSPARENCY:
                found[tile] = clipped(1.0 - values.mean(axis=-1))
            elif name not in (EMISSION, *NORMALS, *SUMS):
                mean = values if weights is None else divided(values, weights[tile])
                found[tile] = mean if name in BOUNDLESS else clipped(mean)
    for baked_name, name in ((DIRECTION, ROTATION), (TRANSPARENCY, ALPHA)):
        if baked_name in fields:
            fields[name] = fields.pop(baked_name)
    if SCATTERED in fields:
        sums = [fields.pop(name) for name in SUMS]
        for tile in baked.covered:
            _resolve(fields, tile, *(found[tile] for found in sums))
    return fields


def _resolve(fields: dict[str, Field], tile: int, scattered: Array, reflected: Array, shine: Array) -> None:
    """Put what energy says in place of the means, where a material has sums."""
    here = scattered.min(axis=-1) >= 0.0
    base, metallic = one_closure(scattered, reflected, fields["Metallic"][tile])
    found = {
        BASE_COLOR: base,
        "Metallic": metallic,
        "Roughness": clipped(roughness_of(shine, reflected)),
        "Specular IOR Level": specular_level_of(reflected, metallic),
        "Specular Tint": np.ones_like(base),
    }
    for name, values in found.items():
        mask = here[..., None] if values.ndim == 3 else here
        direct = fields.get(name, {}).get(tile)
        fields.setdefault(name, {})[tile] = values if direct is None else np.where(mask, values, direct)


def divided(values: Array, weights: Array) -> Array:
    """Sums over closures as means, [H, W] or [H, W, 3]; 0 where nothing scatters light."""
    weights = weights[..., None] if values.ndim == 3 else weights
    mean: Array = np.divide(values, weights, out=np.zeros_like(values), where=weights > 1e-6)
    return mean


def clipped(values: Array) -> Array:
    """Values between 0 and 1."""
    result: Array = np.clip(values, 0.0, 1.0)
    return result


def _uniform(found: Field, baked: Baked) -> Triple | None:
    """The value of all covered texels, if they have the same; that of a new node where no texel is covered."""
    parts = [values[baked.covered[tile]] for tile, values in found.items()]
    every = np.concatenate([part if part.ndim == 2 else part[:, None] for part in parts])
    if not len(every):
        return 0.0, 0.0, 0.0
    low, high = every.min(axis=0), every.max(axis=0)
    if (high - low).max() > SAME * max(1.0, float(np.abs(every).max())):
        return None
    middle = [float(value) for value in np.median(every, axis=0)]
    x, y, z = middle if len(middle) == 3 else middle * 3
    return x, y, z


def _is_flat(found: Field, baked: Baked) -> bool:
    """Whether a field of encoded normals [H, W, 3] is the surface's own normal everywhere."""
    own = np.array(OWN_NORMAL, np.float32)
    return all(np.abs(values[baked.covered[tile]] - own).max(initial=0.0) < FLAT for tile, values in found.items())
